//! Restore requests: made by one person, approved by another, carried out by the runbook.

use aws::TaskAnswer;
use catalog::audit::Phase;
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, RequestId, TenantId, caps,
    identity::Identity,
    point::{Kind, RecoveryPoint},
    request::{RequestState, RestoreRequest},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::look::cut;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    tenant: TenantId,
    point: Option<RecoveryPointId>,
    time: Option<Timestamp>,
    /// What to restore; what a named recovery point holds, and otherwise the database, if left out.
    kind: Option<Kind>,
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
    let machine = services.config.restore_machine()?;
    services.tenant(&wish.tenant).await?;
    let point = choose(services, &wish).await?;
    let request = RestoreRequest {
        id: services.fresh.request_id(),
        tenant: wish.tenant.clone(),
        point: point.id,
        kind: point.kind,
        reason: reason.to_owned(),
        requested_by: caller.clone(),
        requested_at: services.clock.now(),
        state: RequestState::Requested,
    };
    let id = request.id;
    services
        .audit(
            Phase::Intent,
            &caller.arn,
            "restore.request",
            wish.tenant.as_str(),
            &format!("{id} from {} ({}): {reason}", point.id, point.kind.name()),
        )
        .await?;
    let request = services.catalog.create(request).await?.value;
    // Named after the request, so a start that the SDK repeats after a lost reply finds the runbook that is there.
    let started = services.clients.machines().start(machine, &id.to_string(), &json!({ "request": id })).await;
    let started = started.map_err(ErrorReport::from);
    if let Err(report) = &started {
        end_unstarted(services, id, report).await;
    }
    let outcome =
        started.as_ref().map_or_else(|report| format!("{id}: not started: {report}"), |_| format!("{id}: runbook started"));
    services.audit(Phase::Outcome, &caller.arn, "restore.request", wish.tenant.as_str(), &outcome).await?;
    started?;
    Ok(shown(&request))
}

/// Ends a request whose runbook did not start, which nothing else would move on. If it did start after all, it finds the request ended.
async fn end_unstarted(services: &Services, id: RequestId, report: &ErrorReport) {
    let ended = services.catalog.advance(id, |request| request.fail(report, services.clock.now())).await;
    if let Err(error) = ended {
        tracing::error!(request.id = %id, error.code = error.code().name(), "a request without a runbook stays open: {error}");
    }
}

/// The recovery point a wish means: the one named, or the newest at or before a time, or the newest; of the kind it says, or of databases.
async fn choose(services: &Services, wish: &Wish) -> Result<RecoveryPoint, ErrorReport> {
    let malformed = |why: String| ErrorReport::new(ErrorCode::MalformedEvent, why);
    if wish.kind == Some(Kind::Snapshot) {
        let message = "snapshots are of instances, and no tenant is restored from one: choose database, media or configuration";
        return Err(malformed(message.to_owned()));
    }
    if let Some(id) = wish.point {
        if wish.time.is_some() {
            return Err(malformed("name either a recovery point or a time, not both".to_owned()));
        }
        let point = services.catalog.point(&wish.tenant, id).await?.value;
        return named(point, wish.kind);
    }
    let (subject, kind) = (Subject::Tenant(wish.tenant.clone()), wish.kind.unwrap_or_default());
    let points = services.catalog.points(&subject, Some(kind), caps::LISTED_POINTS_MAX).await?;
    let until = wish.time.unwrap_or(Timestamp::MAX);
    let serves = |point: &RecoveryPoint| point.is_usable() && point.scheduled_time <= until;
    // The newest data, not the newest slot: what was read from a clone is older than its slot. Listed newest first, so of equals the
    // last stands first.
    let found = points.into_iter().map(|point| point.value).filter(serves).rev().max_by_key(RecoveryPoint::as_of);
    found.ok_or_else(|| {
        let message = format!(
            "tenant {} has no usable {} recovery point at or before that time; see `holdfast points --tenant {0}`",
            wish.tenant,
            kind.name()
        );
        ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message)
    })
}

/// The recovery point that was named, if a restore can start from it and it is of the kind that was asked for.
fn named(point: RecoveryPoint, wanted: Option<Kind>) -> Result<RecoveryPoint, ErrorReport> {
    if point.kind == Kind::Snapshot || !point.is_usable() || wanted.is_some_and(|wanted| wanted != point.kind) {
        let (id, kind, state, proof) = (point.id, point.kind.name(), point.state.name(), point.proof.name());
        let wanted = wanted.map_or("database, media or configuration", Kind::name);
        let message =
            format!("recovery point {id} is a {kind} one, {state} and {proof}; the restore needs an available {wanted} one");
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    Ok(point)
}

/// A request as it stands.
pub(crate) async fn show(services: &Services, which: Which) -> Result<Value, ErrorReport> {
    Ok(shown(&services.catalog.request(which.request).await?.value))
}

/// Requests: the open ones, the oldest first, then those that ended, the newest first.
pub(crate) async fn list(services: &Services) -> Result<Value, ErrorReport> {
    const MAX: usize = caps::REQUESTS_LISTED_MAX;
    let mut open = services.catalog.requests(true, MAX + 1).await?;
    let mut ended = services.catalog.requests(false, MAX + 1).await?;
    let truncated = cut(&mut open, MAX) | cut(&mut ended, MAX);
    let requests: Vec<Value> = open.iter().chain(&ended).map(shown).collect();
    Ok(json!({ "requests": requests, "truncated": truncated }))
}

/// Records another person's agreement and wakes the runbook. Repeating it wakes it again if the first call was lost.
pub(crate) async fn approve(services: &Services, caller: &Identity, agreement: Agreement) -> Result<Value, ErrorReport> {
    let id = agreement.request;
    let subject = id.to_string();
    services.audit(Phase::Intent, &caller.arn, "restore.approve", &subject, &agreement.preview_digest).await?;
    let approved = match approve_once(services, caller, &agreement).await {
        Ok(request) => wake(services, request).await,
        Err(report) => Err(report),
    };
    let outcome = approved.as_ref().map_or_else(|report| format!("not done: {report}"), |_| "approved".to_owned());
    services.audit(Phase::Outcome, &caller.arn, "restore.approve", &subject, &outcome).await?;
    Ok(shown(&approved?))
}

/// Lets the runbook of an approved request go on.
///
/// # Errors
/// `ApprovalInvalid` if it no longer waits and has not gone on either: the approver must not believe that anything happens.
async fn wake(services: &Services, request: RestoreRequest) -> Result<RestoreRequest, ErrorReport> {
    let RequestState::Approved { task_token, .. } = &request.state else { return Ok(request) };
    let id = request.id;
    match services.clients.machines().succeed_task(task_token, &json!({ "request": id })).await? {
        TaskAnswer::Taken => Ok(request),
        TaskAnswer::TooLate => went_on(services.catalog.request(id).await?.value),
    }
}

/// The request, if an earlier call woke its runbook: then the work has begun.
fn went_on(request: RestoreRequest) -> Result<RestoreRequest, ErrorReport> {
    if matches!(request.state, RequestState::Executing { .. } | RequestState::Proven { .. }) {
        return Ok(request);
    }
    let (id, state) = (request.id, request.state.name());
    let message = format!(
        "the runbook of restore request {id} no longer waits for approval, and the request is {state}; \
         see `holdfast restore watch {id}`, and unless that shows the work going on, make a new request"
    );
    Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message))
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
        "kind": request.kind,
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

#[cfg(test)]
mod tests {
    use domain::request::{Approval, Preview};

    use super::*;

    fn in_state(state: RequestState) -> RestoreRequest {
        let person = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        RestoreRequest {
            id: "rq_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            point: "rp_00000000-0000-0000-0000-000000000002".parse().unwrap(),
            kind: Kind::Database,
            reason: "rows gone".into(),
            requested_by: person,
            requested_at: at(),
            state,
        }
    }

    fn at() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_named_recovery_point_of_any_kind_but_a_snapshot_is_restored_from() {
        use domain::point::{Content, Proof, State};
        let content = || Content::Snapshot { identifier: "i".into(), arn: "a".into(), settings: Value::Null };
        let point = |kind| RecoveryPoint {
            id: "rp_00000000-0000-0000-0000-000000000002".parse().unwrap(),
            subject: Subject::Tenant("acme".parse().unwrap()),
            kind,
            rule: "daily".into(),
            scheduled_time: at(),
            run: "run_00000000-0000-0000-0000-000000000003".parse().unwrap(),
            attempts: 1,
            started_at: at(),
            state: State::Available { at: at(), content: content() },
            unfinished: None,
            proof: Proof::Unproven,
            holds: vec![],
        };
        for kind in [Kind::Database, Kind::Media, Kind::Configuration] {
            assert!(named(point(kind), None).is_ok() && named(point(kind), Some(kind)).is_ok(), "{kind:?}");
        }
        for (kind, wanted) in
            [(Kind::Snapshot, None), (Kind::Media, Some(Kind::Configuration)), (Kind::Media, Some(Kind::Database))]
        {
            assert_eq!(named(point(kind), wanted).unwrap_err().code, ErrorCode::UnknownRecoveryPoint, "{kind:?} {wanted:?}");
        }
        let failed = RecoveryPoint { state: State::Running, ..point(Kind::Configuration) };
        let refused = named(failed, Some(Kind::Configuration)).unwrap_err();
        assert!(refused.message.contains("running and unproven; the restore needs an available configuration one"), "{refused}");
    }

    #[test]
    fn an_approval_that_came_too_late_is_not_reported_as_one() {
        let preview = Preview { at: at(), tables: vec![], notes: vec![], live_digest: "l".into(), digest: "d".into() };
        let approval = Approval { by: in_state(RequestState::Requested).requested_by, at: at(), preview_digest: "d".into() };
        let approved = RequestState::Approved { preview: preview.clone(), approval: approval.clone(), task_token: "t".into() };
        let failed = RequestState::Failed { at: at(), code: "ApprovalInvalid".into(), message: "m".into() };
        for state in [approved, failed] {
            let report = went_on(in_state(state)).unwrap_err();
            assert_eq!(report.code, ErrorCode::ApprovalInvalid);
            assert!(report.message.contains("holdfast restore watch rq_"), "{report}");
        }
        let executing = RequestState::Executing { preview, approval, started_at: at() };
        assert!(went_on(in_state(executing)).is_ok(), "an earlier call woke it");
    }
}
