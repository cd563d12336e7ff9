//! The `operator` function's process: it makes the services once and hands every event to the handler.

mod audit;
mod checks;
mod choose;
mod erasures;
mod evidence;
mod handler;
mod holds;
mod links;
mod look;
mod permit;
mod rebuild;
mod recoveries;
mod references;
mod restores;
mod retention_plan;
mod runs;
mod sets;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("operator", Services::load, handler::handle).await
}
