//! Rows that go into live tables: a pooled tenant's, or those of selected tables. They are staged in bare tables of the live tables'
//! columns. No definition of a recovery point is replayed: the live ones stay.
//!
//! A tenant that has its tables to itself may have put code into them, which runs when rows are written. So its rows are put back by
//! the restore's role, as a member of the tables' owners: the code gains nothing that the owners did not have. A pool's definitions are
//! the platform's, and the account that carries the restore out puts rows back itself.

use serde::Deserialize;

use super::{
    super::{
        catalog, chosen,
        facts::{DatabaseFacts, TableFacts},
        fit::Fit,
        ident::{Ident, list, literal},
        scope::Scope,
        session::Session,
    },
    Job, Staged, load, loaders, role,
};
use crate::error::{Phase, SourceError};

/// Loads the recovery point's rows into staging tables, if they fit the live ones.
pub(super) async fn stage(job: &Job<'_>) -> Result<Staged, SourceError> {
    let live = Session::open(&job.live(), Phase::Restoring).await?;
    let staged = begin(job, &live).await?;
    let session = staged.session().await?;
    make_tables(job, &staged, [&live, &session], |fit| {
        // Columns and types alone: no default, check or trigger runs when rows are loaded.
        let columns = list(fit.columns.iter().map(|(recorded, live)| match live {
            Some(live) => format!("{} AS {}", live.name, recorded.name),
            None => format!("NULL::text AS {}", recorded.name),
        }));
        format!("SELECT {columns} FROM {} WITH NO DATA", fit.live.name)
    })
    .await?;
    loaders::rows(job, &staged, &session).await.map_err(|error| name_misfit(&staged.fits, error))?;
    make_keys(job, &staged, &session).await?;
    Ok(staged)
}

/// Stages the recovery point's rows as they were recorded, whatever became of the live tables: nothing of theirs is asked or written.
///
/// A type that is gone is text instead. If rows do not load, because a type of the database's own is not what it was, all such are.
pub(super) async fn stage_recorded(job: &Job<'_>) -> Result<Staged, SourceError> {
    let live = Session::open(&job.live(), Phase::Restoring).await?;
    let staged = begin_empty(job, &live).await?;
    let mut session = staged.session().await?;
    make_recorded(job, &live, OwnTypes::IfThere).await?;
    if let Err(error) = loaders::rows(job, &staged, &session).await {
        if !is_misfit(&error) {
            return Err(error);
        }
        tracing::warn!(%error, "types changed since the recovery point, their values are staged as text");
        let names = list(job.facts.tables.iter().map(|table| table.name.in_schema(&job.names.stage)));
        // It may have been stopped amid rows.
        session.close().await;
        live.batch("removing the staging tables", &format!("DROP TABLE {names}")).await?;
        session = staged.session().await?;
        make_recorded(job, &live, OwnTypes::AsText).await?;
        loaders::rows(job, &staged, &session).await?;
    }
    for table in &job.facts.tables {
        if !table.key.is_empty() && table.key.iter().all(|key| table.stored_columns().any(|column| column.name == *key)) {
            make_key(job, &session, table, &list(&table.key)).await?;
        }
    }
    load::statistics(job, &staged, &session).await?;
    Ok(staged)
}

/// What becomes of columns whose types are not the server's own.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OwnTypes {
    IfThere,
    AsText,
}

/// Makes a staging table of the recorded columns for each recorded table.
async fn make_recorded(job: &Job<'_>, live: &Session, own: OwnTypes) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Known {
        name: String,
        there: bool,
        built_in: bool,
    }
    let types = job.facts.tables.iter().flat_map(TableFacts::stored_columns).map(|column| literal(&column.type_name));
    let sql = format!(
        "SELECT name, to_regtype(name) IS NOT NULL AS there,
            EXISTS (SELECT FROM pg_type t WHERE t.oid = to_regtype(name) AND t.typnamespace = 'pg_catalog'::regnamespace) AS built_in
         FROM (SELECT DISTINCT name FROM unnest(ARRAY[{}]::text[]) AS name) AS recorded",
        list(types)
    );
    let known: Vec<Known> = live.select("asking which of the recorded types are there", &sql).await?;
    let keeps = |known: &&Known| known.there && (known.built_in || own == OwnTypes::IfThere);
    for table in &job.facts.tables {
        let columns = list(table.stored_columns().map(|column| {
            let is_kept = known.iter().filter(keeps).any(|known| known.name == column.type_name);
            format!("{} {}", column.name, if is_kept { column.type_name.as_str() } else { "text" })
        }));
        let name = table.name.in_schema(&job.names.stage);
        let sql = format!("CREATE TABLE {name} ({columns}); ALTER TABLE {name} OWNER TO {}", job.names.role);
        live.batch(format!("making a staging table for {}", table.name), &sql).await?;
    }
    Ok(())
}

/// Whether rows do not fit the types of their columns, or code of these failed.
fn is_misfit(error: &SourceError) -> bool {
    let classes = ["22", "23", "42", "P0"];
    matches!(error, SourceError::Statement { source, .. } if classes.iter().any(|class| source.code.starts_with(class)))
}

/// Stages rows that were kept in bare tables of another schema, which have the live tables' columns.
pub(super) async fn stage_kept(job: &Job<'_>, kept: &Ident) -> Result<Staged, SourceError> {
    let live = Session::open(&job.live(), Phase::Restoring).await?;
    let staged = begin(job, &live).await?;
    let session = staged.session().await?;
    make_tables(job, &staged, [&live, &session], |fit| {
        let columns = list(fit.live.stored_columns().map(|column| &column.name));
        format!("SELECT {columns} FROM {}", fit.live.name.in_schema(kept))
    })
    .await?;
    make_keys(job, &staged, &session).await?;
    Ok(staged)
}

/// Makes the restore's role and its empty staging schema.
async fn begin(job: &Job<'_>, live: &Session) -> Result<Staged, SourceError> {
    let fits = chosen::read_fits(live, job.scope, &job.facts, &job.selection).await?;
    let staged = begin_empty(job, live).await?;
    let writes_itself = let_write(job, live, &fits).await?;
    Ok(Staged { fits, writes_itself, ..staged })
}

async fn begin_empty(job: &Job<'_>, live: &Session) -> Result<Staged, SourceError> {
    let (user, password) = role::create(job, live).await?;
    role::let_connect(live, &job.names.role, &job.live()).await?;
    let (stage, role) = (&job.names.stage, &job.names.role);
    live.batch("making the staging schema", &format!("CREATE SCHEMA {stage} AUTHORIZATION {role}")).await?;
    Ok(Staged::of_tables(job.live().with_login(user, password), Some(stage.clone())))
}

/// Makes a staging table for each that rows go into, of what the query for it gives.
async fn make_tables(
    job: &Job<'_>,
    staged: &Staged,
    [live, session]: [&Session; 2],
    query: impl Fn(&Fit) -> String,
) -> Result<(), SourceError> {
    // Planning a query runs code of the table's: it runs as whoever may write to the table.
    let maker = if staged.writes_itself { session } else { live };
    for fit in &staged.fits {
        let name = fit.live.name.in_schema(&job.names.stage);
        let sql = format!("CREATE TABLE {name} AS {}", query(fit));
        maker.batch(format!("making a staging table for {}", fit.live.name), &sql).await?;
        if !staged.writes_itself {
            let sql = format!("ALTER TABLE {name} OWNER TO {}", job.names.role);
            maker.batch("giving a staging table to the restore's role", &sql).await?;
        }
    }
    Ok(())
}

async fn make_keys(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    for fit in staged.fits.iter().filter(|fit| !fit.key.is_empty()) {
        // The key makes the comparison by key fast, and is made faster from rows that are there.
        make_key(job, session, &fit.live, &list(fit.key.iter().map(|(recorded, _)| recorded))).await?;
    }
    load::statistics(job, staged, session).await
}

async fn make_key(job: &Job<'_>, session: &Session, table: &TableFacts, key: &str) -> Result<(), SourceError> {
    let sql = format!("ALTER TABLE {} ADD PRIMARY KEY ({key})", table.name.in_schema(&job.names.stage));
    session.batch(format!("making the staging key of {}", table.name), &sql).await
}

/// Says of rows that could not be loaded which columns are not what they were.
fn name_misfit(fits: &[Fit], error: SourceError) -> SourceError {
    match error {
        SourceError::Statement { place, doing, source, .. } if source.code.starts_with("22") || source.code.starts_with("23") => {
            let fit = fits.iter().find(|fit| doing.ends_with(&fit.recorded.name.to_string()));
            let retyped = fit.map(|fit| fit.retyped().collect::<Vec<_>>().join("; ")).unwrap_or_default();
            let what = format!("rows of the recovery point do not fit today's tables, {doing}: {source}; {retyped}");
            let remedy = "bring the type back, leave the column behind, or restore side by side";
            SourceError::restore_refused(&place, what.trim_end_matches("; "), remedy)
        }
        error => error,
    }
}

/// Lets the restore's role write to the tables by making it a member of their owners, and says whether it is to: of a pool it is not,
/// nor of tables that are the account's own, in which nobody else can have put code.
async fn let_write(job: &Job<'_>, live: &Session, fits: &[Fit]) -> Result<bool, SourceError> {
    #[derive(Deserialize)]
    struct Account {
        name: String,
    }
    if job.scope.is_pool() {
        return Ok(false);
    }
    let account: Account = live.select_one("asking for the account's name", "SELECT current_user AS name").await?;
    let owners = owners(live, job.scope, &job.facts, fits).await?;
    if owners.iter().all(|owner| *owner == account.name) {
        return Ok(false);
    }
    if owners.contains(&account.name) {
        let what = format!("some of the tables, or of those that refer to them, belong to `{}` and some to others", account.name);
        let remedy = "give them one owner that is not the account Holdfast uses, or restore the whole recovery point";
        return Err(SourceError::restore_refused(live.place(), what, remedy));
    }
    let role = &job.names.role;
    let mut statements = vec![format!("GRANT CREATE ON DATABASE {} TO {role}", job.scope.database)];
    for owner in owners {
        statements.push(format!("GRANT {} TO {role}", Ident::new(owner)?));
    }
    live.batch("letting the restore's role write to the tables", &statements.join("; ")).await?;
    Ok(true)
}

/// Who owns the tables, and those that foreign keys tie to them.
async fn owners(live: &Session, scope: &Scope, facts: &DatabaseFacts, fits: &[Fit]) -> Result<Vec<String>, SourceError> {
    let keys = catalog::read_foreign_keys(live, scope).await?;
    let is_chosen = |table: &TableFacts| fits.iter().any(|fit| fit.live.name == table.name);
    let (tables, _) = catalog::read_tables(live, scope).await?;
    let is_tied = |table: &TableFacts| {
        keys.iter().any(|key| {
            let ends = [&key.table, &key.referenced];
            ends.contains(&&table.name) && ends.iter().any(|end| facts.tables.iter().any(|other| other.name == **end))
        })
    };
    let mut owners: Vec<_> =
        tables.into_iter().filter(|table| is_chosen(table) || is_tied(table)).map(|table| table.owner).collect();
    owners.sort();
    owners.dedup();
    Ok(owners)
}

/// Refuses tables in which something would answer a write otherwise than by writing the row.
pub(super) async fn refuse_rules(session: &Session, fits: &[Fit]) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Rule {
        name: String,
    }
    let tables: Vec<_> = fits.iter().map(|fit| format!("{}::regclass", literal(&fit.live.name.to_string()))).collect();
    let sql = format!(
        "SELECT format('%I of %s', r.rulename, r.ev_class::regclass) AS name FROM pg_rewrite r
         WHERE r.ev_class = ANY (ARRAY[{}]::oid[]) AND r.ev_type <> '1' AND r.ev_enabled IN ('O', 'A') ORDER BY 1",
        tables.join(", ")
    );
    let found: Vec<Rule> = session.select("looking for rules", &sql).await?;
    match found.first() {
        None => Ok(()),
        Some(rule) => {
            let what = format!("rule {} would do something else in place of what is written, or besides", rule.name);
            Err(SourceError::restore_refused(session.place(), what, "disable the rule until the restore is over"))
        }
    }
}
