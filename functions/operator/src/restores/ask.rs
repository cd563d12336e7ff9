//! Asking for a restore: the request is recorded, its runbook started, and people are told.

use catalog::audit::Phase;
use domain::{Coded, ErrorReport, RequestId, alert::AlertClass, identity::Identity, plan::Plan, request::RestoreRequest};
use runtime::services::{Said, Services};
use serde_json::{Value, json};

use super::{
    said,
    shown::shown,
    wish::{Wish, check_kind},
};
use crate::choose::{Chosen, choose};

/// Records a request and starts its runbook, which previews it and then waits for other people.
pub(crate) async fn request(services: &Services, caller: &Identity, wish: Wish) -> Result<Value, ErrorReport> {
    let reason = said(&wish.reason, "a reason")?.to_owned();
    wish.check_point()?;
    let (mode, selection) = (wish.mode()?, wish.selection()?);
    services.tenant(&wish.tenant).await?.check_not_erased()?;
    let Chosen { point, kind, point_in_time, told } = choose(services, &wish).await?;
    check_kind(kind, mode, &selection)?;
    let (id, now) = (services.fresh.request_id(), services.clock.now());
    let asked = RestoreRequest::new(id, wish.tenant, (point, kind), reason, caller.clone(), now);
    let mut shown = start(services, RestoreRequest { mode, selection, point_in_time, ..asked }, "restore.request").await?;
    shown["chosen"] = told;
    Ok(shown)
}

/// What the runbook needs to know before its first step: whether a recovery point is to be made first, and of what.
fn runbook_input(request: &RestoreRequest) -> Value {
    match request.point_in_time {
        Some(at) => json!({ "request": request.id, "tenant": request.tenant, "point_in_time": at }),
        None => json!({ "request": request.id }),
    }
}

/// Records a request under this act, starts its runbook and tells the subscribers.
pub(super) async fn start(services: &Services, request: RestoreRequest, act: &str) -> Result<Value, ErrorReport> {
    let machine = services.config.restore_machine()?;
    let plan = services.plan().await?;
    // Nobody is made to approve what could not be carried out.
    services.permit_request(&plan, &request).await?;
    let (id, tenant, actor) = (request.id, request.tenant.clone(), request.requested_by.arn.clone());
    let what = format!("{id}: {}: {}", request.in_words(), request.reason);
    services.audit(Phase::Intent, &actor, act, tenant.as_str(), &what).await?;
    let request = services.catalog.create(request).await?.value;
    // Named after the request, so a start that the SDK repeats after a lost reply finds the runbook that is there.
    let started = services.clients.machines().start(machine, &id.to_string(), &runbook_input(&request)).await;
    let started = started.map_err(ErrorReport::from);
    if let Err(report) = &started {
        end_unstarted(services, id, report).await;
    }
    let outcome =
        started.as_ref().map_or_else(|report| format!("{id}: not started: {report}"), |_| format!("{id}: runbook started"));
    services.audit(Phase::Outcome, &actor, act, tenant.as_str(), &outcome).await?;
    started?;
    tell(services, &plan, &request).await;
    Ok(shown(&request))
}

/// Tells the subscribers. What cannot be told now is told by reconcile; the request is made all the same.
async fn tell(services: &Services, plan: &Plan, request: &RestoreRequest) {
    let id = request.id;
    let said = Said {
        summary: format!("{} asks: {}, because: {}", request.requested_by.arn, request.in_words(), request.reason),
        meaning: "nothing has changed; what it would change is being counted, then other people are asked".to_owned(),
        remedy: format!("look at `holdfast restore preview {id}`"),
    };
    if let Err(report) = services.raise(plan, AlertClass::RestoreRequested, &id.to_string(), said).await {
        tracing::error!(request.id = %id, error.code = report.code.name(), "a request could not be told: {}", report.message);
    }
}

/// Ends a request whose runbook did not start, which nothing else would move on. If it did start after all, it finds the request ended.
async fn end_unstarted(services: &Services, id: RequestId, report: &ErrorReport) {
    let ended = services.catalog.advance(id, |request| request.fail(report, services.clock.now())).await;
    if let Err(error) = ended {
        tracing::error!(request.id = %id, error.code = error.code().name(), "a request without a runbook stays open: {error}");
    }
}
