//! The steps of a recovery of the environment, as the state machine `recover-environment` asks for them.
//!
//! `plan` → `await_approval` → (other people approve) → `instances`, again and again until each is there or given up → `platform` →
//! `tenants`, stretch by stretch → `finish`, or `abandon` from anywhere. Each step can be delivered twice: it finds what the first delivery
//! did and carries on from there.

mod abandon;
mod await_approval;
mod finish;
mod forecast;
mod instances;
mod opened;
mod plan;
mod platform;
mod reapply;
mod tenant;
mod tenants;

use domain::{ErrorReport, RecoveryId};
use runtime::{Event, Invocation, services::Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::abandon::Caught;

#[derive(Debug, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Plan { recovery: RecoveryId },
    AwaitApproval { recovery: RecoveryId, task_token: String },
    Instances { recovery: RecoveryId },
    Platform { recovery: RecoveryId },
    Tenants { recovery: RecoveryId, from: u32, to: u32 },
    GiveUp { recovery: RecoveryId, from: u32, to: u32, error: Caught },
    Finish { recovery: RecoveryId },
    Abandon { recovery: RecoveryId, error: Caught },
}

/// Whether an item is a step of a recovery.
pub(crate) fn is_of_one(item: &Value) -> bool {
    item.get("recovery").is_some()
}

/// Serves one step.
pub(crate) async fn handle(services: &Services, item: Value, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let (recovery, state) = match Event::item(item)? {
        Step::Plan { recovery } => (recovery, plan::plan(services, recovery).await?),
        Step::AwaitApproval { recovery, task_token } => {
            (recovery, await_approval::await_approval(services, recovery, task_token).await?)
        }
        Step::Instances { recovery } => (recovery, instances::instances(services, recovery).await?),
        Step::Platform { recovery } => {
            let ranges = platform::platform(services, recovery, invocation).await?;
            // The very items of the state machine's Map.
            let ranges: Vec<Value> =
                ranges.into_iter().map(|(from, to)| json!({ "recovery": recovery, "from": from, "to": to })).collect();
            return Ok(json!({ "recovery": recovery, "ranges": ranges }));
        }
        Step::Tenants { recovery, from, to } => (recovery, tenants::restore(services, recovery, from..to, invocation).await?),
        Step::GiveUp { recovery, from, to, error } => (recovery, tenants::give_up(services, recovery, from..to, error).await?),
        Step::Finish { recovery } => (recovery, finish::finish(services, recovery).await?),
        Step::Abandon { recovery, error } => (recovery, abandon::abandon(services, recovery, error).await?),
    };
    Ok(json!({ "recovery": recovery, "state": state }))
}
