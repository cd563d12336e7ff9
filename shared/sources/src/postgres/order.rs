//! How rows of a table follow each other, in words of SQL.

use std::fmt::Display;

use serde::Deserialize;

use super::{
    facts::{ForeignKeyFacts, TableFacts},
    ident::{Ident, QualifiedName, literal},
    session::Session,
};
use crate::error::SourceError;

/// One column of the order, and how its values compare.
///
/// Operators are those of the key's index, by full name: with the search path pinned, `>=` on a type of an extension would be another
/// type's. Values are of the type the index compares, never of a domain, whose checks would run the tenant's code.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct OrderColumn {
    /// The column.
    pub(crate) column: Ident,
    /// The type of values to compare with.
    pub(crate) type_name: String,
    /// The collation, as it may follow a value.
    pub(crate) collation: String,
    /// The operator by which a row is at or behind a value.
    pub(crate) at_least: String,
    /// The operator by which a row is before one.
    pub(crate) below: String,
    /// The operator by which a row is behind one.
    pub(crate) above: String,
}

impl OrderColumn {
    /// A value as it may stand in a statement.
    pub(crate) fn value(&self, text: &str) -> String {
        format!("{}::{}", literal(text), self.type_name)
    }
}

/// The place of a row in its table, by which tables without a key are read.
pub(crate) fn of_places() -> OrderColumn {
    OrderColumn {
        column: Ident::new("ctid").expect("a short name"),
        type_name: "tid".to_owned(),
        collation: String::new(),
        at_least: ">=".to_owned(),
        below: "<".to_owned(),
        above: ">".to_owned(),
    }
}

/// The order of a table's primary key, as far as values of its columns can be named safely.
pub(crate) async fn of_key(session: &Session, table: &QualifiedName, key: &[Ident]) -> Result<Vec<OrderColumn>, SourceError> {
    let found: Vec<OrderColumn> = session.select(format!("asking for the order of {table}"), &query(&table.to_string())).await?;
    Ok(found.into_iter().zip(key).take_while(|(found, key)| found.column == **key).map(|(found, _)| found).collect())
}

/// The operators by which values of a table's primary key are equal, in the key's order. With the search path pinned, `=` on a type of
/// an extension would be another type's, or nobody's.
pub(crate) async fn equalities_of_key(session: &Session, table: &TableFacts) -> Result<Vec<String>, SourceError> {
    let name = &table.name;
    let operators = format!(
        "SELECT o.amopopr AS operator, k.place FROM pg_index i CROSS JOIN unnest(i.indclass) WITH ORDINALITY AS k(opclass, place)
         JOIN pg_opclass c ON c.oid = k.opclass JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 3
             AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype
         WHERE i.indrelid = {}::regclass AND i.indisprimary",
        literal(&name.to_string())
    );
    equalities(session, format!("asking when keys of {name} are equal"), &operators, table.key.len()).await
}

/// How a foreign key compares its columns: the referenced with the referencing, and the referenced with one another.
pub(crate) async fn equalities_of_reference(session: &Session, key: &ForeignKeyFacts) -> Result<[Vec<String>; 2], SourceError> {
    let operators = |of: &str| {
        format!(
            "SELECT operator, place FROM pg_constraint p CROSS JOIN unnest(p.{of}) WITH ORDINALITY AS k(operator, place)
             WHERE p.contype = 'f' AND p.conname = {} AND p.conrelid = {}::regclass",
            literal(key.name.as_str()),
            literal(&key.table.to_string())
        )
    };
    let doing = format!("asking how {} compares", key.name);
    Ok([
        equalities(session, &doing, &operators("conpfeqop"), key.columns.len()).await?,
        equalities(session, &doing, &operators("conppeqop"), key.columns.len()).await?,
    ])
}

/// The columns of a table's unique indexes other than the primary key's, each with the operator that the index compares it by.
///
/// Indexes that compute values are not among them, nor those of constraints that can wait for the end of a transaction.
pub(crate) async fn unique_indexes(session: &Session, name: &QualifiedName) -> Result<Vec<Vec<(Ident, String)>>, SourceError> {
    #[derive(Deserialize)]
    struct Column {
        index: String,
        column: Ident,
        equals: String,
    }
    let sql = format!(
        "SELECT i.indexrelid::text AS index, a.attname AS column, format('OPERATOR(%I.%s)', n.nspname, p.oprname) AS equals
         FROM pg_index i CROSS JOIN unnest(i.indkey::int2[], i.indclass::oid[]) WITH ORDINALITY AS k(attnum, opclass, place)
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         JOIN pg_opclass c ON c.oid = k.opclass JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amopstrategy = 3
             AND o.amoplefttype = c.opcintype AND o.amoprighttype = c.opcintype
         JOIN pg_operator p ON p.oid = o.amopopr JOIN pg_namespace n ON n.oid = p.oprnamespace
         WHERE i.indrelid = {}::regclass AND i.indisunique AND NOT i.indisprimary AND i.indimmediate AND i.indisvalid AND i.indexprs IS NULL
             AND k.place <= i.indnkeyatts ORDER BY i.indexrelid, k.place",
        literal(&name.to_string())
    );
    let columns: Vec<Column> = session.select(format!("looking for unique indexes of {name}"), &sql).await?;
    let by_index = columns.chunk_by(|one, other| one.index == other.index);
    Ok(by_index.map(|columns| columns.iter().map(|each| (each.column.clone(), each.equals.clone())).collect()).collect())
}

/// One operator for each column: with one too few, rows would be equal that are not.
async fn equalities(session: &Session, doing: impl Display, operators: &str, columns: usize) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct Equality {
        name: String,
    }
    let sql = format!(
        "SELECT format('OPERATOR(%I.%s)', n.nspname, p.oprname) AS name
         FROM ({operators}) AS asked JOIN pg_operator p ON p.oid = asked.operator JOIN pg_namespace n ON n.oid = p.oprnamespace ORDER BY place"
    );
    let found: Vec<Equality> = session.select(&doing, &sql).await?;
    if found.len() != columns {
        return Err(SourceError::answer(session.place(), doing, format!("{} operators for {columns} columns", found.len())));
    }
    Ok(found.into_iter().map(|equality| equality.name).collect())
}

/// Types such as `regclass` are left out: their text is a name, which the type that the index compares does not read.
fn query(table: &str) -> String {
    let operator = |strategy: u8, name: &str| {
        format!(
            "(SELECT format('OPERATOR(%I.%s)', n.nspname, p.oprname) FROM pg_amop o JOIN pg_operator p ON p.oid = o.amopopr
              JOIN pg_namespace n ON n.oid = p.oprnamespace WHERE o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype
              AND o.amoprighttype = c.opcintype AND o.amopstrategy = {strategy}) AS {name}"
        )
    };
    format!(
        "SELECT a.attname AS column, format('%I.%I', tn.nspname, t.typname) AS type_name,
            CASE WHEN a.attcollation = 0 THEN '' ELSE format(' COLLATE %I.%I', ln.nspname, l.collname) END AS collation, {}, {}, {}
         FROM pg_index i CROSS JOIN unnest(i.indkey, i.indclass) WITH ORDINALITY AS k(attnum, opclass, place)
         JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
         JOIN pg_opclass c ON c.oid = k.opclass JOIN pg_am m ON m.oid = c.opcmethod AND m.amname = 'btree'
         JOIN pg_type compared ON compared.oid = c.opcintype JOIN pg_type own ON own.oid = a.atttypid AND own.typname !~ '^reg'
         JOIN pg_type t ON t.oid = CASE WHEN compared.typname = 'anyenum' AND own.typtype = 'e' THEN own.oid ELSE compared.oid END AND t.typtype IN ('b', 'e')
         JOIN pg_namespace tn ON tn.oid = t.typnamespace
         LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace ln ON ln.oid = l.collnamespace
         WHERE i.indrelid = {}::regclass AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place",
        operator(4, "at_least"),
        operator(1, "below"),
        operator(5, "above"),
        literal(table)
    )
}
