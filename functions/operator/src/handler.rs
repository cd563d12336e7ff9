//! The operators' door: a Function URL whose callers AWS has authenticated.
//!
//! Who calls comes only from the signed call's context. The body says what is wanted, never who wants it.

use domain::{Class, ErrorCode, ErrorReport, identity::Identity};
use runtime::{Event, Invocation, UrlRequest, reply::json_reply, services::Services};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{
    audit, checks, erasures, holds, links, look, permit, rebuild, recoveries, references, restores, retention_plan, runs, sets,
};

/// Serves one call. Errors become HTTP answers here: for the caller they are answers, for Lambda the call went well.
pub(crate) async fn handle(services: &Services, event: Event, _: &Invocation) -> Result<Value, ErrorReport> {
    let Event::Url(request) = event else {
        return Err(event.refused("operator", "a Function URL request").into());
    };
    Ok(match Box::pin(route(services, &request)).await {
        Ok(body) => json_reply(200, &body),
        Err(report) => {
            tracing::warn!(
                caller = request.caller.user_arn,
                path = request.path,
                error.code = report.code.name(),
                "{}",
                report.message
            );
            json_reply(status_of(report.code), &json!({ "error": { "code": report.code.name(), "message": report.message } }))
        }
    })
}

async fn route(services: &Services, request: &UrlRequest) -> Result<Value, ErrorReport> {
    let caller = Identity {
        arn: request.caller.user_arn.clone(),
        principal: request.caller.user_id.clone(),
        account: request.caller.account_id.clone(),
    };
    if request.method != "POST" {
        let message = format!("{} {} is not served: every call is a POST with a JSON body", request.method, request.path);
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    permit::permit(services, &caller, request).await?;
    match request.path.as_str() {
        "/v1/status" => look::status(services).await,
        "/v1/tenants" => look::tenants(services).await,
        "/v1/points" => look::points(services, body(request)?).await,
        "/v1/sets" => sets::sets(services, body(request)?).await,
        "/v1/coverage" => look::coverage(services).await,
        "/v1/alerts" => look::alerts(services).await,
        "/v1/audit" => audit::audit(services, body(request)?).await,
        "/v1/retention-plan" => retention_plan::retention_plan(services, body(request)?).await,
        "/v1/retention-approve" => retention_plan::approve(services, &caller, body(request)?).await,
        "/v1/run" => runs::run(services, &caller, body(request)?).await,
        "/v1/hold-place" => holds::place(services, &caller, body(request)?).await,
        "/v1/hold-release" => holds::release(services, &caller, body(request)?).await,
        "/v1/hold-list" => holds::list(services, body(request)?).await,
        "/v1/vault-list" => links::list(services, body(request)?).await,
        "/v1/vault-show" => links::show(services, body(request)?).await,
        "/v1/vault-check" => checks::check(services, &caller, body(request)?).await,
        "/v1/vault-check-status" => checks::status(services, body(request)?).await,
        "/v1/references" => references::start(services, &caller, body(request)?).await,
        "/v1/references-status" => references::status(services, body(request)?).await,
        "/v1/catalog-rebuild" => rebuild::start(services, &caller, body(request)?).await,
        "/v1/catalog-rebuild-status" => rebuild::status(services, body(request)?).await,
        "/v1/restore-request" => restores::request(services, &caller, body(request)?).await,
        "/v1/restore-preview" | "/v1/restore-status" => restores::show(services, body(request)?).await,
        "/v1/restore-list" => restores::list(services).await,
        "/v1/restore-approve" => restores::approve(services, &caller, body(request)?).await,
        "/v1/restore-run" => restores::run(services, &caller, body(request)?).await,
        "/v1/restore-review" => restores::review(services, &caller, body(request)?).await,
        "/v1/restore-undo" => restores::undo(services, &caller, body(request)?).await,
        "/v1/erase-request" => erasures::request(services, &caller, body(request)?).await,
        "/v1/erase-show" => erasures::show(services, body(request)?).await,
        "/v1/erase-list" => erasures::list(services).await,
        "/v1/erase-approve" => erasures::approve(services, &caller, body(request)?).await,
        "/v1/erase-run" => erasures::run(services, &caller, body(request)?).await,
        "/v1/erase-cancel" => erasures::cancel(services, &caller, body(request)?).await,
        "/v1/recover-request" => recoveries::request(services, &caller, body(request)?).await,
        "/v1/recover-preview" | "/v1/recover-status" => recoveries::show(services, body(request)?).await,
        "/v1/recover-list" => recoveries::list(services).await,
        "/v1/recover-approve" => recoveries::approve(services, &caller, body(request)?).await,
        "/v1/recover-run" => recoveries::run(services, &caller, body(request)?).await,
        other => Err(permit::unknown(other)),
    }
}

/// What a call says, as its verb reads it.
pub(crate) fn body<T: DeserializeOwned>(request: &UrlRequest) -> Result<T, ErrorReport> {
    let text = if request.body.trim().is_empty() { "{}" } else { &request.body };
    serde_json::from_str(text).map_err(|error| {
        ErrorReport::new(ErrorCode::MalformedEvent, format!("the body of {} is not what it takes: {error}", request.path))
    })
}

fn status_of(code: ErrorCode) -> u16 {
    use ErrorCode::{UnknownHold, UnknownRecoveryPoint, UnknownRequest, UnknownRule, UnknownTenant};
    match (code, code.class()) {
        (UnknownTenant | UnknownRule | UnknownRecoveryPoint | UnknownRequest | UnknownHold, _) => 404,
        (_, Class::Permanent) => 400,
        (_, Class::Denied) => 403,
        (_, Class::Conflict) => 409,
        (_, Class::Throttled) => 429,
        (_, Class::Transient) => 503,
        (_, Class::Integrity) => 500,
    }
}
