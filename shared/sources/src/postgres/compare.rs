//! What a restore would do to each table, counted exactly and without writing anything.

use domain::{
    caps::PREVIEW_ROWS_MAX,
    request::{Selection, TableEffect},
};
use serde::Deserialize;
use vault::{Digester, PointReader, StreamSink};

use super::{
    catalog, chosen, consistent,
    copy_out::{self, Lines, Placement},
    digest::{self, LiveDigest},
    endpoint::Endpoint,
    facts::{DatabaseFacts, TableFacts},
    fit::Fit,
    ident::list,
    projected::RecordedRows,
    readers,
    scope::Scope,
    session::Session,
    structure,
    tally::Tally,
};
use crate::error::{Phase, Place, SourceError};

/// A recovery point held against the live scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// What would happen to each table.
    pub tables: Vec<TableEffect>,
    /// [`LiveDigest::identity`] of the live data at that moment, or [`LiveDigest::ABSENT`]. Where rows are put into live tables it is of
    /// these tables alone: what happens to others does not void an approval.
    pub live_digest: String,
    /// What the counts do not say: changed structures, what is left out, and excluded tables that come back empty.
    pub notes: Vec<String>,
}

/// Compares a recovery point, or the selected tables of it, with the live scope in one consistent view, writing nothing.
///
/// # Errors
/// If the live scope or the recovery point cannot be read, or a table is too large to compare. [`SourceError::RestoreRefused`] if the
/// selection names what is not there, or rows would go into tables that they do not fit any more.
pub async fn compare(
    endpoint: &Endpoint,
    scope: &Scope,
    point: &PointReader,
    selection: &Selection,
) -> Result<Comparison, SourceError> {
    let endpoint = endpoint.with_database(scope.database.as_str());
    let all = DatabaseFacts::decode(&point.manifest().facts)?;
    let recorded = chosen::narrow(&endpoint.place(), &all, selection)?;
    chosen::check(&endpoint.place(), scope, &recorded, selection)?;
    let Some(session) = Session::open_if_there(&endpoint, Phase::Reading).await? else {
        return all_returned(&endpoint.place(), &recorded, selection);
    };
    let work = Work { session: &session, scope, point, recorded: &recorded, selection };
    let compared = work.compare(&all).await;
    session.close().await;
    compared
}

/// A scope that is not there comes back whole; tables of it have nowhere to come back to.
fn all_returned(place: &Place, recorded: &DatabaseFacts, selection: &Selection) -> Result<Comparison, SourceError> {
    if !selection.tables.is_empty() {
        let what = "the live scope is not there, so the selected tables have no place to come back to";
        return Err(SourceError::restore_refused(place, what, "restore the whole recovery point"));
    }
    let tables = recorded.tables.iter().map(|table| effect(&table.name.to_string(), table.rows, 0, 0, 0)).collect();
    let notes = vec!["the live scope is not there".to_owned()];
    Ok(Comparison { tables, live_digest: LiveDigest::ABSENT.to_owned(), notes })
}

pub(super) fn effect(table: &str, returned: u64, overwritten: u64, destroyed: u64, unchanged: u64) -> TableEffect {
    TableEffect { table: table.to_owned(), returned, overwritten, destroyed, unchanged }
}

fn same_shape(old: &TableFacts, live: &TableFacts) -> bool {
    old.key == live.key && old.stored_columns().map(|column| &column.name).eq(live.stored_columns().map(|column| &column.name))
}

struct Work<'a> {
    session: &'a Session,
    scope: &'a Scope,
    point: &'a PointReader,
    /// The facts of the tables that are restored.
    recorded: &'a DatabaseFacts,
    selection: &'a Selection,
}

impl Work<'_> {
    async fn compare(&self, all: &DatabaseFacts) -> Result<Comparison, SourceError> {
        if !catalog::is_there(self.session, self.scope).await? {
            return all_returned(self.session.place(), self.recorded, self.selection);
        }
        consistent::begin(self.session, self.scope).await?;
        let live = catalog::read_facts(self.session, self.scope).await?;
        let mut compared = if chosen::is_difference(self.scope, self.selection) {
            self.compare_chosen(all, &live).await?
        } else {
            self.compare_whole(&live).await?
        };
        compared.tables.sort_by(|a, b| a.table.cmp(&b.table));
        self.session.batch("ending the consistent view", "COMMIT").await?;
        Ok(compared)
    }

    /// Tables take the place of tables: what is not in the recovery point goes.
    async fn compare_whole(&self, live: &DatabaseFacts) -> Result<Comparison, SourceError> {
        let (session, scope) = (self.session, self.scope);
        let digester = Digester::against(self.point).await?;
        let (mut tables, mut summaries) = (Vec::new(), Vec::new());
        let mut notes = structure::what_changes(self.recorded, live);
        for table in &live.tables {
            let stream = table.name.to_string();
            let old = self.recorded.table(&stream);
            let (effect, summary) = match old {
                Some(old) if same_shape(old, table) => self.compare_and_digest(old, table, &digester).await?,
                _ => {
                    let alone = std::slice::from_ref(table);
                    let summary = readers::read_alone(session, alone, Placement::live(scope), &digester).await?.remove(0);
                    let effect = match old {
                        Some(old) => self.compare_shapes(old, table).await?,
                        None => effect(&stream, 0, 0, summary.rows, 0),
                    };
                    (effect, summary)
                }
            };
            tables.push(effect);
            summaries.push(summary);
        }
        for table in &self.recorded.tables {
            if !live.tables.iter().any(|other| other.name == table.name) {
                tables.push(effect(&table.name.to_string(), table.rows, 0, 0, 0));
            }
        }
        self.add_left_out(live, &mut tables, &mut notes).await?;
        Ok(Comparison { tables, live_digest: digest::identity(&summaries), notes })
    }

    /// Rows go into live tables: only theirs are looked at, and whatever else there is stays.
    async fn compare_chosen(&self, all: &DatabaseFacts, live: &DatabaseFacts) -> Result<Comparison, SourceError> {
        let fits = chosen::fits(self.session, self.scope, self.recorded, &live.tables, self.selection).await?;
        let digester = Digester::against(self.point).await?;
        let (mut tables, mut summaries, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        for fit in &fits {
            let (effect, summary) = if fit.is_same() {
                self.compare_and_digest(&fit.recorded, &fit.live, &digester).await?
            } else {
                let alone = std::slice::from_ref(&fit.live);
                let at = Placement::live(self.scope);
                let summary = readers::read_alone(self.session, alone, at, &digester).await?.remove(0);
                (self.compare_fit(fit).await?, summary)
            };
            chosen::refuse_needing(self.session.place(), fit, effect.returned)?;
            tables.push(effect);
            summaries.push(summary);
            notes.extend(fit.notes());
        }
        let is_chosen = |table: &&TableFacts| self.recorded.tables.iter().any(|other| other.name == table.name);
        let is_recorded = |table: &&TableFacts| all.tables.iter().any(|other| other.name == table.name);
        let left = chosen::named(all.tables.iter().filter(|table| !is_chosen(table)).map(|table| &table.name));
        if !left.is_empty() {
            notes.insert(0, format!("only the selected tables are restored; these stay as they are: {left}"));
        }
        let new = live.tables.iter().filter(|table| !is_recorded(table));
        notes.extend(new.map(|table| format!("table {} is new since the recovery point and stays as it is", table.name)));
        Ok(Comparison { tables, live_digest: digest::identity(&summaries), notes })
    }

    /// The usual case: one read serves both the counts and the digest.
    async fn compare_and_digest(
        &self,
        old: &TableFacts,
        live: &TableFacts,
        digester: &Digester,
    ) -> Result<(TableEffect, vault::StreamSummary), SourceError> {
        let mut rows = self.recorded_rows(old).await?;
        let stream = digester.open(copy_out::header(live))?;
        let mut slice = stream.slice()?;
        let mut lines = Lines::of(self.session, live, Placement::live(self.scope), None).await?;
        while let Some(batch) = lines.next().await? {
            slice.rows(batch.clone()).await?;
            rows.meet_all(&batch);
        }
        slice.end().await?;
        Ok((rows.into_effect(&old.name.to_string()), stream.end().await?))
    }

    /// A table whose columns changed: its live rows are read as the recorded columns, the missing ones as null.
    async fn compare_shapes(&self, old: &TableFacts, live: &TableFacts) -> Result<TableEffect, SourceError> {
        let has = |name: &super::ident::Ident| live.stored_columns().any(|column| column.name == *name);
        let columns =
            list(old.stored_columns().map(|column| if has(&column.name) { column.name.to_string() } else { "NULL".to_owned() }));
        self.meet(self.recorded_rows(old).await?, live, &columns).await
    }

    /// A table whose live rows are read as the recorded columns that go into it.
    async fn compare_fit(&self, fit: &Fit) -> Result<TableEffect, SourceError> {
        let rows = RecordedRows::of(self.point, fit)?;
        let tally = self.tally(&fit.recorded, Tally::new(&fit.header()), rows).await?;
        self.meet(tally, &fit.live, &fit.expressions()).await
    }

    async fn meet(&self, mut tally: Tally, live: &TableFacts, columns: &str) -> Result<TableEffect, SourceError> {
        let mut lines = Lines::of_columns(self.session, live, Placement::live(self.scope), columns).await?;
        while let Some(batch) = lines.next().await? {
            tally.meet_all(&batch);
        }
        Ok(tally.into_effect(&live.name.to_string()))
    }

    async fn recorded_rows(&self, table: &TableFacts) -> Result<Tally, SourceError> {
        let rows = RecordedRows::whole(self.point, &table.name.to_string())?;
        self.tally(table, Tally::new(&copy_out::header(table)), rows).await
    }

    async fn tally(&self, table: &TableFacts, mut tally: Tally, mut rows: RecordedRows) -> Result<Tally, SourceError> {
        if table.rows > PREVIEW_ROWS_MAX {
            return Err(too_large(self.session.place(), table));
        }
        while let Some(lines) = rows.next().await? {
            tally.record_all(&lines);
        }
        Ok(tally)
    }

    /// A table that the recovery point leaves out comes back empty when its database or schema is replaced as a whole.
    async fn add_left_out(
        &self,
        live: &DatabaseFacts,
        tables: &mut Vec<TableEffect>,
        notes: &mut Vec<String>,
    ) -> Result<(), SourceError> {
        #[derive(Deserialize)]
        struct Count {
            rows: u64,
        }
        for left in live.left_out.iter().filter(|left| left.kind == "table") {
            let sql = format!("SELECT count(*) AS rows FROM ONLY {}", left.name);
            let count: Count = self.session.select_one(format!("counting {}", left.name), &sql).await?;
            if count.rows > 0 {
                tables.push(effect(&left.name, 0, 0, count.rows, 0));
                notes.push(format!("{} comes back empty: {}", left.name, left.reason));
            }
        }
        Ok(())
    }
}

pub(super) fn too_large(place: &Place, table: &TableFacts) -> SourceError {
    let what = format!("{} has {} rows, more than the {PREVIEW_ROWS_MAX} a preview can compare", table.name, table.rows);
    SourceError::refused(place, what, "restore this tenant side by side instead")
}
