//! Which of a recovery point's tables a restore is about, and how each fits the live one.

use domain::request::Selection;
use serde::Deserialize;

use super::{
    catalog,
    facts::{DatabaseFacts, TableFacts},
    fit::{Fit, Renaming},
    ident::{Ident, QualifiedName, list, literal},
    scope::Scope,
    session::Session,
};
use crate::error::{Place, SourceError};

/// Names in one message; the rest are counted.
const NAMED_MAX: usize = 20;

/// Narrows facts to the tables that are selected: all of them, if none is named.
pub(crate) fn narrow(place: &Place, facts: &DatabaseFacts, selection: &Selection) -> Result<DatabaseFacts, SourceError> {
    let mut narrowed = facts.clone();
    if selection.tables.is_empty() {
        return Ok(narrowed);
    }
    let mut names = Vec::new();
    for text in &selection.tables {
        names.push(&find(place, facts, text)?.name);
    }
    narrowed.tables.retain(|table| names.contains(&&table.name));
    Ok(narrowed)
}

/// The recorded table of this name, given as `table` or `schema.table`, with or without quotes around both.
fn find<'a>(place: &Place, facts: &'a DatabaseFacts, text: &str) -> Result<&'a TableFacts, SourceError> {
    let refused = |what: String, remedy: &str| Err(SourceError::restore_refused(place, what, remedy));
    let found: Vec<_> = facts.tables.iter().filter(|table| is_called(&table.name, text)).collect();
    match found.as_slice() {
        [table] => Ok(table),
        [] => {
            let left = facts.left_out.iter().find(|left| left.kind == "table" && (left.name == text || plain(&left.name, text)));
            if let Some(left) = left {
                let what = format!("the recovery point does not hold the rows of {}: {}", left.name, left.reason);
                return refused(what, "leave it out of the selection");
            }
            let what = format!("the recovery point has no table `{}`", text.escape_debug());
            refused(what, &format!("choose among {}", named(facts.tables.iter().map(|table| &table.name))))
        }
        several => {
            let what = format!("`{}` may be {}", text.escape_debug(), named(several.iter().map(|table| &table.name)));
            refused(what, "name the table with its schema, as `schema.table`")
        }
    }
}

fn is_called(name: &QualifiedName, text: &str) -> bool {
    let (schema, table) = (name.schema.as_str(), name.name.as_str());
    text == table || text == name.to_string() || text.strip_suffix(table).and_then(|rest| rest.strip_suffix('.')) == Some(schema)
}

/// Whether a quoted name is this one.
fn plain(quoted: &str, text: &str) -> bool {
    let unquoted = quoted.replace('"', "");
    unquoted == text || unquoted.ends_with(&format!(".{text}"))
}

/// The first names, and how many more.
pub(crate) fn named<T: std::fmt::Display>(items: impl Iterator<Item = T>) -> String {
    let items: Vec<_> = items.collect();
    let more = items.len().saturating_sub(NAMED_MAX);
    let first = list(items.into_iter().take(NAMED_MAX));
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// Decides how each recorded table fits its live one. `recorded` are those that are to be restored, `live` are the scope's.
///
/// # Errors
/// If one does not fit: that refuses the whole.
pub(crate) async fn fits(
    session: &Session,
    scope: &Scope,
    recorded: &DatabaseFacts,
    live: &[TableFacts],
    selection: &Selection,
) -> Result<Vec<Fit>, SourceError> {
    let place = session.place();
    let mut fits = Vec::new();
    let renamings = renamings(place, recorded, selection)?;
    for table in &recorded.tables {
        let Some(live) = live.iter().find(|other| other.name == table.name) else {
            let what = format!("table {} is gone since the recovery point, or excluded by the plan", table.name);
            return Err(SourceError::restore_refused(
                place,
                what,
                "bring it back empty, name the tables to restore without it, or restore side by side",
            ));
        };
        let here = renamings.iter().filter(|renamed| *renamed.table == table.name);
        let now: Vec<Renaming<'_>> = here.map(|renamed| (&renamed.column, renamed.now.as_ref())).collect();
        let fit = Fit::decide(table, live, &now).map_err(|(what, remedy)| SourceError::restore_refused(place, what, remedy))?;
        if let Some(column) = &scope.tenant_column
            && fit.recorded_name(column) != Some(column)
        {
            let what = format!("the tenant column of {} would take the values of another column, or none", table.name);
            return Err(SourceError::restore_refused(place, what, "leave the tenant column where it is"));
        }
        fits.push(fit);
    }
    for fit in &mut fits {
        fit.needing = needing(session, fit).await?;
    }
    Ok(fits)
}

/// What the request says about a recorded column.
struct Renamed<'a> {
    table: &'a QualifiedName,
    column: Ident,
    now: Option<Ident>,
}

/// What the request says about columns.
fn renamings<'a>(place: &Place, recorded: &'a DatabaseFacts, selection: &Selection) -> Result<Vec<Renamed<'a>>, SourceError> {
    let mut renamings: Vec<Renamed<'a>> = Vec::new();
    for column in &selection.columns {
        let table = find(place, recorded, &column.table)?;
        let Some(old) = table.stored_columns().find(|other| other.name.as_str() == column.column) else {
            let has = named(table.stored_columns().map(|column| &column.name));
            let what = format!("{} has no recorded column `{}`", table.name, column.column.escape_debug());
            return Err(SourceError::restore_refused(place, what, format!("choose among {has}")));
        };
        if renamings.iter().any(|other| (other.table, &other.column) == (&table.name, &old.name)) {
            let what = format!("it is said twice where the values of {}.{} go", table.name, old.name);
            return Err(SourceError::restore_refused(place, what, "say it once"));
        }
        let now = column.now.as_ref().map(Ident::new).transpose()?;
        renamings.push(Renamed { table: &table.name, column: old.name.clone(), now });
    }
    Ok(renamings)
}

/// The gained columns that a row cannot do without and that have nothing to get a value from.
async fn needing(session: &Session, fit: &Fit) -> Result<Vec<Ident>, SourceError> {
    #[derive(Deserialize)]
    struct Needing {
        name: Ident,
    }
    if fit.gained().next().is_none() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT a.attname AS name FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
         WHERE a.attrelid = {}::regclass AND a.attnum > 0 AND NOT a.attisdropped AND (a.attnotnull OR t.typnotnull)
             AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' AND t.typdefault IS NULL ORDER BY a.attnum",
        literal(&fit.live.name.to_string())
    );
    let found: Vec<Needing> = session.select(format!("asking for the defaults of {}", fit.live.name), &sql).await?;
    let is_gained = |name: &Ident| fit.gained().any(|column| column.name == *name);
    Ok(found.into_iter().map(|needing| needing.name).filter(is_gained).collect())
}

/// The live tables of a scope and how the chosen ones fit.
pub(crate) async fn read_fits(
    session: &Session,
    scope: &Scope,
    recorded: &DatabaseFacts,
    selection: &Selection,
) -> Result<Vec<Fit>, SourceError> {
    let (live, _) = catalog::read_tables(session, scope).await?;
    fits(session, scope, recorded, &live, selection).await
}

/// Rows that come back into a table whose new column has nothing to give them.
pub(crate) fn refuse_needing(place: &Place, fit: &Fit, coming: u64) -> Result<(), SourceError> {
    match fit.needing.first() {
        Some(column) if coming > 0 => {
            let what = format!(
                "{coming} rows come back into {}, whose column {column} is new, may not be null and has no default",
                fit.live.name
            );
            Err(SourceError::restore_refused(place, what, "give the column a default until they are back"))
        }
        _ => Ok(()),
    }
}

/// Whether a restore puts rows into live tables, instead of putting tables in the place of others.
pub(crate) fn is_difference(scope: &Scope, selection: &Selection) -> bool {
    scope.is_pool() || !selection.tables.is_empty()
}

/// Refuses what makes no sense together.
pub(crate) fn check(place: &Place, scope: &Scope, facts: &DatabaseFacts, selection: &Selection) -> Result<(), SourceError> {
    if !is_difference(scope, selection) && !selection.columns.is_empty() {
        let what = "what became of columns is said, but the tables come back as they were, with their columns";
        return Err(SourceError::restore_refused(place, what, "name the tables whose rows are to go into today's"));
    }
    let twice = facts
        .tables
        .iter()
        .enumerate()
        .find(|(index, table)| facts.tables[..*index].iter().any(|other| other.name.name == table.name.name));
    match twice {
        Some((_, table)) if is_difference(scope, selection) => {
            let what = format!("two tables of the selection are called {}, in different schemas", table.name.name);
            Err(SourceError::restore_refused(place, what, "restore one after the other, each by a request of its own"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_called_by_its_name_with_or_without_its_schema() {
        let ident = |text: &str| Ident::new(text).unwrap();
        let name = QualifiedName { schema: ident("a.b"), name: ident("c.d") };
        for (text, is_it) in
            [("c.d", true), ("a.b.c.d", true), (r#""a.b"."c.d""#, true), ("d", false), ("b.c.d", false), ("", false)]
        {
            assert_eq!(is_called(&name, text), is_it, "{text}");
        }
    }
}
