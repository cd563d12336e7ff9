//! Coverage: which tenants and instances have no recovery point where there must be one.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    caps::SLOT_GRACE_S,
    plan::{Plan, Rule, RuleKind},
    point::Kind,
    register::Tenant,
    slot::Subject,
};

/// The newest available recovery point of a subject and kind, if there is one.
pub trait Newest {
    /// Its scheduled time.
    fn newest(&self, subject: &Subject, kind: Kind) -> Option<Timestamp>;
}

impl<F: Fn(&Subject, Kind) -> Option<Timestamp>> Newest for F {
    fn newest(&self, subject: &Subject, kind: Kind) -> Option<Timestamp> {
        self(subject, kind)
    }
}

/// A slot that came and went without a recovery point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissedSlot {
    /// What was not backed up.
    pub subject: Subject,
    /// Which kinds of recovery point are missing.
    pub kinds: Vec<Kind>,
    /// The rule that was due.
    pub rule: String,
    /// When it was due.
    pub due: Timestamp,
    /// The newest recovery point there is; the RPO counts from here.
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

/// Finds every slot that was due at least the grace period before `now` and has no recovery point of its time or later.
#[must_use]
pub fn missed_slots(plan: &Plan, zone: &TimeZone, tenants: &[Tenant], newest: &impl Newest, now: Timestamp) -> Vec<MissedSlot> {
    let mut missed = Vec::new();
    let judged_at = now.checked_sub(SignedDuration::from_secs(SLOT_GRACE_S)).unwrap_or(now);
    let mut judge = |rule: &Rule, subject: Subject, kinds: &[Kind], since: Timestamp| {
        let due = rule.schedule.last_due(zone, judged_at);
        if since > due {
            return;
        }
        let late: Vec<Kind> =
            kinds.iter().copied().filter(|kind| newest.newest(&subject, *kind).is_none_or(|time| time < due)).collect();
        if !late.is_empty() {
            let oldest = late.iter().map(|kind| newest.newest(&subject, *kind)).min().flatten();
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
        for database in &plan.databases {
            judge(rule, Subject::Instance(database.id.clone()), &[Kind::Snapshot], Timestamp::MIN);
        }
    }
    missed
}
