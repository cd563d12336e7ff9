//! Packs: many sealed chunks in one stored object, uploaded while the next one fills.

use std::sync::Arc;

use bytes::Bytes;
use domain::{RunId, VaultTenantId};
use tokio::task::JoinSet;

use crate::{
    caps::{PACK_BYTES_TARGET, UPLOADS_IN_FLIGHT_MAX},
    error::VaultError,
    layout,
    manifest::PackEntry,
    random::{self, Random},
    store::{BoxError, ObjectStore, StoreError},
};

/// Where a sealed chunk ended up.
pub(crate) struct Position {
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// Fills and uploads packs. Dropping it stops the uploads under way.
pub(crate) struct PackWriter {
    store: Arc<dyn ObjectStore>,
    random: Arc<dyn Random>,
    tenant: VaultTenantId,
    run: RunId,
    filling: Vec<u8>,
    closed: Vec<PackEntry>,
    uploads: JoinSet<Result<(), StoreError>>,
}

impl PackWriter {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, random: Arc<dyn Random>, tenant: VaultTenantId, run: RunId) -> Self {
        Self { store, random, tenant, run, filling: Vec::new(), closed: Vec::new(), uploads: JoinSet::new() }
    }

    /// Appends a sealed chunk. Waits while too many uploads are under way, and reports any that failed.
    pub(crate) async fn append(&mut self, sealed: &[u8]) -> Result<Position, VaultError> {
        let at = |bytes: usize| u32::try_from(bytes).expect("packs are closed far below 4 GiB");
        let position = Position { pack: at(self.closed.len()), offset: at(self.filling.len()), length: at(sealed.len()) };
        self.filling.extend_from_slice(sealed);
        if self.filling.len() >= PACK_BYTES_TARGET {
            self.close().await?;
        }
        Ok(position)
    }

    async fn close(&mut self) -> Result<(), VaultError> {
        while self.uploads.len() >= UPLOADS_IN_FLIGHT_MAX {
            self.wait_for_one().await?;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.filling));
        let id = domain::PackId::from_uuid(random::uuid(self.random.as_ref())?);
        self.closed.push(PackEntry { id, run: self.run, stored_bytes: bytes.len() as u64 });
        let (store, key) = (Arc::clone(&self.store), layout::pack(self.tenant, id));
        self.uploads.spawn(async move { store.put_new(&key, bytes).await });
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), VaultError> {
        match self.uploads.join_next().await {
            None => Ok(()),
            Some(Ok(uploaded)) => Ok(uploaded?),
            Some(Err(died)) => Err(StoreError::Unavailable { key: "packs".to_owned(), source: BoxError::from(died) }.into()),
        }
    }

    /// Uploads what is left and waits until every pack is durable.
    pub(crate) async fn finish(mut self) -> Result<Vec<PackEntry>, VaultError> {
        if !self.filling.is_empty() {
            self.close().await?;
        }
        while !self.uploads.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(self.closed)
    }
}
