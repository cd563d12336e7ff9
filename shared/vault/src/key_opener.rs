//! Opens the key records of one tenant, each in the context that its reader expects.

use std::sync::Arc;

use domain::{RunId, VaultId, VaultTenantId};

use crate::{
    caps,
    defect::Defect,
    envelope::SealingKey,
    error::VaultError,
    key_record,
    keys::{KeyContext, KeyService, SecretKey},
    layout,
    store::ObjectStore,
    tenant_secret::TenantSecret,
};

/// Reads key records from a store and has a key service open them.
#[derive(Clone)]
pub(crate) struct KeyOpener {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) keys: Arc<dyn KeyService>,
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
}

impl KeyOpener {
    /// The tenant's secret.
    pub(crate) async fn secret(&self) -> Result<TenantSecret, VaultError> {
        let context = KeyContext::dedup(self.vault.clone(), self.tenant);
        Ok(TenantSecret::new(&self.open(&layout::dedup_record(self.tenant), &context).await?))
    }

    /// A run's content key.
    pub(crate) async fn content(&self, run: RunId) -> Result<SealingKey, VaultError> {
        let context = KeyContext::content(self.vault.clone(), self.tenant, run);
        Ok(SealingKey::content(run, self.open(&layout::content_record(self.tenant, run), &context).await?))
    }

    async fn open(&self, key: &str, context: &KeyContext) -> Result<SecretKey, VaultError> {
        let refuse = |defect| VaultError::not_authentic(key, defect);
        // One byte more than allowed, so that too large an object shows without being taken in whole.
        let stored = self.store.get_range(key, 0, caps::KEY_RECORD_BYTES_MAX as u64 + 1).await?;
        if stored.len() > caps::KEY_RECORD_BYTES_MAX {
            return Err(refuse(Defect::WrongSize));
        }
        let wrapped = key_record::decode(&stored, context).map_err(refuse)?;
        Ok(self.keys.unwrap_key(&wrapped, context).await?)
    }
}
