//! The state before a restore: a recovery point of what is live, made once a request is agreed to and before anything is changed.
//!
//! It is the way back that does not hang on the server which is restored. But what is live may be the very thing that is broken: what cannot
//! be kept holds no restore up. Only what a retry can mend is asked for again.

use domain::{
    Class, ErrorCode, ErrorReport, RequestId,
    plan::Plan,
    request::{RequestState, RestoreRequest},
    slot::Slot,
};
use runtime::{Invocation, services::Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{item::Made, plan_items};

/// What the state machine of restores asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    before: RequestId,
}

/// Makes the recovery point of a request's tenant as it is, unless it is there, and says what came of it.
///
/// # Errors
/// Only what a later delivery may mend.
pub(crate) async fn keep(services: &Services, plan: &Plan, asked: &Asked, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let request = services.catalog.request(asked.before).await?.value;
    if !matches!(request.state, RequestState::Approved { .. }) {
        // A late delivery: what is live now may be what the restore has made of it.
        return Ok(json!({ "request": request.id, "kept": null, "why": format!("it is {}", request.state.name()) }));
    }
    let Some(slot) = services.slot_before(&request).await? else {
        return Ok(json!({ "request": request.id, "kept": null, "why": "nothing live is changed by it" }));
    };
    let id = slot.recovery_point_id();
    match Box::pin(make(services, plan, &request, slot, invocation)).await {
        Ok(()) => Ok(json!({ "request": request.id, "kept": id })),
        Err(report) if matches!(report.code.class(), Class::Transient | Class::Throttled | Class::Conflict) => Err(report),
        Err(report) => {
            tracing::warn!(
                request.id = %request.id, error.code = report.code.name(), "what is live now is not kept: {}", report.message
            );
            Ok(json!({ "request": request.id, "kept": null, "why": report.message }))
        }
    }
}

async fn make(
    services: &Services,
    plan: &Plan,
    request: &RestoreRequest,
    slot: Slot,
    invocation: &Invocation,
) -> Result<(), ErrorReport> {
    let tenant = services.listed_tenant(plan, &request.tenant).await?;
    let items = plan_items::of_tenant(plan, &tenant, &slot.rule, slot.scheduled_time, false);
    let item = items.into_iter().find(|item| item.kind == slot.kind).ok_or_else(|| {
        let message = format!("the backup plan keeps no {} of tenant {}", slot.kind.name(), tenant.id);
        ErrorReport::new(ErrorCode::PlanInvalid, message)
    })?;
    invocation.deadline.check(&format!("the {item} before a restore"))?;
    match Box::pin(item.run(services, plan, &invocation.deadline, None)).await? {
        Made::New(point) => tracing::info!(request.id = %request.id, recovery_point.id = %point, "what is live now is kept"),
        Made::Already => {}
    }
    Ok(())
}
