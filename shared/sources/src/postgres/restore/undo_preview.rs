//! What an undo would do to each table, counted exactly and without writing anything: above all, what was written since the restore and
//! would go.

use std::collections::{BTreeMap, BTreeSet};

use domain::{caps::PREVIEW_ROWS_MAX, request::TableEffect};
use vault::Digester;

use super::{
    super::{
        catalog,
        compare::{Comparison, effect, too_large},
        consistent,
        copy_out::{self, Lines, Placement},
        digest::{self, LiveDigest},
        facts::{DatabaseFacts, TableFacts},
        ident::{Ident, list},
        readers,
        session::Session,
        structure,
        tally::Tally,
    },
    copy::{self, Form, OpenCopy},
    undo::Undo,
};
use crate::error::{Phase, SourceError};

/// Compares what a restore kept with the live scope.
///
/// # Errors
/// If either cannot be read, a table is too large to compare, or the copy is gone and the live data is not what was there before.
pub async fn compare_undo(undo: &Undo<'_>) -> Result<Comparison, SourceError> {
    let kept = undo.copy().open(Phase::Reading).await?;
    let live = Session::open_if_there(&undo.job.live(), Phase::Reading).await?;
    let live = match live {
        Some(session) if catalog::is_there(&session, undo.job.scope).await? => Some(session),
        _ => None,
    };
    let compared = match (&live, &kept) {
        (None, None) if undo.leads_to_nothing() => Ok(absent(Vec::new())),
        (None, None) => Err(undo.copy_is_gone()),
        (None, Some(kept)) => all_returned(undo, kept).await,
        (Some(live), kept) => against_live(undo, live, kept.as_ref()).await,
    };
    for session in live.into_iter().chain(kept.map(|kept| kept.session)) {
        session.close().await;
    }
    compared
}

fn absent(tables: Vec<TableEffect>) -> Comparison {
    Comparison { tables, live_digest: LiveDigest::ABSENT.to_owned(), notes: vec!["the live scope is not there".to_owned()] }
}

async fn all_returned(undo: &Undo<'_>, kept: &OpenCopy<'_>) -> Result<Comparison, SourceError> {
    let mut tables = Vec::new();
    for table in &kept.tables {
        tables.push(returned(kept, table).await?);
    }
    let digester = Digester::against(undo.job.point).await?;
    let absent = absent(tables);
    let (live_digest, note) = undo.bound_to(absent.live_digest, &kept.digest(&digester).await?)?;
    Ok(Comparison { live_digest, notes: absent.notes.into_iter().chain(note).collect(), ..absent })
}

async fn returned(kept: &OpenCopy<'_>, table: &TableFacts) -> Result<TableEffect, SourceError> {
    let mut rows = Tally::new(&copy_out::header(table));
    record(kept, table, &mut rows).await?;
    Ok(rows.into_effect(&table.name.to_string()))
}

async fn against_live(undo: &Undo<'_>, session: &Session, kept: Option<&OpenCopy<'_>>) -> Result<Comparison, SourceError> {
    let (scope, endpoint) = (undo.job.scope, undo.job.live());
    consistent::begin(session, scope).await?;
    let live = catalog::read_facts(session, scope).await?;
    let digester = Digester::against(undo.job.point).await?;
    let mut summaries = readers::read_together(session, &endpoint, &live.tables, Placement::live(scope), &digester).await?;
    let has = |kept: &OpenCopy<'_>, name: &str| kept.tables.iter().any(|table| table.name.to_string() == name);
    // Tables whose rows were not kept are not touched, and may change meanwhile as they like.
    if let (Form::Rows, Some(kept)) = (undo.form(), kept) {
        summaries.retain(|table| has(kept, &table.name));
    }
    let live_digest = digest::identity(&summaries);
    let all = |effect: &dyn Fn(&str, u64) -> TableEffect| {
        summaries.iter().map(|table| effect(&table.name, table.rows)).collect::<Vec<_>>()
    };
    let Some(kept) = kept else {
        if live_digest == undo.recorded {
            let notes = vec!["the live data is what it was before the restore: nothing is left to be taken back".to_owned()];
            return Ok(Comparison { tables: all(&|table, rows| effect(table, 0, 0, 0, rows)), live_digest, notes });
        }
        if !undo.leads_to_nothing() {
            return Err(undo.copy_is_gone());
        }
        let notes = vec!["nothing was there before the restore: what is there now is moved aside".to_owned()];
        return Ok(Comparison { tables: all(&|table, rows| effect(table, 0, 0, rows, 0)), live_digest, notes });
    };
    let mut notes = structure::differences(&kept.tables, &live.tables);
    if undo.form() == Form::Rows {
        // What is not in the copy stays as it is.
        notes.clear();
    }
    let (live_digest, note) = undo.bound_to(live_digest, &kept.digest(&digester).await?)?;
    notes.extend(note);
    let mut tables = Vec::new();
    for table in &kept.tables {
        tables.push(match live.tables.iter().find(|other| other.name == table.name) {
            Some(now) => compare_table(undo, session, kept, table, now).await?,
            None => returned(kept, table).await?,
        });
    }
    if undo.form() == Form::Whole {
        tables.extend(
            summaries.iter().filter(|table| !has(kept, &table.name)).map(|table| effect(&table.name, 0, 0, table.rows, 0)),
        );
        left_out(session, kept, &live, &mut tables, &mut notes).await?;
    }
    tables.sort_by(|a, b| a.table.cmp(&b.table));
    session.batch("ending the consistent view", "COMMIT").await?;
    Ok(Comparison { tables, live_digest, notes })
}

/// Live rows are read as the kept columns, those that are not there as null.
async fn compare_table(
    undo: &Undo<'_>,
    session: &Session,
    kept: &OpenCopy<'_>,
    table: &TableFacts,
    now: &TableFacts,
) -> Result<TableEffect, SourceError> {
    let mut rows = Tally::new(&copy_out::header(table));
    record(kept, table, &mut rows).await?;
    let has = |name: &Ident| now.stored_columns().any(|column| column.name == *name);
    let columns =
        list(table.stored_columns().map(|column| if has(&column.name) { column.name.to_string() } else { "NULL".to_owned() }));
    let mut lines = Lines::of_columns(session, now, Placement::live(undo.job.scope), &columns).await?;
    while let Some(batch) = lines.next().await? {
        rows.meet_all(&batch);
    }
    Ok(rows.into_effect(&table.name.to_string()))
}

async fn record(kept: &OpenCopy<'_>, table: &TableFacts, rows: &mut Tally) -> Result<(), SourceError> {
    let mut lines = Lines::of(&kept.session, table, Placement::staged(kept.schema), None).await?;
    let mut count = 0;
    while let Some(batch) = lines.next().await? {
        count += batch.iter().filter(|byte| **byte == b'\n').count() as u64;
        if count > PREVIEW_ROWS_MAX {
            return Err(too_large(kept.session.place(), &TableFacts { rows: count, ..table.clone() }));
        }
        rows.record_all(&batch);
    }
    Ok(())
}

/// Tables that no recovery point holds come back with the rest, as they were.
async fn left_out(
    session: &Session,
    kept: &OpenCopy<'_>,
    live: &DatabaseFacts,
    tables: &mut Vec<TableEffect>,
    notes: &mut Vec<String>,
) -> Result<(), SourceError> {
    let now: BTreeSet<_> = live.left_out.iter().filter(|left| left.kind == "table").map(|left| left.name.as_str()).collect();
    let before: BTreeMap<_, _> = kept.left_out.iter().map(|(name, own)| (name.as_str(), own.as_str())).collect();
    for name in now.iter().copied().chain(before.keys().copied()).collect::<BTreeSet<_>>() {
        let returned = if let Some(own) = before.get(name) { copy::count(&kept.session, own).await? } else { 0 };
        let destroyed = if now.contains(name) { copy::count(session, name).await? } else { 0 };
        if returned + destroyed > 0 {
            tables.push(effect(name, returned, 0, destroyed, 0));
            notes.push(format!("{name} is in no recovery point; all of its rows are replaced by those that were kept"));
        }
    }
    Ok(())
}
