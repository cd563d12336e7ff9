//! Loads a staging copy, as the restore's role: definitions, rows, sequences, definitions.

use super::{
    super::{
        facts::TableFacts,
        ident::{Ident, QualifiedName, list, literal},
        session::Session,
        toc::{self, MadeBeforehand},
        tools::Section,
    },
    Job, Staged,
};
use crate::error::{PgFailure, Phase, Place, SourceError};

/// Replays the recovery point's definitions of one section.
pub(super) async fn definitions(
    job: &Job<'_>,
    staged: &Staged,
    section: Section,
    made: &MadeBeforehand<'_>,
) -> Result<(), SourceError> {
    let archive = job.point.blob(section.blob_name()).await?;
    archive_entries(job, staged, section, &archive, made).await
}

/// Replays one section of any archive, as far as it is allowed.
pub(super) async fn archive_entries(
    job: &Job<'_>,
    staged: &Staged,
    section: Section,
    archive: &[u8],
    made: &MadeBeforehand<'_>,
) -> Result<(), SourceError> {
    let listing = job.tools.list(&staged.endpoint, archive).await?;
    let selected = toc::select(&listing, made).map_err(|entry| {
        let what = format!("its definitions hold `{entry}`, which a restore does not replay");
        SourceError::restore_refused(&staged.endpoint.place(), what, "restore this tenant from a snapshot of its instance")
    })?;
    let doing = match section {
        Section::PreData => "making the tables",
        Section::PostData => "making the indexes, constraints and triggers",
    };
    job.tools.restore(&staged.endpoint, archive, &selected, doing).await
}

/// Loads every table's rows, straight from the vault.
pub(super) async fn rows(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    for table in &job.facts.tables {
        table_rows(job, table, &placed(staged, &table.name), session).await?;
    }
    Ok(())
}

async fn table_rows(job: &Job<'_>, table: &TableFacts, name: &QualifiedName, session: &Session) -> Result<(), SourceError> {
    let columns = list(table.stored_columns().map(|column| &column.name));
    // A table may have no column to name; COPY then takes empty lines.
    let columns = if columns.is_empty() { columns } else { format!(" ({columns})") };
    let mut stream = job.point.stream(&table.name.to_string()).await?;
    let mut copy = session.copy_in(format!("loading {}", table.name), &format!("COPY {name}{columns} FROM STDIN")).await?;
    while let Some(lines) = stream.next().await? {
        copy.send(lines).await?;
    }
    copy.finish().await?;
    Ok(())
}

/// Sets every sequence to where it stood.
pub(super) async fn sequences(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    let settings: Vec<_> = job
        .facts
        .sequences
        .iter()
        .map(|sequence| {
            let name = literal(&placed(staged, &sequence.name).to_string());
            format!("SELECT setval({name}::regclass, {}, {})", sequence.last_value, sequence.is_called)
        })
        .collect();
    session.batch("setting the sequences", &settings.join("; ")).await
}

/// Fills the materialised views that were filled, each after those it is made from.
pub(super) async fn materialised_views(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    let mut waiting: Vec<_> = job.facts.materialised_views.iter().filter(|view| view.populated).collect();
    while !waiting.is_empty() {
        let mut left = Vec::new();
        let mut refused = None;
        for view in &waiting {
            let name = placed(staged, &view.name);
            match session.batch(format!("filling {}", view.name), &format!("REFRESH MATERIALIZED VIEW {name}")).await {
                Ok(()) => {}
                // "has not been populated": it is made from another one.
                Err(SourceError::Statement { place, doing, phase, source }) if source.code == "55000" => {
                    refused = Some((place, doing, phase, source));
                    left.push(*view);
                }
                Err(error) => return Err(error),
            }
        }
        match refused {
            Some(refused) if left.len() == waiting.len() => return Err(statement(refused)),
            _ => waiting = left,
        }
    }
    Ok(())
}

fn statement((place, doing, phase, source): (Place, String, Phase, PgFailure)) -> SourceError {
    SourceError::Statement { place, doing, phase, source }
}

/// Gathers statistics, so that the first queries after the cutover are planned as before.
pub(super) async fn statistics(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    let names: Vec<_> = job.facts.tables.iter().map(|table| placed(staged, &table.name)).collect();
    if names.is_empty() { Ok(()) } else { session.batch("gathering statistics", &format!("ANALYZE {}", list(names))).await }
}

/// A name of the scope as it is called in the staging copy.
pub(super) fn placed(staged: &Staged, name: &QualifiedName) -> QualifiedName {
    match &staged.schema {
        Some(schema) => name.in_schema(schema),
        None => name.clone(),
    }
}

/// A locale clause that makes a database sort and fold as another.
fn locale(properties: &super::super::facts::DatabaseProperties) -> String {
    let mut clause = format!(
        "TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        literal(&properties.encoding),
        literal(&properties.collate),
        literal(&properties.ctype)
    );
    match (properties.locale_provider.as_str(), &properties.locale) {
        ("i", Some(locale)) => clause.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {}", literal(locale))),
        ("b", Some(locale)) => clause.push_str(&format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {}", literal(locale))),
        _ => {}
    }
    clause
}

/// Makes an empty database that belongs to the restore's role.
pub(super) async fn make_database(job: &Job<'_>, session: &Session, name: &Ident) -> Result<(), SourceError> {
    let sql = format!("CREATE DATABASE {name} OWNER {} {}", job.names.role, locale(&job.facts.properties));
    session.batch("making a database to stage in", &sql).await
}
