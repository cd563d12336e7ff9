//! The `retention` function's process: it makes the services once and hands every event to the handler.

mod handler;
mod policy;
mod run;
mod sweep;

use runtime::{door, services::Services};

#[tokio::main]
async fn main() -> Result<(), door::Closed> {
    door::serve("retention", Services::load, handler::handle).await
}
