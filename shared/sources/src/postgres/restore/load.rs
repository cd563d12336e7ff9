//! Loads what is around the rows of a staging copy, as the restore's role: definitions, sequences, views, statistics.

use bytes::Bytes;

use super::{
    super::{
        ident::{Ident, QualifiedName, list, literal},
        session::Session,
        toc::{self, MadeBeforehand},
        tools::Section,
    },
    Job, Staged,
    job::HeldBack,
};
use crate::{
    caps::SESSIONS_AT_ONCE,
    error::{PgFailure, Phase, Place, SourceError},
};

/// Replays the recovery point's definitions of one section, and returns what is held back.
pub(super) async fn definitions(
    job: &Job<'_>,
    staged: &Staged,
    section: Section,
    made: &MadeBeforehand<'_>,
) -> Result<HeldBack, SourceError> {
    let archive = job.point.blob(section.blob_name()).await?;
    archive_entries(job, staged, section, archive, made).await
}

/// Replays one section of any archive, as far as it is allowed, and returns what is held back.
pub(super) async fn archive_entries(
    job: &Job<'_>,
    staged: &Staged,
    section: Section,
    archive: Bytes,
    made: &MadeBeforehand<'_>,
) -> Result<HeldBack, SourceError> {
    let listing = job.tools.list(&staged.endpoint, &archive, Phase::Restoring).await?;
    let selected = toc::select(&listing, made).map_err(|entry| {
        let what = format!("its definitions hold `{entry}`, which a restore does not replay");
        SourceError::restore_refused(&staged.endpoint.place(), what, "restore this tenant from a snapshot of its instance")
    })?;
    let replay = async |entries: &str, sessions, doing| match entries {
        "" => Ok(()),
        _ => job.tools.restore(&staged.endpoint, &archive, entries, sessions, doing).await,
    };
    match section {
        Section::PreData => {
            replay(&selected, 1, "making the tables").await?;
            Ok(HeldBack::default())
        }
        Section::PostData => {
            let (selected, entries) = toc::hold_back_row_security(&selected);
            let (shared, rest) = toc::part(&selected);
            replay(shared, SESSIONS_AT_ONCE, "making the indexes and constraints").await?;
            replay(rest, 1, "making the foreign keys and triggers").await?;
            Ok(HeldBack { archive, entries })
        }
    }
}

/// Makes what is left once the rows were compared: tables begin to filter, and only then are views filled from what their owner sees.
pub(super) async fn finish(job: &Job<'_>, staged: &Staged) -> Result<(), SourceError> {
    if job.is_difference() {
        return Ok(());
    }
    let HeldBack { archive, entries } = &staged.held_back;
    if !entries.is_empty() {
        job.tools.restore(&staged.endpoint, archive, entries, 1, "making the tables filter their rows").await?;
    }
    let session = staged.session().await?;
    let filled = materialised_views(job, staged, &session).await;
    session.close().await;
    filled
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
async fn materialised_views(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
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
