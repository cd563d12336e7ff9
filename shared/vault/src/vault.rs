//! The vault itself: opens tenants' secrets, and recovery points for writing, reading and checking.

use std::sync::Arc;

use bytes::Bytes;
use domain::{RecoveryPointId, RunId, VaultId, VaultTenantId};

use crate::{
    caps,
    check::{self, CheckReport},
    chunk::ChunkCodec,
    defect::Defect,
    envelope::{self, ContentKey},
    error::VaultError,
    key_record,
    keys::{KeyContext, KeyService, SecretKey},
    layout,
    manifest::{Manifest, ManifestRef, Owner, sha256},
    random::{Random, SystemRandom},
    reader::PointReader,
    store::{ObjectStore, StoreError},
    tenant_secret::TenantSecret,
    writer::PointWriter,
};

/// One vault: a store, a key service and a name that goes into every context. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn ObjectStore>,
    keys: Arc<dyn KeyService>,
    id: VaultId,
    random: Arc<dyn Random>,
}

impl Vault {
    /// A vault over a store and a key service.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, keys: Arc<dyn KeyService>, id: VaultId) -> Self {
        Self { store, keys, id, random: Arc::new(SystemRandom) }
    }

    /// The vault's name.
    #[must_use]
    pub fn id(&self) -> &VaultId {
        &self.id
    }

    /// The tenant's stable secret, made on first use. Of two who make it at once, the loser takes the winner's.
    ///
    /// # Errors
    /// If the secret's record can neither be read nor made, or is not this tenant's.
    pub async fn tenant_secret(&self, tenant: VaultTenantId) -> Result<TenantSecret, VaultError> {
        match self.existing_tenant_secret(tenant).await {
            Err(VaultError::Store(StoreError::Missing { .. })) => {}
            found_or_failed => return found_or_failed,
        }
        let context = KeyContext::dedup(self.id.clone(), tenant);
        let key = self.keys.generate(&context).await?;
        let record = Bytes::from(key_record::encode(&context, &key.wrapped));
        match self.store.put_new(&layout::dedup_record(tenant), record).await {
            Ok(()) => Ok(TenantSecret::new(&key.plaintext)),
            // Ours is dropped unused: every digest and id must come from the one that is stored.
            Err(StoreError::Exists { .. }) => self.existing_tenant_secret(tenant).await,
            Err(other) => Err(other.into()),
        }
    }

    /// Begins a recovery point under a fresh content key. Each run may begin once; a retry is a new run.
    ///
    /// # Errors
    /// If the keys cannot be had, or this run has begun before.
    pub async fn begin(&self, tenant: VaultTenantId, point: RecoveryPointId, run: RunId) -> Result<PointWriter, VaultError> {
        let secret = self.tenant_secret(tenant).await?;
        let context = KeyContext::content(self.id.clone(), tenant, run);
        let key = self.keys.generate(&context).await?;
        // Before any pack: sealed bytes whose key was never stored would be lost.
        let record = Bytes::from(key_record::encode(&context, &key.wrapped));
        self.store.put_new(&layout::content_record(tenant, run), record).await?;
        let codec = self.codec(tenant, secret, ContentKey { run, key: key.plaintext });
        let owner = Owner { vault: self.id.clone(), tenant, point, run };
        Ok(PointWriter::new(Arc::clone(&self.store), Arc::clone(&self.random), owner, codec))
    }

    /// Opens a published recovery point for reading: its manifest is fetched, compared with the catalog's hash and authenticated.
    ///
    /// The caller says which point it means, and the reference must be that point's: a wrong catalog row is refused, not followed.
    ///
    /// # Errors
    /// If the manifest or a key record is missing, damaged, or not this tenant's and this point's.
    pub async fn open(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &ManifestRef,
    ) -> Result<PointReader, VaultError> {
        let refuse = |defect| VaultError::not_authentic(&reference.key, defect);
        let run = layout::run_of_manifest(&reference.key, tenant, point)
            .ok_or_else(|| refuse(Defect::BelongsElsewhere("tenant or recovery point")))?;
        let sealed = self.get_capped(&reference.key, envelope::sealed_bytes_max(caps::MANIFEST_BYTES_MAX)).await?;
        if sha256(&sealed) != reference.sha256 {
            return Err(refuse(Defect::WrongSha256));
        }
        let key =
            self.unwrap_record(&layout::content_record(tenant, run), &KeyContext::content(self.id.clone(), tenant, run)).await?;
        let key = ContentKey { run, key };
        let owner = Owner { vault: self.id.clone(), tenant, point, run };
        let manifest = Manifest::open(&sealed, &owner, &key).map_err(refuse)?;
        let secret = self.existing_tenant_secret(tenant).await?;
        Ok(PointReader::new(Arc::clone(&self.store), self.codec(tenant, secret, key), manifest))
    }

    /// Re-reads and authenticates a whole recovery point, and recomputes its counts and digests. Goes on after a finding.
    ///
    /// # Errors
    /// Only if the check itself could not be done, such as when the store or the key does not answer.
    pub async fn check(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &ManifestRef,
    ) -> Result<CheckReport, VaultError> {
        check::point(self.open(tenant, point, reference).await, reference).await
    }

    fn codec(&self, tenant: VaultTenantId, secret: TenantSecret, key: ContentKey) -> ChunkCodec {
        ChunkCodec { vault: self.id.clone(), tenant, secret, key }
    }

    async fn existing_tenant_secret(&self, tenant: VaultTenantId) -> Result<TenantSecret, VaultError> {
        let context = KeyContext::dedup(self.id.clone(), tenant);
        Ok(TenantSecret::new(&self.unwrap_record(&layout::dedup_record(tenant), &context).await?))
    }

    /// Opens the key record at `key`, in the context the caller expects.
    async fn unwrap_record(&self, key: &str, context: &KeyContext) -> Result<SecretKey, VaultError> {
        let stored = self.get_capped(key, caps::KEY_RECORD_BYTES_MAX).await?;
        let wrapped = key_record::decode(&stored, context).map_err(|defect| VaultError::not_authentic(key, defect))?;
        Ok(self.keys.unwrap_key(&wrapped, context).await?)
    }

    /// Reads an object of at most `bytes_max`, without taking in more than that whatever is stored there.
    async fn get_capped(&self, key: &str, bytes_max: usize) -> Result<Bytes, VaultError> {
        let bytes = self.store.get_range(key, 0, bytes_max as u64 + 1).await?;
        if bytes.len() > bytes_max {
            return Err(VaultError::not_authentic(key, Defect::WrongSize));
        }
        Ok(bytes)
    }
}
