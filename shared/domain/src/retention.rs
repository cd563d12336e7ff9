//! Retention: what is kept, and every reason why.
//!
//! A pure function of the policy, the recovery points of one subject and kind, and the plan's zone. It looks at *scheduled* time only, so
//! a clock that was wrong when a run happened changes nothing. It has no `now` except to say how old "keep all" reaches.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    id::RecoveryPointId,
    point::{Proof, RecoveryPoint},
    slot::Slot,
};

mod change;
mod force;
mod locks;
mod room;

pub use change::{PolicyVersion, Shortened, shortens};
pub use force::{AGREE_MIN, AgreeError, Agreed, InForce, Terms, UnknownZone, Waiting};
pub use locks::note_locks;
pub use room::{NoneToSpare, expire_first};

/// How long recovery points are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Everything younger than this many days is kept.
    pub keep_all_days: u32,
    /// The newest of each of this many days with a recovery point is kept.
    pub daily: u32,
    /// Likewise of ISO weeks.
    pub weekly: u32,
    /// Likewise of months.
    pub monthly: u32,
    /// Likewise of years.
    pub yearly: u32,
    /// The newest proven recovery points that are kept whatever their age; at least 1.
    pub min_proven: u32,
    /// The most that one run may expire, over all subjects; more halts at the cap and alerts.
    pub max_expire_per_run: u32,
    /// Whether decisions are carried out. `false` is a dry run: they are only recorded.
    #[serde(default)]
    pub apply: bool,
}

impl Policy {
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.min_proven == 0 {
            return Err(
                "retention.min_proven is 0, which would let the last proven recovery point expire: use at least 1".to_owned()
            );
        }
        if self.max_expire_per_run == 0 {
            return Err("retention.max_expire_per_run is 0: use at least 1, or set apply to false".to_owned());
        }
        Ok(())
    }
}

/// Why a recovery point is kept or let go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Younger than `keep_all_days`.
    Recent,
    /// The newest of its day.
    Daily,
    /// The newest of its ISO week.
    Weekly,
    /// The newest of its month.
    Monthly,
    /// The newest of its year.
    Yearly,
    /// Among the newest proven ones that must remain.
    Proven,
    /// The newest that could serve a restore at all.
    Newest,
    /// A hold forbids it to go.
    Held,
    /// No rule keeps it.
    NotNeeded,
    /// No rule keeps it, but this run has expired as many as it may.
    CapReached,
    /// There was a hold, and it ended by itself. Told beside the reasons that decided.
    HoldOver,
    /// It goes before its time: the account has no room for the next snapshot. Told beside the reasons for which it would have stayed.
    NoRoom,
    /// It goes, and the vault's lock keeps its bytes for now.
    BytesLocked,
}

/// What happens to one recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The recovery point.
    pub point: RecoveryPointId,
    /// Its scheduled time.
    pub scheduled_time: Timestamp,
    /// Whether it is kept.
    pub keep: bool,
    /// Every reason, in a fixed order.
    pub reasons: BTreeSet<Reason>,
}

/// Decides over the available recovery points of one subject and kind. Others are not retention's to judge.
///
/// `may_expire` is what is left of the run's cap; the oldest go first. Decisions come newest first.
#[must_use]
pub fn decide(policy: &Policy, zone: &TimeZone, points: &[RecoveryPoint], now: Timestamp, may_expire: u32) -> Vec<Decision> {
    let mut points: Vec<&RecoveryPoint> = points.iter().filter(|point| point.content().is_some()).collect();
    points.sort_unstable_by_key(|point| std::cmp::Reverse((point.scheduled_time, point.id)));

    // By place in `points`: of a million, a map would cost more than everything else.
    let mut reasons = vec![BTreeSet::new(); points.len()];
    let mut keep = |place: usize, reason| {
        reasons[place].insert(reason);
    };
    let recent_since =
        now.checked_sub(SignedDuration::from_hours(i64::from(policy.keep_all_days) * 24)).unwrap_or(Timestamp::MIN);
    for (place, point) in points.iter().enumerate() {
        if point.scheduled_time >= recent_since {
            keep(place, Reason::Recent);
        }
        if point.is_held(now) {
            keep(place, Reason::Held);
        }
    }
    for (count, reason, period) in periods(policy) {
        let mut seen = BTreeSet::new();
        // A refuted recovery point restores nothing, so it cannot stand for its period.
        let stands = |point: &RecoveryPoint| point.is_usable() && !point.is_of_a_restore();
        for (place, point) in points.iter().enumerate().filter(|(_, point)| stands(point)) {
            let fresh = seen.insert(period(point.scheduled_time.to_zoned(zone.clone()).date()));
            if seen.len() > count as usize {
                break;
            }
            if fresh {
                keep(place, reason);
            }
        }
    }
    let proven = points.iter().enumerate().filter(|(_, point)| counts_as_proven(point));
    proven.take(policy.min_proven as usize).for_each(|(place, _)| keep(place, Reason::Proven));
    let newest = points.iter().position(|point| point.is_usable() && !is_before_a_restore(point));
    newest.into_iter().for_each(|place| keep(place, Reason::Newest));

    let mut left = may_expire;
    let mut decisions: Vec<Decision> = Vec::with_capacity(points.len());
    for (point, mut why) in points.iter().zip(reasons).rev() {
        let wanted = !why.is_empty();
        if !wanted && left == 0 {
            why.insert(Reason::CapReached);
        } else if !wanted {
            left -= 1;
            why.insert(Reason::NotNeeded);
        }
        let keep = wanted || why.contains(&Reason::CapReached);
        if point.holds.iter().any(|hold| hold.is_over(now)) {
            why.insert(Reason::HoldOver);
        }
        decisions.push(Decision { point: point.id, scheduled_time: point.scheduled_time, keep, reasons: why });
    }
    decisions.reverse();
    decisions
}

/// Whether it is one of the proven ones that must remain. That the state before a restore can be read back proves nothing about what was
/// restored from.
fn counts_as_proven(point: &RecoveryPoint) -> bool {
    matches!(point.proof, Proof::Proven { .. }) && !is_before_a_restore(point)
}

fn is_before_a_restore(point: &RecoveryPoint) -> bool {
    point.rule == Slot::BEFORE_RESTORE
}

type PeriodOf = fn(Date) -> (i16, i16);

fn periods(policy: &Policy) -> [(u32, Reason, PeriodOf); 4] {
    [
        (policy.daily, Reason::Daily, |date| (date.year(), date.day_of_year())),
        (policy.weekly, Reason::Weekly, |date| (date.iso_week_date().year(), i16::from(date.iso_week_date().week()))),
        (policy.monthly, Reason::Monthly, |date| (date.year(), i16::from(date.month()))),
        (policy.yearly, Reason::Yearly, |date| (date.year(), 0)),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        id::{RunId, VaultTenantId},
        point::{Content, Hold, Kind},
        slot::Subject,
    };

    const HOUR_S: i64 = 3600;

    fn now() -> Timestamp {
        "2026-11-23T12:00:00Z".parse().unwrap()
    }

    fn point(hours_ago: i64, proof: Proof, held: bool) -> RecoveryPoint {
        let slot = Slot {
            rule: "daily".into(),
            scheduled_time: now() - SignedDuration::from_secs(hours_ago * HOUR_S),
            subject: Subject::Tenant("acme".parse().unwrap()),
            kind: Kind::Database,
        };
        let content = Content::Export {
            vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(1)),
            sequence: 1,
            link_sha256: String::new(),
            parent: None,
            rows: 0,
            plaintext_bytes: 0,
            stored_bytes: 0,
            read: None,
        };
        let point = RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(2)), now());
        let mut point = point.publish(content, now()).unwrap().judge(proof).unwrap();
        if held {
            point.holds.push(Hold { reason: "h".into(), owner: "o".into(), placed_at: now(), until: None });
        }
        point
    }

    fn proven() -> Proof {
        Proof::Proven { at: now(), rto_ms: 1 }
    }

    fn policy() -> Policy {
        Policy {
            keep_all_days: 2,
            daily: 3,
            weekly: 2,
            monthly: 2,
            yearly: 1,
            min_proven: 1,
            max_expire_per_run: 1000,
            apply: true,
        }
    }

    #[test]
    fn every_decision_says_why() {
        let mut points: Vec<_> = (0..60).map(|day| point(day * 24, Proof::Unproven, day == 45)).collect();
        points.push(point(58 * 24 + 1, proven(), false));
        let lines: Vec<String> = decide(&policy(), &TimeZone::UTC, &points, now(), 1000)
            .iter()
            .filter(|decision| decision.keep)
            .map(|decision| format!("{} {:?}", decision.scheduled_time, decision.reasons))
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_cap_halts_a_runaway_and_the_oldest_go_first() {
        let points: Vec<_> = (0..400).map(|day| point(day * 24, Proof::Unproven, false)).collect();
        let decisions = decide(&policy(), &TimeZone::UTC, &points, now(), 5);
        let gone: Vec<_> = decisions.iter().filter(|decision| !decision.keep).map(|decision| decision.scheduled_time).collect();
        assert_eq!(gone.len(), 5);
        assert_eq!(gone.last(), Some(&points[399].scheduled_time), "the oldest goes");
        assert!(decisions.iter().any(|decision| decision.reasons.contains(&Reason::CapReached)));
    }

    #[test]
    fn a_hold_that_is_over_keeps_nothing_and_the_decision_says_that_there_was_one() {
        let held_until = |hours_ahead: i64| {
            let mut points: Vec<_> = [0, 58 * 24].map(|hours| point(hours, Proof::Unproven, false)).into();
            let until = Some(now() + SignedDuration::from_hours(hours_ahead));
            points[1].holds.push(Hold { reason: "h".into(), owner: "o".into(), placed_at: now(), until });
            let policy = Policy { daily: 1, weekly: 1, monthly: 1, ..policy() };
            decide(&policy, &TimeZone::UTC, &points, now(), 1000).pop().unwrap()
        };
        let (standing, over) = (held_until(1), held_until(0));
        assert!(standing.keep && standing.reasons == BTreeSet::from([Reason::Held]), "{standing:?}");
        assert!(!over.keep && over.reasons == BTreeSet::from([Reason::NotNeeded, Reason::HoldOver]), "{over:?}");
    }

    #[test]
    fn what_a_restore_had_made_for_itself_stands_for_no_day() {
        for rule in [Slot::POINT_IN_TIME, Slot::BEFORE_RESTORE] {
            let nightly = point(5 * 24 + 1, Proof::Unproven, false);
            let own = RecoveryPoint { rule: rule.into(), ..point(5 * 24, Proof::Unproven, false) };
            let newest = point(24, Proof::Unproven, false);
            let decided = decide(&policy(), &TimeZone::UTC, &[own.clone(), nightly.clone(), newest], now(), 1000);
            let of = |wanted: &RecoveryPoint| decided.iter().find(|one| one.scheduled_time == wanted.scheduled_time).unwrap();
            assert!(of(&nightly).reasons.contains(&Reason::Daily), "{rule}: {:?}", of(&nightly));
            assert_eq!(of(&own).reasons, BTreeSet::from([Reason::NotNeeded]), "{rule}");
        }
    }

    #[test]
    fn the_state_before_a_restore_is_neither_the_newest_nor_the_proven_that_must_stay() {
        let before = RecoveryPoint { rule: Slot::BEFORE_RESTORE.into(), ..point(1000, proven(), false) };
        let (proven, newest) = (point(2000, proven(), false), point(1500, Proof::Unproven, false));
        let policy = Policy { min_proven: 1, keep_all_days: 1, daily: 0, weekly: 0, monthly: 0, yearly: 0, ..policy() };
        let decided = decide(&policy, &TimeZone::UTC, &[before, proven.clone(), newest.clone()], now(), 1000);
        let kept: BTreeSet<_> = decided.iter().filter(|one| one.keep).map(|one| one.point).collect();
        assert_eq!(kept, BTreeSet::from([proven.id, newest.id]));
    }

    fn any_proof() -> impl Strategy<Value = Proof> {
        prop_oneof![Just(Proof::Unproven), Just(proven()), Just(Proof::Refuted { at: now(), findings: vec!["f".into()] }),]
    }

    proptest! {
        #[test]
        fn whatever_the_policy_the_last_proven_the_newest_and_the_held_stay(
            history in prop::collection::vec((0i64..20_000, any_proof(), prop::bool::weighted(0.1)), 0..80),
            (keep_all_days, daily, weekly, monthly, yearly) in (0u32..5, 0u32..5, 0u32..5, 0u32..5, 0u32..5),
            (min_proven, cap) in (1u32..4, 0u32..100),
        ) {
            let policy = Policy { keep_all_days, daily, weekly, monthly, yearly, min_proven, max_expire_per_run: 1, apply: true };
            let mut points: Vec<_> = history.into_iter().map(|(hours, proof, held)| point(hours, proof, held)).collect();
            points.sort_by_key(|point| point.id);
            points.dedup_by_key(|point| point.id);
            let decisions = decide(&policy, &TimeZone::UTC, &points, now(), cap);
            prop_assert_eq!(decisions.len(), points.len());

            let kept: BTreeSet<_> = decisions.iter().filter(|decision| decision.keep).map(|decision| decision.point).collect();
            prop_assert!(points.len() - kept.len() <= cap as usize);
            let kept_of = |wanted: fn(&RecoveryPoint) -> bool| points.iter().filter(|p| wanted(p) && kept.contains(&p.id)).count();
            let all_of = |wanted: fn(&RecoveryPoint) -> bool| points.iter().filter(|p| wanted(p)).count();
            let is_proven = |p: &RecoveryPoint| matches!(p.proof, Proof::Proven { .. });
            prop_assert!(kept_of(is_proven) >= all_of(is_proven).min(min_proven as usize));
            prop_assert_eq!(kept_of(|p| p.is_held(now())), all_of(|p| p.is_held(now())));
            if let Some(newest) = points.iter().filter(|p| p.is_usable()).max_by_key(|p| p.scheduled_time) {
                prop_assert!(points.iter().any(|p| p.scheduled_time == newest.scheduled_time && kept.contains(&p.id)));
            }

            // The decision does not depend on the order in which the points were listed.
            let mut shuffled = points.clone();
            shuffled.reverse();
            prop_assert_eq!(decide(&policy, &TimeZone::UTC, &shuffled, now(), cap), decisions);
        }
    }
}
