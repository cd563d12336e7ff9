//! What to do next about a snapshot under way: it is taken beside its instance, then copied under the vault's key, and the copy is published.

use aws::{Snapshot, SnapshotState};
use domain::caps;
use jiff::SignedDuration;

use crate::name::Names;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look again later.
    Wait,
    /// Ask RDS to take it: nobody has, or the call was lost on its way.
    Take,
    /// Ask RDS for the copy.
    Copy,
    /// The copy can be restored, and is under the vault's key: publish it.
    Publish,
    /// Nothing will come of it, for this reason.
    GiveUp(String),
}

/// What is known of a snapshot of ours, by name and key.
pub(crate) struct Seen<'a> {
    /// The names.
    pub(crate) names: &'a Names,
    /// The one beside the instance, if RDS has it.
    pub(crate) taken: Option<&'a Snapshot>,
    /// The copy, if RDS has it.
    pub(crate) copy: Option<&'a Snapshot>,
    /// Whether a snapshot carries the tags of this recovery point and this vault.
    pub(crate) is_ours: &'a dyn Fn(&Snapshot) -> bool,
    /// ARN of the vault's key.
    pub(crate) key: &'a str,
}

/// Decides from how far RDS has come, and how long ago the slot was taken. Whoever looks next goes on from wherever the last one stopped.
pub(crate) fn settle(seen: &Seen<'_>, age: SignedDuration) -> Step {
    if let Some(foreign) = seen.taken.into_iter().chain(seen.copy).find(|found| !(seen.is_ours)(found)) {
        return Step::GiveUp(format!(
            "snapshot {} exists but is not this recovery point's; find out who made it, and delete it or copy it under another name",
            foreign.name
        ));
    }
    // Whoever loses the account's key loses the instance and such a snapshot together: it would be no backup.
    if let Some(taken) = seen.taken.filter(|taken| taken.kms_key.as_deref() == Some(seen.key)) {
        return Step::GiveUp(format!(
            "{} is encrypted under the vault's own key {}, so its copy would be lost with it; give the instance another key",
            taken.of, seen.key
        ));
    }
    match (seen.copy, seen.taken) {
        (Some(copy), _) => settle_copy(copy, seen.key, age),
        (None, taken) => settle_taken(taken, &seen.names.taken, age),
    }
}

fn settle_copy(copy: &Snapshot, key: &str, age: SignedDuration) -> Step {
    let name = &copy.name;
    match (&copy.state, copy.kms_key.as_deref()) {
        (_, Some(other)) if other != key => Step::GiveUp(format!(
            "copy {name} is encrypted under {other} and not under the vault's key {key}; find out who made it, and delete it"
        )),
        (SnapshotState::Available, None) => {
            Step::GiveUp(format!("copy {name} is not encrypted; find out who made it, and delete it"))
        }
        (SnapshotState::Available, Some(_)) => Step::Publish,
        (SnapshotState::Creating { percent }, _) if age.as_secs() > caps::SNAPSHOT_COPY_AT_MOST_S => {
            Step::GiveUp(format!("copy {name} is at {percent} % {} hours after its slot; look at it in RDS", age.as_hours()))
        }
        (SnapshotState::Creating { .. }, _) => Step::Wait,
        (SnapshotState::Deleting, _) => Step::GiveUp(format!("somebody is deleting copy {name}; find out who, and why")),
        (SnapshotState::Failed { status }, _) => Step::GiveUp(format!("RDS reports copy {name} as {status}")),
    }
}

fn settle_taken(taken: Option<&Snapshot>, name: &str, age: SignedDuration) -> Step {
    let late = age.as_secs() > caps::SNAPSHOT_AT_MOST_S;
    let hours = age.as_hours();
    match taken.map(|taken| &taken.state) {
        Some(SnapshotState::Available) if age.as_secs() > caps::SNAPSHOT_COPY_AT_MOST_S => {
            Step::GiveUp(format!("snapshot {name} could not be copied for {hours} hours; look for the errors of its copy"))
        }
        Some(SnapshotState::Available) => Step::Copy,
        Some(SnapshotState::Failed { status }) => Step::GiveUp(format!("RDS reports snapshot {name} as {status}")),
        Some(SnapshotState::Deleting) => Step::GiveUp(format!("somebody is deleting snapshot {name}; find out who, and why")),
        Some(SnapshotState::Creating { percent }) if late => {
            Step::GiveUp(format!("snapshot {name} is at {percent} % after {hours} hours; look at it in RDS"))
        }
        Some(SnapshotState::Creating { .. }) => Step::Wait,
        None if late => Step::GiveUp(format!("RDS does not know snapshot {name}, {hours} hours after its slot was taken")),
        None => Step::Take,
    }
}

#[cfg(test)]
mod tests {
    use aws::Tags;

    use super::*;

    const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/vault";
    const OTHER: &str = "arn:aws:kms:eu-central-1:123456789012:key/instance";

    fn names() -> Names {
        Names { taken: "holdfast-1".into(), copy: "holdfast-1-copy".into() }
    }

    fn snapshot(name: &str, state: SnapshotState, key: Option<&str>) -> Snapshot {
        Snapshot {
            name: name.to_owned(),
            arn: String::new(),
            of: "platform-pool".into(),
            copy_of: None,
            state,
            created_at: None,
            asked_at: None,
            kms_key: key.map(str::to_owned),
            tags: Tags::from([("ours".to_owned(), String::new())]),
        }
    }

    fn taken(state: SnapshotState) -> Option<Snapshot> {
        Some(snapshot("holdfast-1", state, Some(OTHER)))
    }

    fn copy(state: SnapshotState, key: Option<&str>) -> Option<Snapshot> {
        Some(snapshot("holdfast-1-copy", state, key))
    }

    fn at(percent: u8) -> SnapshotState {
        SnapshotState::Creating { percent }
    }

    fn failed() -> SnapshotState {
        SnapshotState::Failed { status: "failed".into() }
    }

    fn check(taken: Option<Snapshot>, copy: Option<Snapshot>, age_hours: i64, expected: Result<Step, &str>) {
        let names = names();
        let is_ours = |found: &Snapshot| found.tags.contains_key("ours");
        let seen = Seen { names: &names, taken: taken.as_ref(), copy: copy.as_ref(), is_ours: &is_ours, key: KEY };
        let step = settle(&seen, SignedDuration::from_hours(age_hours));
        match (&step, &expected) {
            (Step::GiveUp(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (_, Ok(expected)) => assert_eq!(step, *expected, "{taken:?} {copy:?} {age_hours}"),
            _ => panic!("{taken:?} {copy:?} {age_hours}: {step:?}"),
        }
    }

    use SnapshotState::{Available, Deleting};

    #[test]
    fn a_snapshot_is_taken_then_copied_and_its_copy_published() {
        check(None, None, 0, Ok(Step::Take));
        check(taken(at(40)), None, 0, Ok(Step::Wait));
        check(taken(Available), None, 0, Ok(Step::Copy));
        check(taken(Available), copy(at(1), Some(KEY)), 0, Ok(Step::Wait));
        check(taken(Available), copy(at(1), None), 0, Ok(Step::Wait));
        check(taken(Available), copy(Available, Some(KEY)), 0, Ok(Step::Publish));
        // What it was copied from may be gone by then.
        check(None, copy(at(1), Some(KEY)), 0, Ok(Step::Wait));
        check(None, copy(Available, Some(KEY)), 90, Ok(Step::Publish));
    }

    #[test]
    fn a_copy_is_the_vaults_only_under_the_vaults_key() {
        check(taken(Available), copy(Available, Some(OTHER)), 0, Err("and not under the vault's key"));
        check(taken(Available), copy(at(1), Some(OTHER)), 0, Err(OTHER));
        check(None, copy(Available, Some(OTHER)), 0, Err("and not under the vault's key"));
        check(taken(Available), copy(Available, None), 0, Err("not encrypted"));
    }

    #[test]
    fn an_instance_under_the_vaults_key_has_no_copy_that_would_outlive_it() {
        let under_ours = |state| Some(snapshot("holdfast-1", state, Some(KEY)));
        check(under_ours(at(1)), None, 0, Err("platform-pool is encrypted under the vault's own key"));
        check(under_ours(Available), copy(Available, Some(KEY)), 0, Err("give the instance another key"));
        // One without encryption gets it by the copy.
        check(Some(snapshot("holdfast-1", Available, None)), None, 0, Ok(Step::Copy));
    }

    #[test]
    fn what_somebody_else_made_under_our_names_is_refused() {
        let foreign = |found: Option<Snapshot>| found.map(|found| Snapshot { tags: Tags::new(), ..found });
        check(foreign(taken(Available)), None, 0, Err("snapshot holdfast-1 exists but is not this recovery point's"));
        check(taken(Available), foreign(copy(Available, Some(KEY))), 0, Err("snapshot holdfast-1-copy exists but"));
    }

    #[test]
    fn a_snapshot_is_waited_for_at_most_a_day_and_its_copy_another() {
        check(taken(at(40)), None, 24, Ok(Step::Wait));
        check(taken(at(40)), None, 25, Err("40 % after 25 hours"));
        check(None, None, 24, Ok(Step::Take));
        check(None, None, 25, Err("does not know"));
        check(taken(Available), None, 48, Ok(Step::Copy));
        check(taken(Available), None, 49, Err("could not be copied for 49 hours"));
        check(taken(Available), copy(at(40), Some(KEY)), 48, Ok(Step::Wait));
        check(taken(Available), copy(at(40), Some(KEY)), 49, Err("40 % 49 hours after"));
    }

    #[test]
    fn what_has_ended_badly_is_given_up_at_once() {
        check(taken(failed()), None, 0, Err("snapshot holdfast-1 as failed"));
        check(taken(Deleting), None, 0, Err("somebody is deleting snapshot holdfast-1"));
        check(taken(Available), copy(failed(), Some(KEY)), 0, Err("copy holdfast-1-copy as failed"));
        check(taken(Available), copy(Deleting, Some(KEY)), 0, Err("somebody is deleting copy"));
    }
}
