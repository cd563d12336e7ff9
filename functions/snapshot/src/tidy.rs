//! What RDS holds against what the catalog says, and the other way round: expired snapshots are deleted, what was left behind is found by its
//! tag and removed, what the catalog does not know is told and left alone, and what the catalog promises and RDS does not have is refuted.

use std::collections::{BTreeMap, BTreeSet};

use aws::{Snapshot, SnapshotOf};
use catalog::{PointError, Versioned};
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Content, Kind, Proof, RecoveryPoint, State},
    slot::Subject,
};
use runtime::{
    Invocation,
    services::{Said, Services, first_few},
};

use crate::{
    fate::{Fate, fate},
    name::{Names, PREFIX},
    ours::{self, Removed},
    run::Run,
};

/// What the one alert about unknown snapshots is about.
const UNKNOWN: &str = "snapshots with this vault's tag";

/// What became of what is no longer needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) deleted: usize,
    pub(crate) swept: usize,
    pub(crate) unknown: usize,
    pub(crate) lost: usize,
}

/// Deletes what may go. One snapshot's trouble is its own; the first is told at the end.
pub(crate) async fn all(run: &mut Run<'_>, invocation: &Invocation) -> Result<Tally, ErrorReport> {
    let services = run.services;
    let newest = run.newest_of_each().await?;
    let mut tidier = Tidier { services, newest, tally: Tally::default(), unknown: Vec::new(), first_error: None };
    // An open request or recovery may have been made while retention let the snapshot go that it names.
    let named = services.catalog.named_points().await?;
    for listed in services.catalog.expired_snapshots(caps::LISTED_POINTS_MAX).await? {
        invocation.deadline.check("the deletion of the next expired snapshot")?;
        if !named.contains(&listed.value.id) {
            let done = tidier.sweep(&listed.value).await;
            tidier.note(done);
        }
    }
    let mut known: BTreeMap<RecoveryPointId, RecoveryPoint> = BTreeMap::new();
    for point in services.catalog.running(Kind::Snapshot, caps::LISTED_POINTS_MAX).await? {
        known.insert(point.value.id, point.value);
    }
    for point in services.catalog.expired_snapshots(caps::LISTED_POINTS_MAX).await? {
        known.insert(point.value.id, point.value);
    }
    for (of, found) in run.listed().await? {
        invocation.deadline.check("the next snapshot")?;
        if !ours::is_vaults(services, found) {
            continue;
        }
        let done = tidier.judge(*of, found, &known, &named).await;
        tidier.note(done);
    }
    for id in run.plan.snapshot_subjects() {
        let subject = Subject::Instance(id.to_owned());
        let points = services.catalog.points(&subject, Some(Kind::Snapshot), caps::LISTED_POINTS_MAX).await?;
        for point in unlisted(points, run.listed().await?) {
            invocation.deadline.check("the search for the next snapshot that is not listed")?;
            let done = tidier.refute_if_lost(run.plan, &point).await;
            tidier.note(done);
        }
    }
    tidier.tell_of_unknown(run).await?;
    tidier.first_error.map_or(Ok(tidier.tally), Err)
}

/// The snapshots that restores would be made from and retention counts on, of which a listing of RDS says nothing.
fn unlisted(points: Vec<Versioned<RecoveryPoint>>, listed: &[(SnapshotOf, Snapshot)]) -> Vec<Versioned<RecoveryPoint>> {
    let names: BTreeSet<(SnapshotOf, &str)> = listed.iter().map(|(of, found)| (*of, found.name.as_str())).collect();
    let is_unlisted = |point: &Versioned<RecoveryPoint>| {
        let Some(Content::Snapshot { identifier, arn, .. }) = point.value.content() else { return false };
        // What was refuted was told.
        let counts = !matches!(point.value.proof, Proof::Refuted { .. });
        counts && !names.contains(&(SnapshotOf::of_arn(arn), identifier.as_str()))
    };
    points.into_iter().filter(is_unlisted).collect()
}

struct Tidier<'a> {
    services: &'a Services,
    /// The newest copy of each instance, which stays whatever the catalog says.
    newest: BTreeSet<String>,
    tally: Tally,
    unknown: Vec<String>,
    first_error: Option<ErrorReport>,
}

impl Tidier<'_> {
    fn note(&mut self, done: Result<(), ErrorReport>) {
        match done {
            // Somebody else changed the record at the same moment; the next tick looks anew.
            Err(report) if report.code == ErrorCode::Fenced => {}
            Err(report) => {
                tracing::error!(error.code = report.code.name(), "{}", report.message);
                self.first_error.get_or_insert(report);
            }
            Ok(()) => {}
        }
    }

    /// Deletes an expired recovery point's snapshots, and records when nothing of it is left.
    async fn sweep(&mut self, listed: &RecoveryPoint) -> Result<(), ErrorReport> {
        let Some(read) = self.record(listed).await? else { return Ok(()) };
        let (point, now) = (&read.value, self.services.clock.now());
        let State::Expired { content: Content::Snapshot { identifier, arn, .. }, .. } = &point.state else { return Ok(()) };
        if point.is_held(now) {
            return Ok(());
        }
        let snapshots = self.services.clients.snapshots(SnapshotOf::of_arn(arn));
        let Names { taken, copy } = Names::of(point.id);
        let mut names = vec![identifier, &taken, &copy];
        names.sort_unstable();
        names.dedup();
        let mut all_gone = true;
        for name in names {
            if self.stays_as_newest(name) {
                return Ok(());
            }
            let removed =
                ours::remove(self.services, &snapshots, name, point.id, &point.subject, "its recovery point expired").await?;
            self.tally.deleted += usize::from(removed == Removed::Going);
            if removed == Removed::NotOurs {
                self.unknown.push(format!("{name}, which has the name of {} but not its tags", point.id));
            }
            // What goes may be seen for a while yet, and then the next tick finds it gone.
            all_gone &= removed == Removed::Gone || (removed == Removed::Going && snapshots.find(name).await?.is_none());
        }
        if all_gone {
            let swept = point.clone().sweep(now).map_err(PointError::from)?;
            self.services
                .catalog
                .update(&read, swept)
                .await
                .map_err(|error| ErrorReport::new(error.code(), error.to_string()))?;
            self.tally.swept += 1;
        }
        Ok(())
    }

    /// The record as it stands: a listing may lag behind.
    async fn record(&self, listed: &RecoveryPoint) -> Result<Option<Versioned<RecoveryPoint>>, ErrorReport> {
        Ok(self.services.catalog.get(&catalog::Record::key(listed)).await?)
    }

    /// Removes a snapshot of ours that nothing needs any more, and notes one that the catalog does not know.
    async fn judge(
        &mut self,
        of: SnapshotOf,
        found: &Snapshot,
        known: &BTreeMap<RecoveryPointId, RecoveryPoint>,
        named: &BTreeSet<RecoveryPointId>,
    ) -> Result<(), ErrorReport> {
        let id = ours::point_of(self.services, found).filter(|_| found.name.starts_with(PREFIX));
        let point = match id.map(|id| (id, known.get(&id))) {
            Some((_, Some(listed))) => self.record(listed).await?,
            Some((id, None)) => self.services.catalog.snapshot(id).await?,
            None => None,
        };
        let point = point.map(|point| point.value);
        match (fate(&found.name, point.as_ref(), found.asked_at, self.services.clock.now()), &point) {
            (Fate::Goes(why), Some(point)) if !named.contains(&point.id) && !self.stays_as_newest(&found.name) => {
                let snapshots = self.services.clients.snapshots(of);
                let removed = ours::remove(self.services, &snapshots, &found.name, point.id, &point.subject, why).await?;
                self.tally.deleted += usize::from(removed == Removed::Going);
            }
            (Fate::Unknown, _) => self.unknown.push(found.name.clone()),
            (Fate::Stays | Fate::Goes(_), _) => {}
        }
        Ok(())
    }

    /// Refutes a snapshot that RDS does not have, by its name: it may have been published since the listing.
    async fn refute_if_lost(&mut self, plan: &Plan, listed: &Versioned<RecoveryPoint>) -> Result<(), ErrorReport> {
        let Some(Content::Snapshot { identifier, arn, .. }) = listed.value.content() else { return Ok(()) };
        if self.services.clients.snapshots(SnapshotOf::of_arn(arn)).find(identifier).await?.is_some() {
            return Ok(());
        }
        let finding = format!("RDS has no snapshot {identifier} any more; find out who deleted it");
        self.services.refute_snapshot(plan, listed, vec![finding]).await?;
        self.tally.lost += 1;
        Ok(())
    }

    /// Whether a snapshot is the newest of its instance, and noted as such.
    fn stays_as_newest(&mut self, name: &str) -> bool {
        let stays = self.newest.contains(name);
        if stays {
            let noted = format!("{name}, which the catalog calls gone and which is the newest of its instance");
            if !self.unknown.contains(&noted) {
                self.unknown.push(noted);
            }
        }
        stays
    }

    /// Tells once of snapshots that the catalog does not know, and takes it back when there are none.
    async fn tell_of_unknown(&mut self, run: &Run<'_>) -> Result<(), ErrorReport> {
        self.tally.unknown = self.unknown.len();
        if self.unknown.is_empty() {
            return self.services.all_clear(AlertClass::SnapshotUnknown, UNKNOWN).await;
        }
        let said = Said {
            summary: format!(
                "RDS holds {} snapshots of this vault that the catalog does not know: {}",
                self.unknown.len(),
                first_few(&self.unknown)
            ),
            meaning: "nobody uses or deletes them; if the catalog was lost, they may be the only backups of these instances"
                .to_owned(),
            remedy: "restore the catalog if it lacks records; otherwise look at each and delete it by hand".to_owned(),
        };
        self.services.raise(run.plan, AlertClass::SnapshotUnknown, UNKNOWN, said).await
    }
}

#[cfg(test)]
mod tests {
    use domain::slot::Slot;
    use jiff::Timestamp;
    use serde_json::Value;

    use super::*;

    fn running(hour: i64) -> RecoveryPoint {
        let scheduled_time = Timestamp::from_second(hour * 3600).unwrap();
        let subject = Subject::Instance("central".into());
        let slot = Slot { rule: "daily".into(), scheduled_time, subject, kind: Kind::Snapshot };
        RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), scheduled_time)
    }

    fn available(hour: i64, name: &str, what: &str) -> RecoveryPoint {
        let arn = format!("arn:aws:rds:eu-central-1:123456789012:{what}:{name}");
        let content = Content::Snapshot { identifier: name.into(), arn, settings: Value::Null, copied: None };
        running(hour).publish(content, Timestamp::UNIX_EPOCH).unwrap()
    }

    fn listed(of: SnapshotOf, name: &str) -> (SnapshotOf, Snapshot) {
        let state = aws::SnapshotState::Available;
        let (arn, tags) = (String::new(), aws::Tags::new());
        let (copy_of, created_at, asked_at, kms_key) = (None, None, None, None);
        (of, Snapshot { name: name.into(), arn, of: "i".into(), copy_of, state, created_at, asked_at, kms_key, tags })
    }

    #[test]
    fn what_is_available_and_not_listed_is_looked_for_until_it_is_refuted() {
        let at = Timestamp::UNIX_EPOCH;
        let refuted = available(3, "refuted", "snapshot").judge(Proof::Refuted { at, findings: vec![] }).unwrap();
        let proven = available(4, "proven", "snapshot").judge(Proof::Proven { at, rto_ms: 1 }).unwrap();
        let expired = available(5, "expired", "snapshot").expire(at).unwrap();
        let points = vec![
            available(1, "there", "snapshot"),
            available(2, "gone", "snapshot"),
            refuted,
            proven,
            expired,
            running(6),
            available(7, "there", "cluster-snapshot"),
            available(8, "of-a-cluster", "cluster-snapshot"),
        ];
        let points = points.into_iter().map(|value| Versioned { value, generation: 1 }).collect();
        let listed = [listed(SnapshotOf::Instance, "there"), listed(SnapshotOf::Cluster, "of-a-cluster")];
        let found = unlisted(points, &listed);
        let found: Vec<i64> = found.iter().map(|point| point.value.scheduled_time.as_second() / 3600).collect();
        assert_eq!(found, [2, 4, 7]);
    }
}
