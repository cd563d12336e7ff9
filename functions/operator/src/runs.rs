//! Work that an operator asks for: backups, and checks of what is stored. Each is a run of the state machine that retries it.

use catalog::audit::Phase;
use domain::{ErrorReport, RunId, TenantId, identity::Identity};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    tenant: TenantId,
    /// Whether to store everything anew.
    #[serde(default)]
    full: bool,
}

/// A function that does an item, as the state machine calls it, and the act's name in the audit trail.
pub(crate) struct Work {
    function: &'static str,
    act: &'static str,
}

/// Backing a tenant up.
const EXPORT: Work = Work { function: "export", act: "export.run" };
/// Reading what is stored.
pub(crate) const VERIFY: Work = Work { function: "verify", act: "vault.check" };

/// Comparing rows with files.
pub(crate) const REFERENCES: Work = Work { function: "verify", act: "references.reconcile" };

/// Carrying an approved erasure out.
pub(crate) const SHRED: Work = Work { function: "shred", act: "erase.run" };

/// Making the catalog again.
pub(crate) const REBUILD: Work = Work { function: "verify", act: "catalog.rebuild" };

/// Starts an export of one tenant now.
pub(crate) async fn run(services: &Services, caller: &Identity, asked: Run) -> Result<Value, ErrorReport> {
    services.tenant(&asked.tenant).await?.check_not_erased()?;
    // The instant is the manual slot: whoever repeats the execution's input repeats the slot, not the backup.
    let requested_at = services.clock.now();
    let item = json!({ "tenant": asked.tenant, "requested_at": requested_at, "full": asked.full });
    let execution = start(services, caller, EXPORT, asked.tenant.as_str(), item).await?;
    Ok(json!({ "tenant": asked.tenant, "full": asked.full, "requested_at": requested_at, "execution": execution }))
}

/// Starts the work on an item, about this subject; returns the execution's name.
pub(crate) async fn start(
    services: &Services,
    caller: &Identity,
    Work { function, act }: Work,
    subject: &str,
    item: Value,
) -> Result<RunId, ErrorReport> {
    let machine = services.config.run_machine()?;
    let execution = services.fresh.run_id();
    let name = execution.to_string();
    let detail = format!("{name}: {item}");
    services.audit(Phase::Intent, &caller.arn, act, subject, &detail).await?;
    services.clients.machines().start(machine, &name, &json!({ "function": function, "item": item })).await?;
    services.audit(Phase::Outcome, &caller.arn, act, subject, &format!("{name}: started")).await?;
    Ok(execution)
}
