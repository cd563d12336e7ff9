//! The work: staging, check, cutover, proof.

use catalog::audit::Phase;
use domain::{
    ErrorCode, ErrorReport, RequestId,
    alert::AlertClass,
    point::Kind,
    request::{Outcome, RequestState, RestoreRequest},
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
        Ok(done) => {
            let (rows, unit, others) = (done.rows, work.point.kind.unit(), done.not_as_recorded);
            format!("{id}: {rows} {unit} match, {others} are not as recorded, changed {}", done.changed)
        }
        Err(report) => format!("{id}: {report}"),
    };
    services.audit(Phase::Outcome, "restore", "restore.execute", request.tenant.as_str(), &outcome).await?;
    let done = done?;

    let put_back = put_back(&preview.notes, &done.notes);
    let outcome = Outcome {
        proven_at: services.clock.now(),
        rto_ms: services.ms_since(*started_at),
        rows: done.rows,
        undo_copy: done.undo_copy,
        // What settings were before is kept nowhere else.
        notes: done.notes.into_iter().chain(put_back).collect(),
    };
    let said = said(&request, work.point.kind, &outcome, done.not_as_recorded);
    // Told before it is final: a delivery that finds the request ended tells nobody any more.
    services.all_clear(AlertClass::RestoreAwaitsApproval, &id.to_string()).await?;
    services.raise(&plan, AlertClass::RestoreProven, &id.to_string(), said).await?;
    let request = services.catalog.advance(id, |request| request.prove(outcome)).await?.value;
    Ok(request.state.name())
}

fn said(request: &RestoreRequest, kind: Kind, outcome: &Outcome, not_as_recorded: u64) -> Said {
    let (RestoreRequest { id, tenant, point, .. }, unit) = (request, kind.unit());
    let (others, but) = match not_as_recorded {
        0 => (String::new(), String::new()),
        some => (
            format!(", {some} are not as recorded"),
            format!(", but for {some} {unit} that are not as recorded and are listed in the outcome's notes"),
        ),
    };
    let kept = match &outcome.undo_copy {
        Some(copy) => format!("the live data equals the recovery point{but}; what it replaced is kept as {copy}"),
        None => format!("what was restored equals the recovery point{but}; nothing was replaced that needed to be kept"),
    };
    let notes = match outcome.notes.len() {
        0 => String::new(),
        some => format!("; {some} notes say what else there is to know, and to do: `holdfast restore watch {id}`"),
    };
    let drop = if outcome.undo_copy.is_some() { "; drop the undo copy when nobody needs it" } else { "" };
    Said {
        summary: format!("tenant {tenant} is restored from recovery point {point}: {} {unit} match{others}", outcome.rows),
        meaning: kept + &notes,
        remedy: format!("let the tenant's users in again{drop}"),
    }
}

/// What was put back and what stood there before, in the words that were approved.
fn put_back(approved: &[String], done: &[String]) -> Vec<String> {
    let is_left = |what: &str| done.iter().any(|note| note.strip_prefix(configuration::NOT_PUT_BACK) == Some(what));
    let put_back = |note: &&String| note.strip_prefix(configuration::PUT_BACK).is_some_and(|what| !is_left(what));
    approved.iter().filter(put_back).cloned().collect()
}

#[cfg(test)]
mod tests {
    use domain::{RecoveryPointId, identity::Identity};
    use jiff::Timestamp;

    use super::*;

    fn ended(kind: Kind, undo_copy: Option<&str>, not_as_recorded: u64) -> (String, String) {
        let request = RestoreRequest {
            id: RequestId::from_uuid(Default::default()),
            tenant: "acme".parse().unwrap(),
            point: RecoveryPointId::from_uuid(Default::default()),
            kind,
            reason: "gone".into(),
            requested_by: Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "ana".into(), account: "1".into() },
            requested_at: Timestamp::UNIX_EPOCH,
            state: RequestState::Requested,
        };
        let undo_copy = undo_copy.map(str::to_owned);
        let outcome = Outcome { proven_at: Timestamp::UNIX_EPOCH, rto_ms: 1, rows: 7, undo_copy, notes: vec![] };
        let said = said(&request, kind, &outcome, not_as_recorded);
        (said.summary, said.meaning)
    }

    #[test]
    fn records_that_are_not_as_recorded_are_said_to_be_so() {
        let (summary, meaning) = ended(Kind::Configuration, None, 2);
        assert!(summary.ends_with(": 7 settings match, 2 are not as recorded"), "{summary}");
        let but = "but for 2 settings that are not as recorded and are listed in the outcome's notes";
        assert!(meaning.starts_with(&format!("what was restored equals the recovery point, {but}; ")), "{meaning}");
        let (_, meaning) = ended(Kind::Media, Some("older versions"), 1);
        assert!(meaning.starts_with("the live data equals the recovery point, but for 1 objects that are not"), "{meaning}");

        let (summary, meaning) = ended(Kind::Database, Some("schema x"), 0);
        assert!(summary.ends_with(": 7 rows match"), "{summary}");
        assert_eq!(meaning, "the live data equals the recovery point; what it replaced is kept as schema x");
    }

    #[test]
    fn what_was_approved_and_refused_is_not_told_as_put_back() {
        let notes = |notes: &[&str]| notes.iter().map(|note| (*note).to_owned()).collect::<Vec<_>>();
        let approved = notes(&["by hand: a", "put back: b gets its tag", "put back: c gets its tag", "stays: d"]);
        assert_eq!(put_back(&approved, &notes(&["not put back: c gets its tag"])), ["put back: b gets its tag"]);
    }
}
