//! Which server a tenant's rows are read from.

use domain::{
    ErrorCode, ErrorReport,
    plan::{Plan, ReadFrom},
    register::Tenant,
};
use runtime::services::{Services, known_database};
use sources::postgres::Endpoint;

/// The endpoint that a rule's exports of a tenant read.
///
/// # Errors
/// If the plan does not name it, or it cannot be found.
pub(crate) async fn endpoint(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    read_from: ReadFrom,
) -> Result<Endpoint, ErrorReport> {
    let database = known_database(plan, &tenant.database_id)?;
    let instance = match (read_from, &database.replica) {
        (ReadFrom::Primary, _) => &database.instance,
        (ReadFrom::Replica, Some(replica)) => replica,
        (ReadFrom::Replica, None) | (ReadFrom::Clone, _) => {
            let message = format!("the backup plan names no copy of database `{}` for this rule's `read_from`", database.id);
            return Err(ErrorReport::new(ErrorCode::PlanInvalid, message));
        }
    };
    services.endpoint_on(database, instance, tenant.layout.database()).await
}
