//! The clone of a restore test: its name, and which clones nobody will delete any more.

use aws::Instance;
use catalog::drills::DrillState;
use domain::{RecoveryPointId, caps};
use jiff::Timestamp;
use runtime::{copies::VAULT_TAG, services::short_name};

/// How every clone's name begins; roles and event rules go by it.
pub(crate) const PREFIX: &str = "holdfast-drill-";

/// The clone's name: derived from the snapshot it is made from in a tick, or the export a person wants tested, so that two deliveries ask
/// for one clone.
///
/// It begins with the time, so that records of restore tests are listed in order; to the millisecond, so that a person who asks again is heard.
pub(crate) fn name(point: RecoveryPointId, asked_at: Timestamp) -> String {
    format!("{PREFIX}{}-{}", asked_at.strftime("%Y%m%dt%H%M%S%3f"), short_name(point.uuid()))
}

/// The name of a tick's clone that takes what did not fit on `before` others of the same snapshot.
pub(crate) fn further_name(point: RecoveryPointId, asked_at: Timestamp, before: usize) -> String {
    match before {
        0 => name(point, asked_at),
        _ => format!("{}-{}", name(point, asked_at), before + 1),
    }
}

/// Whether an instance is a clone of this vault that runs, and costs, although its restore test is over or was never recorded.
///
/// A request to RDS without an answer may still make an instance, after its drill was ended for want of one.
pub(crate) fn is_orphan(instance: &Instance, drill: Option<&DrillState>, vault: &str, now: Timestamp) -> bool {
    let ours = instance.name.starts_with(PREFIX) && instance.tags.get(VAULT_TAG).is_some_and(|tag| tag == vault);
    let forgotten = match drill {
        Some(DrillState::Done { .. }) => true,
        Some(DrillState::Restoring | DrillState::Comparing { .. } | DrillState::TearingDown { .. }) => false,
        None => {
            instance.created_at.is_some_and(|created| now.duration_since(created).as_secs() > caps::UNRECORDED_CLONE_AT_MOST_S)
        }
    };
    ours && forgotten && instance.status != "deleting"
}

#[cfg(test)]
mod tests {
    use aws::{InstanceSettings, Tags};

    use super::*;

    const NOW: &str = "2026-11-23T04:30:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn point(last: &str) -> RecoveryPointId {
        format!("rp_c28ff9cb-30f2-81c6-b010-{last}").parse().unwrap()
    }

    #[test]
    fn two_deliveries_ask_for_one_clone_and_other_points_and_ticks_for_others() {
        let first = name(point("287069b31ef2"), at(NOW));
        assert_eq!(first, "holdfast-drill-20261123t043000000-287069b31ef2");
        assert_eq!(first, name(point("287069b31ef2"), at(NOW)));
        assert_ne!(first, name(point("287069b31ef3"), at(NOW)));
        assert_ne!(first, name(point("287069b31ef2"), at("2026-11-24T04:30:00Z")));
    }

    #[test]
    fn a_clones_name_is_one_that_rds_takes() {
        let names = [0, 1, 99].map(|before| further_name(point("287069b31ef2"), at(NOW), before));
        assert_eq!(names[0], name(point("287069b31ef2"), at(NOW)));
        assert_eq!(names[1], format!("{}-2", names[0]));
        for name in names {
            assert!(name.len() <= 63 && name.starts_with(|first: char| first.is_ascii_lowercase()), "{name}");
            assert!(!name.contains("--") && !name.ends_with('-'), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{name}");
        }
    }

    fn instance() -> Instance {
        Instance {
            name: "holdfast-drill-20261123t0430-287069b31ef2".into(),
            arn: String::new(),
            resource_id: String::new(),
            status: "available".into(),
            endpoint: None,
            engine: "postgres".into(),
            engine_version: String::new(),
            created_at: Some(at("2026-11-23T03:00:00Z")),
            settings: InstanceSettings::default(),
            tags: Tags::from([(VAULT_TAG.to_owned(), "main".to_owned())]),
        }
    }

    fn check(instance: &Instance, drill: Option<&DrillState>, expected: bool) {
        assert_eq!(is_orphan(instance, drill, "main", at(NOW)), expected, "{drill:?} {instance:?}");
    }

    #[test]
    fn a_clone_is_an_orphan_once_its_test_is_done_or_if_none_was_recorded_for_an_hour() {
        let outcome = "proven".to_owned();
        check(&instance(), Some(&DrillState::Done { at: at(NOW), outcome: outcome.clone() }), true);
        check(&instance(), Some(&DrillState::Restoring), false);
        check(&instance(), Some(&DrillState::Comparing { since: at(NOW) }), false);
        check(&instance(), Some(&DrillState::TearingDown { outcome }), false);
        check(&instance(), None, true);
        check(&Instance { created_at: Some(at("2026-11-23T03:31:00Z")), ..instance() }, None, false);
        check(&Instance { created_at: None, ..instance() }, None, false);
    }

    #[test]
    fn nothing_but_this_vaults_clones_is_ever_an_orphan() {
        let done = DrillState::Done { at: at(NOW), outcome: "proven".into() };
        for other in [
            Instance { status: "deleting".into(), ..instance() },
            Instance { name: "platform-central".into(), ..instance() },
            Instance { tags: Tags::new(), ..instance() },
            Instance { tags: Tags::from([(VAULT_TAG.to_owned(), "other".to_owned())]), ..instance() },
        ] {
            check(&other, Some(&done), false);
        }
    }
}
