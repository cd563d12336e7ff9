//! Reconciling a tenant's rows with its media objects: `verify` does it, because it may read the vault.

use aws::Execution;
use domain::{ErrorReport, RunId, TenantId, identity::Identity};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{checks::said, runs};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfTenant {
    tenant: TenantId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Started {
    tenant: TenantId,
    execution: RunId,
}

/// Has `verify` reconcile a tenant.
pub(crate) async fn start(services: &Services, caller: &Identity, asked: OfTenant) -> Result<Value, ErrorReport> {
    let OfTenant { tenant } = asked;
    services.tenant(&tenant).await?;
    let execution = runs::start(services, caller, runs::REFERENCES, tenant.as_str(), item(&tenant)).await?;
    Ok(json!({ "tenant": tenant, "execution": execution }))
}

/// What `verify` is asked for, and by which a run is known again.
fn item(tenant: &TenantId) -> Value {
    json!({ "references": { "tenant": tenant } })
}

/// How it stands. The answer counts; no key of an object is in it.
pub(crate) async fn status(services: &Services, started: Started) -> Result<Value, ErrorReport> {
    let Started { tenant, execution } = started;
    let unknown = format!("there is no run {execution}, or not yet; start one with `holdfast references --tenant {tenant}`");
    let its = item(&tenant);
    let stands = runs::standing(services, (execution, unknown), runs::REFERENCES, |item| *item == its).await?;
    Ok(match stands {
        Execution::Running => json!({ "tenant": tenant, "execution": execution, "state": "running" }),
        Execution::Succeeded(mut output) => {
            output["execution"] = json!(execution);
            output["state"] = json!("reconciled");
            output
        }
        Execution::Failed { error, cause } => json!({
            "tenant": tenant, "execution": execution, "state": "failed", "error": { "code": error, "message": said(&cause) },
        }),
    })
}
