//! One slice on its way in: cut into chunks here, hashed and sealed on other threads, handed on in order.
//!
//! The one who reads rows only cuts; up to [`caps::CHUNKS_IN_WORK_MAX`] chunks are in work elsewhere, and beyond that the reader
//! waits. So every core has work while rows arrive, and memory stays flat.

use std::{collections::VecDeque, mem, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{
    caps,
    chunk::{ChunkId, SealedChunk},
    chunker::{Chunker, Cut},
    entry::ChunkEntry,
    error::VaultError,
    keys::SecretKey,
    known::KnownChunks,
    list::{Segment, StreamId},
    pack::Filling,
    rows_digest::{RowsDigest, RowsHasher},
    stream::StreamHeader,
    tenant_secret::TenantSecret,
};

/// Where the chunks of slices go.
#[async_trait]
pub(crate) trait ChunkSink: Send + Sync + 'static {
    /// Compresses and seals a chunk that is not known; `None` if nothing is stored. Pure work, called on other threads.
    fn seal(&self, id: ChunkId, plaintext: &[u8]) -> Result<Option<SealedChunk>, VaultError>;

    /// Takes a slice's next chunk.
    async fn take(&self, slice: &mut Taken, chunk: HashedChunk) -> Result<(), VaultError>;
}

/// What a slice has amounted to so far.
pub(crate) struct Taken {
    pub(crate) stream: StreamId,
    pub(crate) rows: u64,
    pub(crate) digest: RowsDigest,
    /// The pack that its chunks go to.
    pub(crate) filling: Option<Filling>,
    /// Entries not yet in a list.
    pub(crate) entries: Vec<ChunkEntry>,
    pub(crate) segments: Vec<Segment>,
}

impl Taken {
    pub(crate) fn nothing(stream: StreamId) -> Self {
        Self { stream, rows: 0, digest: RowsDigest::ZERO, filling: None, entries: Vec::new(), segments: Vec::new() }
    }
}

/// A chunk after the work on it.
pub(crate) struct HashedChunk {
    pub(crate) cut: Cut,
    pub(crate) id: ChunkId,
    pub(crate) digest: RowsDigest,
    pub(crate) content: Content,
}

/// Where a chunk's sealed bytes are.
pub(crate) enum Content {
    /// In the vault already; the entry is the earlier recovery point's.
    Known(ChunkEntry),
    /// Here, to be stored.
    Sealed(SealedChunk),
    /// Nowhere: it was only to be hashed.
    Hashed,
}

/// What all slices of one stream share.
pub(crate) struct StreamContext<S> {
    pub(crate) sink: Arc<S>,
    pub(crate) header: StreamHeader,
    pub(crate) secret: TenantSecret,
    pub(crate) known: Arc<KnownChunks>,
    row_key: SecretKey,
    pub(crate) id: StreamId,
}

impl<S: ChunkSink> StreamContext<S> {
    pub(crate) fn new(sink: Arc<S>, header: StreamHeader, secret: TenantSecret, known: Arc<KnownChunks>) -> Self {
        let row_key = secret.rows_key(&header);
        let id = StreamId::of(&row_key);
        Self { sink, header, secret, known, row_key, id }
    }

    /// Identifies a chunk, digests its rows and seals it, as far as it is not known. `digest` is given for pieces of long rows.
    fn work(&self, cut: Cut, digest: Option<RowsDigest>) -> Result<HashedChunk, VaultError> {
        let id = ChunkId::of(&cut.plaintext, &self.secret);
        let hash = |plaintext: &[u8]| {
            let mut hasher = RowsHasher::under(&self.row_key);
            hasher.update(plaintext);
            hasher.digest()
        };
        let known = self.known.find(&id, self.id).filter(|(entry, _)| entry.plaintext_bytes as usize == cut.plaintext.len());
        if let Some((entry, same_stream)) = known {
            // One row may be the tail of a row longer than a chunk, whose entry has that row's hash.
            let digest_known = same_stream && entry.rows > 1;
            let digest = digest.unwrap_or_else(|| if digest_known { entry.digest } else { hash(&cut.plaintext) });
            return Ok(HashedChunk { id, digest, content: Content::Known(entry.clone()), cut });
        }
        let digest = digest.unwrap_or_else(|| hash(&cut.plaintext));
        let content = self.sink.seal(id, &cut.plaintext)?.map_or(Content::Hashed, Content::Sealed);
        Ok(HashedChunk { id, digest, content, cut })
    }
}

/// A chunk in work. Forgotten when dropped; what is being computed ends by itself.
type Work = JoinHandle<Result<HashedChunk, VaultError>>;

/// Takes one slice's rows.
pub(crate) struct SliceInput<S> {
    context: Arc<StreamContext<S>>,
    chunker: Chunker,
    /// Hashes a row longer than a chunk, piece by piece: the only work that cannot be split.
    long_row: Option<RowsHasher>,
    in_work: VecDeque<Work>,
    taken: Taken,
}

impl<S: ChunkSink> SliceInput<S> {
    pub(crate) fn new(context: Arc<StreamContext<S>>) -> Self {
        let chunker = Chunker::new(&context.secret, context.header.key_columns.clone());
        let taken = Taken::nothing(context.id);
        Self { context, chunker, long_row: None, in_work: VecDeque::new(), taken }
    }

    pub(crate) async fn rows(&mut self, lines: &Bytes) -> Result<(), VaultError> {
        self.context.header.check_lines(lines)?;
        let mut rest: &[u8] = lines;
        while let Some(cut) = self.chunker.take(&mut rest).map_err(|_| self.context.header.key_missing())? {
            self.submit(cut).await?;
        }
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<Taken, VaultError> {
        if let Some(cut) = self.chunker.finish() {
            self.submit(cut).await?;
        }
        while !self.in_work.is_empty() {
            self.take_one().await?;
        }
        Ok(self.taken)
    }

    async fn submit(&mut self, cut: Cut) -> Result<(), VaultError> {
        while self.in_work.len() >= caps::CHUNKS_IN_WORK_MAX {
            self.take_one().await?;
        }
        let digest = self.digest_long_row(&cut);
        let context = Arc::clone(&self.context);
        self.in_work.push_back(tokio::task::spawn_blocking(move || context.work(cut, digest)));
        Ok(())
    }

    /// The digest of a piece of a long row: nothing until its last piece, which has the row's.
    fn digest_long_row(&mut self, cut: &Cut) -> Option<RowsDigest> {
        if !cut.continues && self.long_row.is_none() {
            return None;
        }
        let hasher = self.long_row.get_or_insert_with(|| RowsHasher::under(&self.context.row_key));
        hasher.update(&cut.plaintext);
        let digest = hasher.digest();
        if !cut.continues {
            self.long_row = None;
        }
        Some(digest)
    }

    async fn take_one(&mut self) -> Result<(), VaultError> {
        let Some(work) = self.in_work.pop_front() else { return Ok(()) };
        let chunk = work.await.map_err(|_| VaultError::OutOfOrder("work on a chunk was abandoned; start a new run"))??;
        self.taken.rows += u64::from(chunk.cut.rows);
        self.taken.digest = self.taken.digest.plus(&chunk.digest);
        let context = Arc::clone(&self.context);
        context.sink.take(&mut self.taken, chunk).await
    }
}

/// The summaries of a stream's slices, in their order.
pub(crate) struct Slices(Vec<Option<SliceTotal>>);

/// What a finished slice amounts to.
pub(crate) struct SliceTotal {
    pub(crate) rows: u64,
    pub(crate) digest: RowsDigest,
    pub(crate) segments: Vec<Segment>,
}

impl Slices {
    pub(crate) fn none() -> Self {
        Self(Vec::new())
    }

    /// Makes room for the next slice and says which it is.
    pub(crate) fn begin(&mut self) -> Result<usize, VaultError> {
        if self.0.len() >= caps::SLICES_PER_STREAM_MAX {
            return Err(VaultError::TooLarge {
                what: "the number of slices of a stream".to_owned(),
                limit: caps::SLICES_PER_STREAM_MAX,
            });
        }
        self.0.push(None);
        Ok(self.0.len() - 1)
    }

    pub(crate) fn end(&mut self, index: usize, total: SliceTotal) {
        self.0[index] = Some(total);
    }

    /// The segments of those that have ended before the first that has not.
    pub(crate) fn finished(&self) -> Vec<Vec<Segment>> {
        self.0.iter().map_while(Option::as_ref).map(|total| total.segments.clone()).collect()
    }

    /// All of them, if all have ended.
    pub(crate) fn finish(&mut self) -> Result<Vec<SliceTotal>, VaultError> {
        let all: Option<Vec<_>> = mem::take(&mut self.0).into_iter().collect();
        all.ok_or(VaultError::OutOfOrder("the end of a stream with an open slice"))
    }
}

impl From<Taken> for SliceTotal {
    fn from(taken: Taken) -> Self {
        Self { rows: taken.rows, digest: taken.digest, segments: taken.segments }
    }
}
