//! Chunk lists: segments of entries, sealed under the tenant's list key so that the writing role can find chunks again.

use bytes::Bytes;
use domain::{RunId, VaultId, VaultTenantId};
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    defect::Defect,
    entry::{ChunkEntry, ENTRY_BYTES},
    envelope::{self, ObjectType, Place},
    error::VaultError,
    frame::Framer,
    keys::SecretKey,
    random::Random,
    tenant_secret::TenantSecret,
};

/// What a segment starts with: the stream id and the count.
const SEGMENT_HEADER_BYTES: usize = 32 + 4;
/// Entries of one segment at most: it must fit a list with room to spare.
pub(crate) const SEGMENT_ENTRIES_MAX: usize = 8_192;
const _: () = assert!(SEGMENT_HEADER_BYTES + SEGMENT_ENTRIES_MAX * ENTRY_BYTES <= caps::LIST_BYTES_TARGET);

/// Whose entries a segment holds: equal for streams whose row hashes are equal. Nil for documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct StreamId(pub(crate) [u8; 32]);

impl StreamId {
    /// Documents have no rows to hash.
    pub(crate) const DOCUMENT: Self = Self([0; 32]);

    /// The id of the stream whose rows are hashed under `row_key`.
    pub(crate) fn of(row_key: &SecretKey) -> Self {
        Self(*blake3::keyed_hash(row_key.expose(), &[]).as_bytes())
    }
}

/// Where a segment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Which of the link's lists, counted from 0.
    pub list: u32,
    /// Where it starts in the list's plaintext.
    pub offset: u32,
    /// How many entries it has.
    pub chunks: u32,
}

/// Whose list it is.
pub(crate) struct ListPlace<'a> {
    pub(crate) vault: &'a VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) run: RunId,
    pub(crate) number: u32,
}

impl ListPlace<'_> {
    fn object_id(&self) -> [u8; 20] {
        let mut id = [0; 20];
        id[..16].copy_from_slice(self.run.uuid().as_bytes());
        id[16..].copy_from_slice(&self.number.to_be_bytes());
        id
    }

    fn place<'a>(&'a self, object_id: &'a [u8]) -> Place<'a> {
        Place { vault: self.vault, tenant: self.tenant, object_type: ObjectType::ChunkList, object_id }
    }
}

/// A list being filled.
#[derive(Default)]
pub(crate) struct ListBuilder(Vec<u8>);

impl ListBuilder {
    /// Whether a segment of so many entries still fits.
    pub(crate) fn has_room_for(&self, entries: usize) -> bool {
        self.0.len() + SEGMENT_HEADER_BYTES + entries * ENTRY_BYTES <= caps::LIST_BYTES_TARGET
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a segment and says where it starts.
    pub(crate) fn push(&mut self, stream: StreamId, entries: &[ChunkEntry]) -> u32 {
        let offset = u32::try_from(self.0.len()).expect("lists are capped far below 4 GiB");
        self.0.extend_from_slice(&stream.0);
        self.0.extend_from_slice(&u32::try_from(entries.len()).expect("segments are capped").to_be_bytes());
        entries.iter().for_each(|entry| entry.encode(&mut self.0));
        offset
    }

    /// What it holds so far.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn plaintext(&self) -> &[u8] {
        &self.0
    }

    /// The sealed bytes to store.
    pub(crate) fn seal(
        self,
        place: &ListPlace<'_>,
        secret: &TenantSecret,
        framer: &mut Framer,
        random: &dyn Random,
    ) -> Result<Vec<u8>, VaultError> {
        envelope::seal(secret.list_key(), &place.place(&place.object_id()), &self.0, framer, random)
    }
}

/// An opened list.
#[derive(Debug, Clone)]
pub(crate) struct ChunkList(Bytes);

impl ChunkList {
    /// Opens stored bytes that must be the list at `place`.
    pub(crate) fn open(sealed: &[u8], place: &ListPlace<'_>, secret: &TenantSecret) -> Result<Self, Defect> {
        let plaintext = envelope::open(secret.list_key(), &place.place(&place.object_id()), sealed, caps::LIST_BYTES_MAX)?;
        Ok(Self::from_plaintext(plaintext))
    }

    /// A list whose bytes were authenticated.
    pub(crate) fn from_plaintext(plaintext: Vec<u8>) -> Self {
        Self(plaintext.into())
    }

    /// The entries of a segment that must be `stream`'s.
    pub(crate) fn segment(&self, segment: &Segment, stream: StreamId) -> Result<Vec<ChunkEntry>, Defect> {
        let rest = self.0.get(segment.offset as usize..).ok_or(Defect::Malformed("chunk list: no segment there"))?;
        let ((found, entries), _) = split_segment(rest)?;
        if found != stream {
            return Err(Defect::BelongsElsewhere("stream"));
        }
        if entries.len() != segment.chunks as usize {
            return Err(Defect::Malformed("chunk list: another number of chunks"));
        }
        decode(entries)
    }

    /// Every segment in it.
    pub(crate) fn segments(&self) -> Result<Vec<(StreamId, Vec<ChunkEntry>)>, Defect> {
        let mut segments = Vec::new();
        let mut rest: &[u8] = &self.0;
        while !rest.is_empty() {
            let ((stream, entries), behind) = split_segment(rest)?;
            segments.push((stream, decode(entries)?));
            rest = behind;
        }
        Ok(segments)
    }
}

type RawSegment<'a> = (StreamId, &'a [[u8; ENTRY_BYTES]]);

fn split_segment(bytes: &[u8]) -> Result<(RawSegment<'_>, &[u8]), Defect> {
    let cut = Defect::Malformed("chunk list: cut short");
    let (stream, rest) = bytes.split_first_chunk::<32>().ok_or(cut.clone())?;
    let (count, rest) = rest.split_first_chunk::<4>().ok_or(cut.clone())?;
    let size = (u32::from_be_bytes(*count) as usize).checked_mul(ENTRY_BYTES).ok_or(cut.clone())?;
    let (entries, behind) = rest.split_at_checked(size).ok_or(cut)?;
    Ok(((StreamId(*stream), entries.as_chunks().0), behind))
}

fn decode(entries: &[[u8; ENTRY_BYTES]]) -> Result<Vec<ChunkEntry>, Defect> {
    entries.iter().map(|entry| ChunkEntry::decode(entry).ok_or(Defect::Malformed("chunk list: entry"))).collect()
}

#[cfg(test)]
#[path = "list_tests.rs"]
mod tests;
