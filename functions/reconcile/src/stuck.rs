//! Work that began and never ended: runs whose invocation was killed and not delivered again, requests whose runbook is gone.

use catalog::Record;
use domain::{
    Coded, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Kind, RecoveryPoint, State},
};
use jiff::{SignedDuration, Timestamp};
use runtime::services::{Said, Services};

fn is_over(since: Timestamp, at_most_s: i64, now: Timestamp) -> bool {
    now.duration_since(since) > SignedDuration::from_secs(at_most_s)
}

/// Fails exports that have held their slot for longer than any run can take. Snapshots are followed by their own function.
pub(crate) async fn runs(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    let now = services.clock.now();
    for kind in [Kind::Database, Kind::Media, Kind::Configuration] {
        for listed in services.catalog.running(kind, caps::LISTED_POINTS_MAX).await? {
            // The listing may lag behind; the decision is made on the record itself.
            let Some(held) = services.catalog.get::<RecoveryPoint>(&listed.value.key()).await? else { continue };
            if held.value.state != State::Running || !is_over(held.value.started_at, caps::RUN_AT_MOST_S, now) {
                continue;
            }
            let (subject, started_at) = (&held.value.subject, held.value.started_at);
            let message = format!("the run that began at {started_at} never ended; its invocation was killed, or its host died");
            let report = ErrorReport::new(ErrorCode::DeadlineNear, message);
            let said = Said {
                summary: format!("the {} export of {subject} did not end: {report}", kind.name()),
                meaning: format!("there is no recovery point of {}; older ones still serve", held.value.scheduled_time),
                remedy: "look at the function's log around that time; the next slot tries again".to_owned(),
            };
            services.raise(plan, AlertClass::RunFailed, &format!("{} export of tenant {subject}", kind.name()), said).await?;
            match services.catalog.fail(&held, &report, now).await {
                Err(error) if error.code() != ErrorCode::Fenced => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Ends restore requests that are older than their runbook can be: its execution was stopped, or never started.
pub(crate) async fn requests(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    let now = services.clock.now();
    for request in services.catalog.requests(true, caps::LISTED_POINTS_MAX).await? {
        if !is_over(request.requested_at, caps::REQUEST_AT_MOST_S, now) {
            continue;
        }
        let report = ErrorReport::new(
            ErrorCode::ApprovalInvalid,
            format!("it was still {} long after its runbook must have ended", request.state.name()),
        );
        let said = Said {
            summary: format!("the restore request {} of tenant {} has lapsed: {report}", request.id, request.tenant),
            meaning: "nothing more will come of it".to_owned(),
            remedy: "look at the state machine's execution of that name; make a new request if it is still wanted".to_owned(),
        };
        services.all_clear(AlertClass::RestoreAwaitsApproval, &request.id.to_string()).await?;
        services.raise(plan, AlertClass::RestoreFailed, &request.id.to_string(), said).await?;
        match services.catalog.advance(request.id, |request| request.fail(&report, now)).await {
            Err(error) if error.code() != ErrorCode::Fenced => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}
