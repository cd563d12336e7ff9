//! Restore requests: made by one person, approved by another, carried out by the runbook.

use catalog::audit::Phase;
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, RequestId, TenantId, caps,
    point::{Kind, RecoveryPoint},
    request::{Identity, RequestState, RestoreRequest},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    tenant: TenantId,
    point: Option<RecoveryPointId>,
    time: Option<Timestamp>,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    request: RequestId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    request: RequestId,
    preview_digest: String,
}

/// Records a request and starts its runbook, which previews it and then waits for another person.
pub(crate) async fn request(services: &Services, caller: &Identity, wish: Wish) -> Result<Value, ErrorReport> {
    let reason = wish.reason.trim();
    if reason.is_empty() || reason.len() > caps::FREE_TEXT_BYTES_MAX {
        let message = format!(
            "a restore needs a reason of 1 to {} bytes, for the person who approves it and for the audit trail",
            caps::FREE_TEXT_BYTES_MAX
        );
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    services.tenant(&wish.tenant).await?;
    let point = choose(services, &wish).await?;
    let request = RestoreRequest {
        id: services.fresh.request_id(),
        tenant: wish.tenant.clone(),
        point: point.id,
        reason: reason.to_owned(),
        requested_by: caller.clone(),
        requested_at: services.clock.now(),
        state: RequestState::Requested,
    };
    let id = request.id;
    services
        .audit(Phase::Intent, &caller.arn, "restore.request", wish.tenant.as_str(), &format!("{id} from {}: {reason}", point.id))
        .await?;
    let request = services.catalog.create(request).await?.value;
    // Named after the request, so a repeated start finds the runbook that is there.
    services.clients.machines().start(services.config.restore_machine()?, &id.to_string(), &json!({ "request": id })).await?;
    services
        .audit(Phase::Outcome, &caller.arn, "restore.request", wish.tenant.as_str(), &format!("{id}: runbook started"))
        .await?;
    Ok(shown(&request))
}

/// The recovery point a wish means: the one named, or the newest at or before a time, or the newest.
async fn choose(services: &Services, wish: &Wish) -> Result<RecoveryPoint, ErrorReport> {
    let unusable = |why: String| ErrorReport::new(ErrorCode::UnknownRecoveryPoint, why);
    if let Some(id) = wish.point {
        if wish.time.is_some() {
            let message = "name either a recovery point or a time, not both".to_owned();
            return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
        }
        let point = services.catalog.point(&wish.tenant, id).await?.value;
        if point.kind != Kind::Database || !point.is_usable() {
            let (kind, state, proof) = (point.kind.name(), point.state.name(), point.proof.name());
            return Err(unusable(format!(
                "recovery point {id} is a {kind} one, {state} and {proof}; a restore needs an available database one"
            )));
        }
        return Ok(point);
    }
    let subject = Subject::Tenant(wish.tenant.clone());
    let points = services.catalog.points(&subject, Some(Kind::Database), caps::LISTED_POINTS_MAX).await?;
    let until = wish.time.unwrap_or(Timestamp::MAX);
    let found = points.into_iter().map(|point| point.value).find(|point| point.is_usable() && point.scheduled_time <= until);
    found.ok_or_else(|| {
        unusable(format!(
            "tenant {} has no usable recovery point at or before that time; see `holdfast points --tenant {0}`",
            wish.tenant
        ))
    })
}

/// A request as it stands.
pub(crate) async fn show(services: &Services, which: Which) -> Result<Value, ErrorReport> {
    Ok(shown(&services.catalog.request(which.request).await?.value))
}

/// Requests, the open ones first.
pub(crate) async fn list(services: &Services) -> Result<Value, ErrorReport> {
    const LISTED_MAX: usize = 200;
    let mut found = services.catalog.requests(true, LISTED_MAX).await?;
    found.extend(services.catalog.requests(false, LISTED_MAX).await?);
    Ok(json!({ "requests": found.iter().map(shown).collect::<Vec<_>>() }))
}

/// Records another person's agreement and wakes the runbook. Repeating it wakes it again if the first call was lost.
pub(crate) async fn approve(services: &Services, caller: &Identity, agreement: Agreement) -> Result<Value, ErrorReport> {
    let id = agreement.request;
    let subject = id.to_string();
    services.audit(Phase::Intent, &caller.arn, "restore.approve", &subject, &agreement.preview_digest).await?;
    let approved = approve_once(services, caller, &agreement).await;
    let outcome = approved.as_ref().map_or_else(|report| format!("refused: {report}"), |_| "approved".to_owned());
    services.audit(Phase::Outcome, &caller.arn, "restore.approve", &subject, &outcome).await?;
    let request = approved?;
    if let RequestState::Approved { task_token, .. } = &request.state {
        services.clients.machines().succeed_task(task_token, &json!({ "request": id })).await?;
    }
    Ok(shown(&request))
}

async fn approve_once(services: &Services, caller: &Identity, agreement: &Agreement) -> Result<RestoreRequest, ErrorReport> {
    let now = services.clock.now();
    let step = |request: RestoreRequest| request.approve(caller.clone(), &agreement.preview_digest, now);
    match services.catalog.advance(agreement.request, step).await {
        Ok(request) => Ok(request.value),
        Err(error) if error.code() == ErrorCode::Fenced => {
            // Perhaps this very approval is recorded and only its wake-up was lost.
            let request = services.catalog.request(agreement.request).await?.value;
            match &request.state {
                RequestState::Approved { approval, .. }
                    if approval.by == *caller && approval.preview_digest == agreement.preview_digest =>
                {
                    Ok(request)
                }
                _ => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

fn shown(request: &RestoreRequest) -> Value {
    let mut shown = json!({
        "request": request.id,
        "tenant": request.tenant,
        "point": request.point,
        "reason": request.reason,
        "requested_by": request.requested_by.arn,
        "requested_at": request.requested_at,
        "state": request.state.name(),
    });
    match &request.state {
        RequestState::Requested => {}
        RequestState::Previewed { preview } | RequestState::AwaitingApproval { preview, .. } => shown["preview"] = json!(preview),
        RequestState::Approved { preview, approval, .. } | RequestState::Executing { preview, approval, .. } => {
            shown["preview"] = json!(preview);
            shown["approved_by"] = json!(approval.by.arn);
        }
        RequestState::Proven { approval, outcome } => {
            shown["approved_by"] = json!(approval.by.arn);
            shown["outcome"] = json!(outcome);
        }
        RequestState::Failed { code, message, .. } => shown["error"] = json!({ "code": code, "message": message }),
    }
    shown
}
