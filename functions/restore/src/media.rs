//! A tenant's files.

use aws::MediaPrefix;
use domain::{ErrorCode, ErrorReport, point::Kind, request::Findings, slot::Subject};
use sources::media::restore::{self, Bucket};

use crate::work::{Carried, Work};

/// Where the tenant's files are. The recovery point must be of the same place: its version ids mean nothing anywhere else.
fn target(work: &Work<'_>) -> Result<MediaPrefix, ErrorReport> {
    let Some(media) = &work.plan.media else {
        let message = "the backup plan has no `media`, so there is nowhere to restore files to".to_owned();
        return Err(ErrorReport::new(ErrorCode::PlanInvalid, message));
    };
    let prefix = media.prefix.replace("{tenant}", work.tenant.id.as_str());
    let facts = &work.reader.manifest().facts;
    if facts["bucket"] != media.bucket.as_str() || facts["prefix"] != prefix.as_str() {
        let message = format!(
            "recovery point {} is of the files in {}/{}, and the plan says {}/{prefix}; choose a later point",
            work.point.id,
            facts["bucket"].as_str().unwrap_or_default(),
            facts["prefix"].as_str().unwrap_or_default(),
            media.bucket
        );
        return Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
    }
    Ok(work.services.clients.media(&media.bucket).below(&prefix))
}

/// Counts what a restore would do.
pub(crate) async fn compare(work: &Work<'_>) -> Result<Findings, ErrorReport> {
    restore::compare(&work.reader, &target(work)?).await
}

/// Makes the recorded versions current again, and proves it. Of two deliveries at once, each write is one's only: it is
/// conditional on what was looked at, and the other fails with `Fenced` and goes on when it is delivered again.
pub(crate) async fn carry_out(work: &Work<'_>, approved: &str) -> Result<Carried, ErrorReport> {
    let target = target(work)?;
    let way_back = way_back(work, &target).await?;
    let done = Box::pin(restore::run(&work.reader, &target, approved)).await?;
    let undo_copy = done.changed.then_some(way_back);
    Ok(Carried { changed: done.changed, rows: done.files, not_as_recorded: done.lost, undo_copy, notes: done.notes })
}

/// How to get at what was live before.
async fn way_back(work: &Work<'_>, target: &MediaPrefix) -> Result<String, ErrorReport> {
    let (place, tenant) = (target.place(), &work.tenant.id);
    let newest = work.services.catalog.newest_usable(&Subject::Tenant(tenant.clone()), Kind::Media).await?;
    Ok(match newest.filter(|newest| newest.value.id != work.point.id) {
        Some(newest) => format!(
            "older versions in {place}; `holdfast restore request --tenant {tenant} --point {} --reason …` leads back to the files of {}",
            newest.value.id, newest.value.scheduled_time
        ),
        None => format!("older versions in {place}; no later recovery point leads back to them"),
    })
}
