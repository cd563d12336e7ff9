//! Tenants as last seen in the register, each with its opaque name in the vault.

use domain::{
    TenantId, VaultTenantId,
    error::{Coded, ErrorCode},
    register::Tenant,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, TableError},
};

const PARTITION: &str = "TENANTS";

/// A tenant in the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Its name in the vault, drawn once and never changed.
    pub vault_tenant: VaultTenantId,
    /// The register's row when it was last read.
    #[serde(flatten)]
    pub tenant: Tenant,
    /// When that was.
    pub seen_at: Timestamp,
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
}

impl Coded for TenantError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Unknown { .. } => ErrorCode::UnknownTenant,
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
            let record = TenantRecord { vault_tenant: fresh, tenant: tenant.clone(), seen_at: now };
            return match self.create(record).await {
                Ok(created) => Ok(created.value),
                Err(TableError::Conflict { key }) => match self.get::<TenantRecord>(&key).await? {
                    Some(winner) => Ok(winner.value),
                    None => Err(TableError::Conflict { key }),
                },
                Err(error) => Err(error),
            };
        };
        if known.value.tenant == *tenant {
            return Ok(known.value);
        }
        let changed = TenantRecord { tenant: tenant.clone(), seen_at: now, ..known.value.clone() };
        match self.update(&known, changed.clone()).await {
            // Another invocation read the same register: its row serves as well.
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(changed),
            Err(error) => Err(error),
        }
    }

    /// The tenant with this id.
    ///
    /// # Errors
    /// [`TenantError::Unknown`] if the register never had it.
    pub async fn tenant(&self, id: &TenantId) -> Result<TenantRecord, TenantError> {
        let found = self.get::<TenantRecord>(&tenant_key(id)).await?;
        found.map(|record| record.value).ok_or_else(|| TenantError::Unknown { tenant: id.clone() })
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
