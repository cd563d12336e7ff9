//! A vault in memory and a small recovery point to put in it.

use std::sync::Arc;

use domain::{RecoveryPointId, RunId, VaultTenantId};
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use vault::{
    ManifestRef, MemoryKeys, MemoryStore, PointReader, PointWriter, StreamHeader, StreamSink, Vault, VaultError, Written,
};

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) keys: Arc<MemoryKeys>,
    pub(crate) vault: Vault,
}

impl World {
    pub(crate) fn new() -> Self {
        let (store, keys) = (Arc::new(MemoryStore::new()), Arc::new(MemoryKeys::new()));
        let vault = Vault::new(store.clone(), keys.clone(), "main".parse().unwrap());
        Self { store, keys, vault }
    }

    /// The same store and keys under another vault's name.
    pub(crate) fn named(&self, name: &str) -> Vault {
        Vault::new(self.store.clone(), self.keys.clone(), name.parse().unwrap())
    }

    /// Writes a recovery point with the sample's content.
    pub(crate) async fn back_up(&self, names: Names) -> Result<Written, VaultError> {
        let mut writer = self.vault.begin(names.tenant, names.point, names.run).await?;
        write_sample(&mut writer).await?;
        writer.finish(json!({"engine": "PostgreSQL 15"}), noon()).await
    }

    pub(crate) async fn open(&self, names: Names, reference: &ManifestRef) -> Result<PointReader, VaultError> {
        self.vault.open(names.tenant, names.point, reference).await
    }

    /// The findings of a check, as lines.
    pub(crate) async fn findings(&self, names: Names, reference: &ManifestRef) -> Vec<String> {
        let report = self.vault.check(names.tenant, names.point, reference).await.unwrap();
        report.findings.iter().map(ToString::to_string).collect()
    }

    /// The keys of all stored objects that contain `part`.
    pub(crate) fn stored(&self, part: &str) -> Vec<String> {
        self.store.objects().into_keys().filter(|key| key.contains(part)).collect()
    }
}

/// Whose recovery point, and which.
#[derive(Clone, Copy)]
pub(crate) struct Names {
    pub(crate) tenant: VaultTenantId,
    pub(crate) point: RecoveryPointId,
    pub(crate) run: RunId,
}

pub(crate) fn names(tenant: u128, point: u128, run: u128) -> Names {
    Names {
        tenant: VaultTenantId::from_uuid(Uuid::from_u128(tenant)),
        point: RecoveryPointId::from_uuid(Uuid::from_u128(point)),
        run: RunId::from_uuid(Uuid::from_u128(run)),
    }
}

pub(crate) fn noon() -> Timestamp {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

pub(crate) fn header(name: &str) -> StreamHeader {
    StreamHeader {
        name: format!("app.{name}"),
        digest_name: name.to_owned(),
        columns: vec!["id".to_owned(), "name".to_owned()],
        key_columns: vec![0],
    }
}

pub(crate) const PEOPLE: &[u8] = b"1\tada canary\n2\tgrace canary\n3\t\\N\n";
pub(crate) const ARCHIVE: &[u8] = b"CREATE TABLE canary ();";

pub(crate) async fn write_sample(sink: &mut PointWriter) -> Result<(), VaultError> {
    sink.begin_stream(header("people")).await?;
    sink.rows(PEOPLE).await?;
    sink.end_stream().await?;
    sink.begin_stream(header("nobody")).await?;
    sink.end_stream().await?;
    sink.blob("pre-data", ARCHIVE).await
}

/// All rows of a stream.
pub(crate) async fn read(reader: &PointReader, name: &str) -> Result<Vec<u8>, VaultError> {
    let mut stream = reader.stream(name).await?;
    let mut rows = Vec::new();
    while let Some(chunk) = stream.next().await? {
        rows.extend_from_slice(&chunk);
    }
    Ok(rows)
}

/// Bytes that do not compress, the same every time, and hold no newline.
pub(crate) fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend(state.to_le_bytes().map(|byte| if byte == b'\n' { b'.' } else { byte }));
    }
    out.truncate(bytes);
    out
}
