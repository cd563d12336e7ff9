//! The steps of a restore request, as the state machine `restore-tenant` asks for them.
//!
//! `preview` → `await_approval` → (a second person approves) → `execute`, or `abandon` from anywhere. Each step can be
//! delivered twice: it finds what the first delivery did and carries on from there.

use domain::{ErrorReport, RequestId};
use runtime::{Event, Invocation, services::Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{abandon, await_approval, execute, preview, recovery};

#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Preview { request: RequestId },
    AwaitApproval { request: RequestId, task_token: String },
    Execute { request: RequestId },
    Abandon { request: RequestId, error: abandon::Caught },
}

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let Event::Item(item) = event else {
        return Err(event.refused("restore", "an item with a step of a restore request or of a recovery").into());
    };
    if recovery::is_of_one(&item) {
        return Box::pin(recovery::handle(services, item, invocation)).await;
    }
    let (request, state) = match Event::item(item)? {
        Step::Preview { request } => (request, Box::pin(preview::preview(services, request)).await?),
        Step::AwaitApproval { request, task_token } => {
            (request, await_approval::await_approval(services, request, task_token).await?)
        }
        Step::Execute { request } => (request, Box::pin(execute::execute(services, request)).await?),
        Step::Abandon { request, error } => (request, abandon::abandon(services, request, error).await?),
    };
    Ok(json!({ "request": request, "state": state }))
}
