//! Which items are due: a pure function of the plan, the register and the tick.

use domain::{
    plan::{Plan, ReadFrom, Rule},
    register::Tenant,
    rpo,
};
use jiff::Timestamp;

use crate::item::Item;

/// One tenant's items of one slot, in the order in which they are read: the recovery set that they are to become.
///
/// The database comes first. A file without its row is an orphan, a row without its file is a loss.
pub(crate) type Set = Vec<Item>;

/// The sets of a rule's tick: of each protected tenant of its classes, every kind.
pub(crate) fn due(plan: &Plan, rule: &Rule, tenants: &[Tenant], scheduled_time: Timestamp) -> Vec<Set> {
    let of_rule = |tenant: &&Tenant| tenant.is_protected() && rule.classes.contains(&tenant.criticality);
    let set = |tenant: &Tenant| {
        let items = of_tenant(plan, tenant, &rule.id, scheduled_time, rule.full).into_iter();
        items.map(|item| Item { read_from: rule.read_from, ..item }).collect()
    };
    tenants.iter().filter(of_rule).map(set).collect()
}

/// The set of one tenant, read from the primary.
pub(crate) fn of_tenant(plan: &Plan, tenant: &Tenant, rule: &str, scheduled_time: Timestamp, full: bool) -> Set {
    let item = |kind| Item {
        tenant: tenant.clone(),
        kind,
        rule: rule.to_owned(),
        scheduled_time,
        full,
        read_from: ReadFrom::Primary,
        quiet: None,
    };
    rpo::tenant_kinds(plan, tenant).into_iter().map(item).collect()
}

#[cfg(test)]
mod tests {
    use domain::{
        point::Kind::{Configuration, Database, Media},
        register::Status,
        tenant::Layout,
    };
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tenants_rows_are_read_before_its_files_and_settings() {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "i", "database": "central", "secret": "s", "replica": "r" }],
            "media": { "bucket": "b", "prefix": "tenants/{tenant}/" },
            "configuration": { "parameters": "/t/{tenant}/", "secrets": "t/{tenant}/" },
            "rules": [{ "id": "daily", "kind": "export", "classes": ["standard"], "read_from": "replica",
                "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 }],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        let plan = Plan::parse(&plan.to_string()).unwrap();
        let tenant = |id: &str, criticality: &str, status| Tenant {
            id: id.parse().unwrap(),
            database_id: "central".into(),
            layout: Layout::Database { database: id.into() },
            criticality: criticality.into(),
            time_zone: "UTC".into(),
            status,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let tenants = [
            tenant("acme", "standard", Status::Active),
            tenant("gone", "standard", Status::Deleted),
            tenant("other", "critical", Status::Active),
            tenant("@central", "standard", Status::Active),
        ];
        let sets = due(&plan, &plan.rules[0], &tenants, Timestamp::UNIX_EPOCH);
        let kinds: Vec<Vec<_>> =
            sets.iter().map(|set| set.iter().map(|item| (item.tenant.id.as_str(), item.kind)).collect()).collect();
        let acme = vec![("acme", Database), ("acme", Media), ("acme", Configuration)];
        assert_eq!(kinds, [acme, vec![("@central", Database)]]);
        assert!(sets.iter().flatten().all(|item| item.read_from == ReadFrom::Replica));
        assert_eq!(of_tenant(&plan, &tenants[0], "manual", Timestamp::UNIX_EPOCH, false)[0].read_from, ReadFrom::Primary);
    }
}
