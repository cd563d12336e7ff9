//! The sweep's protocol in every order of steps: it is safe, it leaves nothing behind, and it needs each of its guards.
//!
//! `cargo test -p holdfast-tests --test sweep -- --nocapture` prints how much was explored, and the way to each loss.

mod model;

use std::collections::BTreeSet;

use domain::sweep::Guard;
use model::{AVAILABLE, GARBAGE, HAPPENINGS, Model, RUNNING};
use stateright::{Checker, HasDiscoveries, Model as _};

/// Two workers, two sweepers, three recovery points that expire when they like, a lock, deaths and retries.
const WHOLE: Model = Model { runs: [1, 1], sweeps: [1, 1], versions: 2, needed: 3, locked: true, deaths: true, without: None };
/// The same around a pack that nothing needs from the start: most losses are nearer here.
const UNNEEDED: Model = Model { needed: 0, locked: false, ..WHOLE };
/// One worker that is locked out of nothing, and a lock.
const LOCKED: Model = Model { runs: [1, 0], locked: true, ..UNNEEDED };
/// One worker, and sweepers that each come twice.
const TWICE: Model = Model { runs: [1, 0], sweeps: [2, 2], versions: 1, ..UNNEEDED };
/// One worker with two runs, and three sweeps that nobody interrupts.
const LONG: Model = Model { runs: [2, 0], sweeps: [1, 2], deaths: false, ..UNNEEDED };

/// Which loss each guard prevents, and the smallest world in which it shows.
const GUARDS: [(Guard, &str, Model); 20] = [
    (Guard::RegisterFirst, RUNNING, UNNEEDED),
    (Guard::ReadMark, RUNNING, UNNEEDED),
    (Guard::SweepingIsFinal, RUNNING, UNNEEDED),
    (Guard::RescueExactly, RUNNING, UNNEEDED),
    (Guard::VersionThere, RUNNING, UNNEEDED),
    (Guard::VersionAfterMark, RUNNING, UNNEEDED),
    (Guard::PublishRunning, AVAILABLE, UNNEEDED),
    (Guard::CondemnUnmarked, RUNNING, UNNEEDED),
    (Guard::CondemnInEpoch, RUNNING, UNNEEDED),
    (Guard::Advance, RUNNING, UNNEEDED),
    (Guard::AdvanceOnce, RUNNING, TWICE),
    (Guard::Wait, RUNNING, UNNEEDED),
    (Guard::WaitForOwnEpoch, RUNNING, UNNEEDED),
    (Guard::OnlySettled, RUNNING, UNNEEDED),
    (Guard::Recheck, AVAILABLE, UNNEEDED),
    (Guard::RecheckAfterWaiting, AVAILABLE, UNNEEDED),
    (Guard::JudgeExactly, RUNNING, UNNEEDED),
    (Guard::DeleteByVersion, RUNNING, UNNEEDED),
    (Guard::LockedStaysMarked, RUNNING, LOCKED),
    (Guard::ClearExactly, AVAILABLE, LONG),
];

/// Explores a world to its end, and returns how many states it has and what was found.
#[expect(clippy::print_stdout, reason = "how much was explored is a figure to publish")]
fn explore(model: Model) -> (usize, BTreeSet<&'static str>) {
    let checker = model.checker().spawn_bfs().join();
    println!("{} states, {} steps, {} deep: {model:?}", checker.unique_state_count(), checker.state_count(), checker.max_depth());
    let found = checker.discoveries();
    for name in [AVAILABLE, RUNNING, GARBAGE] {
        if let Some(path) = found.get(name) {
            panic!("{name}, after {:?}", path.clone().into_actions());
        }
    }
    (checker.unique_state_count(), found.into_keys().collect())
}

#[test]
fn no_order_of_steps_loses_a_pack_or_leaves_garbage() {
    let (states, happened) = explore(WHOLE);
    assert!(states >= 1_000_000, "{states} states are fewer than promised");
    assert_eq!(happened, HAPPENINGS.iter().map(|(name, _)| *name).collect(), "what must be possible is");
}

#[test]
fn the_worlds_in_which_guards_are_taken_out_are_safe_with_all_of_them() {
    for model in [UNNEEDED, LOCKED, TWICE, LONG] {
        explore(model);
    }
}

#[test]
fn each_guard_that_is_taken_out_loses_a_pack() {
    assert_eq!(GUARDS.map(|(guard, ..)| guard), Guard::ALL, "every guard is here");
    for (guard, loss, model) in GUARDS {
        let model = Model { without: Some(guard), ..model };
        let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
        let found = checker.discoveries();
        let path = found.get(loss).unwrap_or_else(|| panic!("without {guard:?}: {:?} and not {loss:?}", found.keys()));
        println!("without {guard:?}, {loss}: {:?}", path.clone().into_actions());
    }
}
