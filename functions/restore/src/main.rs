//! The `restore` function's process: it makes the services once and hands every event to the handler.

mod abandon;
mod audited;
mod await_approval;
mod configuration;
mod database;
mod execute;
mod handler;
mod measured;
mod media;
mod original;
mod preview;
mod recovery;
mod work;

use runtime::{door, services::Services};

// Whoever reads rows stays on one thread, which saved a fifth or so of an unchanged export's own processor time; work on chunks has
// threads of its own (`docs/performance.md`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), door::Closed> {
    door::serve("restore", Services::load, handler::handle).await
}
