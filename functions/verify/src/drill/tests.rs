use domain::{point::Content, slot::Slot};

use super::*;

const TICK: &str = "2026-11-23T03:30:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn snapshot(day: u32) -> RecoveryPoint {
    let made_at = at(&format!("2026-11-{day:02}T01:15:00Z"));
    let subject = Subject::Instance("pool".into());
    let slot = Slot { rule: "daily".into(), scheduled_time: made_at, subject, kind: Kind::Snapshot };
    let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
    let content = Content::Snapshot { identifier: "s".into(), arn: "a".into(), settings: Value::Null, copied: None };
    RecoveryPoint::begin(&slot, run, made_at).publish(content, made_at).unwrap()
}

fn export(n: usize) -> Test {
    Test::of("acme".parse().unwrap(), format!("rp_00000000-0000-8000-8000-{n:012}").parse().unwrap())
}

fn drill(of: &RecoveryPoint, tests: Vec<Test>, tick: Option<Timestamp>) -> Drill {
    Drill {
        instance: "holdfast-drill-1".into(),
        database: Some("pool".into()),
        snapshot: Some(of.id),
        ready_at: None,
        snapshot_outcome: None,
        tests,
        started_at: at(TICK),
        tick,
        state: DrillState::Restoring,
    }
}

#[test]
fn a_ticks_older_snapshot_has_its_clone_beside_that_of_the_newest() {
    let (newest, older, tick) = (snapshot(23), snapshot(1), at(TICK));
    let wanted = due::Wanted::alone("pool", older.clone());
    assert!(!is_like(&drill(&newest, vec![], Some(tick)), &wanted, tick), "neither has exports");
    assert!(is_like(&drill(&older, vec![], Some(tick)), &wanted, tick), "it is the same");
    assert!(is_like(&drill(&newest, vec![], Some(at("2026-11-22T03:30:00Z"))), &wanted, tick), "another tick's is left to end");
    assert!(!is_like(&drill(&newest, vec![export(1)], Some(tick)), &wanted, tick));
    let mut exports = due::Wanted::alone("pool", newest);
    exports.tests.push(export(1));
    assert!(is_like(&drill(&older, vec![export(2)], Some(tick)), &exports, tick), "one of an instance at a time has exports");
}

#[test]
fn what_does_not_fit_on_a_clone_is_left_to_a_further_one_and_nothing_is_tried_twice() {
    let room = caps::TESTS_PER_CLONE_MAX;
    let full = drill(&snapshot(23), (0..room).map(export).collect(), Some(at(TICK)));
    let mut tests: Vec<Test> = (room - 1..room + 2).map(export).collect();
    assert!(!left_by(&full, &mut tests));
    assert_eq!(tests, [export(room), export(room + 1)]);
    assert!(left_by(&full, &mut vec![export(0)]), "without a verdict it waits for the next tick");
    let with_room = drill(&snapshot(23), vec![export(0)], Some(at(TICK)));
    assert!(left_by(&with_room, &mut vec![export(1)]), "what is younger than the round waits for the next tick");
    assert!(left_by(&drill(&snapshot(1), vec![], Some(at(TICK))), &mut vec![]));
}
