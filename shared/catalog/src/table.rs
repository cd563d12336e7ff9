//! The port to the one table behind the catalog: whole items, written only against the generation that was read.
//!
//! Every rule of the catalog ("one slot, one recovery point", "published by the run that holds the slot") becomes one
//! comparison: *the item is still as I read it*. So there is one kind of conditional write, and a writer that was
//! overtaken, however late it wakes up, cannot write.

use std::fmt;

use async_trait::async_trait;
use domain::{Coded, ErrorCode};

/// A boxed cause from the implementation.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Partition key: items that are listed together.
    pub pk: String,
    /// Sort key within the partition.
    pub sk: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} / {}", self.pk, self.sk)
    }
}

/// Where an item appears in the `by_state` index. Items without it do not appear there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateKey {
    /// The kind and state, such as `request#awaiting_approval`.
    pub state_key: String,
    /// What the index orders by: an RFC 3339 instant.
    pub state_at: String,
}

/// One item as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its primary key.
    pub key: Key,
    /// Counts the writes of this item, from 1.
    pub generation: u64,
    /// The record as JSON text.
    pub body: String,
    /// Its place in the `by_state` index.
    pub state: Option<StateKey>,
}

/// What must be true of the stored item for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is no item with this key.
    Absent,
    /// The item still has this generation.
    Generation(u64),
}

/// The order of a listing by sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest sort key first.
    Ascending,
    /// Largest sort key first.
    Descending,
}

/// Why the table could not serve a call.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The precondition did not hold; nothing was written.
    #[error("catalog item {key} was written by somebody else first; read it again and decide anew")]
    Conflict {
        /// The item.
        key: Key,
    },
    /// The service refused the rate of calls.
    #[error("the catalog throttled a call on {what}; it is retried later")]
    Throttled {
        /// The item or listing.
        what: String,
        /// The service's answer.
        source: Cause,
    },
    /// The function's role may not do this.
    #[error("no permission on the catalog for {what}; compare the function's role with infra/template.yaml")]
    Denied {
        /// The item or listing.
        what: String,
        /// The service's answer.
        source: Cause,
    },
    /// Anything else: the call may or may not have happened.
    #[error("the catalog did not serve {what}; the call is safe to repeat")]
    Unavailable {
        /// The item or listing.
        what: String,
        /// The service's answer.
        source: Cause,
    },
}

impl Coded for TableError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Conflict { .. } => ErrorCode::Fenced,
            Self::Throttled { .. } => ErrorCode::Throttled,
            Self::Denied { .. } => ErrorCode::NotPermitted,
            Self::Unavailable { .. } => ErrorCode::StoreUnavailable,
        }
    }
}

/// One table of items.
///
/// The laws an implementation must keep are the tests of [`crate::conformance`].
#[async_trait]
pub trait Table: Send + Sync {
    /// Reads one item, seeing every write that finished before.
    async fn get(&self, key: &Key) -> Result<Option<Stored>, TableError>;

    /// Writes one whole item if `expected` holds, as one atomic step.
    async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError>;

    /// Lists at most `limit` items of a partition whose sort key starts with `sk_prefix`, seeing every finished write.
    async fn query(&self, pk: &str, sk_prefix: &str, order: Order, limit: usize) -> Result<Vec<Stored>, TableError>;

    /// Lists at most `limit` items with this state key, oldest first. May lag behind writes.
    async fn query_state(&self, state_key: &str, limit: usize) -> Result<Vec<Stored>, TableError>;
}
