//! The words and decisions of Holdfast, as pure values and functions.
//!
//! Nothing here is async, touches an SDK, reads a clock, draws randomness or looks at the environment: time and
//! fresh ids come in as arguments. So every decision that could lose or hide data can be tested in microseconds.

pub mod access;
pub mod alert;
pub mod assertion;
pub mod caps;
pub mod choice;
pub mod coverage;
pub mod erasure;
pub mod error;
pub mod forecast;
pub mod id;
pub mod identity;
pub mod objectives;
pub mod order;
pub mod plan;
pub mod point;
pub mod recovery;
pub mod register;
pub mod request;
pub mod retention;
pub mod rpo;
pub mod schedule;
pub mod set;
pub mod slot;
pub mod spread;
pub mod sweep;
pub mod tenant;
pub mod text;
pub mod turns;
pub mod verification;

pub use error::{Class, Coded, ErrorCode, ErrorReport};
pub use id::{ErasureId, PackId, RecoveryId, RecoveryPointId, RequestId, RunId, VaultId, VaultTenantId};
pub use tenant::TenantId;
