//! The tests on one clone, and what each says: of the snapshot that it was made from, and of an export that is loaded into it.

use std::time::Duration;

use catalog::{
    Versioned,
    drills::{Drill, Outcome, Test},
};
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    forecast::Sample,
    plan::Plan,
    point::{Content, Proof, RecoveryPoint},
    register::Tenant,
};
use jiff::Timestamp;
use runtime::{Invocation, services::Services};

use crate::{authentic, compare, drill, environment, verdict::Verdict};

/// How the outcome of a snapshot begins that could not be tested.
pub(crate) const UNTESTED: &str = "untested";

/// Judges the snapshot that a drill's clone was made from. Returns what came of it.
pub(crate) async fn snapshot(services: &Services, plan: &Plan, drill: &Drill) -> Result<String, ErrorReport> {
    let Some(snapshot) = drill::snapshot_of(services, drill).await? else { return Ok("gone".to_owned()) };
    match services.prove_snapshot(plan, &snapshot, &drill.instance, drill.started_at).await {
        Ok(true) => Ok("proven".to_owned()),
        Ok(false) => Ok("refuted".to_owned()),
        Err(report) if report.code == ErrorCode::Fenced => Ok(format!("void: {report}")),
        Err(report) => {
            let tried_at = services.clock.now();
            services.catalog.record_checked(&snapshot.value, |checked| checked.tried_at = Some(tried_at)).await?;
            Ok(format!("{UNTESTED}: {report}"))
        }
    }
}

/// The snapshot of a drill whose clone cannot be had, if RDS says that it is gone or will never be restorable, and its words.
pub(crate) async fn unusable(services: &Services, drill: &Drill) -> Option<(Versioned<RecoveryPoint>, String)> {
    let snapshot = drill::snapshot_of(services, drill).await.ok()??;
    let Some(Content::Snapshot { identifier, arn, .. }) = snapshot.value.content() else { return None };
    let why = match services.clients.snapshots(aws::SnapshotOf::of_arn(arn)).describe(identifier).await {
        Err(error) if error.is_not_found() => format!("RDS has no snapshot {identifier} any more"),
        Ok(found) => match found.state {
            aws::SnapshotState::Failed { status } => format!("RDS says that snapshot {identifier} is {status}"),
            aws::SnapshotState::Deleting => format!("RDS is deleting snapshot {identifier}"),
            aws::SnapshotState::Available | aws::SnapshotState::Creating { .. } => return None,
        },
        Err(_) => return None,
    };
    Some((snapshot, why))
}

/// Makes one test of a drill. Returns what came of it and what was measured; `None` if it did not end in this invocation's time.
pub(crate) async fn export(
    services: &Services,
    plan: &Plan,
    drill: &Drill,
    n: usize,
    invocation: &Invocation,
) -> Result<Option<(Outcome, Option<Sample>)>, ErrorReport> {
    let test = &drill.tests[n];
    if test.attempts > caps::TEST_ATTEMPTS_MAX {
        let why = format!("it did not end within {} invocations", caps::TEST_ATTEMPTS_MAX);
        return Ok(Some((Outcome::Untested(why), None)));
    }
    let tenant = match services.tenant(&test.tenant).await {
        Ok(record) => record.tenant,
        Err(report) if report.code == ErrorCode::UnknownTenant => return Ok(Some((Outcome::Void(report.to_string()), None))),
        Err(report) => return Err(report),
    };
    let began = services.clock.now();
    let budget = invocation.deadline.remaining().saturating_sub(Duration::from_millis(caps::DEADLINE_RESERVE_MS));
    let comparing = Box::pin(compare::on_clone(services, plan, &tenant, test, &drill.instance));
    let Ok(compared) = tokio::time::timeout(budget, comparing).await else { return Ok(None) };
    // Without the time that the clone took to appear: a restore in place needs none.
    let ms = u64::try_from(services.ms_since(began)).unwrap_or_default();
    let measured = compared.as_ref().ok().map(|&rows| Sample { rows, ms });
    let outcome = match judge(services, plan, drill, test, &tenant, began, compared).await {
        Ok(outcome) => outcome,
        // The record changed while it was compared, perhaps expired: this verdict is void, and the tests go on.
        Err(report) if matches!(report.code, ErrorCode::Fenced | ErrorCode::UnknownRecoveryPoint) => {
            Outcome::Void(report.to_string())
        }
        Err(report) => return Err(report),
    };
    Ok(Some((outcome, measured)))
}

async fn judge(
    services: &Services,
    plan: &Plan,
    drill: &Drill,
    test: &Test,
    tenant: &Tenant,
    began: Timestamp,
    compared: Result<u64, ErrorReport>,
) -> Result<Outcome, ErrorReport> {
    let point = services.catalog.point(&tenant.id, test.point).await?;
    let now = services.clock.now();
    let verdict = compared.as_ref().err().map(|report| (Verdict::of(report.code), report));
    let has_verdict = !matches!(verdict, Some((Verdict::EnvironmentBad, _)));
    let outcome = match verdict {
        None => {
            // As a restore of this tenant alone would have taken: the clone, then its own loading, and nobody else's.
            let clone_ms = i64::try_from(drill.ready_at.unwrap_or(began).duration_since(drill.started_at).as_millis());
            let rto_ms = clone_ms.unwrap_or(i64::MAX).saturating_add(services.ms_since(began));
            services.catalog.judge(&point, Proof::Proven { at: now, rto_ms }).await?;
            // An earlier test may have refuted it.
            services.all_clear(AlertClass::BackupBad, &point.value.id.to_string()).await?;
            Outcome::Proven
        }
        Some((Verdict::Refuted, report)) => {
            authentic::refute(services, plan, tenant, &point, vec![report.to_string()]).await?;
            Outcome::Bad(report.to_string())
        }
        Some((Verdict::DidNotLoad, report)) => {
            authentic::doubt(services, plan, tenant, &point.value, report).await?;
            Outcome::Bad(report.to_string())
        }
        Some((Verdict::EnvironmentBad, report)) if report.code == ErrorCode::KeyUnusable => {
            environment::tell_of_keys(services, plan, &format!("the restore test of tenant {}", tenant.id), report).await?;
            // Told by its cause, not once more by its clone.
            Outcome::Void(report.to_string())
        }
        Some((Verdict::EnvironmentBad, report)) => Outcome::Untested(report.to_string()),
    };
    services
        .catalog
        .record_checked(&point.value, |checked| {
            checked.tried_at = Some(now);
            if has_verdict {
                checked.tested_at = Some(now);
            }
        })
        .await?;
    Ok(outcome)
}
