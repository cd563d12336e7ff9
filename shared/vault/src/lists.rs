//! The chunk lists of one recovery point, fetched when needed. The list key opens them, so the writing role reads them as well.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use domain::{RunId, VaultId, VaultTenantId};

use crate::{
    caps,
    defect::Defect,
    entry::ChunkEntry,
    envelope,
    error::VaultError,
    known::KnownChunks,
    layout,
    link::{Link, PackEntry, StoredObject},
    list::{ChunkList, ListPlace, Segment, StreamId},
    store::ObjectStore,
    tenant_secret::TenantSecret,
};

/// Reads the lists of one run.
pub(crate) struct Lists {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) secret: TenantSecret,
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) run: RunId,
    pub(crate) stored: Vec<StoredObject>,
    /// What the entries point into.
    pub(crate) packs: Vec<PackEntry>,
    pub(crate) kept: Kept,
}

/// The last few lists opened, so that many small tables in one list cost one request.
#[derive(Default)]
pub(crate) struct Kept(Mutex<VecDeque<(u32, ChunkList)>>);

impl Kept {
    fn lists(&self) -> MutexGuard<'_, VecDeque<(u32, ChunkList)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    /// The lists that a link names.
    pub(crate) fn of(link: &Link, store: Arc<dyn ObjectStore>, secret: TenantSecret) -> Self {
        let Link { vault, tenant, run, lists, packs, .. } = link.clone();
        Self { store, secret, vault, tenant, run, stored: lists, packs, kept: Kept::default() }
    }

    /// The entries of a segment, each within its pack.
    pub(crate) async fn segment(&self, segment: &Segment, stream: StreamId) -> Result<Vec<ChunkEntry>, VaultError> {
        let list = self.list(segment.list).await?;
        let entries = list.segment(segment, stream).and_then(|entries| self.within_packs(entries));
        entries.map_err(|defect| self.defect(segment.list, defect))
    }

    /// Every chunk that the recovery point names, of the packs that are `sound`.
    pub(crate) async fn known_chunks(&self, sound: impl Fn(&PackEntry) -> bool) -> Result<KnownChunks, VaultError> {
        let mut known = KnownChunks::of_packs(self.packs.clone());
        for number in 0..self.stored.len() {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            let segments = self.list(number).await?.segments().map_err(|defect| self.defect(number, defect))?;
            for (stream, entries) in segments {
                known.add(stream, self.within_packs(entries).map_err(|defect| self.defect(number, defect))?, &sound);
            }
        }
        Ok(known)
    }

    async fn list(&self, number: u32) -> Result<ChunkList, VaultError> {
        if let Some((_, list)) = self.kept.lists().iter().find(|(kept, _)| *kept == number) {
            return Ok(list.clone());
        }
        let Self { vault, tenant, run, .. } = self;
        let recorded = self.stored.get(number as usize);
        let recorded = recorded.ok_or_else(|| self.defect(number, Defect::Malformed("a list that the link does not have")))?;
        let key = layout::list(*tenant, *run, number);
        let sealed = get_recorded(self.store.as_ref(), &key, recorded, caps::LIST_BYTES_MAX).await?;
        let place = ListPlace { vault, tenant: *tenant, run: *run, number };
        let list = ChunkList::open(&sealed, &place, &self.secret).map_err(|defect| VaultError::not_authentic(key, defect))?;
        let mut kept = self.kept.lists();
        if kept.len() >= caps::LISTS_KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back((number, list.clone()));
        Ok(list)
    }

    fn within_packs(&self, entries: Vec<ChunkEntry>) -> Result<Vec<ChunkEntry>, Defect> {
        let fits = entries.iter().all(|entry| {
            let pack = self.packs.get(entry.pack as usize);
            pack.is_some_and(|pack| u64::from(entry.offset) + u64::from(entry.length) <= pack.stored_bytes)
        });
        if fits { Ok(entries) } else { Err(Defect::Malformed("chunk list: a chunk outside its pack")) }
    }

    fn defect(&self, number: u32, defect: Defect) -> VaultError {
        VaultError::not_authentic(layout::list(self.tenant, self.run, number), defect)
    }
}

/// Reads an object that is recorded with its hash and size, taking in no more than that.
pub(crate) async fn get_recorded(
    store: &dyn ObjectStore,
    key: &str,
    recorded: &StoredObject,
    plaintext_max: usize,
) -> Result<Bytes, VaultError> {
    let refuse = |defect| Err(VaultError::not_authentic(key, defect));
    if recorded.stored_bytes > envelope::sealed_bytes_max(plaintext_max) as u64 {
        return refuse(Defect::WrongSize);
    }
    let bytes = store.get_range(key, 0, recorded.stored_bytes + 1).await?;
    if StoredObject::of(&bytes) != *recorded {
        return refuse(Defect::WrongSha256);
    }
    Ok(bytes)
}
