//! How a recorded table fits today's: which live column takes the values of which recorded one, and what is refused.
//!
//! A value is its text. A column that changed its type takes it if the text loads and reads back the same, which staging tries; so
//! whatever is compared, recorded and live rows are compared as the same text.

use vault::StreamHeader;

use super::{
    copy_out,
    facts::{ColumnFacts, TableFacts},
    ident::{Ident, list},
};

/// A recorded table, and the live one that takes its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fit {
    pub(crate) recorded: TableFacts,
    pub(crate) live: TableFacts,
    /// Every stored recorded column, in order, with the live column that takes its values; none if they are left behind.
    pub(crate) columns: Vec<(ColumnFacts, Option<ColumnFacts>)>,
    /// The key as it is recorded and as it is live. Empty without one, or with one that is computed and so stands in no row.
    pub(crate) key: Vec<(Ident, Ident)>,
    /// Live columns that take no recorded value and cannot do without one.
    pub(crate) needing: Vec<Ident>,
}

/// What became of one recorded column: its name, and its name now.
pub(crate) type Renaming<'a> = (&'a Ident, Option<&'a Ident>);

impl Fit {
    /// Decides how a table fits, or says why it does not and what to do about it.
    pub(crate) fn decide(recorded: &TableFacts, live: &TableFacts, now: &[Renaming<'_>]) -> Result<Self, (String, String)> {
        let mut columns = Vec::new();
        for column in recorded.stored_columns() {
            let named = now.iter().find(|(name, _)| **name == column.name).map(|(_, now)| *now);
            columns.push((column.clone(), find_live(column, live, named)?));
        }
        let live_of = |name: &Ident| columns.iter().find(|(column, _)| column.name == *name).and_then(|(_, live)| live.as_ref());
        if let Some((twice, _)) = columns.iter().enumerate().find_map(|(index, (column, live))| {
            let live = live.as_ref()?;
            columns[..index].iter().any(|(_, other)| other.as_ref() == Some(live)).then_some((column, live))
        }) {
            let what = format!("two columns of {} are to go to one, {} being the second", live.name, twice.name);
            return Err((what, "name another column for one of them".to_owned()));
        }
        let key: Vec<_> =
            recorded.key.iter().map(|key| (key.clone(), live_of(key).map_or(key, |live| &live.name).clone())).collect();
        let is_left = |name: &Ident| columns.iter().any(|(column, live)| column.name == *name && live.is_none());
        if !key.iter().map(|(_, live)| live).eq(&live.key) || recorded.key.iter().any(is_left) {
            let what =
                format!("{} has another primary key: ({}), and ({}) then", live.name, list(&live.key), list(&recorded.key));
            return Err((what, "bring the key back, or restore side by side".to_owned()));
        }
        let is_stored = recorded.key.iter().all(|key| live_of(key).is_some());
        let key = if is_stored { key } else { Vec::new() };
        Ok(Self { recorded: recorded.clone(), live: live.clone(), columns, key, needing: Vec::new() })
    }

    /// Pairs of recorded and live columns.
    pub(crate) fn carried(&self) -> impl Iterator<Item = (&ColumnFacts, &ColumnFacts)> {
        self.columns.iter().filter_map(|(recorded, live)| live.as_ref().map(|live| (recorded, live)))
    }

    /// Recorded columns whose values go nowhere.
    pub(crate) fn left_behind(&self) -> impl Iterator<Item = &ColumnFacts> {
        self.columns.iter().filter(|(_, live)| live.is_none()).map(|(recorded, _)| recorded)
    }

    /// Live columns that take no recorded value.
    pub(crate) fn gained(&self) -> impl Iterator<Item = &ColumnFacts> {
        let is_taken = |column: &ColumnFacts| self.carried().any(|(_, live)| live.name == column.name);
        self.live.stored_columns().filter(move |column| !is_taken(column))
    }

    /// Whether a plain reading of the live table gives the recorded columns and no others.
    pub(crate) fn is_same(&self) -> bool {
        let names = |table: &TableFacts| table.stored_columns().map(|column| column.name.clone()).collect::<Vec<_>>();
        names(&self.recorded) == names(&self.live) && self.carried().all(|(recorded, live)| recorded.name == live.name)
    }

    /// The recorded column whose values a live one takes.
    pub(crate) fn recorded_name(&self, live: &Ident) -> Option<&Ident> {
        self.carried().find(|(_, column)| column.name == *live).map(|(recorded, _)| &recorded.name)
    }

    /// Which fields of a recorded row are compared.
    pub(crate) fn compared(&self) -> Vec<usize> {
        let places = self.columns.iter().enumerate().filter(|(_, (_, live))| live.is_some());
        places.map(|(place, _)| place).collect()
    }

    /// The stream of the compared fields. Without any left behind it is the recorded one.
    pub(crate) fn header(&self) -> StreamHeader {
        let columns: Vec<_> = self.carried().map(|(recorded, _)| recorded.name.as_str().to_owned()).collect();
        let place = |name: &Ident| columns.iter().position(|column| column == name.as_str());
        let key_columns = self.key.iter().filter_map(|(recorded, _)| place(recorded)).collect();
        StreamHeader { columns, key_columns, ..copy_out::header(&self.recorded) }
    }

    /// The live columns in the order of the compared fields.
    pub(crate) fn expressions(&self) -> String {
        list(self.carried().map(|(_, live)| &live.name))
    }

    /// What a person should know about how this table fits.
    pub(crate) fn notes(&self) -> Vec<String> {
        let name = &self.live.name;
        let left = self.left_behind().map(|column| {
            format!("{name}: the recorded values of {} are left behind, and are not compared afterwards", column.name)
        });
        let renamed = self
            .carried()
            .filter(|(recorded, live)| recorded.name != live.name)
            .map(|(recorded, live)| format!("{name}: the recorded values of {} go to {}", recorded.name, live.name));
        let gained = self.gained().map(|column| {
            let keep = if self.key.is_empty() { "rows that stay keep their value" } else { "rows that exist keep their value" };
            format!("{name} gained column {}: {keep}, rows that come back get its default", column.name)
        });
        left.chain(renamed).chain(self.retyped()).chain(gained).collect()
    }

    /// Columns whose type changed, one line each.
    pub(crate) fn retyped(&self) -> impl Iterator<Item = String> {
        self.carried().filter(|(recorded, live)| recorded.type_name != live.type_name).map(|(recorded, live)| {
            format!(
                "{}.{} is {} now (it was {}): the restore is refused unless every recorded value reads the same as that",
                self.live.name, live.name, live.type_name, recorded.type_name
            )
        })
    }
}

/// The live column for a recorded one, given what was said about it.
fn find_live(
    column: &ColumnFacts,
    live: &TableFacts,
    named: Option<Option<&Ident>>,
) -> Result<Option<ColumnFacts>, (String, String)> {
    let (name, wanted) = match named {
        Some(None) => return Ok(None),
        Some(Some(now)) => (format!("{}, which is to take the values of {},", now, column.name), now),
        None => (column.name.to_string(), &column.name),
    };
    match live.columns.iter().find(|other| other.name == *wanted) {
        Some(found) if found.generated => {
            let what = format!("column {name} of {} is computed from others now and takes no values", live.name);
            Err((what, "say where its values go, or that they are left behind".to_owned()))
        }
        Some(found) => Ok(Some(found.clone())),
        None if named.is_some() => {
            let has = list(live.stored_columns().map(|column| &column.name));
            Err((format!("{} has no column {name} but ({has})", live.name), "name one that it has".to_owned()))
        }
        None => {
            let remedy = format!(
                "say where its values go (`--column {0}.{1}=<new name>`) or that they are left behind (`--column {0}.{1}=`)",
                live.name.name.as_str(),
                column.name.as_str()
            );
            Err((format!("{} lost column {name} since the recovery point", live.name), remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::facts::Identity;

    fn table(key: &str, columns: &str) -> TableFacts {
        let ident = |text: &str| Ident::new(text).unwrap();
        let column = |text: &str| {
            let (name, rest) = text.split_once(':').unwrap_or((text, "int"));
            let generated = rest == "computed";
            ColumnFacts { name: ident(name), type_name: rest.to_owned(), not_null: false, generated, identity: Identity::No }
        };
        TableFacts {
            name: crate::postgres::QualifiedName { schema: ident("app"), name: ident("t") },
            partitioned: false,
            owner: "owner".to_owned(),
            columns: columns.split(' ').filter(|text| !text.is_empty()).map(column).collect(),
            key: key.split(' ').filter(|text| !text.is_empty()).map(ident).collect(),
            rows: 0,
        }
    }

    fn decide(recorded: &TableFacts, live: &TableFacts, now: &[(&str, &str)]) -> Result<String, String> {
        let ident = |text: &str| Ident::new(text).ok();
        let now: Vec<_> = now.iter().map(|(old, new)| (ident(old).unwrap(), ident(new))).collect();
        let now: Vec<Renaming<'_>> = now.iter().map(|(old, new)| (old, new.as_ref())).collect();
        Fit::decide(recorded, live, &now).map(|fit| fit.expressions().replace('"', "")).map_err(|(what, _)| what)
    }

    #[test]
    fn recorded_columns_find_their_live_ones() {
        let recorded = table("id", "id a b:text");
        for (live, now, expected) in [
            (table("id", "id a b:text"), &[][..], "id, a, b"),
            (table("id", "b:text new id a"), &[], "id, a, b"),
            (table("id", "id a c:text"), &[("b", "c")], "id, a, c"),
            (table("id", "id a"), &[("b", "")], "id, a"),
            (table("id", "id a b:text"), &[("a", "b"), ("b", "a")], "id, b, a"),
            (table("no", "no a b:text"), &[("id", "no")], "no, a, b"),
            (table("id", "id a:bigint b:text"), &[], "id, a, b"),
        ] {
            assert_eq!(decide(&recorded, &live, now).as_deref(), Ok(expected), "{live:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let recorded = table("id", "id a b:text");
        for (live, now, expected) in [
            (table("id", "id a"), &[][..], r#"lost column "b""#),
            (table("id", "id a b:computed"), &[], r#""b" of "app"."t" is computed"#),
            (table("id", "id a c"), &[("b", "d")], r#"no column "d", which is to take the values of "b""#),
            (table("id", "id a"), &[("b", "a")], "two columns"),
            (table("id a", "id a b:text"), &[], "another primary key"),
            (table("", "id a b:text"), &[], "another primary key"),
            (table("id", "id a b:text"), &[("id", "")], "another primary key"),
        ] {
            let found = decide(&recorded, &live, now);
            assert!(found.as_ref().is_err_and(|what| what.contains(expected)), "{live:?}: {found:?}");
        }
    }
}
