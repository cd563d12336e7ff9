//! Records as rows: one JSON object a line, sorted, so that equal content has equal bytes.

use serde::{Serialize, de::DeserializeOwned};
use vault::{PointReader, StreamHeader, StreamSink, StreamSummary};

use crate::error::SourceError;

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
    sink: &mut dyn StreamSink,
) -> Result<StreamSummary, SourceError> {
    records.sort();
    sink.begin_stream(header(stream)).await?;
    for record in &records {
        let mut line = serde_json::to_vec(record)
            .map_err(|source| SourceError::Record { what: format!("a record of `{stream}`"), source })?;
        // As COPY text spells it: these streams then obey the same rules as tables.
        if line.contains(&b'\\') {
            line = line.into_iter().flat_map(|byte| if byte == b'\\' { vec![b'\\'; 2] } else { vec![byte] }).collect();
        }
        line.push(b'\n');
        sink.rows(&line).await?;
    }
    Ok(sink.end_stream().await?)
}

/// Reads the records of a stream.
pub(crate) async fn read<T: DeserializeOwned>(stream: &str, point: &PointReader) -> Result<Vec<T>, SourceError> {
    let mut reader = point.stream(stream).await?;
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
