//! Whether what is stored is authentic and whole.

use catalog::Versioned;
use domain::{
    ErrorReport,
    alert::AlertClass,
    plan::Plan,
    point::{Kind, Proof, RecoveryPoint},
    register::Tenant,
};
use runtime::services::{Said, Services, first_few, manifest_ref};

/// Re-reads every byte of a recovery point; records and alerts what is wrong. Whether it is sound.
///
/// # Errors
/// Only if the check could not be done, which says nothing about the recovery point.
pub(crate) async fn check(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &Versioned<RecoveryPoint>,
) -> Result<bool, ErrorReport> {
    let (vault_tenant, reference) = manifest_ref(&point.value)?;
    let report = services.vault.check(vault_tenant, point.value.id, &reference).await?;
    tracing::info!(
        tenant.id = %tenant.id, recovery_point.id = %point.value.id, chunks = report.chunks, plaintext_bytes = report.plaintext_bytes,
        findings = report.findings.len(), "read back"
    );
    if report.is_clean() {
        // What a restore test refuted is bad although its bytes are sound; only another test can take that back.
        let refuted_by_test = point.value.kind == Kind::Database && matches!(point.value.proof, Proof::Refuted { .. });
        if refuted_by_test {
            return Ok(true);
        }
        services.all_clear(AlertClass::BackupBad, &point.value.id.to_string()).await?;
        return Ok(true);
    }
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    refute(services, plan, tenant, point, findings).await?;
    Ok(false)
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
    services.raise(plan, AlertClass::BackupBad, &id.to_string(), said).await
}
