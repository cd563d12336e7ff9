//! What runs may share, by the marks of sweeps in the catalog.

use std::collections::BTreeSet;

use async_trait::async_trait;
use catalog::{Catalog, TableError};
use domain::{
    Coded, VaultTenantId,
    sweep::{self, Sharing as May},
};
use jiff::SignedDuration;
use vault::{Sharing, SharingError};

/// How often marks are read again because a sweep changed one that was to be removed.
const ATTEMPTS_MAX: usize = 20;

/// [`Sharing`] over the catalog. The asking run is registered by then: [`Catalog::take_slot_in`].
#[derive(Debug, Clone)]
pub struct Marks {
    catalog: Catalog,
    lock_for: SignedDuration,
}

impl Marks {
    /// Over a catalog, in a vault that locks what is stored for so long.
    #[must_use]
    pub fn of(catalog: Catalog, lock_for: SignedDuration) -> Self {
        Self { catalog, lock_for }
    }

    async fn look(&self, tenant: VaultTenantId, objects: &BTreeSet<String>) -> Result<BTreeSet<String>, TableError> {
        let mut swept = self.catalog.swept(tenant).await?;
        for _ in 0..ATTEMPTS_MAX {
            let (mut refused, mut rescues) = (BTreeSet::new(), Vec::new());
            for object in objects {
                match sweep::sharing(swept.marks.get(object)) {
                    May::Allowed => {}
                    May::AfterRescue(write) => rescues.push((object.clone(), write)),
                    May::Refused => {
                        refused.insert(object.clone());
                    }
                }
            }
            if rescues.is_empty() {
                return Ok(refused);
            }
            let amended = self.catalog.amend_marks(tenant, &rescues).await?;
            if amended.held.iter().all(|held| *held) {
                tracing::info!(objects = rescues.len(), "taken back from the sweep");
                return Ok(refused);
            }
            swept = amended.swept;
        }
        Err(TableError::Conflict { key: catalog::Key { pk: "SWEEP".to_owned(), sk: tenant.to_string() } })
    }
}

#[async_trait]
impl Sharing for Marks {
    async fn refused(&self, tenant: VaultTenantId, objects: &BTreeSet<String>) -> Result<BTreeSet<String>, SharingError> {
        let refused = self.look(tenant, objects).await;
        refused.map_err(|error| SharingError { code: error.code(), source: Box::new(error) })
    }

    fn lock_for(&self) -> SignedDuration {
        self.lock_for
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catalog::MemoryTable;
    use domain::sweep::{Act, Mark, Phase, Sweep};

    use super::*;

    #[tokio::test]
    async fn a_run_takes_back_what_is_condemned_and_leaves_what_is_being_deleted() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let tenant: VaultTenantId = "vt_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let sweep = Sweep { phase: Phase::Judging, ..Sweep::begin(catalog.epoch(tenant).await.unwrap()) };
        let condemned = ["a", "b"].map(|key| (key.to_owned(), sweep.condemn(vec!["v".to_owned()])));
        let marks = catalog.amend_marks(tenant, &condemned).await.unwrap().swept.marks;
        let Some(Act::Write(take)) = sweep.judge(&marks["b"], false) else { panic!("a write") };
        catalog.amend_marks(tenant, &[("b".to_owned(), take)]).await.unwrap();

        let run = Marks::of(catalog.clone(), SignedDuration::from_hours(24));
        let asked = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(run.refused(tenant, &asked).await.unwrap(), ["b".to_owned()].into());
        let marks = catalog.swept(tenant).await.unwrap().marks;
        assert!(matches!(marks.get("b"), Some(Mark::Sweeping { .. })) && marks.len() == 1, "{marks:?}");
    }
}
