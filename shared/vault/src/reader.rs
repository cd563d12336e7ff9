//! The reader of one recovery point. Every byte it gives was authenticated first, for this tenant, point and place.

use std::{collections::HashMap, ops::Range, sync::Arc};

use bytes::Bytes;
use domain::RunId;
use tokio::sync::Mutex;

use crate::{
    chunk::ChunkCodec,
    chunk_reader::ChunkReader,
    defect::Defect,
    entry::ChunkEntry,
    envelope::SealingKey,
    error::VaultError,
    key_opener::KeyOpener,
    layout,
    link::Link,
    list::StreamId,
    lists::Lists,
    manifest::{Manifest, StreamEntry},
    store::ObjectStore,
    tenant_secret::TenantSecret,
};

/// An opened recovery point. Cheap to clone; its streams and their slices can be read side by side.
#[derive(Clone)]
pub struct PointReader(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    keys: KeyOpener,
    codec: ChunkCodec,
    link: Link,
    lists: Lists,
    manifest: Manifest,
    /// Where each stream is in the manifest.
    streams: HashMap<String, usize>,
    content_keys: Mutex<HashMap<RunId, Arc<SealingKey>>>,
}

impl PointReader {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, keys: KeyOpener, codec: ChunkCodec, link: Link, manifest: Manifest) -> Self {
        let lists = Lists::of(&link, Arc::clone(&store), codec.secret.clone());
        let names = manifest.streams.iter().map(|stream| stream.header.name.clone());
        let streams = names.zip(0..).collect();
        Self(Arc::new(Inner { store, keys, codec, link, lists, manifest, streams, content_keys: Mutex::default() }))
    }

    /// The recovery point's table of contents.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// Its signed link.
    #[must_use]
    pub fn link(&self) -> &Link {
        &self.0.link
    }

    /// The tenant's secret, for hashing live rows without another call to the key service.
    #[must_use]
    pub fn tenant_secret(&self) -> &TenantSecret {
        &self.0.codec.secret
    }

    /// A stream's rows.
    ///
    /// # Errors
    /// If the recovery point has no stream of that name.
    pub fn stream(&self, name: &str) -> Result<StreamReader, VaultError> {
        let index = *self.0.streams.get(name).ok_or_else(|| self.absent("stream", name))?;
        Ok(StreamReader { point: self.clone(), index })
    }

    /// Reads a whole document.
    ///
    /// # Errors
    /// If the recovery point has no document of that name, or a piece of it is missing or not authentic.
    pub async fn blob(&self, name: &str) -> Result<Bytes, VaultError> {
        let blob = self.0.manifest.blob(name).ok_or_else(|| self.absent("document", name))?;
        let mut chunks = ChunkReader::new(self.clone(), blob.segments.clone(), StreamId::DOCUMENT);
        let mut document = Vec::new();
        while let Some((_, piece)) = chunks.next().await? {
            document.extend_from_slice(&piece?);
            if document.len() as u64 > blob.plaintext_bytes {
                break;
            }
        }
        if document.len() as u64 != blob.plaintext_bytes {
            return Err(self.manifest_defect(Defect::Malformed("document of another size")));
        }
        Ok(document.into())
    }

    /// The recovery point's chunk lists.
    pub(crate) fn lists(&self) -> &Lists {
        &self.0.lists
    }

    /// The sealed bytes of a part of a pack.
    pub(crate) async fn pack_range(&self, pack: u32, offset: u64, length: u64) -> Result<Bytes, VaultError> {
        Ok(self.0.store.get_range(&self.pack_key(pack), offset, length).await?)
    }

    /// The content key of the run that wrote a pack; opened once per reader.
    pub(crate) async fn content_key(&self, pack: u32) -> Result<Arc<SealingKey>, VaultError> {
        let run = self.link().packs[pack as usize].run;
        let mut opened = self.0.content_keys.lock().await;
        if let Some(key) = opened.get(&run) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.0.keys.content(run).await?);
        opened.insert(run, Arc::clone(&key));
        Ok(key)
    }

    /// Opens one chunk.
    pub(crate) fn open_chunk(&self, key: &SealingKey, entry: &ChunkEntry, sealed: &[u8]) -> Result<Bytes, VaultError> {
        let opened = self.0.codec.open(key, &entry.id, sealed, entry.plaintext_bytes);
        opened.map(Bytes::from).map_err(|defect| self.chunk_defect(entry, defect))
    }

    /// The object that holds a pack's chunks.
    pub(crate) fn pack_key(&self, pack: u32) -> String {
        layout::pack(self.link().tenant, self.link().packs[pack as usize].id)
    }

    pub(crate) fn chunk_defect(&self, entry: &ChunkEntry, defect: Defect) -> VaultError {
        VaultError::not_authentic(format!("{} at byte {}", self.pack_key(entry.pack), entry.offset), defect)
    }

    pub(crate) fn manifest_defect(&self, defect: Defect) -> VaultError {
        let Link { tenant, point, run, .. } = self.link();
        VaultError::not_authentic(layout::manifest(*tenant, *point, *run), defect)
    }

    fn absent(&self, kind: &'static str, name: &str) -> VaultError {
        VaultError::NotInPoint { point: self.0.manifest.point, kind, name: name.to_owned() }
    }
}

/// One stream of a recovery point.
pub struct StreamReader {
    point: PointReader,
    index: usize,
}

impl StreamReader {
    fn entry(&self) -> &StreamEntry {
        &self.point.0.manifest.streams[self.index]
    }

    /// How many slices it has. They follow each other in row order.
    #[must_use]
    pub fn slices(&self) -> usize {
        self.entry().slices.len()
    }

    /// Starts reading a slice.
    ///
    /// # Panics
    /// If there is no such slice.
    #[must_use]
    pub fn slice(&self, index: usize) -> SliceReader {
        SliceReader::new(self.point.clone(), self.index, index..index + 1)
    }

    /// Starts reading all slices, one after the other.
    #[must_use]
    pub fn all(&self) -> SliceReader {
        SliceReader::new(self.point.clone(), self.index, 0..self.slices())
    }
}

/// Reads the rows of some slices of a stream, chunk by chunk.
pub struct SliceReader {
    point: PointReader,
    chunks: ChunkReader,
    rows_expected: u64,
    rows: u64,
    is_mid_row: bool,
    failed: bool,
}

impl SliceReader {
    fn new(point: PointReader, stream: usize, slices: Range<usize>) -> Self {
        let entry = &point.0.manifest.streams[stream];
        let slices = &entry.slices[slices];
        let segments = slices.iter().flat_map(|slice| slice.segments.clone()).collect();
        let rows_expected = slices.iter().map(|slice| slice.rows).sum();
        let stream = StreamId::of(&point.tenant_secret().rows_key(&entry.header));
        let chunks = ChunkReader::new(point.clone(), segments, stream);
        Self { chunks, point, rows_expected, rows: 0, is_mid_row: false, failed: false }
    }

    /// The rows of the next chunk, authenticated; `None` at the end. Whole lines, except for a row longer than a chunk, which
    /// comes in several: see [`Self::is_mid_row`].
    ///
    /// # Errors
    /// If a chunk is missing or not authentic, or at the end the number of rows is not the manifest's.
    pub async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        if self.failed {
            return Err(VaultError::OutOfOrder("rows behind a chunk that could not be read; read the slice again"));
        }
        let Some((entry, rows)) = self.chunks.next().await? else {
            let (expected, found) = (self.rows_expected, self.rows);
            if expected != found || self.is_mid_row {
                return Err(self.point.manifest_defect(Defect::WrongRowCount { expected, found }));
            }
            return Ok(None);
        };
        let rows = rows.inspect_err(|_| self.failed = true)?;
        self.rows += u64::from(entry.rows);
        self.is_mid_row = entry.continues;
        Ok(Some(rows))
    }

    /// Whether the chunk last given ends inside a row.
    #[must_use]
    pub fn is_mid_row(&self) -> bool {
        self.is_mid_row
    }
}
