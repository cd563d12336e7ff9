//! A vault in memory and small recovery points to put in it.

use std::sync::Arc;

use bytes::Bytes;
use domain::{RecoveryPointId, RunId, VaultTenantId};
use futures::future::try_join_all;
use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;
use vault::{
    MemoryKeys, MemorySigning, MemoryStore, ObjectStore, Parent, PointReader, PointRef, PointWriter, Share, StreamHeader,
    StreamSink, StreamSummary, Vault, VaultError, Written,
};

pub(crate) struct World {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) keys: Arc<MemoryKeys>,
    pub(crate) signing: Arc<MemorySigning>,
    pub(crate) vault: Vault,
}

impl World {
    pub(crate) fn new() -> Self {
        let (store, keys, signing) = (Arc::new(MemoryStore::new()), Arc::new(MemoryKeys::new()), Arc::new(MemorySigning::new()));
        let vault = Vault::new(store.clone(), keys.clone(), signing.clone(), "main".parse().unwrap());
        Self { store, keys, signing, vault }
    }

    /// The same store and keys under another vault's name.
    pub(crate) fn named(&self, name: &str) -> Vault {
        Vault::new(self.store.clone(), self.keys.clone(), self.signing.clone(), name.parse().unwrap())
    }

    /// The same vault over another view of the store.
    pub(crate) fn over(&self, store: Arc<dyn ObjectStore>) -> Vault {
        Vault::new(store, self.keys.clone(), self.signing.clone(), "main".parse().unwrap())
    }

    /// The same vault as seen by someone with another signing key.
    pub(crate) fn signed_by(&self, signing: Arc<MemorySigning>) -> Vault {
        Vault::new(self.store.clone(), self.keys.clone(), signing, "main".parse().unwrap())
    }

    /// A recovery point without a parent, begun.
    pub(crate) async fn begin(&self, names: Names) -> PointWriter {
        self.vault.begin(names.tenant, names.point, names.run, None).await.unwrap()
    }

    /// Writes a recovery point with the sample's content.
    pub(crate) async fn back_up(&self, names: Names) -> Result<Written, VaultError> {
        back_up(&self.vault, names, None).await
    }

    /// Writes a recovery point of one stream.
    pub(crate) async fn back_up_rows(&self, names: Names, parent: Option<&Parent>, header: StreamHeader, rows: &[u8]) -> Written {
        let writer = self.vault.begin(names.tenant, names.point, names.run, parent).await.unwrap();
        write(&writer, header, rows).await.unwrap();
        finish(writer).await
    }

    pub(crate) async fn open(&self, names: Names, reference: &PointRef) -> Result<PointReader, VaultError> {
        self.vault.open(names.tenant, names.point, reference).await
    }

    /// Opens a recovery point and reads one of its streams.
    pub(crate) async fn read(&self, names: Names, reference: &PointRef, name: &str) -> Result<Vec<u8>, VaultError> {
        read(&self.open(names, reference).await?, name).await
    }

    /// The findings of a check of everything, as lines.
    pub(crate) async fn findings(&self, names: Names, reference: &PointRef) -> Vec<String> {
        let report = self.vault.check(names.tenant, names.point, reference, Share::ALL).await.unwrap();
        report.findings.iter().map(ToString::to_string).collect()
    }

    /// The findings of a check of the tenant's chain, as lines.
    pub(crate) async fn chain_findings(&self, names: Names, published: u64) -> Vec<String> {
        let report = self.vault.check_chain(names.tenant, 0, published).await.unwrap();
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

impl Names {
    /// This recovery point as the next one's parent.
    pub(crate) fn parent(self, reference: &PointRef) -> Parent {
        Parent { point: self.point, reference: reference.clone() }
    }
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

/// Writes a recovery point with the sample's content to any vault.
pub(crate) async fn back_up(vault: &Vault, names: Names, parent: Option<&Parent>) -> Result<Written, VaultError> {
    let writer = vault.begin(names.tenant, names.point, names.run, parent).await?;
    write_sample(&writer).await?;
    writer.finish(json!({"engine": "PostgreSQL 15"}), noon()).await
}

pub(crate) async fn write_sample(writer: &PointWriter) -> Result<(), VaultError> {
    write(writer, header("people"), PEOPLE).await?;
    write(writer, header("nobody"), b"").await?;
    writer.blob("pre-data", ARCHIVE).await
}

/// Writes a stream of one slice.
pub(crate) async fn write(sink: &dyn StreamSink, header: StreamHeader, rows: &[u8]) -> Result<StreamSummary, VaultError> {
    write_slices(sink, header, &[rows.to_vec()]).await
}

/// Writes a stream of several slices side by side, each in pieces of a few rows.
pub(crate) async fn write_slices(
    sink: &dyn StreamSink,
    header: StreamHeader,
    slices: &[Vec<u8>],
) -> Result<StreamSummary, VaultError> {
    let stream = sink.open(header)?;
    let slices = slices.iter().map(|rows| {
        let slice = stream.slice();
        async move {
            let mut slice = slice?;
            for piece in pieces(rows) {
                slice.rows(piece).await?;
            }
            slice.end().await
        }
    });
    try_join_all(slices).await?;
    stream.end().await
}

/// Rows as a source hands them over: some 100 kB of whole lines at a time.
fn pieces(mut rows: &[u8]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    while !rows.is_empty() {
        let from = rows.len().min(100_000);
        let end = rows[from - 1..].iter().position(|byte| *byte == b'\n').map_or(rows.len(), |more| from + more);
        let (piece, rest) = rows.split_at(end);
        pieces.push(Bytes::copy_from_slice(piece));
        rows = rest;
    }
    pieces
}

pub(crate) async fn finish(writer: PointWriter) -> Written {
    writer.finish(json!(null), noon()).await.unwrap()
}

/// All rows of a stream.
pub(crate) async fn read(reader: &PointReader, name: &str) -> Result<Vec<u8>, VaultError> {
    let mut slices = reader.stream(name)?.all();
    let mut rows = Vec::new();
    while let Some(chunk) = slices.next().await? {
        rows.extend_from_slice(&chunk);
    }
    Ok(rows)
}

/// The code of an error that must be one.
pub(crate) fn code<T>(result: Result<T, VaultError>) -> domain::ErrorCode {
    domain::Coded::code(&result.err().unwrap())
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

/// Rows of about `width` bytes with keys from `keys`, which do not compress; another `version` has other content.
pub(crate) fn table(keys: std::ops::Range<u64>, width: usize, version: u64) -> Vec<u8> {
    let row = |key: u64| [format!("{key}\t").into_bytes(), noise(width, (key << 8) | version), b"\n".to_vec()].concat();
    keys.flat_map(row).collect()
}
