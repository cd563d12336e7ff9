//! One consistent view of a scope, with its tables locked against being changed or emptied under it.

use serde::Deserialize;

use super::{
    catalog,
    ident::{Ident, QualifiedName, list, literal},
    scope::Scope,
    session::Session,
};
use crate::error::SourceError;

/// Starts a transaction that sees one moment and changes nothing.
///
/// That it is read-only also holds off a tenant's code: planning a query, the server calls functions of a table's index expressions,
/// predicates and partition keys as whoever asks, and in a transaction that may write they would do so with our account's rights.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// How often the set of tables may change between listing and locking before the source counts as too busy to read.
const ATTEMPTS_MAX: usize = 5;

/// Starts a repeatable-read, read-only transaction in which the scope's tables are what they were when its view was taken.
///
/// The locks come before the view: a table truncated or rewritten between view and lock would otherwise look empty in it.
pub(crate) async fn begin(session: &Session, scope: &Scope) -> Result<(), SourceError> {
    for _ in 0..ATTEMPTS_MAX {
        let listed = table_names(session, scope).await?;
        session.batch("starting a consistent view", BEGIN).await?;
        if !listed.is_empty() {
            let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE", list(&listed));
            match session.batch("locking the tables against changes of their definition", &lock).await {
                Ok(()) => {}
                // A table went between listing and locking.
                Err(SourceError::Statement { source, .. }) if matches!(source.code.as_str(), "42P01" | "3F000") => {
                    session.batch("starting over", "ROLLBACK").await?;
                    continue;
                }
                Err(error @ SourceError::Busy { .. }) => {
                    session.batch("giving up", "ROLLBACK").await?;
                    return Err(name_holder(session, scope, error).await);
                }
                Err(error) => return Err(error),
            }
        }
        if table_names(session, scope).await? == listed {
            return Ok(());
        }
        session.batch("starting over", "ROLLBACK").await?;
    }
    let what = format!("its tables changed {ATTEMPTS_MAX} times while they were being locked");
    Err(SourceError::refused(session.place(), what, "run the export when no migration is running"))
}

/// Says of a lock that was not to be had which table it is, and who is in the way: what holds or awaits an exclusive one.
///
/// Whoever it was may be gone by now; then the error stays as it is.
async fn name_holder(session: &Session, scope: &Scope, error: SourceError) -> SourceError {
    #[derive(Deserialize)]
    struct Held {
        schema: Ident,
        name: Ident,
        pid: i32,
        application: Option<String>,
    }
    let sql = format!(
        "SELECT n.nspname AS schema, c.relname AS name, l.pid, a.application_name AS application
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE l.mode = 'AccessExclusiveLock' AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
             AND c.relkind IN ('r', 'p') AND {} ORDER BY l.granted DESC, 1, 2 LIMIT 1",
        scope.schema_condition("n.nspname")
    );
    let held: Vec<Held> = session.select("asking who holds a lock", &sql).await.unwrap_or_default();
    match (error, held.into_iter().next()) {
        (SourceError::Busy { place, source, .. }, Some(Held { schema, name, pid, application })) => {
            let application = application.unwrap_or_default();
            let who = format!("process {pid} (`{}`) has or awaits for itself", application.escape_debug());
            let doing = format!("locking {}, which {who}", QualifiedName { schema, name });
            SourceError::Busy { place, doing, source }
        }
        (error, _) => error,
    }
}

/// Names the session's view, so that others can share it as long as the session's transaction is open.
pub(crate) async fn share(session: &Session) -> Result<String, SourceError> {
    #[derive(Deserialize)]
    struct Snapshot {
        id: String,
    }
    let snapshot: Snapshot = session.select_one("sharing the consistent view", "SELECT pg_export_snapshot() AS id").await?;
    Ok(snapshot.id)
}

/// Starts a transaction that sees what the session which shared the view sees.
///
/// It locks the tables at once: later, it could come to stand behind somebody who waits for the sharing session's own lock, and all
/// three would wait for one another.
pub(crate) async fn join(session: &Session, snapshot: &str, tables: &[QualifiedName]) -> Result<(), SourceError> {
    let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", literal(snapshot));
    session.batch("joining the consistent view", &sql).await?;
    if tables.is_empty() {
        return Ok(());
    }
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", list(tables));
    session.batch("locking the tables against changes of their definition", &lock).await
}

async fn table_names(session: &Session, scope: &Scope) -> Result<Vec<QualifiedName>, SourceError> {
    let (tables, _) = catalog::read_tables(session, scope).await?;
    Ok(tables.into_iter().map(|table| table.name).collect())
}
