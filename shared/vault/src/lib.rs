//! The vault: sealed, create-only storage of tenants' data, in the format HF1 that `docs/format.md` specifies.
//!
//! A [`PointWriter`] takes rows and documents in and leaves packs and a manifest behind; nothing of it counts until the
//! caller publishes the returned [`ManifestRef`] in the catalog. A [`PointReader`] gives them back, authenticated for one
//! tenant and one recovery point. A [`Digester`] hashes live rows the same way, so that equality can be proven without
//! storing anything. Bytes and keys come from two small ports, [`ObjectStore`] and [`KeyService`].
//!
//! Invariant: no byte leaves this crate's readers before the object that holds it has been authenticated whole.

pub mod caps;
pub mod conformance;

mod check;
mod chunk;
mod chunker;
mod defect;
mod derive;
mod digester;
mod envelope;
mod error;
mod frame;
mod key_record;
mod keys;
mod layout;
mod manifest;
mod memory_keys;
mod memory_store;
mod pack;
mod random;
mod reader;
mod rows_digest;
mod store;
mod stream;
mod tenant_secret;
mod vault;
mod writer;

pub use check::{CheckReport, Finding};
pub use chunk::ChunkId;
pub use defect::Defect;
pub use digester::Digester;
pub use error::VaultError;
pub use keys::{DataKey, KeyContext, KeyError, KeyService, Purpose, SecretKey};
pub use manifest::{BlobEntry, ChunkRef, Manifest, ManifestRef, PackEntry, StreamEntry};
pub use memory_keys::MemoryKeys;
pub use memory_store::{Fault, MemoryStore};
pub use reader::{PointReader, StreamReader};
pub use rows_digest::RowsDigest;
pub use store::{BoxError, ObjectInfo, ObjectStore, StoreError};
pub use stream::{StreamHeader, StreamSink, StreamSummary};
pub use tenant_secret::TenantSecret;
pub use vault::Vault;
pub use writer::{PointWriter, Written};
