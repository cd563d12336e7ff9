//! Reading a table or a slice of it: one `COPY`, in key order, in whole lines.

use bytes::{Bytes, BytesMut};
use vault::StreamHeader;

use super::{
    facts::TableFacts,
    ident::{Ident, QualifiedName, list, literal},
    scope::Scope,
    session::{CopyOut, Session},
};
use crate::error::{Place, SourceError};

/// How much is handed over at once, in bytes: large enough to amortise the call, small enough to keep memory flat.
const BATCH_BYTES: usize = 256 << 10;

/// Where the rows of recorded tables are to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement<'a> {
    /// The schema that stands in for the tables' own.
    pub(crate) schema: Option<&'a Ident>,
    /// The pool whose tenant's rows alone are meant; none reads every row.
    pub(crate) pool: Option<&'a Scope>,
}

impl<'a> Placement<'a> {
    /// The scope as it lives.
    pub(crate) fn live(scope: &'a Scope) -> Self {
        Self { schema: None, pool: scope.is_pool().then_some(scope) }
    }

    /// A copy of the scope and nothing else, in another schema or database. Every row counts there: one too many must show.
    pub(crate) fn staged(schema: Option<&'a Ident>) -> Self {
        Self { schema, pool: None }
    }

    /// What a recorded table is called here.
    pub(crate) fn name(&self, table: &TableFacts) -> QualifiedName {
        self.schema.map_or_else(|| table.name.clone(), |schema| table.name.in_schema(schema))
    }
}

/// The stream of a table. It is named after the table's own place wherever its rows are read, so that copies compare equal.
pub(crate) fn header(table: &TableFacts) -> StreamHeader {
    let columns: Vec<_> = table.stored_columns().map(|column| column.name.as_str().to_owned()).collect();
    let key_columns = table.key.iter().map(|key| columns.iter().position(|column| column == key.as_str()));
    // A key with a computed column cannot be found in the line; such a table is then one without a key.
    let key_columns: Option<Vec<_>> = key_columns.collect();
    let name = table.name.to_string();
    StreamHeader { digest_name: name.clone(), name, columns, key_columns: key_columns.unwrap_or_default() }
}

/// The key of the last of some lines, as text; none without a key.
pub(crate) fn last_key(header: &StreamHeader, lines: &[u8]) -> Option<Vec<String>> {
    if header.key_columns.is_empty() {
        return None;
    }
    let lines = lines.strip_suffix(b"\n")?;
    let start = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let fields: Vec<&[u8]> = lines[start..].split(|byte| *byte == b'\t').collect();
    header.key_columns.iter().map(|column| unescape(fields.get(*column)?)).collect()
}

/// A field of `COPY` text as the value's own text; none for a null.
pub(crate) fn unescape(field: &[u8]) -> Option<String> {
    if field == b"\\N" {
        return None;
    }
    let (mut text, mut bytes) = (Vec::with_capacity(field.len()), field.iter());
    while let Some(byte) = bytes.next() {
        text.push(match byte {
            // The server writes no other escapes than these.
            b'\\' => match bytes.next()? {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                other => *other,
            },
            other => *other,
        });
    }
    String::from_utf8(text).ok()
}

/// The tenant id as a value of the table's tenant column, and the condition that selects the tenant's rows.
///
/// The literal is cast to the column's type, not the column to text, so that an index serves; without length modifiers, because a
/// cast to `varchar(3)` would cut the id to somebody else's.
pub(crate) fn tenant_value(place: &Place, scope: &Scope, table: &TableFacts) -> Result<(String, String), SourceError> {
    let column = scope.tenant_column.as_ref().and_then(|name| table.columns.iter().find(|column| column.name == *name));
    let Some(column) = column else {
        return Err(SourceError::refused(
            place,
            format!("{} has no tenant column", table.name),
            "add the column or move the table",
        ));
    };
    let type_name = tenant_type(place, &table.name, &column.type_name)?;
    let value = format!("{}::{type_name}", literal(scope.tenant.as_str()));
    let condition = format!("{} = {value}", column.name);
    Ok((value, condition))
}

/// The tenant column's type without length modifiers, if its equality is exact and its text not made by code of the database.
pub(crate) fn tenant_type(place: &Place, table: &QualifiedName, type_name: &str) -> Result<&'static str, SourceError> {
    const TYPES: [&str; 6] = ["text", "character varying", "uuid", "smallint", "integer", "bigint"];
    let plain = type_name.split('(').next().unwrap_or_default();
    if let Some(exact) = TYPES.into_iter().find(|exact| *exact == plain) {
        return Ok(exact);
    }
    if matches!(plain, "character" | "bpchar") {
        return Ok("bpchar");
    }
    let what = format!("the tenant column of {table} is of type {plain}");
    Err(SourceError::refused(place, what, "use text, varchar, uuid or an integer type, whose equality is exact"))
}

/// The query for the rows of a table, or of a slice of it, in key order, as the given column expressions.
fn query(
    place: &Place,
    table: &TableFacts,
    at: Placement<'_>,
    slice: Option<&str>,
    columns: &str,
) -> Result<String, SourceError> {
    let name = at.name(table);
    let tenant = at.pool.map(|scope| tenant_value(place, scope, table)).transpose()?;
    let conditions: Vec<_> = tenant.as_ref().map(|(_, condition)| condition.as_str()).into_iter().chain(slice).collect();
    let condition = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
    // A partitioned table is read through its root, once; any other without its children, which are tables of their own.
    let only = if table.partitioned { "" } else { "ONLY " };
    let order = if table.key.is_empty() { String::new() } else { format!(" ORDER BY {}", list(&table.key)) };
    Ok(format!("SELECT {columns} FROM {only}{name}{condition}{order}"))
}

/// Whole lines of a table.
pub(crate) struct Lines<'a> {
    copy: CopyOut<'a>,
    place: &'a Place,
    pending: BytesMut,
}

impl<'a> Lines<'a> {
    /// Starts reading a table's stored columns, of all rows or those that meet a slice's condition.
    pub(crate) async fn of(
        session: &'a Session,
        table: &TableFacts,
        at: Placement<'_>,
        slice: Option<&str>,
    ) -> Result<Self, SourceError> {
        let columns = list(table.stored_columns().map(|column| &column.name));
        Self::start(session, table, query(session.place(), table, at, slice, &columns)?).await
    }

    /// Starts reading the given expressions over a table's columns.
    pub(crate) async fn of_columns(
        session: &'a Session,
        table: &TableFacts,
        at: Placement<'_>,
        columns: &str,
    ) -> Result<Self, SourceError> {
        Self::start(session, table, query(session.place(), table, at, None, columns)?).await
    }

    async fn start(session: &'a Session, table: &TableFacts, query: String) -> Result<Self, SourceError> {
        let copy = session.copy_out(format!("reading {}", table.name), &format!("COPY ({query}) TO STDOUT")).await?;
        Ok(Self { copy, place: session.place(), pending: BytesMut::new() })
    }

    /// The next lines, each ending in a newline; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        while let Some(piece) = self.copy.next().await? {
            if self.pending.is_empty() {
                // A long row comes alone, and goes on as it came.
                if piece.len() >= BATCH_BYTES && piece.last() == Some(&b'\n') {
                    return Ok(Some(piece));
                }
                // What was handed over keeps its buffer, so each batch gets one of its own, large enough not to move.
                self.pending.reserve(BATCH_BYTES + BATCH_BYTES / 4);
            }
            self.pending.extend_from_slice(&piece);
            if self.pending.len() >= BATCH_BYTES
                && let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n')
            {
                return Ok(Some(self.pending.split_to(end + 1).freeze()));
            }
        }
        match self.pending.last() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(self.pending.split().freeze())),
            Some(_) => Err(SourceError::answer(self.place, "reading rows", "the last row has no end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_rows_key_is_read_as_the_values_own_text() {
        let header = |key_columns| StreamHeader { name: "t".into(), digest_name: "t".into(), columns: vec![], key_columns };
        let lines = b"first\t1\nx\\t\\\\\\n\\b\\f\\r\\v'\\N\xc3\xa9\t\\\\x00\t\\N\n";
        let key = |columns| last_key(&header(columns), lines);
        assert_eq!(key(vec![1, 0]).unwrap(), ["\\x00", "x\t\\\n\u{8}\u{c}\r\u{b}'N\u{e9}"]);
        assert_eq!((key(vec![]), key(vec![2]), key(vec![3])), (None, None, None));
        assert_eq!(last_key(&header(vec![0]), b""), None);
    }
}
