//! What a live scope holds, counted: for a tenant that stands as an instance's snapshot has it, with nothing to compare it with.

use serde::Deserialize;

use super::{catalog, consistent, copy_out, endpoint::Endpoint, scope::Scope, session::Session};
use crate::error::{Phase, SourceError};

/// What a scope holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Its tables.
    pub tables: u64,
    /// The rows in them; in a pool the tenant's alone.
    pub rows: u64,
}

/// Counts a live scope in one consistent view; `None` when its database or schema is not there.
///
/// # Errors
/// If the scope cannot be read completely.
pub async fn count(endpoint: &Endpoint, scope: &Scope) -> Result<Option<Counted>, SourceError> {
    let endpoint = endpoint.with_database(scope.database.as_str());
    let Some(session) = Session::open_if_there(&endpoint, Phase::Reading).await? else { return Ok(None) };
    let counted = count_in(&session, scope).await;
    session.close().await;
    counted
}

async fn count_in(session: &Session, scope: &Scope) -> Result<Option<Counted>, SourceError> {
    #[derive(Deserialize)]
    struct Count {
        rows: u64,
    }
    if !catalog::is_there(session, scope).await? {
        return Ok(None);
    }
    consistent::begin(session, scope).await?;
    let facts = catalog::read_facts(session, scope).await?;
    let mut rows = 0;
    for table in &facts.tables {
        let only = match scope.is_pool() {
            true => format!(" WHERE {}", copy_out::tenant_value(session.place(), scope, table)?.1),
            false => String::new(),
        };
        let sql = format!("SELECT count(*) AS rows FROM ONLY {}{only}", table.name);
        let count: Count = session.select_one(format!("counting {}", table.name), &sql).await?;
        rows += count.rows;
    }
    session.batch("ending the consistent view", "COMMIT").await?;
    Ok(Some(Counted { tables: facts.tables.len() as u64, rows }))
}
