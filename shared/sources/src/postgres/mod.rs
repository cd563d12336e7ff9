//! PostgreSQL: reading a tenant's scope completely, and bringing it back.

mod account;
mod borders;
mod catalog;
mod chosen;
mod compare;
mod consistent;
mod copy_out;
mod count;
pub mod coverage;
mod digest;
mod endpoint;
mod export;
mod facts;
mod fit;
pub mod ident;
mod inventory;
mod names_in_rows;
mod order;
mod pool;
mod projected;
mod queue;
mod random;
mod range;
mod readers;
mod refusals;
mod register;
mod replay;
pub mod restore;
mod runs;
mod scope;
mod session;
mod slices;
mod standing;
mod structure;
mod sweep;
mod tally;
mod tls;
mod toc;
mod tools;
mod turn;
mod unrestorable;
mod view;

pub use compare::{Comparison, compare};
pub(crate) use copy_out::unescape;
pub use count::{Counted, count};
pub use digest::{LiveDigest, digest};
pub use endpoint::{Endpoint, Password};
pub use export::{Exported, Paused, export, export_for};
pub use facts::{
    ColumnFacts, DatabaseFacts, DatabaseProperties, DefaultGrant, ExtensionFacts, ForeignKeyFacts, Grant, Identity,
    InventoryEntry, LeftOut, MaterialisedView, PassedOn, SequenceFacts, StandbyFacts, TableFacts,
};
pub use ident::{Ident, QualifiedName};
pub use pool::Pool;
pub use register::read_register;
pub use scope::Scope;
pub use session::Session;
pub use sweep::{Standing, Sweep};
pub use tools::Tools;
pub use turn::Turn;
