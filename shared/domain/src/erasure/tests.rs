use uuid::Uuid;

use super::*;
use crate::{
    id::{RunId, VaultTenantId},
    point::Hold,
    slot::{Slot, Subject},
};

const KEY: &str = "arn:aws:kms:eu-central-1:1:key/0192";

fn at(hours: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
    noon + SignedDuration::from_hours(hours)
}

fn person(name: &str) -> Identity {
    Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() }
}

fn asked() -> Asked {
    let id = "er_00000000-0000-7000-8000-000000000001".parse().unwrap();
    Asked {
        id,
        tenant: "acme".parse().unwrap(),
        reason: "contract ended".into(),
        requested_by: person("ana"),
        requested_at: at(0),
    }
}

fn point(hour: i64, kind: Kind, key: Option<&str>) -> RecoveryPoint {
    let slot = Slot { rule: "daily".into(), scheduled_time: at(hour), subject: Subject::Tenant("acme".parse().unwrap()), kind };
    let content = Content::Export {
        vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(9)),
        sequence: 1,
        link_sha256: "00".into(),
        parent: None,
        rows: 1,
        plaintext_bytes: 20,
        stored_bytes: 3,
        read: None,
    };
    let begun = RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(1)), at(hour));
    RecoveryPoint { key: key.map(str::to_owned), ..begun.publish(content, at(hour)).unwrap() }
}

fn points() -> Vec<RecoveryPoint> {
    vec![point(-3, Kind::Database, None), point(-2, Kind::Database, Some(KEY)), point(-2, Kind::Media, Some(KEY))]
}

fn erasure() -> Erasure {
    let going = Going::of(&asked(), &points(), Some(KEY));
    Erasure::new(asked(), going)
}

fn approved() -> Erasure {
    let wanted = erasure();
    let going = wanted.going.clone();
    wanted.approve(person("ben"), &going.digest, &going, 1, at(1)).unwrap()
}

fn done() -> Done {
    Done {
        at: at(2),
        keys: vec![DoomedKey { arn: KEY.into(), deletion_at: Some(at(9)) }],
        stored: Stored::default(),
        outside: vec![],
    }
}

#[test]
fn what_goes_is_counted_by_kind_and_told_apart_by_key() {
    let going = erasure().going;
    let counted: Vec<_> = going.amounts.iter().map(|amount| (amount.kind, amount.points, amount.plaintext_bytes)).collect();
    assert_eq!(counted, [(Kind::Database, 2, 40), (Kind::Media, 1, 20)]);
    assert_eq!((going.points(), going.keys.as_slice(), going.under_vault_key), (3, [KEY.to_owned()].as_slice(), 1));
    // What retention let go is not counted again, but its key is still a key to what is stored.
    let mut mixed = points();
    mixed[1] = mixed[1].clone().expire(at(0)).unwrap();
    mixed[0] = mixed[0].clone().expire(at(0)).unwrap().sweep(at(0)).unwrap();
    let going = Going::of(&asked(), &mixed, None);
    assert_eq!((going.points(), going.keys.len(), going.under_vault_key), (1, 1, 0));
}

#[test]
fn another_person_agrees_to_exactly_what_there_is() {
    let (wanted, going) = (erasure(), erasure().going);
    let refused = |by: &str, digest: &str, there: &Going, hours: i64| {
        wanted.clone().approve(person(by), digest, there, 1, at(hours)).unwrap_err()
    };
    assert!(matches!(refused("ana", &going.digest, &going, 1), ErasureError::SamePerson { .. }));
    assert!(matches!(refused("ben", "another", &going, 1), ErasureError::OtherThings { .. }));
    assert!(matches!(refused("ben", &going.digest, &going, 25), ErasureError::TooLate { .. }));
    let more = Going::of(&asked(), &[points(), vec![point(-1, Kind::Database, None)]].concat(), Some(KEY));
    assert!(matches!(refused("ben", &going.digest, &more, 1), ErasureError::OtherThings { .. }), "one was made since");
    let without_key = Going::of(&asked(), &[point(-3, Kind::Database, None)], None);
    assert_ne!(Going::of(&asked(), &[point(-3, Kind::Database, None)], Some(KEY)).digest, without_key.digest);
    let once = wanted.approve(person("ben"), &going.digest, &going, 2, at(1)).unwrap();
    assert_eq!(once.state.name(), "requested", "two are needed");
    assert!(matches!(
        once.clone().approve(person("ben"), &going.digest, &going, 2, at(1)).unwrap_err(),
        ErasureError::SamePerson { .. }
    ));
    assert_eq!(once.approve(person("cem"), &going.digest, &going, 2, at(1)).unwrap().state.name(), "approved");
}

#[test]
fn the_work_checks_all_of_it_again_and_may_be_delivered_twice() {
    let going = erasure().going;
    let nothing = Going::of(&asked(), &[], Some(KEY));
    assert!(matches!(erasure().execute(&going, 1, at(1)).unwrap_err(), ErasureError::WrongState { .. }));
    assert!(matches!(approved().execute(&nothing, 1, at(1)).unwrap_err(), ErasureError::OtherThings { .. }));
    assert!(matches!(approved().execute(&going, 2, at(1)).unwrap_err(), ErasureError::MoreNeeded { needed: 2, .. }));
    assert!(matches!(approved().execute(&going, 1, at(26)).unwrap_err(), ErasureError::TooLate { .. }));
    let mut alone = approved();
    if let ErasureState::Approved { approvals } = &mut alone.state {
        approvals[0].break_glass = Some("nobody else is there".into());
    }
    assert!(matches!(alone.execute(&going, 1, at(1)).unwrap_err(), ErasureError::MoreNeeded { .. }), "nobody breaks this glass");

    let begun = approved().execute(&going, 1, at(1)).unwrap();
    assert!(begun.is_open(at(9)));
    assert_eq!((begun.overdue_since(at(3)), begun.overdue_since(at(5))), (None, Some(at(1))));
    assert_eq!((approved().overdue_since(at(5)), erasure().overdue_since(at(50))), (Some(at(1)), None));
    let again = begun.clone().execute(&nothing, 1, at(2)).unwrap();
    assert_eq!(again, begun, "some of it is gone, and the work goes on");
    let ended = again.expired(done()).unwrap();
    assert!(!ended.is_open(at(2)));
    assert!(ended.clone().execute(&nothing, 1, at(2)).is_err() && ended.clone().expired(done()).is_err());
    assert!(ended.cancel(person("ana"), "no".into(), at(2)).is_err(), "it cannot be taken back");
}

#[test]
fn it_is_cancelled_until_the_work_begins_and_over_when_nobody_agreed_in_time() {
    let cancelled = approved().cancel(person("ana"), "the customer stays".into(), at(1)).unwrap();
    assert!(!cancelled.is_open(at(1)) && cancelled.state.approvals().is_empty());
    assert!(cancelled.execute(&erasure().going, 1, at(1)).is_err());
    assert!(erasure().is_open(at(24)) && !erasure().is_open(at(25)));
    let begun = approved().execute(&erasure().going, 1, at(1)).unwrap();
    assert!(begun.cancel(person("ana"), "no".into(), at(1)).is_err());
}

#[test]
fn work_that_stopped_for_too_long_is_over_and_can_only_be_given_up() {
    let begun = approved().execute(&erasure().going, 1, at(1)).unwrap();
    let (last, over) = (at(1 + 7 * 24), at(2 + 7 * 24));
    assert!(begun.is_open(last) && begun.clone().execute(&erasure().going, 1, last).is_ok());
    assert!(begun.clone().cancel(person("ana"), "no".into(), last).is_err(), "it may still go on");
    assert!(!begun.is_open(over), "another may be asked for");
    assert!(matches!(begun.clone().execute(&erasure().going, 1, over).unwrap_err(), ErasureError::TooLate { .. }));
    let given_up = begun.cancel(person("ana"), "it was held for a month".into(), over).unwrap();
    assert_eq!(given_up.state.name(), "cancelled");
    assert!(given_up.expired(done()).is_err());
}

#[test]
fn an_erasure_that_left_something_does_not_bar_another_one() {
    let begun = approved().execute(&erasure().going, 1, at(1)).unwrap();
    let ended = begun.clone().expired(done()).unwrap();
    let gone = [point(-3, Kind::Database, None).expire(at(1)).unwrap()];
    assert!(left_something(Some(&begun), &gone), "its keys may be left");
    assert!(left_something(None, &gone));
    assert!(!left_something(Some(&ended), &gone));
    assert!(left_something(Some(&ended), &points()), "one was published all the same");
}

#[test]
fn holds_are_named_with_whom_to_ask() {
    let mut held = points();
    assert_eq!(held_by(&held, at(0)), None);
    let hold = Hold { reason: "case 4711".into(), owner: "cleo".into(), placed_at: at(-1), until: None };
    held[0] = held[0].clone().hold(hold.clone(), at(-1)).unwrap();
    held[1] = held[1].clone().hold(Hold { until: Some(at(5)), ..hold }, at(-1)).unwrap();
    assert_eq!(held_by(&held, at(0)).unwrap(), "`case 4711` of cleo on 2 recovery points");
    assert_eq!(held_by(&held, at(6)).unwrap(), "`case 4711` of cleo on 1 recovery points");
}

#[test]
fn what_is_claimed_is_no_more_than_what_can_be_seen() {
    use KeyFound::{Gone, Pending, Usable};
    for (keys, under_vault_key, objects, expected) in [
        (&[][..], 3, 7, "logically_erased"),
        (&[], 3, 0, "erased"),
        (&[Pending], 0, 7, "key_pending_deletion"),
        (&[Gone], 0, 7, "erased"),
        (&[Gone, Pending], 0, 7, "key_pending_deletion"),
        (&[Gone, Usable], 0, 7, "key_taken_back"),
        (&[Gone], 1, 7, "logically_erased"),
        (&[Usable], 1, 7, "key_taken_back"),
    ] {
        assert_eq!(Standing::of(keys, under_vault_key, objects).name(), expected, "{keys:?} {under_vault_key} {objects}");
    }
}

#[test]
fn the_persisted_names_are_promises() {
    let begun = approved().execute(&erasure().going, 1, at(1)).unwrap();
    for erasure in [
        erasure(),
        approved(),
        begun.clone(),
        begun.clone().expired(done()).unwrap(),
        erasure().cancel(person("ana"), "no".into(), at(1)).unwrap(),
    ] {
        let text = serde_json::to_string(&erasure).unwrap();
        assert_eq!(serde_json::from_str::<Erasure>(&text).unwrap(), erasure, "{text}");
    }
    let json = serde_json::to_value(begun.expired(done()).unwrap()).unwrap();
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(json) });
}
