//! The `export` function's process: it makes the services once and hands every event to the handler.

mod arrange;
mod before;
mod clones;
mod handler;
mod item;
mod plan_items;
mod point_in_time;
mod quiet;
mod source;
mod sweeps;
mod windows;

use runtime::{door, services::Services};

// Whoever reads rows stays on one thread, which saved a fifth or so of an unchanged export's own processor time; work on chunks has
// threads of its own (`docs/performance.md`).
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), door::Closed> {
    door::serve("export", Services::load, handler::handle).await
}
