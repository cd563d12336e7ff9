//! What sweeps have come to, one item for each tenant: its epoch, its marks, and how far a sweep has come.
//!
//! The writes of `domain::sweep` depend on the epoch and on single marks. Both are in the one item, so that whoever has read it can
//! compare all of them at once and write against its generation: that is the protocol's conditional write, and no transaction is needed.
//! Two who write the very same item may both be told that they did: each wants only that it be so, and nobody is kept out by it.

use std::collections::BTreeMap;

use domain::{
    VaultTenantId, caps,
    sweep::{Effect, Epoch, Mark, Sweep, Write},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, TableError},
};

/// How often a write is tried again because somebody else wrote the item: a tenant has few runs and one sweep at a time.
const ATTEMPTS_MAX: usize = 20;

/// The stored versions of one object, all of which go together. There is one, unless somebody who should not has put more.
pub type Versions = Vec<String>;

/// One tenant's epoch and marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swept {
    /// The tenant's name in the vault.
    pub vault_tenant: VaultTenantId,
    /// How often sweeps have moved on.
    pub epoch: Epoch,
    /// A sweep that has not come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// The tick whose sweep was the last to come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Timestamp>,
    /// What is to go, by the object's key in the vault.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub marks: BTreeMap<String, Mark<Versions>>,
}

/// What came of conditional writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amended {
    /// The item after them.
    pub swept: Swept,
    /// Which of them were carried out, in order.
    pub held: Vec<bool>,
}

fn key(tenant: VaultTenantId) -> Key {
    Key { pk: format!("SWEEP#{tenant}"), sk: "state".to_owned() }
}

impl Record for Swept {
    fn key(&self) -> Key {
        key(self.vault_tenant)
    }
}

impl Swept {
    /// A tenant that was never swept.
    #[must_use]
    pub fn never(vault_tenant: VaultTenantId) -> Self {
        Self { vault_tenant, epoch: Epoch::default(), sweep: None, done: None, marks: BTreeMap::new() }
    }

    /// Carries a write out if everything it depends on holds. No write of a sweep or of a sharing run depends on more than this item.
    fn amend(&mut self, object: &str, write: &Write<Versions>) -> bool {
        let mark = self.marks.get(object);
        if !write.when.iter().all(|(_, condition)| condition.holds(self.epoch, mark, false)) {
            return false;
        }
        match &write.then {
            Effect::Epoch(epoch) => self.epoch = *epoch,
            Effect::Mark(None) => {
                self.marks.remove(object);
            }
            Effect::Mark(Some(_)) if mark.is_none() && self.marks.len() >= caps::MARKS_MAX => return false,
            Effect::Mark(Some(mark)) => {
                self.marks.insert(object.to_owned(), mark.clone());
            }
            // Those are written to the recovery point itself, against its generation.
            Effect::Publish | Effect::Fence => return false,
        }
        true
    }
}

impl Catalog {
    /// A tenant's epoch and marks, with strong consistency.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn swept(&self, tenant: VaultTenantId) -> Result<Swept, TableError> {
        Ok(self.found(tenant).await?.map_or_else(|| Swept::never(tenant), |found| found.value))
    }

    /// The epoch that a run is to be registered in. It is read before, and may be old by then.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn epoch(&self, tenant: VaultTenantId) -> Result<Epoch, TableError> {
        Ok(self.swept(tenant).await?.epoch)
    }

    /// Carries out those of the writes, each of an object's mark or of the epoch, whose conditions hold, as one step.
    ///
    /// # Errors
    /// If the table fails, or others keep writing the item.
    pub async fn amend_marks(&self, tenant: VaultTenantId, writes: &[(String, Write<Versions>)]) -> Result<Amended, TableError> {
        let mut held = Vec::new();
        let swept = self
            .change_swept(tenant, |swept| {
                held = writes.iter().map(|(object, write)| swept.amend(object, write)).collect();
            })
            .await?;
        Ok(Amended { swept, held })
    }

    /// Records how far a sweep has come, or that the tick's sweep came to its end.
    ///
    /// # Errors
    /// If the table fails, or others keep writing the item.
    pub async fn record_sweep(
        &self,
        tenant: VaultTenantId,
        sweep: Option<Sweep>,
        done: Option<Timestamp>,
    ) -> Result<Swept, TableError> {
        self.change_swept(tenant, |swept| {
            swept.sweep = sweep;
            swept.done = swept.done.max(done);
        })
        .await
    }

    /// Moves a tenant's epoch on to one that a run was registered in: whatever lost the item, the epoch never goes back.
    ///
    /// # Errors
    /// If the table fails, or others keep writing the item.
    pub async fn catch_up(&self, tenant: VaultTenantId, seen: Epoch) -> Result<Swept, TableError> {
        self.change_swept(tenant, |swept| swept.epoch = swept.epoch.max(seen)).await
    }

    async fn change_swept(&self, tenant: VaultTenantId, mut change: impl FnMut(&mut Swept)) -> Result<Swept, TableError> {
        for _ in 0..ATTEMPTS_MAX {
            let found = self.found(tenant).await?;
            let before = found.as_ref().map_or_else(|| Swept::never(tenant), |found| found.value.clone());
            let mut swept = before.clone();
            change(&mut swept);
            if swept == before {
                return Ok(swept);
            }
            let written = match &found {
                Some(found) => self.update(found, swept).await,
                None => self.create(swept).await,
            };
            match written {
                Ok(written) => return Ok(written.value),
                Err(TableError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Err(TableError::Conflict { key: key(tenant) })
    }

    async fn found(&self, tenant: VaultTenantId) -> Result<Option<Versioned<Swept>>, TableError> {
        self.get(&key(tenant)).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::sweep::{Sharing, sharing};

    use super::*;
    use crate::MemoryTable;

    fn tenant() -> VaultTenantId {
        "vt_00000000-0000-0000-0000-000000000001".parse().unwrap()
    }

    fn catalog() -> Catalog {
        Catalog::new(Arc::new(MemoryTable::default()))
    }

    fn condemn(sweep: &Sweep, object: &str) -> (String, Write<Versions>) {
        (object.to_owned(), sweep.condemn(vec!["v1".to_owned()]))
    }

    #[tokio::test]
    async fn a_sweep_condemns_only_in_its_epoch_and_only_what_bears_no_mark() {
        let catalog = catalog();
        let sweep = Sweep::begin(catalog.epoch(tenant()).await.unwrap());
        let both = [condemn(&sweep, "a"), condemn(&sweep, "b")];
        assert_eq!(catalog.amend_marks(tenant(), &both).await.unwrap().held, [true, true]);
        assert_eq!(catalog.amend_marks(tenant(), &both).await.unwrap().held, [false, false], "both are marked");
        let advanced = catalog.amend_marks(tenant(), &[(String::new(), sweep.advance())]).await.unwrap();
        assert_eq!((advanced.swept.epoch, advanced.held), (Epoch(1), vec![true]));
        assert_eq!(catalog.amend_marks(tenant(), &[(String::new(), sweep.advance())]).await.unwrap().held, [false], "once");
        let late = catalog.amend_marks(tenant(), &[condemn(&sweep, "c")]).await.unwrap();
        assert_eq!((late.held, late.swept.marks.len()), (vec![false], 2), "a sweep that stood still writes no mark");
    }

    #[tokio::test]
    async fn a_run_removes_the_very_mark_it_read() {
        let catalog = catalog();
        let sweep = Sweep::begin(Epoch(0));
        let read = catalog.amend_marks(tenant(), &[condemn(&sweep, "a")]).await.unwrap().swept;
        let Sharing::AfterRescue(rescue) = sharing(read.marks.get("a")) else { panic!("it is condemned") };
        let judging = Sweep { phase: domain::sweep::Phase::Judging, ..sweep };
        let Some(domain::sweep::Act::Write(take)) = judging.judge(&read.marks["a"], false) else { panic!("a write") };
        let both = [("a".to_owned(), take), ("a".to_owned(), rescue)];
        assert_eq!(catalog.amend_marks(tenant(), &both).await.unwrap().held, [true, false], "it is being deleted by then");
    }

    #[tokio::test]
    async fn marks_are_bounded_and_the_item_fits_the_table() {
        let catalog = catalog();
        let sweep = Sweep::begin(Epoch(0));
        let key = |n: usize| format!("v1/t/{}/packs/pk_00000000-0000-0000-0000-{n:012}", tenant());
        let condemned =
            (0..=caps::MARKS_MAX).map(|n| (key(n), sweep.condemn(vec!["3HL4kqtJvjVBH40Nrjfkd.hxZ0VbV7Pa".to_owned()])));
        let amended = catalog.amend_marks(tenant(), &condemned.collect::<Vec<_>>()).await.unwrap();
        assert_eq!(amended.held.iter().filter(|held| !**held).count(), 1);
        let bytes = serde_json::to_vec(&amended.swept).unwrap().len();
        assert!(bytes < 300_000, "{bytes}");
    }

    #[tokio::test]
    async fn the_epoch_never_goes_back() {
        let catalog = catalog();
        assert_eq!(catalog.catch_up(tenant(), Epoch(5)).await.unwrap().epoch, Epoch(5));
        assert_eq!(catalog.catch_up(tenant(), Epoch(3)).await.unwrap().epoch, Epoch(5));
    }

    #[tokio::test]
    async fn the_persisted_form_is_a_promise() {
        let catalog = catalog();
        let sweep = Sweep::begin(Epoch(0));
        catalog.amend_marks(tenant(), &[condemn(&sweep, "v1/t/x/packs/y")]).await.unwrap();
        let swept = catalog.record_sweep(tenant(), Some(sweep), Some("2026-11-23T06:30:00Z".parse().unwrap())).await.unwrap();
        let text = serde_json::to_string(&swept).unwrap();
        assert_eq!(
            text,
            r#"{"vault_tenant":"vt_00000000-0000-0000-0000-000000000001","epoch":0,"sweep":{"epoch":0,"phase":"marking"},"done":"2026-11-23T06:30:00Z","marks":{"v1/t/x/packs/y":{"mark":"condemned","epoch":0,"version":["v1"]}}}"#
        );
        assert_eq!(serde_json::from_str::<Swept>(&text).unwrap(), swept);
    }
}
