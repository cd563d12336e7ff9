//! Puts rows that were kept back among others': by the same cutover as a restore's, staged from the copy instead of the vault.
//!
//! Whatever a restore of rows refuses, this refuses: drift, keys that others took, rows of others that would dangle, tables that changed,
//! and changes anywhere else. Sequences are not set back.

use vault::{Digester, StreamSummary};

use super::{
    super::{catalog, consistent, copy_out::Placement, facts::DatabaseFacts, readers, session::Session},
    CutOver, Job, Staged, check, cleanup, clear_after, difference, difference_cutover,
    job::Goal,
    lock::RestoreLock,
    undo::{Undo, check_copy},
};
use crate::error::{Phase, SourceError};

/// Stages the kept rows and cuts over. Staging goes again, whatever happens.
pub(super) async fn put_back(undo: &Undo<'_>, lock: &RestoreLock, kept: Vec<StreamSummary>) -> Result<CutOver, SourceError> {
    let done = stage_and_cut_over(undo, lock, kept).await;
    let cleaned = clear_after(&undo.job, lock).await;
    let done = done?;
    cleaned?;
    Ok(done)
}

async fn stage_and_cut_over(undo: &Undo<'_>, lock: &RestoreLock, kept: Vec<StreamSummary>) -> Result<CutOver, SourceError> {
    cleanup::clear(&undo.job).await?;
    let Some(copy) = undo.copy().open(Phase::Restoring).await? else { return Err(undo.copy_is_gone()) };
    let facts = DatabaseFacts { tables: copy.tables, ..catalog::read_facts(&copy.session, undo.job.scope).await? };
    copy.session.close().await;
    let job = Job { facts, goal: Goal::Copy(kept), ..undo.job.clone() };
    let staged = difference::stage_kept(&job, &undo.original.undo).await?;
    check_staged(undo, &job, &staged).await?;
    lock.still_held().await?;
    difference_cutover::cut_over(&job, lock, &staged).await
}

/// Looks at the rows where they are staged: what is put back is what was looked at.
async fn check_staged(undo: &Undo<'_>, job: &Job<'_>, staged: &Staged) -> Result<(), SourceError> {
    let session = Session::open(&staged.endpoint, Phase::Restoring).await?;
    session.batch("starting a consistent view of the staging copy", consistent::BEGIN).await?;
    if job.scope.is_pool() {
        check::refuse_foreign_rows(job, staged, &session, "the copy of what was live before").await?;
    }
    let (at, digester) = (Placement::staged(staged.schema.as_ref()), Digester::against(job.point).await?);
    let found = readers::read_alone(&session, &job.facts.tables, at, &digester).await?;
    session.close().await;
    check_copy(undo, Some(&found))
}
