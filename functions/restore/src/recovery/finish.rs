//! The end: nobody is silently missing, everything is measured, the subscribers are told.

use catalog::audit::Phase;
use domain::{
    ErrorCode, ErrorReport, RecoveryId,
    alert::AlertClass,
    recovery::{Outcome, Progress, RecoveredTenant, Recovery, RecoveryState, Report, Stage, Tally, Work},
};
use runtime::services::{Said, Services, first_few};

use super::opened::Opened;

/// Judges what became of everything, and ends the recovery.
pub(super) async fn finish(services: &Services, id: RecoveryId) -> Result<&'static str, ErrorReport> {
    let mut opened = Opened::read(services, id).await?;
    let RecoveryState::Restoring { work, .. } = &opened.recovery.state else { return Ok(opened.recovery.state.name()) };
    for item in &mut opened.tenants {
        if !item.value.progress.is_final() {
            let message = "its restore did not end; the log of the function restore says more";
            let progress = Progress::failed(&ErrorReport::new(ErrorCode::StoreUnavailable, message), services.clock.now());
            *item = services.catalog.update(item, RecoveredTenant { progress, ..item.value.clone() }).await?;
        }
    }
    let tenants: Vec<RecoveredTenant> = opened.tenants.iter().map(|item| item.value.clone()).collect();
    let report = Report::of(&opened.recovery, work, &tenants, services.clock.now());
    let (class, said) = match report.outcome {
        Outcome::Proven => (AlertClass::RecoveryProven, proven(&opened.recovery, &report)),
        Outcome::FailedInPart => (AlertClass::RecoveryFailed, in_part(&opened.recovery, work, &tenants, &report)),
    };
    let outcome = format!("{id}: {}, {} rows of {} tenants", report.outcome.name(), report.tally.rows, report.tally.tenants);
    services.audit(Phase::Outcome, "restore", "recover.finish", "environment", &outcome).await?;
    // Told before it is final: a delivery that finds it ended tells nobody any more.
    services.all_clear(AlertClass::RecoveryAwaitsApproval, &id.to_string()).await?;
    services.raise(&opened.plan, class, &id.to_string(), said).await?;
    let recovery = services.catalog.advance_recovery(id, |recovery| recovery.finish(report)).await?.value;
    Ok(recovery.state.name())
}

fn times(report: &Report) -> String {
    let seconds = |ms: i64| format!("{:.1} s", ms as f64 / 1_000.0);
    let rpo =
        report.rpo_ms.map_or_else(|| "nothing is back".to_owned(), |ms| format!("at most {} of data are lost", seconds(ms)));
    format!("it took {} ({} with people's time); {rpo}", seconds(report.rto_ms), seconds(report.since_request_ms))
}

fn stand(tally: &Tally) -> String {
    let Tally { as_of_snapshot, as_of_instant, .. } = tally;
    match as_of_instant {
        0 => format!("{as_of_snapshot} stand as of their instance's snapshot"),
        _ => format!("{as_of_instant} stand as of the instant, {as_of_snapshot} as of their instance's snapshot"),
    }
}

fn proven(recovery: &Recovery, report: &Report) -> Said {
    let (id, tally) = (recovery.id, &report.tally);
    Said {
        summary: format!("the environment is recovered: {} rows of {} tenants; {}", tally.rows, tally.tenants, times(report)),
        meaning: format!(
            "{} tenants equal their recovery points, {}, {} are no customers any more",
            tally.proven,
            stand(tally),
            tally.left_out
        ),
        remedy: format!(
            "read `holdfast recover watch {id}`, point the application at the new instances, and put their identifiers into the backup plan"
        ),
    }
}

fn in_part(recovery: &Recovery, work: &Work, tenants: &[RecoveredTenant], report: &Report) -> Said {
    let instances = work.instances.iter().filter_map(|made| match &made.stage {
        Stage::Ready { .. } => None,
        Stage::Failed { message, .. } => Some(format!("instance {}: {message}", made.database)),
        Stage::Due | Stage::Asked { .. } | Stage::GivenBack { .. } => Some(format!("instance {} is not there", made.database)),
    });
    let lost = tenants.iter().filter_map(|tenant| match &tenant.progress {
        Progress::Failed { message, .. } => Some(format!("{}: {message}", tenant.plan.tenant)),
        _ => None,
    });
    let all: Vec<String> = instances.chain(lost).collect();
    let (id, tally) = (recovery.id, &report.tally);
    Said {
        summary: format!(
            "the environment is recovered in part: {} of {} tenants are not back; {}; {}",
            tally.failed,
            tally.tenants,
            times(report),
            first_few(&all)
        ),
        meaning: format!(
            "{} tenants equal their recovery points, {}; the others are lost until somebody restores them",
            tally.proven,
            stand(tally)
        ),
        remedy: format!(
            "read `holdfast recover watch {id}`; for each that is missing mend the cause, then \
             `holdfast restore request --tenant … --mode new-environment --recovery {id} --reason …`"
        ),
    }
}
