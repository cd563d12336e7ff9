//! Making a lost catalog again from the vault: `verify` does it, because it may open manifests.

use aws::Execution;
use domain::{ErrorReport, RunId, VaultTenantId, identity::Identity};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{checks::said, runs};

/// What the audit trail calls it: it is about no one tenant.
const SUBJECT: &str = "catalog";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rebuild {
    /// Whether to tell only what would be recorded.
    #[serde(default)]
    dry_run: bool,
    /// Behind which tenant of the vault to go on, from the answer before.
    after: Option<VaultTenantId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Started {
    execution: RunId,
}

/// Has `verify` record what the catalog lacks.
pub(crate) async fn start(services: &Services, caller: &Identity, asked: Rebuild) -> Result<Value, ErrorReport> {
    let Rebuild { dry_run, after } = asked;
    let item = json!({ "rebuild": { "dry_run": dry_run, "after": after } });
    let execution = runs::start(services, caller, runs::REBUILD, SUBJECT, item).await?;
    Ok(json!({ "execution": execution, "dry_run": dry_run, "after": after }))
}

/// How it stands.
pub(crate) async fn status(services: &Services, Started { execution }: Started) -> Result<Value, ErrorReport> {
    let unknown = format!("there is no run {execution}, or not yet; start one with `holdfast catalog rebuild`");
    let stands = runs::standing(services, (execution, unknown), runs::REBUILD, |item| item["rebuild"].is_object()).await?;
    Ok(match stands {
        Execution::Running => json!({ "execution": execution, "state": "running" }),
        Execution::Succeeded(mut output) => {
            output["execution"] = json!(execution);
            output["state"] = json!("done");
            output
        }
        Execution::Failed { error, cause } => json!({
            "execution": execution, "state": "failed", "error": { "code": error, "message": said(&cause) },
        }),
    })
}
