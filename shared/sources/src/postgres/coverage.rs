//! What is in a server's databases, whoever it belongs to: the scan that coverage is judged by.
//!
//! It changes nothing and reads no value but those of tenant columns. What it may not read it says so of; it never shrinks.

use std::collections::BTreeMap;

use domain::{
    ErrorReport,
    caps::{COVERAGE_COUNT_AT_MOST_MS, COVERAGE_TABLES_MAX, COVERAGE_VALUES_SEEN_MAX},
    coverage::{
        Content, DatabaseScan, InstanceScan, Owners, PoolOwners, PooledRows, PooledTable, TableKind, TableScan, TenantRows,
        Values,
    },
    plan::Plan,
    tenant::TenantId,
};
use serde::Deserialize;

use super::{
    copy_out,
    endpoint::Endpoint,
    ident::{Ident, QualifiedName, literal},
    restore::made_by_restore,
    session::Session,
};
use crate::error::{Phase, SourceError};

/// Databases of the provider's own, which nobody may connect to.
const PROVIDERS: &str = "'rdsadmin'";

/// Looks into every database of an instance, one after the other. `reached_by` says how a database is reached, with `None` the server
/// as such. When `is_time_up`, what is left is told of as not looked at.
pub async fn scan(
    instance: &str,
    reached_by: &(dyn Fn(Option<&str>) -> Endpoint + Send + Sync),
    plan: &Plan,
    owners: &Owners,
    is_time_up: &(dyn Fn() -> bool + Send + Sync),
) -> InstanceScan {
    let excluded: Vec<&str> = plan.exclusions.iter().map(|exclusion| exclusion.table.as_str()).collect();
    let found = match list_databases(&reached_by(None)).await {
        Ok(found) => found,
        Err(error) => return InstanceScan { instance: instance.to_owned(), databases: Err(ErrorReport::from(error).message) },
    };
    let mut databases = Vec::new();
    for name in found {
        let made_by_restore = made_by_restore(&name);
        let content = if made_by_restore {
            Ok(Content::default())
        } else if is_time_up() {
            Err(TIME_UP.to_owned())
        } else {
            let pools: Vec<_> = owners.pools(instance, &name).collect();
            match look(&reached_by(Some(&name)), &pools, &excluded, is_time_up).await {
                Ok(Some(content)) => Ok(content),
                // It went since it was listed.
                Ok(None) => continue,
                Err(error) => Err(ErrorReport::from(error).message),
            }
        };
        databases.push(DatabaseScan { name, made_by_restore, content });
    }
    InstanceScan { instance: instance.to_owned(), databases: Ok(databases) }
}

/// Said of what was not looked at.
const TIME_UP: &str = "the time of one invocation was over before its turn came; the next scan tries again";

/// The databases of the server that the endpoint leads to, but for templates and the provider's own.
async fn list_databases(endpoint: &Endpoint) -> Result<Vec<String>, SourceError> {
    #[derive(Deserialize)]
    struct Found {
        name: String,
    }
    let session = Session::open(endpoint, Phase::Reading).await?;
    let sql = format!(
        "SELECT datname AS name FROM pg_database WHERE NOT datistemplate AND datname NOT IN ({PROVIDERS}) ORDER BY datname COLLATE \"C\""
    );
    let found: Result<Vec<Found>, _> = session.select("listing the databases", &sql).await;
    session.close().await;
    Ok(found?.into_iter().map(|found| found.name).collect())
}

/// The tables of a database, and of the pools in it the rows by tenant. `None` if it is gone. A single table that cannot be counted is
/// told of in its place.
async fn look(
    endpoint: &Endpoint,
    pools: &[&PoolOwners],
    excluded: &[&str],
    is_time_up: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Option<Content>, SourceError> {
    let Some(session) = Session::open_if_there(endpoint, Phase::Reading).await? else { return Ok(None) };
    let content = look_in(&session, pools, excluded, is_time_up).await;
    session.close().await;
    content.map(Some)
}

async fn look_in(
    session: &Session,
    pools: &[&PoolOwners],
    excluded: &[&str],
    is_time_up: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Content, SourceError> {
    let settings = format!("SET default_transaction_read_only = on; SET statement_timeout = {COVERAGE_COUNT_AT_MOST_MS}");
    session.batch("making the session read only", &settings).await?;
    let tables = list(session, pools).await?;
    let mut content = Content { large_objects: large_objects(session).await?, ..Content::default() };
    for Table { found, partitioned, tenant_column } in tables {
        let pool = pools.iter().find(|pool| pool.schema == found.schema);
        if let (Some(pool), Some(tenant_column)) = (pool, tenant_column)
            && found.kind == TableKind::Stored
            && !excluded.contains(&found.name.as_str())
        {
            let rows = if is_time_up() {
                Err(TIME_UP.to_owned())
            } else {
                match count(session, &found, partitioned, &tenant_column, pool).await {
                    Ok(rows) => Ok(rows),
                    Err(SourceError::Statement { source, .. }) if source.code == UNDEFINED_TABLE => continue,
                    Err(error) if is_broken(&error) => return Err(error),
                    Err(error) => Err(ErrorReport::from(error).message),
                }
            };
            content.pooled.push(PooledTable { schema: found.schema.clone(), name: found.name.clone(), rows });
        }
        content.tables.push(found);
    }
    Ok(content)
}

/// The table went between listing and counting.
const UNDEFINED_TABLE: &str = "42P01";

/// Whether the session is of no use any more.
fn is_broken(error: &SourceError) -> bool {
    matches!(error, SourceError::Unreachable { .. })
}

struct Table {
    found: TableScan,
    partitioned: bool,
    /// The type of the pool's tenant column, if the table has it.
    tenant_column: Option<TenantColumn>,
}

struct TenantColumn {
    name: Ident,
    type_name: String,
}

#[derive(Deserialize)]
struct Row {
    schema: String,
    name: String,
    kind: String,
    unlogged: bool,
    tenant_type: Option<String>,
}

async fn list(session: &Session, pools: &[&PoolOwners]) -> Result<Vec<Table>, SourceError> {
    let columns: BTreeMap<&str, &str> = pools.iter().map(|pool| (pool.schema.as_str(), pool.tenant_column.as_str())).collect();
    let in_pool = columns.iter().map(|(schema, column)| format!("({}, {})", literal(schema), literal(column)));
    let in_pool = std::iter::once("(NULL, NULL)".to_owned()).chain(in_pool).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relpersistence = 'u' AS unlogged,
            (SELECT format_type(a.atttypid, a.atttypmod) FROM pg_attribute a JOIN (VALUES {in_pool}) AS pool(schema, tenant_column)
                ON pool.schema::text = n.nspname::text AND pool.tenant_column::text = a.attname::text
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS tenant_type
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition AND c.relpersistence <> 't'
            AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
            AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\" LIMIT {}",
        COVERAGE_TABLES_MAX + 1
    );
    let rows: Vec<Row> = session.select("listing the tables", &sql).await?;
    if rows.len() > COVERAGE_TABLES_MAX {
        let what = format!("it has more than {COVERAGE_TABLES_MAX} tables");
        return Err(SourceError::refused(session.place(), what, "split it over several databases"));
    }
    rows.into_iter().map(|row| read(&columns, row)).collect()
}

fn read(columns: &BTreeMap<&str, &str>, row: Row) -> Result<Table, SourceError> {
    let tenant_column = match (row.tenant_type, columns.get(row.schema.as_str())) {
        (Some(type_name), Some(name)) => Some(TenantColumn { name: Ident::new(*name)?, type_name }),
        _ => None,
    };
    let kind = match row.kind.as_str() {
        "f" => TableKind::Foreign,
        _ if row.unlogged => TableKind::Unlogged,
        _ => TableKind::Stored,
    };
    let found = TableScan {
        made_by_restore: made_by_restore(&row.schema),
        schema: row.schema,
        name: row.name,
        kind,
        has_tenant_column: tenant_column.is_some(),
    };
    Ok(Table { found, partitioned: row.kind == "p", tenant_column })
}

async fn large_objects(session: &Session) -> Result<u64, SourceError> {
    #[derive(Deserialize)]
    struct Counted {
        objects: u64,
    }
    let sql = "SELECT count(*) AS objects FROM pg_largeobject_metadata";
    Ok(session.select_one::<Counted>("counting large objects", sql).await?.objects)
}

#[derive(Deserialize)]
struct Group {
    class: String,
    value: Option<String>,
    rows: u64,
    tenants: u64,
    all_rows: u64,
}

/// Counts a pooled table's rows by tenant, in one pass, and keeps those that are no live tenant's.
///
/// Ids are compared as text, byte by byte: a value that merely resembles an id is not in that tenant's exports either.
async fn count(
    session: &Session,
    table: &TableScan,
    partitioned: bool,
    column: &TenantColumn,
    pool: &PoolOwners,
) -> Result<PooledRows, SourceError> {
    let name = QualifiedName { schema: Ident::new(table.schema.clone())?, name: Ident::new(table.name.clone())? };
    // The text of any other type could be made by code of the database.
    copy_out::tenant_type(session.place(), &name, &column.type_name)?;
    let only = if partitioned { "" } else { "ONLY " };
    let sql = format!(
        "WITH groups AS MATERIALIZED (SELECT {}::text COLLATE \"C\" AS value, count(*) AS rows FROM {only}{name} GROUP BY 1),
            known AS MATERIALIZED (SELECT id COLLATE \"C\" AS id, bool_or(live) AS live FROM unnest($1::text[], $2::bool[]) AS given(id, live) GROUP BY 1),
            classed AS (SELECT CASE WHEN value IS NULL THEN 'none' WHEN live IS NULL THEN 'unknown' ELSE 'deleted' END AS class, value, rows
                FROM groups LEFT JOIN known ON id = value WHERE live IS NOT TRUE),
            placed AS (SELECT class, left(value, {}) AS value, rows, row_number() OVER (PARTITION BY class ORDER BY value) AS place,
                count(*) OVER (PARTITION BY class) AS tenants, (sum(rows) OVER (PARTITION BY class))::bigint AS all_rows FROM classed)
         SELECT class, value, rows, tenants, all_rows FROM placed WHERE place <= {COVERAGE_VALUES_SEEN_MAX} ORDER BY class, place",
        column.name,
        // One character too long for an id.
        TenantId::BYTES_MAX + 1
    );
    let (ids, live): (Vec<&str>, Vec<bool>) =
        pool.live.iter().map(|id| (id.as_str(), true)).chain(pool.deleted.iter().map(|id| (id.as_str(), false))).unzip();
    let groups: Vec<Group> = session.select_with(format!("counting the rows of {name} by tenant"), &sql, &[&ids, &live]).await?;
    let mut counted = PooledRows::default();
    for group in groups {
        let values = match group.class.as_str() {
            "none" => {
                counted.no_tenant = group.all_rows;
                continue;
            }
            "unknown" => &mut counted.unknown,
            _ => &mut counted.deleted,
        };
        *values = Values { tenants: group.tenants, rows: group.all_rows, first: std::mem::take(&mut values.first) };
        values.first.push(TenantRows { tenant: group.value.unwrap_or_default(), rows: group.rows });
    }
    Ok(counted)
}
