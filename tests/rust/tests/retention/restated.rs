//! The policy in other words: what is kept and why, point by point, from the definition of each reason and without its order of work.

use std::collections::BTreeSet;

use domain::{
    point::{Proof, RecoveryPoint, State},
    retention::{Policy, Reason},
};
use jiff::{Timestamp, tz::TimeZone};

/// A point and the names of the day, week, month and year it stands in.
pub(crate) struct Dated<'a> {
    pub(crate) point: &'a RecoveryPoint,
    periods: [String; 4],
}

impl<'a> Dated<'a> {
    pub(crate) fn new(point: &'a RecoveryPoint, zone: &TimeZone) -> Self {
        let local = point.scheduled_time.to_zoned(zone.clone());
        Self { point, periods: ["%Y-%m-%d", "%G week %V", "%Y-%m", "%Y"].map(|pattern| local.strftime(pattern).to_string()) }
    }

    fn is_newer_than(&self, other: &Self) -> bool {
        (self.point.scheduled_time, self.point.id) > (other.point.scheduled_time, other.point.id)
    }

    fn is_usable(&self) -> bool {
        !matches!(self.point.proof, Proof::Refuted { .. })
    }

    fn is_proven(&self) -> bool {
        matches!(self.point.proof, Proof::Proven { .. }) && !self.is_before_a_restore()
    }

    fn is_before_a_restore(&self) -> bool {
        self.point.rule == "before-restore"
    }

    /// Whether it can stand for its day.
    fn stands(&self) -> bool {
        self.is_usable() && !["before-restore", "point-in-time"].contains(&self.point.rule.as_str())
    }
}

/// Why a point is kept, by the definition of each reason; nothing if it is not.
pub(crate) fn why_kept(policy: &Policy, now: Timestamp, all: &[Dated], one: &Dated) -> BTreeSet<Reason> {
    assert!(matches!(one.point.state, State::Available { .. }), "only what is available is judged");
    let newer = || all.iter().filter(|other| other.is_newer_than(one));
    let tiers = [
        (policy.daily, Reason::Daily),
        (policy.weekly, Reason::Weekly),
        (policy.monthly, Reason::Monthly),
        (policy.yearly, Reason::Yearly),
    ];
    let mut why = BTreeSet::new();
    for (i, (count, reason)) in tiers.into_iter().enumerate() {
        let newer_periods: BTreeSet<&str> =
            newer().filter(|other| other.stands()).map(|other| other.periods[i].as_str()).collect();
        if one.stands() && !newer_periods.contains(one.periods[i].as_str()) && newer_periods.len() < count as usize {
            why.insert(reason);
        }
    }
    let age_s = now.as_second() - one.point.scheduled_time.as_second();
    if age_s <= i64::from(policy.keep_all_days) * 86_400 {
        why.insert(Reason::Recent);
    }
    if one.point.holds.iter().any(|hold| hold.until.is_none_or(|until| until > now)) {
        why.insert(Reason::Held);
    }
    if one.is_proven() && newer().filter(|other| other.is_proven()).count() < policy.min_proven as usize {
        why.insert(Reason::Proven);
    }
    let serves = |one: &Dated| one.is_usable() && !one.is_before_a_restore();
    if serves(one) && !newer().any(serves) {
        why.insert(Reason::Newest);
    }
    why
}
