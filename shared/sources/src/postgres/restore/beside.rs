//! Puts a tenant's recovery point beside the live data, for a person to look at or take from. Nothing live changes.
//!
//! It is staged and checked as a restore in place would be, and then gets a name to stay under instead of the live one. Only its owner,
//! who is the tenant's, and who has that role's rights may read it. It stays until a person has it dropped.

use domain::request::TableEffect;

use super::{
    super::{
        catalog,
        compare::{Comparison, effect},
        digest,
        ident::Ident,
        session::Session,
    },
    Job, Outcome, Proof, RestoreId, check, cleanup, clear_after,
    copy::Copy,
    difference,
    job::Staged,
    load,
    lock::RestoreLock,
    names::Names,
    owners,
    schema::refuse_dependents,
    stage,
};
use crate::error::{Phase, SourceError};

/// Stands for live data that a restore does not touch, and that may change meanwhile as it likes.
pub const UNTOUCHED: &str = "untouched";

/// Says what would stand beside the live data, and where.
///
/// # Errors
/// If the tenant has moved since the recovery point.
pub fn compare_beside(job: &Job<'_>) -> Result<Comparison, SourceError> {
    job.check_layout()?;
    let job = &job.narrowed()?;
    let tables: Vec<TableEffect> =
        job.facts.tables.iter().map(|table| effect(&table.name.to_string(), table.rows, 0, 0, 0)).collect();
    let mut notes = vec![format!(
        "nothing live changes: the rows come into {}, which stays until it is dropped; only {} and who has that role's rights can read it",
        place(job, &job.names.side),
        owner(job)
    )];
    if job.is_difference() {
        let text = "the copy's tables have the recorded columns; types of the database's own that changed or went are text there";
        notes.push(text.to_owned());
    }
    Ok(Comparison { tables, live_digest: UNTOUCHED.to_owned(), notes })
}

/// Says what dropping the copy that another request put beside the live data would do.
///
/// # Errors
/// If the server cannot be asked.
pub async fn compare_drop(job: &Job<'_>, original: &RestoreId) -> Result<Comparison, SourceError> {
    let side = Names::of(original)?.side;
    let note = if side_of(job, &side).is_there().await? {
        format!("nothing live changes: {} is dropped, and whatever was changed in it", place(job, &side))
    } else {
        format!("nothing changes: {} is not there any more", place(job, &side))
    };
    Ok(Comparison { tables: Vec::new(), live_digest: UNTOUCHED.to_owned(), notes: vec![note] })
}

/// Puts the recovery point beside the live data. Running it again finds it there, and compares it again.
///
/// # Errors
/// If the restore is refused or fails; nothing new is left then. [`SourceError::RestoreAtWork`] if another restore of this target has not
/// ended.
pub async fn beside(job: &Job<'_>) -> Result<Outcome, SourceError> {
    job.check_layout()?;
    let job = &job.narrowed()?;
    let lock = RestoreLock::take(job).await?;
    let done = beside_locked(job, &lock).await;
    lock.release().await;
    done
}

async fn beside_locked(job: &Job<'_>, lock: &RestoreLock) -> Result<Outcome, SourceError> {
    let undo_copy = Some(job.names.side.as_str().to_owned());
    if side_of(job, &job.names.side).is_there().await? {
        cleanup::clear(job).await?;
        let rows = prove_beside(job).await?.rows;
        return Ok(Outcome { changed: false, rows, undo_copy, notes: Vec::new() });
    }
    let done = stage_check_and_keep(job, lock).await;
    let cleaned = clear_after(job, lock).await;
    let (rows, notes) = done?;
    cleaned?;
    Ok(Outcome { changed: true, rows, undo_copy, notes })
}

async fn stage_check_and_keep(job: &Job<'_>, lock: &RestoreLock) -> Result<(u64, Vec<String>), SourceError> {
    let staged = if job.is_difference() {
        cleanup::clear(job).await?;
        difference::stage_recorded(job).await?
    } else {
        stage(job).await?
    };
    let rows = check::check(job, &staged).await?.iter().map(|table| table.rows).sum();
    load::finish(job, &staged).await?;
    lock.still_held().await?;
    let notes = match side_of(job, &job.names.side).schema() {
        None => keep_database(job, lock, &staged).await?,
        Some(_) => keep_schema(job, lock).await?,
    };
    Ok((rows, notes))
}

/// The database's own privileges are not set as recorded: whoever could connect to the live one has no business here.
async fn keep_database(job: &Job<'_>, lock: &RestoreLock, staged: &Staged) -> Result<Vec<String>, SourceError> {
    let (stage, side) = (&job.names.stage, &job.names.side);
    let session = Session::open(&job.endpoint.with_database(&staged.endpoint.database), Phase::Restoring).await?;
    session.batch("handing over the copy", "BEGIN").await?;
    let notes = owners::hand_over(job, &session, &job.facts.properties.owner).await?;
    session.batch("closing the copy to others", &format!("REVOKE ALL ON DATABASE {stage} FROM PUBLIC; COMMIT")).await?;
    session.close().await;
    let rename = format!("ALTER DATABASE {stage} RENAME TO {side}");
    lock.session().batch("giving the copy its name", &rename).await?;
    Ok(notes)
}

/// A new schema is closed to all but its owner. What the recorded owners and grants name is in the live schema, so that all of it is its
/// main owner's here.
async fn keep_schema(job: &Job<'_>, lock: &RestoreLock) -> Result<Vec<String>, SourceError> {
    let owner = Ident::new(owner(job))?;
    let session = Session::open(&job.live(), Phase::Restoring).await?;
    session.batch("handing over the copy", "BEGIN").await?;
    owners::containers_first(job, &session, &owner).await?;
    let sql =
        format!("REASSIGN OWNED BY {} TO {owner}; ALTER SCHEMA {} RENAME TO {}", job.names.role, job.names.stage, job.names.side);
    session.batch("handing over the copy", &sql).await?;
    lock.still_held().await?;
    session.batch("handing over the copy", "COMMIT").await?;
    session.close().await;
    Ok(Vec::new())
}

/// Proves that what stands beside the live data is what the recovery point holds.
///
/// # Errors
/// [`SourceError::Mismatch`] if it is not: somebody may have worked in it.
pub async fn prove_beside(job: &Job<'_>) -> Result<Proof, SourceError> {
    let job = &job.narrowed()?;
    let found = side_of(job, &job.names.side).digest().await?;
    let lines = match &found {
        Some(found) if job.is_difference() => digest::differences_of(found, job.point.manifest()),
        Some(found) => digest::differences(found, job.point.manifest()),
        None => vec![format!("{} is not there", place(job, &job.names.side))],
    };
    if !lines.is_empty() {
        let state = format!("{} is beside the live data, which is untouched; drop it and make a new request", job.names.side);
        return Err(SourceError::Mismatch { place: job.live_place(), what: check::summarise(&lines), state });
    }
    let rows = found.iter().flatten().map(|table| table.rows).sum();
    Ok(Proof { rows, live_digest: UNTOUCHED.to_owned(), notes: Vec::new() })
}

/// Drops what another request put beside the live data. Says whether it was there.
///
/// # Errors
/// If something outside refers to it, or a restore of this target has not ended.
pub async fn drop_beside(job: &Job<'_>, original: &RestoreId) -> Result<bool, SourceError> {
    let side = Names::of(original)?.side;
    let lock = RestoreLock::take(job).await?;
    let dropped = drop_locked(job, &side).await;
    lock.release().await;
    dropped
}

async fn drop_locked(job: &Job<'_>, side: &Ident) -> Result<bool, SourceError> {
    let copy = side_of(job, side);
    if !copy.is_there().await? {
        return Ok(false);
    }
    let (endpoint, sql) = match copy.schema() {
        Some(schema) => (job.live(), format!("DROP SCHEMA IF EXISTS {schema} CASCADE")),
        None => (job.maintenance(), format!("DROP DATABASE IF EXISTS {side} WITH (FORCE)")),
    };
    let session = Session::open(&endpoint, Phase::Restoring).await?;
    if let Some(schema) = copy.schema()
        && catalog::has_schema(&session, schema).await?
    {
        refuse_dependents(&session, schema).await?;
    }
    session.batch("dropping what was put beside the live data", &sql).await?;
    session.close().await;
    Ok(true)
}

fn side_of<'a>(job: &'a Job<'_>, side: &'a Ident) -> Copy<'a> {
    Copy::of_point(job, side)
}

fn owner<'a>(job: &'a Job<'_>) -> &'a str {
    job.facts.schema_owner.as_deref().unwrap_or(&job.facts.properties.owner)
}

fn place(job: &Job<'_>, side: &Ident) -> String {
    match side_of(job, side).schema() {
        None => format!("database {side}"),
        Some(_) => format!("schema {side} of database {}", job.scope.database),
    }
}
