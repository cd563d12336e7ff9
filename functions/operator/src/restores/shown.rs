//! A request in an answer.

use domain::{
    Class, ErrorReport,
    request::{RequestState, RestoreRequest},
};
use runtime::services::Services;
use serde_json::{Value, json};

/// A request as it is recorded, without the token that would let its runbook go on.
pub(super) fn shown(request: &RestoreRequest) -> Value {
    let mut shown = json!({
        "request": request.id,
        "tenant": request.tenant,
        "point": request.point,
        "kind": request.kind,
        "mode": request.mode.name(),
        "reason": request.reason,
        "requested_by": request.requested_by.arn,
        "requested_at": request.requested_at,
        "state": request.state.name(),
    });
    if let domain::request::Mode::NewEnvironment { recovery } = request.mode {
        shown["recovery"] = json!(recovery);
    }
    if !request.selection.is_everything() {
        shown["selection"] = json!(request.selection);
    }
    if let Some(undoes) = request.undoes {
        shown["undoes"] = json!(undoes);
    }
    if let Some(instant) = request.point_in_time {
        shown["point_in_time"] = json!(instant);
    }
    let approvals = request.state.approvals().iter();
    shown["approvals"] = approvals
        .map(|approval| json!({ "by": approval.by.arn, "at": approval.at, "break_glass": approval.break_glass }))
        .collect();
    if let Some(review) = &request.review {
        let done = review.done.as_ref();
        let done = done.map(|done| json!({ "by": done.by.arn, "at": done.at, "finding": done.finding }));
        shown["review"] = json!({ "of": review.of.arn, "demanded_at": review.demanded_at, "due": review.due, "done": done });
    }
    if let Some(preview) = request.state.preview() {
        shown["preview"] = json!(preview);
        shown["preview"]["totals"] = json!(preview.totals());
        shown["preview"]["forecast_in_words"] = json!(preview.forecast.map(|forecast| forecast.in_words()));
    }
    match &request.state {
        RequestState::Proven { outcome, .. } => shown["outcome"] = json!(outcome),
        RequestState::Failed { code, message, .. } => shown["error"] = json!({ "code": code, "message": message }),
        _ => {}
    }
    shown
}

/// The same, with how many people have to agree and how many still have to, if it waits for them.
///
/// # Errors
/// If that cannot be found out; that nobody's agreement would be enough is a part of the answer.
pub(super) async fn shown_with_need(services: &Services, request: &RestoreRequest) -> Result<Value, ErrorReport> {
    let mut shown = shown(request);
    let RequestState::AwaitingApproval { approvals, .. } = &request.state else { return Ok(shown) };
    let needed = services.approvals_needed(&services.plan().await?, request).await;
    add_need(&mut shown, approvals.len(), needed)?;
    Ok(shown)
}

/// Adds how many people have to agree, and how many of them still have to, to what waits for them.
///
/// # Errors
/// If that could not be found out; that nobody's agreement would be enough is a part of the answer.
pub(crate) fn add_need(shown: &mut Value, agreed: usize, needed: Result<u8, ErrorReport>) -> Result<(), ErrorReport> {
    match needed {
        Ok(needed) => {
            shown["approvals_needed"] = json!(needed);
            shown["approvals_missing"] = json!(usize::from(needed).saturating_sub(agreed));
        }
        Err(report) if report.code.class() == Class::Denied => shown["not_to_be_approved"] = json!(report.message),
        Err(report) => return Err(report),
    }
    Ok(())
}
