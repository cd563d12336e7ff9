//! Whether a call may be served at all: every verb asks the policies before it does anything.
//!
//! A call about one tenant, or about one request, takes a role over that tenant. One about everything takes a role over everything: a
//! listing is refused, not cut down, so that what is missing from it is never taken for what is not there.

use authorisation::{Act, Action, Asked, Place};
use catalog::audit::Phase;
use domain::{ErasureId, ErrorCode, ErrorReport, TenantId, identity::Identity, plan::Plan, point::Kind, request::RestoreRequest};
use runtime::{UrlRequest, erasing::erasing, permit::about, services::Services};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::handler::body;

/// What a verb is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// Everything.
    Environment,
    /// The tenant that the body names.
    Tenant,
    /// The tenant that the body names, or everything if it names none.
    TenantOrAll,
    /// The tenant of the request that the body names.
    Request,
    /// The tenant of the erasure that the body names.
    Erasure,
}

use Action::{
    ApproveErasure, ApproveRecovery, ApproveRestore, Audit, BreakGlass, Look, PlaceHold, RebuildCatalog, ReleaseHold,
    RequestErasure, RequestRecovery, RequestRestore, ReviewRestore, Run, ShortenRetention,
};

/// What each verb takes. One that is not here is not served.
const VERBS: &[(&str, Action, Over)] = &[
    ("status", Look, Over::Environment),
    ("tenants", Look, Over::Environment),
    ("points", Look, Over::TenantOrAll),
    ("sets", Look, Over::TenantOrAll),
    ("coverage", Look, Over::Environment),
    ("alerts", Look, Over::Environment),
    ("audit", Audit, Over::Environment),
    ("retention-plan", Look, Over::TenantOrAll),
    ("retention-approve", ShortenRetention, Over::Environment),
    ("run", Run, Over::Tenant),
    ("vault-list", Look, Over::TenantOrAll),
    ("vault-show", Look, Over::Tenant),
    ("vault-check", Look, Over::Tenant),
    ("vault-check-status", Look, Over::Tenant),
    ("references", Run, Over::Tenant),
    ("references-status", Look, Over::Tenant),
    ("catalog-rebuild", RebuildCatalog, Over::Environment),
    ("catalog-rebuild-status", Look, Over::Environment),
    ("restore-request", RequestRestore, Over::Tenant),
    ("restore-preview", Look, Over::Request),
    ("restore-status", Look, Over::Request),
    ("restore-list", Look, Over::Environment),
    ("restore-approve", ApproveRestore, Over::Request),
    ("restore-run", RequestRestore, Over::Request),
    ("restore-review", ReviewRestore, Over::Request),
    ("restore-undo", RequestRestore, Over::Request),
    ("erase-request", RequestErasure, Over::Tenant),
    ("erase-show", Look, Over::Erasure),
    ("erase-list", Look, Over::Environment),
    ("erase-approve", ApproveErasure, Over::Erasure),
    ("erase-run", RequestErasure, Over::Erasure),
    ("erase-cancel", RequestErasure, Over::Erasure),
    ("recover-request", RequestRecovery, Over::Environment),
    ("recover-preview", Look, Over::Environment),
    ("recover-status", Look, Over::Environment),
    ("recover-list", Look, Over::Environment),
    // Whose request it is, its own check knows.
    ("recover-approve", ApproveRecovery, Over::Environment),
    ("recover-run", RequestRecovery, Over::Environment),
    ("hold-place", PlaceHold, Over::Tenant),
    ("hold-release", ReleaseHold, Over::Tenant),
    ("hold-list", Look, Over::TenantOrAll),
];

/// The fields by which bodies say what they are about. A field that stands twice is refused, as it is by the bodies themselves. What a
/// field holds is read only for verbs that go by it: others mean something else by the same name.
#[derive(Debug, Default, Deserialize)]
struct About {
    tenant: Option<Value>,
    request: Option<Value>,
    erasure: Option<Value>,
    mode: Option<Value>,
    kind: Option<Value>,
    /// Reading stored data takes a run of `verify`.
    read_data: Option<Value>,
    /// Going ahead alone.
    break_glass: Option<Value>,
}

impl About {
    /// What the verb comes to with such a body.
    fn action(&self, verb: &str, action: Action) -> Action {
        let is_set = |value: &Option<Value>| value.as_ref().is_some_and(|value| *value != Value::Bool(false));
        match verb {
            "restore-run" if is_set(&self.break_glass) => BreakGlass,
            "vault-check" if is_set(&self.read_data) => Run,
            _ => action,
        }
    }

    /// The name of the mode that a request asks for: the field is a name, or the mode's own record.
    fn mode(&self) -> String {
        let name = match &self.mode {
            None | Some(Value::Null) => return "in-place".to_owned(),
            Some(Value::String(name)) => name.clone(),
            Some(Value::Object(record)) => record.keys().next().cloned().unwrap_or_default(),
            Some(other) => other.to_string(),
        };
        name.replace('_', "-")
    }
}

/// Lets a caller's call be served, or refuses it.
///
/// # Errors
/// `NotPermitted`; `MalformedEvent` if there is no such verb or its body does not say what it is about.
pub(crate) async fn permit(services: &Services, caller: &Identity, call: &UrlRequest) -> Result<(), ErrorReport> {
    let verb = call.path.strip_prefix("/v1/").unwrap_or(&call.path);
    let Some((_, action, over)) = VERBS.iter().find(|(name, ..)| *name == verb) else { return Err(unknown(&call.path)) };
    let about: About = body(call)?;
    let action = about.action(verb, *action);
    let plan = services.plan().await?;
    match (over, &about.tenant, &about.request) {
        (Over::Environment, ..) | (Over::TenantOrAll, None, _) => {
            // A request's own person, as far as is known here, is the one who calls; who approves it is somebody else.
            let asked = Asked { own: action != ApproveRecovery, ..Asked::default() };
            services.permit(&plan, caller, &Act { action, environment: &plan.environment, tenant: None, asked }).await
        }
        (Over::Tenant | Over::TenantOrAll, Some(tenant), _) => {
            let (tenant, mode) = (field(call, tenant)?, about.mode());
            let kind = match (&about.kind, action) {
                (Some(kind), RequestRestore) => field(call, kind)?,
                _ => Kind::default(),
            };
            on_tenant(services, &plan, caller, &tenant, action, Asked { mode: &mode, kind, ..Asked::default() }).await
        }
        (Over::Request, _, Some(request)) => {
            let request = services.catalog.request(field(call, request)?).await?.value;
            let permitted = on_request(services, &plan, caller, &request, action).await;
            if let Err(report) = &permitted
                && action != Look
            {
                // The decision is recorded with the tenant; what was tried belongs to the request's story too.
                let (act, id) = (tried(verb, action), request.id.to_string());
                services.audit(Phase::Outcome, &caller.arn, &act, &id, &format!("not done: {report}")).await?;
            }
            permitted
        }
        (Over::Erasure, ..) => match &about.erasure {
            Some(erasure) => on_erasure(services, &plan, caller, field(call, erasure)?, (verb, action)).await,
            None => Err(lacking(call, "erasure")),
        },
        (Over::Tenant, None, _) => Err(lacking(call, "tenant")),
        (Over::Request, _, None) => Err(lacking(call, "request")),
    }
}

async fn on_tenant(
    services: &Services,
    plan: &Plan,
    caller: &Identity,
    tenant: &TenantId,
    action: Action,
    asked: Asked<'_>,
) -> Result<(), ErrorReport> {
    let record = match services.tenant(tenant).await {
        // Of a tenant that nobody knows nothing is known, and only those learn so who hold a role over all.
        Err(report) if report.code == ErrorCode::UnknownTenant => None,
        found => Some(found?.tenant),
    };
    let unknown = Place { tenant, class: "unknown", layout: "unknown" };
    let place = record.as_ref().map_or(unknown, Place::from);
    services.permit(plan, caller, &Act { action, environment: &plan.environment, tenant: Some(place), asked }).await
}

async fn on_request(
    services: &Services,
    plan: &Plan,
    caller: &Identity,
    request: &RestoreRequest,
    action: Action,
) -> Result<(), ErrorReport> {
    let tenant = services.tenant(&request.tenant).await?.tenant;
    services.permit(plan, caller, &about(plan, action, &tenant, request, caller)).await
}

async fn on_erasure(
    services: &Services,
    plan: &Plan,
    caller: &Identity,
    id: ErasureId,
    (verb, action): (&str, Action),
) -> Result<(), ErrorReport> {
    let erasure = services.catalog.erasure(id).await?.value;
    let tenant = services.tenant(&erasure.asked.tenant).await?.tenant;
    let permitted = services.permit(plan, caller, &erasing(plan, action, &tenant, &erasure, caller)).await;
    if let Err(report) = &permitted
        && action != Look
    {
        // As for a restore: what was tried belongs to the erasure's story too.
        services
            .audit(Phase::Outcome, &caller.arn, &tried(verb, action), &id.to_string(), &format!("not done: {report}"))
            .await?;
    }
    permitted
}

/// The act under which a verb would have written to the audit trail, such as `restore.approve`.
fn tried(verb: &str, action: Action) -> String {
    if action == BreakGlass { "restore.break_glass".to_owned() } else { verb.replacen('-', ".", 1) }
}

/// There is no such verb.
pub(crate) fn unknown(path: &str) -> ErrorReport {
    ErrorReport::new(ErrorCode::MalformedEvent, format!("there is no `{path}`; see `holdfast --help` for what there is"))
}

fn field<T: DeserializeOwned>(call: &UrlRequest, value: &Value) -> Result<T, ErrorReport> {
    T::deserialize(value).map_err(|error| {
        ErrorReport::new(ErrorCode::MalformedEvent, format!("the body of {} is not what it takes: {error}", call.path))
    })
}

fn lacking(call: &UrlRequest, field: &str) -> ErrorReport {
    let message = format!("the body of {} is not what it takes: missing field `{field}`", call.path);
    ErrorReport::new(ErrorCode::MalformedEvent, message)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    #[test]
    fn every_verb_that_is_served_is_asked_about() {
        let served: BTreeSet<&str> =
            include_str!("handler.rs").split("\"/v1/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        let asked: BTreeSet<&str> = VERBS.iter().map(|(name, ..)| *name).collect();
        assert_eq!(asked.len(), VERBS.len(), "each is there once");
        assert!(served.len() > 15 && served.is_subset(&asked), "{:?}", served.difference(&asked));
    }

    #[test]
    fn what_a_body_asks_for_decides_what_is_asked() {
        let about = |body: Value| serde_json::from_value::<About>(body).unwrap();
        assert_eq!(about(json!({ "break_glass": true })).action("restore-run", RequestRestore), BreakGlass);
        assert_eq!(about(json!({ "break_glass": "why" })).action("restore-run", RequestRestore), BreakGlass);
        assert_eq!(about(json!({ "break_glass": false })).action("restore-run", RequestRestore), RequestRestore);
        assert_eq!(about(json!({ "read_data": "1/7" })).action("vault-check", Look), Run);
        assert_eq!(about(json!({})).action("vault-check", Look), Look);
        let mode = |mode: Value| about(json!({ "mode": mode })).mode();
        assert_eq!(mode(Value::Null), "in-place");
        assert_eq!(mode(json!("side_by_side")), "side-by-side");
        assert_eq!(mode(json!({ "new_environment": { "recovery": "rc_…" } })), "new-environment");
        let twice = r#"{ "tenant": "acme", "tenant": "borealis" }"#;
        assert!(serde_json::from_str::<About>(twice).is_err(), "the verb's own body would be read as another tenant's");
    }
}
