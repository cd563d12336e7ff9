//! The chunks of an earlier recovery point, by id: what need not be hashed, compressed, sealed and stored again.

use std::{
    borrow::Borrow,
    collections::{HashMap, HashSet},
    hash::{Hash, Hasher},
};

use crate::{chunk::ChunkId, entry::ChunkEntry, link::PackEntry, list::StreamId};

/// Chunks that are already in the vault.
#[derive(Default)]
pub(crate) struct KnownChunks {
    chunks: HashSet<Known>,
    /// Numbers in place of ids, to keep the entries small.
    streams: HashMap<StreamId, u32>,
    packs: Vec<PackEntry>,
}

/// Found by its chunk's id, which it holds only once.
struct Known {
    stream: u32,
    entry: ChunkEntry,
}

impl Borrow<ChunkId> for Known {
    fn borrow(&self) -> &ChunkId {
        &self.entry.id
    }
}

impl Hash for Known {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.entry.id.hash(state);
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.entry.id == other.entry.id
    }
}

impl Eq for Known {}

impl KnownChunks {
    /// No chunks, of the given packs.
    pub(crate) fn of_packs(packs: Vec<PackEntry>) -> Self {
        Self { packs, ..Self::default() }
    }

    /// Adds a segment's chunks. A pack not in `sound` is as good as gone, and so are its chunks.
    pub(crate) fn add(&mut self, stream: StreamId, entries: Vec<ChunkEntry>, sound: impl Fn(&PackEntry) -> bool) {
        let next = u32::try_from(self.streams.len()).expect("streams are capped");
        let stream = *self.streams.entry(stream).or_insert(next);
        let usable = entries.into_iter().filter(|entry| self.packs.get(entry.pack as usize).is_some_and(&sound));
        for entry in usable {
            // Of equal chunks the first stays.
            self.chunks.insert(Known { stream, entry });
        }
    }

    /// The entry of a chunk, and whether its row hashes are those of `stream`.
    pub(crate) fn find(&self, id: &ChunkId, stream: StreamId) -> Option<(&ChunkEntry, bool)> {
        let known = self.chunks.get(id)?;
        Some((&known.entry, self.streams.get(&stream) == Some(&known.stream)))
    }

    /// The packs that entries point into.
    pub(crate) fn packs(&self) -> &[PackEntry] {
        &self.packs
    }
}
