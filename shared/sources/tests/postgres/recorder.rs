//! A sink that keeps what it is given, slice by slice, and says how many slices were in work at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use bytes::Bytes;
use vault::{OpenStream, Progress, SliceSink, StreamHeader, StreamSink, StreamSummary, VaultError};

#[derive(Default)]
pub(crate) struct Recorder {
    kept: Arc<Mutex<Kept>>,
    refused: Option<String>,
}

#[derive(Default)]
struct Kept {
    streams: BTreeMap<String, Vec<Vec<u8>>>,
    in_work: usize,
    in_work_most: usize,
}

impl Recorder {
    /// One that takes no rows of a table of schema `app`.
    pub(crate) fn refusing(table: &str) -> Self {
        Self { refused: Some(format!("\"app\".\"{table}\"")), ..Self::default() }
    }

    /// The slices of a table of schema `app`, each as text.
    pub(crate) fn slices(&self, table: &str) -> Vec<String> {
        let kept = self.kept.lock().unwrap();
        kept.streams[&format!("\"app\".\"{table}\"")].iter().map(|slice| String::from_utf8(slice.clone()).unwrap()).collect()
    }

    /// The most slices that were in work at once.
    pub(crate) fn in_work_most(&self) -> usize {
        self.kept.lock().unwrap().in_work_most
    }
}

impl StreamSink for Recorder {
    fn open(&self, header: StreamHeader) -> Result<Box<dyn OpenStream>, VaultError> {
        let is_refused = self.refused.as_ref() == Some(&header.name);
        let earlier = self.kept.lock().unwrap().streams.insert(header.name.clone(), Vec::new());
        assert!(earlier.is_none(), "{} was opened twice", header.name);
        Ok(Box::new(Stream { kept: Arc::clone(&self.kept), name: header.name, is_refused }))
    }
}

struct Stream {
    kept: Arc<Mutex<Kept>>,
    name: String,
    is_refused: bool,
}

#[async_trait]
impl OpenStream for Stream {
    fn slice(&self) -> Result<Box<dyn SliceSink>, VaultError> {
        let mut kept = self.kept.lock().unwrap();
        kept.in_work += 1;
        kept.in_work_most = kept.in_work_most.max(kept.in_work);
        let slices = kept.streams.get_mut(&self.name).unwrap();
        slices.push(Vec::new());
        let (place, kept) = (slices.len() - 1, Arc::clone(&self.kept));
        Ok(Box::new(Slice { kept, name: self.name.clone(), place, is_refused: self.is_refused }))
    }

    async fn adopt(&self, _: &Progress, _: usize) -> Result<(), VaultError> {
        Err(VaultError::OutOfOrder("nothing is stored here"))
    }

    async fn end(self: Box<Self>) -> Result<StreamSummary, VaultError> {
        let kept = self.kept.lock().unwrap();
        let rows = kept.streams[&self.name].iter().flatten().filter(|byte| **byte == b'\n').count() as u64;
        Ok(StreamSummary { name: self.name.clone(), rows, digest: "0".repeat(128).parse().unwrap() })
    }
}

struct Slice {
    kept: Arc<Mutex<Kept>>,
    name: String,
    place: usize,
    is_refused: bool,
}

#[async_trait]
impl SliceSink for Slice {
    async fn rows(&mut self, lines: Bytes) -> Result<(), VaultError> {
        if self.is_refused {
            return Err(VaultError::NotRows { stream: self.name.clone(), reason: "refused by the test".into() });
        }
        assert_eq!(lines.last(), Some(&b'\n'));
        self.kept.lock().unwrap().streams.get_mut(&self.name).unwrap()[self.place].extend_from_slice(&lines);
        Ok(())
    }

    async fn end(self: Box<Self>) -> Result<(), VaultError> {
        self.kept.lock().unwrap().in_work -= 1;
        Ok(())
    }
}
