//! Whether what is stored is authentic and whole.

use catalog::Versioned;
use domain::{
    ErrorReport,
    alert::AlertClass,
    plan::Plan,
    point::{Kind, Proof, RecoveryPoint},
    register::Tenant,
    verification::Shares,
};
use runtime::services::{Said, Services, first_few, point_ref};
use vault::{CheckReport, Share};

/// Re-reads a recovery point, all of it or a share of its chunks; records and alerts what is wrong.
///
/// # Errors
/// Only if the check could not be done, which says nothing about the recovery point.
pub(crate) async fn check(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &Versioned<RecoveryPoint>,
    share: Share,
) -> Result<CheckReport, ErrorReport> {
    let (vault_tenant, reference) = point_ref(&point.value)?;
    let report = services.vault.check(vault_tenant, point.value.id, &reference, share).await?;
    tracing::info!(
        tenant.id = %tenant.id, recovery_point.id = %point.value.id, %share, chunks = report.chunks, chunks_read = report.chunks_read,
        plaintext_bytes = report.plaintext_bytes, findings = report.findings.len(), "read back"
    );
    if !report.is_clean() {
        refute(services, plan, tenant, point, lines(&report)).await?;
    } else if share == Share::ALL {
        let now = services.clock.now();
        services.catalog.record_checked(&point.value, |checked| checked.read(Shares::ALL, now)).await?;
        take_back(services, point).await?;
    }
    Ok(report)
}

/// Takes back what was said against a recovery point of which every chunk was just found sound, unless only a restore test may.
pub(crate) async fn take_back(services: &Services, point: &Versioned<RecoveryPoint>) -> Result<(), ErrorReport> {
    if !takes_back(&point.value) {
        return Ok(());
    }
    if matches!(point.value.proof, Proof::Refuted { .. }) {
        services.catalog.judge(point, Proof::Unproven).await?;
    }
    services.all_clear(AlertClass::BackupBad, &point.value.id.to_string()).await
}

/// Whether a check of everything without findings ends what was said against a recovery point.
///
/// What a restore test found wrong is bad although its bytes are sound, and what did not load may not load again: only another
/// test can take that back. Of files and settings there are none.
fn takes_back(point: &RecoveryPoint) -> bool {
    point.kind != Kind::Database
}

/// The findings of a check, each as a line.
pub(crate) fn lines(report: &CheckReport) -> Vec<String> {
    let mut lines: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    if report.findings_left_off > 0 {
        lines.push(format!("{} more", report.findings_left_off));
    }
    lines
}

/// Pages that a recovery point did not load in a restore test. It is not refuted: whose fault it is, a person has to find out.
pub(crate) async fn doubt(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &RecoveryPoint,
    report: &ErrorReport,
) -> Result<(), ErrorReport> {
    let said = Said {
        summary: format!("recovery point {} of tenant {} did not load in a restore test: {report}", point.id, tenant.id),
        meaning: "a restore from it may fail the same way; its bytes are authentic and it stays available".to_owned(),
        remedy: "mend the named object at the source or on the target, then let verify test the next recovery point".to_owned(),
    };
    services.raise(plan, AlertClass::BackupBad, &point.id.to_string(), said).await
}

/// Records that a recovery point would not come back, and pages.
pub(crate) async fn refute(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &Versioned<RecoveryPoint>,
    findings: Vec<String>,
) -> Result<(), ErrorReport> {
    let id = point.value.id;
    let said = Said {
        summary: format!("recovery point {id} of tenant {} is bad: {}", tenant.id, first_few(&findings)),
        meaning: format!(
            "a restore from it would fail or return wrong data, so none will use it; it is of {}",
            point.value.scheduled_time
        ),
        remedy: format!(
            "back the tenant up now with `holdfast run --tenant {}`, then find out what changed the vault",
            tenant.id
        ),
    };
    services.catalog.judge(point, Proof::Refuted { at: services.clock.now(), findings }).await?;
    // Nothing that was found sound before counts any more: the next round reads it whole.
    services
        .catalog
        .record_checked(&point.value, |checked| (checked.present_at, checked.authentic_at) = Default::default())
        .await?;
    services.raise(plan, AlertClass::BackupBad, &id.to_string(), said).await
}

#[cfg(test)]
mod tests {
    use domain::slot::{Slot, Subject};
    use jiff::Timestamp;

    use super::*;

    fn point(kind: Kind, proof: Proof) -> RecoveryPoint {
        let at: Timestamp = "2026-11-23T02:15:00Z".parse().unwrap();
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: at, subject, kind };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        RecoveryPoint { proof, ..RecoveryPoint::begin(&slot, run, at) }
    }

    #[test]
    fn sound_bytes_take_back_what_was_said_of_files_and_only_a_restore_test_what_was_said_of_a_database() {
        let refuted = || Proof::Refuted { at: Timestamp::UNIX_EPOCH, findings: vec!["f".into()] };
        for (kind, proof, expected) in
            [(Kind::Database, Proof::Unproven, false), (Kind::Database, refuted(), false), (Kind::Media, refuted(), true)]
        {
            assert_eq!(takes_back(&point(kind, proof.clone())), expected, "{kind:?} {proof:?}");
        }
    }

    #[test]
    fn findings_beyond_those_listed_are_told_as_a_number() {
        let mut report = CheckReport::default();
        assert_eq!(lines(&report), Vec::<String>::new());
        report.findings_left_off = 7;
        assert_eq!(lines(&report), ["7 more"]);
    }
}
