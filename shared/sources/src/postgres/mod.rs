//! PostgreSQL: reading a tenant's scope completely, and bringing it back.

mod catalog;
mod compare;
mod consistent;
mod copy_out;
mod digest;
mod endpoint;
mod export;
mod facts;
pub mod ident;
mod inventory;
mod random;
mod refusals;
mod register;
pub mod restore;
mod scope;
mod session;
mod structure;
mod tls;
mod toc;
mod tools;

pub use compare::{Comparison, compare};
pub use digest::{LiveDigest, digest};
pub use endpoint::{Endpoint, Password};
pub use export::export;
pub use facts::{
    ColumnFacts, DatabaseFacts, DatabaseProperties, DefaultGrant, ExtensionFacts, ForeignKeyFacts, Grant, Identity,
    InventoryEntry, LeftOut, MaterialisedView, SequenceFacts, TableFacts,
};
pub use ident::{Ident, QualifiedName};
pub use register::read_register;
pub use scope::Scope;
pub use session::Session;
pub use tools::Tools;
