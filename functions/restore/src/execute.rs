//! The work: staging, check, cutover, proof.

use catalog::audit::Phase;
use domain::{
    ErrorCode, ErrorReport, RequestId,
    alert::AlertClass,
    point::Kind,
    request::{Outcome, Preview, RequestState, RestoreRequest},
};
use runtime::services::{Said, Services};
use sources::configuration;

use crate::work::Work;

/// Carries out an approved request and proves the result. Running it again changes nothing.
pub(crate) async fn execute(services: &Services, id: RequestId) -> Result<&'static str, ErrorReport> {
    let request = services.catalog.request(id).await?.value;
    if request.state.is_final() {
        return Ok(request.state.name());
    }
    let plan = services.plan().await?;
    let work = Work::open(services, &plan, &request).await?;
    // Uses the approval up. A second delivery of this step carries on; that two do not work at once is the restore lock's to see to.
    let request = services.catalog.advance(id, |request| request.execute(work.content_id(), services.clock.now())).await?.value;
    let RequestState::Executing { preview, started_at, .. } = &request.state else {
        return Err(ErrorReport::new(
            ErrorCode::Fenced,
            format!("restore request {id} is {}; another delivery moved it on", request.state.name()),
        ));
    };
    let what = format!("{id} from {}", request.point);
    services.audit(Phase::Intent, "restore", "restore.execute", request.tenant.as_str(), &what).await?;
    let done = Box::pin(work.carry_out(id, &preview.live_digest)).await;
    let outcome = match &done {
        Ok(done) => format!("{id}: {} {} match, changed {}", done.rows, work.point.kind.unit(), done.changed),
        Err(report) => format!("{id}: {report}"),
    };
    services.audit(Phase::Outcome, "restore", "restore.execute", request.tenant.as_str(), &outcome).await?;
    let done = done?;

    let outcome = Outcome {
        proven_at: services.clock.now(),
        rto_ms: services.ms_since(*started_at),
        rows: done.rows,
        undo_copy: done.undo_copy,
        // What settings were before is kept nowhere else.
        notes: done.notes.into_iter().chain(put_back(preview)).collect(),
    };
    let said = said(&request, work.point.kind, &outcome);
    // Told before it is final: a delivery that finds the request ended tells nobody any more.
    services.all_clear(AlertClass::RestoreAwaitsApproval, &id.to_string()).await?;
    services.raise(&plan, AlertClass::RestoreProven, &id.to_string(), said).await?;
    let request = services.catalog.advance(id, |request| request.prove(outcome)).await?.value;
    Ok(request.state.name())
}

fn said(request: &RestoreRequest, kind: Kind, outcome: &Outcome) -> Said {
    let RestoreRequest { id, tenant, point, .. } = request;
    let kept = match &outcome.undo_copy {
        Some(copy) => format!("the live data equals the recovery point; what it replaced is kept as {copy}"),
        None => "what was restored equals the recovery point; nothing was replaced that needed to be kept".to_owned(),
    };
    let notes = match outcome.notes.len() {
        0 => String::new(),
        some => format!("; {some} notes say what else there is to know, and to do: `holdfast restore watch {id}`"),
    };
    let drop = if outcome.undo_copy.is_some() { "; drop the undo copy when nobody needs it" } else { "" };
    Said {
        summary: format!("tenant {tenant} is restored from recovery point {point}: {} {} match", outcome.rows, kind.unit()),
        meaning: kept + &notes,
        remedy: format!("let the tenant's users in again{drop}"),
    }
}

/// What was put back and what stood there before, in the words that were approved.
fn put_back(preview: &Preview) -> impl Iterator<Item = String> {
    preview.notes.iter().filter(|note| note.starts_with(configuration::PUT_BACK)).cloned()
}
