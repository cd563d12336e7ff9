//! The catalog: what Holdfast knows about tenants, recovery points, requests and alerts.
//!
//! It is a cache of the vault. A wrong row can make Holdfast refuse; it can never make it restore wrong data, because
//! everything that is restored is authenticated against the vault's own keys.

use std::sync::Arc;

pub mod alerts;
pub mod archives;
pub mod audit;
pub mod checks;
pub mod conformance;
pub mod coverage;
pub mod decisions;
pub mod drills;
pub mod erasures;
pub mod holds;
pub mod memory;
pub mod points;
pub mod policies;
pub mod record;
pub mod recoveries;
pub mod requests;
pub mod sweeps;
pub mod table;
pub mod tenants;

pub use memory::MemoryTable;
pub use points::{Held, PointError, Taken};
pub use record::{Record, Versioned};
pub use sweeps::{Amended, Swept, Versions};
pub use table::{Expected, Key, Order, StateKey, Stored, Table, TableError};

/// The catalog over one table.
#[derive(Clone)]
pub struct Catalog {
    table: Arc<dyn Table>,
}

impl Catalog {
    /// A catalog kept in `table`.
    #[must_use]
    pub fn new(table: Arc<dyn Table>) -> Self {
        Self { table }
    }
}

impl std::fmt::Debug for Catalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Catalog").finish_non_exhaustive()
    }
}
