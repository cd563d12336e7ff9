//! Which snapshots are ours: by their tags, never by their names alone.

use aws::{Snapshot, SnapshotOf, Snapshots, Tags};
use catalog::audit::Phase;
use domain::{
    ErrorReport, RecoveryPointId,
    plan::{Plan, Server},
    point::RecoveryPoint,
    slot::{Slot, Subject},
};
use runtime::{copies::VAULT_TAG, services::Services};

/// The tag that says of which recovery point a snapshot is.
const POINT_TAG: &str = "holdfast:point";

/// The tags of a recovery point's snapshots. A lost catalog is made again from them.
pub(crate) fn tags(services: &Services, point: &RecoveryPoint) -> Tags {
    let (rule, subject) = (point.rule.clone(), point.subject.clone());
    let slot = Slot { rule, scheduled_time: point.scheduled_time, subject, kind: point.kind };
    let mut tags = tell_whose(services, point.id);
    tags.extend(slot.tags().map(|(name, value)| (name.to_owned(), value)));
    tags
}

/// The tags by which a snapshot is known as ours.
fn tell_whose(services: &Services, point: RecoveryPointId) -> Tags {
    Tags::from([(POINT_TAG.to_owned(), point.to_string()), (VAULT_TAG.to_owned(), services.config.vault_id.to_string())])
}

/// Whether a snapshot carries the tags of this recovery point and this vault.
pub(crate) fn is_of(services: &Services, point: RecoveryPointId, found: &Snapshot) -> bool {
    tell_whose(services, point).iter().all(|(tag, value)| found.tags.get(tag) == Some(value))
}

/// Whether a snapshot carries this vault's tag.
pub(crate) fn is_vaults(services: &Services, found: &Snapshot) -> bool {
    found.tags.get(VAULT_TAG).is_some_and(|tag| tag == services.config.vault_id.as_str())
}

/// Of which recovery point a snapshot says that it is, if it says that it is this vault's.
pub(crate) fn point_of(services: &Services, found: &Snapshot) -> Option<RecoveryPointId> {
    found.tags.get(POINT_TAG).filter(|_| is_vaults(services, found))?.parse().ok()
}

/// What RDS takes a subject's snapshots of, by the plan as it is now.
pub(crate) fn server<'a>(plan: &'a Plan, subject: &Subject) -> Option<(SnapshotOf, &'a str)> {
    let Subject::Instance(id) = subject else { return None };
    Some(match plan.database(id)?.server() {
        Server::Instance(name) => (SnapshotOf::Instance, name),
        Server::Cluster(name) => (SnapshotOf::Cluster, name),
    })
}

/// What became of a snapshot that was to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// RDS does not have it.
    Gone,
    /// RDS is deleting it.
    Going,
    /// It is somebody else's, by its tags: it stays.
    NotOurs,
}

/// Deletes one snapshot of a recovery point, if RDS has it and its tags say that it is of this recovery point and this vault.
pub(crate) async fn remove(
    services: &Services,
    snapshots: &Snapshots,
    name: &str,
    point: RecoveryPointId,
    subject: &Subject,
    why: &str,
) -> Result<Removed, ErrorReport> {
    let Some(found) = snapshots.find(name).await? else { return Ok(Removed::Gone) };
    if !is_of(services, point, &found) {
        return Ok(Removed::NotOurs);
    }
    if found.state == aws::SnapshotState::Deleting {
        return Ok(Removed::Going);
    }
    let subject = subject.to_string();
    services.audit(Phase::Intent, "snapshot", "snapshot.delete", &subject, &format!("{name} of {point}: {why}")).await?;
    let asked = snapshots.delete(name).await;
    let outcome = asked.as_ref().map_or_else(|error| format!("{name}: {error}"), |_| format!("{name}: accepted"));
    services.audit(Phase::Outcome, "snapshot", "snapshot.delete", &subject, &outcome).await?;
    asked?;
    Ok(Removed::Going)
}
