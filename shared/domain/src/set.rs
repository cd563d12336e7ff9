//! Recovery sets: what one slot of a rule gave of one tenant, and how far apart in time its parts were read.
//!
//! The database's consistent view is the barrier. Files and settings are listed after it: a file whose row came later is an orphan, a
//! row whose file is missing would be a loss. No view can hold a bucket still, so the distance is measured and told.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::{
    RecoveryPointId, caps,
    point::{Content, Kind, ReadSpan, RecoveryPoint, State},
};

/// Whether the parts of a set belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Every kind is there, read in order and within [`caps::SET_SKEW_AT_MOST_S`].
    Complete,
    /// A kind that the plan asks for is missing.
    Incomplete,
    /// Every kind is there, but read too far apart, or a listing began before the database's view.
    Skewed,
    /// Every kind is there, but an older record does not say when it was read.
    Unmeasured,
}

/// One part of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Its recovery point.
    pub point: RecoveryPointId,
    /// What it holds.
    pub kind: Kind,
    /// When its source was read.
    pub read: Option<ReadSpan>,
}

/// The recovery points of one tenant, rule and scheduled time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecoverySet {
    /// The rule.
    pub rule: String,
    /// The slot's time.
    pub scheduled_time: Timestamp,
    /// What a restore can use, the database first.
    pub members: Vec<Member>,
    /// Kinds that the plan asks for and no restore could use: never made, failed, damaged or let go.
    pub missing: Vec<Kind>,
    /// The largest distance between the database's view and either end of another part's reading, in milliseconds.
    pub skew_ms: Option<i64>,
    /// The judgement.
    pub label: Label,
}

impl RecoverySet {
    /// Whether a recovery point is of this set.
    #[must_use]
    pub fn is_of(&self, point: &RecoveryPoint) -> bool {
        self.rule == point.rule && self.scheduled_time == point.scheduled_time && point.kind != Kind::Snapshot
    }
}

/// Groups one tenant's recovery points into sets, the newest first. `expected` are the kinds that the plan asks of the tenant.
///
/// A slot that failed whole is a set without members. One whose every part was let go is none any more, and what a restore had made for
/// itself never was one: it is of a database alone.
#[must_use]
pub fn group(points: &[RecoveryPoint], expected: &[Kind]) -> Vec<RecoverySet> {
    let mut slots: BTreeMap<(Timestamp, &str), Vec<&RecoveryPoint>> = BTreeMap::new();
    for point in points.iter().filter(|point| point.kind != Kind::Snapshot && !point.is_of_a_restore()) {
        slots.entry((point.scheduled_time, &point.rule)).or_default().push(point);
    }
    let live = slots
        .into_iter()
        .rev()
        .filter(|(_, points)| !points.iter().all(|point| matches!(point.state, State::Expired { .. } | State::Swept { .. })));
    live.map(|((scheduled_time, rule), points)| judge(rule, scheduled_time, &points, expected)).collect()
}

fn judge(rule: &str, scheduled_time: Timestamp, points: &[&RecoveryPoint], expected: &[Kind]) -> RecoverySet {
    let mut members: Vec<Member> = points.iter().filter(|point| point.is_usable()).map(|point| member(point)).collect();
    members.sort_by_key(|member| member.kind);
    let has = |kind: &Kind| members.iter().any(|member| member.kind == *kind);
    let missing: Vec<Kind> = expected.iter().copied().filter(|kind| !has(kind)).collect();
    let apart = distances(&members);
    let skew_ms = apart.as_ref().map(|apart| apart.iter().map(|ms| ms.abs()).max().unwrap_or(0));
    let is_skewed = |ms: &i64| *ms > caps::SET_SKEW_AT_MOST_S * 1_000 || *ms < -caps::CLOCKS_APART_AT_MOST_MS;
    let label = match &apart {
        _ if !missing.is_empty() || members.is_empty() => Label::Incomplete,
        None => Label::Unmeasured,
        Some(apart) if apart.iter().any(is_skewed) => Label::Skewed,
        Some(_) => Label::Complete,
    };
    RecoverySet { rule: rule.to_owned(), scheduled_time, members, missing, skew_ms, label }
}

fn member(point: &RecoveryPoint) -> Member {
    let read = match point.content() {
        Some(Content::Export { read, .. }) => *read,
        _ => None,
    };
    Member { point: point.id, kind: point.kind, read }
}

/// How long after the database's view the others' reading began and ended, in milliseconds; negative before it. A database that was read
/// from a replica counts from the oldest moment that it may show. None if that cannot be said.
fn distances(members: &[Member]) -> Option<Vec<i64>> {
    let (database, others): (Vec<_>, Vec<_>) = members.iter().partition(|member| member.kind == Kind::Database);
    if others.is_empty() {
        return Some(Vec::new());
    }
    let view = database.first()?.read?.from;
    let spans: Option<Vec<ReadSpan>> = others.iter().map(|member| member.read).collect();
    let after = |instant: Timestamp| ms(instant.duration_since(view));
    Some(spans?.iter().flat_map(|span| [after(span.from), after(span.until)]).collect())
}

fn ms(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        ErrorCode, ErrorReport, RunId, VaultTenantId,
        point::Proof,
        slot::{Slot, Subject},
    };

    const ALL: [Kind; 3] = [Kind::Database, Kind::Media, Kind::Configuration];

    /// Milliseconds after the slot's time.
    fn at(ms: i64) -> Timestamp {
        "2026-11-23T02:15:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_millis(ms)
    }

    fn running(kind: Kind, scheduled_time: Timestamp) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time, subject, kind };
        RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(1)), scheduled_time)
    }

    fn point(kind: Kind, read: Option<(i64, i64)>) -> RecoveryPoint {
        let content = Content::Export {
            vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(9)),
            sequence: 1,
            link_sha256: "00".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 2,
            stored_bytes: 3,
            read: read.map(|(from, until)| ReadSpan { from: at(from), until: at(until) }),
        };
        running(kind, at(0)).publish(content, at(0)).unwrap()
    }

    fn failed(kind: Kind) -> RecoveryPoint {
        running(kind, at(0)).fail(&ErrorReport::new(ErrorCode::Throttled, "m"), at(0)).unwrap()
    }

    fn only(points: &[RecoveryPoint]) -> RecoverySet {
        let mut sets = group(points, &ALL);
        assert_eq!(sets.len(), 1);
        sets.remove(0)
    }

    fn check(reads: [Option<(i64, i64)>; 3], expected: (Label, Option<i64>)) {
        let points: Vec<_> = ALL.iter().zip(reads).map(|(kind, read)| point(*kind, read)).collect();
        let set = only(&points);
        assert_eq!((set.label, set.skew_ms), expected, "{reads:?}");
        assert_eq!((set.members.len(), set.missing.len()), (3, 0), "{reads:?}");
    }

    #[test]
    fn the_skew_is_measured_from_the_databases_view_to_the_farthest_end_of_the_listings() {
        check([Some((100, 100)), Some((200, 900)), Some((1_000, 1_500))], (Label::Complete, Some(1_400)));
        // Fifteen minutes are still one set, a millisecond more is not.
        check([Some((0, 0)), Some((10, 20)), Some((30, 900_000))], (Label::Complete, Some(900_000)));
        check([Some((0, 0)), Some((10, 900_001)), Some((30, 40))], (Label::Skewed, Some(900_001)));
    }

    #[test]
    fn a_database_that_was_retried_later_than_the_listings_is_skewed_however_near() {
        check([Some((60_000, 60_000)), Some((200, 900)), Some((1_000, 1_500))], (Label::Skewed, Some(59_800)));
    }

    #[test]
    fn clocks_that_differ_a_little_are_no_disorder() {
        check([Some((1_000, 1_000)), Some((0, 900)), Some((950, 1_500))], (Label::Complete, Some(1_000)));
        check([Some((5_001, 5_001)), Some((0, 6_000)), Some((6_000, 7_000))], (Label::Skewed, Some(5_001)));
    }

    #[test]
    fn a_replica_counts_from_the_oldest_moment_that_it_may_show() {
        check([Some((-1_000_000, 0)), Some((10, 20)), Some((30, 40))], (Label::Skewed, Some(1_000_040)));
    }

    #[test]
    fn an_older_record_that_does_not_say_when_it_was_read_is_not_called_complete() {
        check([Some((0, 0)), None, Some((30, 40))], (Label::Unmeasured, None));
        check([None, Some((10, 20)), Some((30, 40))], (Label::Unmeasured, None));
    }

    #[test]
    fn what_no_restore_could_use_is_missing() {
        let mut damaged = point(Kind::Media, Some((1, 2)));
        damaged.proof = Proof::Refuted { at: at(9), findings: vec![] };
        let set = only(&[point(Kind::Database, Some((0, 0))), damaged, failed(Kind::Configuration)]);
        assert_eq!((set.label, set.missing), (Label::Incomplete, vec![Kind::Media, Kind::Configuration]));
        let without_rows = only(&[failed(Kind::Database), point(Kind::Media, Some((1, 2)))]);
        assert_eq!((without_rows.label, without_rows.skew_ms), (Label::Incomplete, None));
        assert_eq!(only(&[failed(Kind::Database)]).label, Label::Incomplete);
    }

    #[test]
    fn a_tenant_of_whom_only_the_database_is_protected_has_complete_sets() {
        let sets = group(&[point(Kind::Database, None)], &[Kind::Database]);
        assert_eq!((sets[0].label, sets[0].skew_ms), (Label::Complete, Some(0)));
    }

    #[test]
    fn sets_are_told_apart_by_rule_and_time_and_vanish_with_their_last_part() {
        let mut manual = point(Kind::Database, Some((0, 0)));
        manual.rule = "manual".into();
        let later = running(Kind::Database, at(1));
        let gone: Vec<_> = ALL.map(|kind| point(kind, None).expire(at(9)).unwrap()).into();
        let sets = group(&[point(Kind::Media, None), manual.clone(), later, running(Kind::Snapshot, at(2))], &ALL);
        let found: Vec<_> = sets.iter().map(|set| (set.rule.as_str(), set.scheduled_time)).collect();
        assert_eq!(found, [("daily", at(1)), ("manual", at(0)), ("daily", at(0))]);
        assert_eq!(sets.iter().filter(|set| set.is_of(&manual)).count(), 1);
        assert_eq!(group(&gone, &ALL), []);
    }
}
