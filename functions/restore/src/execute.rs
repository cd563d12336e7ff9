//! The work: staging, check, cutover, proof.

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, RequestId,
    alert::AlertClass,
    plan::Plan,
    point::{Kind, RecoveryPoint, State},
    request::{Mode, Outcome, RequestState, RestoreRequest},
};
use jiff::Timestamp;
use runtime::services::{Said, Services};
use sources::configuration;

use crate::{
    audited::audited,
    work::{Carried, Work},
};

/// Carries out an approved request and proves the result. Running it again changes nothing.
pub(crate) async fn execute(services: &Services, id: RequestId) -> Result<&'static str, ErrorReport> {
    let asked = services.catalog.request(id).await?.value;
    if asked.state.is_final() {
        return Ok(asked.state.name());
    }
    let worked = Box::pin(work(services, &asked));
    let worked = audited(services, "restore.execute", &asked, worked, |Worked { done, request, .. }| {
        let (rows, unit, others) = (done.rows, request.kind.unit(), done.not_as_recorded);
        format!("{rows} {unit} match, {others} are not as recorded, changed {}", done.changed)
    });
    let Worked { plan, request, done } = worked.await?;
    let RequestState::Executing { preview, started_at, .. } = &request.state else {
        return Err(moved_on(&request));
    };

    let put_back = put_back(&preview.notes, &done.notes);
    let (before, not_kept) = kept_before(services, &request, *started_at).await?;
    let outcome = Outcome {
        proven_at: services.clock.now(),
        rto_ms: services.ms_since(*started_at),
        rows: done.rows,
        undo_copy: done.undo_copy,
        before,
        // What settings were before is kept nowhere else.
        notes: done.notes.into_iter().chain(put_back).chain(not_kept).collect(),
    };
    let said = said(&request, request.kind, &outcome, done.not_as_recorded);
    // Told before it is final: a delivery that finds the request ended tells nobody any more.
    services.all_clear(AlertClass::RestoreAwaitsApproval, &id.to_string()).await?;
    services.raise_once(&plan, AlertClass::RestoreProven, &id.to_string(), said).await?;
    let request = services.catalog.advance(id, |request| request.prove(outcome)).await?.value;
    Ok(request.state.name())
}

/// The recovery point of the state before, which the state machine had made; otherwise a note that there is none.
async fn kept_before(
    services: &Services,
    request: &RestoreRequest,
    started_at: Timestamp,
) -> Result<(Option<RecoveryPointId>, Option<String>), ErrorReport> {
    let Some(slot) = services.slot_before(request).await? else { return Ok((None, None)) };
    match services.catalog.slot(&slot).await? {
        Some(found) if is_of_before(&found.value, started_at) => Ok((Some(found.value.id), None)),
        _ => Ok((
            None,
            Some("no recovery point could be made of the state before in time; the export function's log says why".to_owned()),
        )),
    }
}

/// Whether a recovery point may be restored, and what it holds was read before the work began.
fn is_of_before(point: &RecoveryPoint, started_at: Timestamp) -> bool {
    // What was published by then was read by then, whatever the database server's clock says.
    let is_published = matches!(&point.state, State::Available { at, .. } if *at <= started_at);
    point.is_usable() && (is_published || point.span().is_some_and(|span| span.until <= started_at))
}

/// Work that was done, and found to be right.
struct Worked {
    plan: Plan,
    request: RestoreRequest,
    done: Carried,
}

/// Checks once more whether it may be done, and does it.
async fn work(services: &Services, asked: &RestoreRequest) -> Result<Worked, ErrorReport> {
    let plan = services.plan().await?;
    let work = Work::open(services, &plan, asked).await?;
    let needed = services.still_permitted(&plan, asked, &work.tenant).await?;
    check_told(services, asked).await?;
    // Uses the approval up. A second delivery of this step carries on; that two do not work at once is the restore lock's to see to.
    let advanced =
        services.catalog.advance(asked.id, |request| request.execute(work.content_id(), needed, services.clock.now())).await?;
    let request = advanced.value;
    let RequestState::Executing { preview, .. } = &request.state else {
        return Err(moved_on(&request));
    };
    tell_begun(services, &plan, &request).await;
    let done = Box::pin(work.carry_out(&preview.live_digest)).await?;
    drop(work);
    Ok(Worked { plan, request, done })
}

/// Page before act: what one person does alone is done only if everybody was told of it, and another person must look at it.
///
/// The operator function tells first and records then. A record of which nobody was told did not come from there.
async fn check_told(services: &Services, request: &RestoreRequest) -> Result<(), ErrorReport> {
    let Some(alone) = request.broken_by() else { return Ok(()) };
    let demanded = request.review.as_ref().is_some_and(|review| review.of == alone.by);
    if demanded && services.was_told(AlertClass::BreakGlass, &request.id.to_string()).await? {
        return Ok(());
    }
    let message = format!(
        "restore request {} says that {} carries it out alone, but nobody was told of that, or no review is demanded of it: \
         find out who changed its record, and make a new request",
        request.id, alone.by.arn
    );
    Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message))
}

/// Tells that the work begins, once. What cannot be told now is told by reconcile; those who must be asked have been.
async fn tell_begun(services: &Services, plan: &Plan, request: &RestoreRequest) {
    let id = request.id.to_string();
    let told = async {
        services.all_clear(AlertClass::RestoreAwaitsApproval, &id).await?;
        services.raise_once(plan, AlertClass::RestoreApproved, &id, begun(request)).await
    };
    if let Err(report) = told.await {
        tracing::error!(request.id = id, error.code = report.code.name(), "the beginning could not be told: {}", report.message);
    }
}

fn begun(request: &RestoreRequest) -> Said {
    let by: Vec<&str> = request.state.approvals().iter().map(|approval| approval.by.arn.as_str()).collect();
    let agreed = match request.broken_by() {
        Some(alone) => format!("{} goes ahead alone", alone.by.arn),
        None => format!("{} agreed", by.join(" and ")),
    };
    let changes = match (request.mode, request.kind) {
        (Mode::InPlace, Kind::Database) => "live data changes at the end, in one transaction",
        (Mode::InPlace, _) => "what is live is put right piece by piece",
        (Mode::SideBySide | Mode::NewEnvironment { .. }, _) => "nothing that is live now changes",
    };
    Said {
        summary: format!("the work begins: {}; {} asked, {agreed}", request.in_words(), request.requested_by.arn),
        meaning: format!("why it was asked for: {}; {changes}", request.reason),
        remedy: format!("follow it with `holdfast restore watch {}`", request.id),
    }
}

fn moved_on(request: &RestoreRequest) -> ErrorReport {
    let (id, state) = (request.id, request.state.name());
    ErrorReport::new(ErrorCode::Fenced, format!("restore request {id} is {state}; another delivery moved it on"))
}

fn said(request: &RestoreRequest, kind: Kind, outcome: &Outcome, not_as_recorded: u64) -> Said {
    let (id, unit) = (request.id, kind.unit());
    let (others, but) = match not_as_recorded {
        0 => (String::new(), String::new()),
        some => (
            format!(", {some} are not as recorded"),
            format!(", but for {some} {unit} that are not as recorded and are listed in the outcome's notes"),
        ),
    };
    let is_of_live = (request.mode, request.undoes) == (Mode::InPlace, None);
    let kept = match &outcome.undo_copy {
        Some(copy) if request.undoes.is_some() => {
            format!("the live data is what it was before that restore{but}; what this replaced is kept as {copy}")
        }
        None if request.undoes.is_some() => format!("it is as it was before that restore{but}; nothing else was replaced"),
        Some(copy) if !is_of_live => format!("it stands beside the live data as {copy}, which nothing was changed of"),
        Some(copy) => format!("the live data equals the recovery point{but}; what it replaced is kept as {copy}"),
        None => format!("what was restored equals the recovery point{but}; nothing was replaced that needed to be kept"),
    };
    let notes = match outcome.notes.len() {
        0 => String::new(),
        some => format!("; {some} notes say what else there is to know, and to do: `holdfast restore watch {id}`"),
    };
    let drop = match outcome.undo_copy {
        Some(_) if request.mode == Mode::SideBySide => "; have it dropped with `holdfast restore undo` when nobody needs it",
        Some(_) => "; drop the undo copy when nobody needs it",
        None => "",
    };
    let users = if request.mode == Mode::SideBySide { "look at it" } else { "let the tenant's users in again" };
    let review = match &request.review {
        Some(review) if review.is_pending() => {
            format!("; another person must look at it by {}: `holdfast restore review {id} --finding …`", review.due)
        }
        _ => String::new(),
    };
    Said {
        summary: format!(
            "done and proven: {}, asked by {}: {} {unit} match{others}",
            request.in_words(),
            request.requested_by.arn,
            outcome.rows
        ),
        meaning: kept + &notes,
        remedy: format!("{users}{drop}; `holdfast restore watch {id}` shows all of it{review}"),
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
    use domain::{
        RecoveryPointId, RunId, VaultTenantId,
        identity::Identity,
        point::{Content, ReadSpan},
        request::{Findings, Preview},
        slot::{Slot, Subject},
    };

    use super::*;

    fn ended(kind: Kind, undo_copy: Option<&str>, not_as_recorded: u64) -> (String, String) {
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "ana".into(), account: "1".into() };
        let (id, point) = (RequestId::from_uuid(Default::default()), RecoveryPointId::from_uuid(Default::default()));
        let tenant = "acme".parse().unwrap();
        let request = RestoreRequest::new(id, tenant, (point, kind), "gone".into(), ana, Timestamp::UNIX_EPOCH);
        let undo_copy = undo_copy.map(str::to_owned);
        let outcome = Outcome { proven_at: Timestamp::UNIX_EPOCH, rto_ms: 1, rows: 7, undo_copy, before: None, notes: vec![] };
        let said = said(&request, kind, &outcome, not_as_recorded);
        (said.summary, said.meaning)
    }

    #[test]
    fn the_beginning_is_told_with_who_asked_and_who_agreed() {
        let person =
            |name: &str| Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() };
        let at = Timestamp::UNIX_EPOCH;
        let (id, point) = (RequestId::from_uuid(Default::default()), RecoveryPointId::from_uuid(Default::default()));
        let asked = RestoreRequest::new(id, "acme".parse().unwrap(), (point, Kind::Media), "gone".into(), person("ana"), at);
        let found = Findings { tables: vec![], notes: vec![], live_digest: "live".into() };
        let preview = Preview::new(&asked, "sha", found, None, at);
        let digest = preview.digest.clone();
        let waiting = asked.preview(preview).unwrap().await_approval("token".into()).unwrap();
        let approved = waiting.clone().approve(person("ben"), &digest, 2, at).unwrap().approve(person("cem"), &digest, 2, at);
        let said = begun(&approved.unwrap().execute("sha", 2, at).unwrap());
        let agreed = "; arn:aws:iam::1:user/ana asked, arn:aws:iam::1:user/ben and arn:aws:iam::1:user/cem agreed";
        assert!(said.summary.starts_with("the work begins: restore tenant acme in place") && said.summary.ends_with(agreed));
        assert_eq!(said.meaning, "why it was asked for: gone; what is live is put right piece by piece");
        let alone = waiting.break_glass(person("ben"), &digest, "down".into(), at).unwrap();
        let said = begun(&alone.execute("sha", 2, at).unwrap());
        assert!(said.summary.ends_with("arn:aws:iam::1:user/ben goes ahead alone"), "{}", said.summary);
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
    fn only_what_was_read_before_the_work_began_is_the_state_before() {
        let slot = Slot {
            rule: Slot::BEFORE_RESTORE.to_owned(),
            scheduled_time: Timestamp::UNIX_EPOCH,
            subject: Subject::Tenant("acme".parse().unwrap()),
            kind: Kind::Database,
        };
        let at = |second| Timestamp::from_second(second).unwrap();
        let running = RecoveryPoint::begin(&slot, RunId::from_uuid(Default::default()), at(1));
        assert!(!is_of_before(&running, at(9)), "it is not made");
        let read = Some(ReadSpan { from: at(3), until: at(3) });
        let content = Content::Export {
            vault_tenant: VaultTenantId::from_uuid(Default::default()),
            sequence: 1,
            link_sha256: "sha".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read,
        };
        let point = running.publish(content, at(5)).unwrap();
        assert!(is_of_before(&point, at(5)), "published before");
        assert!(is_of_before(&point, at(3)), "published while the work had begun, but read before");
        assert!(!is_of_before(&point, at(2)), "a late delivery read what the restore had changed");
    }

    #[test]
    fn what_was_approved_and_refused_is_not_told_as_put_back() {
        let notes = |notes: &[&str]| notes.iter().map(|note| (*note).to_owned()).collect::<Vec<_>>();
        let approved = notes(&["by hand: a", "put back: b gets its tag", "put back: c gets its tag", "stays: d"]);
        assert_eq!(put_back(&approved, &notes(&["not put back: c gets its tag"])), ["put back: b gets its tag"]);
    }
}
