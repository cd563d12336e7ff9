//! Records as rows: one JSON object a line, sorted, so that equal content has equal bytes.

use std::marker::PhantomData;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use vault::{OpenStream, PointReader, SliceReader, SliceSink, StreamHeader, StreamSink, StreamSummary};

use crate::error::SourceError;

/// How much is handed over at once, in bytes.
const BATCH_BYTES: usize = 256 << 10;

/// Streams of records have one column; a JSON text never holds a raw newline or tab. Without key columns a chunk's end depends on its
/// last record alone, so a record that changes costs a chunk or two and moves no other.
fn header(stream: &str) -> StreamHeader {
    StreamHeader {
        name: stream.to_owned(),
        digest_name: stream.to_owned(),
        columns: vec!["record".to_owned()],
        key_columns: Vec::new(),
    }
}

/// Writes records as they come. Whoever has them must give them sorted.
pub(crate) struct RecordWriter {
    stream: &'static str,
    open: Box<dyn OpenStream>,
    slice: Box<dyn SliceSink>,
    lines: BytesMut,
}

impl RecordWriter {
    pub(crate) fn begin(stream: &'static str, sink: &dyn StreamSink) -> Result<Self, SourceError> {
        let open = sink.open(header(stream))?;
        let slice = open.slice()?;
        Ok(Self { stream, open, slice, lines: BytesMut::new() })
    }

    pub(crate) async fn push<T: Serialize>(&mut self, record: &T) -> Result<(), SourceError> {
        let mut line = serde_json::to_vec(record)
            .map_err(|source| SourceError::Record { what: format!("a record of `{}`", self.stream), source })?;
        // As COPY text spells it: these streams then obey the same rules as tables.
        if line.contains(&b'\\') {
            line = line.into_iter().flat_map(|byte| if byte == b'\\' { vec![b'\\'; 2] } else { vec![byte] }).collect();
        }
        line.push(b'\n');
        self.lines.extend_from_slice(&line);
        if self.lines.len() >= BATCH_BYTES {
            self.slice.rows(self.lines.split().freeze()).await?;
        }
        Ok(())
    }

    pub(crate) async fn end(mut self) -> Result<StreamSummary, SourceError> {
        self.slice.rows(self.lines.freeze()).await?;
        self.slice.end().await?;
        Ok(self.open.end().await?)
    }
}

/// Writes records, sorted, as one stream.
pub(crate) async fn write<T: Serialize + Ord>(
    stream: &'static str,
    mut records: Vec<T>,
    sink: &dyn StreamSink,
) -> Result<StreamSummary, SourceError> {
    records.sort();
    let mut writer = RecordWriter::begin(stream, sink)?;
    for record in &records {
        writer.push(record).await?;
    }
    writer.end().await
}

/// Reads a stream's records one by one, holding a few chunks.
pub(crate) struct RecordReader<T> {
    stream: &'static str,
    chunks: SliceReader,
    /// Whole lines not yet given.
    lines: Bytes,
    /// The beginning of a row that goes on in the next chunk.
    begun: Vec<u8>,
    record: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> RecordReader<T> {
    pub(crate) fn begin(stream: &'static str, point: &PointReader) -> Result<Self, SourceError> {
        let chunks = point.stream(stream)?.all();
        Ok(Self { stream, chunks, lines: Bytes::new(), begun: Vec::new(), record: PhantomData })
    }

    pub(crate) async fn next(&mut self) -> Result<Option<T>, SourceError> {
        loop {
            if let Some(end) = self.lines.iter().position(|byte| *byte == b'\n') {
                let line = self.lines.split_to(end);
                self.lines.advance(1);
                if self.begun.is_empty() {
                    return decode(self.stream, &line).map(Some);
                }
                self.begun.extend_from_slice(&line);
                return decode(self.stream, &std::mem::take(&mut self.begun)).map(Some);
            }
            self.begun.extend_from_slice(&std::mem::take(&mut self.lines));
            // At the end the vault has seen to it that no row is cut off.
            let Some(lines) = self.chunks.next().await? else { return Ok(None) };
            self.lines = lines;
        }
    }
}

/// Reads the records of a stream that is small.
pub(crate) async fn read<T: DeserializeOwned>(stream: &'static str, point: &PointReader) -> Result<Vec<T>, SourceError> {
    let mut reader = RecordReader::begin(stream, point)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next().await? {
        records.push(record);
    }
    Ok(records)
}

fn decode<T: DeserializeOwned>(stream: &str, line: &[u8]) -> Result<T, SourceError> {
    let mut json = Vec::with_capacity(line.len());
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        json.push(*byte);
        if *byte == b'\\' {
            // The second of the pair.
            bytes.next();
        }
    }
    serde_json::from_slice(&json).map_err(|source| SourceError::Record { what: format!("a record of `{stream}`"), source })
}
