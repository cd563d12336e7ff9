//! Going ahead: with what others approved, once more; or alone, where nobody else can be reached in time.
//!
//! Whoever breaks the glass pages everybody first. Only when the topic has taken the page does the request become approved; until then
//! nothing can happen, and if telling fails nothing does.

use catalog::audit::Phase;
use domain::{
    Coded, ErrorCode, ErrorReport, RequestId,
    alert::AlertClass,
    identity::Identity,
    request::{RequestError, RequestState, RestoreRequest},
};
use runtime::services::{Said, Services};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{said, shown::shown_with_need, wake::wake};

/// The body of `restore-run`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Going {
    request: RequestId,
    break_glass: Option<BreakGlass>,
}

/// Why one person goes ahead alone, and with what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakGlass {
    reason: String,
    preview_digest: String,
}

/// Wakes the runbook of an approved request, or approves it as one person alone and then wakes it. Both may be repeated.
pub(crate) async fn run(services: &Services, caller: &Identity, going: Going) -> Result<Value, ErrorReport> {
    let id = going.request;
    let (act, what) = match &going.break_glass {
        Some(why) => ("restore.break_glass", format!("{}: {}", why.preview_digest, said(&why.reason, "a reason")?)),
        None => ("restore.run", String::new()),
    };
    services.audit(Phase::Intent, &caller.arn, act, &id.to_string(), &what).await?;
    let gone = async {
        let request = match &going.break_glass {
            Some(why) => break_glass(services, caller, id, why).await?,
            None => approved(services.catalog.request(id).await?.value)?,
        };
        wake(services, request).await
    };
    let gone = Box::pin(gone).await;
    let outcome =
        gone.as_ref().map_or_else(|report| format!("not done: {report}"), |request| format!("goes on: {}", request.state.name()));
    services.audit(Phase::Outcome, &caller.arn, act, &id.to_string(), &outcome).await?;
    let gone = gone?;
    let mut shown = shown_with_need(services, &gone).await?;
    // Whoever called could not tell it from one that was approved and still sleeps.
    shown["under_way"] = json!(!gone.state.is_final());
    Ok(shown)
}

/// The request, if enough people have agreed to it, whether or not its work has begun.
fn approved(request: RestoreRequest) -> Result<RestoreRequest, ErrorReport> {
    match &request.state {
        RequestState::Approved { .. } | RequestState::Executing { .. } | RequestState::Proven { .. } => Ok(request),
        state => Err(RequestError::WrongState { request: request.id, state: state.name(), step: "carried out" }.into()),
    }
}

/// Lets one person go ahead alone: tried on paper, told to everybody, then recorded.
async fn break_glass(
    services: &Services,
    caller: &Identity,
    id: RequestId,
    why: &BreakGlass,
) -> Result<RestoreRequest, ErrorReport> {
    let asked = services.catalog.request(id).await?.value;
    if is_broken_by(&asked, caller, why) {
        return Ok(asked);
    }
    let now = services.clock.now();
    let step =
        |request: RestoreRequest| request.break_glass(caller.clone(), &why.preview_digest, why.reason.trim().to_owned(), now);
    let broken = step(asked)?;
    page(services, caller, &broken, why).await?;
    match services.catalog.advance(id, step).await {
        Ok(request) => {
            services.all_clear(AlertClass::RestoreAwaitsApproval, &id.to_string()).await?;
            Ok(request.value)
        }
        Err(error) => {
            // Perhaps a repetition of this very call was faster. If not, there is nothing to review.
            let request = services.catalog.request(id).await?.value;
            if is_broken_by(&request, caller, why) {
                return Ok(request);
            }
            if request.broken_by().is_none() && error.code() != ErrorCode::StoreUnavailable {
                services.all_clear(AlertClass::BreakGlass, &id.to_string()).await?;
            }
            Err(error.into())
        }
    }
}

/// Whether this person has gone ahead alone with this preview already.
fn is_broken_by(request: &RestoreRequest, caller: &Identity, why: &BreakGlass) -> bool {
    request.broken_by().is_some_and(|approval| approval.by == *caller && approval.preview_digest == why.preview_digest)
}

/// Pages everybody, and makes sure that the topic took it.
async fn page(services: &Services, caller: &Identity, broken: &RestoreRequest, why: &BreakGlass) -> Result<(), ErrorReport> {
    let id = broken.id.to_string();
    let what = broken.in_words();
    let all = broken.state.preview().map(domain::request::Preview::totals);
    let counts = all.map_or_else(String::new, |all| {
        let unit = broken.kind.unit();
        format!("{} {unit} come back, {} are overwritten, {} are destroyed; ", all.returned, all.overwritten, all.destroyed)
    });
    let due = broken.review.as_ref().map_or_else(String::new, |review| format!(" by {}", review.due));
    let said = Said {
        summary: format!(
            "{} goes ahead alone, without another person's approval: {what}. Why: {}",
            caller.arn,
            why.reason.trim()
        ),
        meaning: format!("{counts}the work begins now; {} asked for it, because: {}", broken.requested_by.arn, broken.reason),
        remedy: format!(
            "follow it with `holdfast restore watch {id}`; another person must look at it{due}: `holdfast restore review {id} --finding …`"
        ),
    };
    let plan = services.plan().await?;
    // An attempt that stopped halfway may have told of somebody else: whoever goes ahead now is named.
    services.all_clear(AlertClass::BreakGlass, &id).await?;
    let told = services.raise(&plan, AlertClass::BreakGlass, &id, said).await;
    if told.is_ok() && services.was_told(AlertClass::BreakGlass, &id).await? {
        return Ok(());
    }
    // It will not happen, so reconcile must not tell of it later.
    services.all_clear(AlertClass::BreakGlass, &id).await?;
    let why = told.err().map_or_else(String::new, |report| format!(": {report}"));
    let message = format!("restore request {id} was not carried out, because nobody could be told of it; try again{why}");
    Err(ErrorReport::new(ErrorCode::StoreUnavailable, message))
}
