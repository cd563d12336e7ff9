//! Packs: many sealed chunks in one stored object, uploaded while the next one fills; and those of earlier runs that are used again.

use std::{collections::HashMap, mem, sync::Arc};

use bytes::Bytes;
use domain::{PackId, RunId, VaultTenantId};

use crate::{
    caps::PACK_BYTES_TARGET,
    error::VaultError,
    layout,
    link::PackEntry,
    random::{self, Random},
    store::ObjectStore,
    uploads::Uploads,
};

/// Where a sealed chunk ended up.
pub(crate) struct Position {
    pub(crate) pack: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// A pack being filled by one slice at a time: chunks that follow each other in a table then lie side by side, and cost one request to
/// read. When the slice has ended, the next one goes on filling it.
pub(crate) struct Filling {
    bytes: Vec<u8>,
    /// Its place among the recovery point's packs.
    place: usize,
}

/// Uploads packs, and knows every one that the recovery point needs. Dropping it stops the uploads under way.
pub(crate) struct PackWriter {
    random: Arc<dyn Random>,
    tenant: VaultTenantId,
    run: RunId,
    packs: Vec<PackEntry>,
    adopted: HashMap<PackId, u32>,
    /// Begun, not full, and nobody's at the moment.
    idle: Vec<Filling>,
    uploads: Uploads,
}

impl PackWriter {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, random: Arc<dyn Random>, tenant: VaultTenantId, run: RunId) -> Self {
        let (packs, adopted, idle) = (Vec::new(), HashMap::new(), Vec::new());
        Self { random, tenant, run, packs, adopted, idle, uploads: Uploads::to(store) }
    }

    /// Appends a sealed chunk to a slice's pack. Waits while too many uploads are under way, and reports any that failed.
    pub(crate) async fn append(&mut self, slices: &mut Option<Filling>, sealed: &[u8]) -> Result<Position, VaultError> {
        let mut filling = match slices.take().or_else(|| self.idle.pop()) {
            Some(filling) => filling,
            None => self.begin()?,
        };
        let position =
            Position { pack: number(filling.place), offset: number(filling.bytes.len()), length: number(sealed.len()) };
        filling.bytes.extend_from_slice(sealed);
        if filling.bytes.len() < PACK_BYTES_TARGET {
            *slices = Some(filling);
        } else {
            self.close(filling).await?;
        }
        Ok(position)
    }

    /// Takes back what a slice that has ended was filling.
    pub(crate) fn give_back(&mut self, filling: Option<Filling>) {
        self.idle.extend(filling);
    }

    /// The place of an earlier run's pack among this recovery point's.
    pub(crate) fn adopt(&mut self, pack: &PackEntry) -> u32 {
        *self.adopted.entry(pack.id).or_insert_with(|| {
            self.packs.push(pack.clone());
            number(self.packs.len() - 1)
        })
    }

    fn begin(&mut self) -> Result<Filling, VaultError> {
        let id = PackId::from_uuid(random::uuid(self.random.as_ref())?);
        self.packs.push(PackEntry { id, run: self.run, stored_bytes: 0 });
        Ok(Filling { bytes: Vec::with_capacity(PACK_BYTES_TARGET + PACK_BYTES_TARGET / 16), place: self.packs.len() - 1 })
    }

    async fn close(&mut self, Filling { bytes, place }: Filling) -> Result<(), VaultError> {
        self.packs[place].stored_bytes = bytes.len() as u64;
        self.uploads.put(layout::pack(self.tenant, self.packs[place].id), Bytes::from(bytes)).await
    }

    /// Uploads what is left and waits until every pack is durable.
    pub(crate) async fn finish(&mut self) -> Result<Vec<PackEntry>, VaultError> {
        for filling in mem::take(&mut self.idle) {
            self.close(filling).await?;
        }
        self.uploads.finish().await?;
        Ok(mem::take(&mut self.packs))
    }
}

fn number(value: usize) -> u32 {
    u32::try_from(value).expect("packs are closed far below 4 GiB, and far fewer")
}
