//! One export: take the slot, read the source, write the vault, publish.

use std::{fmt, time::Duration};

use catalog::{Held, Taken};
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, VaultTenantId, caps,
    plan::{Plan, ReadFrom},
    point::{Content, Kind, Origin, ReadSpan},
    register::Tenant,
    slot::{Slot, Subject},
    tenant::Layout,
};
use futures::TryStreamExt;
use jiff::Timestamp;
use runtime::{
    Deadline,
    services::{ORIGIN_FACT, REGISTER_FACT, Services, point_ref, scope},
};
use serde_json::{Value, json};
use sources::{
    SourceError,
    configuration::{self, Setting},
    media,
    postgres::{self, Exported, Sweep, Turn},
};
use tracing::Instrument;
use vault::{Parent, PointWriter, Progress, Written};

use crate::{quiet::Quiet, source};

/// What an invocation keeps back to record what it did.
const RESERVE: Duration = Duration::from_millis(caps::DEADLINE_RESERVE_MS);
/// Time in which an export that fits into an invocation at all should have finished.
const ENOUGH: Duration = Duration::from_secs(600);

/// One tenant and kind at one instant.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) tenant: Tenant,
    pub(crate) kind: Kind,
    pub(crate) rule: String,
    pub(crate) scheduled_time: Timestamp,
    /// Whether to store everything anew, even what an earlier recovery point has.
    pub(crate) full: bool,
    /// Which copy of the database is read.
    pub(crate) read_from: ReadFrom,
    /// The clone, if that is what is read.
    pub(crate) quiet: Option<Quiet>,
}

/// What became of an item.
#[derive(Debug, Clone)]
pub(crate) enum Made {
    /// This run made and published its recovery point.
    New(RecoveryPointId),
    /// An earlier delivery had.
    Already,
}

/// What filling a slot came to.
enum Filled {
    /// It can be published.
    Whole(Content),
    /// The next run goes on; the chunks are shared with this recovery point.
    Paused(Option<RecoveryPointId>),
}

/// The time that an item has in this invocation.
struct Time<'a> {
    deadline: &'a Deadline,
    /// All of it.
    budget: Duration,
    /// The part kept for storing what was read.
    closing: Duration,
}

impl<'a> Time<'a> {
    fn of(deadline: &'a Deadline) -> Self {
        let budget = deadline.remaining().saturating_sub(RESERVE);
        Self { deadline, budget, closing: budget / 5 }
    }

    /// Whether to read no further: in a whole invocation of 15 minutes after some 11.
    fn is_up(&self) -> bool {
        self.deadline.remaining() <= RESERVE + self.closing
    }

    fn was_enough(&self) -> bool {
        self.budget >= ENOUGH
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} export of tenant {}", self.kind.name(), self.tenant.id)
    }
}

impl Item {
    /// Makes the recovery point of this item's slot, unless it is there. Rows come from the sweep if there is one.
    pub(crate) async fn run(
        &self,
        services: &Services,
        plan: &Plan,
        deadline: &Deadline,
        sweep: Option<&mut Sweep<'_>>,
    ) -> Result<Made, ErrorReport> {
        let (went_on, outcome) = self.attempt(services, plan, deadline, sweep).await?;
        match outcome {
            // The slot no longer names what the earlier run left.
            Err(report) if went_on && report.code == ErrorCode::NotAuthentic => {
                tracing::warn!("the {self} begins anew: what an earlier run left cannot be used: {}", report.message);
                self.attempt(services, plan, deadline, None).await?.1
            }
            outcome => outcome,
        }
    }

    /// Whether it is made for a restore that asks for an instant.
    fn is_of_an_instant(&self) -> bool {
        self.rule == Slot::POINT_IN_TIME
    }

    fn is_pooled(&self) -> bool {
        matches!(self.tenant.layout, Layout::Pool { .. })
    }

    /// A tenant that moved is not where the register has it now, and one that is gone from there would be restored to nothing.
    fn was_not_there(&self) -> ErrorReport {
        let message = format!(
            "at {} there was nothing of tenant {} where the tenant register has it now; name a later instant, or a recovery point",
            self.scheduled_time, self.tenant.id
        );
        ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message)
    }

    /// The slot that it fills.
    pub(crate) fn slot(&self) -> Slot {
        Slot {
            rule: self.rule.clone(),
            scheduled_time: self.scheduled_time,
            subject: Subject::Tenant(self.tenant.id.clone()),
            kind: self.kind,
        }
    }

    /// One run. Also says whether it had something to go on from.
    async fn attempt(
        &self,
        services: &Services,
        plan: &Plan,
        deadline: &Deadline,
        sweep: Option<&mut Sweep<'_>>,
    ) -> Result<(bool, Result<Made, ErrorReport>), ErrorReport> {
        // A run is registered in an epoch before it asks what it may share, so that a sweep waits for it.
        let record = services.tenant(&self.tenant.id).await?;
        record.check_not_erased()?;
        let vault_tenant = record.vault_tenant;
        let epoch = services.catalog.epoch(vault_tenant).await?;
        let run = services.fresh.run_id();
        let held = match services.catalog.take_slot_in(&self.slot(), run, epoch, services.clock.now()).await? {
            Taken::Held(held) => {
                let held = services.catalog.put_under(held, plan.dedicated_key(&self.tenant.id)).await?;
                // An erasure that came in between did not see this run; one that comes from here on does, and stops it.
                services.catalog.check_held_not_erased(&held, &self.tenant.id, services.clock.now()).await?;
                held
            }
            Taken::Done(_) => return Ok((false, Ok(Made::Already))),
        };
        let span = tracing::info_span!(
            "export", tenant.id = %self.tenant.id, run.id = %held.value.run, recovery_point.id = %held.value.id, kind = self.kind.name()
        );
        let outcome = self.fill(services, plan, (&held, vault_tenant), deadline, sweep).instrument(span).await;
        Ok((held.value.unfinished.is_some(), outcome))
    }

    async fn fill(
        &self,
        services: &Services,
        plan: &Plan,
        (held, vault_tenant): (&Held, VaultTenantId),
        deadline: &Deadline,
        sweep: Option<&mut Sweep<'_>>,
    ) -> Result<Made, ErrorReport> {
        let started_at = services.clock.now();
        let time = Time::of(deadline);
        // A tenant of a sweep may have waited for the server to sort all tenants' rows: by itself it may well be fast.
        let fault_of_its_own = sweep.is_none();
        let written =
            tokio::time::timeout(time.budget, Box::pin(self.write(services, plan, (held, vault_tenant), &time, sweep))).await;
        let (report, recorded) = match written.unwrap_or_else(|_| Err(out_of_time(time.budget, fault_of_its_own))) {
            Ok(Filled::Whole(content)) => {
                let point = services.catalog.publish(held, content, services.clock.now()).await?;
                tracing::info!(elapsed_ms = services.ms_since(started_at), "published");
                return Ok(Made::New(point.id));
            }
            Ok(Filled::Paused(parent)) => {
                let report = to_be_continued(&time);
                tracing::info!(elapsed_ms = services.ms_since(started_at), "{}", report.message);
                let recorded = services.catalog.suspend(held, parent, &report, services.clock.now()).await;
                (report, recorded)
            }
            Err(report) => {
                tracing::error!(error.code = report.code.name(), "{}", report.message);
                let recorded = services.catalog.fail(held, &report, services.clock.now()).await;
                (report, recorded)
            }
        };
        match recorded {
            // An heir has the slot: its outcome counts, not ours.
            Err(error) if error.code() == ErrorCode::Fenced => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "the failure could not be recorded; the slot stays running until it is retried"),
            Ok(()) => {}
        }
        Err(report)
    }

    async fn write(
        &self,
        services: &Services,
        plan: &Plan,
        (held, vault_tenant): (&Held, VaultTenantId),
        time: &Time<'_>,
        sweep: Option<&mut Sweep<'_>>,
    ) -> Result<Filled, ErrorReport> {
        let (writer, parent) = self.begin(services, held, vault_tenant).await?;
        let began_at = services.clock.now();
        let listed = || Some(ReadSpan { from: began_at, until: services.clock.now() });
        let (mut facts, read) = match (self.kind, sweep) {
            (Kind::Database, Some(sweep)) => {
                let facts = sweep.export(&self.tenant.id, &writer).await.map_err(|error| located(plan, self, error))?;
                (facts.encode()?, facts.read()?)
            }
            (Kind::Database, None) => {
                let earlier = earlier(services, held, vault_tenant, parent).await?;
                let turn = Turn { until: &|| time.is_up(), earlier: earlier.as_ref() };
                let endpoint = source::endpoint(services, plan, self).await?;
                let scope = scope(plan, &self.tenant)?;
                let exported = postgres::export_for(&endpoint, &services.tools(), &scope, &writer, turn).await;
                match exported.map_err(|error| located(plan, self, error))? {
                    // A pool's tables are there before and after any tenant: none of its rows is all that tells.
                    Exported::Whole(facts)
                        if self.is_of_an_instant() && self.is_pooled() && facts.tables.iter().all(|table| table.rows == 0) =>
                    {
                        return Err(self.was_not_there());
                    }
                    Exported::Whole(facts) => (facts.encode()?, facts.read()?),
                    // What the run before had read is of no use, and this one's would not be either.
                    Exported::Paused(paused) if paused.began_anew && time.was_enough() => {
                        return Err(out_of_time(time.budget, true));
                    }
                    Exported::Paused(paused) => {
                        writer.suspend(paused.account).await?;
                        return Ok(Filled::Paused(parent));
                    }
                }
            }
            (Kind::Media, _) => (self.write_media(services, plan, &writer).await?, listed()),
            (Kind::Configuration, _) => (self.write_configuration(services, plan, &writer).await?, listed()),
            (Kind::Snapshot, _) => {
                let message = "snapshots are made by the snapshot function, not by export".to_owned();
                return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
            }
        };
        // A clone's own clock says when it was read, not of when its data is.
        let read = match (&self.quiet, self.kind) {
            (Some(quiet), Kind::Database) => Some(ReadSpan { from: quiet.as_of, until: quiet.as_of }),
            _ => read,
        };
        facts[REGISTER_FACT] = json!(self.tenant);
        facts[ORIGIN_FACT] = json!(Origin::of(&held.value, parent, read));
        writer.behind(services.newest_place(&self.tenant.id, vault_tenant).await?);
        let written = writer.finish(facts, services.clock.now()).await?;
        let reused = written.chunks_reused;
        tracing::info!(chunks = written.chunks, reused, stored_bytes = written.stored_bytes, packs = written.packs, "written");
        Ok(Filled::Whole(content(vault_tenant, written, parent, read)))
    }

    /// Begins on the recovery point before it, if there is one that can be built on.
    async fn begin(
        &self,
        services: &Services,
        held: &Held,
        vault_tenant: VaultTenantId,
    ) -> Result<(PointWriter, Option<RecoveryPointId>), ErrorReport> {
        let (point, run) = (held.value.id, held.value.run);
        let subject = Subject::Tenant(self.tenant.id.clone());
        let before = if self.full { None } else { services.catalog.to_build_on(&subject, self.kind).await? };
        // What is stored under another key would not go with this one.
        let before = before.filter(|before| before.key == held.value.key);
        // After the tenant's opaque name changed, the old chunks are another tenant's.
        let before =
            before.and_then(|before| Some((before.id, point_ref(&before).ok()?))).filter(|(_, (of, _))| *of == vault_tenant);
        if let Some((id, (_, reference))) = before {
            let parent = Parent { point: id, reference };
            match services.vault.begin(vault_tenant, point, run, Some(&parent)).await {
                Ok(writer) => return Ok((writer, Some(id))),
                // Verify tells of it. The tenant needs a backup all the more, and one that shares nothing with what is damaged.
                Err(error) if error.code() == ErrorCode::NotAuthentic => {
                    tracing::warn!(%error, parent = %id, "nothing of the recovery point before can be used; everything is stored anew");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok((services.vault.begin(vault_tenant, point, run, None).await?, None))
    }

    async fn write_media(&self, services: &Services, plan: &Plan, writer: &PointWriter) -> Result<Value, ErrorReport> {
        let media = plan.media.as_ref().ok_or_else(|| not_in_plan("media"))?;
        let prefix = media.prefix.replace("{tenant}", self.tenant.id.as_str());
        let bucket = services.clients.media(&media.bucket);
        media::write(bucket.versions(&prefix).map_err(ErrorReport::from), writer).await?;
        Ok(json!({ "bucket": media.bucket, "prefix": prefix }))
    }

    async fn write_configuration(&self, services: &Services, plan: &Plan, writer: &PointWriter) -> Result<Value, ErrorReport> {
        let scope = plan.configuration.as_ref().ok_or_else(|| not_in_plan("configuration"))?;
        let parameters = scope.parameters.replace("{tenant}", self.tenant.id.as_str());
        let secrets = scope.secrets.replace("{tenant}", self.tenant.id.as_str());
        let found_parameters = services.clients.parameters().metadata(&parameters).await?.into_iter().map(Setting::Parameter);
        let found_secrets = services.clients.secrets().metadata(&secrets, []).await?.into_iter().map(Setting::Secret);
        configuration::write(found_parameters.chain(found_secrets).collect(), writer).await?;
        Ok(json!({ "parameters": parameters, "secrets": secrets }))
    }
}

fn content(vault_tenant: VaultTenantId, written: Written, parent: Option<RecoveryPointId>, read: Option<ReadSpan>) -> Content {
    Content::Export {
        vault_tenant,
        sequence: written.point.sequence,
        link_sha256: written.point.link_sha256,
        parent,
        rows: written.rows,
        plaintext_bytes: written.plaintext_bytes,
        stored_bytes: written.stored_bytes,
        read,
    }
}

/// What an earlier run of the slot left, if it can be gone on from.
async fn earlier(
    services: &Services,
    held: &Held,
    vault_tenant: VaultTenantId,
    parent: Option<RecoveryPointId>,
) -> Result<Option<Progress>, ErrorReport> {
    let Some(left) = &held.value.unfinished else { return Ok(None) };
    if left.parent.is_some() && left.parent != parent {
        tracing::warn!(run = %left.run, "it shares chunks with a recovery point that is not built on any more; everything is read anew");
        return Ok(None);
    }
    match services.vault.progress(vault_tenant, held.value.id, left.run).await {
        Ok(None) => tracing::warn!(run = %left.run, "what the run left is not in the vault; everything is read anew"),
        Ok(found) => return Ok(found),
        Err(error) if error.code() == ErrorCode::NotAuthentic => {
            tracing::warn!(%error, run = %left.run, "what the run left cannot be used; everything is read anew");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(None)
}

fn to_be_continued(time: &Time<'_>) -> ErrorReport {
    let seconds = (time.budget - time.closing).as_secs();
    ErrorReport::new(
        ErrorCode::DeadlineNear,
        format!(
            "it was stopped after {seconds} s of reading; the next invocation goes on from there if nothing is written to the source until then"
        ),
    )
}

/// A whole invocation that was not enough will not be enough the next time; what was begun late may well fit then.
fn out_of_time(budget: Duration, fault_of_its_own: bool) -> ErrorReport {
    let seconds = budget.as_secs();
    if budget < ENOUGH || !fault_of_its_own {
        return ErrorReport::new(
            ErrorCode::DeadlineNear,
            format!("it was begun with {seconds} s left and not finished; the next invocation begins it anew"),
        );
    }
    let message = format!(
        "it did not finish within {seconds} s, all that an invocation has, and could not be gone on from, as only a source that nobody writes to can; \
         give the function more memory, or the tenant a place of its own"
    );
    ErrorReport::new(ErrorCode::SourceRefused, message)
}

/// Adds to a database's error what a person has to look at: the instance and the secret, which a host name does not tell.
pub(crate) fn located(plan: &Plan, item: &Item, error: SourceError) -> ErrorReport {
    // A clone takes the password of its data's time.
    let rotated = item.quiet.is_some() && matches!(error, SourceError::Login { .. });
    let not_yet_there = item.is_of_an_instant() && matches!(error, SourceError::NoDatabase { .. });
    let mut report = ErrorReport::from(error);
    if not_yet_there {
        report = item.was_not_there();
    } else if rotated && item.is_of_an_instant() {
        report.code = ErrorCode::SourceRefused;
        report
            .message
            .push_str("; if its password was changed after that instant, only instants after the change can be restored to");
    } else if item.is_of_an_instant() && report.code == ErrorCode::SourceRefused {
        report.message.push_str(&format!("; so it was at {}, and another instant may do", item.scheduled_time));
    } else if rotated {
        report.code = ErrorCode::EnvironmentBad;
        report
            .message
            .push_str("; if its password was changed after the clone's snapshot was taken, the next snapshot has the new one");
    }
    let Some(database) = plan.database(&item.tenant.database_id) else { return report };
    let instance = source::instance(item, database).unwrap_or(&database.instance);
    let message = format!("instance {instance}, login in secret {}: {}", database.secret, report.message);
    ErrorReport::new(report.code, message)
}

fn not_in_plan(what: &str) -> ErrorReport {
    ErrorReport::new(ErrorCode::PlanInvalid, format!("the backup plan has no `{what}`, so there is none to export"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use runtime::clock::FixedClock;

    use super::*;

    /// Seconds left at which reading stops, in an item begun with so many.
    fn stops_at(begun_with: u32) -> u32 {
        let start: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let clock = Arc::new(FixedClock::at(start));
        let end = start + Duration::from_secs(begun_with.into());
        let deadline = Deadline::at(end, Arc::<FixedClock>::clone(&clock));
        let time = Time::of(&deadline);
        let stops = |left: &u32| {
            clock.set(end - Duration::from_secs((*left).into()));
            time.is_up()
        };
        (0..=begun_with).rev().find(stops).unwrap()
    }

    #[test]
    fn reading_stops_while_there_is_time_to_store_what_was_read() {
        assert_eq!([900, 660, 110, 61].map(stops_at), [228, 180, 70, 60]);
    }
}
