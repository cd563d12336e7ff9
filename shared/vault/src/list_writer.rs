//! Fills chunk lists and uploads them beside other work.

use std::{mem, sync::Arc};

use bytes::Bytes;

use crate::{
    entry::ChunkEntry,
    error::VaultError,
    frame::Framers,
    layout,
    link::StoredObject,
    list::{ListBuilder, ListPlace, Segment, StreamId},
    manifest::Owner,
    random::Random,
    store::ObjectStore,
    tenant_secret::TenantSecret,
    uploads::Uploads,
};

/// Takes segments of all slices.
pub(crate) struct ListWriter {
    owner: Owner,
    secret: TenantSecret,
    random: Arc<dyn Random>,
    framers: Arc<Framers>,
    filling: ListBuilder,
    closed: Vec<StoredObject>,
    uploads: Uploads,
}

impl ListWriter {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        random: Arc<dyn Random>,
        framers: Arc<Framers>,
        owner: Owner,
        secret: TenantSecret,
    ) -> Self {
        Self { owner, secret, random, framers, filling: ListBuilder::default(), closed: Vec::new(), uploads: Uploads::to(store) }
    }

    /// Adds a segment.
    pub(crate) async fn append(&mut self, stream: StreamId, entries: &[ChunkEntry]) -> Result<Segment, VaultError> {
        if !self.filling.is_empty() && !self.filling.has_room_for(entries.len()) {
            self.close().await?;
        }
        let list = u32::try_from(self.closed.len()).expect("chunks are capped, and so are lists");
        let chunks = u32::try_from(entries.len()).expect("segments are capped");
        Ok(Segment { list, offset: self.filling.push(stream, entries), chunks })
    }

    async fn close(&mut self) -> Result<(), VaultError> {
        let number = u32::try_from(self.closed.len()).expect("chunks are capped, and so are lists");
        let Owner { vault, tenant, run, .. } = &self.owner;
        let place = ListPlace { vault, tenant: *tenant, run: *run, number };
        let filled = mem::take(&mut self.filling);
        let sealed = self.framers.with(|framer| filled.seal(&place, &self.secret, framer, self.random.as_ref()))?;
        self.closed.push(StoredObject::of(&sealed));
        self.uploads.put(layout::list(*tenant, *run, number), Bytes::from(sealed)).await
    }

    /// Uploads what is left and waits until every list is durable.
    pub(crate) async fn finish(&mut self) -> Result<Vec<StoredObject>, VaultError> {
        if !self.filling.is_empty() {
            self.close().await?;
        }
        self.uploads.finish().await?;
        Ok(mem::take(&mut self.closed))
    }
}
