//! What is to become of a snapshot of ours, by what the catalog says of its recovery point.

use std::collections::{BTreeMap, BTreeSet};

use aws::{Snapshot, SnapshotOf, SnapshotState};
use domain::{
    caps,
    point::{Content, RecoveryPoint, State},
};
use jiff::Timestamp;

/// What is to become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is needed, or may be.
    Stays,
    /// It is not, for this reason.
    Goes(&'static str),
    /// The catalog cannot say: a person must. A catalog that was wiped knows nothing, and then every backup would be unknown.
    Unknown,
}

/// Decides by its recovery point's record. `since` is when the snapshot was begun, as far as RDS says.
pub(crate) fn fate(name: &str, point: Option<&RecoveryPoint>, since: Option<Timestamp>, now: Timestamp) -> Fate {
    let older_than = |since: Timestamp, age_s: i64| now.duration_since(since).as_secs() > age_s;
    let Some(point) = point else {
        return match since {
            Some(since) if older_than(since, caps::UNKNOWN_SNAPSHOT_AFTER_S) => Fate::Unknown,
            _ => Fate::Stays,
        };
    };
    match &point.state {
        State::Running => Fate::Stays,
        State::Available { content: Content::Snapshot { identifier, copied, .. }, .. } => {
            if identifier == name {
                Fate::Stays
            } else if copied.as_ref().is_some_and(|copied| copied.from == name) {
                Fate::Goes("its copy is published")
            } else {
                Fate::Unknown
            }
        }
        State::Available { .. } => Fate::Unknown,
        State::Failed { at, .. } if older_than(*at, caps::FAILED_SNAPSHOT_KEPT_S) => Fate::Goes("its slot failed"),
        State::Failed { .. } => Fate::Stays,
        State::Expired { .. } => Fate::Goes("its recovery point expired"),
        State::Swept { .. } => Fate::Goes("its recovery point was swept"),
    }
}

/// The names of the newest copy under the vault's key of each instance and cluster, by what RDS lists alone.
///
/// They stay whatever the catalog says: retention never lets the newest go, so a record that does is wrong, or forged.
pub(crate) fn newest_of_each(
    listed: &[(SnapshotOf, Snapshot)],
    key: &str,
    is_ours: impl Fn(&Snapshot) -> bool,
) -> BTreeSet<String> {
    let mut newest: BTreeMap<(SnapshotOf, &str), (Option<Timestamp>, &str)> = BTreeMap::new();
    for (of, found) in listed {
        let serves = found.state == SnapshotState::Available && found.kms_key.as_deref() == Some(key);
        if serves && is_ours(found) {
            let this = (found.created_at.or(found.asked_at), found.name.as_str());
            let best = newest.entry((*of, &found.of)).or_insert(this);
            *best = this.max(*best);
        }
    }
    newest.into_values().map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use aws::Tags;
    use domain::{
        ErrorCode, ErrorReport,
        point::{Copied, Kind},
        slot::{Slot, Subject},
    };
    use serde_json::Value;

    use super::*;

    const NOW: &str = "2026-11-23T12:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn running() -> RecoveryPoint {
        let subject = Subject::Instance("central".into());
        let slot = Slot { rule: "daily".into(), scheduled_time: at(NOW), subject, kind: Kind::Snapshot };
        RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), at(NOW))
    }

    fn available() -> RecoveryPoint {
        let copied = Some(Copied { from: "holdfast-1".into(), kms_key: "k".into() });
        let content = Content::Snapshot { identifier: "holdfast-1-copy".into(), arn: "a".into(), settings: Value::Null, copied };
        running().publish(content, at(NOW)).unwrap()
    }

    fn check(name: &str, point: Option<RecoveryPoint>, since: Option<&str>, expected: Fate) {
        assert_eq!(fate(name, point.as_ref(), since.map(at), at(NOW)), expected, "{name} {point:?}");
    }

    const OLD: Option<&str> = Some("2020-01-01T00:00:00Z");

    #[test]
    fn what_the_catalog_does_not_know_is_never_deleted() {
        check("holdfast-1", None, OLD, Fate::Unknown);
        check("holdfast-1", None, Some("2026-11-23T11:00:00Z"), Fate::Stays);
        check("holdfast-1", None, None, Fate::Stays);
        check("holdfast-1-other", Some(available()), OLD, Fate::Unknown);
    }

    #[test]
    fn a_published_copy_stays_and_what_it_was_copied_from_goes() {
        check("holdfast-1-copy", Some(available()), OLD, Fate::Stays);
        check("holdfast-1", Some(available()), OLD, Fate::Goes("its copy is published"));
    }

    #[test]
    fn an_older_point_without_a_copy_keeps_its_snapshot() {
        let content = Content::Snapshot { identifier: "holdfast-1".into(), arn: "a".into(), settings: Value::Null, copied: None };
        check("holdfast-1", Some(running().publish(content, at(NOW)).unwrap()), OLD, Fate::Stays);
    }

    #[test]
    fn what_is_under_way_stays_and_what_failed_stays_for_a_day() {
        check("holdfast-1", Some(running()), OLD, Fate::Stays);
        let failed = |time| running().fail(&ErrorReport::new(ErrorCode::SourceRefused, "m"), at(time)).unwrap();
        check("holdfast-1", Some(failed("2026-11-22T12:00:00Z")), OLD, Fate::Stays);
        check("holdfast-1", Some(failed("2026-11-22T11:59:59Z")), OLD, Fate::Goes("its slot failed"));
    }

    #[test]
    fn everything_of_a_point_that_has_gone_goes() {
        let expired = available().expire(at(NOW)).unwrap();
        for name in ["holdfast-1", "holdfast-1-copy"] {
            check(name, Some(expired.clone()), OLD, Fate::Goes("its recovery point expired"));
            check(name, Some(expired.clone().sweep(at(NOW)).unwrap()), OLD, Fate::Goes("its recovery point was swept"));
        }
    }

    #[test]
    fn the_newest_copy_of_each_instance_that_could_serve_is_known_without_the_catalog() {
        let copy = |name: &str, of: &str, taken: &str| Snapshot {
            name: name.into(),
            arn: String::new(),
            of: of.into(),
            copy_of: None,
            state: SnapshotState::Available,
            created_at: Some(at(taken)),
            asked_at: Some(at(NOW)),
            kms_key: Some("vault".into()),
            tags: Tags::from([("ours".into(), String::new())]),
        };
        let pool = |name, taken| copy(name, "pool", taken);
        let listed = [
            (SnapshotOf::Instance, pool("p-1", "2026-11-20T00:00:00Z")),
            (SnapshotOf::Instance, pool("p-2", "2026-11-21T00:00:00Z")),
            (SnapshotOf::Instance, Snapshot { kms_key: Some("other".into()), ..pool("p-3", "2026-11-22T00:00:00Z") }),
            (SnapshotOf::Instance, Snapshot { tags: Tags::new(), ..pool("p-4", "2026-11-22T00:00:00Z") }),
            (SnapshotOf::Instance, Snapshot { state: SnapshotState::Deleting, ..pool("p-5", "2026-11-22T00:00:00Z") }),
            (SnapshotOf::Instance, copy("c-1", "central", "2026-11-01T00:00:00Z")),
            (SnapshotOf::Cluster, pool("k-1", "2026-11-01T00:00:00Z")),
        ];
        let newest = newest_of_each(&listed, "vault", |found| found.tags.contains_key("ours"));
        assert_eq!(newest.into_iter().collect::<Vec<_>>(), ["c-1", "k-1", "p-2"]);
    }
}
