//! Whose turn it is in a rule's off-peak window: which slot is open, and who has begun by now.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::Time, tz::TimeZone};

use crate::{
    caps,
    plan::Rule,
    register::Tenant,
    spread::{self, Item, Quota, Window, WindowTooSmall},
    tenant::{Layout, TenantId},
};

/// The minute of the window in which each tenant's exports begin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turns {
    minutes: BTreeMap<TenantId, u16>,
    /// If there are more than the window has room for: they begin in it all the same, and more are under way at once than was wished.
    pub too_small: Option<WindowTooSmall>,
}

/// A slot that can be worked on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenSlot {
    /// Its scheduled time.
    pub slot: Timestamp,
    /// Whether whoever has not begun may begin; otherwise only what was begun is gone on with.
    pub may_begin: bool,
}

/// The slot whose exports may be worked on at `now`: that of today's window, until stragglers count as missed. None outside, or without a window.
///
/// What was begun may go on for longer, as long as a run may last: what is begun in the last minutes would otherwise never be finished.
#[must_use]
pub fn open_slot(rule: &Rule, zone: &TimeZone, now: Timestamp) -> Option<OpenSlot> {
    let window = SignedDuration::from_mins(i64::from(rule.window?.minutes));
    let slot = rule.schedule.last_due(zone, now);
    let age = now.duration_since(slot);
    let may_begin = age < rule.late_after();
    (may_begin || age < window + SignedDuration::from_secs(caps::RUN_AT_MOST_S)).then_some(OpenSlot { slot, may_begin })
}

/// Spreads a rule's tenants over its window. Those of one pool have one minute: their rows are read by one sweep.
#[must_use]
pub fn turns<'a>(rule: &Rule, tenants: impl IntoIterator<Item = &'a Tenant>) -> Turns {
    let Some(off_peak) = rule.window else { return Turns::default() };
    let items: Vec<(TenantId, Item)> =
        tenants.into_iter().map(|tenant| (tenant.id.clone(), Item { rule: rule.id.clone(), subject: subject(tenant) })).collect();
    let distinct: Vec<Item> = items.iter().map(|(_, item)| item.clone()).collect();
    // Minutes are counted from the slot, wherever the clock stands then.
    let window = Window { begins: Time::midnight(), minutes: off_peak.minutes };
    let mut quota = Quota { at_once: off_peak.at_once, minutes_each: off_peak.minutes_each };
    let mut too_small = None;
    let minutes = loop {
        match spread::spread(&distinct, window, quota) {
            Ok(minutes) => break minutes,
            Err(error) => {
                too_small.get_or_insert(error);
                if quota.at_once == u16::MAX {
                    break BTreeMap::new();
                }
                quota.at_once = quota.at_once.saturating_mul(2).max(1);
            }
        }
    };
    let minutes = items.into_iter().map(|(tenant, item)| (tenant, minutes.get(&item).copied().unwrap_or(0))).collect();
    Turns { minutes, too_small }
}

fn subject(tenant: &Tenant) -> String {
    match tenant.layout {
        Layout::Pool { .. } => format!("pool {}", tenant.database_id),
        _ => format!("tenant {}", tenant.id),
    }
}

impl Turns {
    /// When a tenant's exports of a slot begin; at the slot if nothing is known of it.
    #[must_use]
    pub fn begins(&self, tenant: &TenantId, slot: Timestamp) -> Timestamp {
        let minute = self.minutes.get(tenant).copied().unwrap_or(0);
        slot.checked_add(SignedDuration::from_mins(i64::from(minute))).unwrap_or(slot)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::register::Status;

    fn rule(minutes: u16, at_once: u16, minutes_each: u16) -> Rule {
        let rule = json!({
            "id": "nightly", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "01:00" }, "rpo_minutes": 1500,
            "window": { "minutes": minutes, "at_once": at_once, "minutes_each": minutes_each }
        });
        serde_json::from_value(rule).unwrap()
    }

    fn tenant(n: u32, pooled: bool) -> Tenant {
        let pool = Layout::Pool { database: "app".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
        let silo = Layout::Silo { database: "app".into() };
        Tenant {
            id: format!("tenant-{n}").parse().unwrap(),
            database_id: if pooled { "pool".into() } else { format!("silo-{n}") },
            layout: if pooled { pool } else { silo },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_slot_is_open_for_its_window_and_the_grace_of_stragglers_and_for_what_was_begun_until_a_run_is_over() {
        let open = |now: &str| open_slot(&rule(180, 2, 10), &TimeZone::UTC, at(now));
        let slot = |may_begin| Some(OpenSlot { slot: at("2026-11-23T01:00:00Z"), may_begin });
        assert_eq!([open("2026-11-23T00:59:59Z"), open("2026-11-23T06:00:00Z")], [None, None]);
        assert_eq!([open("2026-11-23T01:00:00Z"), open("2026-11-23T04:29:59Z")], [slot(true), slot(true)]);
        assert_eq!([open("2026-11-23T04:30:00Z"), open("2026-11-23T05:59:59Z")], [slot(false), slot(false)]);
        assert_eq!(open_slot(&Rule { window: None, ..rule(180, 2, 10) }, &TimeZone::UTC, at("2026-11-23T01:00:00Z")), None);
    }

    #[test]
    fn tenants_of_one_pool_have_one_minute_and_the_others_one_each_under_the_quota() {
        let tenants: Vec<Tenant> = (0..40).map(|n| tenant(n, n < 20)).collect();
        let turns = turns(&rule(180, 2, 10), &tenants);
        let slot = at("2026-11-23T01:00:00Z");
        let minute = |n: usize| turns.begins(&tenants[n].id, slot).duration_since(slot).as_mins();
        assert!((0..20).all(|n| minute(n) == minute(0)) && turns.too_small.is_none());
        for now in 0..180 {
            let under_way = std::iter::once(0).chain(20..40).filter(|n| (minute(*n)..minute(*n) + 10).contains(&now)).count();
            assert!(under_way <= 2, "{under_way} at minute {now}");
        }
    }

    #[test]
    fn in_a_window_that_is_too_small_everybody_still_has_a_turn_and_it_is_said() {
        let tenants: Vec<Tenant> = (0..40).map(|n| tenant(n, false)).collect();
        let turns = turns(&rule(60, 2, 10), &tenants);
        assert!(turns.too_small.as_ref().is_some_and(|error| error.to_string().contains("40 items")));
        let slot = at("2026-11-23T01:00:00Z");
        assert!(tenants.iter().all(|tenant| turns.begins(&tenant.id, slot) <= slot + SignedDuration::from_mins(50)));
        let all_at_zero = tenants.iter().all(|tenant| turns.begins(&tenant.id, slot) == slot);
        assert!(!all_at_zero, "they are spread all the same");
    }
}
