//! Takes a restore back, exactly: what it replaced was kept, and goes back to where it was.
//!
//! | layout | what goes back |
//! |---|---|
//! | silo, database | the database that was kept: two renames of databases |
//! | schema | the schema that was kept: two renames of schemas |
//! | pool | the rows that were kept: the smallest difference, by key, of the tenant's rows alone |
//! | selected tables of any | the rows that were kept: the smallest difference, of these tables' rows alone |
//!
//! Nothing is copied where a name is enough, so definitions, owners and privileges are the very same. What the undo replaces is kept in
//! its turn, under the undo's own id: an undo can itself be undone. The copy is looked at first: only what was live before the restore, by
//! the digest that was recorded then, is put back. A whole copy may also hold what was written in the last moments before the swap, which
//! no digest saw: the undo's preview says so, and what was approved is then bound to that copy's own digest, too. Until the one transaction that does it commits, the copy stays as it is.

use vault::StreamSummary;

use super::{
    super::digest::{self, LiveDigest},
    Job, Live, Outcome, Proof, RestoreId, cleanup,
    copy::{Copy, Form},
    database,
    lock::RestoreLock,
    names::Names,
    refuse_drift, schema, undo_rows,
};
use crate::error::SourceError;

/// What one undo is about.
pub struct Undo<'a> {
    pub(super) job: Job<'a>,
    pub(super) original: Names,
    /// [`LiveDigest::identity`] of what was live before the restore, or [`LiveDigest::ABSENT`].
    pub(super) recorded: String,
    /// The digest of the copy, where it is another, and was approved all the same.
    approved_copy: Option<String>,
    /// What else leads back.
    otherwise: String,
}

/// Parts the digest of what is live from that of a copy that is to be put back although it is not what was recorded.
const AND_COPY: char = '+';

impl<'a> Undo<'a> {
    /// Prepares an undo.
    ///
    /// `job` has the undo's own id, the tables that the restore was limited to, and what was approved of the undo's preview; of its recovery
    /// point only the tenant's secret is needed. `original` is the restore that is taken back, `recorded` the digest of what was
    /// live before it, and `otherwise` says what a person can do if the copy is gone.
    ///
    /// # Errors
    /// If the id makes no name.
    pub fn new(
        mut job: Job<'a>,
        original: &RestoreId,
        recorded: impl Into<String>,
        otherwise: impl Into<String>,
    ) -> Result<Self, SourceError> {
        // What became of recorded columns is of no concern: the copy has the live ones.
        job.selection.columns.clear();
        let approved = job.approved_live.take();
        let (live, copy) = approved.as_deref().map_or((None, None), |approved| {
            approved.split_once(AND_COPY).map_or((Some(approved), None), |(live, copy)| (Some(live), Some(copy)))
        });
        job.approved_live = live.map(str::to_owned);
        let approved_copy = copy.map(str::to_owned);
        let mut recorded: String = recorded.into();
        // An undo that is undone recorded both; what it replaced is what was live.
        recorded.truncate(recorded.find(AND_COPY).unwrap_or(recorded.len()));
        Ok(Self { job, original: Names::of(original)?, recorded, approved_copy, otherwise: otherwise.into() })
    }

    /// The digest of what is live in the end.
    fn goal(&self) -> &str {
        self.approved_copy.as_deref().unwrap_or(&self.recorded)
    }

    /// What an approval is bound to: what is live, and the copy if that is not what was recorded.
    ///
    /// # Errors
    /// If the copy is of rows: others' tables hold them, whose cutover lets nothing come in the last moment.
    pub(super) fn bound_to(&self, live: String, kept: &[StreamSummary]) -> Result<(String, Option<String>), SourceError> {
        let copy = digest::identity(kept);
        if copy == self.recorded {
            return Ok((live, None));
        }
        if self.form() == Form::Rows || self.leads_to_nothing() {
            return Err(self.copy_changed("its rows have another digest".to_owned()));
        }
        let note = format!(
            "the copy {} is not what was recorded before the restore: it also holds what was written in the last moments before the \
             cutover, or somebody changed it since; it goes back as it is now",
            self.original.undo
        );
        Ok((format!("{live}{AND_COPY}{copy}"), Some(note)))
    }

    /// What the restore kept.
    pub(super) fn copy(&self) -> Copy<'_> {
        Copy::kept(&self.job, &self.original.undo)
    }

    pub(super) fn form(&self) -> Form {
        Form::of(&self.job)
    }

    /// Whether nothing was there before the restore, so that there is nothing to put back but nothing.
    pub(super) fn leads_to_nothing(&self) -> bool {
        self.recorded == LiveDigest::ABSENT
    }

    /// Where there is no copy and there should be.
    pub(super) fn copy_is_gone(&self) -> SourceError {
        let what = format!("the copy of what was live before, {}, is not there any more", self.original.undo);
        SourceError::restore_refused(&self.job.live_place(), what, self.otherwise.clone())
    }

    /// Where the copy is not what was live before.
    fn copy_changed(&self, what: String) -> SourceError {
        SourceError::Mismatch {
            place: self.job.live_place(),
            what: format!("the copy {} is not what was live before the restore: {what}", self.original.undo),
            state: format!("nothing was put back; {}", self.otherwise),
        }
    }
}

/// Takes a restore back. Running it again changes nothing.
///
/// # Errors
/// If the undo is refused or fails; the live data and the copy are then as they were. [`SourceError::Drifted`] if the live data is not what
/// was approved, [`SourceError::RestoreAtWork`] if a restore of this target has not ended.
pub async fn undo(undo: &Undo<'_>) -> Result<Outcome, SourceError> {
    undo.job.check_layout()?;
    let lock = RestoreLock::take(&undo.job).await?;
    let done = undo_locked(undo, &lock).await;
    lock.release().await;
    done
}

async fn undo_locked(undo: &Undo<'_>, lock: &RestoreLock) -> Result<Outcome, SourceError> {
    let (job, copy) = (&undo.job, undo.copy());
    let kept = copy.digest().await?;
    let live = read_live(undo, kept.as_deref()).await?;
    let replaced = Copy::kept(job, &job.names.undo).is_there().await?.then(|| job.names.undo.as_str().to_owned());
    let rows = live.as_ref().map_or(0, |live| live.rows);
    // A whole copy is used up by its undo: as long as it is there, definitions may differ though rows do not.
    let is_used_up = undo.form() == Form::Rows || kept.is_none();
    if is_used_up && identity(live.as_ref()) == undo.goal() {
        cleanup::clear(job).await?;
        return Ok(Outcome { changed: false, rows, undo_copy: replaced, notes: Vec::new() });
    }
    if let Some(replaced) = replaced {
        let what = format!("this undo was carried out before, what it replaced is `{replaced}`, and the live data changed since");
        let remedy = "take it back with `holdfast restore undo`, or, if only what was written since differs, leave it as it is";
        return Err(SourceError::restore_refused(&job.live_place(), what, remedy));
    }
    refuse_drift(job, live.as_ref())?;
    check_copy(undo, kept.as_deref())?;
    let rows = kept.as_deref().map_or(0, |tables| tables.iter().map(|table| table.rows).sum());
    let (is_live, coming) = (live.is_some(), kept.is_some().then_some(copy.name));
    let undo_copy = match (undo.form(), copy.schema()) {
        (Form::Rows, _) => undo_rows::put_back(undo, lock, kept.unwrap_or_default()).await?.undo_copy,
        (Form::Whole, coming_schema) => {
            match coming_schema {
                None => database::swap(job, lock, coming, is_live).await?,
                Some(_) => schema::swap_back(job, lock, coming, is_live).await?,
            }
            is_live.then(|| job.names.undo.as_str().to_owned())
        }
    };
    Ok(Outcome { changed: true, rows, undo_copy, notes: Vec::new() })
}

/// What is live of what the copy is of: all of it, or the tables whose rows were kept.
async fn read_live(undo: &Undo<'_>, kept: Option<&[StreamSummary]>) -> Result<Option<Live>, SourceError> {
    let live = undo.job.live_digest().await?;
    Ok(live.map(|live| {
        let mut tables = live.tables;
        if let (Form::Rows, Some(kept)) = (undo.form(), kept) {
            tables.retain(|table| kept.iter().any(|other| other.name == table.name));
        }
        let rows = tables.iter().map(|table| table.rows).sum();
        Live { identity: digest::identity(&tables), rows, is_already_there: false }
    }))
}

fn identity(live: Option<&Live>) -> &str {
    live.map_or(LiveDigest::ABSENT, |live| &live.identity)
}

/// Refuses a copy that is gone, or is not what was live before.
pub(super) fn check_copy(undo: &Undo<'_>, kept: Option<&[StreamSummary]>) -> Result<(), SourceError> {
    match kept {
        None if undo.leads_to_nothing() => Ok(()),
        None => Err(undo.copy_is_gone()),
        Some(_) if undo.leads_to_nothing() => Err(undo.copy_changed("nothing was".to_owned())),
        Some(kept) if digest::identity(kept) == undo.goal() => Ok(()),
        Some(_) => Err(undo.copy_changed("its rows have another digest".to_owned())),
    }
}

/// Proves that the live scope, or the tables whose rows were kept, are what they were before the restore.
///
/// # Errors
/// [`SourceError::Mismatch`] if they are not. An application that writes again makes a difference, too.
pub async fn prove_undo(undo: &Undo<'_>) -> Result<Proof, SourceError> {
    let kept = if undo.form() == Form::Rows { undo.copy().digest().await? } else { None };
    let live = read_live(undo, kept.as_deref()).await?;
    let (rows, live_digest) = (live.as_ref().map_or(0, |live| live.rows), identity(live.as_ref()).to_owned());
    if live_digest == undo.goal() {
        return Ok(Proof { rows, live_digest, notes: Vec::new() });
    }
    let what = "its digest is not that of what was to be put back".to_owned();
    let state = "it is live as described".to_owned();
    Err(SourceError::Mismatch { place: undo.job.live_place(), what, state })
}
