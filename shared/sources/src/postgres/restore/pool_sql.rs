//! The statements of a pool's cutover, for one table each.
//!
//! Rows meet by the primary key's own equality, so its index serves; whether they are equal is decided on their text, because
//! some types have no equality and for others equal is not identical (`1.0` and `1.00`).

use super::super::{
    copy_out,
    facts::{ColumnFacts, ForeignKeyFacts, Identity, TableFacts},
    ident::{Ident, list},
    scope::Scope,
};
use crate::error::{Place, SourceError};

/// The statements for one table. `l` is a live row, `s` a staged one.
pub(super) struct TableSql<'a> {
    table: &'a TableFacts,
    live: String,
    staged: String,
    undo: String,
    /// Whether a live row is the tenant's.
    is_tenants: String,
    same_key: String,
}

impl<'a> TableSql<'a> {
    pub(super) fn new(
        place: &Place,
        scope: &Scope,
        table: &'a TableFacts,
        stage: &Ident,
        undo: &Ident,
        equalities: &[String],
    ) -> Result<Self, SourceError> {
        let (_, condition) = copy_out::tenant_value(place, scope, table)?;
        let only = if table.partitioned { "" } else { "ONLY " };
        let equal = table.key.iter().zip(equalities);
        let same_key: Vec<_> = equal.map(|(key, equals)| format!("l.{key} {equals} s.{key}")).collect();
        Ok(Self {
            table,
            live: format!("{only}{}", table.name),
            staged: table.name.in_schema(stage).to_string(),
            undo: table.name.in_schema(undo).to_string(),
            is_tenants: format!("l.{condition}"),
            same_key: same_key.join(" AND "),
        })
    }

    fn columns(&self) -> String {
        list(self.table.stored_columns().map(|column| &column.name))
    }

    fn row_text(alias: &str, columns: impl Iterator<Item = &'a ColumnFacts>) -> String {
        format!("ROW({})::text", list(columns.map(|column| format!("{alias}.{}", column.name))))
    }

    /// Columns that no UPDATE may set. A row in which one differs is replaced instead.
    fn unsettable(&self) -> impl Iterator<Item = &'a ColumnFacts> {
        self.table.stored_columns().filter(|column| column.identity == Identity::Always)
    }

    /// Whether a live row has a staged one that it can become by an UPDATE.
    fn survives(&self) -> String {
        let (live, staged) = (Self::row_text("l", self.unsettable()), Self::row_text("s", self.unsettable()));
        format!("EXISTS (SELECT FROM {} AS s WHERE {} AND {live} = {staged})", self.staged, self.same_key)
    }

    /// Copies the tenant's present rows aside.
    pub(super) fn keep(&self) -> String {
        format!("CREATE TABLE {} AS SELECT {} FROM {} AS l WHERE {}", self.undo, self.columns(), self.live, self.is_tenants)
    }

    /// Counts staged rows whose key another tenant's row has.
    pub(super) fn collisions(&self) -> String {
        format!(
            "SELECT count(*) AS rows FROM {} AS s JOIN {} AS l ON {} WHERE ({}) IS NOT TRUE",
            self.staged, self.live, self.same_key, self.is_tenants
        )
    }

    /// Deletes the tenant's rows that the recovery point does not have.
    pub(super) fn delete(&self) -> String {
        format!("DELETE FROM {} AS l WHERE {} AND NOT {}", self.live, self.is_tenants, self.survives())
    }

    /// Gives the tenant's rows their recorded values, where they differ. None if there is no column to set.
    pub(super) fn update(&self) -> Option<String> {
        let settable = self.table.stored_columns().filter(|column| column.identity != Identity::Always);
        let assignments = list(settable.map(|column| format!("{0} = s.{0}", column.name)));
        let (live, staged) = (Self::row_text("l", self.table.stored_columns()), Self::row_text("s", self.table.stored_columns()));
        (!assignments.is_empty()).then(|| {
            format!(
                "UPDATE {} AS l SET {assignments} FROM {} AS s WHERE {} AND {} AND {live} <> {staged}",
                self.live, self.staged, self.is_tenants, self.same_key
            )
        })
    }

    /// Inserts the rows that are missing.
    pub(super) fn insert(&self) -> String {
        format!(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS s WHERE NOT EXISTS (SELECT FROM {} AS l WHERE {} AND {})",
            self.table.name,
            self.columns(),
            self.columns(),
            self.staged,
            self.live,
            self.same_key,
            self.is_tenants
        )
    }

    /// Counts rows that are not the tenant's and reference, by this key, a row that will be deleted or lose what is referenced.
    ///
    /// The equalities are those the foreign key itself compares by. `referrer_is_tenants` is the condition on a referencing row `r`, or none if its table has no tenant column.
    pub(super) fn foreign_references(
        &self,
        key: &ForeignKeyFacts,
        [refers, keeps]: &[Vec<String>; 2],
        referrer_is_tenants: Option<&str>,
    ) -> String {
        let columns = key.referenced_columns.iter().zip(&key.columns).zip(refers);
        let refers: Vec<_> =
            columns.map(|((referenced, column), equals)| format!("l.{referenced} {equals} r.{column}")).collect();
        let columns = key.referenced_columns.iter().zip(keeps);
        let keeps: Vec<_> = columns.map(|(column, equals)| format!("l.{column} {equals} s.{column}")).collect();
        let is_foreign = referrer_is_tenants.map_or_else(|| "true".to_owned(), |condition| format!("({condition}) IS NOT TRUE"));
        format!(
            "SELECT count(*) AS rows FROM {} AS r JOIN {} AS l ON {} WHERE {} AND {is_foreign}
             AND NOT EXISTS (SELECT FROM {} AS s WHERE {} AND {})",
            key.table,
            self.live,
            refers.join(" AND "),
            self.is_tenants,
            self.staged,
            self.same_key,
            keeps.join(" AND ")
        )
    }
}
