//! Coverage: which tenants and instances have no recovery point where there must be one.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    plan::{Plan, Rule, RuleKind},
    point::{Kind, RecoveryPoint},
    register::Tenant,
    slot::Subject,
};

/// How fresh a recovery point is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Freshness {
    /// The instant after which what happened is not in it. The RPO counts from here.
    pub as_of: Timestamp,
    /// Its scheduled time, by which it fills a slot.
    pub slot: Timestamp,
}

impl Freshness {
    /// That of a recovery point.
    #[must_use]
    pub fn of(point: &RecoveryPoint) -> Self {
        Self { as_of: point.as_of(), slot: point.scheduled_time }
    }
}

/// The newest available recovery point of a subject and kind, if there is one.
pub trait Newest {
    /// How fresh it is.
    fn newest(&self, subject: &Subject, kind: Kind) -> Option<Freshness>;
}

impl<F: Fn(&Subject, Kind) -> Option<Freshness>> Newest for F {
    fn newest(&self, subject: &Subject, kind: Kind) -> Option<Freshness> {
        self(subject, kind)
    }
}

/// A slot that came and went without a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct MissedSlot {
    /// What was not backed up.
    pub subject: Subject,
    /// Which kinds of recovery point are missing.
    pub kinds: Vec<Kind>,
    /// The rule that was due.
    pub rule: String,
    /// When it was due.
    pub due: Timestamp,
    /// What the newest recovery point is of, if there is one; the RPO counts from here.
    pub newest: Option<Timestamp>,
    /// The most data, in minutes, that may be lost.
    pub rpo_minutes: u32,
}

/// The kinds of recovery point that a plan asks of every tenant.
#[must_use]
pub fn tenant_kinds(plan: &Plan, tenant: &Tenant) -> Vec<Kind> {
    // The platform's own databases have no prefix of files or settings.
    let is_tenant = tenant.id.as_platform().is_none();
    let mut kinds = vec![Kind::Database];
    kinds.extend((is_tenant && plan.media.is_some()).then_some(Kind::Media));
    kinds.extend((is_tenant && plan.configuration.is_some()).then_some(Kind::Configuration));
    kinds
}

/// Finds every slot that was due at least the grace period, and the rule's window, before `now` and has no recovery point of its time or
/// later, and every subject whose newest recovery point is older than its rule's RPO and the same.
#[must_use]
pub fn missed_slots(plan: &Plan, zone: &TimeZone, tenants: &[Tenant], newest: &impl Newest, now: Timestamp) -> Vec<MissedSlot> {
    let mut missed = Vec::new();
    let mut judge = |rule: &Rule, subject: Subject, kinds: &[Kind], since: Timestamp| {
        // What is spread over a window may be filled at its very end.
        let judged_at = now.checked_sub(rule.late_after()).unwrap_or(now);
        let due = rule.schedule.last_due(zone, judged_at);
        if since > due {
            return;
        }
        let rpo_ends = SignedDuration::from_mins(i64::from(rule.rpo_minutes)) + rule.late_after();
        let is_late = |point: Freshness| point.slot < due || now.duration_since(point.as_of) > rpo_ends;
        let late: Vec<Kind> = kinds.iter().copied().filter(|kind| newest.newest(&subject, *kind).is_none_or(is_late)).collect();
        if !late.is_empty() {
            let oldest = late.iter().map(|kind| newest.newest(&subject, *kind).map(|point| point.as_of)).min().flatten();
            let rule_id = rule.id.clone();
            missed.push(MissedSlot { subject, kinds: late, rule: rule_id, due, newest: oldest, rpo_minutes: rule.rpo_minutes });
        }
    };
    for tenant in tenants.iter().filter(|tenant| tenant.is_protected()) {
        for rule in plan.export_rules_of(&tenant.criticality) {
            judge(rule, Subject::Tenant(tenant.id.clone()), &tenant_kinds(plan, tenant), tenant.created_at);
        }
    }
    for rule in plan.rules.iter().filter(|rule| rule.kind == RuleKind::Snapshot) {
        for subject in plan.snapshot_subjects() {
            judge(rule, Subject::Instance(subject.to_owned()), &[Kind::Snapshot], Timestamp::MIN);
        }
    }
    missed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{plan::OffPeak, register::Status, tenant::Layout};

    fn plan() -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "i", "database": "central", "secret": "s" }],
            "media": { "bucket": "b", "prefix": "tenants/{tenant}/" },
            "rules": [
                { "id": "daily", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 },
                { "id": "snapshots", "kind": "snapshot", "schedule": { "daily_at": "01:15" }, "rpo_minutes": 1500 }
            ],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn tenant(created_at: &str, status: Status) -> Tenant {
        Tenant {
            id: "acme".parse().unwrap(),
            database_id: "central".into(),
            layout: Layout::Database { database: "acme".into() },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status,
            created_at: created_at.parse().unwrap(),
        }
    }

    fn check(tenant: &Tenant, newest: impl Fn(&Subject, Kind) -> Option<Freshness>, now: &str, expected: &[&str]) {
        let plan = plan();
        let missed = missed_slots(&plan, &TimeZone::UTC, std::slice::from_ref(tenant), &newest, now.parse().unwrap());
        let lines: Vec<String> = missed.iter().map(|slot| format!("{} {:?} {}", slot.subject, slot.kinds, slot.due)).collect();
        assert_eq!(lines, expected);
    }

    fn at(time: &str) -> Freshness {
        let slot = time.parse().unwrap();
        Freshness { slot, as_of: slot }
    }

    const OLD: &str = "2026-01-01T00:00:00Z";
    const BOTH: [&str; 2] = ["acme [Database, Media] 2026-11-23T02:15:00Z", "instance central [Snapshot] 2026-11-23T01:15:00Z"];

    #[test]
    fn a_slot_nobody_filled_is_missed_once_its_grace_is_over() {
        let none = |_: &Subject, _: Kind| None;
        let yesterdays = |_: &Subject, _: Kind| Some(at("2026-11-22T02:15:00Z"));
        let active = || tenant(OLD, Status::Active);
        check(&active(), none, "2026-11-23T07:15:00Z", &BOTH);
        check(&active(), yesterdays, "2026-11-23T07:15:00Z", &BOTH);
        // RDS takes hours for the copy of a large instance's snapshot.
        check(&active(), yesterdays, "2026-11-23T07:14:59Z", &BOTH[..1]);
        check(&active(), yesterdays, "2026-11-23T02:45:00Z", &BOTH[..1]);
        check(&active(), yesterdays, "2026-11-23T02:44:59Z", &[]);
    }

    #[test]
    fn a_recovery_point_older_than_the_rpo_is_late_though_its_slot_was_filled() {
        let mut plan = plan();
        plan.rules[0].rpo_minutes = 60;
        let newest = |_: &Subject, _: Kind| Some(at("2026-11-23T02:15:00Z"));
        let late_at = |now: &str| {
            let tenant = tenant(OLD, Status::Active);
            missed_slots(&plan, &TimeZone::UTC, &[tenant], &newest, now.parse().unwrap()).len()
        };
        assert_eq!((late_at("2026-11-23T03:45:00Z"), late_at("2026-11-23T03:45:01Z")), (0, 1));
    }

    #[test]
    fn a_slot_that_is_spread_over_a_window_is_missed_once_the_window_and_its_grace_are_over() {
        let mut plan = plan();
        plan.rules.truncate(1);
        plan.rules[0].window = Some(OffPeak { minutes: 180, at_once: 2, minutes_each: 10 });
        let yesterdays = |_: &Subject, _: Kind| Some(at("2026-11-22T02:15:00Z"));
        let late_at = |now: &str| {
            let tenant = tenant(OLD, Status::Active);
            missed_slots(&plan, &TimeZone::UTC, &[tenant], &yesterdays, now.parse().unwrap()).len()
        };
        assert_eq!((late_at("2026-11-23T05:44:59Z"), late_at("2026-11-23T05:45:00Z")), (0, 1));
    }

    #[test]
    fn what_was_read_from_an_old_copy_fills_its_slot_and_is_judged_by_the_copys_age() {
        let mut plan = plan();
        plan.rules[0].rpo_minutes = 120;
        let newest =
            |_: &Subject, _: Kind| Some(Freshness { as_of: at("2026-11-23T01:15:00Z").slot, ..at("2026-11-23T02:15:00Z") });
        let late_at = |now: &str| {
            let tenant = tenant(OLD, Status::Active);
            missed_slots(&plan, &TimeZone::UTC, &[tenant], &newest, now.parse().unwrap()).into_iter().next()
        };
        assert_eq!(late_at("2026-11-23T03:45:00Z"), None);
        let late = late_at("2026-11-23T03:45:01Z").expect("two hours and the grace have gone by");
        assert_eq!(late.newest, Some(at("2026-11-23T01:15:00Z").slot));
    }

    #[test]
    fn a_later_recovery_point_covers_the_slot() {
        let manual = |_: &Subject, _: Kind| Some(at("2026-11-23T02:20:00Z"));
        check(&tenant(OLD, Status::Active), manual, "2026-11-23T12:00:00Z", &[]);
    }

    #[test]
    fn one_missing_kind_is_enough() {
        let no_media = |_: &Subject, kind: Kind| (kind != Kind::Media).then(|| at("2026-11-23T02:15:00Z"));
        check(&tenant(OLD, Status::Active), no_media, "2026-11-23T12:00:00Z", &["acme [Media] 2026-11-23T02:15:00Z"]);
    }

    #[test]
    fn a_tenant_that_did_not_exist_at_the_slot_did_not_miss_it_and_a_deleted_one_misses_nothing() {
        let only_instance = |subject: &Subject, _: Kind| {
            matches!(subject, Subject::Instance(_)).then_some(Freshness { slot: Timestamp::MAX, as_of: Timestamp::MAX })
        };
        check(&tenant("2026-11-23T02:16:00Z", Status::Active), only_instance, "2026-11-23T12:00:00Z", &[]);
        check(&tenant(OLD, Status::Deleted), only_instance, "2026-11-23T12:00:00Z", &[]);
        check(&tenant(OLD, Status::Suspended), only_instance, "2026-11-23T12:00:00Z", &[BOTH[0]]);
    }
}
