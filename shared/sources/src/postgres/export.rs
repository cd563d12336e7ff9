//! Exports a scope: one consistent view, the definitions by `pg_dump` inside it, then every table's rows.

use serde::Deserialize;
use vault::PointWriter;

use super::{
    catalog, consistent,
    copy_out::{self, Placement},
    endpoint::Endpoint,
    facts::DatabaseFacts,
    refusals,
    scope::Scope,
    session::Session,
    tools::{Section, Tools},
};
use crate::error::{Phase, SourceError};

#[derive(Deserialize)]
struct Snapshot {
    id: String,
}

/// Exports a tenant's scope into the writer and returns its facts, which belong into the manifest.
///
/// The endpoint names server and login; the database comes from the scope.
///
/// # Errors
/// If the scope cannot be read completely, by name of what cannot be. The writer is then of no use any more.
pub async fn export(
    endpoint: &Endpoint,
    tools: &Tools,
    scope: &Scope,
    writer: &mut PointWriter,
) -> Result<DatabaseFacts, SourceError> {
    let endpoint = endpoint.with_database(scope.database.as_str());
    let session = Session::open(&endpoint, Phase::Reading).await?;
    let exported = export_in(&session, &endpoint, tools, scope, writer).await;
    session.close().await;
    exported
}

async fn export_in(
    session: &Session,
    endpoint: &Endpoint,
    tools: &Tools,
    scope: &Scope,
    writer: &mut PointWriter,
) -> Result<DatabaseFacts, SourceError> {
    if !catalog::is_there(session, scope).await? {
        let schema = scope.schema.as_ref().map(ToString::to_string).unwrap_or_default();
        return Err(SourceError::refused(
            session.place(),
            format!("schema {schema} does not exist"),
            "check the tenant register",
        ));
    }
    consistent::begin(session, scope).await?;
    let mut facts = catalog::read_facts(session, scope).await?;
    refusals::check(session, scope, &facts).await?;
    if !scope.is_pool() {
        facts.pg_dump_version = Some(tools.check_version(facts.server_version_num).await?);
        let snapshot: Snapshot = session.select_one("sharing the consistent view", "SELECT pg_export_snapshot() AS id").await?;
        for section in [Section::PreData, Section::PostData] {
            let archive = tools.dump(endpoint, section, Some(&snapshot.id), scope.schema.as_ref(), Phase::Reading).await?;
            writer.blob(section.blob_name(), &archive).await?;
        }
    }
    for table in &mut facts.tables {
        let summary = copy_out::copy_table(session, table, Placement::live(scope), writer).await?;
        table.rows = summary.rows;
    }
    session.batch("ending the consistent view", "COMMIT").await?;
    Ok(facts)
}
