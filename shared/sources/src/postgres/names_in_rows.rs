//! Rows that name objects: a `regclass` holds a number, and is read and written as a name. Where the name stands for something else by
//! the time it is written, the row is no longer what it was.

use serde::Deserialize;

use super::{
    copy_out,
    facts::DatabaseFacts,
    ident::{Ident, QualifiedName, literal},
    scope::Scope,
    session::Session,
};
use crate::error::SourceError;

#[derive(Deserialize)]
struct NamingColumn {
    schema: Ident,
    table: Ident,
    column: Ident,
    type_name: String,
    /// Whether its values are such names, not arrays or rows with them.
    is_direct: bool,
}

/// Every column with a type that names objects, or is made of one.
const COLUMNS: &str = "WITH RECURSIVE naming(oid, is_direct) AS (
        SELECT oid, true FROM pg_type WHERE typname ~ '^reg' AND typname <> 'regrole' AND typtype = 'b' AND typnamespace = 'pg_catalog'::regnamespace
        UNION SELECT t.oid, n.is_direct AND t.typbasetype = n.oid FROM naming n JOIN pg_type t ON n.oid IN (t.typelem, t.typbasetype)
            OR EXISTS (SELECT FROM pg_attribute f WHERE f.attrelid = t.typrelid AND t.typtype = 'c' AND f.attnum > 0 AND f.atttypid = n.oid))
    SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, format_type(a.atttypid, a.atttypmod) AS type_name, bool_or(naming.is_direct) AS is_direct
    FROM naming JOIN pg_attribute a ON a.atttypid = naming.oid JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''";

/// Refuses rows whose names a restore would read as other objects, or as none.
///
/// A schema is loaded beside the live one, where its own name still means the live objects, and a pool's rows by a role that may not use
/// the pool's schema. In a database of its own the objects are there when the rows come, except for indexes.
pub(crate) async fn refuse(session: &Session, scope: &Scope, facts: &DatabaseFacts) -> Result<(), SourceError> {
    let columns = columns(session, scope).await?;
    refuse_in(session, scope, facts, &columns).await
}

/// Those of a pool's tenants whose rows name no such objects. The others' exports are refused, each by its own name.
pub(crate) async fn passing(session: &Session, scopes: Vec<Scope>, facts: &DatabaseFacts) -> Result<Vec<Scope>, SourceError> {
    let Some(first) = scopes.first() else { return Ok(scopes) };
    let columns = columns(session, first).await?;
    if columns.is_empty() {
        return Ok(scopes);
    }
    let mut passing = Vec::new();
    for scope in scopes {
        match refuse_in(session, &scope, facts, &columns).await {
            Ok(()) => passing.push(scope),
            Err(SourceError::Refused { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(passing)
}

async fn columns(session: &Session, scope: &Scope) -> Result<Vec<NamingColumn>, SourceError> {
    let sql = format!("{COLUMNS} AND {} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3", scope.schema_condition("n.nspname"));
    session.select("looking for columns that name objects", &sql).await
}

async fn refuse_in(session: &Session, scope: &Scope, facts: &DatabaseFacts, columns: &[NamingColumn]) -> Result<(), SourceError> {
    for NamingColumn { schema, table, column, type_name, is_direct } in columns {
        let name = QualifiedName { schema: schema.clone(), name: table.clone() };
        let Some(found) = facts.tables.iter().find(|found| found.name == name) else { continue };
        let (condition, what) = match &scope.schema {
            Some(schema) => {
                let schema = literal(schema.as_str());
                let names_own = if *is_direct {
                    format!("position(format('%I.', {schema}) in {column}::text) > 0 OR {column}::text = format('%I', {schema})")
                } else {
                    format!("position({schema} in {column}::text) > 0")
                };
                let names_own = match scope.is_pool() {
                    true => format!("({names_own}) AND {}", copy_out::tenant_value(session.place(), scope, found)?.1),
                    false => names_own,
                };
                (names_own, "objects of its own schema")
            }
            None if *is_direct => {
                let is_index =
                    format!("{column}::oid IN (SELECT oid FROM pg_class WHERE relkind IN ('i', 'I') AND oid >= 16384)");
                (is_index, "indexes, which are made after the rows")
            }
            None => continue,
        };
        let only = if found.partitioned { "" } else { "ONLY " };
        let sql = format!("SELECT 1 AS one WHERE EXISTS (SELECT FROM {only}{name} WHERE {condition})");
        let naming: Vec<serde_json::Value> = session.select(format!("looking for names of objects in {name}"), &sql).await?;
        if !naming.is_empty() {
            let what = format!("column {column} of {name}, of type {type_name}, names {what}");
            return Err(SourceError::refused(session.place(), what, "keep such names as text"));
        }
    }
    Ok(())
}

/// Refuses what belongs to a schema's types or functions but is in no schema: `pg_dump` of one schema leaves it out without a word.
/// What a type or an extension brings with it comes back with it.
pub(crate) async fn refuse_outside_schemas(session: &Session, scope: &Scope) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Outside {
        what: String,
    }
    let is_ours = scope.schema_condition("n.nspname");
    let sql = format!(
        "WITH types AS (SELECT t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE {is_ours}),
            functions AS (SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE {is_ours})
         SELECT format('cast (%s AS %s)', format_type(castsource, NULL), format_type(casttarget, NULL)) AS what FROM pg_cast
         WHERE (castsource IN (SELECT oid FROM types) OR casttarget IN (SELECT oid FROM types) OR castfunc IN (SELECT oid FROM functions))
             AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_cast'::regclass AND d.objid = pg_cast.oid AND d.deptype IN ('i', 'e'))
         UNION ALL
         SELECT format('transform for %s', format_type(trftype, NULL)) FROM pg_transform
         WHERE trftype IN (SELECT oid FROM types) OR trffromsql IN (SELECT oid FROM functions) OR trftosql IN (SELECT oid FROM functions)
         ORDER BY 1"
    );
    let found: Vec<Outside> = session.select("looking for casts and transforms of the schema", &sql).await?;
    match found.first() {
        None => Ok(()),
        Some(Outside { what }) => {
            let what = format!(
                "{what} belongs to the tenant's schema but is the whole database's, and no export of a schema carries it"
            );
            Err(SourceError::refused(
                session.place(),
                what,
                "drop it and call its function by name, or give the tenant a database",
            ))
        }
    }
}
