//! A tenant's rows and definitions.

use domain::{ErrorCode, ErrorReport, RequestId, request::Findings};
use runtime::services::owner;
use sources::postgres::{
    self, Endpoint, Scope,
    restore::{self, Job, RestoreId},
};

use crate::work::{Carried, Work};

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
    work.services.live(work.plan, tenant).await
}

/// Counts, per table, what a restore would do.
pub(crate) async fn compare(work: &Work<'_>) -> Result<Findings, ErrorReport> {
    let (endpoint, scope) = target(work).await?;
    let found = postgres::compare(&endpoint, &scope, &work.reader).await?;
    Ok(Findings { tables: found.tables, notes: found.notes, live_digest: found.live_digest })
}

/// Staging, check, cutover, proof.
pub(crate) async fn carry_out(work: &Work<'_>, id: RequestId, approved: &str) -> Result<Carried, ErrorReport> {
    let (endpoint, scope) = target(work).await?;
    let (tools, restore_id) = (work.services.tools(), RestoreId::of(id.uuid()));
    let job = Job::new(&endpoint, &tools, &scope, &restore_id, &work.reader)?.approved_for(approved);
    let done = restore::run(&job).await?;
    let proof = restore::prove(&endpoint, &scope, &work.reader).await?;
    let notes = done.notes.into_iter().chain(proof.notes).collect();
    Ok(Carried { changed: done.changed, rows: proof.rows, not_as_recorded: 0, undo_copy: done.undo_copy, notes })
}

/// Drops staging that an invocation which was cut off left behind.
pub(crate) async fn clean_up(work: &Work<'_>, id: RequestId) -> Result<(), ErrorReport> {
    let (endpoint, scope) = target(work).await?;
    let (tools, restore_id) = (work.services.tools(), RestoreId::of(id.uuid()));
    restore::cleanup(&Job::new(&endpoint, &tools, &scope, &restore_id, &work.reader)?).await?;
    Ok(())
}
