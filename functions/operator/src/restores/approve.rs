//! Agreeing to a restore: by enough other people, each bound to the very preview.

use catalog::{TableError, audit::Phase, requests::RequestRecordError};
use domain::{
    Coded, ErrorCode, ErrorReport, RequestId,
    alert::AlertClass,
    identity::Identity,
    plan::Plan,
    request::{RequestState, RestoreRequest},
};
use runtime::services::{Said, Services};
use serde::Deserialize;
use serde_json::Value;

use super::{shown::shown_with_need, wake::wake};

/// The body of `restore-approve`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    request: RequestId,
    preview_digest: String,
}

/// How often an approval is tried again that another person's came before.
const ATTEMPTS_MAX: u32 = 3;

/// Records another person's agreement and, if it was the last that is needed, wakes the runbook. Repeating it wakes it again if the first
/// call was lost.
pub(crate) async fn approve(services: &Services, caller: &Identity, agreement: Agreement) -> Result<Value, ErrorReport> {
    let subject = agreement.request.to_string();
    services.audit(Phase::Intent, &caller.arn, "restore.approve", &subject, &agreement.preview_digest).await?;
    let approved = async {
        let plan = services.plan().await?;
        let (request, needed) = approve_once(services, &plan, caller, &agreement).await?;
        match &request.state {
            RequestState::AwaitingApproval { .. } => {
                tell_again(services, &plan, caller, &request, needed).await;
                Ok(request)
            }
            _ => wake(services, request).await,
        }
    };
    let approved = Box::pin(approved).await;
    let outcome = approved.as_ref().map_or_else(|report| format!("not done: {report}"), outcome_of);
    services.audit(Phase::Outcome, &caller.arn, "restore.approve", &subject, &outcome).await?;
    shown_with_need(services, &approved?).await
}

fn outcome_of(request: &RestoreRequest) -> String {
    match &request.state {
        RequestState::AwaitingApproval { approvals, .. } => format!("agreed; {} so far, more are needed", approvals.len()),
        _ => "approved".to_owned(),
    }
}

/// Records the agreement, and gives how many are needed besides.
async fn approve_once(
    services: &Services,
    plan: &Plan,
    caller: &Identity,
    agreement: &Agreement,
) -> Result<(RestoreRequest, u8), ErrorReport> {
    let Agreement { request: id, preview_digest: digest } = agreement;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let now = services.clock.now();
        let asked = services.catalog.request(*id).await?.value;
        let needed = services.approvals_needed(plan, &asked).await?;
        let is_this =
            |state: &RequestState| state.approvals().iter().any(|one| one.by == *caller && one.preview_digest == *digest);
        if matches!(asked.state, RequestState::AwaitingApproval { .. }) && is_this(&asked.state) {
            // It is recorded, and only the answer was lost.
            return Ok((asked, needed));
        }
        match services.catalog.advance(*id, |request| request.approve(caller.clone(), digest, needed, now)).await {
            Ok(request) => return Ok((request.value, needed)),
            // Somebody agreed at the same moment; theirs counts, and perhaps one more is needed.
            Err(RequestRecordError::Table(TableError::Conflict { .. })) if attempts < ATTEMPTS_MAX => {}
            Err(error) if error.code() == ErrorCode::Fenced => {
                // Perhaps this very approval is recorded and only its wake-up was lost.
                let request = services.catalog.request(*id).await?.value;
                return match &request.state {
                    state @ RequestState::Approved { .. } if is_this(state) => Ok((request, needed)),
                    _ => Err(error.into()),
                };
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Tells who has agreed and that more are needed: the alert that was told before is over, and a new one opens.
async fn tell_again(services: &Services, plan: &Plan, caller: &Identity, request: &RestoreRequest, needed: u8) {
    let id = request.id.to_string();
    let agreed = request.state.approvals().len();
    let said = Said {
        summary: format!("{} agrees to {}; {agreed} of {needed} have", caller.arn, request.in_words()),
        meaning: format!("nothing happens until {} more people agree", usize::from(needed).saturating_sub(agreed)),
        remedy: format!("look at `holdfast restore preview {id}`, then, as yet another person, `holdfast restore approve {id}`"),
    };
    let told = async {
        services.all_clear(AlertClass::RestoreAwaitsApproval, &id).await?;
        services.raise(plan, AlertClass::RestoreAwaitsApproval, &id, said).await
    };
    if let Err(report) = told.await {
        // The approval is recorded all the same; reconcile tells what could not be told.
        tracing::error!(request.id = id, error.code = report.code.name(), "an approval could not be told: {}", report.message);
    }
}
