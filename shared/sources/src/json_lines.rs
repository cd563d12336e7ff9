//! Records as rows: one JSON object a line, sorted, so that equal content has equal bytes.

use bytes::BytesMut;
use serde::{Serialize, de::DeserializeOwned};
use vault::{PointReader, StreamHeader, StreamSink, StreamSummary};

use crate::error::SourceError;

/// How much is handed over at once, in bytes.
const BATCH_BYTES: usize = 256 << 10;

/// Streams of records have one column; a JSON text never holds a raw newline or tab.
fn header(stream: &str) -> StreamHeader {
    StreamHeader {
        name: stream.to_owned(),
        digest_name: stream.to_owned(),
        columns: vec!["record".to_owned()],
        key_columns: Vec::new(),
    }
}

/// Writes records, sorted, as one stream.
pub(crate) async fn write<T: Serialize + Ord>(
    stream: &str,
    mut records: Vec<T>,
    sink: &dyn StreamSink,
) -> Result<StreamSummary, SourceError> {
    records.sort();
    let open = sink.open(header(stream))?;
    let mut slice = open.slice()?;
    let mut lines = BytesMut::new();
    for record in &records {
        let mut line = serde_json::to_vec(record)
            .map_err(|source| SourceError::Record { what: format!("a record of `{stream}`"), source })?;
        // As COPY text spells it: these streams then obey the same rules as tables.
        if line.contains(&b'\\') {
            line = line.into_iter().flat_map(|byte| if byte == b'\\' { vec![b'\\'; 2] } else { vec![byte] }).collect();
        }
        line.push(b'\n');
        lines.extend_from_slice(&line);
        if lines.len() >= BATCH_BYTES {
            slice.rows(lines.split().freeze()).await?;
        }
    }
    slice.rows(lines.freeze()).await?;
    slice.end().await?;
    Ok(open.end().await?)
}

/// Reads the records of a stream.
pub(crate) async fn read<T: DeserializeOwned>(stream: &str, point: &PointReader) -> Result<Vec<T>, SourceError> {
    let mut reader = point.stream(stream)?.all();
    let (mut records, mut rest) = (Vec::new(), Vec::new());
    while let Some(piece) = reader.next().await? {
        rest.extend_from_slice(&piece);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            records.push(decode(stream, &rest[..end])?);
            rest.drain(..=end);
        }
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
