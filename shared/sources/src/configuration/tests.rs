//! What a restore of settings would do, and that being cut off anywhere in it does no harm.

use std::collections::BTreeMap;

use domain::{Coded, ErrorCode, request::TableEffect};

use super::{Change, Comparison, Parameter, Prefixes, Secret, Setting, SettingsError, compare};

const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;

fn prefixes() -> Prefixes {
    Prefixes { parameters: "/p/acme/".into(), secrets: "p/acme/".into() }
}

fn tags(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect()
}

fn parameter(name: &str) -> Parameter {
    Parameter {
        name: format!("/p/acme/{name}"),
        parameter_type: "String".into(),
        version: 3,
        tier: Some("Standard".into()),
        data_type: Some("text".into()),
        description: Some("what it is for".into()),
        tags: tags(&[("owner", "acme")]),
        ..Parameter::default()
    }
}

fn secret(name: &str) -> Secret {
    Secret {
        name: format!("p/acme/{name}"),
        arn: format!("arn:aws:secretsmanager:eu-central-1:1:secret:p/acme/{name}-AbCdEf"),
        description: Some("what it is for".into()),
        versions: [("v1".to_owned(), vec!["AWSCURRENT".to_owned()])].into(),
        tags: tags(&[("owner", "acme"), ("tier", "1")]),
        policy: Some(POLICY.into()),
        ..Secret::default()
    }
}

fn settings(parameters: &[Parameter], secrets: &[Secret]) -> Vec<Setting> {
    let parameters = parameters.iter().cloned().map(Setting::Parameter);
    parameters.chain(secrets.iter().cloned().map(Setting::Secret)).collect()
}

fn held(recorded: Vec<Setting>, live: Vec<Setting>) -> Comparison {
    compare(&prefixes(), recorded, live).unwrap()
}

fn counts(effect: &TableEffect) -> [u64; 4] {
    [effect.returned, effect.overwritten, effect.destroyed, effect.unchanged]
}

/// Recorded and live settings with everything that can become of one.
fn damaged() -> (Vec<Setting>, Vec<Setting>) {
    let recorded = settings(
        &[parameter("gone"), parameter("kept"), parameter("retagged"), parameter("redescribed")],
        &[secret("gone"), secret("going"), secret("kept"), secret("opened"), secret("rekeyed")],
    );
    let going = Secret { deleted_at: Some("2026-11-22T00:00:00Z".into()), policy: None, ..secret("going") };
    let opened = Secret {
        policy: Some(r#"{"Statement":"*"}"#.into()),
        tags: tags(&[("owner", "nobody"), ("new", "x")]),
        ..secret("opened")
    };
    let live = settings(
        &[
            parameter("kept"),
            Parameter { tags: tags(&[]), ..parameter("retagged") },
            Parameter { description: None, version: 4, ..parameter("redescribed") },
            parameter("surplus"),
        ],
        &[going, secret("kept"), opened, Secret { key_id: Some("k".into()), ..secret("rekeyed") }, secret("surplus")],
    );
    (recorded, live)
}

fn apply(live: &mut Vec<Setting>, change: &Change) {
    let name = match change {
        Change::Create(secret) => &secret.name,
        Change::TakeBack { secret } | Change::TagSecret { secret, .. } | Change::SetPolicy { secret, .. } => secret,
        Change::TagParameter { parameter, .. } => parameter,
    };
    let now = live.iter().position(|setting| setting.name() == name).map(|place| live.remove(place));
    live.extend(change.applied(now));
}

#[test]
fn nothing_is_done_about_settings_that_are_as_recorded() {
    let all = || settings(&[parameter("a")], &[secret("b")]);
    let mut rotated = secret("b");
    (rotated.versions, rotated.changed_at) = ([("v2".to_owned(), vec!["AWSCURRENT".to_owned()])].into(), Some("later".into()));
    let comparison = held(all(), settings(&[parameter("a")], &[rotated]));
    assert_eq!(comparison.tables().iter().map(counts).collect::<Vec<_>>(), [[0, 0, 0, 1], [0, 0, 0, 1]]);
    assert_eq!(comparison.matching(), 2);
    assert_eq!(comparison.live_digest(), held(all(), all()).live_digest(), "a value that rotates is no drift");
    assert_eq!(comparison.remaining(&comparison.live_digest().unwrap()), Ok(vec![]));
}

#[test]
fn a_preview_counts_what_comes_back_and_names_what_a_person_must_do() {
    let (recorded, live) = damaged();
    let comparison = held(recorded, live);
    assert_eq!(comparison.tables().iter().map(counts).collect::<Vec<_>>(), [[0, 1, 0, 3], [2, 1, 0, 3]]);
    let notes = comparison.notes();
    let about = |start: &str| notes.iter().filter(|note| note.starts_with(start)).count();
    assert_eq!(about("by hand: parameter /p/acme/gone is missing"), 1, "{notes:#?}");
    assert_eq!(about("by hand: parameter /p/acme/redescribed differs"), 1, "{notes:#?}");
    assert_eq!(about("by hand: secret p/acme/gone is made again without a value"), 1, "{notes:#?}");
    assert_eq!(about("by hand: secret p/acme/rekeyed differs"), 1, "{notes:#?}");
    assert_eq!(about("by hand"), 4, "{notes:#?}");
    assert_eq!(about("put back: secret p/acme/opened gets its resource policy back"), 1, "{notes:#?}");
    assert_eq!(about("stays: parameter /p/acme/surplus is not in the recovery point"), 1, "{notes:#?}");
    assert_eq!(about("stays: secret p/acme/opened has tags that are not recorded; they stay: \"new\""), 1, "{notes:#?}");
}

#[test]
fn a_restore_that_is_cut_off_anywhere_is_finished_by_the_next_delivery() {
    let (recorded, live) = damaged();
    let approved = held(recorded.clone(), live.clone()).live_digest().unwrap();
    let all = held(recorded.clone(), live.clone()).remaining(&approved).unwrap();
    assert_eq!(all.len(), 6, "{all:#?}");
    for cut_off_after in 0..=all.len() {
        let mut now = live.clone();
        all[..cut_off_after].iter().for_each(|change| apply(&mut now, change));
        let rest = held(recorded.clone(), now.clone()).remaining(&approved).unwrap();
        assert_eq!(rest, all[cut_off_after..], "after {cut_off_after}");
        rest.iter().for_each(|change| apply(&mut now, change));
        let done = held(recorded.clone(), now);
        assert_eq!(done.remaining(&approved), Ok(vec![]), "a third delivery changes nothing");
        assert!(done.unfinished(&approved).is_empty());
    }
    assert_eq!(held(recorded.clone(), live).unfinished(&approved).len(), 4);
}

#[test]
fn what_anybody_else_changes_meanwhile_voids_the_approval() {
    let (recorded, live) = damaged();
    let approved = held(recorded.clone(), live.clone()).live_digest().unwrap();
    let all = held(recorded.clone(), live.clone()).remaining(&approved).unwrap();
    for done in 0..=all.len() {
        let mut on_the_way = live.clone();
        all[..done].iter().for_each(|change| apply(&mut on_the_way, change));
        for place in 0..on_the_way.len() {
            let mut now = on_the_way.clone();
            match &mut now[place] {
                Setting::Parameter(parameter) => parameter.tags = tags(&[("by", "another")]),
                // What was taken back was not seen whole before, and nothing is done to it any more.
                Setting::Secret(secret) if secret.name == "p/acme/going" => continue,
                Setting::Secret(secret) => secret.description = Some("another's".into()),
            }
            assert_eq!(held(recorded.clone(), now).remaining(&approved), Err(SettingsError::Drifted), "{done} {place}");
        }
    }
    for other in ["", "rest", "rest,x", "rest,x:y"] {
        assert_eq!(held(recorded.clone(), live.clone()).remaining(other), Err(SettingsError::Drifted), "{other:?}");
    }
}

#[test]
fn a_secret_of_the_same_name_that_somebody_else_made_is_not_adopted() {
    let recorded = settings(&[], &[Secret { policy: None, ..secret("gone") }]);
    let approved = held(recorded.clone(), vec![]).live_digest().unwrap();
    let theirs = Secret { description: Some("theirs".into()), ..secret("gone") };
    assert_eq!(held(recorded, settings(&[], &[theirs])).remaining(&approved), Err(SettingsError::Drifted));
}

#[test]
fn a_secret_that_is_taken_back_gets_nothing_that_nobody_approved() {
    let recorded = settings(&[], &[secret("going")]);
    let going = Secret { deleted_at: Some("t".into()), policy: None, ..secret("going") };
    let approved = held(recorded.clone(), settings(&[], &[going])).live_digest().unwrap();
    // Its policy shows only now, and is another.
    let back = Secret { policy: Some(r#"{"Statement":"*"}"#.into()), ..secret("going") };
    let comparison = held(recorded, settings(&[], &[back]));
    assert_eq!(comparison.remaining(&approved), Ok(vec![]));
    assert!(comparison.notes()[0].contains("gets its resource policy back"), "a new request can");
}

#[test]
fn what_was_on_its_way_out_at_the_recovery_point_is_neither_brought_back_nor_missed() {
    let going = Secret { deleted_at: Some("t".into()), ..secret("old") };
    for live in [settings(&[], &[]), settings(&[], std::slice::from_ref(&going))] {
        let comparison = held(settings(&[], std::slice::from_ref(&going)), live);
        assert_eq!(comparison.tables().iter().map(counts).collect::<Vec<_>>(), [[0; 4]; 2]);
        assert!(comparison.notes().is_empty());
    }
}

#[test]
fn a_name_outside_of_the_tenants_prefixes_is_refused_whole() {
    let elsewhere = Parameter { name: "/p/acme-2/theirs".into(), ..parameter("x") };
    for (recorded, live) in [
        (settings(std::slice::from_ref(&elsewhere), &[]), vec![]),
        (vec![], settings(&[elsewhere], &[])),
        (settings(&[], &[Secret { name: "p/acme".into(), ..secret("x") }]), vec![]),
        // A secret under a parameter's prefix is not the tenant's either.
        (settings(&[], &[Secret { name: "/p/acme/x".into(), ..secret("x") }]), vec![]),
    ] {
        let error = compare(&prefixes(), recorded, live).unwrap_err();
        assert_eq!(error.code(), ErrorCode::RestoreRefused);
        assert!(error.to_string().contains("acme"), "{error}");
    }
}

#[test]
fn a_policy_that_is_only_written_otherwise_is_no_difference() {
    let other = "{ \"Statement\": [ ],\n \"Version\": \"2012-10-17\" }";
    let live = settings(&[], &[Secret { policy: Some(other.into()), ..secret("a") }]);
    assert_eq!(held(settings(&[], &[secret("a")]), live).matching(), 1);
}

#[test]
fn a_policy_too_long_to_be_shown_whole_is_left_to_a_person() {
    let long = format!(r#"{{"Statement":"{}"}}"#, "x".repeat(5000));
    let recorded = settings(&[], &[Secret { policy: Some(long), ..secret("a") }]);
    let comparison = held(recorded, settings(&[], &[secret("a")]));
    assert_eq!(comparison.remaining(&comparison.live_digest().unwrap()), Ok(vec![]));
    assert!(comparison.notes()[0].starts_with("by hand: secret p/acme/a had another resource policy"));
}

#[test]
fn more_than_a_request_holds_is_refused() {
    let many: Vec<Secret> = (0..501).map(|n| Secret { policy: None, ..secret(&n.to_string()) }).collect();
    let refused = held(settings(&[], &many), vec![]).live_digest();
    assert!(matches!(refused, Err(SettingsError::TooMuch { changes: 501, .. })), "{refused:?}");
}

#[test]
fn tags_that_only_aws_writes_are_neither_compared_nor_put_back() {
    let reserved = tags(&[("owner", "acme"), ("aws:cloudformation:stack-name", "app"), ("AWS:x", "y")]);
    let (then, gone) = (Secret { tags: reserved.clone(), ..secret("a") }, Secret { tags: reserved.clone(), ..secret("gone") });
    let there = Parameter { tags: reserved, ..parameter("a") };
    let recorded = settings(&[there], &[then, gone]);
    let live = settings(&[parameter("a")], &[Secret { tags: tags(&[("owner", "acme"), ("aws:x", "y")]), ..secret("a") }]);
    let comparison = held(recorded.clone(), live.clone());
    let approved = comparison.live_digest().unwrap();
    let made = Secret { tags: tags(&[("owner", "acme")]), ..secret("gone") };
    let policy = Change::SetPolicy { secret: "p/acme/gone".into(), policy: POLICY.into() };
    assert_eq!(comparison.remaining(&approved), Ok(vec![Change::Create(Box::new(made)), policy]));
    assert!(!format!("{:?}", comparison.notes()).to_lowercase().contains("aws:cloudformation"), "{:?}", comparison.notes());
    // What AWS adds by itself on the way is no drift.
    let mut now = live;
    comparison.remaining(&approved).unwrap().iter().for_each(|change| apply(&mut now, change));
    if let Some(Setting::Secret(secret)) = now.iter_mut().find(|setting| setting.name() == "p/acme/gone") {
        secret.tags.insert("aws:by".into(), "itself".into());
    }
    assert!(held(recorded, now).unfinished(&approved).is_empty());
}

#[test]
fn a_secret_whose_making_got_no_answer_is_gone_on_with_from_what_is_there() {
    let recorded = settings(&[], &[secret("gone")]);
    let before = held(recorded.clone(), vec![]);
    let approved = before.live_digest().unwrap();
    let mut now = vec![];
    apply(&mut now, &before.remaining(&approved).unwrap()[0]);
    let after = held(recorded, now);
    assert_eq!(after.unfinished(&approved), ["p/acme/gone"]);
    let policy = Change::SetPolicy { secret: "p/acme/gone".into(), policy: POLICY.into() };
    assert_eq!(after.remaining(&approved), Ok(vec![policy]));
}

#[test]
fn what_was_refused_is_told_as_not_put_back_and_counted() {
    let (recorded, mut now) = damaged();
    let before = held(recorded.clone(), now.clone());
    let approved = before.live_digest().unwrap();
    let changes = before.remaining(&approved).unwrap();
    assert!(!before.has_begun(&approved));
    assert!(before.reissues(&approved).is_empty(), "nothing was made");
    let untouched = before.left();
    assert!(untouched.iter().any(|note| note.starts_with("not put back: secret p/acme/gone is missing")), "{untouched:#?}");
    assert!(!untouched.iter().any(|note| note.contains("made again without a value, which")), "{untouched:#?}");
    // All but what there is to do about the secret `opened`.
    let is_refused = |change: &Change| matches!(change, Change::TagSecret { .. } | Change::SetPolicy { .. });
    changes.iter().filter(|change| !is_refused(change)).for_each(|change| apply(&mut now, change));
    let after = held(recorded, now);
    assert!(after.has_begun(&approved));
    assert_eq!(after.reissues(&approved).len(), 1);
    // Missing or otherwise: the parameters `gone` and `redescribed`, the secrets `gone`, `going`, `opened` and `rekeyed`.
    assert_eq!((after.matching(), after.not_as_recorded()), (3, 6), "{:#?}", after.left());
    let left = after.left();
    assert!(
        left.iter().any(|note| note.starts_with("not put back: secret p/acme/opened gets its tag \"owner\" back")),
        "{left:#?}"
    );
    assert!(!left.iter().any(|note| note.starts_with("put back: ")), "{left:#?}");
}

#[test]
fn no_change_carries_a_value() {
    let (mut recorded, live) = damaged();
    for setting in &mut recorded {
        if let Setting::Parameter(parameter) = setting {
            parameter.value = Some("canary".into());
        }
    }
    let comparison = held(recorded, live);
    let approved = comparison.live_digest().unwrap();
    let said = format!("{:?} {:?} {:?}", comparison.remaining(&approved), comparison.notes(), comparison.reissues(&approved));
    assert!(!said.contains("canary"), "{said}");
}
