//! Letting the runbook of an approved request go on.

use aws::{Execution, TaskAnswer};
use domain::{
    ErrorCode, ErrorReport, caps,
    request::{RequestState, RestoreRequest},
};
use jiff::{SignedDuration, Timestamp};
use runtime::services::Services;
use serde_json::json;

/// Lets the runbook of an approved request go on; for any other nothing is done.
///
/// # Errors
/// `ApprovalInvalid` if it no longer waits and has not gone on either: the approver must not believe that anything happens.
pub(super) async fn wake(services: &Services, request: RestoreRequest) -> Result<RestoreRequest, ErrorReport> {
    let RequestState::Approved { task_token, preview, .. } = &request.state else { return Ok(request) };
    let (id, shown_at) = (request.id, preview.at);
    match services.clients.machines().succeed_task(task_token, &json!({ "request": id })).await? {
        TaskAnswer::Taken => Ok(request),
        TaskAnswer::TooLate => {
            let request = services.catalog.request(id).await?.value;
            let is_kept = match services.slot_before(&request).await? {
                Some(slot) => services.catalog.slot(&slot).await?.is_some(),
                None => false,
            };
            // Between the answer and the first sign of what it set going lie a few seconds.
            let goes_on = is_kept || was_woken(services, services.config.restore_machine()?, &id.to_string(), shown_at).await?;
            went_on(request, goes_on)
        }
    }
}

/// Whether an earlier call woke the runbook of this name: it is under way, and the wait that no longer takes an answer ended with one. The
/// step that keeps the token does nothing afterwards that could fail it, but for its entry in the audit trail; what was approved in the
/// moment in which that one fails is given up, and told.
///
/// # Errors
/// If Step Functions does not say how it stands.
pub(crate) async fn was_woken(services: &Services, machine: &str, name: &str, shown_at: Timestamp) -> Result<bool, ErrorReport> {
    match services.clients.machines().execution(machine, name).await {
        Err(error) if error.is_not_found() => Ok(false),
        found => Ok(is_answered(&found?.stands, shown_at, services.clock.now())),
    }
}

/// The wait began after what it waits for was shown, and lasts as long as that may be approved: before then only an answer ends it.
fn is_answered(stands: &Execution, shown_at: Timestamp, now: Timestamp) -> bool {
    *stands == Execution::Running && now.duration_since(shown_at) < SignedDuration::from_secs(caps::APPROVAL_LIFETIME_S)
}

/// The request, if an earlier call woke its runbook: then the work has begun, or the runbook is on its way there (`goes_on`).
fn went_on(request: RestoreRequest, goes_on: bool) -> Result<RestoreRequest, ErrorReport> {
    match &request.state {
        RequestState::Executing { .. } | RequestState::Proven { .. } => return Ok(request),
        RequestState::Approved { .. } if goes_on => return Ok(request),
        _ => {}
    }
    let (id, state) = (request.id, request.state.name());
    let message = format!(
        "the runbook of restore request {id} no longer waits for approval, and the request is {state}; \
         see `holdfast restore watch {id}`, and unless that shows the work going on, make a new request"
    );
    Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message))
}

#[cfg(test)]
mod tests {
    use domain::{
        identity::Identity,
        point::Kind,
        request::{Approval, Findings, Preview},
    };
    use jiff::Timestamp;

    use super::*;

    fn in_state(state: RequestState) -> RestoreRequest {
        let person = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        let id = "rq_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let point = "rp_00000000-0000-0000-0000-000000000002".parse().unwrap();
        let tenant = "acme".parse().unwrap();
        let request = RestoreRequest::new(id, tenant, (point, Kind::Database), "rows gone".into(), person, at());
        RestoreRequest { state, ..request }
    }

    fn at() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    #[test]
    fn an_approval_that_came_too_late_is_not_reported_as_one() {
        let asked = in_state(RequestState::Requested);
        let found = Findings { tables: vec![], notes: vec![], live_digest: "l".into() };
        let preview = Preview::new(&asked, "sha", found, None, at());
        let approval = Approval { by: asked.requested_by, at: at(), preview_digest: preview.digest.clone(), break_glass: None };
        let approvals = vec![approval];
        let (token, kept) = ("t".to_owned(), (preview.clone(), approvals.clone()));
        let approved = RequestState::Approved { preview: kept.0, approvals: kept.1, task_token: token };
        let failed = RequestState::Failed { at: at(), code: "ApprovalInvalid".into(), message: "m".into(), preview: None };
        let keeping = approved.clone();
        for state in [approved, failed] {
            let report = went_on(in_state(state), false).unwrap_err();
            assert_eq!(report.code, ErrorCode::ApprovalInvalid);
            assert!(report.message.contains("holdfast restore watch rq_"), "{report}");
        }
        let executing = RequestState::Executing { preview, approvals, started_at: at() };
        assert!(went_on(in_state(executing), false).is_ok(), "an earlier call woke it");
        assert!(went_on(in_state(keeping), true).is_ok(), "an earlier call woke it, and it is on its way");
    }

    #[test]
    fn a_runbook_under_way_was_woken_unless_its_wait_can_have_ended_by_itself() {
        let failed = Execution::Failed { error: "States.Timeout".into(), cause: String::new() };
        let lifetime = SignedDuration::from_secs(caps::APPROVAL_LIFETIME_S);
        let (soon, just, late) = (at(), at() + lifetime - SignedDuration::from_secs(1), at() + lifetime);
        for (stands, now, expected) in [
            (Execution::Running, soon, true),
            (Execution::Running, just, true),
            (Execution::Running, late, false),
            (Execution::Succeeded(json!({})), soon, false),
            (failed, soon, false),
        ] {
            assert_eq!(is_answered(&stands, at(), now), expected, "{stands:?} {now}");
        }
    }
}
