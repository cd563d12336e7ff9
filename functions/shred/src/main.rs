//! The `shred` function's process: it makes the services once and hands every event to the handler.

mod handler;
mod letting_go;
mod outside;

use runtime::{door, services::Services};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), door::Closed> {
    door::serve("shred", Services::load, handler::handle).await
}
