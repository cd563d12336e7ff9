//! The `reconcile` function's process: it makes the services once and hands every event to the handler.

mod coverage;
mod erasures;
mod handler;
mod leftovers;
mod missed;
mod objectives;
mod reviews;
mod stuck;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("reconcile", Services::load, handler::handle).await
}
