//! What is left to read, and the streams it goes to: sessions take slices from here until there are none, or it is time to stop.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use vault::{OpenStream, Progress, SliceSink, StreamHeader, StreamSink, StreamSummary};

use super::{
    account::{SliceAccount, TableAccount},
    copy_out,
    facts::TableFacts,
    range::Range,
    slices::{Slice, SlicedTable},
};
use crate::error::SourceError;

/// The slices of several tables, big tables first, so that the small ones even out when the sessions end.
pub(crate) struct Queue<'a> {
    tables: &'a [SlicedTable<'a>],
    sink: &'a dyn StreamSink,
    state: Mutex<State>,
}

struct State {
    /// Table and slice, the next one last.
    left: Vec<(usize, usize)>,
    open: HashMap<usize, OpenTable>,
    summaries: Vec<Option<StreamSummary>>,
    /// Of each table, how far every slice has come; nothing of a table that was not begun.
    account: Vec<Vec<SliceAccount>>,
}

struct OpenTable {
    stream: Box<dyn OpenStream>,
    slices_left: usize,
    /// Sinks of slices that precede one which is already in the stream.
    waiting: HashMap<usize, Box<dyn SliceSink>>,
}

/// A slice to be read, and where its rows go.
pub(crate) struct Taken<'a> {
    place: usize,
    slice: usize,
    rows: &'a Range,
    /// Its table's stream.
    pub(crate) header: StreamHeader,
    /// Its table.
    pub(crate) table: &'a TableFacts,
    /// The condition on its rows.
    pub(crate) condition: Option<String>,
    /// Takes its rows.
    pub(crate) sink: Box<dyn SliceSink>,
}

impl<'a> Queue<'a> {
    /// Lines up every slice of the tables that is to be read.
    pub(crate) fn new(tables: &'a [SlicedTable<'a>], sink: &'a dyn StreamSink) -> Self {
        let mut order: Vec<_> = (0..tables.len()).collect();
        order.sort_by_key(|place| std::cmp::Reverse(tables[*place].bytes));
        let rows_of = |place: usize| {
            let slices = tables[place].slices.iter().enumerate();
            slices.filter(|(_, slice)| matches!(slice, Slice::Rows(_))).map(move |(slice, _)| (place, slice))
        };
        let mut left: Vec<_> = order.into_iter().flat_map(rows_of).collect();
        left.reverse();
        let (summaries, account) = (vec![None; tables.len()], vec![Vec::new(); tables.len()]);
        Self { tables, sink, state: Mutex::new(State { left, open: HashMap::new(), summaries, account }) }
    }

    /// Takes what the earlier run stored into the streams of its tables, and keeps the places of what is to be read between.
    pub(crate) async fn take_over(&mut self, earlier: &Progress) -> Result<(), SourceError> {
        let (tables, sink) = (self.tables, self.sink);
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (place, table) in tables.iter().enumerate() {
            let Some(last) = table.slices.iter().rposition(|slice| matches!(slice, Slice::Stored(_))) else { continue };
            let mut open = OpenTable::begin(sink, table)?;
            for (slice, piece) in table.slices.iter().enumerate().take(last + 1) {
                match piece {
                    Slice::Stored(stored) => open.stream.adopt(earlier, *stored).await?,
                    Slice::Rows(_) => drop(open.waiting.insert(slice, open.stream.slice()?)),
                }
            }
            state.account[place] = unread(table);
            match open.slices_left {
                0 => state.summaries[place] = Some(open.stream.end().await?),
                _ => drop(state.open.insert(place, open)),
            }
        }
        Ok(())
    }

    /// Hands out the next slice. A table's first one opens its stream, and each begins behind the one handed out before it.
    pub(crate) fn take(&self) -> Result<Option<Taken<'a>>, SourceError> {
        let mut state = self.state();
        let State { left, open, account, .. } = &mut *state;
        let Some((place, slice)) = left.pop() else { return Ok(None) };
        let sliced = &self.tables[place];
        let Slice::Rows(rows) = &sliced.slices[slice] else { unreachable!("only rows are lined up") };
        let open = match open.entry(place) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(unopened) => {
                account[place] = unread(sliced);
                unopened.insert(OpenTable::begin(self.sink, sliced)?)
            }
        };
        let sink = open.waiting.remove(&slice).map_or_else(|| open.stream.slice(), Ok)?;
        let (table, header, condition) = (sliced.table, copy_out::header(sliced.table), rows.condition(&sliced.order));
        Ok(Some(Taken { place, slice, rows, header, table, condition, sink }))
    }

    /// Ends a slice, and its table's stream after the last one.
    pub(crate) async fn end(&self, taken: Taken<'a>) -> Result<(), SourceError> {
        taken.sink.end().await?;
        self.state().account[taken.place][taken.slice] = SliceAccount { stored: true, left: None };
        let Some(stream) = self.without_slice(taken.place) else { return Ok(()) };
        let summary = stream.end().await?;
        self.state().summaries[taken.place] = Some(summary);
        Ok(())
    }

    /// Ends a slice whose rows were read up to the one with this key. Without one, what was read of it does not count.
    pub(crate) async fn interrupt(&self, taken: Taken<'a>, last: Option<Vec<String>>) -> Result<(), SourceError> {
        taken.sink.end().await?;
        let (stored, left) = (last.is_some(), last.map_or_else(|| taken.rows.clone(), |key| taken.rows.behind(key)));
        self.state().account[taken.place][taken.slice] = SliceAccount { stored, left: Some(left) };
        Ok(())
    }

    /// Ends, without rows, what was kept a place for and not read, so that what follows it in its stream is not lost.
    pub(crate) async fn stop(&mut self) -> Result<(), SourceError> {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, sink) in state.open.values_mut().flat_map(|open| open.waiting.drain()) {
            sink.end().await?;
        }
        Ok(())
    }

    /// Counts a slice as ended; gives the stream if it was its last.
    fn without_slice(&self, place: usize) -> Option<Box<dyn OpenStream>> {
        let mut state = self.state();
        let open = state.open.get_mut(&place)?;
        open.slices_left -= 1;
        if open.slices_left > 0 {
            return None;
        }
        state.open.remove(&place).map(|open| open.stream)
    }

    /// What the tables amount to, in their own order; none if some are not read to their end.
    pub(crate) fn summaries(&self) -> Option<Vec<StreamSummary>> {
        self.state().summaries.iter().cloned().collect()
    }

    /// How far the tables that were begun have come.
    pub(crate) fn account(&self) -> Vec<TableAccount> {
        let state = self.state();
        let begun = self.tables.iter().zip(&state.account).filter(|(_, slices)| !slices.is_empty());
        begun.map(|(table, slices)| TableAccount { stream: table.table.name.to_string(), slices: slices.clone() }).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenTable {
    fn begin(sink: &dyn StreamSink, table: &SlicedTable<'_>) -> Result<Self, SourceError> {
        let slices_left = table.slices.iter().filter(|slice| matches!(slice, Slice::Rows(_))).count();
        Ok(Self { stream: sink.open(copy_out::header(table.table))?, slices_left, waiting: HashMap::new() })
    }
}

/// A table's slices before any of its rows were read.
fn unread(table: &SlicedTable<'_>) -> Vec<SliceAccount> {
    let unread = |slice: &Slice| match slice {
        Slice::Stored(_) => SliceAccount { stored: true, left: None },
        Slice::Rows(rows) => SliceAccount { stored: false, left: Some(rows.clone()) },
    };
    table.slices.iter().map(unread).collect()
}
