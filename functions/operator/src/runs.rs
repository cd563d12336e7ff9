//! Work that an operator asks for: backups, and checks of what is stored. Each is a run of the state machine that retries it.

use aws::{Described, Execution};
use catalog::audit::Phase;
use domain::{ErrorCode, ErrorReport, RunId, TenantId, identity::Identity};
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
#[derive(Clone, Copy)]
pub(crate) struct Work {
    function: &'static str,
    act: &'static str,
}

impl Work {
    /// What the state machine is started with.
    fn input(self, item: Value) -> Value {
        json!({ "function": self.function, "item": item })
    }
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
    work @ Work { act, .. }: Work,
    subject: &str,
    item: Value,
) -> Result<RunId, ErrorReport> {
    let machine = services.config.run_machine()?;
    let execution = services.fresh.run_id();
    let name = execution.to_string();
    let detail = format!("{name}: {item}");
    services.audit(Phase::Intent, &caller.arn, act, subject, &detail).await?;
    services.clients.machines().start(machine, &name, &work.input(item)).await?;
    services.audit(Phase::Outcome, &caller.arn, act, subject, &format!("{name}: started")).await?;
    Ok(execution)
}

/// How a run stands that was started for exactly this item.
///
/// The execution's own input says what it is about, because the caller names the run and the policies were asked only about the tenant
/// that the caller named as well.
///
/// # Errors
/// `UnknownRequest` with the message `unknown` if there is no such run, or it is about something else: who may not know of it learns
/// nothing, not even that it is there.
pub(crate) async fn standing(
    services: &Services,
    (execution, unknown): (RunId, String),
    work: Work,
    is_it: impl FnOnce(&Value) -> bool,
) -> Result<Execution, ErrorReport> {
    let machine = services.config.run_machine()?;
    let found = match services.clients.machines().execution(machine, &execution.to_string()).await {
        Err(error) if error.is_not_found() => None,
        found => Some(found?),
    };
    found.and_then(|found| about(found, work, is_it)).ok_or_else(|| ErrorReport::new(ErrorCode::UnknownRequest, unknown))
}

/// How it stands, if it is such work on such an item.
fn about(found: Described, work: Work, is_it: impl FnOnce(&Value) -> bool) -> Option<Execution> {
    let Described { input, stands } = found;
    let is_it = input["function"] == work.function && is_it(&input["item"]);
    is_it.then_some(stands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_only_as_what_it_was_started_for() {
        let item = json!({ "tenant": "acme" });
        let found = |input: Value| Described { input, stands: Execution::Running };
        let is_acme = |item: &Value| item["tenant"] == "acme";
        assert_eq!(about(found(VERIFY.input(item.clone())), VERIFY, is_acme), Some(Execution::Running));
        let others = json!({ "tenant": "borealis" });
        for input in [VERIFY.input(others), EXPORT.input(item), json!({}), json!("acme")] {
            assert_eq!(about(found(input.clone()), VERIFY, is_acme), None, "{input}");
        }
    }
}
