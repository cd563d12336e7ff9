//! Erasures of tenants: asked for by one person, approved by another, carried out by `shred`.
//!
//! What stands against one is asked at each step: whether the tenant is in business, whether something of it is held or in use. The last
//! time is `shred`'s own, when the work is done.

use catalog::{TableError, audit::Phase, erasures::ErasureRecordError};
use domain::{
    ErasureId, ErrorCode, ErrorReport, TenantId,
    alert::AlertClass,
    caps,
    erasure::{Asked, Erasure, ErasureState, Going},
    identity::Identity,
    plan::Plan,
};
use runtime::services::{Said, Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{evidence, look::cut, restores::add_need, runs};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    tenant: TenantId,
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    erasure: ErasureId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    erasure: ErasureId,
    digest: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Second {
    erasure: ErasureId,
    reason: String,
}

/// How often an approval is tried again that another person's came before.
const ATTEMPTS_MAX: u32 = 3;

/// Records a request, with what there is to go. Nothing happens until other people agree.
pub(crate) async fn request(services: &Services, caller: &Identity, wish: Wish) -> Result<Value, ErrorReport> {
    let reason = said(&wish.reason, "an erasure")?;
    let tenant = wish.tenant;
    let asked = Asked {
        id: services.fresh.erasure_id(),
        tenant: tenant.clone(),
        reason,
        requested_by: caller.clone(),
        requested_at: services.clock.now(),
    };
    let what = format!("{}: {}", asked.id, asked.reason);
    services.audit(Phase::Intent, &caller.arn, "erase.request", tenant.as_str(), &what).await?;
    let recorded = Box::pin(record(services, &asked)).await;
    let outcome = recorded.as_ref().map_or_else(
        |report| format!("{}: not recorded: {report}", asked.id),
        |erasure| format!("{}: waits for approval of {}", asked.id, erasure.going.digest),
    );
    services.audit(Phase::Outcome, &caller.arn, "erase.request", tenant.as_str(), &outcome).await?;
    let erasure = recorded?;
    let plan = services.plan().await?;
    tell(services, &plan, &erasure).await;
    shown_with_need(services, &plan, &erasure).await
}

async fn record(services: &Services, asked: &Asked) -> Result<Erasure, ErrorReport> {
    let plan = services.plan().await?;
    let now = services.clock.now();
    if let Some(open) = services.catalog.open_erasures_of(&asked.tenant).await?.iter().find(|open| open.is_open(now)) {
        let message = format!(
            "erasure {} of tenant {} is {} already: see `holdfast erase show {}`, or cancel it first",
            open.asked.id,
            asked.tenant,
            open.state.name(),
            open.asked.id
        );
        return Err(ErrorReport::new(ErrorCode::ErasureRefused, message));
    }
    let going = there_is(services, &plan, asked).await?;
    // Nobody is made to approve what could not be carried out.
    services.erasure_approvals_needed(&plan, asked).await?;
    Ok(services.catalog.create(Erasure::new(asked.clone(), going)).await?.value)
}

/// What there is to go now, if nothing stands against it.
async fn there_is(services: &Services, plan: &Plan, asked: &Asked) -> Result<Going, ErrorReport> {
    let points = services.points_to_erase(&asked.tenant).await?;
    services.check_remembered_gone(&asked.tenant, &points).await?;
    services.check_unused(&asked.tenant, &points).await?;
    services.going(plan, asked, &points)
}

/// Tells the subscribers. What cannot be told now is told by reconcile; the request is made all the same.
async fn tell(services: &Services, plan: &Plan, erasure: &Erasure) {
    let (id, Asked { tenant, reason, requested_by, .. }) = (erasure.asked.id, &erasure.asked);
    let keys = match erasure.going.keys.len() {
        0 => String::new(),
        some => format!(" and {some} KMS keys of its own"),
    };
    let said = Said {
        summary: format!("{} asks to erase tenant {tenant}, because: {reason}", requested_by.arn),
        meaning: format!("nothing has happened; {} recovery points{keys} would go for good", erasure.going.points()),
        remedy: format!("look at `holdfast erase show {id}`; another person then approves it, or somebody cancels it"),
    };
    if let Err(report) = services.raise(plan, AlertClass::ErasureAwaitsApproval, &id.to_string(), said).await {
        tracing::error!(erasure.id = %id, error.code = report.code.name(), "an erasure could not be told: {}", report.message);
    }
}

/// Records another person's agreement and, if it was the last that is needed, has the work begin. Repeating it does so again.
pub(crate) async fn approve(services: &Services, caller: &Identity, agreement: Agreement) -> Result<Value, ErrorReport> {
    let subject = agreement.erasure.to_string();
    services.audit(Phase::Intent, &caller.arn, "erase.approve", &subject, &agreement.digest).await?;
    let plan = services.plan().await?;
    let approved = Box::pin(approve_once(services, &plan, caller, &agreement)).await;
    let outcome = approved.as_ref().map_or_else(|report| format!("not done: {report}"), outcome_of);
    services.audit(Phase::Outcome, &caller.arn, "erase.approve", &subject, &outcome).await?;
    let erasure = approved?;
    let execution = begin(services, caller, &erasure).await?;
    let mut shown = shown_with_need(services, &plan, &erasure).await?;
    shown["execution"] = json!(execution);
    Ok(shown)
}

fn outcome_of(erasure: &Erasure) -> String {
    match &erasure.state {
        ErasureState::Requested { approvals } => format!("agreed; {} so far, more are needed", approvals.len()),
        _ => "approved".to_owned(),
    }
}

async fn approve_once(
    services: &Services,
    plan: &Plan,
    caller: &Identity,
    agreement: &Agreement,
) -> Result<Erasure, ErrorReport> {
    let Agreement { erasure: id, digest } = agreement;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let now = services.clock.now();
        let erasure = services.catalog.erasure(*id).await?.value;
        let is_this = |one: &domain::request::Approval| one.by == *caller && one.preview_digest == *digest;
        if erasure.state.is_open() && erasure.state.approvals().iter().any(is_this) {
            // It is recorded, and only the answer or the start of the work was lost.
            return Ok(erasure);
        }
        // What can be told from the request alone is told first.
        erasure.clone().approve(caller.clone(), digest, &erasure.going, u8::MAX, now)?;
        let there = there_is(services, plan, &erasure.asked).await?;
        let needed = services.erasure_approvals_needed(plan, &erasure.asked).await?;
        match services.catalog.advance_erasure(*id, |erasure| erasure.approve(caller.clone(), digest, &there, needed, now)).await
        {
            Ok(erasure) => return Ok(erasure.value),
            // Somebody agreed at the same moment; theirs counts, and perhaps one more is needed.
            Err(ErasureRecordError::Table(TableError::Conflict { .. })) if attempts < ATTEMPTS_MAX => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Has the work begin, or go on, if enough people have agreed.
async fn begin(services: &Services, caller: &Identity, erasure: &Erasure) -> Result<Option<domain::RunId>, ErrorReport> {
    match erasure.state {
        ErasureState::Approved { .. } | ErasureState::Executing { .. } => {
            let Asked { id, tenant, .. } = &erasure.asked;
            runs::start(services, caller, runs::SHRED, tenant.as_str(), json!({ "erasure": id })).await.map(Some)
        }
        _ => Ok(None),
    }
}

/// Has the work of an approved erasure begin again, after what stopped it was seen to.
pub(crate) async fn run(services: &Services, caller: &Identity, which: Which) -> Result<Value, ErrorReport> {
    let erasure = services.catalog.erasure(which.erasure).await?.value;
    if erasure.state.is_open() && !erasure.is_open(services.clock.now()) {
        let message = format!(
            "erasure {} is {} for too long to go on; cancel it (`holdfast erase cancel`) and ask for another one, which takes what is left",
            which.erasure,
            erasure.state.name()
        );
        return Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message));
    }
    let Some(execution) = begin(services, caller, &erasure).await? else {
        let message = format!("erasure {} is {}, so there is nothing to carry out", which.erasure, erasure.state.name());
        return Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message));
    };
    let mut shown = shown(&erasure);
    shown["execution"] = json!(execution);
    Ok(shown)
}

/// Takes a request back before anything was done, or gives up one whose work has stopped for too long.
pub(crate) async fn cancel(services: &Services, caller: &Identity, asked: Second) -> Result<Value, ErrorReport> {
    let (id, subject) = (asked.erasure, asked.erasure.to_string());
    let because = said(&asked.reason, "the cancellation of an erasure")?;
    services.audit(Phase::Intent, &caller.arn, "erase.cancel", &subject, &because).await?;
    let now = services.clock.now();
    let step = |erasure: Erasure| erasure.cancel(caller.clone(), because, now);
    let cancelled = services.catalog.advance_erasure(id, step).await;
    let outcome = cancelled.as_ref().map_or_else(|error| format!("not done: {error}"), |_| "cancelled".to_owned());
    services.audit(Phase::Outcome, &caller.arn, "erase.cancel", &subject, &outcome).await?;
    let cancelled = cancelled?;
    for class in [AlertClass::ErasureAwaitsApproval, AlertClass::ErasureFailed] {
        services.all_clear(class, &subject).await?;
    }
    Ok(shown(&cancelled.value))
}

/// An erasure as it stands; once it is carried out, with the evidence, looked at now.
pub(crate) async fn show(services: &Services, which: Which) -> Result<Value, ErrorReport> {
    let erasure = services.catalog.erasure(which.erasure).await?.value;
    let mut shown = shown_with_need(services, &services.plan().await?, &erasure).await?;
    if let ErasureState::Expired { done, .. } = &erasure.state {
        let (standing, evidence) = Box::pin(evidence::of(services, &erasure, done)).await?;
        shown["state"] = json!(standing.name());
        shown["digest"] = json!(domain::erasure::evidence_digest(&evidence));
        shown["evidence"] = evidence;
    }
    Ok(shown)
}

/// Erasures: the open ones, the oldest first, then those that ended, the newest first.
pub(crate) async fn list(services: &Services) -> Result<Value, ErrorReport> {
    const MAX: usize = caps::REQUESTS_LISTED_MAX;
    let mut open = services.catalog.erasures(true, MAX + 1).await?;
    let mut ended = services.catalog.erasures(false, MAX + 1).await?;
    let truncated = cut(&mut open, MAX) | cut(&mut ended, MAX);
    let now = services.clock.now();
    let line = |erasure: &Erasure| {
        let mut line = shown(erasure);
        line["lapsed"] = json!(erasure.state.is_open() && !erasure.is_open(now));
        line
    };
    let erasures: Vec<Value> = open.iter().chain(&ended).map(line).collect();
    Ok(json!({ "erasures": erasures, "truncated": truncated }))
}

fn shown(erasure: &Erasure) -> Value {
    let Erasure { asked, going, state } = erasure;
    let approvals: Vec<Value> =
        state.approvals().iter().map(|approval| json!({ "by": approval.by.arn, "at": approval.at })).collect();
    let mut shown = json!({
        "erasure": asked.id,
        "tenant": asked.tenant,
        "reason": asked.reason,
        "requested_by": asked.requested_by.arn,
        "requested_at": asked.requested_at,
        "state": state.name(),
        "approvals": approvals,
        "going": going,
    });
    if let ErasureState::Cancelled { by, at, because } = state {
        shown["cancelled"] = json!({ "by": by.arn, "at": at, "because": because });
    }
    shown
}

/// The same, with how many people have to agree and how many still have to, if it waits for them.
async fn shown_with_need(services: &Services, plan: &Plan, erasure: &Erasure) -> Result<Value, ErrorReport> {
    let mut shown = shown(erasure);
    let ErasureState::Requested { approvals } = &erasure.state else { return Ok(shown) };
    shown["lapsed"] = json!(!erasure.is_open(services.clock.now()));
    add_need(&mut shown, approvals.len(), services.erasure_approvals_needed(plan, &erasure.asked).await)?;
    Ok(shown)
}

fn said(reason: &str, what: &str) -> Result<String, ErrorReport> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > caps::FREE_TEXT_BYTES_MAX {
        let message = format!(
            "{what} needs a reason of 1 to {} bytes, for the people who approve it and for the evidence",
            caps::FREE_TEXT_BYTES_MAX
        );
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    Ok(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn the_audit_trail_says_approved_only_once_enough_have_agreed() {
        let person =
            |name: &str| Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() };
        let at = Timestamp::UNIX_EPOCH;
        let id = "er_00000000-0000-7000-8000-000000000001".parse().unwrap();
        let asked =
            Asked { id, tenant: "acme".parse().unwrap(), reason: "r".into(), requested_by: person("ana"), requested_at: at };
        let going = Going::of(&asked, &[], None);
        let digest = going.digest.clone();
        let once = Erasure::new(asked, going.clone()).approve(person("ben"), &digest, &going, 2, at).unwrap();
        assert_eq!(outcome_of(&once), "agreed; 1 so far, more are needed");
        assert_eq!(outcome_of(&once.approve(person("cem"), &digest, &going, 2, at).unwrap()), "approved");
    }
}
