//! The comparison itself: the recovery point is loaded into staging on the clone, by the code of a real restore, digested, and asked what the
//! plan asserts.

use catalog::drills::Test;
use domain::{ErrorCode, ErrorReport, plan::Plan, register::Tenant};
use runtime::services::{Services, known_database, scope};
use sources::postgres::restore::{self, Job, RestoreId};

/// Loads and compares a test's recovery point on a clone. Returns how many rows it has.
///
/// # Errors
/// If it did not come back, or could not be tried; [`crate::verdict::Verdict`] tells one from the other.
pub(crate) async fn on_clone(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    test: &Test,
    clone: &str,
) -> Result<u64, ErrorReport> {
    let point = services.catalog.point(&tenant.id, test.point).await?;
    let reader = services.open_point(&tenant.id, &point.value).await?;
    let database = known_database(plan, &tenant.database_id)?;
    let endpoint = services.endpoint_on(database, clone, tenant.layout.database()).await?;
    let (scope, tools, id) = (scope(plan, tenant)?, services.tools(), RestoreId::of(test.point.uuid()));
    let assertions = plan.assertions.iter().filter(|assertion| assertion.is_of_class(&tenant.criticality)).cloned().collect();
    let job = Job::new(&endpoint, &tools, &scope, &id, &reader)?.asserting(assertions);
    if job.facts().layout != tenant.layout {
        let message = format!(
            "tenant {} moved after recovery point {} was made, so it has no place on the clone; the next export can be tested",
            tenant.id, test.point
        );
        return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
    }
    let tables = restore::drill(&job).await?;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    tracing::info!(tenant.id = %tenant.id, recovery_point.id = %test.point, tables = tables.len(), rows, "came back equal");
    Ok(rows)
}
