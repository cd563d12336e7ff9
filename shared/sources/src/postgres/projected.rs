//! Digests of live tables held against a recovery point, where a table's columns are no longer the recorded ones.

use bytes::Bytes;
use vault::{Digester, PointReader, StreamSink, StreamSummary};

use super::{
    copy_out::{Lines, Placement},
    digest,
    fit::Fit,
    session::Session,
};
use crate::error::SourceError;

/// How live tables differ from what the recovery point says they are to hold, one line a table; empty when they match.
///
/// `read` are the live tables' own digests. They serve where the columns are the recorded ones; other tables are read once more, as the
/// recorded columns. Where columns are left behind, the recovery point's own rows are digested without them.
pub(crate) async fn differences(
    session: &Session,
    at: Placement<'_>,
    fits: &[Fit],
    read: &[StreamSummary],
    point: &PointReader,
    digester: &Digester,
) -> Result<Vec<String>, SourceError> {
    let mut lines = Vec::new();
    for fit in fits {
        let name = fit.recorded.name.to_string();
        let recorded = point.manifest().stream(&name).map(|stream| (stream.rows, stream.digest));
        let found = match read.iter().find(|table| table.name == name) {
            Some(table) if fit.is_same() => (table.rows, table.digest),
            _ => {
                let table = live(session, at, fit, digester).await?;
                (table.rows, table.digest)
            }
        };
        let recorded = if fit.left_behind().next().is_none() {
            recorded
        } else {
            let table = recorded_rows(point, fit, digester).await?;
            Some((table.rows, table.digest))
        };
        lines.extend(digest::difference(&name, found, recorded));
    }
    Ok(lines)
}

/// Reads a live table as the compared recorded columns.
async fn live(session: &Session, at: Placement<'_>, fit: &Fit, digester: &Digester) -> Result<StreamSummary, SourceError> {
    let stream = digester.open(fit.header())?;
    let mut slice = stream.slice()?;
    let mut lines = Lines::of_columns(session, &fit.live, at, &fit.expressions()).await?;
    while let Some(batch) = lines.next().await? {
        slice.rows(batch).await?;
    }
    slice.end().await?;
    Ok(stream.end().await?)
}

/// Digests a recovery point's rows without the fields that are left behind.
async fn recorded_rows(point: &PointReader, fit: &Fit, digester: &Digester) -> Result<StreamSummary, SourceError> {
    let stream = digester.open(fit.header())?;
    let mut slice = stream.slice()?;
    let mut rows = RecordedRows::of(point, fit)?;
    while let Some(lines) = rows.next().await? {
        slice.rows(lines).await?;
    }
    slice.end().await?;
    Ok(stream.end().await?)
}

/// A recovery point's rows in whole lines, of the compared fields only.
pub(crate) struct RecordedRows {
    reader: vault::SliceReader,
    rest: Vec<u8>,
    /// Which fields; none if all are.
    fields: Option<Vec<usize>>,
}

impl RecordedRows {
    pub(crate) fn of(point: &PointReader, fit: &Fit) -> Result<Self, SourceError> {
        let fields = fit.left_behind().next().is_some().then(|| fit.compared());
        Ok(Self { fields, ..Self::whole(point, &fit.recorded.name.to_string())? })
    }

    pub(crate) fn whole(point: &PointReader, stream: &str) -> Result<Self, SourceError> {
        Ok(Self { reader: point.stream(stream)?.all(), rest: Vec::new(), fields: None })
    }

    /// The next lines; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        while let Some(piece) = self.reader.next().await? {
            // A long row may continue in the next chunk.
            self.rest.extend_from_slice(&piece);
            if let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = self.rest.drain(..=end).collect();
                return Ok(Some(self.fields.as_ref().map_or_else(|| lines.clone(), |fields| project(&lines, fields)).into()));
            }
        }
        Ok(None)
    }
}

/// Lines with only these fields. A tab never stands inside a field of `COPY` text.
fn project(lines: &[u8], fields: &[usize]) -> Vec<u8> {
    let mut projected = Vec::with_capacity(lines.len());
    for line in lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n') {
        let all: Vec<_> = line.split(|byte| *byte == b'\t').collect();
        for (place, field) in fields.iter().enumerate() {
            if place > 0 {
                projected.push(b'\t');
            }
            projected.extend_from_slice(all.get(*field).copied().unwrap_or_default());
        }
        projected.push(b'\n');
    }
    projected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_the_named_fields() {
        let check = |lines: &str, fields: &[usize], expected: &str| {
            assert_eq!(String::from_utf8(project(lines.as_bytes(), fields)).unwrap(), expected);
        };
        check("1\ta\tx\n2\t\t\\N\n", &[0, 2], "1\tx\n2\t\\N\n");
        check("1\ta\n\tb\n", &[0], "1\n\n");
        check("1\n2\n", &[], "\n\n");
    }
}
