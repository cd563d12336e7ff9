//! Which items are due: a pure function of the plan, the register and the tick.

use domain::{
    plan::{Plan, Rule},
    register::Tenant,
    rpo,
};
use jiff::Timestamp;

use crate::item::Item;

/// Every item of a rule's tick: the protected tenants of its classes, every kind.
pub(crate) fn due(plan: &Plan, rule: &Rule, tenants: &[Tenant], scheduled_time: Timestamp) -> Vec<Item> {
    let of_rule = |tenant: &&Tenant| tenant.is_protected() && rule.classes.contains(&tenant.criticality);
    tenants.iter().filter(of_rule).flat_map(|tenant| of_tenant(plan, tenant, &rule.id, scheduled_time, rule.full)).collect()
}

/// Every kind of one tenant. The database comes first: a file without its row is an orphan, a row without its file is a loss.
pub(crate) fn of_tenant(plan: &Plan, tenant: &Tenant, rule: &str, scheduled_time: Timestamp, full: bool) -> Vec<Item> {
    rpo::tenant_kinds(plan, tenant)
        .into_iter()
        .map(|kind| Item { tenant: tenant.clone(), kind, rule: rule.to_owned(), scheduled_time, full })
        .collect()
}
