//! Retention over whole lives: 10 000 random histories in which it runs, is carried out, and runs again.
//!
//! `PROPTEST_CASES=100000 cargo test -p holdfast-tests --test retention` looks at more.

mod history;
mod restated;

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    RecoveryPointId,
    point::RecoveryPoint,
    retention::{Decision, Reason, decide, expire_first, note_locks, shortens},
    slot::Slot,
};
use history::{Event, World, any_history, any_policy};
use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::Config};
use restated::{Dated, why_kept};

/// So many histories, or as many as `PROPTEST_CASES` asks for.
fn histories(least: u32) -> Config {
    let default = Config::default();
    Config { cases: default.cases.max(least), failure_persistence: None, ..default }
}

fn decisions(world: &World, now: Timestamp, may_expire: u32) -> Vec<Decision> {
    decide(&world.policy, &world.zone, &world.all(), now, may_expire)
}

/// Only what the policy says, point by point; the cap takes the oldest; the order of the list does not matter.
fn check_one_run(world: &World, may_expire: u32) {
    let now = world.now();
    let decided = decisions(world, now, may_expire);
    let dated: Vec<Dated> = world.available().into_iter().map(|point| Dated::new(point, &world.zone)).collect();
    assert_eq!(decided.len(), dated.len(), "every available point is judged, and nothing else");
    let by_id: BTreeMap<RecoveryPointId, &Decision> = decided.iter().map(|decision| (decision.point, decision)).collect();
    for one in &dated {
        let decision = by_id[&one.point.id];
        let said: BTreeSet<Reason> = decision
            .reasons
            .iter()
            .copied()
            .filter(|reason| !matches!(reason, Reason::NotNeeded | Reason::CapReached | Reason::HoldOver))
            .collect();
        assert_eq!(said, why_kept(&world.policy, now, &dated, one), "{}", one.point.scheduled_time);
        assert_eq!(decision.keep, !said.is_empty() || decision.reasons.contains(&Reason::CapReached));
        assert!(!decision.reasons.is_empty(), "a decision without a reason");
    }

    let gone: Vec<&Decision> = decided.iter().filter(|decision| !decision.keep).collect();
    assert!(gone.len() <= may_expire as usize, "the cap");
    let spared =
        decided.iter().filter(|decision| decision.reasons.contains(&Reason::CapReached)).map(|spared| spared.scheduled_time);
    if let (Some(last_gone), Some(first_spared)) = (gone.first(), spared.min()) {
        assert!(last_gone.scheduled_time <= first_spared, "the oldest go first");
        assert_eq!(gone.len(), may_expire as usize, "the cap spares nothing before it is reached");
    }

    let mut reversed = world.all();
    reversed.reverse();
    let middle = reversed.len() / 2;
    reversed.rotate_left(middle);
    assert_eq!(decide(&world.policy, &world.zone, &reversed, now, may_expire), decided, "the order of the list");
}

/// A clock that is wrong moves the edge of "keep all" and the ends of holds that end by themselves, and nothing else.
fn check_clock(world: &World) {
    let now = world.now();
    let without_recent = |at: Timestamp| -> Vec<(RecoveryPointId, BTreeSet<Reason>)> {
        let rest = |decision: Decision| {
            let timed = world.points[&decision.point].holds.iter().any(|hold| hold.until.is_some());
            let moves = |reason: &Reason| match reason {
                Reason::Recent | Reason::NotNeeded => true,
                Reason::Held | Reason::HoldOver => timed,
                _ => false,
            };
            (decision.point, decision.reasons.into_iter().filter(|reason| !moves(reason)).collect())
        };
        decisions(world, at, u32::MAX).into_iter().map(rest).collect()
    };
    let right = without_recent(now);
    for off_h in [-48, -1, 1, 48] {
        assert_eq!(without_recent(now + SignedDuration::from_hours(off_h)), right, "a clock that is {off_h} h off");
    }
}

/// What can go to make room leaves as many proven ones as must remain, and nothing needed goes.
fn check_room(world: &World) {
    let first = |stays| expire_first(&world.policy, &world.zone, &world.all(), &stays, world.now());
    match first(BTreeSet::new()) {
        Ok(spare) => {
            let next = first(BTreeSet::from([spare.point]));
            assert!(next.map_or(true, |next| next.point != spare.point), "what must stay goes");
            let mut left = world.clone();
            let point = left.points.remove(&spare.point).expect("one of them");
            assert!(point.expire(world.now()).is_ok(), "a held point goes");
            assert!(left.proven() >= world.policy.min_proven as usize, "the proven minimum");
            let usable = |world: &World| {
                let serves = |point: &&&RecoveryPoint| point.is_usable() && point.rule != Slot::BEFORE_RESTORE;
                world.available().iter().filter(serves).map(|point| point.scheduled_time).max()
            };
            assert_eq!(usable(&left), usable(world), "the newest goes");
        }
        Err(none) => {
            let needed = [Reason::Held, Reason::Proven, Reason::Newest];
            let all_needed = decisions(world, world.now(), u32::MAX)
                .iter()
                .all(|decision| needed.iter().any(|reason| decision.reasons.contains(reason)));
            assert!(world.proven() < world.policy.min_proven as usize || all_needed, "{none}");
        }
    }
}

/// Carries a run out. A second run changes nothing but what the cap had spared.
fn run(world: &mut World, may_expire: u32) {
    let proven = world.proven();
    let decided = decisions(world, world.now(), may_expire);
    for decision in decided.iter().filter(|decision| !decision.keep) {
        let point = world.points[&decision.point].clone();
        let expired = point.expire(world.now()).expect("what is let go is available and not held");
        world.points.insert(decision.point, expired);
    }
    assert!(world.proven() >= proven.min(world.policy.min_proven as usize), "the proven minimum");

    let spared: BTreeSet<RecoveryPointId> =
        decided.iter().filter(|decision| decision.reasons.contains(&Reason::CapReached)).map(|decision| decision.point).collect();
    let again = decisions(world, world.now(), u32::MAX);
    let due: BTreeSet<RecoveryPointId> = again.iter().filter(|decision| !decision.keep).map(|decision| decision.point).collect();
    assert_eq!(due, spared, "a second run");
}

proptest! {
    #![proptest_config(histories(10_000))]

    #[test]
    fn retention_never_takes_more_than_its_policy_says_whatever_happens(history in any_history()) {
        let mut world = World::new(&history);
        for event in &history.events {
            world.happen(event);
            if let Event::Retention { may_expire } = event {
                check_one_run(&world, *may_expire);
                check_clock(&world);
                check_room(&world);
                run(&mut world, *may_expire);
            }
        }
    }

}

proptest! {
    #![proptest_config(histories(1_000))]

    #[test]
    fn what_is_let_go_is_not_missed_later(history in any_history()) {
        // Only time passes and slots are filled in turn: nothing that could make an old point needed again.
        let mut world = World::new(&history);
        let mut gone = BTreeSet::new();
        for event in history.events.iter().filter(|event| !matches!(event, Event::Judged { proven: false, .. } | Event::Hold { .. })) {
            if matches!(event, Event::Change(_) | Event::Clock { .. } | Event::Judged { .. }) {
                continue;
            }
            world.happen(event);
            for decision in decisions(&world, world.now(), u32::MAX) {
                prop_assert!(!(decision.keep && gone.contains(&decision.point)), "{} is wanted again", decision.scheduled_time);
                if !decision.keep {
                    gone.insert(decision.point);
                }
            }
        }
    }

    #[test]
    fn a_change_that_does_not_shorten_lets_nothing_go(history in any_history(), other in any_policy()) {
        let mut world = World::new(&history);
        history.events.iter().for_each(|event| world.happen(event));
        let kept = |world: &World| -> BTreeSet<RecoveryPointId> {
            decisions(world, world.now(), u32::MAX).into_iter().filter(|decision| decision.keep).map(|decision| decision.point).collect()
        };
        let before = kept(&world);
        let shortened = shortens(&world.policy, &other);
        let same = world.policy == other;
        prop_assert_eq!(world.policy.version("UTC") == other.version("UTC"), same);
        world.policy = other;
        if shortened.is_empty() {
            prop_assert!(before.is_subset(&kept(&world)));
        }
    }

    #[test]
    fn a_lock_is_told_of_what_goes_and_changes_no_decision(history in any_history(), lock_days in -30i64..60) {
        let mut world = World::new(&history);
        history.events.iter().for_each(|event| world.happen(event));
        let lock_for = SignedDuration::from_hours(24 * lock_days);
        let decided = decisions(&world, world.now(), u32::MAX);
        let mut noted = decided.clone();
        note_locks(&mut noted, &world.all(), lock_for, world.now());
        for (plain, noted) in decided.iter().zip(&noted) {
            prop_assert_eq!((plain.point, plain.keep), (noted.point, noted.keep));
            let locked = world.points[&noted.point].started_at + lock_for > world.now();
            prop_assert_eq!(noted.reasons.contains(&Reason::BytesLocked), !noted.keep && locked);
        }
    }
}
