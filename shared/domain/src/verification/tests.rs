use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{point::Content, slot::Slot};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn tick(day: i64) -> Timestamp {
    at("2026-11-02T03:30:00Z") + SignedDuration::from_hours(24 * day)
}

fn subject(tenant: &str) -> Subject {
    Subject::Tenant(tenant.parse().unwrap())
}

fn point(subject: Subject, kind: Kind, made_at: Timestamp) -> RecoveryPoint {
    let slot = Slot { rule: "daily".into(), scheduled_time: made_at, subject, kind };
    let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
    let content = match kind {
        Kind::Snapshot => {
            Content::Snapshot { identifier: "s".into(), arn: "a".into(), settings: serde_json::Value::Null, copied: None }
        }
        _ => Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        },
    };
    RecoveryPoint::begin(&slot, run, made_at).publish(content, made_at).unwrap()
}

/// A vault under rounds: what is stored, and what was done about it.
#[derive(Default)]
struct World {
    points: Vec<RecoveryPoint>,
    checked: BTreeMap<RecoveryPointId, Checked>,
}

impl World {
    fn add(&mut self, point: RecoveryPoint) {
        self.checked.insert(point.id, Checked::default());
        self.points.push(point);
    }

    fn known(&self) -> Vec<(&RecoveryPoint, &Checked)> {
        self.points.iter().map(|point| (point, &self.checked[&point.id])).collect()
    }

    fn read(&mut self, tick: Timestamp) -> Vec<DueReading> {
        let due = readings_due(self.known(), &Cadences::default(), tick);
        for reading in &due {
            let checked = self.checked.get_mut(&reading.point).unwrap();
            checked.present_at = reading.present.then_some(tick).or(checked.present_at);
            checked.read(reading.shares, tick);
        }
        due
    }

    fn test(&mut self, tick: Timestamp, capacity: usize, comes_to_a_verdict: impl Fn(&DueTest) -> bool) -> Vec<DueTest> {
        let mut due = tests_due(self.known(), &Cadences::default(), tick);
        due.truncate(capacity);
        for test in &due {
            let checked = self.checked.get_mut(&test.point).unwrap();
            checked.tried_at = Some(tick);
            if comes_to_a_verdict(test) {
                checked.tested_at = Some(tick);
            }
        }
        due
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Weeks of rounds of which some do not happen: no chunk waits longer for its reading than a cadence and the rounds that were missed.
    #[test]
    fn every_share_of_every_retained_point_is_read_within_the_cadence_and_what_was_missed(
        missed in prop::collection::btree_set(0_i64..40, 0..12), kept_days in 2_i64..25, tenants in 1_usize..4,
    ) {
        let mut world = World::default();
        for day in 0..40 {
            for tenant in 0..tenants {
                let made_at = tick(day) - SignedDuration::from_hours(1);
                world.add(point(subject(&format!("t{tenant}")), Kind::Database, made_at));
            }
            world.points.retain(|point| tick(day).duration_since(point.scheduled_time) <= DAY * i32::try_from(kept_days).unwrap());
            if missed.contains(&day) {
                continue;
            }
            let due = world.read(tick(day));
            prop_assert!(due.iter().all(|reading| reading.present), "everything is looked for in every round");
            prop_assert!(world.read(tick(day)).is_empty(), "a repeated round has nothing left");
            let before = (0..day).rev().take_while(|day| missed.contains(day)).count();
            for (point, checked) in world.known() {
                let since = checked.authentic_since().expect("a round leaves nothing unread");
                let age = tick(day).duration_since(since);
                prop_assert!(age <= DAY * 6, "{} is {age} old after round {day}, {before} missed", point.id);
            }
        }
    }

    /// However few tests a round has room for, and whatever comes of them: nobody waits more than twice as long as anybody else.
    #[test]
    fn restore_tests_are_fair_when_there_is_room_for_few(capacity in 1_usize..4, hopeless in 0_usize..6) {
        let mut world = World::default();
        (0..6).for_each(|tenant| world.add(point(subject(&format!("t{tenant}")), Kind::Database, tick(0))));
        let bad = world.points[hopeless].id;
        let mut tried: BTreeMap<RecoveryPointId, Vec<i64>> = BTreeMap::new();
        for day in 1..40 {
            for test in world.test(tick(day), capacity, |test| test.point != bad) {
                tried.entry(test.point).or_default().push(day);
            }
        }
        let longest = i64::try_from(6_usize.div_ceil(capacity)).unwrap();
        for (point, days) in &tried {
            for (one, next) in days.iter().zip(days.iter().skip(1)) {
                prop_assert!(next - one <= longest, "{point} waited from {one} to {next}");
            }
        }
        prop_assert_eq!(tried.len(), 6);
    }
}

#[test]
fn a_quiet_week_reads_each_share_of_an_older_point_once_and_the_newest_every_day() {
    let mut world = World::default();
    world.add(point(subject("acme"), Kind::Database, tick(0)));
    world.add(point(subject("acme"), Kind::Database, tick(1)));
    assert!(world.read(tick(2)).iter().all(|reading| reading.shares == Shares::ALL), "what was never read is read whole");
    let (old, newest) = (world.points[0].id, world.points[1].id);
    let mut read = BTreeSet::new();
    for day in 3..10 {
        for reading in world.read(tick(day)) {
            if reading.point == newest {
                assert_eq!(reading.shares, Shares::ALL);
            } else {
                assert_eq!((reading.point, reading.shares.iter().count()), (old, 1));
                read.extend(reading.shares.iter());
            }
        }
    }
    assert_eq!(read.len(), SHARES as usize);
}

#[test]
fn a_share_has_one_day_of_any_cadence_and_shares_spread_over_it() {
    for days in [1, 3, 7, 10, 30] {
        let turns: Vec<usize> =
            (0..i64::from(days)).map(|day| (0..SHARES).filter(|share| has_turn(*share, day, days)).count()).collect();
        assert_eq!(turns.iter().sum::<usize>(), SHARES as usize, "{days}");
        assert!(turns.iter().all(|turns| *turns <= 7_usize.div_ceil(days.into())), "{days}: {turns:?}");
    }
}

#[test]
fn the_newest_is_restored_every_day_and_every_other_once_in_thirty() {
    let mut world = World::default();
    let mut tested: BTreeMap<RecoveryPointId, Vec<i64>> = BTreeMap::new();
    for day in 0..70 {
        // Two a day: only the later one is the newest when the round comes.
        for hours in [2, 1] {
            world.add(point(subject("acme"), Kind::Database, tick(day) - SignedDuration::from_hours(hours)));
        }
        world.points.retain(|point| tick(day).duration_since(point.scheduled_time) <= DAY * 45);
        let newest = world.points.last().unwrap().id;
        let due = world.test(tick(day), usize::MAX, |_| true);
        assert_eq!(due.iter().filter(|test| test.reason == Reason::Newest).map(|test| test.point).collect::<Vec<_>>(), [newest]);
        due.into_iter().for_each(|test| tested.entry(test.point).or_default().push(day));
        for (point, checked) in world.known() {
            let since = checked.tested_at.unwrap_or(point.scheduled_time);
            assert!(tick(day).duration_since(since) <= DAY * 30, "{}", point.scheduled_time);
        }
    }
    assert!(tested.values().all(|days| days.len() <= 2), "no more often than that: {tested:?}");
}

#[test]
fn a_refuted_point_is_tested_again_and_a_proof_in_the_point_itself_counts() {
    let mut world = World::default();
    world.add(point(subject("acme"), Kind::Database, tick(0)));
    world.add(point(subject("acme"), Kind::Database, tick(1)));
    world.points[0].proof = Proof::Refuted { at: tick(1), findings: vec!["f".into()] };
    world.points[1].proof = Proof::Proven { at: tick(2), rto_ms: 1 };
    let due = |world: &World, day| tests_due(world.known(), &Cadences::default(), tick(day));
    assert_eq!(due(&world, 2).iter().map(|test| test.reason).collect::<Vec<_>>(), [Reason::Refuted]);
    let reasons: BTreeSet<_> = due(&world, 3).iter().map(|test| format!("{:?}", test.reason)).collect();
    assert_eq!(reasons, BTreeSet::from(["Newest".to_owned(), "Refuted".to_owned()]));
}

#[test]
fn no_older_point_takes_the_turn_of_a_newest_one() {
    let mut world = World::default();
    for day in [0, 40] {
        world.add(point(subject("acme"), Kind::Database, tick(day)));
    }
    world.add(point(subject("birch"), Kind::Database, tick(0)));
    world.points[2].proof = Proof::Refuted { at: tick(1), findings: vec!["f".into()] };
    let due = tests_due(world.known(), &Cadences::default(), tick(41));
    let reasons: Vec<_> = due.iter().map(|test| (test.reason, test.point)).collect();
    let (old, newest, refuted) = (world.points[0].id, world.points[1].id, world.points[2].id);
    assert_eq!(reasons, [(Reason::Newest, newest), (Reason::Refuted, refuted), (Reason::Old, old)]);
}

#[test]
fn tenants_that_make_a_new_point_every_day_have_turns_all_the_same() {
    let mut world = World::default();
    let mut tested: BTreeMap<Subject, Vec<i64>> = BTreeMap::new();
    for day in 0..20 {
        for (n, tenant) in ["acme", "birch", "cedar"].into_iter().enumerate() {
            let made_at = tick(day) - SignedDuration::from_hours(3 - i64::try_from(n).unwrap());
            world.add(point(subject(tenant), Kind::Database, made_at));
        }
        for test in world.test(tick(day), 1, |_| true) {
            tested.entry(test.subject).or_default().push(day);
        }
    }
    assert_eq!(tested.len(), 3, "{tested:?}");
    for days in tested.values() {
        assert!(days.windows(2).all(|pair| pair[1] - pair[0] <= 3), "{tested:?}");
    }
}

#[test]
fn what_is_stored_waits_since_its_oldest_reading_and_since_it_was_published_if_any_of_it_was_never_read() {
    let stored = point(subject("acme"), Kind::Media, tick(0));
    let mut checked = Checked::default();
    assert_eq!(unread_since(&stored, None), Some(tick(0)));
    checked.read((0..SHARES - 1).collect(), tick(3));
    assert_eq!(unread_since(&stored, Some(&checked)), Some(tick(0)), "one share was never read");
    checked.read(Shares::ALL, tick(5));
    checked.read([2].into_iter().collect(), tick(4));
    assert_eq!(unread_since(&stored, Some(&checked)), Some(tick(4)));
    let refuted = RecoveryPoint { proof: Proof::Refuted { at: tick(1), findings: vec![] }, ..stored.clone() };
    let gone = stored.expire(tick(9)).unwrap();
    let snapshot = point(Subject::Instance("pool".into()), Kind::Snapshot, tick(0));
    for nothing in [refuted, gone, snapshot] {
        assert_eq!(unread_since(&nothing, None), None, "{nothing:?}");
    }
}

#[test]
fn what_no_restore_test_is_for_is_never_due() {
    let mut world = World::default();
    world.add(point(subject("acme"), Kind::Media, tick(0)));
    world.add(point(subject("acme"), Kind::Configuration, tick(0)));
    world.add(point(Subject::Instance("pool".into()), Kind::Snapshot, tick(0)));
    let due = tests_due(world.known(), &Cadences::default(), tick(1));
    assert_eq!(due.iter().map(|test| &test.subject).collect::<Vec<_>>(), [&Subject::Instance("pool".into())]);
}

#[test]
fn a_cadence_that_no_daily_round_can_keep_is_refused() {
    let bad = Cadences { newest_restored_hours: 6, ..Cadences::default() };
    assert!(bad.check().unwrap_err().contains("verification.newest_restored_hours"));
    Cadences::default().check().unwrap();
}
