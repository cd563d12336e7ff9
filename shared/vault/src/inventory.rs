//! What of a tenant is stored, and what of it is needed: told from names and signed links, without any right to decrypt.

use std::collections::{BTreeMap, BTreeSet};

use domain::VaultTenantId;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{
    caps,
    defect::Defect,
    error::VaultError,
    layout,
    link::Link,
    sharing,
    store::StoreError,
    vault::Vault,
    versions::{StoredVersion, VersionStore},
};

/// Every stored version of a tenant's objects.
#[derive(Debug, Clone)]
pub struct Inventory {
    tenant: VaultTenantId,
    objects: BTreeMap<String, Vec<StoredVersion>>,
}

impl Inventory {
    /// Whether any version of an object is stored.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.objects.contains_key(key)
    }

    /// Every version of what recovery points were made of, which the sweep deletes once nothing needs it.
    pub fn collected(&self) -> impl Iterator<Item = &StoredVersion> {
        self.objects.iter().filter(|(key, _)| layout::is_collected(key, self.tenant)).flat_map(|(_, versions)| versions)
    }

    /// How many versions the sweep never deletes: links, the tenant's secret and whatever has another name.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.objects.values().map(Vec::len).sum::<usize>() - self.collected().count()
    }

    /// Takes versions of an object off the list, because they were deleted since.
    pub fn forget(&mut self, key: &str, versions: &[String]) {
        if let Some(stored) = self.objects.get_mut(key) {
            stored.retain(|stored| !versions.contains(&stored.version));
            if stored.is_empty() {
                self.objects.remove(key);
            }
        }
    }

    /// The objects that are not needed, the oldest first, each with its versions. Only what this format stores for one or a few recovery
    /// points is among them: links, the tenant's secret and whatever has another name stay.
    #[must_use]
    pub fn garbage(&self, needed: &BTreeSet<String>) -> Vec<(&str, &[StoredVersion])> {
        let collected = |key: &str| layout::is_collected(key, self.tenant) && !needed.contains(key);
        let unneeded = self.objects.iter().filter(|(key, _)| collected(key));
        let mut garbage: Vec<_> = unneeded.map(|(key, versions)| (key.as_str(), versions.as_slice())).collect();
        garbage.sort_by_key(|(_, versions)| versions.iter().map(|version| version.stored_at).max());
        garbage
    }
}

impl Link {
    /// Where the manifest is, without which the recovery point cannot be restored.
    #[must_use]
    pub fn manifest_key(&self) -> String {
        layout::manifest(self.tenant, self.point, self.run)
    }

    /// Every object that the recovery point is made of: manifest, lists, packs and the records of keys, but for the tenant's secret.
    #[must_use]
    pub fn objects(&self) -> BTreeSet<String> {
        let mut objects = sharing::behind(self.tenant, &self.packs);
        objects.insert(layout::content_record(self.tenant, self.run));
        objects.insert(self.manifest_key());
        objects.extend(
            (0..self.lists.len()).map(|list| layout::list(self.tenant, self.run, u32::try_from(list).unwrap_or(u32::MAX))),
        );
        objects
    }
}

impl Vault {
    /// Lists every stored version of a tenant's objects.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn inventory(&self, versions: &dyn VersionStore, tenant: VaultTenantId) -> Result<Inventory, VaultError> {
        let mut objects = BTreeMap::<String, Vec<StoredVersion>>::new();
        for version in versions.versions(&layout::tenant(tenant)).await? {
            objects.entry(version.key.clone()).or_default().push(version);
        }
        Ok(Inventory { tenant, objects })
    }

    /// Hands over every authentic link of a tenant's chain, whatever hides it, but for those at places that are `passed` over.
    ///
    /// # Errors
    /// If there is a place without an authentic link: nobody can say then what is needed.
    pub async fn each_link(
        &self,
        versions: &dyn VersionStore,
        inventory: &Inventory,
        passed: impl Fn(u64) -> bool,
        mut take: impl FnMut(Link),
    ) -> Result<(), VaultError> {
        let tenant = inventory.tenant;
        let places =
            inventory.objects.iter().filter_map(|(key, versions)| Some((layout::sequence_of_link(key, tenant)?, versions)));
        let wanted: Vec<_> = places.filter(|(place, _)| !passed(*place)).collect();
        let key = self.signing().public_key().await?;
        let key = &key;
        let read = wanted.into_iter().map(|(place, stored)| async move {
            let mut links = Vec::new();
            for version in stored {
                let bytes = match versions.get_version(&version.key, &version.version, caps::LINK_BYTES_MAX as u64 + 1).await {
                    Ok(bytes) => bytes,
                    Err(StoreError::Missing { .. }) => continue,
                    Err(error) => return Err(error.into()),
                };
                links.extend(Link::open(&bytes, key, self.id(), tenant, place));
            }
            if links.is_empty() {
                return Err(VaultError::not_authentic(layout::link(tenant, place), Defect::WrongSignature));
            }
            Ok(links)
        });
        let mut read = stream::iter(read.collect::<Vec<_>>()).buffered(caps::REQUESTS_AT_ONCE);
        while let Some(links) = read.try_next().await? {
            links.into_iter().for_each(&mut take);
        }
        Ok(())
    }
}
