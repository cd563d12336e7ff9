//! The `restore` function's process: it makes the services once and hands every event to the handler.

mod abandon;
mod await_approval;
mod execute;
mod handler;
mod preview;
mod work;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("restore", Services::load, handler::handle).await
}
