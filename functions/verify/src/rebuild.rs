//! The catalog made again from the vault, after the table was lost: tenants and recovery points, record by record.
//!
//! Here and not in `reconcile`, because a manifest says whose its data is and which slot it filled, and only `verify` and `restore` may
//! open one. Records are only ever created: what the catalog knows stays as it is, and what differs is told. Proofs and holds are in no
//! vault, so none comes back.

mod chain;
mod found;
mod known;
mod snapshots;
pub(crate) mod unknown;

use std::collections::BTreeMap;

use catalog::{Catalog, audit::Phase};
use domain::{Class, ErrorReport, TenantId, VaultTenantId, plan::Plan};
use jiff::Timestamp;
use runtime::{Invocation, services::Services, trouble::Trouble};
use serde::Deserialize;
use serde_json::{Value, json};
use vault::Vault;

use self::found::Found;

/// What an operator asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    rebuild: Rebuild,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rebuild {
    /// Whether to tell only what would be recorded.
    #[serde(default)]
    dry_run: bool,
    /// Behind which tenant of the vault to go on, from the answer before.
    #[serde(default)]
    after: Option<VaultTenantId>,
}

/// What is lost with the table, whatever the vault holds; only the table's own point-in-time recovery brings it back.
const NOT_IN_THE_VAULT: [&str; 6] =
    ["proofs", "holds", "restore requests and approvals", "restore tests", "alerts", "audit trail"];

/// Goes round the vault until time runs out, and says where to go on.
pub(crate) async fn rebuild(services: &Services, item: Item, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let Rebuild { dry_run, after } = item.rebuild;
    let plan = services.plan().await?;
    let known = services.catalog.tenants().await?.into_iter();
    let names = known.flat_map(|record| record.names().into_iter().map(move |name| (name, record.tenant.id.clone()))).collect();
    let (catalog, vault, now) = (&services.catalog, &services.vault, services.clock.now());
    let mut round = Round { catalog, vault, plan, now, names, dry_run, found: Found::default() };
    let mut trouble = Trouble::default();
    let (mut last, mut goes_on) = (after, false);
    for tenant in services.vault.tenants(after).await? {
        // A chain is followed whole: what was recorded of one that was cut off is found recorded the next time.
        match round.chain(tenant, &invocation.deadline).await {
            Ok(true) => {}
            Ok(false) => {
                goes_on = true;
                break;
            }
            // What a retry can mend is retried: it finds recorded what this round has recorded.
            Err(report) if matches!(report.code.class(), Class::Transient | Class::Throttled) => return Err(report),
            // One tenant's keys may be unusable, or shredded: the others come back.
            Err(report) => {
                round.found.problem(format!("{tenant}: {report}"));
                trouble.note(&format!("the chain of {tenant}"), report);
            }
        }
        last = Some(tenant);
    }
    // Once, at the end.
    if !goes_on && let Err(report) = round.snapshots(services).await {
        round.found.problem(format!("snapshots: {report}"));
        trouble.note("the snapshots", report);
    }
    let Round { found, .. } = round;
    if !dry_run {
        let detail = format!("{} tenants and {} recovery points recorded", found.tenants_recorded, found.points_recorded);
        services.audit(Phase::Outcome, "verify", "catalog.rebuild", "catalog", &detail).await?;
    }
    tracing::info!(
        dry_run,
        tenants = found.tenants_recorded,
        points = found.points_recorded,
        problems = found.problems_count(),
        "catalog rebuilt"
    );
    let failed = trouble.into_result().err().map(|report| json!({ "code": report.code.name(), "message": report.message }));
    let mut answer = json!(found);
    answer["dry_run"] = json!(dry_run);
    answer["failed"] = json!(failed);
    answer["next"] = json!(goes_on.then_some(last).flatten());
    answer["goes_on"] = json!(goes_on);
    answer["not_in_the_vault"] = json!(NOT_IN_THE_VAULT);
    Ok(answer)
}

/// One invocation's round.
struct Round<'a> {
    catalog: &'a Catalog,
    vault: &'a Vault,
    plan: Plan,
    now: Timestamp,
    /// Whose each name in the vault is, as far as the catalog knew at the beginning.
    names: BTreeMap<VaultTenantId, TenantId>,
    dry_run: bool,
    found: Found,
}

#[cfg(test)]
mod tests {
    use runtime::Event;

    use super::*;

    #[test]
    fn an_item_asks_for_all_of_it_unless_it_says_less() {
        let event =
            Event::parse(serde_json::from_str(include_str!("../../../events/item-verify-rebuild.json")).unwrap()).unwrap();
        let Event::Item(item) = event else { panic!("it is no item") };
        let Item { rebuild } = Event::item(item).unwrap();
        assert!(rebuild.dry_run && rebuild.after.is_none());
        let Item { rebuild } = serde_json::from_str(r#"{"rebuild": {}}"#).unwrap();
        assert!(!rebuild.dry_run && rebuild.after.is_none());
    }
}
