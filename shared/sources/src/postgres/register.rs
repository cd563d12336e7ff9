//! Reads the tenant register: the rows, as text, that `domain::register` understands.

use domain::{caps::REGISTER_ROWS_MAX, register::RawRow};
use serde::Deserialize;

use super::{endpoint::Endpoint, session::Session};
use crate::error::{Phase, SourceError};

#[derive(Deserialize)]
struct Row {
    tenant_id: Option<String>,
    layout: Option<String>,
    database_id: Option<String>,
    database_name: Option<String>,
    schema_name: Option<String>,
    criticality: Option<String>,
    time_zone: Option<String>,
    status: Option<String>,
    created_at: Option<String>,
}

/// Runs the plan's register query, read only, and returns its rows.
///
/// The query runs as a subquery: whatever it is, it is one statement that returns rows. `created_at` comes back as RFC 3339 when
/// it is a `timestamptz`.
///
/// # Errors
/// If the database cannot be reached or the query does not give the register's columns.
pub async fn read_register(endpoint: &Endpoint, query: &str) -> Result<Vec<RawRow>, SourceError> {
    let session = Session::open(endpoint, Phase::Reading).await?;
    let rows = read_rows(&session, query).await;
    session.close().await;
    rows
}

async fn read_rows(session: &Session, query: &str) -> Result<Vec<RawRow>, SourceError> {
    session.batch("starting to read the register", "BEGIN READ ONLY").await?;
    let query = query.trim().trim_end_matches(';');
    let sql = format!(
        "SELECT tenant_id::text, layout::text, database_id::text, database_name::text, schema_name::text, criticality::text, time_zone::text, \
         status::text, to_json(created_at) #>> '{{}}' AS created_at FROM ({query}\n) AS register LIMIT {}",
        REGISTER_ROWS_MAX + 1
    );
    let rows: Vec<Row> = session.select("reading the tenant register", &sql).await.map_err(|error| match error {
        SourceError::Statement { place, source, .. } => SourceError::Register { place, source },
        other => other,
    })?;
    if rows.len() > REGISTER_ROWS_MAX {
        let what = format!("the register query returns more than {REGISTER_ROWS_MAX} rows");
        return Err(SourceError::refused(session.place(), what, "split the register by shard"));
    }
    Ok(rows.into_iter().map(RawRow::from).collect())
}

impl From<Row> for RawRow {
    fn from(row: Row) -> Self {
        Self {
            tenant_id: row.tenant_id,
            layout: row.layout,
            database_id: row.database_id,
            database_name: row.database_name,
            schema_name: row.schema_name,
            criticality: row.criticality,
            time_zone: row.time_zone,
            status: row.status,
            created_at: row.created_at,
        }
    }
}
