//! The `snapshot` function's process: it makes the services once and hands every event to the handler.

mod archive;
mod fate;
mod handler;
mod name;
mod ours;
mod room;
mod run;
mod step;
mod tidy;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("snapshot", Services::load, handler::handle).await
}
