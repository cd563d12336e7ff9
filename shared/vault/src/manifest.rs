//! The manifest: what a recovery point consists of, sealed like everything else.

use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use domain::{RecoveryPointId, RunId, VaultId, VaultTenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    chunk::ChunkId,
    defect::Defect,
    envelope::{self, ContentKey, ObjectType, Place},
    error::VaultError,
    frame::Framer,
    random::Random,
    rows_digest::RowsDigest,
    stream::StreamHeader,
};

const FORMAT: &str = "HF1";

/// What the catalog keeps of a manifest: where it is, and the hash that fixes which bytes were published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRef {
    /// The stored object's key.
    pub key: String,
    /// SHA-256 of the stored, sealed bytes, in hexadecimal.
    pub sha256: String,
}

/// A recovery point's table of contents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// `HF1`.
    pub format: String,
    /// The vault it was written to.
    pub vault: VaultId,
    /// The tenant, by its opaque id.
    pub tenant: VaultTenantId,
    /// The recovery point.
    pub point: RecoveryPointId,
    /// The run that wrote it.
    pub run: RunId,
    /// When it was written.
    pub written_at: Timestamp,
    /// What the source says of itself; its own to define.
    pub facts: serde_json::Value,
    /// Streams of rows, in the order written.
    pub streams: Vec<StreamEntry>,
    /// Documents, in the order written.
    pub blobs: Vec<BlobEntry>,
    /// The packs that hold the chunks.
    pub packs: Vec<PackEntry>,
}

/// A stream of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamEntry {
    /// What the stream is.
    pub header: StreamHeader,
    /// Its rows.
    pub rows: u64,
    /// The order-independent keyed digest of its rows.
    pub digest: RowsDigest,
    /// Its chunks, in row order.
    pub chunks: Vec<ChunkRef>,
}

/// A document: an archive of definitions, a metadata file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its name.
    pub name: String,
    /// Its size.
    pub plaintext_bytes: u64,
    /// Its pieces, in order.
    pub chunks: Vec<ChunkRef>,
}

/// Where a chunk is and what it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRef {
    /// The keyed hash of its plaintext.
    pub id: ChunkId,
    /// Which of the manifest's packs holds it, counted from 0.
    pub pack: u32,
    /// Where the sealed chunk starts in the pack.
    pub offset: u32,
    /// The sealed chunk's size.
    pub length: u32,
    /// The plaintext's size.
    pub plaintext_bytes: u32,
    /// Rows that end in it; 0 in documents.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rows: u32,
    /// Whether its last row goes on in the next chunk: a row longer than a chunk.
    #[serde(default, skip_serializing_if = "is_default")]
    pub continues: bool,
}

/// A pack that this manifest needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackEntry {
    /// The pack.
    pub id: domain::PackId,
    /// The run that wrote it, whose content key opens its chunks.
    pub run: RunId,
    /// Its size.
    pub stored_bytes: u64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Whose manifest is expected.
#[derive(Clone)]
pub(crate) struct Owner {
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) point: RecoveryPointId,
    pub(crate) run: RunId,
}

impl Owner {
    fn object_id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        id[..16].copy_from_slice(self.point.uuid().as_bytes());
        id[16..].copy_from_slice(self.run.uuid().as_bytes());
        id
    }

    fn place<'a>(&'a self, object_id: &'a [u8]) -> Place<'a> {
        Place { vault: &self.vault, tenant: self.tenant, object_type: ObjectType::Manifest, object_id }
    }
}

impl Manifest {
    /// An empty manifest.
    pub(crate) fn new(owner: &Owner, written_at: Timestamp, facts: serde_json::Value) -> Self {
        let Owner { vault, tenant, point, run } = owner.clone();
        Self {
            format: FORMAT.to_owned(),
            vault,
            tenant,
            point,
            run,
            written_at,
            facts,
            streams: Vec::new(),
            blobs: Vec::new(),
            packs: Vec::new(),
        }
    }

    /// The stream of that name.
    #[must_use]
    pub fn stream(&self, name: &str) -> Option<&StreamEntry> {
        self.streams.iter().find(|stream| stream.header.name == name)
    }

    /// The document of that name.
    #[must_use]
    pub fn blob(&self, name: &str) -> Option<&BlobEntry> {
        self.blobs.iter().find(|blob| blob.name == name)
    }

    /// The sealed bytes to store.
    pub(crate) fn seal(
        &self,
        owner: &Owner,
        key: &ContentKey,
        framer: &mut Framer,
        random: &dyn Random,
    ) -> Result<Vec<u8>, VaultError> {
        let json = serde_json::to_vec(self).expect("a manifest has text keys only");
        if json.len() > caps::MANIFEST_BYTES_MAX {
            return Err(VaultError::TooLarge { what: "the manifest".to_owned(), limit: caps::MANIFEST_BYTES_MAX });
        }
        envelope::seal(key, &owner.place(&owner.object_id()), &json, framer, random)
    }

    /// Opens stored bytes that must be `owner`'s manifest.
    pub(crate) fn open(sealed: &[u8], owner: &Owner, key: &ContentKey) -> Result<Self, Defect> {
        let json = envelope::open(key, &owner.place(&owner.object_id()), sealed, caps::MANIFEST_BYTES_MAX)?;
        let manifest: Self = serde_json::from_slice(&json).map_err(|_| Defect::Malformed("manifest"))?;
        manifest.check(owner)?;
        Ok(manifest)
    }

    /// Checks that an authenticated manifest is what its place says, and that its references are within bounds.
    fn check(&self, owner: &Owner) -> Result<(), Defect> {
        if self.format != FORMAT {
            return Err(Defect::Malformed("manifest of another format"));
        }
        for (same, what) in [
            (self.vault == owner.vault, "vault"),
            (self.tenant == owner.tenant, "tenant"),
            (self.point == owner.point, "recovery point"),
            (self.run == owner.run, "run"),
            // Packs of earlier runs come with deduplication; until then, another run's pack is a mistake.
            (self.packs.iter().all(|pack| pack.run == owner.run), "run's pack"),
        ] {
            if !same {
                return Err(Defect::BelongsElsewhere(what));
            }
        }
        let mut names = HashSet::new();
        let unique = self.streams.iter().all(|stream| names.insert(("stream", stream.header.name.as_str())))
            && self.blobs.iter().all(|blob| names.insert(("document", blob.name.as_str())));
        if !unique || names.len() > caps::ENTRIES_PER_POINT_MAX {
            return Err(Defect::Malformed("manifest names"));
        }
        let fits = self.streams.iter().all(|stream| self.holds(&stream.chunks))
            && self.blobs.iter().all(|blob| self.holds(&blob.chunks) && total(&blob.chunks) == blob.plaintext_bytes)
            && self.streams.iter().all(|stream| stream.header.check().is_ok())
            && self.blobs.iter().all(|blob| blob.plaintext_bytes <= caps::BLOB_BYTES_MAX as u64);
        if fits { Ok(()) } else { Err(Defect::Malformed("manifest references")) }
    }

    /// Whether every chunk lies inside its pack and within the format's sizes.
    fn holds(&self, chunks: &[ChunkRef]) -> bool {
        chunks.iter().all(|chunk| {
            let plaintext_bytes = chunk.plaintext_bytes as usize;
            let pack = self.packs.get(chunk.pack as usize);
            (1..=caps::CHUNK_BYTES_MAX).contains(&plaintext_bytes)
                && chunk.length as usize <= envelope::sealed_bytes_max(plaintext_bytes)
                && pack.is_some_and(|pack| u64::from(chunk.offset) + u64::from(chunk.length) <= pack.stored_bytes)
        })
    }
}

fn total(chunks: &[ChunkRef]) -> u64 {
    chunks.iter().map(|chunk| u64::from(chunk.plaintext_bytes)).sum()
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(digest(&SHA256, bytes))
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
