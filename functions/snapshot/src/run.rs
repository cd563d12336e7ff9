//! One invocation's work on snapshots under way: each is brought one step on, wherever the last invocation stopped.

use std::collections::BTreeSet;

use aws::{AwsError, Snapshot, SnapshotOf, SnapshotState, Snapshots, Started};
use catalog::{Held, Taken, audit::Phase};
use domain::{
    Coded, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Content, Copied, Kind, RecoveryPoint, State},
    slot::{Slot, Subject},
};
use runtime::services::{Said, Services};
use serde_json::{Value, json};

use crate::{
    fate::newest_of_each,
    name::Names,
    ours,
    room::{self, Room},
    step::{Seen, Step, settle},
};

/// What the one alert about the account's quota is about.
const QUOTA: &str = "snapshots of the account";

/// What became of the snapshots.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) started: usize,
    pub(crate) available: usize,
    pub(crate) failed: usize,
    pub(crate) creating: usize,
}

pub(crate) struct Run<'a> {
    pub(crate) services: &'a Services,
    pub(crate) plan: &'a Plan,
    /// ARN of the vault's key for copies.
    key: &'a str,
    /// Whether this run may let a snapshot go to make room: of those that may, no two run at the same time.
    makes_room: bool,
    /// Everybody's snapshots, once they were listed.
    listed: Option<Vec<(SnapshotOf, Snapshot)>>,
    /// Copies that this run began, besides those listed.
    copies_begun: usize,
    /// Whether RDS took what it was asked for at least once.
    accepted: bool,
    /// Whether the account's quota was met, and if so whether there will be room.
    quota: Option<Room>,
    pub(crate) tally: Tally,
}

/// A snapshot under way, as it stands.
struct Work {
    held: Held,
    names: Names,
    snapshots: Snapshots,
}

impl<'a> Run<'a> {
    pub(crate) fn new(services: &'a Services, plan: &'a Plan, key: &'a str, makes_room: bool) -> Self {
        let tally = Tally::default();
        Self { services, plan, key, makes_room, listed: None, copies_begun: 0, accepted: false, quota: None, tally }
    }

    /// Everybody's manual snapshots, of instances and of clusters, as they were when this was first asked.
    pub(crate) async fn listed(&mut self) -> Result<&[(SnapshotOf, Snapshot)], ErrorReport> {
        if self.listed.is_none() {
            let mut all = Vec::new();
            for of in [SnapshotOf::Instance, SnapshotOf::Cluster] {
                let found = self.services.clients.snapshots(of).list().await?;
                all.extend(found.into_iter().map(|snapshot| (of, snapshot)));
            }
            self.listed = Some(all);
        }
        Ok(self.listed.as_deref().unwrap_or_default())
    }

    /// Likewise, as they are at this moment.
    pub(crate) async fn listed_anew(&mut self) -> Result<&[(SnapshotOf, Snapshot)], ErrorReport> {
        self.listed = None;
        self.listed().await
    }

    /// The newest copy of each instance and cluster that is there, which nothing here deletes.
    pub(crate) async fn newest_of_each(&mut self) -> Result<BTreeSet<String>, ErrorReport> {
        let (services, key) = (self.services, self.key);
        Ok(newest_of_each(self.listed_anew().await?, key, |found| ours::is_vaults(services, found)))
    }

    /// Takes a slot and asks RDS for its snapshot, unless the slot has its recovery point.
    pub(crate) async fn start(&mut self, slot: &Slot) -> Result<(), ErrorReport> {
        let services = self.services;
        let held = match services.catalog.take_slot(slot, services.fresh.run_id(), services.clock.now()).await {
            Ok(Taken::Held(held)) => held,
            Ok(Taken::Done(_)) => return Ok(()),
            // An event's follower brought it on at the same moment.
            Err(error) if error.code() == ErrorCode::Fenced => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let subject = held.value.subject.clone();
        let work = self.work(held);
        match self.take(&work).await {
            Ok(()) => {
                // Without room it has only its slot yet.
                self.tally.started += usize::from(self.quota.is_none());
                Ok(())
            }
            Err(report) if report.code == ErrorCode::Fenced => Ok(()),
            Err(report) => {
                self.raise_failure(&subject, &report.to_string()).await;
                self.give_up(&work.held, &report).await;
                Err(report)
            }
        }
    }

    /// Looks at every snapshot under way and brings it one step on.
    pub(crate) async fn follow_all(&mut self) -> Result<(), ErrorReport> {
        let mut first_error = None;
        for listed in self.services.catalog.running(Kind::Snapshot, caps::LISTED_POINTS_MAX).await? {
            match self.follow(&listed.value).await {
                // A second follower settled it at the same moment.
                Err(report) if report.code == ErrorCode::Fenced => {}
                // One snapshot's trouble is its own: the others are still followed.
                Err(report) => {
                    tracing::error!(recovery_point.id = %listed.value.id, error.code = report.code.name(), "{}", report.message);
                    self.raise_failure(&listed.value.subject, &report.to_string()).await;
                    first_error.get_or_insert(report);
                }
                Ok(()) => {}
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    fn work(&self, held: Held) -> Work {
        let of = ours::server(self.plan, &held.value.subject).map_or(SnapshotOf::Instance, |(of, _)| of);
        Work { names: Names::of(held.value.id), snapshots: self.services.clients.snapshots(of), held }
    }

    async fn follow(&mut self, listed: &RecoveryPoint) -> Result<(), ErrorReport> {
        // The listing may lag behind; the decision is made on the record itself.
        let Some(held) = self.services.catalog.get::<RecoveryPoint>(&catalog::Record::key(listed)).await? else { return Ok(()) };
        if held.value.state != State::Running {
            return Ok(());
        }
        let services = self.services;
        let work = self.work(held);
        let (taken, copy) = (work.snapshots.find(&work.names.taken).await?, work.snapshots.find(&work.names.copy).await?);
        let is_ours = |found: &Snapshot| ours::is_of(services, work.held.value.id, found);
        let seen = Seen { names: &work.names, taken: taken.as_ref(), copy: copy.as_ref(), is_ours: &is_ours, key: self.key };
        let age = services.clock.now().duration_since(work.held.value.started_at);
        let step = settle(&seen, age);
        match (step, copy) {
            (Step::Publish, Some(copy)) => return self.publish(&work, copy).await,
            (Step::GiveUp(why), _) => {
                // The alert first: once the record says failed, no tick comes back to it.
                self.raise_failure(&work.held.value.subject, &why).await;
                self.give_up(&work.held, &ErrorReport::new(ErrorCode::SourceRefused, why)).await;
                self.tally.failed += 1;
                return Ok(());
            }
            (Step::Take, _) => self.take(&work).await?,
            (Step::Copy, _) => self.copy(&work).await?,
            (Step::Wait | Step::Publish, _) => {}
        }
        self.tally.creating += 1;
        Ok(())
    }

    /// Asks RDS for the snapshot beside the instance. If there is no room, a later tick asks again.
    async fn take(&mut self, work: &Work) -> Result<(), ErrorReport> {
        let subject = &work.held.value.subject;
        let Some((_, of)) = ours::server(self.plan, subject) else {
            let message =
                format!("the backup plan does not name {subject} any more, so nobody can say what to take a snapshot of");
            return Err(ErrorReport::new(ErrorCode::PlanInvalid, message));
        };
        let tags = ours::tags(self.services, &work.held.value);
        self.ask(work, "snapshot.create", &work.names.taken, work.snapshots.create(&work.names.taken, of, &tags)).await
    }

    /// Asks RDS for the copy under the vault's key, unless as many are under way as RDS takes.
    async fn copy(&mut self, work: &Work) -> Result<(), ErrorReport> {
        let is_copying = |found: &Snapshot| found.copy_of.is_some() && matches!(found.state, SnapshotState::Creating { .. });
        let under_way = self.listed().await?.iter().filter(|(_, found)| is_copying(found)).count() + self.copies_begun;
        if under_way >= caps::SNAPSHOT_COPIES_AT_ONCE {
            tracing::info!(snapshot = work.names.taken, under_way, "its copy waits for others");
            return Ok(());
        }
        let tags = ours::tags(self.services, &work.held.value);
        let asked = work.snapshots.copy(&work.names.taken, &work.names.copy, self.key, &tags);
        self.ask(work, "snapshot.copy", &work.names.copy, asked).await?;
        self.copies_begun += 1;
        Ok(())
    }

    async fn ask(
        &mut self,
        work: &Work,
        act: &str,
        name: &str,
        asked: impl Future<Output = Result<Started, AwsError>>,
    ) -> Result<(), ErrorReport> {
        // Who found no room once in this run finds none for the next either.
        if self.quota.is_some() {
            return Ok(());
        }
        let (services, point) = (self.services, &work.held.value);
        let subject = point.subject.to_string();
        services.audit(Phase::Intent, "snapshot", act, &subject, name).await?;
        let asked = asked.await;
        let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
        services.audit(Phase::Outcome, "snapshot", act, &subject, &outcome).await?;
        match asked {
            Ok(Started::Now) => {
                self.accepted = true;
                Ok(())
            }
            // One of this name is ours from an earlier delivery only if it carries our tags.
            Ok(Started::Before) if ours::is_of(services, point.id, &work.snapshots.describe(name).await?) => Ok(()),
            Ok(Started::Before) => {
                let message = format!(
                    "snapshot {name} exists but is not this recovery point's; find out who made it, and delete it or copy it under another name"
                );
                Err(ErrorReport::new(ErrorCode::SourceRefused, message))
            }
            Err(AwsError::QuotaReached { .. }) => {
                let room = if self.makes_room {
                    let newest = self.newest_of_each().await?;
                    let plan = self.plan;
                    room::make(services, plan, &point.subject, &newest, self.listed().await?).await?
                } else {
                    Room::Coming
                };
                tracing::warn!(snapshot = name, ?room, "the account holds as many snapshots as it may");
                self.quota = Some(room);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn publish(&mut self, work: &Work, copy: Snapshot) -> Result<(), ErrorReport> {
        let (services, point) = (self.services, &work.held.value);
        let settings = self.settings_of(&point.subject).await?;
        let copied = Copied { from: work.names.taken.clone(), kms_key: copy.kms_key.unwrap_or_default() };
        let content = Content::Snapshot { identifier: copy.name, arn: copy.arn, settings, copied: Some(copied) };
        services.catalog.publish(&work.held, content, services.clock.now()).await?;
        self.tally.available += 1;
        services.all_clear(AlertClass::RunFailed, &alert_subject(&point.subject)).await?;
        // If this is not done, the next tick finds a snapshot whose copy is published.
        let why = "its copy is published";
        let removed = ours::remove(services, &work.snapshots, &work.names.taken, point.id, &point.subject, why).await;
        if let Err(report) = removed {
            tracing::warn!(snapshot = work.names.taken, "not deleted yet: {report}");
        }
        Ok(())
    }

    /// What a restore from a snapshot of this instance would lose; nothing is known of an instance that has gone meanwhile.
    async fn settings_of(&self, subject: &Subject) -> Result<Value, ErrorReport> {
        let Subject::Instance(id) = subject else { return Ok(Value::Null) };
        let Some(database) = self.plan.database(id) else {
            tracing::warn!(
                instance = id,
                "the plan does not name the instance any more; its snapshot is published without its settings"
            );
            return Ok(Value::Null);
        };
        match self.services.clients.instances().settings(&database.instance).await {
            Ok(settings) => Ok(json!(settings)),
            // Its last snapshot is worth the more.
            Err(error) if error.is_not_found() => {
                tracing::warn!(
                    instance = database.instance,
                    "the instance has gone; its snapshot is published without its settings"
                );
                Ok(Value::Null)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn give_up(&self, held: &Held, report: &ErrorReport) {
        match self.services.catalog.fail(held, report, self.services.clock.now()).await {
            Err(error) if error.code() != ErrorCode::Fenced => tracing::warn!(%error, "the failure could not be recorded"),
            _ => {}
        }
    }

    async fn raise_failure(&self, subject: &Subject, what: &str) {
        let said = Said {
            summary: format!("the snapshot of {subject} failed: {what}"),
            meaning: "there is no snapshot of this slot; older ones still serve".to_owned(),
            remedy: "mend the cause (instance state, keys, permissions); the next slot tries again".to_owned(),
        };
        if let Err(untold) = self.services.raise(self.plan, AlertClass::RunFailed, &alert_subject(subject), said).await {
            tracing::error!(%subject, error.code = untold.code.name(), "nobody was told: {}", untold.message);
        }
    }

    /// Tells once that the account's quota leaves no room, and takes it back when RDS has taken a snapshot again.
    pub(crate) async fn tell_of_quota(&self) -> Result<(), ErrorReport> {
        match &self.quota {
            Some(Room::None(why)) => {
                let said = Said {
                    summary: format!("the account holds as many snapshots as it may, and {why}"),
                    meaning: "no instance gets another snapshot or copy until there is room; the recovery points that exist still serve"
                        .to_owned(),
                    remedy: "delete snapshots that are not Holdfast's and not needed, or ask for a higher quota; the next tick goes on"
                        .to_owned(),
                };
                self.services.raise(self.plan, AlertClass::SnapshotQuota, QUOTA, said).await
            }
            None if self.accepted => self.services.all_clear(AlertClass::SnapshotQuota, QUOTA).await,
            Some(Room::Coming) | None => Ok(()),
        }
    }
}

fn alert_subject(subject: &Subject) -> String {
    format!("snapshot of {subject}")
}
