//! The manifest: what a recovery point consists of, sealed like everything else.

use std::collections::HashSet;

use domain::{RecoveryPointId, RunId, VaultId, VaultTenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    defect::Defect,
    envelope::{self, ObjectType, Place, SealingKey},
    error::VaultError,
    frame::Framer,
    list::Segment,
    random::Random,
    rows_digest::RowsDigest,
    stream::StreamHeader,
};

const FORMAT: &str = "HF1";

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
    /// Its slices, in row order.
    pub slices: Vec<SliceEntry>,
}

/// A part of a stream that was written, and can be read, beside the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceEntry {
    /// Its rows.
    pub rows: u64,
    /// Where its chunks are listed, in row order.
    pub segments: Vec<Segment>,
}

/// A document: an archive of definitions, a metadata file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobEntry {
    /// Its name.
    pub name: String,
    /// Its size.
    pub plaintext_bytes: u64,
    /// Where its pieces are listed, in order.
    pub segments: Vec<Segment>,
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
    pub(crate) fn object_id(&self) -> [u8; 32] {
        let mut id = [0; 32];
        id[..16].copy_from_slice(self.point.uuid().as_bytes());
        id[16..].copy_from_slice(self.run.uuid().as_bytes());
        id
    }

    pub(crate) fn place<'a>(&'a self, object_type: ObjectType, object_id: &'a [u8]) -> Place<'a> {
        Place { vault: &self.vault, tenant: self.tenant, object_type, object_id }
    }
}

impl Manifest {
    /// An empty manifest.
    pub(crate) fn new(owner: &Owner, written_at: Timestamp, facts: serde_json::Value) -> Self {
        let Owner { vault, tenant, point, run } = owner.clone();
        Self { format: FORMAT.to_owned(), vault, tenant, point, run, written_at, facts, streams: Vec::new(), blobs: Vec::new() }
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
        key: &SealingKey,
        framer: &mut Framer,
        random: &dyn Random,
    ) -> Result<Vec<u8>, VaultError> {
        let json = serde_json::to_vec(self).expect("a manifest has text keys only");
        if json.len() > caps::MANIFEST_BYTES_MAX {
            return Err(VaultError::TooLarge { what: "the manifest".to_owned(), limit: caps::MANIFEST_BYTES_MAX });
        }
        envelope::seal(key, &owner.place(ObjectType::Manifest, &owner.object_id()), &json, framer, random)
    }

    /// Opens stored bytes that must be `owner`'s manifest.
    pub(crate) fn open(sealed: &[u8], owner: &Owner, key: &SealingKey) -> Result<Self, Defect> {
        let json = envelope::open(key, &owner.place(ObjectType::Manifest, &owner.object_id()), sealed, caps::MANIFEST_BYTES_MAX)?;
        Self::read(&json, owner)
    }

    /// Reads an authenticated manifest.
    pub(crate) fn read(json: &[u8], owner: &Owner) -> Result<Self, Defect> {
        let manifest: Self = serde_json::from_slice(json).map_err(|_| Defect::Malformed("manifest"))?;
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
        let fits = self.streams.iter().all(|stream| {
            let rows = stream.slices.iter().try_fold(0_u64, |sum, slice| sum.checked_add(slice.rows));
            stream.header.check().is_ok() && stream.slices.len() <= caps::SLICES_PER_STREAM_MAX && rows == Some(stream.rows)
        }) && self.blobs.iter().all(|blob| blob.plaintext_bytes <= caps::BLOB_BYTES_MAX as u64);
        if fits { Ok(()) } else { Err(Defect::Malformed("manifest counts")) }
    }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
