//! The values of referencing columns, out of the streams of recorded tables.

use std::ops::Range;

use vault::PointReader;

use super::{Asked, ColumnCounts};
use crate::{
    error::SourceError,
    postgres::{DatabaseFacts, unescape},
};

/// The longest field that can be a key, in bytes as `COPY` writes it: 1024 of the key and what stands before it, each perhaps escaped.
const FIELD_BYTES_MAX: usize = 8 << 10;

/// A column that names objects.
pub(super) struct Column {
    /// Its place in the plan's list of references.
    pub(super) reference: usize,
    /// The table, quoted, which is also its stream.
    pub(super) table: String,
    /// The column.
    pub(super) name: String,
    /// What stands before the key.
    before: String,
    /// Its place among the stream's fields.
    field: usize,
    /// Whether the server fills its values up with spaces.
    is_padded: bool,
}

impl Column {
    pub(super) fn counts(&self) -> ColumnCounts {
        ColumnCounts { table: self.table.clone(), column: self.name.clone(), ..ColumnCounts::default() }
    }
}

/// What a value says.
pub(super) enum Value<'a> {
    /// It names an object by its key below the tenant's prefix.
    Key { key: &'a str, whole: &'a str },
    /// It names something else than an object of the tenant.
    Foreign(&'a str),
}

/// The columns that a tenant has of those in the plan, table by table.
pub(super) fn columns(asked: &Asked<'_>, facts: &DatabaseFacts) -> Vec<Column> {
    let mut columns = Vec::new();
    for table in &facts.tables {
        for (reference, wanted) in asked.references.iter().enumerate() {
            if table.name.name.as_str() != wanted.table {
                continue;
            }
            let at = table.stored_columns().enumerate().find(|(_, column)| column.name.as_str() == wanted.column);
            columns.extend(at.map(|(field, column)| Column {
                reference,
                table: table.name.to_string(),
                name: wanted.column.clone(),
                before: wanted.before.replace("{tenant}", asked.tenant.as_str()),
                field,
                is_padded: column.type_name.starts_with("character(") || column.type_name == "bpchar",
            }));
        }
    }
    columns
}

/// The columns of each table, and where they are in the list.
pub(super) fn by_table(columns: &[Column]) -> impl Iterator<Item = (&[Column], Range<usize>)> {
    let mut start = 0;
    columns.chunk_by(|a, b| a.table == b.table).map(move |of_table| {
        let range = start..start + of_table.len();
        start = range.end;
        (of_table, range)
    })
}

/// Gives every value of one table's columns, each with its column's place; what names nothing is passed over.
pub(super) async fn read(
    database: &PointReader,
    columns: &[Column],
    each: &mut (dyn FnMut(usize, Value<'_>) + Send),
) -> Result<(), SourceError> {
    let Some(table) = columns.first().map(|column| &column.table) else { return Ok(()) };
    let mut reader = database.stream(table)?.all();
    let mut fields = Fields::default();
    while let Some(piece) = reader.next().await? {
        fields.feed(&piece, &|field| columns.iter().any(|column| column.field == field), &mut |field, raw| {
            for (at, column) in columns.iter().enumerate().filter(|(_, column)| column.field == field) {
                value_of(column, raw, |value| each(at, value));
            }
        });
    }
    Ok(())
}

fn value_of(column: &Column, raw: Option<&[u8]>, each: impl FnOnce(Value<'_>)) {
    let Some(raw) = raw else { return each(Value::Foreign("(too long for a key)")) };
    if raw == b"\\N" {
        return;
    }
    let Some(text) = unescape(raw) else { return each(Value::Foreign("(not text)")) };
    let whole = if column.is_padded { text.trim_end_matches(' ') } else { text.as_str() };
    // Products that do without nulls write nothing for none.
    if whole.is_empty() {
        return;
    }
    each(whole.strip_prefix(column.before.as_str()).map_or(Value::Foreign(whole), |key| Value::Key { key, whole }));
}

/// Takes lines of `COPY` text apart, however they are cut into pieces, and holds one field of them.
#[derive(Default)]
struct Fields {
    field: usize,
    value: Vec<u8>,
    is_too_long: bool,
}

impl Fields {
    fn feed(&mut self, mut piece: &[u8], is_wanted: &dyn Fn(usize) -> bool, each: &mut dyn FnMut(usize, Option<&[u8]>)) {
        // A tab or line end inside a value is escaped, so every one that is seen is an end.
        while !piece.is_empty() {
            let end = piece.iter().position(|byte| matches!(byte, b'\t' | b'\n'));
            let part = &piece[..end.unwrap_or(piece.len())];
            let wanted = is_wanted(self.field);
            if wanted {
                self.is_too_long |= self.value.len() + part.len() > FIELD_BYTES_MAX;
                if !self.is_too_long {
                    self.value.extend_from_slice(part);
                }
            }
            let Some(end) = end else { return };
            if wanted {
                each(self.field, (!self.is_too_long).then_some(self.value.as_slice()));
            }
            self.value.clear();
            self.is_too_long = false;
            self.field = if piece[end] == b'\n' { 0 } else { self.field + 1 };
            piece = &piece[end + 1..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_whole_however_the_lines_are_cut() {
        let long = "x".repeat(FIELD_BYTES_MAX + 1);
        let text = format!("a\t1\\t2\tb\n\\N\t{long}\t\n\t\tc\n");
        for size in [1, 2, 3, 7, text.len()] {
            let (mut fields, mut seen) = (Fields::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                fields.feed(piece, &|field| field != 2, &mut |field, raw| {
                    seen.push((field, raw.map(|raw| String::from_utf8(raw.to_vec()).unwrap())));
                });
            }
            let text = |text: &str| Some(text.to_owned());
            let expected = [(0, text("a")), (1, text("1\\t2")), (0, text("\\N")), (1, None), (0, text("")), (1, text(""))];
            assert_eq!(seen, expected, "pieces of {size}");
        }
    }
}
