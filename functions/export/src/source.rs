//! Which server a tenant's rows are read from.

use domain::{
    ErrorCode, ErrorReport,
    plan::{Database, Plan, ReadFrom},
};
use runtime::services::{Services, known_database};
use sources::postgres::Endpoint;

use crate::item::Item;

/// The instance that an item's rows are read from, if the plan, or the tick, has one.
pub(crate) fn instance<'a>(item: &'a Item, database: &'a Database) -> Option<&'a str> {
    match item.read_from {
        ReadFrom::Primary => Some(&database.instance),
        ReadFrom::Replica => database.replica.as_deref(),
        ReadFrom::Clone => item.quiet.as_ref().map(|quiet| quiet.instance.as_str()),
    }
}

/// The endpoint that an item's rows are read from.
///
/// # Errors
/// If the plan does not name it, or it cannot be found.
pub(crate) async fn endpoint(services: &Services, plan: &Plan, item: &Item) -> Result<Endpoint, ErrorReport> {
    let database = known_database(plan, &item.tenant.database_id)?;
    let instance = instance(item, database).ok_or_else(|| {
        let message = format!("the backup plan names no copy of database `{}` for this rule's `read_from`", database.id);
        ErrorReport::new(ErrorCode::PlanInvalid, message)
    })?;
    services.endpoint_on(database, instance, item.tenant.layout.database()).await
}
