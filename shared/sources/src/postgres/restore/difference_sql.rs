//! The statements of a cutover by difference, for one table each.
//!
//! Rows meet by the primary key's own equality, so its index serves; whether they are equal is decided on their text, because
//! some types have no equality and for others equal is not identical (`1.0` and `1.00`). Rows of a table without a key meet by their
//! text, each as often as it is there.

use super::super::{
    copy_out,
    facts::{ColumnFacts, ForeignKeyFacts, Identity},
    fit::Fit,
    ident::{Ident, list},
    scope::Scope,
};
use crate::error::{Place, SourceError};

/// The statements for one table. `l` is a live row, `s` a staged one: a live column is called by its name, a staged one as it is recorded.
pub(super) struct TableSql<'a> {
    fit: &'a Fit,
    live: String,
    staged: String,
    undo: String,
    /// Whether a live row is among those that are restored: the tenant's, or any.
    is_meant: String,
    /// Whether it belongs to others; such a row is never touched.
    is_pool: bool,
    /// The live key's columns and what they equal, each with its operator.
    key: Vec<(&'a Ident, &'a Ident, String)>,
    /// The live columns whose values no two rows may share at any time, with their operators.
    uniques: Vec<Vec<(Ident, String)>>,
}

impl<'a> TableSql<'a> {
    pub(super) fn new(
        place: &Place,
        scope: &Scope,
        fit: &'a Fit,
        [stage, undo]: [&Ident; 2],
        equalities: &[String],
    ) -> Result<Self, SourceError> {
        let is_meant =
            if scope.is_pool() { format!("l.{}", copy_out::tenant_value(place, scope, &fit.live)?.1) } else { "true".to_owned() };
        let only = if fit.live.partitioned { "" } else { "ONLY " };
        let key = fit.key.iter().zip(equalities).map(|((recorded, live), equals)| (recorded, live, equals.clone()));
        Ok(Self {
            fit,
            live: format!("{only}{}", fit.live.name),
            staged: fit.live.name.in_schema(stage).to_string(),
            undo: fit.live.name.in_schema(undo).to_string(),
            is_meant,
            is_pool: scope.is_pool(),
            key: key.collect(),
            uniques: Vec::new(),
        })
    }

    /// Heeds the columns of unique indexes other than the key's, each with its operator.
    pub(super) fn with_uniques(self, uniques: Vec<Vec<(Ident, String)>>) -> Self {
        Self { uniques, ..self }
    }

    pub(super) fn fit(&self) -> &'a Fit {
        self.fit
    }

    /// Whether a live row and a staged one have the same key.
    fn same_key(&self) -> String {
        let equal: Vec<_> = self.key.iter().map(|(recorded, live, equals)| format!("l.{live} {equals} s.{recorded}")).collect();
        equal.join(" AND ")
    }

    fn text<'b>(alias: &str, columns: impl Iterator<Item = &'b ColumnFacts>) -> String {
        format!("ROW({})::text", list(columns.map(|column| format!("{alias}.{}", column.name))))
    }

    fn live_text(&self) -> String {
        Self::text("l", self.fit.carried().map(|(_, live)| live))
    }

    fn staged_text(&self) -> String {
        Self::text("s", self.fit.carried().map(|(recorded, _)| recorded))
    }

    /// Columns that no UPDATE may set. A row in which one differs is replaced instead.
    fn unsettable(&self) -> impl Iterator<Item = (&'a ColumnFacts, &'a ColumnFacts)> {
        self.fit.carried().filter(|(_, live)| live.identity == Identity::Always)
    }

    /// Whether a live row has a staged one that it can become by an UPDATE.
    fn survives(&self) -> String {
        let live = Self::text("l", self.unsettable().map(|(_, live)| live));
        let staged = Self::text("s", self.unsettable().map(|(recorded, _)| recorded));
        let taken: String = self.uniques.iter().filter_map(|columns| self.is_taken(columns)).collect();
        format!("EXISTS (SELECT FROM {} AS s WHERE {} AND {live} = {staged}{taken})", self.staged, self.same_key())
    }

    /// The condition that no other row which stays holds what this one is to hold in these columns. None if no recorded value goes there.
    fn is_taken(&self, columns: &[(Ident, String)]) -> Option<String> {
        let recorded = |column| self.fit.recorded_name(column);
        let carried: Vec<_> = columns.iter().filter_map(|(live, _)| recorded(live).map(|recorded| (live, recorded))).collect();
        if carried.is_empty() {
            return None;
        }
        // A column that takes no recorded value keeps the one it has.
        let is_held = columns.iter().map(|(live, equals)| match recorded(live) {
            Some(recorded) => format!("t.{live} {equals} s.{recorded}"),
            None => format!("t.{live} {equals} l.{live}"),
        });
        let stays = self.key.iter().map(|(recorded, live, equals)| format!("t.{live} {equals} u.{recorded}"));
        Some(format!(
            " AND (ROW({})::text = ROW({})::text OR NOT EXISTS (SELECT FROM {} AS t WHERE {} AND (t.tableoid, t.ctid) <> (l.tableoid, l.ctid)
                 AND EXISTS (SELECT FROM {} AS u WHERE {})))",
            list(carried.iter().map(|(live, _)| format!("l.{live}"))),
            list(carried.iter().map(|(_, recorded)| format!("s.{recorded}"))),
            self.live,
            is_held.collect::<Vec<_>>().join(" AND "),
            self.staged,
            stays.collect::<Vec<_>>().join(" AND "),
        ))
    }

    /// Live rows without a key, each with its text and how many of the same text came before it.
    fn numbered_live(&self) -> String {
        let text = self.live_text();
        format!(
            "SELECT l.tableoid AS relation, l.ctid AS place, {text} AS line, row_number() OVER (PARTITION BY {text}) AS copy FROM {} AS l WHERE {}",
            self.live, self.is_meant
        )
    }

    /// Staged rows without a key, likewise.
    fn numbered_staged(&self) -> String {
        let text = self.staged_text();
        format!(
            "SELECT s.ctid AS place, {text} AS line, row_number() OVER (PARTITION BY {text}) AS copy FROM {} AS s",
            self.staged
        )
    }

    /// Copies the present rows aside, with all that is stored of them.
    pub(super) fn keep(&self) -> String {
        let columns = list(self.fit.live.stored_columns().map(|column| format!("l.{}", column.name)));
        format!("CREATE TABLE {} AS SELECT {columns} FROM {} AS l WHERE {}", self.undo, self.live, self.is_meant)
    }

    /// Counts staged rows whose key another tenant's row has. None where there are no others.
    pub(super) fn collisions(&self) -> Option<String> {
        (self.is_pool && !self.key.is_empty()).then(|| {
            format!(
                "SELECT count(*) AS rows FROM {} AS s JOIN {} AS l ON {} WHERE ({}) IS NOT TRUE",
                self.staged,
                self.live,
                self.same_key(),
                self.is_meant
            )
        })
    }

    /// Counts rows that are not to change, and those of them that this transaction wrote.
    pub(super) fn others(&self) -> String {
        format!(
            "SELECT count(*) AS rows, count(*) FILTER (WHERE l.xmin::text = (txid_current() % 4294967296)::text) AS written FROM {} AS l WHERE ({}) IS NOT TRUE",
            self.live, self.is_meant
        )
    }

    /// Deletes the rows that the recovery point does not have.
    pub(super) fn delete(&self) -> String {
        if self.key.is_empty() {
            return format!(
                "WITH live AS ({}), staged AS ({}) DELETE FROM {} AS l USING live
                 WHERE l.tableoid = live.relation AND l.ctid = live.place
                     AND NOT EXISTS (SELECT FROM staged WHERE staged.line = live.line AND staged.copy = live.copy)",
                self.numbered_live(),
                self.numbered_staged(),
                self.live
            );
        }
        format!("DELETE FROM {} AS l WHERE {} AND NOT {}", self.live, self.is_meant, self.survives())
    }

    /// Gives rows their recorded values, where they differ. None if there is no column to set, or no key to find the row by.
    pub(super) fn update(&self) -> Option<String> {
        let settable = self.fit.carried().filter(|(_, live)| live.identity != Identity::Always);
        let assignments = list(settable.map(|(recorded, live)| format!("{} = s.{}", live.name, recorded.name)));
        (!assignments.is_empty() && !self.key.is_empty()).then(|| {
            format!(
                "UPDATE {} AS l SET {assignments} FROM {} AS s WHERE {} AND {} AND {} <> {}",
                self.live,
                self.staged,
                self.is_meant,
                self.same_key(),
                self.live_text(),
                self.staged_text()
            )
        })
    }

    /// Whether a staged row has no live one that is, or can become, it.
    fn is_missing(&self) -> String {
        if self.key.is_empty() {
            return format!(
                "s.ctid IN (SELECT staged.place FROM ({}) AS staged WHERE NOT EXISTS (SELECT FROM ({}) AS live
                     WHERE live.line = staged.line AND live.copy = staged.copy))",
                self.numbered_staged(),
                self.numbered_live()
            );
        }
        format!("NOT EXISTS (SELECT FROM {} AS l WHERE {} AND {})", self.live, self.same_key(), self.is_meant)
    }

    /// Counts the rows that are missing.
    pub(super) fn missing(&self) -> String {
        format!("SELECT count(*) AS rows FROM {} AS s WHERE {}", self.staged, self.is_missing())
    }

    /// Inserts the rows that are missing.
    pub(super) fn insert(&self) -> String {
        let columns = list(self.fit.carried().map(|(_, live)| &live.name));
        let columns = if columns.is_empty() { columns } else { format!("({columns}) ") };
        format!(
            "INSERT INTO {} {columns}OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS s WHERE {}",
            self.fit.live.name,
            list(self.fit.carried().map(|(recorded, _)| format!("s.{}", recorded.name))),
            self.staged,
            self.is_missing()
        )
    }

    /// The condition on a live row `l` that was there before as `u`, with other values in the columns that the recovery point does not have.
    /// None if there are no such columns.
    fn lost_gained(&self) -> Option<String> {
        let key: Vec<_> = self.key.iter().map(|(_, live, equals)| format!("l.{live} {equals} u.{live}")).collect();
        (self.fit.gained().next().is_some() && !key.is_empty()).then(|| {
            let (live, undo) = (Self::text("l", self.fit.gained()), Self::text("u", self.fit.gained()));
            format!("{} AND {} AND {live} <> {undo}", self.is_meant, key.join(" AND "))
        })
    }

    /// Gives rows that went and came back what they held in columns that the recovery point does not have.
    pub(super) fn keep_gained(&self) -> Option<String> {
        let settable = self.fit.gained().filter(|column| column.identity != Identity::Always);
        let assignments = list(settable.map(|column| format!("{0} = u.{0}", column.name)));
        let condition = self.lost_gained().filter(|_| !assignments.is_empty())?;
        Some(format!("UPDATE {} AS l SET {assignments} FROM {} AS u WHERE {condition}", self.live, self.undo))
    }

    /// Counts rows that do not hold what they held there.
    pub(super) fn count_lost_gained(&self) -> Option<String> {
        let condition = self.lost_gained()?;
        Some(format!("SELECT count(*) AS rows FROM {} AS l JOIN {} AS u ON true WHERE {condition}", self.live, self.undo))
    }

    /// Counts rows that are not restored and reference, by this key, a row that will be deleted or lose what is referenced.
    ///
    /// The equalities are those the foreign key itself compares by. `referrer_is_meant` is the condition on a referencing row `r` that is
    /// restored itself, or none if its table is not.
    pub(super) fn foreign_references(
        &self,
        key: &ForeignKeyFacts,
        [refers, keeps]: &[Vec<String>; 2],
        referrer_is_meant: Option<&str>,
    ) -> String {
        let columns = key.referenced_columns.iter().zip(&key.columns).zip(refers);
        let refers: Vec<_> =
            columns.map(|((referenced, column), equals)| format!("l.{referenced} {equals} r.{column}")).collect();
        // A column that takes no recorded value keeps the one it has.
        let columns = key.referenced_columns.iter().zip(keeps).filter_map(|(column, equals)| {
            self.fit.recorded_name(column).map(|recorded| format!("l.{column} {equals} s.{recorded}"))
        });
        let same_key = (!self.key.is_empty()).then(|| self.same_key());
        let keeps: Vec<_> = same_key.into_iter().chain(columns).collect();
        // Without any column to tell by, a row counts as going.
        let keeps = if keeps.is_empty() { "false".to_owned() } else { keeps.join(" AND ") };
        let is_foreign = referrer_is_meant.map_or_else(|| "true".to_owned(), |condition| format!("({condition}) IS NOT TRUE"));
        format!(
            "SELECT count(*) AS rows FROM {} AS r JOIN {} AS l ON {} WHERE {} AND {is_foreign}
             AND NOT EXISTS (SELECT FROM {} AS s WHERE {keeps})",
            key.table,
            self.live,
            refers.join(" AND "),
            self.is_meant,
            self.staged,
        )
    }

    /// Counts staged rows that reference, by this key, a row that is not there. None if a referencing column takes no recorded values.
    ///
    /// `referenced_is_meant` is the condition on a referenced row `r` that is the tenant's, where rows have tenants. Another tenant's
    /// counts as not there, unless the row refers to it today; one that is nobody's is everybody's.
    pub(super) fn dangling(
        &self,
        key: &ForeignKeyFacts,
        [refers, _]: &[Vec<String>; 2],
        referenced_is_meant: Option<&str>,
    ) -> Option<String> {
        let columns: Option<Vec<_>> = key.columns.iter().map(|column| self.fit.recorded_name(column)).collect();
        let columns = columns?;
        let is_set: Vec<_> = columns.iter().map(|column| format!("s.{column} IS NOT NULL")).collect();
        let pairs = key.referenced_columns.iter().zip(&columns).zip(refers);
        let refers: Vec<_> = pairs.map(|((referenced, column), equals)| format!("r.{referenced} {equals} s.{column}")).collect();
        let is_meant = referenced_is_meant.map(|condition| format!(" AND ({condition}) IS NOT FALSE")).unwrap_or_default();
        let pairs = key.columns.iter().zip(&columns);
        let (live, staged): (Vec<_>, Vec<_>) = pairs.map(|(live, staged)| (format!("l.{live}"), format!("s.{staged}"))).unzip();
        let refers_today = (referenced_is_meant.is_some() && !self.key.is_empty()).then(|| {
            format!(
                " AND NOT EXISTS (SELECT FROM {} AS l WHERE {} AND {} AND ROW({})::text = ROW({})::text)",
                self.live,
                self.same_key(),
                self.is_meant,
                live.join(", "),
                staged.join(", ")
            )
        });
        Some(format!(
            "SELECT count(*) AS rows FROM {} AS s WHERE {} AND NOT EXISTS (SELECT FROM {} AS r WHERE {}{is_meant}){}",
            self.staged,
            is_set.join(" AND "),
            key.referenced,
            refers.join(" AND "),
            refers_today.unwrap_or_default()
        ))
    }
}
