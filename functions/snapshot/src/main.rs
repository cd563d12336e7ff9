//! The `snapshot` function's process: it makes the services once and hands every event to the handler.

mod handler;
mod name;
mod step;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("snapshot", Services::load, handler::handle).await
}
