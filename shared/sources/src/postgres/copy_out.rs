//! Reading a table: one `COPY`, in key order, in whole lines.

use bytes::Bytes;
use vault::{StreamHeader, StreamSink, StreamSummary};

use super::{
    facts::TableFacts,
    ident::{Ident, list, literal},
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
    let plain = column.type_name.split('(').next().unwrap_or_default();
    let type_name = match plain {
        "text" | "character varying" | "uuid" | "smallint" | "integer" | "bigint" => plain,
        "character" | "bpchar" => "bpchar",
        other => {
            let what = format!("the tenant column of {} is of type {other}", table.name);
            return Err(SourceError::refused(place, what, "use text, varchar, uuid or an integer type, whose equality is exact"));
        }
    };
    let value = format!("{}::{type_name}", literal(scope.tenant.as_str()));
    let condition = format!("{} = {value}", column.name);
    Ok((value, condition))
}

/// The query for a table's rows in key order, as the given column expressions.
fn query(place: &Place, table: &TableFacts, at: Placement<'_>, columns: &str) -> Result<String, SourceError> {
    let name = at.schema.map_or_else(|| table.name.clone(), |schema| table.name.in_schema(schema));
    let condition = match at.pool {
        Some(scope) => format!(" WHERE {}", tenant_value(place, scope, table)?.1),
        None => String::new(),
    };
    // A partitioned table is read through its root, once; any other without its children, which are tables of their own.
    let only = if table.partitioned { "" } else { "ONLY " };
    let order = if table.key.is_empty() { String::new() } else { format!(" ORDER BY {}", list(&table.key)) };
    Ok(format!("SELECT {columns} FROM {only}{name}{condition}{order}"))
}

/// Whole lines of a table.
pub(crate) struct Lines<'a> {
    copy: CopyOut<'a>,
    place: &'a Place,
    pending: Vec<u8>,
}

impl<'a> Lines<'a> {
    /// Starts reading a table's stored columns.
    pub(crate) async fn of(session: &'a Session, table: &TableFacts, at: Placement<'_>) -> Result<Self, SourceError> {
        let columns = list(table.stored_columns().map(|column| &column.name));
        Self::of_columns(session, table, at, &columns).await
    }

    /// Starts reading the given expressions over a table's columns.
    pub(crate) async fn of_columns(
        session: &'a Session,
        table: &TableFacts,
        at: Placement<'_>,
        columns: &str,
    ) -> Result<Self, SourceError> {
        let query = query(session.place(), table, at, columns)?;
        let copy = session.copy_out(format!("reading {}", table.name), &format!("COPY ({query}) TO STDOUT")).await?;
        Ok(Self { copy, place: session.place(), pending: Vec::with_capacity(BATCH_BYTES * 2) })
    }

    /// The next lines, each ending in a newline; `None` at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        while let Some(piece) = self.copy.next().await? {
            self.pending.extend_from_slice(&piece);
            if self.pending.len() < BATCH_BYTES {
                continue;
            }
            if let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') {
                let rest = self.pending.split_off(end + 1);
                return Ok(Some(Bytes::from(std::mem::replace(&mut self.pending, rest))));
            }
        }
        match self.pending.last() {
            None => Ok(None),
            Some(b'\n') => Ok(Some(Bytes::from(std::mem::take(&mut self.pending)))),
            Some(_) => Err(SourceError::answer(self.place, "reading rows", "the last row has no end")),
        }
    }
}

/// Pushes one table's rows into a sink.
pub(crate) async fn copy_table(
    session: &Session,
    table: &TableFacts,
    at: Placement<'_>,
    sink: &mut dyn StreamSink,
) -> Result<StreamSummary, SourceError> {
    sink.begin_stream(header(table)).await?;
    let mut lines = Lines::of(session, table, at).await?;
    while let Some(batch) = lines.next().await? {
        sink.rows(&batch).await?;
    }
    Ok(sink.end_stream().await?)
}
