//! A tenant's rows and definitions.

use domain::{
    ErrorCode, ErrorReport, RequestId,
    request::{Findings, Mode},
};
use runtime::services::owner;
use sources::postgres::{
    self, Endpoint, Scope, Tools,
    restore::{self, Job, RestoreId, Undo},
};

use crate::{
    original::Original,
    work::{Carried, Work},
};

/// Says of a restore that stopped that its cutover was past.
pub(crate) const IT_IS_LIVE: &str = "its cutover had been done";

/// What is done with a database.
enum Act<'a> {
    /// The recovery point takes the place of what is live.
    InPlace,
    /// It is put beside it.
    Beside,
    /// What a restore replaced goes back.
    Undo(&'a Original),
    /// What was put beside the live data goes.
    Drop(&'a Original),
}

impl<'a> Act<'a> {
    fn of(work: &'a Work<'_>) -> Result<Self, ErrorReport> {
        match (&work.original, work.request.mode) {
            (Some(original), Mode::InPlace) => match original.mode {
                Mode::InPlace => Ok(Self::Undo(original)),
                Mode::SideBySide => Ok(Self::Drop(original)),
                Mode::NewEnvironment { .. } => Err(not_yet(work)),
            },
            (None, Mode::InPlace) => Ok(Self::InPlace),
            (None, Mode::SideBySide) => Ok(Self::Beside),
            (_, Mode::NewEnvironment { .. }) => Err(not_yet(work)),
            (Some(_), Mode::SideBySide) => {
                let message = format!("request {} takes another back, which is only done in place", work.request.id);
                Err(ErrorReport::new(ErrorCode::RestoreRefused, message))
            }
        }
    }
}

fn not_yet(work: &Work<'_>) -> ErrorReport {
    let message = format!("request {} is of a new environment, which this step does not work on", work.request.id);
    ErrorReport::new(ErrorCode::RestoreRefused, message)
}

/// Where the tenant lives. The recovery point must be of the same place.
async fn target(work: &Work<'_>) -> Result<(Endpoint, Scope), ErrorReport> {
    let (tenant, then) = (&work.tenant, owner(&work.reader));
    if then.as_ref().is_none_or(|then| (&then.database_id, &then.layout) != (&tenant.database_id, &tenant.layout)) {
        let message = format!(
            "tenant {} has moved since recovery point {}: its old place may be somebody else's; choose a later point",
            tenant.id, work.point.id
        );
        return Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
    }
    match &work.recovered {
        Some(environment) => work.services.live_in(work.plan, environment, tenant).await,
        None => work.services.live(work.plan, tenant).await,
    }
}

/// Counts, per table, what a restore would do.
pub(crate) async fn compare(work: &Work<'_>) -> Result<Findings, ErrorReport> {
    let (endpoint, scope) = target(work).await?;
    let tools = work.services.tools();
    let found = match Act::of(work)? {
        Act::InPlace => postgres::compare(&endpoint, &scope, &work.reader, &work.request.selection).await?,
        Act::Beside => restore::compare_beside(&job(work, &endpoint, &tools, &scope)?)?,
        Act::Undo(original) => restore::compare_undo(&undo(job(work, &endpoint, &tools, &scope)?, original)?).await?,
        Act::Drop(original) => {
            restore::compare_drop(&job(work, &endpoint, &tools, &scope)?, &RestoreId::of(original.id.uuid())).await?
        }
    };
    Ok(Findings { tables: found.tables, notes: found.notes, live_digest: found.live_digest })
}

/// Staging, check, cutover, proof.
pub(crate) async fn carry_out(work: &Work<'_>, approved: &str) -> Result<Carried, ErrorReport> {
    let (endpoint, scope) = target(work).await?;
    let tools = work.services.tools();
    let job = job(work, &endpoint, &tools, &scope)?.approved_for(approved);
    let (done, proof) = match Act::of(work)? {
        Act::InPlace => {
            let done = restore::run(&job).await?;
            let proof = restore::prove(&endpoint, &scope, &work.reader, &work.request.selection).await;
            let proof = proof.map_err(|error| live_all_the_same(work.request.id, error.into(), done.undo_copy.as_deref()))?;
            (done, proof)
        }
        Act::Beside => {
            let done = restore::beside(&job).await?;
            (done, restore::prove_beside(&job).await?)
        }
        Act::Undo(original) => {
            let undo = undo(job, original)?;
            let done = restore::undo(&undo).await?;
            let proof = restore::prove_undo(&undo).await;
            let proof = proof.map_err(|error| live_all_the_same(work.request.id, error.into(), done.undo_copy.as_deref()))?;
            (done, proof)
        }
        Act::Drop(original) => {
            let changed = restore::drop_beside(&job, &RestoreId::of(original.id.uuid())).await?;
            return Ok(Carried { changed, rows: 0, not_as_recorded: 0, undo_copy: None, notes: Vec::new() });
        }
    };
    let notes = done.notes.into_iter().chain(proof.notes).collect();
    Ok(Carried { changed: done.changed, rows: proof.rows, not_as_recorded: 0, undo_copy: done.undo_copy, notes })
}

/// What the look from outside found, once the cutover is past: an application that writes again differs, too.
pub(crate) fn live_all_the_same(id: RequestId, report: ErrorReport, undo_copy: Option<&str>) -> ErrorReport {
    let Some(copy) = undo_copy.filter(|_| !report.message.contains(IT_IS_LIVE)) else { return report };
    let message = format!(
        "{}; {IT_IS_LIVE}: what it replaced is kept as {copy}, and `holdfast restore undo {id}` takes it back; if only what the \
         application wrote since differs, nothing need be done",
        report.message
    );
    ErrorReport { message, ..report }
}

fn job<'a>(work: &'a Work<'_>, endpoint: &'a Endpoint, tools: &'a Tools, scope: &'a Scope) -> Result<Job<'a>, ErrorReport> {
    let job = Job::new(endpoint, tools, scope, &RestoreId::of(work.request.id.uuid()), &work.reader)?;
    Ok(job.selecting(&work.request.selection))
}

fn undo<'a>(job: Job<'a>, original: &Original) -> Result<Undo<'a>, ErrorReport> {
    let id = RestoreId::of(original.id.uuid());
    Ok(Undo::new(job, &id, &original.recorded, original.otherwise())?)
}

/// Drops staging that an invocation which was cut off left behind. Gives the name of what was replaced, if it had cut over.
pub(crate) async fn clean_up(work: &Work<'_>) -> Result<Option<String>, ErrorReport> {
    let (endpoint, scope) = target(work).await?;
    let tools = work.services.tools();
    let job = job(work, &endpoint, &tools, &scope)?;
    restore::cleanup(&job).await?;
    Ok(restore::replaced(&job).await?)
}
