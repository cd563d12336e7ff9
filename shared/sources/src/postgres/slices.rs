//! Cuts tables into slices that follow each other in reading order, so that several sessions can share a big one.
//!
//! | table | cut at |
//! |---|---|
//! | with a key | values of the key's first column, as the server's statistics know them |
//! | without one | blocks, in which order it is read |
//! | of a pool, or small, or unknown to the statistics | nowhere: one slice |
//!
//! Slices that begin where they began last time are cut into the same chunks. So borders lie at halves, quarters, eighths … of
//! a table: one that outgrows its slices gets new borders between the old ones.

use serde::Deserialize;

use super::{
    borders,
    copy_out::Placement,
    facts::TableFacts,
    order::{self, OrderColumn},
    range::Range,
    session::Session,
};
use crate::{caps::SESSIONS_AT_ONCE, error::SourceError};

/// A slice's size, as it lies on disk: some seconds of reading, so that sessions end at about the same time.
const SLICE_BYTES: u64 = 256 << 20;
/// From here on a table is worth sharing.
const SHARED_BYTES_MIN: u64 = 32 << 20;
/// Slices of one table; far below the format's limit. Those of a larger table are larger.
const SLICES_MAX: usize = 1_024;
/// The first version whose server reads a range of blocks without reading the others.
const BLOCK_RANGES_SINCE: u32 = 14;
/// Rows lie on disk about in key order if their correlation is at least this. Otherwise the rows of a small slice are everywhere,
/// and each slice reads nearly the whole table.
const CORRELATION_MIN: f64 = 0.9;

/// A table and the slices it is read in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SlicedTable<'a> {
    /// The table.
    pub(crate) table: &'a TableFacts,
    /// Its size on disk; 0 if that says nothing about what is read.
    pub(crate) bytes: u64,
    /// What its slices' borders are values of; empty for a table in one piece.
    pub(crate) order: Vec<OrderColumn>,
    /// The slices.
    pub(crate) slices: Vec<Slice>,
}

/// A slice of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Slice {
    /// Rows to be read.
    Rows(Range),
    /// What an earlier run stored as its slice of that number.
    Stored(usize),
}

impl<'a> SlicedTable<'a> {
    /// A table in one piece.
    pub(crate) fn whole(table: &'a TableFacts) -> Self {
        Self { table, bytes: 0, order: Vec::new(), slices: vec![Slice::Rows(Range::default())] }
    }

    /// Parts the table at borders that are values of the order's first column.
    fn part(&mut self, order: Vec<OrderColumn>, borders: Vec<String>) {
        self.order = order;
        self.slices = Range::between(borders).into_iter().map(Slice::Rows).collect();
    }
}

#[derive(Deserialize)]
struct Size {
    place: usize,
    bytes: u64,
    blocks: u64,
    server_version_num: u32,
}

/// Slices the tables, in the order they came.
pub(crate) async fn cut<'a>(
    session: &Session,
    tables: &'a [TableFacts],
    at: Placement<'_>,
) -> Result<Vec<SlicedTable<'a>>, SourceError> {
    let mut sliced: Vec<_> = tables.iter().map(SlicedTable::whole).collect();
    // Of a pool's table the tenant may have much or next to nothing; its size does not say.
    if at.pool.is_some() {
        return Ok(sliced);
    }
    for size in read_sizes(session, tables, at).await? {
        let Some(found) = size.place.checked_sub(1).and_then(|place| sliced.get_mut(place)) else { continue };
        found.bytes = size.bytes;
        part(session, found, at, &size).await?;
    }
    Ok(sliced)
}

async fn read_sizes(session: &Session, tables: &[TableFacts], at: Placement<'_>) -> Result<Vec<Size>, SourceError> {
    let names: Vec<_> = tables.iter().map(|table| at.name(table).to_string()).collect();
    let sql = "SELECT place, current_setting('server_version_num')::int AS server_version_num,
            coalesce(CASE WHEN c.relkind = 'p' THEN (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(c.oid)) ELSE pg_table_size(c.oid) END, 0) AS bytes,
            CASE WHEN c.relkind = 'r' THEN coalesce(pg_relation_size(c.oid), 0) / current_setting('block_size')::int ELSE 0 END AS blocks
        FROM unnest($1::text[]) WITH ORDINALITY AS wanted(name, place) JOIN pg_class c ON c.oid = to_regclass(wanted.name)";
    session.select_with("asking for the tables' sizes", sql, &[&names]).await
}

async fn part(session: &Session, sliced: &mut SlicedTable<'_>, at: Placement<'_>, size: &Size) -> Result<(), SourceError> {
    let (count, table) = (slice_count(size.bytes), sliced.table);
    if count == 1 {
        return Ok(());
    }
    if table.key.is_empty() {
        if size.server_version_num / 10_000 >= BLOCK_RANGES_SINCE {
            sliced.part(vec![order::of_places()], blocks(size.blocks, count));
        }
        return Ok(());
    }
    let name = at.name(table);
    let order = order::of_key(session, &name, &table.key).await?;
    let Some(first) = order.first() else { return Ok(()) };
    let Some(known) = borders::read(session, &name, first, table.partitioned).await? else { return Ok(()) };
    let count = if known.correlation.abs() < CORRELATION_MIN { count.min(SESSIONS_AT_ONCE) } else { count };
    sliced.part(order, known.pick(count));
    Ok(())
}

/// How many slices: a power of two, so that a doubled count keeps every border.
fn slice_count(bytes: u64) -> usize {
    if bytes < SHARED_BYTES_MIN {
        return 1;
    }
    let wanted = usize::try_from(bytes.div_ceil(SLICE_BYTES)).unwrap_or(SLICES_MAX);
    wanted.clamp(SESSIONS_AT_ONCE, SLICES_MAX).next_power_of_two()
}

/// Borders between blocks. They lie at multiples of a power of two, so a table that grows at its end keeps them.
fn blocks(blocks: u64, count: usize) -> Vec<String> {
    let each = blocks / count as u64;
    if each == 0 {
        return Vec::new();
    }
    let step = 1 << each.ilog2();
    (step..blocks).step_by(step as usize).map(|block| format!("({block},0)")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_shared_once_it_is_big_and_then_sliced_ever_more() {
        let mib = |count: u64| slice_count(count << 20);
        assert_eq!([0, 31, 32, 512, 513, 1024, 1025].map(mib), [1, 1, 2, 2, 4, 4, 8]);
        assert_eq!(slice_count(u64::MAX), SLICES_MAX);
    }

    #[test]
    fn a_table_that_grows_keeps_its_borders() {
        assert_eq!(blocks(1, 2), Vec::<String>::new());
        assert_eq!(blocks(4096, 2), ["(2048,0)"]);
        let (before, after) = (blocks(5000, 2), blocks(6000, 2));
        assert_eq!((&after[..before.len()], after.len()), (before.as_slice(), 2));
        assert!(blocks(9000, 2).iter().all(|border| ["(4096,0)", "(8192,0)"].contains(&border.as_str())));
    }
}
