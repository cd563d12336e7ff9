//! Backups that an operator asks for.

use catalog::audit::Phase;
use domain::{ErrorReport, TenantId, identity::Identity};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    tenant: TenantId,
}

/// Starts an export of one tenant now, as a run of the state machine that retries it.
pub(crate) async fn run(services: &Services, caller: &Identity, asked: Run) -> Result<Value, ErrorReport> {
    services.tenant(&asked.tenant).await?;
    let machine = services.config.run_machine()?;
    // The instant is the manual slot: whoever repeats the execution's input repeats the slot, not the backup.
    let requested_at = services.clock.now();
    let input = json!({ "item": { "tenant": asked.tenant, "requested_at": requested_at } });
    let name = services.fresh.run_id().to_string();
    services.audit(Phase::Intent, &caller.arn, "export.run", asked.tenant.as_str(), &name).await?;
    services.clients.machines().start(machine, &name, &input).await?;
    services.audit(Phase::Outcome, &caller.arn, "export.run", asked.tenant.as_str(), &format!("{name}: started")).await?;
    Ok(json!({ "tenant": asked.tenant, "requested_at": requested_at, "execution": name }))
}
