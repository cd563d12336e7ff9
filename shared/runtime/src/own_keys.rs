//! Which tenants have a KMS key of their own: the plan says so by tenant, the vault asks by opaque name.
//!
//! The opaque names come from the tenants' own records alone. A wrong one would wrap one tenant's keys under another's key, and erasing
//! that one would lose this one.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use aws::Parameters;
use catalog::{Catalog, tenants::TenantError};
use domain::{
    TenantId, VaultTenantId,
    plan::{DedicatedKey, Plan},
};
use vault::{BoxError, KeyChoice};

use crate::config::Config;

/// The tenants' own keys, as the plan that was read last has them.
pub(crate) struct OwnKeys {
    catalog: Catalog,
    parameters: Parameters,
    plan_parameter: String,
    /// Keys of the vault as a whole, which no tenant can have for itself.
    shared: [String; 2],
    keys: Mutex<Option<Vec<DedicatedKey>>>,
}

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnKeys").finish_non_exhaustive()
    }
}

impl OwnKeys {
    pub(crate) fn new(catalog: Catalog, parameters: Parameters, config: &Config) -> Self {
        let shared = [config.vault_key.clone(), config.signing_key.clone()];
        Self { catalog, parameters, plan_parameter: config.plan_parameter.clone(), shared, keys: Mutex::default() }
    }

    /// Goes by this plan from now on.
    pub(crate) fn follow(&self, plan: &Plan) {
        *self.read() = Some(plan.dedicated_keys.clone());
    }

    fn read(&self) -> MutexGuard<'_, Option<Vec<DedicatedKey>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn keys(&self) -> Result<Vec<DedicatedKey>, BoxError> {
        let read = self.read().clone();
        if let Some(keys) = read {
            return Ok(keys);
        }
        let plan = Plan::parse(&self.parameters.value(&self.plan_parameter).await?)?;
        self.follow(&plan);
        Ok(plan.dedicated_keys)
    }

    /// Read anew each time: a rebuilt catalog gives a tenant its old name back, and a run that began under the other one goes on there.
    async fn names(&self, tenant: &TenantId) -> Result<Vec<VaultTenantId>, BoxError> {
        match self.catalog.tenant(tenant).await {
            Ok(record) => Ok(record.names()),
            // In the plan and never in the register: nothing of it was ever stored.
            Err(TenantError::Unknown { .. }) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl KeyChoice for OwnKeys {
    async fn own_key(&self, tenant: VaultTenantId) -> Result<Option<String>, BoxError> {
        for DedicatedKey { tenant: id, key_arn } in self.keys().await? {
            if !self.names(&id).await?.contains(&tenant) {
                continue;
            }
            if self.shared.contains(&key_arn) {
                let message = format!("`dedicated_keys` gives tenant {id} a key of the whole vault's: name one of its own");
                return Err(message.into());
            }
            return Ok(Some(key_arn));
        }
        Ok(None)
    }

    /// After a lost catalog a tenant may have been given another name before its old one was found again: all of them may be asked.
    async fn all(&self) -> Result<Vec<String>, BoxError> {
        Ok(self.keys().await?.into_iter().map(|key| key.key_arn).collect())
    }
}
