//! The writer of one recovery point: streams and documents in, packs, lists, a manifest and a link out.
//!
//! Several streams, and several slices of each, can be written at once. Memory is flat: per slice a few chunks in work; one pack and
//! one list being filled, and a fixed number on their way.

use std::{
    collections::HashSet,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use domain::{RecoveryPointId, RunId};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use crate::{
    caps,
    chain::Chain,
    chunk::{ChunkCodec, ChunkId, SealedChunk},
    chunker::Cut,
    entry::ChunkEntry,
    error::VaultError,
    frame::{Framer, Framers},
    known::KnownChunks,
    layout,
    link::{LinkContent, PackEntry, PointRef, StoredObject},
    list::{SEGMENT_ENTRIES_MAX, StreamId},
    list_writer::ListWriter,
    manifest::{BlobEntry, Manifest, Owner, SliceEntry, StreamEntry},
    pack::{PackWriter, Position},
    progress::{Progress, ProgressRecord, StreamProgress},
    random::Random,
    rows_digest::RowsDigest,
    sharing,
    slice::{ChunkSink, Content, HashedChunk, SliceInput, SliceTotal, Slices, StreamContext, Taken},
    store::ObjectStore,
    stream::{OpenStream, SliceSink, StreamHeader, StreamSink, StreamSummary},
    tenant_secret::TenantSecret,
};

/// What a finished writer left in the vault. It counts only once the caller has published it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What to publish in the catalog.
    pub point: PointRef,
    /// Rows of all streams.
    pub rows: u64,
    /// Rows and documents before compression.
    pub plaintext_bytes: u64,
    /// What this run stored: packs, lists, manifest and link.
    pub stored_bytes: u64,
    /// Chunks.
    pub chunks: u64,
    /// Those that an earlier recovery point had stored.
    pub chunks_reused: u64,
    /// Packs that the recovery point needs, whoever wrote them.
    pub packs: u64,
}

/// Writes one recovery point. After an error it takes nothing more: start a new run.
pub struct PointWriter(Arc<Writing>);

/// What the writer, its streams and their slices share.
pub(crate) struct Writing {
    store: Arc<dyn ObjectStore>,
    random: Arc<dyn Random>,
    owner: Owner,
    codec: ChunkCodec,
    chain: Chain,
    /// A place in the chain that is known to have been taken.
    after: AtomicU64,
    framers: Arc<Framers>,
    known: Arc<KnownChunks>,
    /// For how long what is shared must stay locked; nothing if nobody deletes.
    lock_for: Option<SignedDuration>,
    packs: tokio::sync::Mutex<PackWriter>,
    lists: tokio::sync::Mutex<ListWriter>,
    entries: Mutex<Entries>,
    chunks: AtomicU64,
    chunks_reused: AtomicU64,
    plaintext_bytes: AtomicU64,
    broken: AtomicBool,
}

/// The manifest's entries so far.
#[derive(Default)]
struct Entries {
    names: HashSet<(&'static str, String)>,
    /// In the order opened.
    streams: Vec<OpenedStream>,
    blobs: Vec<BlobEntry>,
}

struct OpenedStream {
    header: StreamHeader,
    slices: Arc<Mutex<Slices>>,
    ended: Option<StreamEntry>,
}

impl PointWriter {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        random: Arc<dyn Random>,
        owner: Owner,
        codec: ChunkCodec,
        chain: Chain,
        parent: (u64, KnownChunks),
        lock_for: Option<SignedDuration>,
    ) -> Self {
        let framers = Arc::<Framers>::default();
        let packs = PackWriter::new(Arc::clone(&store), Arc::clone(&random), owner.tenant, owner.run);
        let lists =
            ListWriter::new(Arc::clone(&store), Arc::clone(&random), Arc::clone(&framers), owner.clone(), codec.secret.clone());
        let (after, known) = parent;
        Self(Arc::new(Writing {
            store,
            random,
            owner,
            codec,
            chain,
            after: after.into(),
            framers,
            known: Arc::new(known),
            lock_for,
            packs: packs.into(),
            lists: lists.into(),
            entries: Mutex::default(),
            chunks: AtomicU64::new(0),
            chunks_reused: AtomicU64::new(0),
            plaintext_bytes: AtomicU64::new(0),
            broken: AtomicBool::new(false),
        }))
    }

    /// The recovery point being written.
    #[must_use]
    pub fn point(&self) -> RecoveryPointId {
        self.0.owner.point
    }

    /// The run that writes it.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.0.owner.run
    }

    /// The tenant's secret, for hashing live rows without another call to the key service.
    #[must_use]
    pub fn tenant_secret(&self) -> &TenantSecret {
        &self.0.codec.secret
    }

    /// Says which place in the tenant's chain was published last, whoever published it. Its link is never replaced then, even if it is
    /// gone: a gap shows, a link that was written twice does not.
    pub fn behind(&self, published: u64) {
        self.0.after.fetch_max(published, SeqCst);
    }

    /// Stores a document under a name unique among documents.
    ///
    /// # Errors
    /// If the name is taken, a limit is reached, or it cannot be stored.
    pub async fn blob(&self, name: &str, bytes: &[u8]) -> Result<(), VaultError> {
        let writing = &self.0;
        writing
            .guard(async {
                if bytes.len() > caps::BLOB_BYTES_MAX {
                    return Err(VaultError::TooLarge { what: format!("document `{name}`"), limit: caps::BLOB_BYTES_MAX });
                }
                writing.entries().take_name("document", name)?;
                let mut taken = Taken::nothing(StreamId::DOCUMENT);
                for piece in bytes.chunks(caps::BLOB_PIECE_BYTES) {
                    writing.take(&mut taken, writing.document_piece(piece)?).await?;
                }
                writing.end_slice(&mut taken).await?;
                let entry = BlobEntry { name: name.to_owned(), plaintext_bytes: bytes.len() as u64, segments: taken.segments };
                writing.entries().blobs.push(entry);
                Ok(())
            })
            .await
    }

    /// Waits until every pack and list is durable, then stores the manifest and signs the link. `facts` is the source's own account of
    /// what it exported.
    ///
    /// # Errors
    /// If a stream is still open, an earlier step failed, or something cannot be stored. Nothing is then to be published.
    pub async fn finish(self, facts: serde_json::Value, written_at: Timestamp) -> Result<Written, VaultError> {
        let writing = &self.0;
        writing.guard(writing.finish(facts, written_at)).await
    }

    /// Stops before the end, keeping the slices that have ended for [`OpenStream::adopt`] in a later run. Of each stream those before the
    /// first that has not ended count. `account` is the source's own: which view it read, and what each slice covers.
    ///
    /// # Errors
    /// If an earlier step failed or something cannot be stored. The next run then begins anew.
    pub async fn suspend(self, account: serde_json::Value) -> Result<(), VaultError> {
        let writing = &self.0;
        writing.guard(writing.suspend(account)).await
    }
}

/// Marks a writer as broken, unless it is forgotten.
struct Unfinished<'a>(&'a AtomicBool);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

impl Writing {
    /// Refuses work after a failure, and remembers one: a failed step can never be finished over.
    async fn guard<T>(&self, step: impl Future<Output = Result<T, VaultError>>) -> Result<T, VaultError> {
        if self.broken.load(SeqCst) {
            return Err(VaultError::OutOfOrder("an earlier step failed; start a new run"));
        }
        // A step that is dropped half way has lost what it held, as one that failed has.
        let unfinished = Unfinished(&self.broken);
        let done = step.await?;
        mem::forget(unfinished);
        Ok(done)
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn document_piece(&self, piece: &[u8]) -> Result<HashedChunk, VaultError> {
        let id = ChunkId::of(piece, &self.codec.secret);
        let content = match self.known.find(&id, StreamId::DOCUMENT) {
            Some((entry, _)) if entry.plaintext_bytes as usize == piece.len() => Content::Known(entry.clone()),
            _ => Content::Sealed(self.seal_chunk(id, piece)?),
        };
        let cut = Cut { plaintext: piece.to_vec(), rows: 0, continues: false };
        Ok(HashedChunk { cut, id, digest: RowsDigest::ZERO, content })
    }

    fn seal_chunk(&self, id: ChunkId, plaintext: &[u8]) -> Result<SealedChunk, VaultError> {
        self.framers.with(|framer| self.codec.seal(id, plaintext, framer, self.random.as_ref()))
    }

    /// Puts a slice's waiting entries into a list.
    async fn flush(&self, slice: &mut Taken) -> Result<(), VaultError> {
        if !slice.entries.is_empty() {
            let segment = self.lists.lock().await.append(slice.stream, &slice.entries).await?;
            slice.segments.push(segment);
            slice.entries.clear();
        }
        Ok(())
    }

    /// Ends a slice: its entries go into a list, and its pack to the next slice.
    async fn end_slice(&self, slice: &mut Taken) -> Result<(), VaultError> {
        self.packs.lock().await.give_back(slice.filling.take());
        self.flush(slice).await
    }

    async fn suspend(&self, account: serde_json::Value) -> Result<(), VaultError> {
        let streams = mem::take(&mut self.entries().streams);
        let packs = self.packs.lock().await.finish().await?;
        let lists = self.lists.lock().await.finish().await?;
        let mut record = ProgressRecord::new(&self.owner, account, lists, packs);
        record.streams = streams
            .into_iter()
            .map(|stream| {
                let slices = match stream.ended {
                    Some(ended) => ended.slices.into_iter().map(|slice| slice.segments).collect(),
                    None => lock(&stream.slices).finished(),
                };
                StreamProgress { header: stream.header, slices }
            })
            .collect();
        let seal = |framer: &mut Framer| record.seal(&self.owner, &self.codec.secret, framer, self.random.as_ref());
        let sealed = self.framers.with(seal)?;
        let object = layout::progress(self.owner.tenant, self.owner.run);
        Ok(self.store.put_new(&object, Bytes::from(sealed)).await?)
    }

    fn count_chunk(&self) -> Result<(), VaultError> {
        if self.chunks.fetch_add(1, SeqCst) < caps::CHUNKS_PER_POINT_MAX as u64 {
            return Ok(());
        }
        Err(VaultError::TooLarge { what: "the recovery point's chunks".to_owned(), limit: caps::CHUNKS_PER_POINT_MAX })
    }

    /// Lists a chunk that an earlier run stored.
    async fn adopt(&self, slice: &mut Taken, entry: ChunkEntry, pack: &PackEntry) -> Result<(), VaultError> {
        self.count_chunk()?;
        self.chunks_reused.fetch_add(1, SeqCst);
        self.plaintext_bytes.fetch_add(u64::from(entry.plaintext_bytes), SeqCst);
        slice.rows += u64::from(entry.rows);
        slice.digest = slice.digest.plus(&entry.digest);
        let pack = self.packs.lock().await.adopt(pack);
        self.list(slice, ChunkEntry { pack, ..entry }).await
    }

    /// Adds an entry to a slice's, and those to a list when they are enough.
    async fn list(&self, slice: &mut Taken, entry: ChunkEntry) -> Result<(), VaultError> {
        slice.entries.push(entry);
        if slice.entries.len() >= SEGMENT_ENTRIES_MAX {
            self.flush(slice).await?;
        }
        Ok(())
    }

    /// Finds what earlier runs stored still there, and keeps it from being deleted for as long as this recovery point may be needed. The
    /// tenant's secret is stored once and opens every one, so that is kept even if nothing else is shared.
    async fn lock_shared(&self, packs: &[PackEntry], now: Timestamp) -> Result<(), VaultError> {
        let Some(lock_for) = self.lock_for else { return Ok(()) };
        let slack = SignedDuration::from_secs(domain::caps::LOCK_SLACK_S).min(lock_for / 10);
        let (at_least, until) = (now + (lock_for - slack), now + lock_for);
        let mut objects = sharing::behind(self.owner.tenant, packs.iter().filter(|pack| pack.run != self.owner.run));
        objects.insert(layout::dedup_record(self.owner.tenant));
        let locks: Vec<_> = objects.iter().map(|key| self.store.lock(key, at_least, until)).collect();
        Ok(stream::iter(locks).buffer_unordered(caps::REQUESTS_AT_ONCE).try_collect().await?)
    }

    async fn finish(&self, facts: serde_json::Value, written_at: Timestamp) -> Result<Written, VaultError> {
        let Entries { streams, blobs, .. } = mem::take(&mut *self.entries());
        let streams: Option<Vec<_>> = streams.into_iter().map(|stream| stream.ended).collect();
        let streams = streams.ok_or(VaultError::OutOfOrder("finish before the open streams' end"))?;
        let packs = self.packs.lock().await.finish().await?;
        let lists = self.lists.lock().await.finish().await?;
        self.lock_shared(&packs, written_at).await?;

        let mut manifest = Manifest::new(&self.owner, written_at, facts);
        (manifest.streams, manifest.blobs) = (streams, blobs);
        let sealed = self.framers.with(|framer| manifest.seal(&self.owner, &self.codec.key, framer, self.random.as_ref()))?;
        let Owner { vault, tenant, point, run } = self.owner.clone();
        let stored_manifest = StoredObject::of(&sealed);
        self.store.put_new(&layout::manifest(tenant, point, run), Bytes::from(sealed)).await?;

        let content = LinkContent { vault, tenant, point, run, manifest: stored_manifest, lists, packs };
        let added = self.chain.append(self.after.load(SeqCst), &content).await?;
        Ok(Written {
            rows: manifest.streams.iter().map(|stream| stream.rows).sum(),
            plaintext_bytes: self.plaintext_bytes.load(SeqCst),
            stored_bytes: content.own_bytes() + added.stored_bytes,
            chunks: self.chunks.load(SeqCst),
            chunks_reused: self.chunks_reused.load(SeqCst),
            packs: content.packs.len() as u64,
            point: added.point,
        })
    }
}

impl Entries {
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
}

#[async_trait]
impl ChunkSink for Writing {
    fn seal(&self, id: ChunkId, plaintext: &[u8]) -> Result<Option<SealedChunk>, VaultError> {
        self.seal_chunk(id, plaintext).map(Some)
    }

    async fn take(&self, slice: &mut Taken, chunk: HashedChunk) -> Result<(), VaultError> {
        self.count_chunk()?;
        let HashedChunk { cut, id, digest, content } = chunk;
        self.plaintext_bytes.fetch_add(cut.plaintext.len() as u64, SeqCst);
        let position = match content {
            Content::Known(entry) => {
                self.chunks_reused.fetch_add(1, SeqCst);
                let pack = self.packs.lock().await.adopt(&self.known.packs()[entry.pack as usize]);
                Position { pack, offset: entry.offset, length: entry.length }
            }
            Content::Sealed(sealed) => self.packs.lock().await.append(&mut slice.filling, &sealed.bytes).await?,
            Content::Hashed => return Err(VaultError::OutOfOrder("a chunk without content")),
        };
        let Position { pack, offset, length } = position;
        let plaintext_bytes = u32::try_from(cut.plaintext.len()).expect("chunks are cut to at most 4 MiB");
        let (rows, continues) = (cut.rows, cut.continues);
        self.list(slice, ChunkEntry { id, digest, pack, offset, length, plaintext_bytes, rows, continues }).await
    }
}

impl StreamSink for PointWriter {
    fn open(&self, header: StreamHeader) -> Result<Box<dyn OpenStream>, VaultError> {
        if self.0.broken.load(SeqCst) {
            return Err(VaultError::OutOfOrder("an earlier step failed; start a new run"));
        }
        header.check()?;
        let mut entries = self.0.entries();
        entries.take_name("stream", &header.name)?;
        let slices = Arc::new(Mutex::new(Slices::none()));
        entries.streams.push(OpenedStream { header: header.clone(), slices: Arc::clone(&slices), ended: None });
        let index = entries.streams.len() - 1;
        let (secret, known) = (self.0.codec.secret.clone(), Arc::clone(&self.0.known));
        let context = Arc::new(StreamContext::new(Arc::clone(&self.0), header, secret, known));
        Ok(Box::new(StreamWriter { context, index, slices }))
    }
}

struct StreamWriter {
    context: Arc<StreamContext<Writing>>,
    /// The stream's place in the manifest.
    index: usize,
    slices: Arc<Mutex<Slices>>,
}

#[async_trait]
impl OpenStream for StreamWriter {
    fn slice(&self) -> Result<Box<dyn SliceSink>, VaultError> {
        let index = lock(&self.slices).begin()?;
        let input = SliceInput::new(Arc::clone(&self.context));
        Ok(Box::new(SliceWriter { writing: Arc::clone(&self.context.sink), input, index, slices: Arc::clone(&self.slices) }))
    }

    async fn adopt(&self, earlier: &Progress, slice: usize) -> Result<(), VaultError> {
        let index = lock(&self.slices).begin()?;
        let writing = &self.context.sink;
        let total = writing.guard(async {
            let mut taken = Taken::nothing(self.context.id);
            for entry in earlier.entries(&self.context.header, slice, self.context.id).await? {
                let pack = earlier.pack(&entry).clone();
                writing.adopt(&mut taken, entry, &pack).await?;
            }
            writing.end_slice(&mut taken).await?;
            Ok(SliceTotal::from(taken))
        });
        let total = total.await?;
        lock(&self.slices).end(index, total);
        Ok(())
    }

    async fn end(self: Box<Self>) -> Result<StreamSummary, VaultError> {
        let slices = lock(&self.slices).finish()?;
        let header = self.context.header.clone();
        let entry = StreamEntry {
            rows: slices.iter().map(|slice| slice.rows).sum(),
            digest: slices.iter().fold(RowsDigest::ZERO, |sum, slice| sum.plus(&slice.digest)),
            slices: slices.into_iter().map(|slice| SliceEntry { rows: slice.rows, segments: slice.segments }).collect(),
            header,
        };
        let summary = StreamSummary { name: entry.header.name.clone(), rows: entry.rows, digest: entry.digest };
        self.context.sink.entries().streams[self.index].ended = Some(entry);
        Ok(summary)
    }
}

struct SliceWriter {
    writing: Arc<Writing>,
    input: SliceInput<Writing>,
    index: usize,
    slices: Arc<Mutex<Slices>>,
}

#[async_trait]
impl SliceSink for SliceWriter {
    async fn rows(&mut self, lines: Bytes) -> Result<(), VaultError> {
        self.writing.guard(self.input.rows(&lines)).await
    }

    async fn end(self: Box<Self>) -> Result<(), VaultError> {
        let Self { writing, input, index, slices } = *self;
        let total = writing.guard(async {
            let mut taken = input.end().await?;
            writing.end_slice(&mut taken).await?;
            Ok(SliceTotal::from(taken))
        });
        let total = total.await?;
        lock(&slices).end(index, total);
        Ok(())
    }
}

pub(crate) fn lock(slices: &Mutex<Slices>) -> MutexGuard<'_, Slices> {
    slices.lock().unwrap_or_else(PoisonError::into_inner)
}
