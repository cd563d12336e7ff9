//! Recovery points: listed by subject, kind and scheduled time; the slot's own record at the same time.

use domain::{
    RecoveryPointId, RunId, TenantId,
    error::{Coded, ErrorCode, ErrorReport},
    point::{self, Content, IllegalTransition, Kind, Proof, RecoveryPoint, State},
    slot::{Slot, Subject},
    sweep::Epoch,
};
use jiff::Timestamp;

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, StateKey, TableError},
};

/// A recovery point that its run holds: the token without which nothing can be published.
pub type Held = Versioned<RecoveryPoint>;

/// What taking a slot gave.
#[derive(Debug)]
pub enum Taken {
    /// The slot is this run's to fill.
    Held(Held),
    /// The slot has its recovery point already, available or gone since.
    Done(RecoveryPoint),
}

/// Why a recovery point was not written.
#[derive(Debug, thiserror::Error)]
pub enum PointError {
    /// The table failed, or another run was first.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The state does not allow it.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// No such recovery point.
    #[error("tenant {tenant} has no recovery point {point}; see `holdfast points --tenant {tenant}`")]
    Unknown {
        /// The tenant.
        tenant: TenantId,
        /// The recovery point asked for.
        point: RecoveryPointId,
    },
}

impl Coded for PointError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Illegal(error) => error.code(),
            Self::Unknown { .. } => ErrorCode::UnknownRecoveryPoint,
        }
    }
}

fn partition(subject: &Subject) -> String {
    match subject {
        Subject::Tenant(tenant) => format!("POINTS#tenant#{tenant}"),
        Subject::Instance(id) => format!("POINTS#instance#{id}"),
    }
}

fn point_key(subject: &Subject, kind: Kind, scheduled_time: Timestamp, id: RecoveryPointId) -> Key {
    // Fixed width, so that text order is time order.
    let time = scheduled_time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ");
    Key { pk: partition(subject), sk: format!("{}#{time}#{id}", kind.name()) }
}

/// Where the index has snapshots that expired and are not deleted yet.
const EXPIRED_SNAPSHOTS: &str = "point#expired#snapshot";

fn by_id(id: RecoveryPointId) -> String {
    format!("point#{id}")
}

impl Record for RecoveryPoint {
    fn key(&self) -> Key {
        point_key(&self.subject, self.kind, self.scheduled_time, self.id)
    }

    fn state(&self) -> Option<StateKey> {
        // Work under way is looked for by kind; everything else by id, however old it is.
        let state_key = match self.state {
            State::Running => format!("point#running#{}", self.kind.name()),
            // Whoever deletes an instance's snapshots looks for those that may go, and nobody asks for one by its id.
            State::Expired { .. } if self.kind == Kind::Snapshot => EXPIRED_SNAPSHOTS.to_owned(),
            _ => by_id(self.id),
        };
        Some(StateKey { state_key, state_at: self.started_at.to_string() })
    }
}

impl Catalog {
    /// Takes a slot for a run: first, or from a run that stopped in the middle, whose publishing then fails.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if two runs take it at the same moment: exactly one of them gets it.
    pub async fn take_slot(&self, slot: &Slot, run: RunId, now: Timestamp) -> Result<Taken, PointError> {
        self.take_slot_in(slot, run, Epoch::default(), now).await
    }

    /// Takes a slot for a run that may share stored objects, in the epoch that was read before ([`Catalog::epoch`]). Marks are read after.
    ///
    /// # Errors
    /// As [`Catalog::take_slot`].
    pub async fn take_slot_in(&self, slot: &Slot, run: RunId, epoch: Epoch, now: Timestamp) -> Result<Taken, PointError> {
        let Some(found) = self.slot(slot).await? else {
            return Ok(Taken::Held(self.create(RecoveryPoint::begin(slot, run, now).in_epoch(epoch)).await?));
        };
        match found.value.state {
            State::Running | State::Failed { .. } => {
                let retried = found.value.clone().retry(run, now)?.in_epoch(epoch);
                Ok(Taken::Held(self.update(&found, retried).await?))
            }
            State::Available { .. } | State::Expired { .. } | State::Swept { .. } => Ok(Taken::Done(found.value)),
        }
    }

    /// Records under which key of its tenant's own the run wraps its content key, before it has any.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if another run took the slot meanwhile.
    pub async fn put_under(&self, held: Held, key: Option<&str>) -> Result<Held, PointError> {
        let under = held.value.clone().under(key)?;
        if under == held.value { Ok(held) } else { Ok(self.update(&held, under).await?) }
    }

    /// The record of a slot, if any run ever took it.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn slot(&self, slot: &Slot) -> Result<Option<Versioned<RecoveryPoint>>, TableError> {
        self.get(&point_key(&slot.subject, slot.kind, slot.scheduled_time, slot.recovery_point_id())).await
    }

    /// Records a recovery point that is stored and that the catalog does not know. Whether it did not.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn know_point_again(&self, point: RecoveryPoint) -> Result<bool, TableError> {
        match self.create(point).await {
            Ok(_) => Ok(true),
            // Somebody else records or makes it: theirs counts.
            Err(TableError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Publishes what a run made: the one write that turns durable bytes into a recovery point.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if another run took the slot meanwhile; the recovery point is then that run's to make.
    pub async fn publish(&self, held: &Held, content: Content, now: Timestamp) -> Result<RecoveryPoint, PointError> {
        let published = held.value.clone().publish(content, now)?;
        Ok(self.update(held, published).await?.value)
    }

    /// Records that a run gave up.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if another run took the slot meanwhile.
    pub async fn fail(&self, held: &Held, error: &ErrorReport, now: Timestamp) -> Result<(), PointError> {
        let failed = held.value.clone().fail(error, now)?;
        self.update(held, failed).await?;
        Ok(())
    }

    /// Records that a run had to stop, and that the next one may go on from what it left. `parent` is the recovery point whose stored
    /// chunks it shares.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if another run took the slot meanwhile.
    pub async fn suspend(
        &self,
        held: &Held,
        parent: Option<RecoveryPointId>,
        report: &ErrorReport,
        now: Timestamp,
    ) -> Result<(), PointError> {
        let suspended = held.value.clone().suspend(parent, report, now)?;
        self.update(held, suspended).await?;
        Ok(())
    }

    /// Records what a verification found about a recovery point.
    ///
    /// # Errors
    /// If it is no longer available.
    pub async fn judge(&self, point: &Versioned<RecoveryPoint>, proof: Proof) -> Result<(), PointError> {
        let judged = point.value.clone().judge(proof)?;
        self.update(point, judged).await?;
        Ok(())
    }

    /// The recovery points of a subject, of one kind or of all, newest first within a kind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn points(
        &self,
        subject: &Subject,
        kind: Option<Kind>,
        limit: usize,
    ) -> Result<Vec<Versioned<RecoveryPoint>>, TableError> {
        let prefix = kind.map(|kind| format!("{}#", kind.name())).unwrap_or_default();
        self.list(&partition(subject), &prefix, Order::Descending, limit).await
    }

    /// The newest available recovery point of a subject and kind, of those that no restore had made for itself.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn newest_available(&self, subject: &Subject, kind: Kind) -> Result<Option<Versioned<RecoveryPoint>>, TableError> {
        self.newest(subject, kind, |point| point.content().is_some() && !point.is_of_a_restore()).await
    }

    /// The newest recovery point of a subject and kind that would serve a restore, of those that no restore had made for itself.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn newest_usable(&self, subject: &Subject, kind: Kind) -> Result<Option<Versioned<RecoveryPoint>>, TableError> {
        self.newest(subject, kind, |point| point.is_usable() && !point.is_of_a_restore()).await
    }

    /// The recovery point whose stored chunks the next one may share, if there is one: see [`point::to_build_on`].
    ///
    /// # Errors
    /// If the table fails.
    pub async fn to_build_on(&self, subject: &Subject, kind: Kind) -> Result<Option<RecoveryPoint>, TableError> {
        let points = self.points(subject, Some(kind), domain::caps::BUILT_ON_LISTED_MAX).await?;
        Ok(point::to_build_on(points.into_iter().map(|point| point.value).collect()))
    }

    async fn newest(
        &self,
        subject: &Subject,
        kind: Kind,
        wanted: fn(&RecoveryPoint) -> bool,
    ) -> Result<Option<Versioned<RecoveryPoint>>, TableError> {
        // Usually the first will do; after a long outage it stands behind many failed attempts.
        for limit in [20, domain::caps::LISTED_POINTS_MAX] {
            let newest = self.points(subject, Some(kind), limit).await?;
            let all = newest.len() < limit;
            let found = newest.into_iter().find(|point| wanted(&point.value));
            if found.is_some() || all {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The recovery point of a tenant with this id.
    ///
    /// # Errors
    /// [`PointError::Unknown`] if this tenant has none with this id, whoever else may.
    pub async fn point(&self, tenant: &TenantId, id: RecoveryPointId) -> Result<Versioned<RecoveryPoint>, PointError> {
        let subject = Subject::Tenant(tenant.clone());
        let listed: Vec<Versioned<RecoveryPoint>> = self.list_state(&by_id(id), 1).await?;
        let found = match listed.into_iter().find(|point| point.value.subject == subject) {
            // The index may lag behind; the record itself is read again.
            Some(listed) => self.get(&listed.value.key()).await?,
            // Just published, or still running: then it is among the newest.
            None => self.points(&subject, None, 500).await?.into_iter().find(|point| point.value.id == id),
        };
        found.ok_or_else(|| PointError::Unknown { tenant: tenant.clone(), point: id })
    }

    /// The recovery points of a kind that runs are working on, the longest-running first. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn running(&self, kind: Kind, limit: usize) -> Result<Vec<Versioned<RecoveryPoint>>, TableError> {
        self.list_state(&format!("point#running#{}", kind.name()), limit).await
    }

    /// Snapshots that expired and of which something may still be stored, the oldest first. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn expired_snapshots(&self, limit: usize) -> Result<Vec<Versioned<RecoveryPoint>>, TableError> {
        self.list_state(EXPIRED_SNAPSHOTS, limit).await
    }

    /// The recovery point with this id, if it is a snapshot that has ended one way or the other, as it stands at this moment. One that is
    /// running, or expired, is found by [`Catalog::running`] and [`Catalog::expired_snapshots`].
    ///
    /// # Errors
    /// If the table fails.
    pub async fn snapshot(&self, id: RecoveryPointId) -> Result<Option<Versioned<RecoveryPoint>>, TableError> {
        let listed: Vec<Versioned<RecoveryPoint>> = self.list_state(&by_id(id), 1).await?;
        match listed.into_iter().find(|point| point.value.kind == Kind::Snapshot) {
            // The index may lag behind; the record itself is read again.
            Some(listed) => self.get(&listed.value.key()).await,
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryTable;

    fn run(n: u8) -> RunId {
        format!("run_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn slot(time: &str) -> Slot {
        let subject = Subject::Tenant("acme".parse().unwrap());
        Slot { rule: "daily".into(), scheduled_time: at(time), subject, kind: Kind::Database }
    }

    fn content() -> Content {
        Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        }
    }

    fn catalog() -> Catalog {
        Catalog::new(Arc::new(MemoryTable::default()))
    }

    const SLOT: &str = "2026-11-23T02:15:00Z";
    const NOW: &str = "2026-11-23T02:16:00Z";

    async fn hold(catalog: &Catalog, run: RunId) -> Held {
        match catalog.take_slot(&slot(SLOT), run, at(NOW)).await.unwrap() {
            Taken::Held(held) => held,
            Taken::Done(point) => panic!("the slot is done: {point:?}"),
        }
    }

    #[tokio::test]
    async fn a_slot_gives_one_recovery_point_however_often_its_tick_arrives() {
        let catalog = catalog();
        let held = hold(&catalog, run(1)).await;
        catalog.publish(&held, content(), at(NOW)).await.unwrap();
        assert!(matches!(catalog.take_slot(&slot(SLOT), run(2), at(NOW)).await.unwrap(), Taken::Done(_)));
        assert_eq!(catalog.points(&slot(SLOT).subject, None, 10).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_run_that_was_overtaken_cannot_publish_or_fail_the_slot() {
        let catalog = catalog();
        let zombie = hold(&catalog, run(1)).await;
        let heir = hold(&catalog, run(2)).await;
        let refused = catalog.publish(&zombie, content(), at(NOW)).await;
        assert_eq!(refused.unwrap_err().code(), ErrorCode::Fenced);
        let error = ErrorReport::new(ErrorCode::Throttled, "m");
        assert_eq!(catalog.fail(&zombie, &error, at(NOW)).await.unwrap_err().code(), ErrorCode::Fenced);
        let published = catalog.publish(&heir, content(), at(NOW)).await.unwrap();
        assert_eq!((published.run, published.attempts), (run(2), 2));
    }

    #[tokio::test]
    async fn a_failed_slot_is_taken_again_and_heals() {
        let catalog = catalog();
        let held = hold(&catalog, run(1)).await;
        catalog.fail(&held, &ErrorReport::new(ErrorCode::SourceUnreachable, "m"), at(NOW)).await.unwrap();
        let held = hold(&catalog, run(2)).await;
        catalog.publish(&held, content(), at(NOW)).await.unwrap();
        let newest = catalog.newest_available(&slot(SLOT).subject, Kind::Database).await.unwrap();
        assert_eq!(newest.unwrap().value.run, run(2));
    }

    #[tokio::test]
    async fn the_next_run_finds_what_the_last_one_left() {
        let catalog = catalog();
        let held = hold(&catalog, run(1)).await;
        catalog.suspend(&held, None, &ErrorReport::new(ErrorCode::DeadlineNear, "m"), at(NOW)).await.unwrap();
        let dies = hold(&catalog, run(2)).await;
        assert_eq!(dies.value.unfinished.as_ref().unwrap().run, run(1));
        let next = hold(&catalog, run(3)).await;
        assert_eq!((next.value.unfinished.as_ref().unwrap().run, next.value.attempts), (run(1), 3));
        assert_eq!(catalog.publish(&next, content(), at(NOW)).await.unwrap().unfinished, None);
    }

    #[tokio::test]
    async fn a_snapshot_that_expired_is_listed_until_it_is_swept() {
        let catalog = catalog();
        let slot = Slot { subject: Subject::Instance("central".into()), kind: Kind::Snapshot, ..slot(SLOT) };
        let Taken::Held(held) = catalog.take_slot(&slot, run(1), at(NOW)).await.unwrap() else { panic!("a fresh slot") };
        let content =
            Content::Snapshot { identifier: "s".into(), arn: "a".into(), settings: serde_json::Value::Null, copied: None };
        let published = catalog.publish(&held, content, at(NOW)).await.unwrap();
        assert_eq!(catalog.snapshot(published.id).await.unwrap().unwrap().value, published);
        let read = catalog.slot(&slot).await.unwrap().unwrap();
        let expired = catalog.update(&read, published.expire(at(NOW)).unwrap()).await.unwrap();
        assert_eq!(catalog.expired_snapshots(10).await.unwrap(), std::slice::from_ref(&expired));
        let swept = catalog.update(&expired, expired.value.clone().sweep(at(NOW)).unwrap()).await.unwrap();
        assert_eq!(catalog.expired_snapshots(10).await.unwrap(), []);
        assert_eq!(catalog.snapshot(swept.value.id).await.unwrap(), Some(swept));
    }

    #[tokio::test]
    async fn points_are_listed_newest_first_and_only_their_own_subjects() {
        let catalog = catalog();
        for time in ["2026-11-22T02:15:00Z", SLOT, "2026-11-21T02:15:00Z"] {
            catalog.take_slot(&slot(time), run(1), at(NOW)).await.unwrap();
        }
        let other = Slot { subject: Subject::Tenant("acme2".parse().unwrap()), ..slot(SLOT) };
        catalog.take_slot(&other, run(1), at(NOW)).await.unwrap();
        let listed = catalog.points(&slot(SLOT).subject, Some(Kind::Database), 2).await.unwrap();
        let times: Vec<String> = listed.iter().map(|point| point.value.scheduled_time.to_string()).collect();
        assert_eq!(times, [SLOT, "2026-11-22T02:15:00Z"]);
        let tenant = "acme2".parse().unwrap();
        let unknown = catalog.point(&tenant, listed[0].value.id).await;
        assert_eq!(unknown.unwrap_err().code(), ErrorCode::UnknownRecoveryPoint, "a point is found only under its own tenant");
    }
}
