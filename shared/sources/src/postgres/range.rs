//! The rows of one slice: those between two borders, or those of them that are left.

use serde::{Deserialize, Serialize};

use super::{ident::Ident, order::OrderColumn};

/// Rows of a table that follow each other. The default is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Range {
    /// The first column's value at which it begins; none begins with the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The first column's value before which it ends; none ends with the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// The key of a row behind which it begins: the last that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<Vec<String>>,
}

impl Range {
    /// Ranges that part rows at the borders: half-open, the first open below, the last above. No row is in two or in none.
    pub(crate) fn between(borders: Vec<String>) -> Vec<Self> {
        let starts = std::iter::once(None).chain(borders.iter().cloned().map(Some));
        let ends = borders.iter().cloned().map(Some).chain(std::iter::once(None));
        starts.zip(ends).map(|(from, to)| Self { from, to, after: None }).collect()
    }

    /// What is left of it behind a row's key.
    pub(crate) fn behind(&self, key: Vec<String>) -> Self {
        Self { after: Some(key), ..self.clone() }
    }

    /// The range before anything of it was read.
    pub(crate) fn unread(self) -> Self {
        Self { after: None, ..self }
    }

    /// Whether it begins behind a row's key.
    pub(crate) fn is_rest(&self) -> bool {
        self.after.is_some()
    }

    /// The condition on its rows; none for all rows.
    pub(crate) fn condition(&self, order: &[OrderColumn]) -> Option<String> {
        let first = order.first()?;
        let bound = |operator: &str, border: &String| format!("{} {operator} {}", first.column, first.value(border));
        let from = self.from.as_ref().map(|border| bound(&first.at_least, border));
        let to = self.to.as_ref().map(|border| bound(&first.below, border));
        let after = self.after.as_ref().map(|key| behind(order, key));
        let all: Vec<_> = from.into_iter().chain(to).chain(after).collect();
        (!all.is_empty()).then(|| all.join(" AND "))
    }
}

/// Whether rows can be asked for by the key of the row before them: every column's values can be named, and one comparison of whole
/// rows, which an index serves, has one operator's name.
pub(crate) fn is_comparable(order: &[OrderColumn], key: &[Ident]) -> bool {
    order.len() == key.len() && order.windows(2).all(|pair| pair[0].above == pair[1].above)
}

fn behind(order: &[OrderColumn], key: &[String]) -> String {
    let columns: Vec<_> = order.iter().map(|column| column.column.to_string()).collect();
    let values: Vec<_> = order.iter().zip(key).map(|(column, text)| column.value(text)).collect();
    format!("ROW({}) {} ROW({})", columns.join(", "), order[0].above, values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, type_name: &str) -> OrderColumn {
        OrderColumn {
            column: Ident::new(name).unwrap(),
            type_name: type_name.into(),
            collation: String::new(),
            at_least: ">=".into(),
            below: "<".into(),
            above: ">".into(),
        }
    }

    #[test]
    fn ranges_meet_without_a_gap() {
        let found = Range::between(vec!["1".to_owned(), "2".to_owned()]);
        let found: Vec<_> = found.iter().map(|range| range.condition(&[column("k", "int")]).unwrap()).collect();
        assert_eq!(found, [r#""k" < '1'::int"#, r#""k" >= '1'::int AND "k" < '2'::int"#, r#""k" >= '2'::int"#]);
        assert_eq!(Range::between(vec![]), [Range::default()]);
    }

    #[test]
    fn what_is_left_begins_behind_the_whole_key_and_ends_where_the_range_did() {
        let first = Range::between(vec!["m".to_owned()]).remove(0);
        let left = first.behind(vec!["it's".into(), "7".into()]);
        let expected = r#""k" < 'm'::text AND ROW("k", "n") > ROW('it''s'::text, '7'::int)"#;
        assert_eq!(left.condition(&[column("k", "text"), column("n", "int")]).unwrap(), expected);
        assert_eq!(left.unread(), first);
    }
}
