//! Whether everything that a recovery point needs is still stored, by name and size: what can be told without any right to decrypt,
//! and without reading anything but its link.

use std::collections::HashMap;

use domain::{RecoveryPointId, VaultTenantId};

use crate::{
    caps,
    check::{CheckReport, damage},
    defect::Defect,
    error::VaultError,
    layout,
    link::{Link, PointRef},
    vault::Vault,
};

/// A tenant's objects with their sizes, by one listing: enough to look for what any number of its recovery points need.
#[derive(Debug, Clone, Default)]
pub struct Stored(HashMap<String, u64>);

impl Stored {
    /// How many bytes they are together.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.values().sum()
    }

    /// Their keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// How many objects there are.
    #[must_use]
    pub fn objects(&self) -> usize {
        self.0.len()
    }

    /// Looks for an object that must have exactly this size.
    fn sized(&self, key: &str, expected: u64) -> Result<(), Defect> {
        self.within(key, expected, expected)
    }

    fn within(&self, key: &str, least: u64, most: u64) -> Result<(), Defect> {
        match self.0.get(key) {
            None => Err(Defect::Missing),
            Some(found) if (least..=most).contains(found) => Ok(()),
            Some(_) => Err(Defect::WrongSize),
        }
    }
}

impl Vault {
    /// Lists what is stored of a tenant.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn stored(&self, tenant: VaultTenantId) -> Result<Stored, VaultError> {
        let listed = self.store().list(&layout::tenant(tenant), None).await?;
        Ok(Stored(listed.into_iter().map(|object| (object.key, object.bytes)).collect()))
    }

    /// Looks for everything that a recovery point needs: its authentic link, and the objects and key records that the link names.
    ///
    /// # Errors
    /// Only if the check itself could not be done.
    pub async fn check_presence(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &PointRef,
        stored: &Stored,
    ) -> Result<CheckReport, VaultError> {
        let mut report = CheckReport::default();
        let entry = point.to_string();
        match self.link(tenant, point, reference).await {
            Ok(link) => {
                report.links = 1;
                for (object, looked) in needed(&link, stored) {
                    if let Err(defect) = looked {
                        report.find(object, Some(&entry), defect);
                    }
                }
            }
            Err(error) => {
                let (object, defect) = damage(error)?;
                report.find(object.unwrap_or_else(|| layout::link(tenant, reference.sequence)), Some(&entry), defect);
            }
        }
        Ok(report)
    }
}

/// Every object that a link names, and whether it is there in its size.
fn needed<'a>(link: &'a Link, stored: &'a Stored) -> impl Iterator<Item = (String, Result<(), Defect>)> + 'a {
    let tenant = link.tenant;
    let manifest = (layout::manifest(tenant, link.point, link.run), link.manifest.stored_bytes);
    let lists = link.lists.iter().zip(0..).map(move |(list, number)| (layout::list(tenant, link.run, number), list.stored_bytes));
    let packs = link.packs.iter().map(move |pack| (layout::pack(tenant, pack.id), pack.stored_bytes));
    let sized = [manifest].into_iter().chain(lists).chain(packs).map(|(key, bytes)| {
        let looked = stored.sized(&key, bytes);
        (key, looked)
    });
    let mut runs: Vec<_> = link.packs.iter().map(|pack| pack.run).chain([link.run]).collect();
    runs.sort_unstable();
    runs.dedup();
    let keys =
        [layout::dedup_record(tenant)].into_iter().chain(runs.into_iter().map(move |run| layout::content_record(tenant, run)));
    // A key record's size is recorded nowhere. An empty one opens nothing.
    let keys = keys.map(|key| {
        let looked = stored.within(&key, 1, caps::KEY_RECORD_BYTES_MAX as u64);
        (key, looked)
    });
    sized.chain(keys)
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
