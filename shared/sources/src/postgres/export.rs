//! Exports a scope: one consistent view, and inside it every table's rows and beside them the definitions by `pg_dump`.

use vault::PointWriter;

use super::{
    account::Account,
    catalog, consistent,
    copy_out::Placement,
    endpoint::Endpoint,
    facts::DatabaseFacts,
    readers, refusals, replay,
    scope::Scope,
    session::Session,
    slices,
    toc::{self, MadeBeforehand},
    tools::{Section, Tools},
    turn::Turn,
    view::{Standing, View},
};
use crate::error::{Phase, SourceError};

/// What came of a turn.
#[derive(Debug)]
pub enum Exported {
    /// Everything is in the writer. The facts belong into the manifest.
    Whole(Box<DatabaseFacts>),
    /// It was time to stop.
    Paused(Paused),
}

/// An export that goes on in another run.
#[derive(Debug)]
pub struct Paused {
    /// What [`PointWriter::suspend`] is to keep.
    pub account: serde_json::Value,
    /// Whether the source showed another view than the earlier run had read, so that this one began anew.
    pub began_anew: bool,
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
    writer: &PointWriter,
) -> Result<DatabaseFacts, SourceError> {
    match export_for(endpoint, tools, scope, writer, Turn::WHOLE).await? {
        Exported::Whole(facts) => Ok(*facts),
        Exported::Paused(_) => unreachable!("nothing told it to stop"),
    }
}

/// Like [`export`], for one turn: goes on from what an earlier run left if the source still shows the view that it read, and stops when
/// told to.
///
/// # Errors
/// As [`export`].
pub async fn export_for(
    endpoint: &Endpoint,
    tools: &Tools,
    scope: &Scope,
    writer: &PointWriter,
    turn: Turn<'_>,
) -> Result<Exported, SourceError> {
    let endpoint = endpoint.with_database(scope.database.as_str());
    let session = Session::open(&endpoint, Phase::Reading).await?;
    let exported = export_in(&session, &endpoint, tools, scope, writer, turn).await;
    session.close().await;
    exported
}

async fn export_in(
    session: &Session,
    endpoint: &Endpoint,
    tools: &Tools,
    scope: &Scope,
    writer: &PointWriter,
    turn: Turn<'_>,
) -> Result<Exported, SourceError> {
    if !catalog::is_there(session, scope).await? {
        let schema = scope.schema.as_ref().map(ToString::to_string).unwrap_or_default();
        return Err(SourceError::refused(
            session.place(),
            format!("schema {schema} does not exist"),
            "check the tenant register",
        ));
    }
    let standing = Standing::of(session).await?;
    let standby = replay::of(session).await?;
    consistent::begin(session, scope).await?;
    let mut facts = catalog::read_facts(session, scope).await?;
    facts.standby = standby;
    refusals::check(session, scope, &facts).await?;
    let view = View::of(session, scope, &facts, standing).await?;

    let at = Placement::live(scope);
    let mut sliced = slices::cut(session, &facts.tables, at).await?;
    let mut began_anew = false;
    if let Some(earlier) = turn.earlier {
        match Account::of(earlier, view.as_ref()) {
            Some(account) => account.apply(session, at, earlier, &mut sliced).await?,
            None => began_anew = true,
        }
    }
    let (queue, is_defined) = if scope.is_pool() {
        (readers::read_for(session, endpoint, &sliced, at, writer, turn).await?, true)
    } else {
        facts.pg_dump_version = Some(tools.check_version(facts.server_version_num).await?);
        let snapshot = consistent::share(session).await?;
        let rows = readers::read_for(session, endpoint, &sliced, at, writer, turn);
        tokio::try_join!(rows, export_definitions(endpoint, tools, scope, &snapshot, writer, turn))?
    };
    let Some(summaries) = queue.summaries().filter(|_| is_defined) else {
        let account = Account::new(view, queue.account()).encode()?;
        return Ok(Exported::Paused(Paused { account, began_anew }));
    };
    for (table, summary) in facts.tables.iter_mut().zip(summaries) {
        table.rows = summary.rows;
    }
    session.batch("ending the consistent view", "COMMIT").await?;
    Ok(Exported::Whole(Box::new(facts)))
}

/// Says whether all of them were exported before it was time to stop.
async fn export_definitions(
    endpoint: &Endpoint,
    tools: &Tools,
    scope: &Scope,
    snapshot: &str,
    writer: &PointWriter,
    turn: Turn<'_>,
) -> Result<bool, SourceError> {
    for section in [Section::PreData, Section::PostData] {
        if (turn.until)() {
            return Ok(false);
        }
        let dumped = tools.dump(endpoint, section, Some(snapshot), scope.schema.as_ref(), Phase::Reading).await;
        let archive = dumped.map_err(SourceError::or_replay_conflict)?;
        refuse_unrestorable(endpoint, tools, &archive).await?;
        writer.blob(section.blob_name(), &archive).await?;
    }
    Ok(true)
}

/// Holds an archive against the list of what a restore replays, while there is still somebody who can do something about it.
async fn refuse_unrestorable(endpoint: &Endpoint, tools: &Tools, archive: &[u8]) -> Result<(), SourceError> {
    let listing = tools.list(endpoint, archive, Phase::Reading).await?;
    toc::select(&listing, &MadeBeforehand::default()).map(drop).map_err(|entry| {
        let what = format!("its definitions hold `{entry}`, which a restore does not replay");
        SourceError::refused(&endpoint.place(), what, "remove it, or protect this database by snapshots only")
    })
}
