//! The `verify` function's process: it makes the services once and hands every event to the handler.

mod authentic;
mod clone;
mod compare;
mod drill;
mod handler;
mod rotation;
mod trouble;
mod verdict;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("verify", Services::load, handler::handle).await
}
