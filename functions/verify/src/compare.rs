//! The comparison itself: the recovery point is loaded into staging on the clone, by the code of a real restore, and digested.

use catalog::drills::Drill;
use domain::{ErrorCode, ErrorReport, plan::Plan, register::Tenant};
use runtime::services::{Services, known_database, scope};
use sources::postgres::restore::{self, Job, RestoreId};

/// Loads and compares a drill's recovery point on its clone.
///
/// # Errors
/// If it did not come back, or could not be tried; [`crate::verdict::Verdict`] tells one from the other.
pub(crate) async fn on_clone(services: &Services, plan: &Plan, tenant: &Tenant, drill: &Drill) -> Result<(), ErrorReport> {
    let point = services.catalog.point(&tenant.id, drill.point).await?;
    let reader = services.open_point(&tenant.id, &point.value).await?;
    let database = known_database(plan, &tenant.database_id)?;
    let endpoint = services.endpoint_on(database, &drill.instance, tenant.layout.database()).await?;
    let (scope, tools, id) = (scope(plan, tenant)?, services.tools(), RestoreId::of(drill.point.uuid()));
    let job = Job::new(&endpoint, &tools, &scope, &id, &reader)?;
    if job.facts().layout != tenant.layout {
        let message = format!(
            "tenant {} moved after recovery point {} was made, so it has no place on the clone; the next export can be tested",
            tenant.id, drill.point
        );
        return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
    }
    let tables = restore::drill(&job).await?;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    tracing::info!(tenant.id = %tenant.id, recovery_point.id = %drill.point, tables = tables.len(), rows, "came back equal");
    Ok(())
}
