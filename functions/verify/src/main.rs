//! The `verify` function's process: it makes the services once and hands every event to the handler.

mod authentic;
mod compare;
mod drill;
mod handler;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("verify", Services::load, handler::handle).await
}
