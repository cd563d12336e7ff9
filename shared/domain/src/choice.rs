//! Which recovery point a time means.
//!
//! Whoever names a time wants what was there then and nothing that came after: rows that were wrong a second later must not come back
//! with the restore. So a recovery point serves only if *all* it holds was read at or before that time, not if its slot was. Of those
//! that serve, the one with the newest data is chosen. Slots say little here: what a clone was read for is older than its slot, and what a
//! primary was read for is younger.

use jiff::Timestamp;

use crate::{
    point::{ReadSpan, RecoveryPoint},
    slot::Slot,
};

/// The recovery point with the newest data of those that a restore may use and that hold nothing from after `time`. Of equals, the last
/// one made.
#[must_use]
pub fn newest_by(points: &[RecoveryPoint], time: Timestamp) -> Option<&RecoveryPoint> {
    let served = usable(points).filter(|(_, span)| span.until <= time);
    served.max_by_key(|(point, span)| (span.from, span.until, point.started_at, point.id)).map(|(point, _)| point)
}

/// The recovery point with the oldest data, for those who asked for what is older still.
#[must_use]
pub fn oldest(points: &[RecoveryPoint]) -> Option<&RecoveryPoint> {
    usable(points).min_by_key(|(_, span)| span.until).map(|(point, _)| point)
}

/// What was kept before a restore is the state that somebody wanted to be rid of: it serves who names it, not who names a time.
fn usable(points: &[RecoveryPoint]) -> impl Iterator<Item = (&RecoveryPoint, ReadSpan)> {
    let serves = |point: &&RecoveryPoint| point.is_usable() && point.rule != Slot::BEFORE_RESTORE;
    points.iter().filter(serves).filter_map(|point| Some((point, point.span()?)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        id::{RunId, VaultTenantId},
        point::{Content, Kind, Proof},
        slot::{Slot, Subject},
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A recovery point of a slot, published at a second, and read over a span if that was recorded.
    fn point(slot: i64, published: i64, read: Option<(i64, i64)>) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: at(slot), subject, kind: Kind::Database };
        let content = Content::Export {
            vault_tenant: VaultTenantId::from_uuid(Uuid::nil()),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: read.map(|(from, until)| ReadSpan { from: at(from), until: at(until) }),
        };
        let running = RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::nil()), slot.scheduled_time);
        running.publish(content, at(published)).unwrap()
    }

    fn chosen(points: &[RecoveryPoint], time: i64) -> Option<i64> {
        newest_by(points, at(time)).map(|point| point.scheduled_time.as_second() - 1_800_000_000)
    }

    #[test]
    fn what_was_read_after_the_time_does_not_serve_however_early_its_slot() {
        // Due at 100, read at 160: rows that were deleted at 130 are not in it.
        let points = [point(0, 70, Some((60, 60))), point(100, 170, Some((160, 160)))];
        assert_eq!([130, 159, 160, 1_000].map(|time| chosen(&points, time)), [Some(0), Some(0), Some(100), Some(100)]);
    }

    #[test]
    fn what_was_kept_before_a_restore_serves_only_who_names_it() {
        let before = RecoveryPoint { rule: Slot::BEFORE_RESTORE.into(), ..point(100, 170, Some((160, 160))) };
        assert_eq!(chosen(&[point(0, 70, Some((60, 60))), before], 1_000), Some(0));
    }

    #[test]
    fn a_listing_that_straddles_the_time_does_not_serve() {
        let points = [point(0, 20, Some((5, 10))), point(100, 150, Some((110, 140)))];
        assert_eq!([9, 10, 125, 140].map(|time| chosen(&points, time)), [None, Some(0), Some(0), Some(100)]);
    }

    #[test]
    fn data_from_a_clone_is_as_old_as_the_clone_and_that_of_an_instant_as_the_instant() {
        let clone = point(200, 230, Some((50, 50)));
        let points = [point(100, 120, Some((105, 105))), clone, point(150, 900, Some((150, 150)))];
        assert_eq!(
            [60, 104, 105, 149, 150, 300].map(|time| chosen(&points, time)),
            [Some(200), Some(200), Some(100), Some(100), Some(150), Some(150)]
        );
    }

    #[test]
    fn of_an_older_record_only_its_publication_says_by_when_it_was_read() {
        let points = [point(0, 30, None)];
        assert_eq!([29, 30].map(|time| chosen(&points, time)), [None, Some(0)]);
    }

    fn points() -> impl Strategy<Value = Vec<RecoveryPoint>> {
        let one = (0i64..40, 0i64..40, 0i64..10, 0i64..10, any::<bool>(), 0u8..8).prop_map(
            |(slot, from, lasts, publishing, recorded, state)| {
                let until = from + lasts;
                let made = point(slot, slot.max(until) + publishing, recorded.then_some((from, until)));
                match state {
                    0 => made.expire(at(100)).unwrap(),
                    1 => RecoveryPoint { proof: Proof::Refuted { at: at(90), findings: vec![] }, ..made },
                    2 => RecoveryPoint { state: crate::point::State::Running, ..made },
                    _ => made,
                }
            },
        );
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn nothing_from_after_the_time_is_chosen_and_nothing_newer_that_serves_is_left(points in points(), time in -1i64..60) {
            let time = at(time);
            let serves = |point: &&RecoveryPoint| point.is_usable() && point.span().unwrap().until <= time;
            match newest_by(&points, time) {
                Some(chosen) => {
                    prop_assert!(serves(&chosen));
                    let newest = points.iter().filter(serves).map(|point| point.span().unwrap().from).max();
                    prop_assert_eq!(chosen.span().map(|span| span.from), newest);
                }
                None => prop_assert_eq!(points.iter().filter(serves).count(), 0),
            }
            // A later time never chooses older data.
            let earlier = newest_by(&points, time - jiff::SignedDuration::from_secs(7));
            let (earlier, later) = (earlier.and_then(RecoveryPoint::span), newest_by(&points, time).and_then(RecoveryPoint::span));
            prop_assert!(earlier.map(|span| span.from) <= later.map(|span| span.from));
        }

        #[test]
        fn the_order_in_which_they_are_listed_changes_nothing(mut points in points(), time in -1i64..60) {
            let id = |points: &[RecoveryPoint]| newest_by(points, at(time)).and_then(RecoveryPoint::span);
            let forwards = id(&points);
            points.reverse();
            prop_assert_eq!(forwards, id(&points));
        }
    }
}
