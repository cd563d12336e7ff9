//! The rows of a table that come tenant after tenant, parted into each one's.

use std::collections::HashMap;

use bytes::Bytes;

use super::copy_out::{Lines, unescape};
use crate::error::{Place, SourceError};

/// The place of each tenant in the order in which their rows come.
pub(crate) type Places = HashMap<String, usize>;

/// One table's rows of several tenants. Who does not ask for more holds the server back.
pub(crate) struct Runs<'a> {
    lines: Lines<'a>,
    parts: Parts,
    place: &'a Place,
}

impl<'a> Runs<'a> {
    /// `field` is the one of each row that names its tenant.
    pub(crate) fn new(lines: Lines<'a>, table: String, field: usize, place: &'a Place) -> Self {
        Self { lines, parts: Parts { table, field, pending: Bytes::new(), last: 0 }, place }
    }

    /// The next rows of the tenant at this place in the order, past those of the tenants before it; none when it has no more.
    pub(crate) async fn next(&mut self, of: usize, places: &Places) -> Result<Option<Bytes>, SourceError> {
        loop {
            if self.parts.pending.is_empty() {
                let Some(lines) = self.lines.next().await? else { return Ok(None) };
                self.parts.pending = lines;
            }
            let run = self.parts.run(places).map_err(|what| misplaced(self.place, what))?;
            if run.of > of {
                return Ok(None);
            }
            let rows = self.parts.pending.split_to(run.end);
            if run.of == of {
                return Ok(Some(rows));
            }
        }
    }
}

fn misplaced(place: &Place, what: String) -> SourceError {
    let remedy = "an index that disagrees with its column's collation does this, after an update of the operating system for one: REINDEX the \
        table, then back up every tenant of the pool anew";
    SourceError::refused(place, what, remedy)
}

/// Whole lines, and how far their order has come.
struct Parts {
    table: String,
    field: usize,
    pending: Bytes,
    last: usize,
}

/// Lines at the beginning that are one tenant's.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    of: usize,
    end: usize,
}

impl Parts {
    /// Every line is looked at, whatever the order promises: a row given to the wrong tenant is the worst that can happen here.
    fn run(&mut self, places: &Places) -> Result<Run, String> {
        let (first, mut end) = self.tenant_of(&self.pending)?;
        while end < self.pending.len() {
            let (tenant, length) = self.tenant_of(&self.pending[end..])?;
            if tenant != first {
                break;
            }
            end += length;
        }
        let of = unescape(first).and_then(|tenant| places.get(&tenant).copied());
        let of = of.ok_or_else(|| format!("{} gave rows of a tenant that was not asked for", self.table))?;
        if of < self.last {
            return Err(format!("the rows of {} do not come in the order of their tenants", self.table));
        }
        self.last = of;
        Ok(Run { of, end })
    }

    /// The field of the first line that names its tenant, and the line's length.
    fn tenant_of<'a>(&self, lines: &'a [u8]) -> Result<(&'a [u8], usize), String> {
        let end = memchr::memchr(b'\n', lines).unwrap_or(lines.len());
        let field = lines[..end].split(|byte| *byte == b'\t').nth(self.field);
        let field = field.ok_or_else(|| format!("{} gave a row that does not name its tenant", self.table))?;
        Ok((field, end + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(field: usize, lines: &'static str, expected: Result<&[(usize, &'static str)], &str>) {
        let places: Places = [("b", 0), ("a", 1), ("c\\\t", 2)].map(|(tenant, place)| (tenant.to_owned(), place)).into();
        let mut parts = Parts { table: "t".into(), field, pending: Bytes::from_static(lines.as_bytes()), last: 0 };
        let mut found = Vec::new();
        while !parts.pending.is_empty() {
            match parts.run(&places) {
                Ok(run) => found.push((run.of, parts.pending.split_to(run.end))),
                Err(what) => return assert!(what.contains(expected.unwrap_err()), "{what}"),
            }
        }
        let expected: Vec<_> = expected.unwrap().iter().map(|(of, lines)| (*of, Bytes::from_static(lines.as_bytes()))).collect();
        assert_eq!(found, expected, "{lines:?}");
    }

    #[test]
    fn lines_are_parted_by_the_field_that_names_the_tenant() {
        check(0, "b\t1\nb\t2\na\tb\n", Ok(&[(0, "b\t1\nb\t2\n"), (1, "a\tb\n")]));
        check(1, "b\tb\nb\ta\na\ta\n1\tc\\\\\\t\n", Ok(&[(0, "b\tb\n"), (1, "b\ta\na\ta\n"), (2, "1\tc\\\\\\t\n")]));
    }

    #[test]
    fn rows_that_are_nobodys_or_out_of_order_go_to_nobody() {
        check(0, "b\t1\nB\t2\n", Err("not asked for"));
        check(0, "\\N\t1\n", Err("not asked for"));
        check(0, "b\t1\na\t1\nb\t2\n", Err("order of their tenants"));
        check(3, "b\t1\n", Err("does not name"));
    }
}
