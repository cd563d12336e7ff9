//! scratch
use runtime::{Event, Invocation, SystemFresh, Fresh};
#[tokio::main]
async fn main() -> Result<(), runtime::door::Closed> {
    runtime::door::serve("scratch", async || { runtime::Config::from_env().map_err(Into::into) }, async |c: &runtime::Config, e: Event, i: &Invocation| {
        tracing::info!(table = c.table, left_s = i.deadline.remaining().as_secs(), id = %SystemFresh.run_id(), "hello");
        if let Event::Item(_) = e { panic!("a bug") }
        Ok(serde_json::json!({"kind": e.kind()}))
    }).await
}
