//! The reader of one recovery point. Every byte it gives was authenticated first, for this tenant, point and place.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    caps,
    chunk::ChunkCodec,
    defect::Defect,
    error::VaultError,
    layout,
    manifest::{ChunkRef, Manifest},
    store::ObjectStore,
    tenant_secret::TenantSecret,
};

/// An opened recovery point. Cheap to clone; its streams can be read side by side.
#[derive(Clone)]
pub struct PointReader(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    codec: ChunkCodec,
    manifest: Manifest,
}

impl PointReader {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, codec: ChunkCodec, manifest: Manifest) -> Self {
        Self(Arc::new(Inner { store, codec, manifest }))
    }

    /// The recovery point's table of contents.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.0.manifest
    }

    /// The tenant's secret, for hashing live rows without another call to the key service.
    #[must_use]
    pub fn tenant_secret(&self) -> &TenantSecret {
        &self.0.codec.secret
    }

    /// Starts reading a stream's rows from the first.
    ///
    /// # Errors
    /// If the recovery point has no stream of that name.
    pub async fn stream(&self, name: &str) -> Result<StreamReader, VaultError> {
        let index = self.0.manifest.streams.iter().position(|stream| stream.header.name == name);
        let index = index.ok_or_else(|| self.absent("stream", name))?;
        Ok(StreamReader(self.chunks(Entry::Stream(index))))
    }

    /// Reads a whole document.
    ///
    /// # Errors
    /// If the recovery point has no document of that name, or a piece of it is missing or not authentic.
    pub async fn blob(&self, name: &str) -> Result<Bytes, VaultError> {
        let index = self.0.manifest.blobs.iter().position(|blob| blob.name == name);
        let index = index.ok_or_else(|| self.absent("document", name))?;
        let mut chunks = self.chunks(Entry::Blob(index));
        let mut document = Vec::new();
        while let Some(piece) = chunks.next().await {
            document.extend_from_slice(&piece?);
        }
        Ok(document.into())
    }

    /// Reads the chunks of one entry, going on after a damaged one.
    pub(crate) fn chunks(&self, entry: Entry) -> ChunkReader {
        ChunkReader { point: self.clone(), entry, next: 0, window: None }
    }

    fn absent(&self, kind: &'static str, name: &str) -> VaultError {
        VaultError::NotInPoint { point: self.0.manifest.point, kind, name: name.to_owned() }
    }
}

/// Reads one stream, chunk by chunk.
pub struct StreamReader(ChunkReader);

impl StreamReader {
    /// The rows of the next chunk, authenticated; `None` at the end. Whole lines, except for a row longer than a chunk, which
    /// comes in several: see [`Self::is_mid_row`].
    ///
    /// # Errors
    /// If a chunk is missing or not authentic.
    pub async fn next(&mut self) -> Result<Option<Bytes>, VaultError> {
        self.0.next().await.transpose()
    }

    /// Whether the chunk last given ends inside a row.
    #[must_use]
    pub fn is_mid_row(&self) -> bool {
        self.0.next.checked_sub(1).and_then(|last| self.0.refs().get(last)).is_some_and(|chunk| chunk.continues)
    }
}

/// Which list of chunks of a manifest.
#[derive(Clone, Copy)]
pub(crate) enum Entry {
    Stream(usize),
    Blob(usize),
}

/// Reads a list of chunks through a window, so that neighbours in a pack cost one request.
pub(crate) struct ChunkReader {
    point: PointReader,
    entry: Entry,
    next: usize,
    window: Option<Window>,
}

/// Bytes of one pack.
struct Window {
    pack: u32,
    offset: u64,
    bytes: Bytes,
}

impl Window {
    /// The sealed bytes of `chunk`, if they are in here.
    fn slice(&self, chunk: &ChunkRef) -> Option<Bytes> {
        let start = usize::try_from(u64::from(chunk.offset).checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(chunk.length as usize)?;
        (self.pack == chunk.pack && end <= self.bytes.len()).then(|| self.bytes.slice(start..end))
    }
}

impl ChunkReader {
    fn refs(&self) -> &[ChunkRef] {
        let manifest = &self.point.0.manifest;
        match self.entry {
            Entry::Stream(index) => &manifest.streams[index].chunks,
            Entry::Blob(index) => &manifest.blobs[index].chunks,
        }
    }

    /// The reference that the next read is for.
    pub(crate) fn peek(&self) -> Option<&ChunkRef> {
        self.refs().get(self.next)
    }

    /// Passes over a chunk without reading it.
    pub(crate) fn skip(&mut self) {
        self.next += 1;
    }

    /// The object that holds `chunk`.
    pub(crate) fn pack_key(&self, chunk: &ChunkRef) -> String {
        let manifest = &self.point.0.manifest;
        layout::pack(manifest.tenant, manifest.packs[chunk.pack as usize].id)
    }

    /// The next chunk's plaintext. After an error, the one behind it comes next.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, VaultError>> {
        let chunk = self.peek()?.clone();
        let sealed = self.fetch(&chunk).await;
        self.next += 1;
        Some(sealed.and_then(|sealed| {
            let opened = self.point.0.codec.open(&chunk.id, &sealed, chunk.plaintext_bytes);
            opened.map(Bytes::from).map_err(|defect| self.not_authentic(&chunk, defect))
        }))
    }

    async fn fetch(&mut self, chunk: &ChunkRef) -> Result<Bytes, VaultError> {
        if let Some(sealed) = self.window.as_ref().and_then(|window| window.slice(chunk)) {
            return Ok(sealed);
        }
        self.window = None;
        let (offset, length) = (u64::from(chunk.offset), self.window_bytes(chunk));
        let bytes = self.point.0.store.get_range(&self.pack_key(chunk), offset, length).await?;
        let window = self.window.insert(Window { pack: chunk.pack, offset, bytes });
        window.slice(chunk).ok_or(()).map_err(|()| self.not_authentic(chunk, Defect::WrongSize))
    }

    /// How much to fetch: this chunk, and those that follow it directly, up to the window's size.
    fn window_bytes(&self, chunk: &ChunkRef) -> u64 {
        let start = u64::from(chunk.offset);
        let mut end = start + u64::from(chunk.length);
        for next in &self.refs()[self.next + 1..] {
            let next_end = u64::from(next.offset) + u64::from(next.length);
            if next.pack != chunk.pack || u64::from(next.offset) != end || next_end - start > caps::READ_WINDOW_BYTES {
                break;
            }
            end = next_end;
        }
        end - start
    }

    fn not_authentic(&self, chunk: &ChunkRef, defect: Defect) -> VaultError {
        VaultError::not_authentic(format!("{} at byte {}", self.pack_key(chunk), chunk.offset), defect)
    }
}
