//! Schema layout: the tenant's schema is staged under another name in the same database, then the two change names.
//!
//! An archive names the schema it was made from. So its definitions are replayed in a scratch database, the schema is renamed
//! there, and dumped again: the server itself rewrites every reference. That is also the proof that the schema needs nothing of
//! its neighbours.

use serde::Deserialize;

use super::{
    super::{
        catalog,
        ident::{Ident, list, literal},
        session::Session,
        toc::MadeBeforehand,
        tools::Section,
    },
    CutOver, Job, Staged,
    job::HeldBack,
    load, loaders,
    lock::RestoreLock,
    owners, role,
};
use crate::error::{Phase, SourceError};

/// Loads the recovery point into a staging schema beside the live one.
pub(super) async fn stage(job: &Job<'_>) -> Result<Staged, SourceError> {
    let schema = schema_of(job)?;
    let maintenance = Session::open(&job.maintenance(), Phase::Restoring).await?;
    job.check_roles(&maintenance).await?;
    let (user, password) = role::create(job, &maintenance).await?;
    load::make_database(job, &maintenance, &job.names.scratch).await?;
    let scratch_endpoint = job.endpoint.with_database(job.names.scratch.as_str());
    make_extensions(job, &Session::open(&scratch_endpoint, Phase::Restoring).await?).await?;
    let scratch_endpoint = scratch_endpoint.with_login(user.clone(), password.clone());
    let scratch = Staged::of_tables(scratch_endpoint, None);
    let [pre_data, post_data] = rename_definitions(job, &scratch, schema).await?;
    maintenance.batch("removing the scratch database", &format!("DROP DATABASE {} WITH (FORCE)", job.names.scratch)).await?;

    let live = Session::open(&job.live(), Phase::Restoring).await?;
    let stage = &job.names.stage;
    role::let_connect(&live, &job.names.role, &job.live()).await?;
    live.batch("making the staging schema", &format!("CREATE SCHEMA {stage} AUTHORIZATION {}", job.names.role)).await?;
    let endpoint = job.live().with_login(user, password);
    let mut staged = Staged::of_tables(endpoint, Some(stage.clone()));
    let made = MadeBeforehand { schema: Some(stage), extensions: Vec::new() };
    load::archive_entries(job, &staged, Section::PreData, pre_data.into(), &made).await?;
    let session = staged.session().await?;
    loaders::rows(job, &staged, &session).await?;
    load::sequences(job, &staged, &session).await?;
    staged.held_back = load::archive_entries(job, &staged, Section::PostData, post_data.into(), &made).await?;
    load::statistics(job, &staged, &session).await?;
    Ok(staged)
}

pub(super) fn schema_of<'a>(job: &'a Job<'_>) -> Result<&'a Ident, SourceError> {
    let missing = || SourceError::restore_refused(&job.live_place(), "the layout names no schema", "check the tenant register");
    job.scope.schema.as_ref().ok_or_else(missing)
}

/// The tenant's tables may use types of the database's extensions. One that cannot be made is only missed if it is needed, and
/// then the replay names what needs it.
async fn make_extensions(job: &Job<'_>, scratch: &Session) -> Result<(), SourceError> {
    for extension in &job.facts.extensions {
        let sql = format!(
            "CREATE SCHEMA IF NOT EXISTS {0}; CREATE EXTENSION IF NOT EXISTS {1} SCHEMA {0}; GRANT USAGE ON SCHEMA {0} TO PUBLIC",
            extension.schema, extension.name
        );
        match scratch.batch(format!("making extension {}", extension.name), &sql).await {
            Err(SourceError::Statement { source, .. }) => {
                tracing::warn!(extension = %extension.name, %source, "extension not made")
            }
            other => other?,
        }
    }
    Ok(())
}

/// Both sections of definitions, with the staging schema's name instead of the tenant's.
async fn rename_definitions(job: &Job<'_>, scratch: &Staged, schema: &Ident) -> Result<[Vec<u8>; 2], SourceError> {
    let made = MadeBeforehand::default();
    load::definitions(job, scratch, Section::PreData, &made).await?;
    let HeldBack { archive, entries } = load::definitions(job, scratch, Section::PostData, &made).await?;
    if !entries.is_empty() {
        job.tools.restore(&scratch.endpoint, &archive, &entries, 1, "making the tables filter their rows").await?;
    }
    let session = Session::open(&scratch.endpoint, Phase::Restoring).await?;
    session
        .batch("renaming the schema in the scratch database", &format!("ALTER SCHEMA {schema} RENAME TO {}", job.names.stage))
        .await?;
    let dump = |section| job.tools.dump(&scratch.endpoint, section, None, Some(&job.names.stage), Phase::Restoring);
    Ok([dump(Section::PreData).await?, dump(Section::PostData).await?])
}

/// Swaps the staging schema for the live one in one transaction, and gives it to its owner.
///
/// Returns the name under which the replaced schema is kept.
pub(super) async fn cut_over(job: &Job<'_>, lock: &RestoreLock, is_live: bool) -> Result<CutOver, SourceError> {
    let session = Session::open(&job.live(), Phase::Restoring).await?;
    let swapped = swap(job, lock, &session, is_live).await;
    session.close().await;
    swapped
}

async fn swap(job: &Job<'_>, lock: &RestoreLock, session: &Session, is_live: bool) -> Result<CutOver, SourceError> {
    let (schema, undo) = (schema_of(job)?, &job.names.undo);
    session.batch("swapping the schemas", "BEGIN").await?;
    if is_live {
        move_aside(job, session).await?;
    }
    session.batch("swapping the schemas", &format!("ALTER SCHEMA {} RENAME TO {schema}", job.names.stage)).await?;
    let owner = job.facts.schema_owner.as_ref().unwrap_or(&job.facts.properties.owner);
    let notes = owners::hand_over(job, session, owner).await?;
    lock.still_held().await?;
    session.batch("swapping the schemas", "COMMIT").await?;
    Ok(CutOver { undo_copy: is_live.then(|| undo.as_str().to_owned()), notes })
}

/// Gives the live schema the undo copy's name, within a transaction.
async fn move_aside(job: &Job<'_>, session: &Session) -> Result<(), SourceError> {
    let (schema, undo) = (schema_of(job)?, &job.names.undo);
    // Whoever is in the middle of a transaction on these tables ends it first.
    let (tables, _) = catalog::read_tables(session, job.scope).await?;
    if !tables.is_empty() {
        let names = list(tables.iter().map(|table| &table.name));
        session.batch("locking the live tables", &format!("LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")).await?;
    }
    refuse_dependents(session, schema).await?;
    session.batch("moving the live schema aside", &format!("ALTER SCHEMA {schema} RENAME TO {undo}")).await
}

/// Moves the live schema aside, if it is there, and puts one that was kept in its place, if one was: both or neither.
pub(super) async fn swap_back(job: &Job<'_>, lock: &RestoreLock, kept: Option<&Ident>, is_live: bool) -> Result<(), SourceError> {
    let session = Session::open(&job.live(), Phase::Restoring).await?;
    let swapped = async {
        session.batch("swapping the schemas back", "BEGIN").await?;
        if is_live {
            move_aside(job, &session).await?;
        }
        if let Some(kept) = kept {
            let sql = format!("ALTER SCHEMA {kept} RENAME TO {}", schema_of(job)?);
            session.batch("swapping the schemas back", &sql).await?;
        }
        lock.still_held().await?;
        session.batch("swapping the schemas back", "COMMIT").await
    }
    .await;
    session.close().await;
    swapped
}

/// What refers to the live schema from outside would go on referring to the replaced one.
pub(super) async fn refuse_dependents(session: &Session, schema: &Ident) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Dependent {
        what: String,
    }
    let name = schema;
    let schema = format!("(SELECT oid FROM pg_namespace WHERE nspname = {})", literal(schema.as_str()));
    let sql = format!(
        "SELECT 'foreign key ' || p.conname || ' of ' || p.conrelid::regclass AS what
         FROM pg_constraint p JOIN pg_class c ON c.oid = p.conrelid JOIN pg_class rc ON rc.oid = p.confrelid
         WHERE p.contype = 'f' AND rc.relnamespace = {schema} AND c.relnamespace <> rc.relnamespace
         UNION ALL
         SELECT 'view ' || v.oid::regclass FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
         JOIN pg_class v ON v.oid = r.ev_class JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid
         WHERE t.relnamespace = {schema} AND v.relnamespace <> t.relnamespace
         UNION ALL
         SELECT 'column ' || a.attname || ' of ' || c.oid::regclass FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attnum > 0 AND NOT a.attisdropped AND t.typnamespace = {schema} AND c.relnamespace <> t.typnamespace
         UNION ALL
         SELECT 'trigger ' || g.tgname || ' of ' || c.oid::regclass FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_proc f ON f.oid = g.tgfoid
         WHERE NOT g.tgisinternal AND f.pronamespace = {schema} AND c.relnamespace <> f.pronamespace
         ORDER BY 1"
    );
    let found: Vec<Dependent> = session.select("looking for what refers to the live schema", &sql).await?;
    match found.first() {
        None => Ok(()),
        Some(dependent) => Err(SourceError::restore_refused(
            session.place(),
            format!("{} refers to the tenant's schema {name} from outside", dependent.what),
            "remove it, or restore the tenant side by side",
        )),
    }
}
