//! One tenant's sweep under one of its names, phase by phase. Every write is `domain::sweep`'s own, carried out by the catalog if its
//! conditions hold.

use std::ops::AddAssign;

use catalog::{
    Catalog, Swept, TableError, Versioned, Versions,
    audit::{AuditEntry, Phase as Side},
};
use domain::{
    Coded, ErrorCode, ErrorReport, TenantId, VaultTenantId, caps,
    point::{RecoveryPoint, State},
    sweep::{Act, Deletion, Effect, Event, Mark, Named, Phase, Sweep, Write},
};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use runtime::{Clock, Deadline, Fresh};
use serde::Serialize;
use vault::{StoreError, StoredVersion, Vault, VaultError, VersionStore};

use super::survey::Survey;

/// Who sweeps, and with what.
pub(crate) struct Sweeper<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) vault: &'a Vault,
    pub(crate) store: &'a dyn VersionStore,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) fresh: &'a dyn Fresh,
    pub(crate) deadline: &'a Deadline,
    /// For how long what is stored is locked at least.
    pub(crate) lock_for: SignedDuration,
    /// Whether to do it, or only to look.
    pub(crate) apply: bool,
    /// The tick's time.
    pub(crate) scheduled_time: Timestamp,
}

/// What became of stored objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Tally {
    /// Objects that seemed to be needed by nobody, and were not marked.
    pub(crate) garbage: u64,
    /// Their size.
    pub(crate) garbage_bytes: u64,
    /// Of these, those that a lock keeps for now.
    pub(crate) locked: u64,
    /// Those that were marked.
    pub(crate) condemned: u64,
    /// Marked objects that turned out to be needed.
    pub(crate) released: u64,
    /// Objects that were deleted.
    pub(crate) deleted: u64,
    /// Marked objects that were locked when they were to be deleted, and stay marked.
    pub(crate) kept_by_lock: u64,
    /// Runs that had held their slot for too long, and were ended.
    pub(crate) fenced: u64,
    /// Expired recovery points of which nothing is left.
    pub(crate) points: u64,
    /// Tenants' names whose sweep waits for a run; the next tick goes on.
    pub(crate) waiting: u64,
    /// Tenants' names with more garbage than one invocation deletes; the next tick goes on.
    pub(crate) more: u64,
    /// Tenants' names that only were to be looked at, and that there was no time for; another day begins with others.
    pub(crate) not_looked_at: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.garbage += other.garbage;
        self.garbage_bytes += other.garbage_bytes;
        self.locked += other.locked;
        self.condemned += other.condemned;
        self.released += other.released;
        self.deleted += other.deleted;
        self.kept_by_lock += other.kept_by_lock;
        self.fenced += other.fenced;
        self.points += other.points;
        self.waiting += other.waiting;
        self.more += other.more;
        self.not_looked_at += other.not_looked_at;
    }
}

/// Whose sweep it is, and under which name.
#[derive(Clone, Copy)]
pub(crate) struct Of<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) named: Named<'a>,
}

impl Of<'_> {
    fn name(&self) -> VaultTenantId {
        self.named.name
    }
}

type Writes = Vec<(String, Write<Versions>)>;

impl Sweeper<'_> {
    /// Sweeps what one tenant has under one name: goes on with a sweep that was begun, and begins again while there is more garbage than
    /// marks.
    pub(crate) async fn sweep(&self, of: Of<'_>) -> Result<Tally, ErrorReport> {
        let (name, mut tally) = (of.name(), Tally::default());
        for _ in 0..caps::SWEEPS_IN_A_ROW_MAX {
            if let Err(report) = self.check_time(of) {
                if self.apply {
                    return Err(report);
                }
                // Looking leaves nothing behind that a repetition could go on from.
                tally.not_looked_at += 1;
                return Ok(tally);
            }
            let swept = self.catalog.swept(name).await?;
            if swept.done >= Some(self.scheduled_time) {
                return Ok(tally);
            }
            let begun = swept.sweep.filter(|sweep| sweep.phase != Phase::Marking && sweep.epoch <= swept.epoch);
            let (sweep, more) = match begun {
                // What it did not get to mark is looked at again.
                Some(sweep) => (sweep, true),
                None => {
                    // The epoch was read first, and the vault is looked at after.
                    let survey = self.survey(of.tenant, of.named).await?;
                    if self.apply && survey.seen > swept.epoch {
                        self.catalog.catch_up(name, survey.seen).await?;
                        continue;
                    }
                    let (marked, more) = self.mark(of, &swept, &survey, &mut tally).await?;
                    let Some(sweep) = marked else {
                        if self.apply {
                            self.close(survey, &mut tally).await?;
                            self.catalog.record_sweep(name, None, Some(self.scheduled_time)).await?;
                        }
                        return Ok(tally);
                    };
                    (sweep, more)
                }
            };
            if !self.apply {
                return Ok(tally);
            }
            let Some(sweep) = self.settle(of, sweep, &mut tally).await? else {
                tally.waiting += 1;
                return Ok(tally);
            };
            let before = tally.deleted;
            self.judge(of, sweep, &mut tally).await?;
            self.catalog.record_sweep(name, None, (!more).then_some(self.scheduled_time)).await?;
            if !more {
                return Ok(tally);
            }
            if begun.is_none() && tally.deleted == before {
                break;
            }
        }
        tally.more += 1;
        Ok(tally)
    }

    /// Condemns what is there and seems to be needed by nobody, as far as no lock is known to keep it. Also says whether there is more.
    async fn mark(
        &self,
        of: Of<'_>,
        swept: &Swept,
        survey: &Survey,
        tally: &mut Tally,
    ) -> Result<(Option<Sweep>, bool), ErrorReport> {
        let sweep = Sweep::begin(swept.epoch);
        let garbage = survey.inventory.garbage(&survey.needed);
        let unmarked: Vec<_> = garbage.into_iter().filter(|(key, _)| !swept.marks.contains_key(*key)).collect();
        // Found again in each sweep in a row: the first has counted it.
        if tally.condemned == 0 {
            tally.garbage += unmarked.len() as u64;
            tally.garbage_bytes += unmarked.iter().flat_map(|(_, versions)| *versions).map(|version| version.bytes).sum::<u64>();
        }
        if !self.apply {
            return Ok((None, false));
        }
        let young = |version: &StoredVersion| version.stored_at + self.lock_for > self.scheduled_time;
        let (young, old): (Vec<_>, Vec<_>) = unmarked.into_iter().partition(|(_, versions)| versions.iter().any(young));
        let asked = old
            .iter()
            .take(caps::LOCKS_ASKED_MAX)
            .map(|(key, versions)| async move { Ok::<_, ErrorReport>((*key, *versions, self.is_locked(versions).await?)) });
        let mut asked = stream::iter(asked.collect::<Vec<_>>()).buffered(vault::caps::REQUESTS_AT_ONCE);
        let room = caps::MARKS_MAX.saturating_sub(swept.marks.len());
        let (mut writes, mut locked, mut looked_at) = (Writes::new(), young.len(), 0);
        while writes.len() < room
            && let Some((key, versions, is_locked)) = asked.try_next().await?
        {
            looked_at += 1;
            if is_locked {
                locked += 1;
            } else {
                let versions = versions.iter().take(caps::VERSIONS_MAX).map(|version| version.version.clone());
                writes.push((key.to_owned(), sweep.condemn(versions.collect())));
            }
        }
        tally.locked = tally.locked.max(locked as u64);
        if writes.is_empty() && swept.marks.is_empty() {
            return Ok((None, false));
        }
        let amended = self.catalog.amend_marks(of.name(), &writes).await?;
        tally.condemned += amended.held.iter().filter(|held| **held).count() as u64;
        let sweep = sweep.next(Event::Marked).map_err(internal)?;
        self.catalog.record_sweep(of.name(), Some(sweep), None).await?;
        Ok((Some(sweep), looked_at < old.len()))
    }

    /// Whether a lock keeps any of an object's versions. One that is gone by now is not kept.
    async fn is_locked(&self, versions: &[StoredVersion]) -> Result<bool, ErrorReport> {
        for version in versions {
            match self.store.locked_until(&version.key, &version.version).await {
                Ok(until) if until.is_some_and(|until| until > self.clock.now()) => return Ok(true),
                Ok(_) | Err(StoreError::Missing { .. }) => {}
                Err(error) => return Err(VaultError::from(error).into()),
            }
        }
        Ok(false)
    }

    /// Moves the epoch on and waits for the runs that began before, or ends those that hold their slot for too long. Nothing if it has to
    /// wait: the sweep is recorded, and goes on from there.
    async fn settle(&self, of: Of<'_>, mut sweep: Sweep, tally: &mut Tally) -> Result<Option<Sweep>, ErrorReport> {
        if sweep.phase == Phase::Advancing {
            let advanced = self.catalog.amend_marks(of.name(), &[(String::new(), sweep.advance())]).await?;
            sweep = sweep.next(Event::Advanced(advanced.swept.epoch)).map_err(internal)?;
            self.catalog.record_sweep(of.name(), Some(sweep), None).await?;
        }
        // Looked at again even if it waited before: it costs one listing, and a catalog that was set back has other runs.
        sweep.phase = Phase::Waiting;
        let mut oldest = None;
        for point in self.points(of.tenant).await? {
            let is_in_the_way = point.value.state == State::Running && sweep.waits_for(point.value.epoch);
            if is_in_the_way && !self.fence(of, &point, tally).await? {
                oldest = oldest.min(Some(point.value.epoch)).or(Some(point.value.epoch));
            }
        }
        match sweep.next(Event::Running(oldest)) {
            Ok(sweep) => {
                self.catalog.record_sweep(of.name(), Some(sweep), None).await?;
                Ok(Some(sweep))
            }
            Err(waits) => {
                tracing::info!(tenant.id = %of.tenant, "{waits}");
                Ok(None)
            }
        }
    }

    /// Ends a run that has held its slot for too long: it can publish no more. Says whether it is over.
    async fn fence(&self, of: Of<'_>, point: &Versioned<RecoveryPoint>, tally: &mut Tally) -> Result<bool, ErrorReport> {
        let now = self.clock.now();
        let (id, run) = (point.value.id, point.value.run);
        if now.duration_since(point.value.started_at).as_secs() <= caps::RUN_AT_MOST_S {
            return Ok(false);
        }
        let message = format!(
            "run {run} held the slot for more than {} s, and was ended for the sweep; the next delivery begins anew",
            caps::RUN_AT_MOST_S
        );
        self.audit(Side::Intent, "run.fence", of, &format!("{id}: {run}")).await?;
        let fenced = self.catalog.fail(point, &ErrorReport::new(ErrorCode::Fenced, message), now).await;
        let outcome = match &fenced {
            Ok(()) => format!("{id}: {run} was ended"),
            Err(error) => format!("{id}: {run} was not ended: {error}"),
        };
        self.audit(Side::Outcome, "run.fence", of, &outcome).await?;
        match fenced {
            Ok(()) => {
                tally.fenced += 1;
                Ok(true)
            }
            // It ended by itself, or another run has the slot: the next tick sees.
            Err(error) if error.code() == ErrorCode::Fenced => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Judges every mark that may be judged, by a fresh look at what is needed, and deletes.
    async fn judge(&self, of: Of<'_>, sweep: Sweep, tally: &mut Tally) -> Result<(), ErrorReport> {
        self.check_time(of)?;
        let mut survey = self.survey(of.tenant, of.named).await?;
        let marks = self.catalog.swept(of.name()).await?.marks;
        let (mut doomed, mut writes) = (Vec::new(), Writes::new());
        for (object, mark) in marks {
            match sweep.judge(&mark, survey.needed.contains(&object)) {
                Some(Act::Delete(_)) => doomed.push((object, mark)),
                Some(Act::Write(write)) => writes.push((object, write)),
                None => {}
            }
        }
        let amended = self.catalog.amend_marks(of.name(), &writes).await?;
        for ((object, write), held) in writes.into_iter().zip(amended.held) {
            match write.then {
                // Who was faster took it back.
                _ if !held => {}
                Effect::Mark(Some(mark)) => doomed.push((object, mark)),
                _ => tally.released += 1,
            }
        }
        if !doomed.is_empty() {
            self.delete(of, sweep, &doomed, &mut survey, tally).await?;
        }
        self.close(survey, tally).await
    }

    /// Deletes what bears the last mark, by the versions that it names, and clears the marks of what is gone.
    async fn delete(
        &self,
        of: Of<'_>,
        sweep: Sweep,
        doomed: &[(String, Mark<Versions>)],
        survey: &mut Survey,
        tally: &mut Tally,
    ) -> Result<(), ErrorReport> {
        let first = doomed.first().map_or("", |(object, _)| object.as_str());
        let what = format!("{} objects of epoch {} and before, the first {first}", doomed.len(), sweep.epoch.0);
        self.audit(Side::Intent, "vault.sweep", of, &what).await?;
        let deletions = doomed.iter().map(|(object, mark)| async move {
            // What time does not allow keeps its mark, and is the next sweep's.
            if self.deadline.near() {
                return (object, mark, Ok(None));
            }
            let deleted = match sweep.judge(mark, false) {
                Some(Act::Delete(versions)) => self.delete_versions(object, &versions).await.map(Some),
                _ => Ok(None),
            };
            (object, mark, deleted)
        });
        let mut deletions = stream::iter(deletions.collect::<Vec<_>>()).buffer_unordered(vault::caps::REQUESTS_AT_ONCE);
        let (mut clears, mut failed, mut left) = (Writes::new(), None, 0);
        while let Some((object, mark, deleted)) = deletions.next().await {
            match deleted {
                Ok(Some(deletion)) => {
                    if deletion == Deletion::Gone {
                        tracing::info!(tenant.id = %of.tenant, object, "deleted");
                        survey.inventory.forget(object, versions_of(mark));
                        tally.deleted += 1;
                    }
                    clears.extend(sweep.deleted(mark, deletion).map(|write| (object.clone(), write)));
                }
                Ok(None) => left += 1,
                Err(error) => {
                    left += 1;
                    failed.get_or_insert(error);
                }
            }
        }
        let cleared = self.catalog.amend_marks(of.name(), &clears).await;
        // The last of several sweeps in a row tells: each tries them again.
        let locked = doomed.len() - clears.len() - left;
        tally.kept_by_lock = locked as u64;
        let outcome = format!("{} deleted, {locked} kept by their lock, {left} left for later", clears.len());
        self.audit(Side::Outcome, "vault.sweep", of, &outcome).await?;
        cleared?;
        match failed {
            Some(error) => Err(error),
            None if left > 0 => self.check_time(of),
            None => Ok(()),
        }
    }

    async fn delete_versions(&self, object: &str, versions: &[String]) -> Result<Deletion, ErrorReport> {
        let mut deletion = Deletion::Gone;
        for version in versions {
            match self.store.delete_version(object, version).await {
                Ok(()) => {}
                // S3 calls a lock and a missing right by the same name.
                Err(denied @ StoreError::Denied { .. }) => match self.store.locked_until(object, version).await {
                    Ok(until) if until.is_some_and(|until| until > self.clock.now()) => deletion = Deletion::Locked,
                    Err(StoreError::Missing { .. }) => {}
                    Ok(_) => return Err(VaultError::from(denied).into()),
                    Err(error) => return Err(VaultError::from(error).into()),
                },
                Err(error) => return Err(VaultError::from(error).into()),
            }
        }
        Ok(deletion)
    }

    /// Records which expired recovery points have nothing left that only they needed.
    async fn close(&self, survey: Survey, tally: &mut Tally) -> Result<(), ErrorReport> {
        let Survey { inventory, needed, let_go, .. } = survey;
        for (point, objects) in let_go {
            if objects.difference(&needed).any(|object| inventory.has(object)) {
                continue;
            }
            let swept = point.value.clone().sweep(self.clock.now()).map_err(catalog::PointError::from)?;
            match self.catalog.update(&point, swept).await {
                Ok(_) => tally.points += 1,
                // Another delivery was faster.
                Err(TableError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn check_time(&self, of: Of<'_>) -> Result<(), ErrorReport> {
        self.deadline.check(&format!("the sweep of tenant {}", of.tenant))
    }

    async fn audit(&self, phase: Side, act: &str, of: Of<'_>, detail: &str) -> Result<(), ErrorReport> {
        let entry = AuditEntry {
            id: self.fresh.run_id(),
            at: self.clock.now(),
            actor: "retention".to_owned(),
            act: act.to_owned(),
            subject: of.tenant.to_string(),
            phase,
            detail: detail.to_owned(),
        };
        Ok(self.catalog.audit(entry).await?)
    }
}

fn versions_of(mark: &Mark<Versions>) -> &[String] {
    let (Mark::Condemned { version, .. } | Mark::Sweeping { version, .. }) = mark;
    version
}

/// A step of the protocol that was not its turn: our own mistake.
fn internal(error: domain::sweep::NotYet) -> ErrorReport {
    ErrorReport::new(ErrorCode::Fenced, error.to_string())
}
