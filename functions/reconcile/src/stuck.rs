//! Work that began and never ended: runs whose invocation was killed and not delivered again, requests and recoveries whose runbook is gone.

use catalog::Record;
use domain::{
    Coded, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Kind, RecoveryPoint, State},
    recovery::Recovery,
};
use jiff::{SignedDuration, Timestamp};
use runtime::services::{Said, Services};

fn is_over(since: Timestamp, at_most_s: i64, now: Timestamp) -> bool {
    now.duration_since(since) > SignedDuration::from_secs(at_most_s)
}

/// Fails exports that have held their slot for longer than any run can take. Snapshots are followed by their own function.
pub(crate) async fn runs(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    let now = services.clock.now();
    for kind in Kind::EXPORTED {
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

/// Ends recoveries that are older than their runbook can be, as [`requests`] does.
pub(crate) async fn recoveries(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    let now = services.clock.now();
    for listed in services.catalog.recoveries(true, caps::LISTED_POINTS_MAX).await? {
        // The listing may lag behind; the decision is made on the record itself.
        let recovery = services.catalog.recovery(listed.id).await?.value;
        if !is_lost(&recovery, now) {
            continue;
        }
        let id = recovery.id;
        let report = ErrorReport::new(
            ErrorCode::ApprovalInvalid,
            format!("it was still {} long after its runbook must have ended", recovery.state.name()),
        );
        let said = Said {
            summary: format!("the recovery {id} of the environment has lapsed: {report}"),
            meaning: "nothing more will come of it; instances that it made stay, and cost".to_owned(),
            remedy: format!(
                "`holdfast recover watch {id}` lists the instances; look at the state machine's execution of that name, and ask for another \
                 recovery if it is still wanted"
            ),
        };
        services.all_clear(AlertClass::RecoveryAwaitsApproval, &id.to_string()).await?;
        services.raise(plan, AlertClass::RecoveryFailed, &id.to_string(), said).await?;
        match services.catalog.advance_recovery(id, |recovery| recovery.fail(&report, now)).await {
            Err(error) if error.code() != ErrorCode::Fenced => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

fn is_lost(recovery: &Recovery, now: Timestamp) -> bool {
    !recovery.state.is_final() && is_over(recovery.requested_at, caps::RECOVERY_OPEN_AT_MOST_S, now)
}

#[cfg(test)]
mod tests {
    use domain::identity::Identity;

    use super::*;

    #[test]
    fn a_recovery_is_lost_once_its_runbook_must_have_ended_and_only_while_it_is_open() {
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "ana".into(), account: "1".into() };
        let id = "rc_00000000-0000-7000-8000-000000000001".parse().unwrap();
        let open = Recovery::new(id, None, "gone".into(), ana, Timestamp::UNIX_EPOCH);
        let after = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        assert!(!is_lost(&open, after(caps::RECOVERY_OPEN_AT_MOST_S)));
        let late = after(caps::RECOVERY_OPEN_AT_MOST_S + 1);
        assert!(is_lost(&open, late));
        let ended = open.fail(&ErrorReport::new(ErrorCode::DeadlineNear, "m"), late).unwrap();
        assert!(!is_lost(&ended, late));
    }
}
