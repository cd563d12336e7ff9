//! The writer of one recovery point: cut, identify, compress, seal, pack, upload.
//!
//! Memory is flat: one chunk being cut, one pack being filled, a fixed number of packs on their way, and the chunk references.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{RecoveryPointId, RunId};
use jiff::Timestamp;

use crate::{
    caps,
    chunk::ChunkCodec,
    chunker::{Chunker, Cut},
    error::VaultError,
    frame::Framer,
    layout,
    manifest::{BlobEntry, ChunkRef, Manifest, ManifestRef, Owner, StreamEntry, sha256},
    pack::PackWriter,
    random::Random,
    rows_digest::RowsHasher,
    store::ObjectStore,
    stream::{StreamHeader, StreamSink, StreamSummary},
    tenant_secret::TenantSecret,
};

/// What a finished writer left in the vault. It counts only once the caller has published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What to publish in the catalog.
    pub manifest: ManifestRef,
    /// Rows of all streams.
    pub rows: u64,
    /// Rows and documents before compression.
    pub plaintext_bytes: u64,
    /// Packs and manifest as stored.
    pub stored_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// Packs.
    pub packs: u64,
}

/// Writes one recovery point. After an error, or when dropped inside a call, it takes nothing more: start a new run.
pub struct PointWriter {
    store: Arc<dyn ObjectStore>,
    random: Arc<dyn Random>,
    owner: Owner,
    codec: ChunkCodec,
    framer: Framer,
    packs: PackWriter,
    open: Option<OpenStream>,
    streams: Vec<StreamEntry>,
    blobs: Vec<BlobEntry>,
    names: HashSet<(&'static str, String)>,
    chunks: usize,
    plaintext_bytes: u64,
    broken: bool,
}

struct OpenStream {
    header: StreamHeader,
    hasher: RowsHasher,
    chunker: Chunker,
    chunks: Vec<ChunkRef>,
}

impl PointWriter {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, random: Arc<dyn Random>, owner: Owner, codec: ChunkCodec) -> Self {
        let packs = PackWriter::new(Arc::clone(&store), Arc::clone(&random), owner.tenant, owner.run);
        Self {
            store,
            random,
            owner,
            codec,
            framer: Framer::new(),
            packs,
            open: None,
            streams: Vec::new(),
            blobs: Vec::new(),
            names: HashSet::new(),
            chunks: 0,
            plaintext_bytes: 0,
            broken: false,
        }
    }

    /// The recovery point being written.
    #[must_use]
    pub fn point(&self) -> RecoveryPointId {
        self.owner.point
    }

    /// The run that writes it.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.owner.run
    }

    /// The tenant's secret, for hashing live rows without another call to the key service.
    #[must_use]
    pub fn tenant_secret(&self) -> &TenantSecret {
        &self.codec.secret
    }

    /// Stores a document under a name unique among documents. It may come between streams or inside one.
    ///
    /// # Errors
    /// If the name is taken, a limit is reached, or it cannot be stored.
    pub async fn blob(&mut self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        self.start_step()?;
        if bytes.len() > caps::BLOB_BYTES_MAX {
            return Err(VaultError::TooLarge { what: format!("document `{name}`"), limit: caps::BLOB_BYTES_MAX });
        }
        self.take_name("document", name)?;
        let mut chunks = Vec::new();
        for piece in bytes.chunks(caps::BLOB_PIECE_BYTES) {
            chunks.push(self.store_chunk(piece, 0, false).await?);
        }
        self.blobs.push(BlobEntry { name: name.to_owned(), plaintext_bytes: bytes.len() as u64, chunks });
        self.end_step();
        Ok(())
    }

    /// Waits until every pack is durable, then stores the manifest. `facts` is the source's own account of what it exported.
    ///
    /// # Errors
    /// If a stream is still open, an earlier step failed, or something cannot be stored. Nothing is then to be published.
    pub async fn finish(mut self, facts: serde_json::Value, written_at: Timestamp) -> Result<Written, VaultError> {
        self.start_step()?;
        if self.open.is_some() {
            return Err(VaultError::OutOfOrder("finish before the open stream's end"));
        }
        let packs = self.packs.finish().await?;
        let mut manifest = Manifest::new(&self.owner, written_at, facts);
        (manifest.streams, manifest.blobs, manifest.packs) = (self.streams, self.blobs, packs);
        let sealed = manifest.seal(&self.owner, &self.codec.key, &mut self.framer, self.random.as_ref())?;
        let written = Written {
            manifest: ManifestRef {
                key: layout::manifest(self.owner.tenant, self.owner.point, self.owner.run),
                sha256: sha256(&sealed),
            },
            rows: manifest.streams.iter().map(|stream| stream.rows).sum(),
            plaintext_bytes: self.plaintext_bytes,
            stored_bytes: manifest.packs.iter().map(|pack| pack.stored_bytes).sum::<u64>() + sealed.len() as u64,
            chunks: self.chunks as u64,
            packs: manifest.packs.len() as u64,
        };
        self.store.put_new(&written.manifest.key, Bytes::from(sealed)).await?;
        Ok(written)
    }

    /// Marks the writer broken until [`Self::end_step`], so that a failed or abandoned step can never be finished over.
    fn start_step(&mut self) -> Result<(), VaultError> {
        if std::mem::replace(&mut self.broken, true) {
            return Err(VaultError::OutOfOrder("an earlier step failed; start a new run"));
        }
        Ok(())
    }

    fn end_step(&mut self) {
        self.broken = false;
    }

    fn take_name(&mut self, kind: &'static str, name: &str) -> Result<(), VaultError> {
        let refuse = |reason: String| Err(VaultError::NotRows { stream: name.to_owned(), reason });
        if !(1..=caps::NAME_BYTES_MAX).contains(&name.len()) {
            return refuse(format!("the {kind}'s name must have 1 to {} bytes", caps::NAME_BYTES_MAX));
        }
        if self.names.len() >= caps::ENTRIES_PER_POINT_MAX {
            return Err(VaultError::TooLarge { what: "the number of streams".to_owned(), limit: caps::ENTRIES_PER_POINT_MAX });
        }
        if !self.names.insert((kind, name.to_owned())) {
            return refuse(format!("the recovery point already has a {kind} of that name"));
        }
        Ok(())
    }

    async fn store_chunk(&mut self, plaintext: &[u8], rows: u32, continues: bool) -> Result<ChunkRef, VaultError> {
        if self.chunks >= caps::CHUNKS_PER_POINT_MAX {
            return Err(VaultError::TooLarge {
                what: "the recovery point's chunks".to_owned(),
                limit: caps::CHUNKS_PER_POINT_MAX,
            });
        }
        let sealed = self.codec.seal(plaintext, &mut self.framer, self.random.as_ref())?;
        let position = self.packs.append(&sealed.bytes).await?;
        self.chunks += 1;
        self.plaintext_bytes += plaintext.len() as u64;
        Ok(ChunkRef {
            id: sealed.id,
            pack: position.pack,
            offset: position.offset,
            length: position.length,
            plaintext_bytes: sealed.plaintext_bytes,
            rows,
            continues,
        })
    }

    async fn store_cut(&mut self, stream: &mut OpenStream, cut: Cut) -> Result<(), VaultError> {
        let chunk = self.store_chunk(&cut.plaintext, cut.rows, cut.continues).await?;
        stream.chunks.push(chunk);
        Ok(())
    }
}

#[async_trait]
impl StreamSink for PointWriter {
    async fn begin_stream(&mut self, header: StreamHeader) -> Result<(), VaultError> {
        self.start_step()?;
        if self.open.is_some() {
            return Err(VaultError::OutOfOrder("a stream begins before the last one's end"));
        }
        header.check()?;
        self.take_name("stream", &header.name)?;
        self.open = Some(OpenStream {
            hasher: RowsHasher::new(&self.codec.secret, &header),
            chunker: Chunker::new(&self.codec.secret, header.key_columns.clone()),
            chunks: Vec::new(),
            header,
        });
        self.end_step();
        Ok(())
    }

    async fn rows(&mut self, lines: &[u8]) -> Result<(), VaultError> {
        self.start_step()?;
        let mut stream = self.open.take().ok_or(VaultError::OutOfOrder("rows outside a stream"))?;
        stream.header.check_lines(lines)?;
        stream.hasher.update(lines);
        let mut rest = lines;
        while let Some(cut) = stream.chunker.take(&mut rest).map_err(|_| stream.header.key_missing())? {
            self.store_cut(&mut stream, cut).await?;
        }
        self.open = Some(stream);
        self.end_step();
        Ok(())
    }

    async fn end_stream(&mut self) -> Result<StreamSummary, VaultError> {
        self.start_step()?;
        let OpenStream { header, hasher, chunker, mut chunks } =
            self.open.take().ok_or(VaultError::OutOfOrder("the end of a stream that never began"))?;
        if let Some(cut) = chunker.finish() {
            chunks.push(self.store_chunk(&cut.plaintext, cut.rows, cut.continues).await?);
        }
        let summary = StreamSummary { name: header.name.clone(), rows: hasher.rows(), digest: hasher.digest() };
        self.streams.push(StreamEntry { header, rows: summary.rows, digest: summary.digest, chunks });
        self.end_step();
        Ok(summary)
    }
}
