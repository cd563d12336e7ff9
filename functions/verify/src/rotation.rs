//! Whose turn it is for a restore test.

use std::collections::BTreeMap;

use catalog::drills::Drill;
use domain::{TenantId, register::Tenant};
use jiff::Timestamp;

/// The tenants in the order in which their restore tests are due: the never tried, then the longest untried.
///
/// What came of the last one does not count, or a tenant whose test always fails would have every turn. Ids break ties.
pub(crate) fn by_turn<'a>(tenants: &'a [Tenant], drills: &[Drill]) -> Vec<&'a Tenant> {
    let mut tried: BTreeMap<&TenantId, Timestamp> = BTreeMap::new();
    for drill in drills {
        let latest = tried.entry(&drill.tenant).or_insert(drill.started_at);
        *latest = drill.started_at.max(*latest);
    }
    let mut turns: Vec<&Tenant> = tenants.iter().collect();
    turns.sort_by_key(|tenant| (tried.get(&tenant.id).copied(), &tenant.id));
    turns
}

#[cfg(test)]
mod tests {

    use catalog::drills::DrillState;
    use domain::{register::Status, tenant::Layout};
    use jiff::SignedDuration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn tenant(id: &str) -> Tenant {
        Tenant {
            id: id.parse().unwrap(),
            database_id: "silo".into(),
            layout: Layout::Silo { database: "app".into() },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn tried(id: &str, time: &str, state: DrillState) -> Drill {
        Drill {
            instance: format!("holdfast-drill-{time}-{id}"),
            tenant: id.parse().unwrap(),
            point: "rp_00000000-0000-8000-8000-000000000001".parse().unwrap(),
            started_at: at(time),
            tick: None,
            state,
        }
    }

    fn check(drills: &[Drill], expected: &[&str]) {
        let tenants = ["delta", "acme", "birch", "cedar"].map(tenant);
        let turns: Vec<&str> = by_turn(&tenants, drills).into_iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!(turns, expected);
    }

    #[test]
    fn whoever_was_never_tried_comes_first_then_the_longest_untried_whatever_came_of_it() {
        check(&[], &["acme", "birch", "cedar", "delta"]);
        let failed = DrillState::Done { at: at("2026-11-23T05:00:00Z"), outcome: "environment bad".into() };
        let drills = [
            tried("acme", "2026-11-23T04:30:00Z", failed.clone()),
            tried("cedar", "2026-11-22T04:30:00Z", DrillState::Restoring),
            tried("cedar", "2026-11-10T04:30:00Z", failed),
            tried("gone", "2026-11-01T04:30:00Z", DrillState::Restoring),
        ];
        check(&drills, &["birch", "delta", "cedar", "acme"]);
    }

    #[test]
    fn every_tenant_gets_its_turn_even_if_every_test_fails() {
        let tenants = ["delta", "acme", "birch", "cedar"].map(tenant);
        let mut drills = Vec::new();
        for day in 0..4 {
            let next = by_turn(&tenants, &drills)[0].id.clone();
            let started_at = at("2026-11-23T04:30:00Z") + SignedDuration::from_hours(24 * day);
            let done = DrillState::Done { at: started_at, outcome: "environment bad".into() };
            drills.push(Drill { tenant: next, started_at, ..tried("acme", "2026-11-23T04:30:00Z", done) });
        }
        let turns: Vec<&str> = drills.iter().map(|drill| drill.tenant.as_str()).collect();
        assert_eq!(turns, ["acme", "birch", "cedar", "delta"]);
    }
}
