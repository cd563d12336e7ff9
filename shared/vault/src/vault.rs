//! The vault itself: opens tenants' secrets, and recovery points for writing, reading and checking.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use domain::{RecoveryPointId, RunId, VaultId, VaultTenantId, verification::Shares};

use crate::{
    caps,
    chain::Chain,
    check::{self, CheckReport, Reading, Share},
    chunk::ChunkCodec,
    defect::Defect,
    envelope::{self, SealingKey},
    error::VaultError,
    key_opener::KeyOpener,
    key_record,
    keys::{KeyContext, KeyService},
    known::KnownChunks,
    layout,
    link::{Link, PackEntry, PointRef},
    lists::{Kept, Lists, get_recorded},
    manifest::{Manifest, Owner},
    progress::{Progress, ProgressRecord},
    random::{Random, SystemRandom},
    reader::PointReader,
    seen::Seen,
    sharing::{self, Sharing},
    signing::{PublicKey, SigningService},
    store::{ObjectStore, StoreError},
    tenant_secret::{SharedSecret, TenantSecret},
    writer::PointWriter,
};

/// One vault: a store, a key service, a signing key and a name that goes into every context. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn ObjectStore>,
    keys: Arc<dyn KeyService>,
    signing: Arc<dyn SigningService>,
    id: VaultId,
    random: Arc<dyn Random>,
    secrets: Arc<Mutex<HashMap<VaultTenantId, SharedSecret>>>,
    sharing: Option<Arc<dyn Sharing>>,
}

/// An earlier recovery point of the same tenant, to reuse chunks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Which one.
    pub point: RecoveryPointId,
    /// Its link.
    pub reference: PointRef,
}

impl Vault {
    /// A vault over a store, a key service and a signing key, of which nobody deletes anything.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, keys: Arc<dyn KeyService>, signing: Arc<dyn SigningService>, id: VaultId) -> Self {
        Self { store, keys, signing, id, random: Arc::new(SystemRandom), secrets: Arc::default(), sharing: None }
    }

    /// The same vault beside sweeps: runs share only what these are not deleting, and keep it locked.
    #[must_use]
    pub fn beside(self, sharing: Arc<dyn Sharing>) -> Self {
        Self { sharing: Some(sharing), ..self }
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
            Err(VaultError::Store(StoreError::Missing { key })) => {
                // Where there are recovery points there was a secret. A new one in its place would hide that it was lost, and what it opens.
                if !self.chain(tenant).places(0).await?.is_empty() {
                    return Err(StoreError::Missing { key }.into());
                }
            }
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
    /// Chunks that `parent` has are not stored again. Without one, everything is.
    ///
    /// # Errors
    /// If the keys cannot be had, or this run has begun before. If the parent is damaged; nothing was then written, and the same run may
    /// begin without it.
    pub async fn begin(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        run: RunId,
        parent: Option<&Parent>,
    ) -> Result<PointWriter, VaultError> {
        let (secret, parent) = match parent {
            Some(parent) => {
                // It is there if the parent is: a new one in its place would hide that it was lost.
                let secret = self.existing_tenant_secret(tenant).await?;
                let known = self.known_chunks(tenant, parent, &secret).await?;
                (secret, known)
            }
            None => (self.tenant_secret(tenant).await?, (0, KnownChunks::default())),
        };
        let context = KeyContext::content(self.id.clone(), tenant, run);
        let key = self.keys.generate(&context).await?;
        // Before any pack: sealed bytes whose key was never stored would be lost.
        let record = Bytes::from(key_record::encode(&context, &key.wrapped));
        self.store.put_new(&layout::content_record(tenant, run), record).await?;
        let codec = self.codec(tenant, secret, SealingKey::content(run, key.plaintext));
        let owner = Owner { vault: self.id.clone(), tenant, point, run };
        let (store, random) = (Arc::clone(&self.store), Arc::clone(&self.random));
        let lock_for = self.sharing.as_ref().map(|sharing| sharing.lock_for());
        Ok(PointWriter::new(store, random, owner, codec, self.chain(tenant), parent, lock_for))
    }

    /// What an earlier run left of a recovery point that it could not finish; `None` if it left nothing, or some of it is being deleted.
    ///
    /// # Errors
    /// If it is damaged, or not this tenant's and this point's.
    pub async fn progress(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        run: RunId,
    ) -> Result<Option<Progress>, VaultError> {
        let object = layout::progress(tenant, run);
        let size_max = envelope::sealed_bytes_max(caps::MANIFEST_BYTES_MAX) as u64;
        let sealed = match self.store.get_range(&object, 0, size_max + 1).await {
            Ok(sealed) => sealed,
            Err(StoreError::Missing { .. }) => return Ok(None),
            Err(other) => return Err(other.into()),
        };
        let secret = self.existing_tenant_secret(tenant).await?;
        let owner = Owner { vault: self.id.clone(), tenant, point, run };
        let record =
            ProgressRecord::open(&sealed, &owner, &secret).map_err(|defect| VaultError::not_authentic(object, defect))?;
        let mut relied_on = sharing::behind(tenant, &record.packs);
        relied_on.extend((0..record.lists.len()).map(|list| layout::list(tenant, run, u32::try_from(list).unwrap_or(u32::MAX))));
        if !self.refused(tenant, &relied_on).await?.is_empty() {
            return Ok(None);
        }
        let lists = Lists {
            store: Arc::clone(&self.store),
            secret,
            vault: owner.vault,
            tenant,
            run,
            stored: record.lists.clone(),
            packs: record.packs.clone(),
            kept: Kept::default(),
        };
        Ok(Some(Progress { record, lists }))
    }

    /// Opens a published recovery point for reading: its link and manifest are fetched, compared and authenticated.
    ///
    /// The caller says which point it means, and the reference must be that point's: a wrong catalog row is refused, not followed.
    ///
    /// # Errors
    /// If the link, the manifest or a key record is missing, damaged, or not this tenant's and this point's.
    pub async fn open(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &PointRef,
    ) -> Result<PointReader, VaultError> {
        let link = self.link(tenant, point, reference).await?;
        let object = layout::manifest(tenant, point, link.run);
        let sealed = get_recorded(self.store.as_ref(), &object, &link.manifest, caps::MANIFEST_BYTES_MAX).await?;
        let opener = self.opener(tenant);
        let key = opener.content(link.run).await?;
        let owner = Owner { vault: self.id.clone(), tenant, point, run: link.run };
        let manifest = Manifest::open(&sealed, &owner, &key).map_err(|defect| VaultError::not_authentic(object, defect))?;
        let secret = self.existing_tenant_secret(tenant).await?;
        Ok(PointReader::new(Arc::clone(&self.store), opener, self.codec(tenant, secret, key), link, manifest))
    }

    /// The signed link of a published recovery point. Needs no right to decrypt.
    ///
    /// # Errors
    /// If it is missing, damaged, or not this tenant's and this point's.
    pub async fn link(&self, tenant: VaultTenantId, point: RecoveryPointId, reference: &PointRef) -> Result<Link, VaultError> {
        let link = self.chain(tenant).published(reference).await?;
        if link.point != point {
            let defect = Defect::BelongsElsewhere("recovery point");
            return Err(VaultError::not_authentic(layout::link(tenant, reference.sequence), defect));
        }
        Ok(link)
    }

    /// Re-reads and authenticates a recovery point, and recomputes its counts and digests. Goes on after a finding. Of the chunks, those
    /// in `share` are read; everything else always is.
    ///
    /// # Errors
    /// Only if the check itself could not be done, such as when the store or the key does not answer.
    pub async fn check(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &PointRef,
        share: Share,
    ) -> Result<CheckReport, VaultError> {
        check::point(self.open(tenant, point, reference).await, tenant, reference, Reading::Share(share)).await
    }

    /// Reads a whole recovery point again and counts and digests its rows anew, in a round over a tenant's recovery points.
    ///
    /// # Errors
    /// As [`Vault::check`].
    pub async fn check_whole(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &PointRef,
        seen: &Seen,
    ) -> Result<CheckReport, VaultError> {
        check::point(self.open(tenant, point, reference).await, tenant, reference, Reading::Whole(seen.clone())).await
    }

    /// Reads some shares of a recovery point again, in a round over a tenant's recovery points: what `seen` knows already is not read twice,
    /// and what this reads is added to it.
    ///
    /// # Errors
    /// As [`Vault::check`].
    pub async fn check_shares(
        &self,
        tenant: VaultTenantId,
        point: RecoveryPointId,
        reference: &PointRef,
        shares: Shares,
        seen: &Seen,
    ) -> Result<CheckReport, VaultError> {
        let reading = Reading::Round(shares, seen.clone());
        check::point(self.open(tenant, point, reference).await, tenant, reference, reading).await
    }

    /// Follows a tenant's chain from behind the place `after` (0 for all of it) to its end, and names what breaks it. `published` is the
    /// newest sequence that the catalog knows. Needs no right to decrypt.
    ///
    /// # Errors
    /// Only if the check itself could not be done.
    pub async fn check_chain(&self, tenant: VaultTenantId, after: u64, published: u64) -> Result<CheckReport, VaultError> {
        check::chain(&self.chain(tenant), &self.public_key().await?, after, published, |_, _| {}).await
    }

    /// The parent's chunks that are still there, and its place in the chain. Reads its link and lists, never its manifest or content.
    async fn known_chunks(
        &self,
        tenant: VaultTenantId,
        parent: &Parent,
        secret: &TenantSecret,
    ) -> Result<(u64, KnownChunks), VaultError> {
        let link = self.link(tenant, parent.point, &parent.reference).await?;
        // Before the listing: what is there then stays until this run is over.
        let refused = self.refused(tenant, &sharing::behind(tenant, &link.packs)).await?;
        let prefix = layout::packs(tenant);
        let stored: HashMap<_, _> =
            self.store.list(&prefix, None).await?.into_iter().map(|object| (object.key, object.bytes)).collect();
        let sound = |pack: &PackEntry| {
            stored.get(&layout::pack(tenant, pack.id)) == Some(&pack.stored_bytes)
                && sharing::behind(tenant, [pack]).is_disjoint(&refused)
        };
        let known = Lists::of(&link, Arc::clone(&self.store), secret.clone()).known_chunks(sound).await?;
        Ok((parent.reference.sequence, known))
    }

    /// Of objects that a run would rely on those that it must not.
    async fn refused(&self, tenant: VaultTenantId, objects: &BTreeSet<String>) -> Result<BTreeSet<String>, VaultError> {
        match &self.sharing {
            Some(sharing) if !objects.is_empty() => Ok(sharing.refused(tenant, objects).await?),
            _ => Ok(BTreeSet::new()),
        }
    }

    pub(crate) fn signing(&self) -> &dyn SigningService {
        self.signing.as_ref()
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.store.as_ref()
    }

    pub(crate) async fn public_key(&self) -> Result<PublicKey, VaultError> {
        Ok(self.signing.public_key().await?)
    }

    pub(crate) fn chain(&self, tenant: VaultTenantId) -> Chain {
        let (store, signing) = (Arc::clone(&self.store), Arc::clone(&self.signing));
        Chain { store, signing, vault: self.id.clone(), tenant }
    }

    fn opener(&self, tenant: VaultTenantId) -> KeyOpener {
        KeyOpener { store: Arc::clone(&self.store), keys: Arc::clone(&self.keys), vault: self.id.clone(), tenant }
    }

    fn codec(&self, tenant: VaultTenantId, secret: TenantSecret, key: SealingKey) -> ChunkCodec {
        ChunkCodec { vault: self.id.clone(), tenant, secret, key }
    }

    async fn existing_tenant_secret(&self, tenant: VaultTenantId) -> Result<TenantSecret, VaultError> {
        if let Some(secret) = self.secrets().get(&tenant).and_then(SharedSecret::get) {
            return Ok(secret);
        }
        let secret = self.opener(tenant).secret().await?;
        let mut secrets = self.secrets();
        secrets.retain(|_, shared| shared.get().is_some());
        secrets.insert(tenant, secret.share());
        Ok(secret)
    }

    fn secrets(&self) -> std::sync::MutexGuard<'_, HashMap<VaultTenantId, SharedSecret>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
