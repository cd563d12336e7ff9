//! What a run had done when it stopped: finished slices that a later run need not read again.

use domain::{RecoveryPointId, RunId, VaultId, VaultTenantId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    caps,
    defect::Defect,
    entry::ChunkEntry,
    envelope::{self, ObjectType},
    error::VaultError,
    frame::Framer,
    link::{PackEntry, StoredObject},
    list::{Segment, StreamId},
    lists::Lists,
    manifest::Owner,
    random::Random,
    stream::StreamHeader,
    tenant_secret::TenantSecret,
};

const FORMAT: &str = "HF1 progress";

/// The stored record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ProgressRecord {
    format: String,
    vault: VaultId,
    tenant: VaultTenantId,
    point: RecoveryPointId,
    run: RunId,
    /// The source's own account of its view and of what each slice covers.
    pub(crate) account: Value,
    pub(crate) streams: Vec<StreamProgress>,
    pub(crate) lists: Vec<StoredObject>,
    pub(crate) packs: Vec<PackEntry>,
}

/// How far a stream had come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StreamProgress {
    pub(crate) header: StreamHeader,
    /// The finished slices before the first unfinished one.
    pub(crate) slices: Vec<Vec<Segment>>,
}

impl ProgressRecord {
    pub(crate) fn new(owner: &Owner, account: Value, lists: Vec<StoredObject>, packs: Vec<PackEntry>) -> Self {
        let Owner { vault, tenant, point, run } = owner.clone();
        Self { format: FORMAT.to_owned(), vault, tenant, point, run, account, streams: Vec::new(), lists, packs }
    }

    pub(crate) fn seal(
        &self,
        owner: &Owner,
        secret: &TenantSecret,
        framer: &mut Framer,
        random: &dyn Random,
    ) -> Result<Vec<u8>, VaultError> {
        let json = serde_json::to_vec(self).expect("progress has text keys only");
        if json.len() > caps::MANIFEST_BYTES_MAX {
            return Err(VaultError::TooLarge { what: "the run's progress".to_owned(), limit: caps::MANIFEST_BYTES_MAX });
        }
        envelope::seal(secret.list_key(), &owner.place(ObjectType::Progress, &owner.object_id()), &json, framer, random)
    }

    pub(crate) fn open(sealed: &[u8], owner: &Owner, secret: &TenantSecret) -> Result<Self, Defect> {
        let id = owner.object_id();
        let place = owner.place(ObjectType::Progress, &id);
        let json = envelope::open(secret.list_key(), &place, sealed, caps::MANIFEST_BYTES_MAX)?;
        Self::read(&json, owner)
    }

    /// Reads an authenticated record.
    pub(crate) fn read(json: &[u8], owner: &Owner) -> Result<Self, Defect> {
        let record: Self = serde_json::from_slice(json).map_err(|_| Defect::Malformed("progress"))?;
        let Owner { vault, tenant, point, run } = owner;
        let ours = (&record.vault, record.tenant, record.point, record.run) == (vault, *tenant, *point, *run);
        if !ours || record.format != FORMAT {
            return Err(Defect::BelongsElsewhere("run"));
        }
        Ok(record)
    }
}

/// What an earlier run of the same recovery point left.
pub struct Progress {
    pub(crate) record: ProgressRecord,
    pub(crate) lists: Lists,
}

impl Progress {
    /// The source's own account of its view and of what each slice covers.
    #[must_use]
    pub fn account(&self) -> &Value {
        &self.record.account
    }

    /// How many finished slices of a stream can be taken over: 0 unless its columns and key are still the same.
    #[must_use]
    pub fn slices(&self, header: &StreamHeader) -> usize {
        self.stream(header).map_or(0, |stream| stream.slices.len())
    }

    fn stream(&self, header: &StreamHeader) -> Option<&StreamProgress> {
        self.record.streams.iter().find(|stream| stream.header == *header)
    }

    /// The chunks of a finished slice.
    pub(crate) async fn entries(
        &self,
        header: &StreamHeader,
        slice: usize,
        stream: StreamId,
    ) -> Result<Vec<ChunkEntry>, VaultError> {
        let segments = self.stream(header).and_then(|found| found.slices.get(slice));
        let segments = segments.ok_or(VaultError::OutOfOrder("a slice is taken over that the earlier run did not finish"))?;
        let mut entries = Vec::new();
        for segment in segments {
            entries.extend(self.lists.segment(segment, stream).await?);
        }
        Ok(entries)
    }

    /// The pack that a chunk of an earlier slice lies in.
    pub(crate) fn pack(&self, entry: &ChunkEntry) -> &PackEntry {
        &self.record.packs[entry.pack as usize]
    }
}
