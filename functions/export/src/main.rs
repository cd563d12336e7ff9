//! The `export` function's process: it makes the services once and hands every event to the handler.

mod handler;
mod item;
mod plan_items;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("export", Services::load, handler::handle).await
}
