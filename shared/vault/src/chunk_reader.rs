//! Reads a list of chunks: fetched in windows, opened on other threads, given in order.
//!
//! Neighbours in a pack cost one request. Several windows are under way at once, as long as what they will unpack to stays small,
//! so that fetching, opening and whatever the caller does with the rows go on side by side.

use std::{collections::VecDeque, vec};

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::{
    caps,
    defect::Defect,
    entry::ChunkEntry,
    error::VaultError,
    list::{Segment, StreamId},
    reader::PointReader,
};

/// What one chunk gave.
pub(crate) type Opened = (ChunkEntry, Result<Bytes, VaultError>);

/// Reads the chunks of some segments.
pub(crate) struct ChunkReader {
    point: PointReader,
    stream: StreamId,
    segments: vec::IntoIter<Segment>,
    /// Entries not yet asked for.
    entries: VecDeque<ChunkEntry>,
    /// Which entries to read; the others are passed over.
    wanted: Box<dyn Fn(&ChunkEntry) -> bool + Send>,
    under_way: VecDeque<Window>,
    opened: vec::IntoIter<Opened>,
}

struct Window {
    plaintext_bytes: u64,
    work: JoinHandle<Vec<Opened>>,
}

impl Drop for Window {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl ChunkReader {
    pub(crate) fn new(point: PointReader, segments: Vec<Segment>, stream: StreamId) -> Self {
        Self {
            point,
            stream,
            segments: segments.into_iter(),
            entries: VecDeque::new(),
            wanted: Box::new(|_| true),
            under_way: VecDeque::new(),
            opened: Vec::new().into_iter(),
        }
    }

    /// Reads only some of the chunks.
    pub(crate) fn only(mut self, wanted: impl Fn(&ChunkEntry) -> bool + Send + 'static) -> Self {
        self.wanted = Box::new(wanted);
        self
    }

    /// The next chunk, with what became of it. After a damaged one, the one behind it comes next.
    ///
    /// # Errors
    /// If a list cannot be read: which chunks come next is then unknown.
    pub(crate) async fn next(&mut self) -> Result<Option<Opened>, VaultError> {
        loop {
            if let Some(opened) = self.opened.next() {
                return Ok(Some(opened));
            }
            self.look_ahead().await?;
            // Taken out only once it is done, so that a caller who gives up waiting and comes back misses nothing.
            let Some(window) = self.under_way.front_mut() else { return Ok(None) };
            let opened = (&mut window.work).await;
            self.under_way.pop_front();
            let opened = opened.map_err(|_| VaultError::OutOfOrder("reading a chunk was abandoned; try again"))?;
            self.opened = opened.into_iter();
            self.look_ahead().await?;
        }
    }

    /// Starts windows until enough are under way.
    async fn look_ahead(&mut self) -> Result<(), VaultError> {
        while self.under_way.len() < caps::READ_WINDOWS_AHEAD_MAX {
            let ahead: u64 = self.under_way.iter().map(|window| window.plaintext_bytes).sum();
            if ahead >= caps::READ_AHEAD_PLAINTEXT_BYTES {
                break;
            }
            if !self.fill_entries().await? {
                break;
            }
            self.start_window();
        }
        Ok(())
    }

    /// Makes sure that an entry is waiting, if there is one left.
    async fn fill_entries(&mut self) -> Result<bool, VaultError> {
        while self.entries.is_empty() {
            let Some(segment) = self.segments.as_slice().first() else { return Ok(false) };
            let entries = self.point.lists().segment(segment, self.stream).await?;
            self.segments.next();
            self.entries.extend(entries.into_iter().filter(&self.wanted));
        }
        Ok(true)
    }

    fn start_window(&mut self) {
        let Some(first) = self.entries.pop_front() else { return };
        let (pack, start) = (first.pack, u64::from(first.offset));
        let mut end = start + u64::from(first.length);
        let mut plaintext_bytes = u64::from(first.plaintext_bytes);
        let mut entries = vec![first];
        while let Some(next) = self.entries.front() {
            let next_end = u64::from(next.offset) + u64::from(next.length);
            let plaintext = plaintext_bytes + u64::from(next.plaintext_bytes);
            let follows = next.pack == pack && u64::from(next.offset) == end;
            if !follows || next_end - start > caps::READ_WINDOW_BYTES || plaintext > caps::READ_WINDOW_PLAINTEXT_BYTES {
                break;
            }
            (end, plaintext_bytes) = (next_end, plaintext);
            entries.extend(self.entries.pop_front());
        }
        let point = self.point.clone();
        let work = tokio::spawn(async move { fetch_and_open(point, pack, start, end - start, entries).await });
        self.under_way.push_back(Window { plaintext_bytes, work });
    }
}

async fn fetch_and_open(point: PointReader, pack: u32, start: u64, length: u64, entries: Vec<ChunkEntry>) -> Vec<Opened> {
    let fetched = async { Ok((point.content_key(pack).await?, point.pack_range(pack, start, length).await?)) };
    let (key, bytes) = match fetched.await {
        Ok(fetched) => fetched,
        // One error for the whole window: what its chunks have in common is missing.
        Err(error) => return entries.into_iter().next().map(|entry| vec![(entry, Err(error))]).unwrap_or_default(),
    };
    let opening = tokio::task::spawn_blocking(move || {
        let open = |entry: ChunkEntry| {
            let from = usize::try_from(u64::from(entry.offset) - start).unwrap_or(usize::MAX);
            let sealed = bytes.get(from..).and_then(|rest| rest.get(..entry.length as usize));
            let opened = match sealed {
                Some(sealed) => point.open_chunk(&key, &entry, sealed),
                None => Err(point.chunk_defect(&entry, Defect::WrongSize)),
            };
            (entry, opened)
        };
        entries.into_iter().map(open).collect()
    });
    // A panic while opening ends the reading task as well.
    opening.await.expect("opening a chunk gives an error, never a panic")
}
