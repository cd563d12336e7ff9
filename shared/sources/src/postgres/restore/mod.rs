//! Brings one tenant back: stage, check, cut over, clean up; and prove it afterwards.
//!
//! Data and definitions are loaded into a staging copy by a login role that is made for this one restore and owns nothing
//! else, so whatever code a tenant's definitions hold runs with no rights worth having. The copy becomes visible in one
//! transaction, after its digests were found equal to the recovery point's. Every name is derived from the restore's id: a
//! second run finds what the first left behind, clears it and begins again, or finds the work done. Two never work on one target
//! at once: each holds its lock from the first look to the last.
//!
//! | layout | staging | cutover |
//! |---|---|---|
//! | silo, database | a database | two renames of databases |
//! | schema | a schema beside the live one | two renames of schemas |
//! | pool | bare tables in a schema | the smallest difference, by key, of the tenant's rows alone |
//! | selected tables of any | bare tables in a schema | the smallest difference, of these tables' rows alone |
//!
//! What a cutover replaces is kept, and [`undo`] puts it back. [`beside`] leaves what was staged and checked beside the live data instead.

mod assertions;
mod beside;
mod check;
mod cleanup;
mod copy;
mod database;
mod difference;
mod difference_cutover;
mod difference_sql;
mod grants;
mod job;
mod load;
mod loaders;
mod lock;
mod names;
mod owners;
mod prove;
mod role;
mod schema;
mod undo;
mod undo_preview;
mod undo_rows;

use domain::tenant::Layout;
use vault::Digester;

pub use assertions::ask_clone;
pub use beside::{UNTOUCHED, beside, compare_beside, compare_drop, drop_beside, prove_beside};
pub use cleanup::{Leftover, cleanup, leftovers};
pub use job::Job;
pub use names::RestoreId;
pub(crate) use names::made_by_restore;
pub use prove::{Proof, prove};
pub use undo::{Undo, prove_undo, undo};
pub use undo_preview::compare_undo;

use self::{
    job::{CutOver, Staged},
    lock::RestoreLock,
    names::Names,
};
use super::{digest::LiveDigest, facts::DatabaseFacts, session::Session, standing};
use crate::error::{Phase, SourceError};

/// How a restore ended that ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether anything was changed: `false` when the live data already equalled the recovery point.
    pub changed: bool,
    /// Rows in the restored scope.
    pub rows: u64,
    /// The database or schema that holds what was replaced; none if nothing was there.
    pub undo_copy: Option<String>,
    /// What could not be set as recorded, one line each: settings that only a superuser may make.
    pub notes: Vec<String>,
}

/// Restores a tenant in place. Running it again changes nothing.
///
/// What was staged is cleaned up whatever happens. The rows are proven equal before anybody else can see them; see [`prove`] for
/// the look from outside afterwards.
///
/// # Errors
/// If the restore is refused or fails; the live data is then as it was. [`SourceError::Drifted`] if it is not what was approved,
/// [`SourceError::RestoreAtWork`] if another restore of this target, or another run of this one, has not ended.
pub async fn run(job: &Job<'_>) -> Result<Outcome, SourceError> {
    job.check_layout()?;
    let job = &job.narrowed()?;
    let lock = RestoreLock::take(job).await?;
    let done = run_locked(job, &lock).await;
    lock.release().await;
    done
}

async fn run_locked(job: &Job<'_>, lock: &RestoreLock) -> Result<Outcome, SourceError> {
    let live = Live::read(job).await?;
    if let Some(live) = &live
        && live.is_already_there
    {
        cleanup::clear(job).await?;
        let undo_copy = existing_undo_copy(job).await?;
        return Ok(Outcome { changed: false, rows: live.rows, undo_copy, notes: Vec::new() });
    }
    if let Some(undo) = existing_undo_copy(job).await? {
        let what = format!("this request was carried out before, its undo copy is `{undo}`, and the live data changed since");
        let remedy = "take it back with `holdfast restore undo`, or, if only what was written since differs, leave it as it is";
        return Err(SourceError::restore_refused(&job.live_place(), what, remedy));
    }
    refuse_drift(job, live.as_ref())?;
    let done = stage_check_and_cut_over(job, lock, live.is_some()).await;
    let cleaned = clear_after(job, lock).await;
    let outcome = done?;
    cleaned?;
    Ok(outcome)
}

/// Clears up under the lock. If it was lost, what stands under this restore's names may be another run's by now: then only once it
/// was taken again.
async fn clear_after(job: &Job<'_>, lock: &RestoreLock) -> Result<(), SourceError> {
    match lock.still_held().await {
        Ok(()) => cleanup::clear(job).await,
        Err(_) => cleanup(job).await,
    }
}

/// Refuses live data other than what was approved.
fn refuse_drift(job: &Job<'_>, live: Option<&Live>) -> Result<(), SourceError> {
    let found = live.map_or(LiveDigest::ABSENT, |live| &live.identity);
    match &job.approved_live {
        Some(approved) if approved != found => Err(SourceError::Drifted { place: job.live_place() }),
        _ => Ok(()),
    }
}

async fn stage_check_and_cut_over(job: &Job<'_>, lock: &RestoreLock, is_live: bool) -> Result<Outcome, SourceError> {
    let staged = stage(job).await?;
    let rows = check::check(job, &staged).await?.iter().map(|table| table.rows).sum();
    load::finish(job, &staged).await?;
    if job.approved_live.is_some() && !job.is_difference() {
        // Loading took its time. Tables that rows go into are looked at again under their lock; here the undo copy keeps what comes in the
        // last moment.
        refuse_drift(job, Live::read(job).await?.as_ref())?;
    }
    // What was checked is what stands there only while the lock is held. Each cutover asks once more, as late as it can.
    lock.still_held().await?;
    let CutOver { undo_copy, notes } = match job.scope.layout {
        _ if job.is_difference() => difference_cutover::cut_over(job, lock, &staged).await?,
        Layout::Silo { .. } | Layout::Database { .. } => database::cut_over(job, lock, &staged, is_live).await?,
        Layout::Schema { .. } | Layout::Pool { .. } => schema::cut_over(job, lock, is_live).await?,
    };
    Ok(Outcome { changed: true, rows, undo_copy, notes })
}

/// Loads a tenant into staging and leaves it there, unchecked, for an instance that nobody else uses. Gives the name of the database or schema.
///
/// # Errors
/// As [`drill`].
pub async fn load(job: &Job<'_>) -> Result<String, SourceError> {
    job.check_layout()?;
    let job = &job.narrowed()?;
    let lock = RestoreLock::take(job).await?;
    let loaded = async {
        let staged = stage(job).await?;
        load::finish(job, &staged).await
    }
    .await;
    lock.release().await;
    loaded.map(|()| job.names.stage.as_str().to_owned())
}

/// Restores a tenant into staging, checks it against the recovery point and by the job's assertions, and removes it again, whatever happened:
/// a restore test, for an instance that nobody else uses.
///
/// # Errors
/// If the recovery point cannot be restored, or what was restored differs from it. [`SourceError::RestoreAtWork`] if another restore
/// of this target has not ended.
pub async fn drill(job: &Job<'_>) -> Result<Vec<vault::StreamSummary>, SourceError> {
    job.check_layout()?;
    let job = &job.narrowed()?;
    let lock = RestoreLock::take(job).await?;
    let tested = async {
        let staged = stage(job).await?;
        let tables = check::check(job, &staged).await?;
        assertions::ask_staged(job, &staged).await?;
        load::finish(job, &staged).await?;
        Ok::<_, SourceError>(tables)
    }
    .await;
    let cleaned = clear_after(job, &lock).await;
    lock.release().await;
    let tables = tested?;
    if let Err(error) = cleaned {
        // The instance goes after the test, and with it what is left; the comparison holds.
        tracing::warn!(%error, "a restore test left its staging behind");
    }
    Ok(tables)
}

async fn stage(job: &Job<'_>) -> Result<Staged, SourceError> {
    if job.is_difference() {
        cleanup::clear(job).await?;
        return difference::stage(job).await;
    }
    job.tools.check_restorer().await?;
    cleanup::clear(job).await?;
    match job.scope.layout {
        Layout::Silo { .. } | Layout::Database { .. } => database::stage(job).await,
        Layout::Schema { .. } | Layout::Pool { .. } => schema::stage(job).await,
    }
}

/// What is live before anything is done.
struct Live {
    identity: String,
    rows: u64,
    is_already_there: bool,
}

impl Live {
    /// Reads what is live; `None` if the scope is not there.
    async fn read(job: &Job<'_>) -> Result<Option<Self>, SourceError> {
        if !job.is_difference() {
            let live = job.live_digest().await?;
            return Ok(live.map(|live| Self {
                identity: live.identity(),
                rows: live.rows(),
                is_already_there: is_already_there(job, &live),
            }));
        }
        let digester = Digester::against(job.point).await?;
        let live = standing::read(job.endpoint, job.scope, job.point, &job.facts, &job.selection, &digester).await?;
        // Sequences are everybody's: a cutover moves them past the rows it puts back, not to where they once stood.
        Ok(live.map(|live| Self { is_already_there: live.differences.is_empty(), identity: live.identity, rows: live.rows }))
    }
}

/// Whether the live scope holds exactly the recovery point's rows, all of its objects, and no sequence behind.
fn is_already_there(job: &Job<'_>, live: &LiveDigest) -> bool {
    let nothing_missing = || !live.object_differences(&job.facts).iter().any(|line| line.ends_with("is missing"));
    live.differences(job.point.manifest()).is_empty() && nothing_missing() && sequences_kept_up(&job.facts, &live.facts)
}

fn sequences_kept_up(recorded: &DatabaseFacts, live: &DatabaseFacts) -> bool {
    recorded.sequences.iter().all(|sequence| {
        let found = live.sequences.iter().find(|other| other.name == sequence.name);
        found.is_some_and(|found| {
            let ahead = if sequence.increment < 0 {
                sequence.last_value - found.last_value
            } else {
                found.last_value - sequence.last_value
            };
            ahead > 0 || ahead == 0 && (found.is_called || !sequence.is_called)
        })
    })
}

/// The database or schema that holds what this restore replaced, if it was carried out and anything was there.
///
/// # Errors
/// If the server cannot be asked.
pub async fn replaced(job: &Job<'_>) -> Result<Option<String>, SourceError> {
    existing_undo_copy(job).await
}

async fn existing_undo_copy(job: &Job<'_>) -> Result<Option<String>, SourceError> {
    let undo = &job.names.undo;
    let exists = match job.scope.layout {
        Layout::Silo { .. } | Layout::Database { .. } if !job.is_difference() => {
            names::has_database(&Session::open(&job.maintenance(), Phase::Restoring).await?, undo).await?
        }
        _ => match Session::open_if_there(&job.live(), Phase::Restoring).await? {
            Some(session) => super::catalog::has_schema(&session, undo).await?,
            None => false,
        },
    };
    Ok(exists.then(|| undo.as_str().to_owned()))
}
