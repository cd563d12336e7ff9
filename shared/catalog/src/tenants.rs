//! Tenants as last seen in the register, each with its opaque name in the vault, and those that it went by before its record was lost.

use std::collections::BTreeSet;

use domain::{
    ErasureId, ErrorReport, TenantId, VaultTenantId,
    error::{Coded, ErrorCode},
    point::{Content, RecoveryPoint},
    register::Tenant,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    points::{Held, PointError},
    record::{Record, Versioned},
    table::{Key, Order, TableError},
};

const PARTITION: &str = "TENANTS";

/// A tenant in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Its name in the vault, drawn once and changed only by a rebuild of the catalog. What is stored is stored under this one.
    pub vault_tenant: VaultTenantId,
    /// Other names that something of it is stored under, because its record was lost and it was met anew. Nothing new is stored there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub former: BTreeSet<VaultTenantId>,
    /// The register's row when it was last read.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// When that was.
    pub seen_at: Timestamp,
    /// That it was erased: its id stands for what is gone, and nothing is done under it any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erased: Option<Erased>,
}

/// That a tenant was erased.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// By which erasure.
    pub erasure: ErasureId,
    /// When its recovery points began to go.
    pub at: Timestamp,
}

impl TenantRecord {
    /// Every name under which something of it may be stored, its present one first.
    #[must_use]
    pub fn names(&self) -> Vec<VaultTenantId> {
        let former = self.former.iter().copied().filter(|name| *name != self.vault_tenant);
        std::iter::once(self.vault_tenant).chain(former).collect()
    }

    /// Refuses work on a tenant that was erased.
    ///
    /// # Errors
    /// [`TenantError::Erased`].
    pub fn check_not_erased(&self) -> Result<(), TenantError> {
        match &self.erased {
            None => Ok(()),
            Some(Erased { erasure, at }) => {
                Err(TenantError::Erased { tenant: self.tenant.id.clone(), erasure: *erasure, at: *at })
            }
        }
    }
}

/// A tenant that the catalog does not know.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// The table failed.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Not in the register, now or ever.
    #[error("tenant {tenant} is not known: it is not in the tenant register; see `holdfast tenants`")]
    Unknown {
        /// The tenant.
        tenant: TenantId,
    },
    /// A name in the vault that is said to be of two tenants.
    #[error(
        "{name} is tenant {of}'s name in the vault, so nothing under it can be tenant {tenant}'s: a row of the catalog was changed by hand"
    )]
    OthersName {
        /// The tenant.
        tenant: TenantId,
        /// The name.
        name: VaultTenantId,
        /// Whose it is.
        of: TenantId,
    },
    /// Erased for good.
    #[error(
        "tenant {tenant} was erased at {at} by {erasure}, and nothing is done under its id any more: give a customer who came back another id; see `holdfast erase show {erasure}`"
    )]
    Erased {
        /// The tenant.
        tenant: TenantId,
        /// By which erasure.
        erasure: ErasureId,
        /// When.
        at: Timestamp,
    },
}

impl Coded for TenantError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Unknown { .. } => ErrorCode::UnknownTenant,
            Self::OthersName { .. } => ErrorCode::NotAuthentic,
            Self::Erased { .. } => ErrorCode::TenantErased,
        }
    }
}

fn tenant_key(id: &TenantId) -> Key {
    Key { pk: PARTITION.to_owned(), sk: id.to_string() }
}

impl Record for TenantRecord {
    fn key(&self) -> Key {
        tenant_key(&self.tenant.id)
    }
}

impl Catalog {
    /// Records a tenant as the register describes it now. A tenant seen for the first time gets `fresh` as its name in the vault.
    ///
    /// # Errors
    /// If the table fails. Two writers at once agree: the loser reads what the winner wrote.
    pub async fn remember_tenant(
        &self,
        tenant: &Tenant,
        fresh: VaultTenantId,
        now: Timestamp,
    ) -> Result<TenantRecord, TableError> {
        let key = tenant_key(&tenant.id);
        let Some(known) = self.get::<TenantRecord>(&key).await? else {
            let (former, seen_at) = (BTreeSet::new(), now);
            let record = TenantRecord { vault_tenant: fresh, former, tenant: tenant.clone(), seen_at, erased: None };
            return match self.create(record).await {
                Ok(created) => Ok(created.value),
                Err(TableError::Conflict { key }) => match self.get::<TenantRecord>(&key).await? {
                    Some(winner) => Ok(winner.value),
                    None => Err(TableError::Conflict { key }),
                },
                Err(error) => Err(error),
            };
        };
        // What the register says of an erased tenant is not taken in again.
        if known.value.tenant == *tenant || known.value.erased.is_some() {
            return Ok(known.value);
        }
        let changed = TenantRecord { tenant: tenant.clone(), seen_at: now, ..known.value.clone() };
        match self.update(&known, changed.clone()).await {
            // Another invocation read the same register: its row serves as well.
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(changed),
            Err(error) => Err(error),
        }
    }

    /// Records a tenant under the name that it has in the vault, if the catalog does not know it. Gives the record that is there already.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn know_tenant_again(&self, record: TenantRecord) -> Result<Option<Versioned<TenantRecord>>, TableError> {
        let key = record.key();
        match self.create(record).await {
            Ok(_) => Ok(None),
            Err(TableError::Conflict { .. }) => self.get(&key).await,
            Err(error) => Err(error),
        }
    }

    /// Gives a tenant the name back under which its recovery points are, in place of one that was drawn after its record was lost and
    /// under which there are none. That one is a former name from now on: a run may have begun under it, or have left something there.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if somebody wrote the record meanwhile.
    pub async fn rename_tenant(&self, read: &Versioned<TenantRecord>, name: VaultTenantId) -> Result<(), TableError> {
        let mut renamed = TenantRecord { vault_tenant: name, ..read.value.clone() };
        renamed.former.insert(read.value.vault_tenant);
        renamed.former.remove(&name);
        self.update(read, renamed).await.map(|_| ())
    }

    /// Records another name under which something of a tenant is stored. Whether it was not known.
    ///
    /// # Errors
    /// [`TenantError::Unknown`] if the register never had the tenant; [`TenantError::OthersName`] if the name is another's, whose data would
    /// be swept and erased with this one's; a conflict if somebody wrote the record meanwhile.
    pub async fn know_former_name(&self, id: &TenantId, name: VaultTenantId) -> Result<bool, TenantError> {
        let unknown = || TenantError::Unknown { tenant: id.clone() };
        let known = self.get::<TenantRecord>(&tenant_key(id)).await?.ok_or_else(unknown)?;
        if known.value.names().contains(&name) {
            return Ok(false);
        }
        if let Some(other) = self.tenants().await?.into_iter().find(|other| other.names().contains(&name)) {
            return Err(TenantError::OthersName { tenant: id.clone(), name, of: other.tenant.id });
        }
        let mut changed = known.value.clone();
        changed.former.insert(name);
        self.update(&known, changed).await?;
        Ok(true)
    }

    /// Records every other name under which these recovery points of a tenant have their content, or had it. A catalog that was rebuilt
    /// before former names were recorded knows them from nothing else.
    ///
    /// # Errors
    /// As [`Catalog::know_former_name`].
    pub async fn know_names_of(&self, id: &TenantId, points: &[RecoveryPoint]) -> Result<(), TenantError> {
        let of = |point: &RecoveryPoint| match point.last_content() {
            Some(Content::Export { vault_tenant, .. }) => Some(*vault_tenant),
            _ => None,
        };
        let names: BTreeSet<VaultTenantId> = points.iter().filter_map(of).collect();
        for name in names {
            self.know_former_name(id, name).await?;
        }
        Ok(())
    }

    /// The tenant with this id.
    ///
    /// # Errors
    /// [`TenantError::Unknown`] if the register never had it.
    pub async fn tenant(&self, id: &TenantId) -> Result<TenantRecord, TenantError> {
        let found = self.get::<TenantRecord>(&tenant_key(id)).await?;
        found.map(|record| record.value).ok_or_else(|| TenantError::Unknown { tenant: id.clone() })
    }

    /// Remembers that a tenant is erased, and forgets what the register said of it. Whether that changed anything. An erasure that takes
    /// what another one left takes its place.
    ///
    /// # Errors
    /// [`TenantError::Unknown`] if the register never had it.
    pub async fn erase_tenant(&self, id: &TenantId, erased: Erased) -> Result<bool, TenantError> {
        let key = tenant_key(id);
        let unknown = || TenantError::Unknown { tenant: id.clone() };
        let known = self.get::<TenantRecord>(&key).await?.ok_or_else(unknown)?;
        if known.value.erased.as_ref().is_some_and(|before| before.erasure == erased.erasure) {
            return Ok(false);
        }
        let tenant = known.value.tenant.clone().redacted();
        self.update(&known, TenantRecord { tenant, erased: Some(erased), ..known.value.clone() }).await?;
        Ok(true)
    }

    /// Gives a slot up again whose tenant was erased before the run had it: that erasure did not see the run, and stops only those it sees.
    ///
    /// # Errors
    /// [`TenantError::Erased`] if it was.
    pub async fn check_held_not_erased(&self, held: &Held, tenant: &TenantId, now: Timestamp) -> Result<(), TenantError> {
        let Err(erased) = self.tenant(tenant).await?.check_not_erased() else { return Ok(()) };
        let report = ErrorReport::new(erased.code(), erased.to_string());
        match self.fail(held, &report, now).await {
            Err(PointError::Table(error)) if !matches!(error, TableError::Conflict { .. }) => Err(error.into()),
            // Whoever came first stopped it.
            _ => Err(erased),
        }
    }

    /// Every tenant ever seen, by id.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn tenants(&self) -> Result<Vec<TenantRecord>, TableError> {
        let found: Vec<Versioned<TenantRecord>> =
            self.list(PARTITION, "", Order::Ascending, domain::caps::REGISTER_ROWS_MAX).await?;
        Ok(found.into_iter().map(|record| record.value).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{
        point::{Kind, State},
        register::Status,
        slot::{Slot, Subject},
    };

    use super::*;
    use crate::{MemoryTable, Taken};

    fn acme() -> Tenant {
        serde_json::from_value(serde_json::json!({
            "id": "acme", "database_id": "shared", "layout": "schema", "database": "app", "schema": "tenant_acme",
            "criticality": "standard", "time_zone": "Europe/Oslo", "status": "active", "created_at": "2024-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn an_erased_tenant_is_remembered_without_its_particulars_and_the_register_brings_none_back() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let acme = acme();
        let now = Timestamp::UNIX_EPOCH;
        let [first, other] = [1, 2].map(|n| format!("vt_00000000-0000-0000-0000-00000000000{n}").parse().unwrap());
        let [one, two] =
            [1, 2].map(|n| Erased { erasure: format!("er_00000000-0000-7000-8000-00000000000{n}").parse().unwrap(), at: now });
        assert_eq!(catalog.erase_tenant(&acme.id, one.clone()).await.unwrap_err().code(), ErrorCode::UnknownTenant);
        catalog.remember_tenant(&acme, first, now).await.unwrap().check_not_erased().unwrap();
        assert!(catalog.erase_tenant(&acme.id, one.clone()).await.unwrap());
        assert!(!catalog.erase_tenant(&acme.id, one).await.unwrap(), "a second delivery changes nothing");
        assert!(catalog.erase_tenant(&acme.id, two.clone()).await.unwrap(), "what one left is another's to take");
        let known = catalog.remember_tenant(&acme, other, now).await.unwrap();
        assert_eq!((known.vault_tenant, known.tenant.status, &known.erased), (first, Status::Deleted, &Some(two)));
        let text = serde_json::to_string(&known).unwrap();
        assert!(!text.contains("tenant_acme") && !text.contains("Oslo"), "{text}");
        assert_eq!(known.check_not_erased().unwrap_err().code(), ErrorCode::TenantErased);
    }

    #[tokio::test]
    async fn no_name_under_which_something_may_be_stored_is_forgotten() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let mut acme = acme();
        let (id, now) = (acme.id.clone(), Timestamp::UNIX_EPOCH);
        let [drawn, old, older, others] =
            [1, 2, 3, 4].map(|n| format!("vt_00000000-0000-0000-0000-00000000000{n}").parse().unwrap());
        assert_eq!(catalog.know_former_name(&id, old).await.unwrap_err().code(), ErrorCode::UnknownTenant);
        let met = catalog.remember_tenant(&acme, drawn, now).await.unwrap();
        assert_eq!(met.names(), [drawn]);
        assert!(!serde_json::to_string(&met).unwrap().contains("former"), "who has one name is recorded as ever");
        assert!(!catalog.know_former_name(&id, drawn).await.unwrap());
        assert!(catalog.know_former_name(&id, older).await.unwrap());
        assert!(!catalog.know_former_name(&id, older).await.unwrap(), "a second time changes nothing");
        let borealis = Tenant { id: "borealis".parse().unwrap(), ..acme.clone() };
        catalog.remember_tenant(&borealis, others, now).await.unwrap();
        for (tenant, name) in [(&id, others), (&borealis.id, older)] {
            assert_eq!(catalog.know_former_name(tenant, name).await.unwrap_err().code(), ErrorCode::NotAuthentic);
        }

        let key = tenant_key(&id);
        catalog.rename_tenant(&catalog.get(&key).await.unwrap().unwrap(), old).await.unwrap();
        assert_eq!(
            catalog.tenant(&id).await.unwrap().names(),
            [old, drawn, older],
            "a run may have begun under the one it loses"
        );
        catalog.rename_tenant(&catalog.get(&key).await.unwrap().unwrap(), older).await.unwrap();
        acme.criticality = "critical".into();
        assert_eq!(catalog.remember_tenant(&acme, drawn, now).await.unwrap().names(), [older, drawn, old]);
        let erased = Erased { erasure: "er_00000000-0000-7000-8000-000000000001".parse().unwrap(), at: now };
        assert!(catalog.erase_tenant(&id, erased).await.unwrap());
        assert_eq!(catalog.tenant(&id).await.unwrap().names(), [older, drawn, old]);
    }

    #[tokio::test]
    async fn a_name_that_only_the_recovery_points_know_is_learnt_from_them_whatever_became_of_them() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let (acme, now) = (acme(), Timestamp::UNIX_EPOCH);
        let [present, gone, kept, others] =
            [1, 2, 3, 4].map(|n| format!("vt_00000000-0000-0000-0000-00000000000{n}").parse().unwrap());
        catalog.remember_tenant(&acme, present, now).await.unwrap();
        let slot =
            Slot { rule: "daily".into(), scheduled_time: now, subject: Subject::Tenant(acme.id.clone()), kind: Kind::Database };
        let running = RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), now);
        let under = |vault_tenant| {
            let content = Content::Export {
                vault_tenant,
                sequence: 1,
                link_sha256: "00".into(),
                parent: None,
                rows: 1,
                plaintext_bytes: 1,
                stored_bytes: 1,
                read: None,
            };
            running.clone().publish(content, now).unwrap()
        };
        let swept = under(gone).expire(now).unwrap().sweep(now).unwrap();
        let points = [running.clone(), swept, under(kept), under(present)];
        for _ in 0..2 {
            catalog.know_names_of(&acme.id, &points).await.unwrap();
            assert_eq!(catalog.tenant(&acme.id).await.unwrap().names(), [present, gone, kept]);
        }
        let borealis = Tenant { id: "borealis".parse().unwrap(), ..acme.clone() };
        catalog.remember_tenant(&borealis, others, now).await.unwrap();
        let refused = catalog.know_names_of(&acme.id, &[under(others)]).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::NotAuthentic, "a row that was changed by hand takes nobody else's data along");
    }

    #[tokio::test]
    async fn a_run_that_has_its_slot_only_after_the_erasure_publishes_nothing() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let now = Timestamp::UNIX_EPOCH;
        let acme = acme();
        let name = "vt_00000000-0000-0000-0000-000000000001".parse().unwrap();
        // The run asked before the erasure, and takes its slot after it.
        catalog.remember_tenant(&acme, name, now).await.unwrap().check_not_erased().unwrap();
        let slot =
            Slot { rule: "daily".into(), scheduled_time: now, subject: Subject::Tenant(acme.id.clone()), kind: Kind::Database };
        let taken = catalog.take_slot(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), now).await.unwrap();
        let Taken::Held(held) = taken else { panic!("it is free") };
        catalog.check_held_not_erased(&held, &acme.id, now).await.unwrap();
        let erased = Erased { erasure: "er_00000000-0000-7000-8000-000000000001".parse().unwrap(), at: now };
        catalog.erase_tenant(&acme.id, erased).await.unwrap();
        let refused = catalog.check_held_not_erased(&held, &acme.id, now).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TenantErased);
        let left = catalog.slot(&slot).await.unwrap().unwrap().value;
        assert!(matches!(left.state, State::Failed { ref code, .. } if code == "TenantErased"), "{left:?}");
    }
}
