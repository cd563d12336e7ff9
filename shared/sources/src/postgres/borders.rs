//! Values of a key's first column that part a table, as the server's statistics know them.

use serde::Deserialize;

use super::{
    ident::{QualifiedName, literal},
    order::OrderColumn,
    session::Session,
};
use crate::error::SourceError;

/// What the statistics say about the first column of a table's key.
#[derive(Debug)]
pub(crate) struct Borders {
    /// How well the order of rows on disk agrees with the column's, from -1 to 1.
    pub(crate) correlation: f64,
    known: Vec<Border>,
}

#[derive(Debug, Deserialize)]
struct Border {
    value: String,
    /// Which part of the rows is before it.
    share: f64,
    correlation: Option<f64>,
}

impl Borders {
    /// Values that part the rows into `count` about equal parts, or fewer.
    pub(crate) fn pick(&self, count: usize) -> Vec<String> {
        let wanted = (1..count).map(|part| part as f64 / count as f64);
        let mut picked: Vec<&str> = wanted
            .filter_map(|part| self.known.iter().find(|border| border.share >= part - f64::EPSILON))
            .map(|border| border.value.as_str())
            .collect();
        picked.dedup();
        picked.into_iter().map(str::to_owned).collect()
    }
}

/// Reads what is known about a column; none if there are no statistics. `inherited` are those of a partitioned table.
pub(crate) async fn read(
    session: &Session,
    name: &QualifiedName,
    first: &OrderColumn,
    inherited: bool,
) -> Result<Option<Borders>, SourceError> {
    // A common value stands for rows of its own, a bound of the histogram for those between it and the one before.
    let sql = format!(
        "SELECT value::text AS value, correlation,
            sum(before + at) OVER (ORDER BY value{collation} ROWS UNBOUNDED PRECEDING) - at AS share
         FROM (
            SELECT correlation, coalesce(histogram_bounds::text::{type_name}[], '{{}}') AS bounds,
                coalesce(most_common_vals::text::{type_name}[], '{{}}') AS common, coalesce(most_common_freqs, '{{}}')::float8[] AS shares
            FROM pg_stats WHERE schemaname = {schema} AND tablename = {table} AND attname = {column} AND inherited = {inherited}
         ) AS known CROSS JOIN LATERAL (
            SELECT bound AS value, (1 - (SELECT coalesce(sum(share), 0) FROM unnest(shares) share)) / (cardinality(bounds) - 1) AS before, 0::float8 AS at
            FROM unnest(bounds[2:]) bound
            UNION ALL SELECT each.value, 0, each.share FROM unnest(common, shares) AS each(value, share)
         ) AS weighed ORDER BY weighed.value{collation}",
        collation = first.collation,
        type_name = first.type_name,
        schema = literal(name.schema.as_str()),
        table = literal(name.name.as_str()),
        column = literal(first.column.as_str()),
    );
    let known: Vec<Border> = session.select(format!("reading the statistics of {name}"), &sql).await?;
    let Some(correlation) = known.first().map(|border| border.correlation.unwrap_or_default()) else { return Ok(None) };
    Ok(Some(Borders { correlation, known }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shares: &[f64], count: usize, expected: &[&str]) {
        let known = shares.iter().enumerate();
        let known = known.map(|(at, share)| Border { value: at.to_string(), share: *share, correlation: None }).collect();
        let borders = Borders { correlation: 1.0, known };
        assert_eq!(borders.pick(count), expected, "{shares:?} in {count}");
    }

    #[test]
    fn borders_lie_at_equal_shares_of_the_rows() {
        check(&[0.25, 0.5, 0.75, 1.0], 4, &["0", "1", "2"]);
        check(&[0.25, 0.5, 0.75, 1.0], 2, &["1"]);
        check(&[0.3, 0.6, 1.0], 2, &["1"]);
    }

    #[test]
    fn a_value_with_most_of_the_rows_is_a_border_once() {
        check(&[0.0, 0.9, 1.0], 8, &["1"]);
        check(&[0.0], 2, &[]);
    }
}
