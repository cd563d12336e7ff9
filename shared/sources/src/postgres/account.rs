//! What an export that was stopped has read: the view, and of each table that was begun its slices and what is left behind each.

use serde::{Deserialize, Serialize};
use vault::Progress;

use super::{
    copy_out::{self, Placement},
    order,
    range::{Range, is_comparable},
    session::Session,
    slices::{Slice, SlicedTable},
    view::View,
};
use crate::error::SourceError;

/// The account that [`vault::PointWriter::suspend`] keeps.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Account {
    /// None if the view could not be told from another: nothing can go on from here.
    view: Option<View>,
    tables: Vec<TableAccount>,
}

/// A table that was begun.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TableAccount {
    /// The stream's name.
    pub(crate) stream: String,
    /// Its slices in order, as they stand in the stream.
    pub(crate) slices: Vec<SliceAccount>,
}

/// A slice: first what is stored of it, then what is left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SliceAccount {
    /// Whether what was stored as this slice counts.
    pub(crate) stored: bool,
    /// The rows that follow it and are still to be read.
    pub(crate) left: Option<Range>,
}

impl Account {
    pub(crate) fn new(view: Option<View>, tables: Vec<TableAccount>) -> Self {
        Self { view, tables }
    }

    /// The account of an earlier run, if it read this very view.
    pub(crate) fn of(earlier: &Progress, view: Option<&View>) -> Option<Self> {
        // Of another version of ours, perhaps: then it cannot be gone on from, and nothing is wrong.
        let account = Self::deserialize(earlier.account()).ok()?;
        (view.is_some() && account.view.as_ref() == view).then_some(account)
    }

    pub(crate) fn encode(&self) -> Result<serde_json::Value, SourceError> {
        serde_json::to_value(self).map_err(|source| SourceError::Record { what: "the account of an export".to_owned(), source })
    }

    /// Puts what the earlier run stored in the place of its rows, in the tables that it began.
    pub(crate) async fn apply(
        self,
        session: &Session,
        at: Placement<'_>,
        earlier: &Progress,
        sliced: &mut [SlicedTable<'_>],
    ) -> Result<(), SourceError> {
        for table in self.tables {
            let Some(found) = sliced.iter_mut().find(|found| found.table.name.to_string() == table.stream) else { continue };
            let stored = table.slices.iter().rposition(|slice| slice.stored).map_or(0, |last| last + 1);
            if stored > earlier.slices(&copy_out::header(found.table)) {
                continue;
            }
            found.order = if found.table.key.is_empty() {
                vec![order::of_places()]
            } else {
                order::of_key(session, &at.name(found.table), &found.table.key).await?
            };
            let is_comparable = is_comparable(&found.order, &found.table.key);
            found.slices =
                table.slices.into_iter().enumerate().flat_map(|(place, slice)| slice.goes_on(place, is_comparable)).collect();
        }
        Ok(())
    }
}

impl SliceAccount {
    fn goes_on(self, place: usize, is_comparable: bool) -> impl Iterator<Item = Slice> {
        let (stored, left) = match self.left {
            // What follows a row of this table cannot be asked for: the slice is read again from its beginning.
            Some(left) if left.is_rest() && !is_comparable => (false, Some(left.unread())),
            left => (self.stored, left),
        };
        stored.then_some(Slice::Stored(place)).into_iter().chain(left.map(Slice::Rows))
    }
}
