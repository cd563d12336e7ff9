//! What every function shares between its cold start and its handler.
//!
//! This is the one place where the outside world is ambient: the environment, the clock, random bytes, the log and
//! Lambda itself. Everything inside takes them as values, which is why it can be tested without them.
//!
//! A function's `main.rs` needs no more than this, under `#[tokio::main]`:
//!
//! ```no_run
//! # struct Deps;
//! # impl Deps { async fn load() -> Result<Self, domain::ErrorReport> { Ok(Self) } }
//! # async fn handle(_: &Deps, _: runtime::Event, _: &runtime::Invocation) -> Result<serde_json::Value, domain::ErrorReport> {
//! #     Ok(serde_json::Value::Null)
//! # }
//! # async fn run() -> Result<(), runtime::door::Closed> {
//! runtime::door::serve("export", Deps::load, handle).await
//! # }
//! ```

mod before;
pub mod clock;
pub mod config;
pub mod copies;
pub mod deadline;
pub mod door;
pub mod erasing;
pub mod event;
pub mod fresh;
pub mod instants;
pub mod objectives;
mod own_keys;
pub mod permit;
pub mod recovered;
pub mod reply;
pub mod services;
pub mod sharing;
mod snapshot_proof;
pub mod telemetry;
pub mod trouble;

pub use clock::{Clock, FixedClock, SystemClock};
pub use config::Config;
pub use deadline::Deadline;
pub use door::Invocation;
pub use event::{Caller, Event, RdsEvent, RdsSource, UrlRequest};
pub use fresh::{CountingFresh, Fresh, SystemFresh};
