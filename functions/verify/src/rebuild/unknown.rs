//! Chains of the vault that the catalog has no tenant for: how a lost catalog shows, once the register has been met anew.

use std::collections::BTreeSet;

use catalog::tenants::TenantRecord;
use domain::{ErrorReport, VaultTenantId, alert::AlertClass, plan::Plan};
use runtime::services::{Said, Services, first_few};

/// The one catalog.
const SUBJECT: &str = "catalog";
/// Unknown chains that are looked for; that there are some is enough to tell.
const LOOKED_FOR_MAX: usize = 20;

/// Tells of chains that belong to nobody the catalog knows, or that there are none. How many were found.
pub(crate) async fn tell(services: &Services, plan: &Plan) -> Result<usize, ErrorReport> {
    // The vault first: who is met in between is known by then.
    let stored = services.vault.tenants(None).await?;
    let known: BTreeSet<VaultTenantId> = services.catalog.tenants().await?.iter().flat_map(TenantRecord::names).collect();
    let mut unknown = Vec::new();
    for name in stored.into_iter().filter(|name| !known.contains(name)) {
        // A name that was drawn and never used for a recovery point is nobody's loss.
        if services.vault.has_chain(name).await? {
            unknown.push(name.to_string());
        }
        if unknown.len() == LOOKED_FOR_MAX {
            break;
        }
    }
    if unknown.is_empty() {
        services.all_clear(AlertClass::CatalogLost, SUBJECT).await?;
        return Ok(0);
    }
    let said = Said {
        summary: format!("the vault holds recovery points of tenants that the catalog does not know: {}", first_few(&unknown)),
        meaning:
            "they cannot be restored as long as the catalog does not know them; retention does not judge them, so none is deleted"
                .to_owned(),
        remedy:
            "if the catalog's table was lost, restore it first; then `holdfast catalog rebuild --dry-run` tells what it lacks"
                .to_owned(),
    };
    services.raise(plan, AlertClass::CatalogLost, SUBJECT, said).await?;
    Ok(unknown.len())
}
