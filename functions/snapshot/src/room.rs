//! Room for the next snapshot, when the account holds as many as it may: one that can be spared goes before its time.

use std::collections::BTreeSet;

use aws::{Snapshot, SnapshotOf};
use catalog::{PointError, TableError, audit::Phase, decisions::DecisionRecord};
use domain::{
    ErrorReport, RecoveryPointId,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Content, Kind, RecoveryPoint},
    retention::{Decision, Reason, Terms, expire_first},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;

use crate::{name::Names, ours};

/// Whether there will be room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Room {
    /// One has just expired, or had before, and is deleted first; or the next tick sees to it.
    Coming,
    /// There will not be, for this reason, until a person makes some.
    None(String),
}

/// Lets one snapshot go, if the plan has retention carried out and one can be spared: of the subject that needs the room, or else of another.
///
/// `newest` names the newest copy of each instance: these are deleted by nothing, so they make no room. `listed` is what RDS has.
pub(crate) async fn make(
    services: &Services,
    plan: &Plan,
    needed_by: &Subject,
    newest: &BTreeSet<String>,
    listed: &[(SnapshotOf, Snapshot)],
) -> Result<Room, ErrorReport> {
    let (named, now) = (services.catalog.named_points().await?, services.clock.now());
    let expired = services.catalog.expired_snapshots(caps::LISTED_POINTS_MAX).await?;
    let is_ours = |id, found: &Snapshot| ours::is_of(services, id, found);
    let goes = |point: &RecoveryPoint| may_go(point, &named, newest, now) && is_there(point, listed, is_ours);
    if expired.iter().any(|point| goes(&point.value)) {
        return Ok(Room::Coming);
    }
    let terms = services.catalog.policy_in_force(&plan.terms(), now).await?.terms;
    if !terms.policy.apply {
        return Ok(Room::None("the retention in force is a dry run (`apply` is false), so none is let go for it".to_owned()));
    }
    let others = plan.snapshot_subjects().into_iter().map(|id| Subject::Instance(id.to_owned()));
    let mut none = String::new();
    for subject in std::iter::once(needed_by.clone()).chain(others.filter(|subject| subject != needed_by)) {
        match spare(services, &terms, &subject, &named, newest).await? {
            Ok(()) => return Ok(Room::Coming),
            Err(why) => none = if none.is_empty() { format!("of {subject}, {why}") } else { none },
        }
    }
    Ok(Room::None(none))
}

/// Whether nothing keeps the next tick from deleting an expired recovery point's snapshots.
fn may_go(expired: &RecoveryPoint, named: &BTreeSet<RecoveryPointId>, newest: &BTreeSet<String>, now: Timestamp) -> bool {
    !named.contains(&expired.id) && !expired.is_held(now) && !names(expired).iter().any(|name| newest.contains(name))
}

/// Whether RDS has any of its snapshots: what is gone has made its room already, and what is not ours stays.
fn is_there(
    expired: &RecoveryPoint,
    listed: &[(SnapshotOf, Snapshot)],
    is_ours: impl Fn(RecoveryPointId, &Snapshot) -> bool,
) -> bool {
    let names = names(expired);
    listed.iter().any(|(_, found)| names.contains(&found.name) && is_ours(expired.id, found))
}

/// What a recovery point's snapshots may be called.
fn names(point: &RecoveryPoint) -> Vec<String> {
    let Names { taken, copy } = Names::of(point.id);
    let mut names = vec![taken, copy];
    if let Some(Content::Snapshot { identifier, .. }) = point.last_content()
        && !names.contains(identifier)
    {
        names.push(identifier.clone());
    }
    names
}

/// Whether a recovery point's snapshot is one of these.
fn is_among(point: &RecoveryPoint, names: &BTreeSet<String>) -> bool {
    matches!(point.last_content(), Some(Content::Snapshot { identifier, .. }) if names.contains(identifier))
}

/// Expires what can be spared of a subject first, and records why.
async fn spare(
    services: &Services,
    terms: &Terms,
    subject: &Subject,
    named: &BTreeSet<RecoveryPointId>,
    newest: &BTreeSet<String>,
) -> Result<Result<(), String>, ErrorReport> {
    let now = services.clock.now();
    let listed = services.catalog.points(subject, Some(Kind::Snapshot), caps::LISTED_POINTS_MAX).await?;
    let points: Vec<RecoveryPoint> = listed.iter().map(|point| point.value.clone()).collect();
    // What an open request or recovery names must not go. What is its instance's newest copy would go, and nothing would be deleted.
    let is_newest = |point: &&RecoveryPoint| is_among(point, newest);
    let stays = named.iter().copied().chain(points.iter().filter(is_newest).map(|point| point.id)).collect();
    let decision = match expire_first(&terms.policy, &terms.zone()?, &points, &stays, now) {
        Ok(decision) => decision,
        Err(none) => return Ok(Err(none.to_string())),
    };
    let Some(point) = listed.iter().find(|point| point.value.id == decision.point) else {
        return Ok(Err("the one that could go is gone".to_owned()));
    };
    let id = point.value.id;
    let mut reasons = decision.reasons;
    reasons.insert(Reason::NoRoom);
    let decided = Decision { keep: false, reasons, ..decision };
    let record = DecisionRecord::new(subject.clone(), Kind::Snapshot, now, terms, &[decided]);
    services.catalog.record_decision(record).await?;
    let expired = point.value.clone().expire(now).map_err(PointError::from)?;
    let about = subject.to_string();
    services.audit(Phase::Intent, "snapshot", "point.expire", &about, &format!("{id}: to make room")).await?;
    let written = services.catalog.update(point, expired).await;
    let outcome = match &written {
        Ok(_) => format!("{id}: expired"),
        Err(TableError::Conflict { .. }) => format!("{id}: changed meanwhile, kept"),
        Err(error) => format!("{id}: perhaps not expired: {error}"),
    };
    services.audit(Phase::Outcome, "snapshot", "point.expire", &about, &outcome).await?;
    match written {
        Ok(_) => services.all_clear(AlertClass::BackupBad, &id.to_string()).await.map(Ok),
        // It was proven, refuted or held since it was read: the next tick decides anew.
        Err(TableError::Conflict { .. }) => Ok(Ok(())),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use domain::slot::Slot;
    use serde_json::Value;

    use super::*;

    const NOW: &str = "2026-11-23T12:00:00Z";

    #[test]
    fn only_what_the_next_tick_would_delete_makes_room() {
        let now: Timestamp = NOW.parse().unwrap();
        let subject = Subject::Instance("central".into());
        let slot = Slot { rule: "daily".into(), scheduled_time: now, subject, kind: Kind::Snapshot };
        let point = RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), now);
        let Names { copy, .. } = Names::of(point.id);
        let content = Content::Snapshot { identifier: copy.clone(), arn: "a".into(), settings: Value::Null, copied: None };
        let available = point.publish(content, now).unwrap();
        let hold = domain::point::Hold { reason: "case 4711".into(), owner: "a".into(), placed_at: now, until: None };
        let held = available.clone().hold(hold, now).unwrap();
        let expired = available.expire(now).unwrap();
        let held = RecoveryPoint { holds: held.holds, ..expired.clone() };
        let (none, nobody) = (BTreeSet::new(), BTreeSet::new());
        assert!(may_go(&expired, &none, &nobody, now));
        assert!(!may_go(&expired, &BTreeSet::from([expired.id]), &nobody, now), "an open request names it");
        assert!(!may_go(&expired, &none, &BTreeSet::from([copy.clone()]), now), "it is the newest of its instance");
        assert!(!may_go(&held, &none, &nobody, now), "it was held after it was let go");

        let snapshot = Snapshot {
            name: copy,
            arn: String::new(),
            of: "i".into(),
            copy_of: None,
            state: aws::SnapshotState::Available,
            created_at: None,
            asked_at: None,
            kms_key: None,
            tags: aws::Tags::new(),
        };
        let listed = [(SnapshotOf::Instance, snapshot)];
        assert!(is_there(&expired, &listed, |id, _| id == expired.id));
        assert!(!is_there(&expired, &listed, |_, _| false), "it is somebody else's by its tags");
        assert!(!is_there(&expired, &[], |_, _| true), "it is gone already");
    }
}
