//! The `verify` function's process: it makes the services once and hands every event to the handler.

mod authentic;
mod chain;
mod clone;
mod compare;
mod drill;
mod due;
mod environment;
mod handler;
mod rebuild;
mod references;
mod rounds;
mod test;
mod verdict;

use runtime::{door, services::Services};

// Whoever reads rows stays on one thread, which saved a fifth or so of an unchanged export's own processor time; work on chunks has
// threads of its own (`docs/performance.md`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), door::Closed> {
    door::serve("verify", Services::load, handler::handle).await
}
