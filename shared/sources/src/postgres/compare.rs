//! What a restore would do to each table, counted exactly and without writing anything.
//!
//! Rows are told apart by 16-byte hashes of their key and of the whole row, so a table's memory is 32 bytes a row and change.

use std::collections::HashMap;

use domain::{caps::PREVIEW_ROWS_MAX, request::TableEffect};
use serde::Deserialize;
use vault::{Digester, PointReader, StreamSink};

use super::{
    catalog, consistent,
    copy_out::{self, Lines, Placement},
    digest::{self, LiveDigest},
    endpoint::Endpoint,
    facts::{DatabaseFacts, TableFacts},
    ident::list,
    readers,
    scope::Scope,
    session::Session,
    structure,
};
use crate::error::{Phase, Place, SourceError};

/// A recovery point held against the live scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What would happen to each table.
    pub tables: Vec<TableEffect>,
    /// [`LiveDigest::identity`] of the live data at that moment, or [`LiveDigest::ABSENT`].
    pub live_digest: String,
    /// What the counts do not say: changed structures, and excluded tables that come back empty.
    pub notes: Vec<String>,
}

/// Compares a recovery point with the live scope in one consistent view, writing nothing.
///
/// # Errors
/// If the live scope or the recovery point cannot be read, or a table is too large to compare.
pub async fn compare(endpoint: &Endpoint, scope: &Scope, point: &PointReader) -> Result<Comparison, SourceError> {
    let recorded = DatabaseFacts::decode(&point.manifest().facts)?;
    let endpoint = endpoint.with_database(scope.database.as_str());
    let Some(session) = Session::open_if_there(&endpoint, Phase::Reading).await? else { return Ok(all_returned(&recorded)) };
    let compared = compare_in(&session, scope, point, &recorded).await;
    session.close().await;
    compared
}

async fn compare_in(
    session: &Session,
    scope: &Scope,
    point: &PointReader,
    recorded: &DatabaseFacts,
) -> Result<Comparison, SourceError> {
    if !catalog::is_there(session, scope).await? {
        return Ok(all_returned(recorded));
    }
    consistent::begin(session, scope).await?;
    let live = catalog::read_facts(session, scope).await?;
    let digester = Digester::against(point).await?;
    let (mut tables, mut summaries, mut notes) = (Vec::new(), Vec::new(), structure::differences(&recorded.tables, &live.tables));
    let work = Work { session, scope, point };
    for table in &live.tables {
        let stream = table.name.to_string();
        let old = recorded.table(&stream);
        let (effect, summary) = match old {
            Some(old) if same_shape(old, table) => work.compare_and_digest(old, table, &digester).await?,
            _ => {
                let alone = std::slice::from_ref(table);
                let summary = readers::read_alone(session, alone, Placement::live(scope), &digester).await?.remove(0);
                let effect = match old {
                    Some(old) => work.compare_shapes(old, table).await?,
                    None => effect(&stream, 0, 0, summary.rows, 0),
                };
                (effect, summary)
            }
        };
        tables.push(effect);
        summaries.push(summary);
    }
    for table in &recorded.tables {
        if !live.tables.iter().any(|other| other.name == table.name) {
            tables.push(effect(&table.name.to_string(), table.rows, 0, 0, 0));
        }
    }
    if !scope.is_pool() {
        work.add_left_out(&live, &mut tables, &mut notes).await?;
    }
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    session.batch("ending the consistent view", "COMMIT").await?;
    Ok(Comparison { tables, live_digest: digest::identity(&summaries), notes })
}

fn all_returned(recorded: &DatabaseFacts) -> Comparison {
    let tables = recorded.tables.iter().map(|table| effect(&table.name.to_string(), table.rows, 0, 0, 0)).collect();
    Comparison { tables, live_digest: LiveDigest::ABSENT.to_owned(), notes: vec!["the live scope is not there".to_owned()] }
}

fn effect(table: &str, returned: u64, overwritten: u64, destroyed: u64, unchanged: u64) -> TableEffect {
    TableEffect { table: table.to_owned(), returned, overwritten, destroyed, unchanged }
}

fn same_shape(old: &TableFacts, live: &TableFacts) -> bool {
    old.key == live.key && old.stored_columns().map(|column| &column.name).eq(live.stored_columns().map(|column| &column.name))
}

struct Work<'a> {
    session: &'a Session,
    scope: &'a Scope,
    point: &'a PointReader,
}

impl Work<'_> {
    /// The usual case: one read serves both the counts and the digest.
    async fn compare_and_digest(
        &self,
        old: &TableFacts,
        live: &TableFacts,
        digester: &Digester,
    ) -> Result<(TableEffect, vault::StreamSummary), SourceError> {
        let mut rows = self.recorded_rows(old).await?;
        let stream = digester.open(copy_out::header(live))?;
        let mut slice = stream.slice()?;
        let mut lines = Lines::of(self.session, live, Placement::live(self.scope), None).await?;
        while let Some(batch) = lines.next().await? {
            slice.rows(batch.clone()).await?;
            rows.meet_all(&batch);
        }
        slice.end().await?;
        Ok((rows.into_effect(&old.name.to_string()), stream.end().await?))
    }

    /// A table whose columns changed: its live rows are read as the recorded columns, the missing ones as null.
    async fn compare_shapes(&self, old: &TableFacts, live: &TableFacts) -> Result<TableEffect, SourceError> {
        let mut rows = self.recorded_rows(old).await?;
        let has = |name: &super::ident::Ident| live.stored_columns().any(|column| column.name == *name);
        let columns =
            list(old.stored_columns().map(|column| if has(&column.name) { column.name.to_string() } else { "NULL".to_owned() }));
        let mut lines = Lines::of_columns(self.session, live, Placement::live(self.scope), &columns).await?;
        while let Some(batch) = lines.next().await? {
            rows.meet_all(&batch);
        }
        Ok(rows.into_effect(&old.name.to_string()))
    }

    async fn recorded_rows(&self, table: &TableFacts) -> Result<Rows, SourceError> {
        if table.rows > PREVIEW_ROWS_MAX {
            return Err(too_large(self.session.place(), table));
        }
        let mut rows = Rows::new(&copy_out::header(table));
        let mut reader = self.point.stream(&table.name.to_string())?.all();
        let mut rest = Vec::new();
        while let Some(piece) = reader.next().await? {
            // A long row may continue in the next chunk.
            rest.extend_from_slice(&piece);
            if let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
                rows.record_all(&rest[..=end]);
                rest.drain(..=end);
            }
        }
        Ok(rows)
    }

    /// A table that the recovery point leaves out comes back empty when its database or schema is replaced as a whole.
    async fn add_left_out(
        &self,
        live: &DatabaseFacts,
        tables: &mut Vec<TableEffect>,
        notes: &mut Vec<String>,
    ) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Count {
            rows: u64,
        }
        for left in live.left_out.iter().filter(|left| left.kind == "table") {
            let sql = format!("SELECT count(*) AS rows FROM ONLY {}", left.name);
            let count: Count = self.session.select_one(format!("counting {}", left.name), &sql).await?;
            if count.rows > 0 {
                tables.push(effect(&left.name, 0, 0, count.rows, 0));
                notes.push(format!("{} comes back empty: {}", left.name, left.reason));
            }
        }
        Ok(())
    }
}

fn too_large(place: &Place, table: &TableFacts) -> SourceError {
    let what = format!("{} has {} rows, more than the {PREVIEW_ROWS_MAX} a preview can compare", table.name, table.rows);
    SourceError::refused(place, what, "restore this tenant side by side instead")
}

type Hash = [u8; 16];

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut hash);
    hash
}

/// The recorded rows of a table, and how the live ones met them.
struct Rows {
    key_columns: Vec<usize>,
    /// By key: the row. For tables without one, by row: how many.
    keyed: HashMap<Hash, Hash>,
    counted: HashMap<Hash, u64>,
    overwritten: u64,
    destroyed: u64,
    unchanged: u64,
}

impl Rows {
    fn new(header: &vault::StreamHeader) -> Self {
        Self {
            key_columns: header.key_columns.clone(),
            keyed: HashMap::new(),
            counted: HashMap::new(),
            overwritten: 0,
            destroyed: 0,
            unchanged: 0,
        }
    }

    /// The hash of a line's key fields. A tab never stands inside a field of `COPY` text.
    fn key(&self, line: &[u8]) -> Hash {
        let fields: Vec<_> = line.split(|byte| *byte == b'\t').collect();
        let key: Vec<_> = self.key_columns.iter().map(|index| fields.get(*index).copied().unwrap_or_default()).collect();
        hash(&key.join(&b'\t'))
    }

    fn record_all(&mut self, lines: &[u8]) {
        for line in whole_lines(lines) {
            if self.key_columns.is_empty() {
                *self.counted.entry(hash(line)).or_default() += 1;
            } else {
                self.keyed.insert(self.key(line), hash(line));
            }
        }
    }

    fn meet_all(&mut self, lines: &[u8]) {
        for line in whole_lines(lines) {
            if self.key_columns.is_empty() {
                match self.counted.get_mut(&hash(line)) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        self.unchanged += 1;
                    }
                    _ => self.destroyed += 1,
                }
            } else {
                match self.keyed.remove(&self.key(line)) {
                    Some(recorded) if recorded == hash(line) => self.unchanged += 1,
                    Some(_) => self.overwritten += 1,
                    None => self.destroyed += 1,
                }
            }
        }
    }

    fn into_effect(self, table: &str) -> TableEffect {
        let returned = self.keyed.len() as u64 + self.counted.values().sum::<u64>();
        effect(table, returned, self.overwritten, self.destroyed, self.unchanged)
    }
}

fn whole_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key_columns: &[usize], recorded: &str, live: &str, expected: [u64; 4]) {
        let header = vault::StreamHeader {
            name: "t".into(),
            digest_name: "t".into(),
            columns: Vec::new(),
            key_columns: key_columns.to_vec(),
        };
        let mut rows = Rows::new(&header);
        rows.record_all(recorded.as_bytes());
        rows.meet_all(live.as_bytes());
        let found = rows.into_effect("t");
        assert_eq!(
            [found.returned, found.overwritten, found.destroyed, found.unchanged],
            expected,
            "{recorded:?} against {live:?}"
        );
    }

    #[test]
    fn rows_with_a_key_are_told_apart_by_it() {
        check(&[0], "1\ta\n2\tb\n3\tc\n", "2\tb\n3\tx\n4\td\n", [1, 1, 1, 1]);
        check(&[1, 0], "1\ta\tx\n", "1\ta\ty\n", [0, 1, 0, 0]);
    }

    #[test]
    fn rows_without_a_key_are_counted_as_a_multiset() {
        check(&[], "a\na\nb\n", "a\nb\nb\n", [1, 0, 1, 2]);
    }
}
