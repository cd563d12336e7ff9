//! Where tenants' data comes from and goes back to: PostgreSQL in all four layouts, and the records of media and
//! configuration.
//!
//! What leaves a database passes through a [`vault::StreamSink`], so that an export, the digest of a live scope and the
//! digest of a restored one are one and the same read. What comes back goes through a staging copy that only a role made
//! for this one restore owns, is checked there, and becomes visible in one transaction.

mod caps;
pub mod configuration;
mod error;
mod json_lines;
pub mod media;
pub mod postgres;
pub mod references;

pub use error::{PgFailure, Phase, Place, SourceError};
