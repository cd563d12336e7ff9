//! What to do about a snapshot under way.

use aws::SnapshotState;
use domain::caps;
use jiff::SignedDuration;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Look again later.
    Wait,
    /// It can be restored: publish it.
    Publish,
    /// Nothing will come of it, for this reason.
    GiveUp(String),
}

/// Decides from how far RDS has come, if it knows the snapshot at all, and how long ago the slot was taken.
pub(crate) fn settle(name: &str, found: Option<&SnapshotState>, age: SignedDuration) -> Step {
    let late = age.as_secs() > caps::SNAPSHOT_AT_MOST_S;
    let hours = age.as_hours();
    match found {
        Some(SnapshotState::Available) => Step::Publish,
        Some(SnapshotState::Failed { status }) => Step::GiveUp(format!("RDS reports snapshot {name} as {status}")),
        Some(SnapshotState::Creating { percent }) if late => {
            Step::GiveUp(format!("snapshot {name} is at {percent} % after {hours} hours; look at it in RDS, and delete it"))
        }
        // Taken, but never asked for: the invocation stopped in between. The tick's redelivery asks again, if one comes.
        None if late => Step::GiveUp(format!("RDS does not know snapshot {name}, {hours} hours after its slot was taken")),
        Some(SnapshotState::Creating { .. }) | None => Step::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Option<SnapshotState>, age_hours: i64, expected: Result<Step, &str>) {
        let step = settle("holdfast-1", found.as_ref(), SignedDuration::from_hours(age_hours));
        match (&step, &expected) {
            (Step::GiveUp(why), Err(part)) => assert!(why.contains(part) && why.contains("holdfast-1"), "{why}"),
            (_, Ok(expected)) => assert_eq!(step, *expected, "{found:?} {age_hours}"),
            _ => panic!("{found:?} {age_hours}: {step:?}"),
        }
    }

    #[test]
    fn a_snapshot_is_waited_for_at_most_a_day() {
        let creating = || Some(SnapshotState::Creating { percent: 40 });
        check(creating(), 24, Ok(Step::Wait));
        check(creating(), 25, Err("40 % after 25 hours"));
        check(None, 24, Ok(Step::Wait));
        check(None, 25, Err("does not know"));
    }

    #[test]
    fn what_has_ended_is_settled_however_old_it_is() {
        for age_hours in [0, 25] {
            check(Some(SnapshotState::Available), age_hours, Ok(Step::Publish));
            check(Some(SnapshotState::Failed { status: "failed".into() }), age_hours, Err("as failed"));
        }
    }
}
