//! Silo and database layouts: a whole database is staged beside the live one, then the two change names.

use serde::Deserialize;
use tracing::{Instrument, info_span};

use super::{
    super::{
        endpoint::Endpoint,
        ident::{Ident, list, literal},
        session::Session,
        toc::MadeBeforehand,
        tools::Section,
    },
    CutOver, Job, Staged, load, loaders,
    lock::RestoreLock,
    names, owners, role,
};
use crate::error::{Phase, SourceError};

/// Loads the recovery point into a staging database.
pub(super) async fn stage(job: &Job<'_>) -> Result<Staged, SourceError> {
    let maintenance = Session::open(&job.maintenance(), Phase::Restoring).await?;
    job.check_roles(&maintenance).await?;
    let (user, password) = role::create(job, &maintenance).await?;
    load::make_database(job, &maintenance, &job.names.stage).await?;
    let endpoint = job.endpoint.with_database(job.names.stage.as_str());
    let made = MadeBeforehand { schema: None, extensions: make_extensions(job, &endpoint).await? };
    let mut staged = Staged::of_tables(endpoint.with_login(user, password), None);
    load::definitions(job, &staged, Section::PreData, &made).await?;
    let session = staged.session().await?;
    loaders::rows(job, &staged, &session).instrument(info_span!("rows")).await?;
    load::sequences(job, &staged, &session).await?;
    staged.held_back = load::definitions(job, &staged, Section::PostData, &made).instrument(info_span!("indexes")).await?;
    load::statistics(job, &staged, &session).instrument(info_span!("statistics")).await?;
    Ok(staged)
}

/// Makes the extensions that an ordinary role may not make, and returns them. Trusted ones come from the archive.
async fn make_extensions<'a>(job: &'a Job<'_>, endpoint: &Endpoint) -> Result<Vec<&'a Ident>, SourceError> {
    #[derive(Deserialize)]
    struct Available {
        trusted: bool,
    }
    let session = Session::open(endpoint, Phase::Restoring).await?;
    let mut made = Vec::new();
    for extension in &job.facts.extensions {
        let sql = format!(
            "SELECT v.trusted FROM pg_available_extension_versions v JOIN pg_available_extensions e ON e.name = v.name AND e.default_version = v.version
             WHERE v.name = {}",
            literal(extension.name.as_str())
        );
        let available: Vec<Available> = session.select("looking for an extension", &sql).await?;
        let refuse = |what: String, remedy: &str| Err(SourceError::restore_refused(session.place(), what, remedy));
        match available.first() {
            None => {
                let what = format!("extension {} is not available on this server", extension.name);
                return refuse(what, "restore on a server that has it");
            }
            Some(available) if available.trusted => {}
            Some(_) if !matches!(extension.schema.as_str(), "public" | "pg_catalog") => {
                let what =
                    format!("extension {} needs rights to be made, and belongs in schema {}", extension.name, extension.schema);
                return refuse(what, "keep such extensions in schema public");
            }
            Some(_) => {
                let sql = format!("CREATE EXTENSION {} SCHEMA {}", extension.name, extension.schema);
                session.batch(format!("making extension {}", extension.name), &sql).await?;
                made.push(&extension.name);
            }
        }
    }
    Ok(made)
}

/// Gives the staging database to its owner, and swaps it for the live one in one transaction.
///
/// Returns the name under which the replaced database is kept, and what could not be set as recorded.
pub(super) async fn cut_over(job: &Job<'_>, lock: &RestoreLock, staged: &Staged, is_live: bool) -> Result<CutOver, SourceError> {
    let staging = Session::open(&job.endpoint.with_database(&staged.endpoint.database), Phase::Restoring).await?;
    staging.batch("handing over the staging database", "BEGIN").await?;
    let mut notes = owners::hand_over(job, &staging, &job.facts.properties.owner).await?;
    notes.extend(owners::database_properties(job, &staging, &job.names.stage).await?);
    staging.batch("handing over the staging database", "COMMIT").await?;
    staging.close().await;

    swap(job, lock, Some(&job.names.stage), is_live).await?;
    Ok(CutOver { undo_copy: is_live.then(|| job.names.undo.as_str().to_owned()), notes })
}

/// Moves the live database aside, if it is there, and gives its name to another, if there is one: both or neither.
pub(super) async fn swap(job: &Job<'_>, lock: &RestoreLock, coming: Option<&Ident>, is_live: bool) -> Result<(), SourceError> {
    let (live, undo) = (&job.scope.database, &job.names.undo);
    let away = is_live.then(|| format!("ALTER DATABASE {live} RENAME TO {undo}"));
    let here = coming.map(|coming| format!("ALTER DATABASE {coming} RENAME TO {live}"));
    let renames: Vec<_> = away.into_iter().chain(here).collect();
    let swap = format!("BEGIN; {}; COMMIT", renames.join("; "));
    // The swap is made on the session that holds the lock: without the lock there is no swap.
    let (renaming, clearing) = (lock.session(), Session::open(&job.maintenance(), Phase::Restoring).await?);
    // The rename holds off new connections and waits a few seconds for old ones to go; ending them meanwhile makes it certain, and
    // a crash at any point leaves either both databases as they were or both renamed.
    let swapped = tokio::select! {
        swapped = renaming.batch("swapping the databases", &swap) => swapped,
        error = end_sessions(&clearing, std::iter::once(live).chain(coming)) => Err(error),
    };
    match swapped {
        Ok(()) => Ok(()),
        // The reply may be lost though the commit was not.
        Err(error) => {
            // Ends whatever is left of the transaction, so that the answer to the next question stays true.
            let _ = renaming.batch("giving up the swap", "ROLLBACK").await;
            let session = Session::open(&job.maintenance(), Phase::Restoring).await?;
            // Both names changed or none, so one that is gone tells of both.
            let is_done = !names::has_database(&session, coming.unwrap_or(live)).await?;
            if is_done { Ok(()) } else { Err(error) }
        }
    }
}

/// Ends every session in these databases, again and again, until dropped; returns only with an error. A superuser's session cannot
/// be ended; the rename then fails and says so. A worker of the server's own has no role, may not be ended by anybody else, and is
/// told to go by the rename itself.
async fn end_sessions<'a>(session: &Session, databases: impl Iterator<Item = &'a Ident>) -> SourceError {
    let names = list(databases.map(|name| literal(name.as_str())));
    let sql = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({names}) AND pid <> pg_backend_pid()
             AND EXISTS (SELECT FROM pg_roles r WHERE r.oid = usesysid AND NOT r.rolsuper);
         SELECT pg_sleep(0.1)"
    );
    loop {
        if let Err(error) = session.batch("ending sessions in the databases to be swapped", &sql).await {
            return error;
        }
    }
}
