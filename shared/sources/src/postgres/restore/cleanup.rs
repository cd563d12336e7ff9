//! Removes what a restore made, whatever became of it, and finds what was left behind.

use domain::tenant::Layout;
use serde::Deserialize;

use super::{
    super::{endpoint::Endpoint, session::Session},
    Job,
    lock::RestoreLock,
    names::{self, ROLE, SCRATCH, SIDE, STAGE, UNDO},
};
use crate::error::{Phase, SourceError};

/// Something a restore made that is still there.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Leftover {
    /// `database`, `schema` or `role`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Whether it is meant to stay until a person drops it: an undo copy, or what was restored beside the live data.
    pub kept: bool,
}

/// Removes staging copy, scratch database and role of a restore. The undo copy stays, and what was put beside the live data.
///
/// # Errors
/// If something cannot be removed; the message says what. [`SourceError::RestoreAtWork`] if a restore of this target has not ended:
/// what is there may be what it is working on.
pub async fn cleanup(job: &Job<'_>) -> Result<(), SourceError> {
    let lock = RestoreLock::take(job).await?;
    let cleared = clear(job).await;
    lock.release().await;
    cleared
}

/// [`cleanup`] for who holds the target's lock already.
pub(super) async fn clear(job: &Job<'_>) -> Result<(), SourceError> {
    let (stage, scratch, role) = (&job.names.stage, &job.names.scratch, &job.names.role);
    let maintenance = Session::open(&job.maintenance(), Phase::Restoring).await?;
    let has_role = names::has_role(&maintenance, role).await?;
    if has_role {
        // A role whose sessions go on could make things behind our back.
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", role.as_str());
        maintenance.batch("ending the restore's sessions", &sql).await?;
    }
    for database in [stage, scratch] {
        maintenance.batch("removing the staging database", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)")).await?;
    }
    let shares_database = matches!(job.scope.layout, Layout::Schema { .. } | Layout::Pool { .. }) || job.is_difference();
    if shares_database && let Some(live) = Session::open_if_there(&job.live(), Phase::Restoring).await? {
        live.batch("removing the staging schema", &format!("DROP SCHEMA IF EXISTS {stage} CASCADE")).await?;
        if has_role {
            // Nothing live is the role's: ownership is handed over before anything becomes live. What goes here are its privileges.
            live.batch("taking the restore's role its rights", &format!("DROP OWNED BY {role}")).await?;
        }
    }
    maintenance.batch("removing the restore's role", &format!("DROP ROLE IF EXISTS {role}")).await
}

/// Lists what restores left on the endpoint's server: databases, roles, and schemas of the endpoint's database.
///
/// # Errors
/// If the server cannot be asked.
pub async fn leftovers(endpoint: &Endpoint) -> Result<Vec<Leftover>, SourceError> {
    let session = Session::open(endpoint, Phase::Reading).await?;
    let prefixes: Vec<_> =
        [STAGE, SCRATCH, UNDO, SIDE, ROLE].iter().map(|prefix| format!("starts_with(name, '{prefix}')")).collect();
    let sql = format!(
        "SELECT kind, name, starts_with(name, '{UNDO}') OR starts_with(name, '{SIDE}') AS kept FROM (
            SELECT 'database' AS kind, datname::text AS name FROM pg_database UNION ALL SELECT 'schema', nspname FROM pg_namespace
            UNION ALL SELECT 'role', rolname FROM pg_roles) AS made WHERE {} ORDER BY 1, 2",
        prefixes.join(" OR ")
    );
    session.select("looking for what restores left behind", &sql).await
}
