//! What of a tenant is stored, and what of it is needed: one look at the catalog, then at the vault.

use std::collections::{BTreeSet, HashMap};

use catalog::Versioned;
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, TenantId, VaultTenantId, caps,
    point::{Content, Kind, RecoveryPoint, State},
    slot::Subject,
    sweep::{self, Epoch, Named},
};
use vault::Inventory;

use super::Sweeper;

/// A look at one tenant, under one of its names.
pub(crate) struct Survey {
    /// What is stored.
    pub(crate) inventory: Inventory,
    /// The objects that must stay.
    pub(crate) needed: BTreeSet<String>,
    /// The recovery points that were let go, each with the objects that it was made of.
    pub(crate) let_go: Vec<(Versioned<RecoveryPoint>, BTreeSet<String>)>,
    /// The latest epoch that a run was registered in.
    pub(crate) seen: Epoch,
}

impl Sweeper<'_> {
    /// Every record of a tenant's recovery points, with strong consistency.
    pub(super) async fn points(&self, tenant: &TenantId) -> Result<Vec<Versioned<RecoveryPoint>>, ErrorReport> {
        let (subject, mut points) = (Subject::Tenant(tenant.clone()), Vec::new());
        for kind in Kind::EXPORTED {
            let found = self.catalog.points(&subject, Some(kind), caps::POINTS_OF_A_KIND_MAX).await?;
            if found.len() >= caps::POINTS_OF_A_KIND_MAX {
                let message = format!(
                    "there are more than {} records of {}, too many to sweep by",
                    caps::POINTS_OF_A_KIND_MAX,
                    kind.name()
                );
                return Err(ErrorReport::new(ErrorCode::SourceRefused, message));
            }
            points.extend(found);
        }
        Ok(points)
    }

    /// Looks at what a tenant has under one of its names.
    pub(super) async fn survey(&self, tenant: &TenantId, named: Named<'_>) -> Result<Survey, ErrorReport> {
        let (points, vault_tenant) = (self.points(tenant).await?, named.name);
        let by_id: HashMap<RecoveryPointId, &Versioned<RecoveryPoint>> =
            points.iter().map(|point| (point.value.id, point)).collect();
        let over = over(&points, vault_tenant);
        let inventory = self.vault.inventory(self.store, vault_tenant).await?;
        let (mut needed, mut let_go) = (BTreeSet::new(), Vec::new());
        let take = |link: vault::Link| {
            let point = by_id.get(&link.point).copied();
            // A rebuilt catalog knows nothing of what was swept before: without any version of its manifest there is nothing to restore, and
            // the link needs nothing. No run in flight is taken for that. One that is registered after the catalog was read stores its
            // manifest before its link, and a listing by key that shows the link (`chain/`) comes to the manifest (`points/`) later. Only a
            // sweep deletes manifests, of what was let go.
            if point.is_none() && !inventory.has(&link.manifest_key()) {
                return;
            }
            if sweep::is_needed(point.map(|point| &point.value), named, link.sequence, link.run) {
                needed.extend(link.objects());
            } else if let Some(point) = point
                && expired_at(&point.value, vault_tenant) == Some(link.sequence)
            {
                let_go.push((point.clone(), link.objects()));
            }
        };
        self.vault.each_link(self.store, &inventory, |place| over.contains(&place), take).await?;
        // Runs of every name count: it is not recorded under which one a run is.
        let seen = points.iter().map(|point| point.value.epoch).max().unwrap_or_default();
        Ok(Survey { inventory, needed, let_go, seen })
    }
}

/// The places in the chain whose links need not be read any more: nothing is left of their recovery points, and no other record names them.
fn over(points: &[Versioned<RecoveryPoint>], tenant: VaultTenantId) -> BTreeSet<u64> {
    let (mut over, mut others) = (BTreeSet::new(), BTreeSet::new());
    for point in points {
        let Some(Content::Export { vault_tenant, sequence, .. }) = point.value.last_content() else { continue };
        if *vault_tenant != tenant {
            continue;
        }
        let is_swept = matches!(point.value.state, State::Swept { .. });
        if !is_swept || !over.insert(*sequence) {
            others.insert(*sequence);
        }
    }
    over.difference(&others).copied().collect()
}

/// The place of an expired recovery point's link under this name. Under another, the same place may be the same slot's, filled there before.
fn expired_at(point: &RecoveryPoint, name: VaultTenantId) -> Option<u64> {
    match &point.state {
        State::Expired { content: Content::Export { vault_tenant, sequence, .. }, .. } if *vault_tenant == name => {
            Some(*sequence)
        }
        _ => None,
    }
}
