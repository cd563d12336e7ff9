//! Hashes live rows as a backup would, and stores nothing: how a restored table is proven equal.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    chunk::{ChunkId, SealedChunk},
    error::VaultError,
    known::KnownChunks,
    progress::Progress,
    reader::PointReader,
    rows_digest::RowsDigest,
    slice::{ChunkSink, HashedChunk, SliceInput, Slices, StreamContext, Taken},
    stream::{OpenStream, SliceSink, StreamHeader, StreamSink, StreamSummary},
    tenant_secret::TenantSecret,
    writer::lock,
};

/// A sink that only counts and digests.
pub struct Digester {
    secret: TenantSecret,
    known: Arc<KnownChunks>,
}

impl Digester {
    /// A digester for one tenant's rows.
    #[must_use]
    pub fn new(secret: &TenantSecret) -> Self {
        Self { secret: secret.clone(), known: Arc::default() }
    }

    /// A digester that expects to meet a recovery point's rows: where a chunk equals one of its, no row need be hashed by itself.
    /// The digests are the same as [`Self::new`] gives, only sooner.
    ///
    /// # Errors
    /// If the recovery point's lists are missing or not authentic.
    pub async fn against(point: &PointReader) -> Result<Self, VaultError> {
        let known = point.lists().known_chunks(|_| true).await?;
        Ok(Self { secret: point.tenant_secret().clone(), known: Arc::new(known) })
    }
}

/// Chunks go nowhere.
struct Nowhere;

#[async_trait]
impl ChunkSink for Nowhere {
    fn seal(&self, _: ChunkId, _: &[u8]) -> Result<Option<SealedChunk>, VaultError> {
        Ok(None)
    }

    async fn take(&self, _: &mut Taken, _: HashedChunk) -> Result<(), VaultError> {
        Ok(())
    }
}

impl StreamSink for Digester {
    fn open(&self, header: StreamHeader) -> Result<Box<dyn OpenStream>, VaultError> {
        header.check()?;
        let context = StreamContext::new(Arc::new(Nowhere), header, self.secret.clone(), Arc::clone(&self.known));
        Ok(Box::new(StreamDigester { context: Arc::new(context), slices: Arc::new(Mutex::new(Slices::none())) }))
    }
}

struct StreamDigester {
    context: Arc<StreamContext<Nowhere>>,
    slices: Arc<Mutex<Slices>>,
}

#[async_trait]
impl OpenStream for StreamDigester {
    fn slice(&self) -> Result<Box<dyn SliceSink>, VaultError> {
        let index = lock(&self.slices).begin()?;
        let input = SliceInput::new(Arc::clone(&self.context));
        Ok(Box::new(SliceDigester { input, index, slices: Arc::clone(&self.slices) }))
    }

    async fn adopt(&self, _: &Progress, _: usize) -> Result<(), VaultError> {
        Err(VaultError::OutOfOrder("a digest is of live rows, never of an earlier run's"))
    }

    async fn end(self: Box<Self>) -> Result<StreamSummary, VaultError> {
        let slices = lock(&self.slices).finish()?;
        Ok(StreamSummary {
            name: self.context.header.name.clone(),
            rows: slices.iter().map(|slice| slice.rows).sum(),
            digest: slices.iter().fold(RowsDigest::ZERO, |sum, slice| sum.plus(&slice.digest)),
        })
    }
}

struct SliceDigester {
    input: SliceInput<Nowhere>,
    index: usize,
    slices: Arc<Mutex<Slices>>,
}

#[async_trait]
impl SliceSink for SliceDigester {
    async fn rows(&mut self, lines: Bytes) -> Result<(), VaultError> {
        self.input.rows(&lines).await
    }

    async fn end(self: Box<Self>) -> Result<(), VaultError> {
        let total = self.input.end().await?.into();
        lock(&self.slices).end(self.index, total);
        Ok(())
    }
}
