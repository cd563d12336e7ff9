//! Pool layout: the tenant's rows are staged in bare tables of the live tables' columns. No definition of a recovery point is
//! replayed: the pool's definitions are everybody's.

use super::{
    super::{
        catalog,
        ident::{Ident, list},
        session::Session,
        structure,
    },
    Job, Staged,
    check::summarise,
    job::HeldBack,
    load, loaders, role,
};
use crate::error::{Phase, SourceError};

/// Loads the tenant's rows into staging tables, if the live tables still look as they did.
pub(super) async fn stage(job: &Job<'_>) -> Result<Staged, SourceError> {
    let live = Session::open(&job.live(), Phase::Restoring).await?;
    refuse_changed_structure(job, &live).await?;
    let (user, password) = role::create(job, &live).await?;
    role::let_connect(&live, &job.names.role, &job.live()).await?;
    let (stage, role) = (&job.names.stage, &job.names.role);
    live.batch("making the staging schema", &format!("CREATE SCHEMA {stage} AUTHORIZATION {role}")).await?;
    for table in &job.facts.tables {
        // Columns and types alone: no default, check or trigger runs when rows are loaded.
        let columns = list(table.stored_columns().map(|column| &column.name));
        let name = table.name.in_schema(stage);
        let sql = format!(
            "CREATE TABLE {name} AS SELECT {columns} FROM {} WITH NO DATA; ALTER TABLE {name} OWNER TO {role}",
            table.name
        );
        live.batch(format!("making a staging table for {}", table.name), &sql).await?;
    }
    let endpoint = job.live().with_login(user, password);
    let staged = Staged { endpoint, schema: Some(stage.clone()), held_back: HeldBack::default() };
    let session = staged.session().await?;
    loaders::rows(job, &staged, &session).await?;
    for table in &job.facts.tables {
        // The key makes the comparison by key fast, and is made faster from rows that are there.
        let sql = format!("ALTER TABLE {} ADD PRIMARY KEY ({})", table.name.in_schema(stage), list(&table.key));
        session.batch(format!("making the staging key of {}", table.name), &sql).await?;
    }
    load::statistics(job, &staged, &session).await?;
    Ok(staged)
}

/// Rows of tables that looked different cannot be put into today's without guessing.
pub(super) async fn refuse_changed_structure(job: &Job<'_>, session: &Session) -> Result<(), SourceError> {
    let (tables, _) = catalog::read_tables(session, job.scope).await?;
    if structure::fingerprint(&tables) == job.facts.fingerprint {
        return Ok(());
    }
    let what = format!(
        "the pool's tables changed since the recovery point: {}",
        summarise(&structure::differences(&job.facts.tables, &tables))
    );
    Err(SourceError::restore_refused(
        session.place(),
        what,
        "choose a newer recovery point, or bring the tables back to that shape",
    ))
}

/// The staging tables' schema, as the account that carries the restore out sees it.
pub(super) fn stage_schema<'a>(job: &'a Job<'_>) -> &'a Ident {
    &job.names.stage
}
