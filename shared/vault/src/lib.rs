//! The vault: sealed, create-only storage of tenants' data, in the format HF1 that `docs/format.md` specifies.
//!
//! A [`PointWriter`] takes rows and documents in and leaves packs, chunk lists, a manifest and a signed link behind; nothing of it
//! counts until the caller publishes the returned [`PointRef`] in the catalog. A [`PointReader`] gives them back, authenticated for one
//! tenant and one recovery point. A [`Digester`] hashes live rows the same way, so that equality can be proven without
//! storing anything. Bytes, keys and signatures come from three small ports, [`ObjectStore`], [`KeyService`] and [`SigningService`].
//!
//! Invariant: no byte leaves this crate's readers before the object that holds it has been authenticated whole.

pub mod caps;
pub mod conformance;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "kernels")]
#[doc(hidden)]
pub mod kernels;

mod chain;
mod check;
mod chunk;
mod chunk_reader;
mod chunker;
mod defect;
mod derive;
mod digester;
mod entry;
mod envelope;
mod error;
mod frame;
mod inventory;
mod key_opener;
mod key_record;
mod keys;
mod known;
mod layout;
mod link;
mod list;
mod list_writer;
mod lists;
mod manifest;
mod memory_keys;
mod memory_signing;
mod memory_store;
mod pack;
mod presence;
mod progress;
mod random;
mod reader;
mod rows_digest;
mod seen;
mod sha256;
mod sharing;
mod signing;
mod slice;
mod store;
mod stream;
mod survey;
mod tenant_secret;
mod uploads;
mod vault;
mod versions;
mod writer;

pub use check::{CheckReport, Finding, Share};
pub use chunk::ChunkId;
pub use defect::Defect;
pub use digester::Digester;
pub use error::VaultError;
pub use inventory::Inventory;
pub use keys::{DataKey, KeyChoice, KeyContext, KeyError, KeyService, Purpose, SecretKey};
pub use link::{Link, PackEntry, PointRef, StoredObject};
pub use list::Segment;
pub use manifest::{BlobEntry, Manifest, SliceEntry, StreamEntry};
pub use memory_keys::MemoryKeys;
pub use memory_signing::MemorySigning;
pub use memory_store::{Fault, MemoryStore};
pub use presence::Stored;
pub use progress::Progress;
pub use reader::{PointReader, SliceReader, StreamReader};
pub use rows_digest::RowsDigest;
pub use seen::Seen;
pub use sha256::Sha256Hex;
pub use sharing::{Sharing, SharingError};
pub use signing::{PublicKey, SigningError, SigningService};
pub use store::{BoxError, ObjectInfo, ObjectStore, StoreError};
pub use stream::{OpenStream, SliceSink, StreamHeader, StreamSink, StreamSummary};
pub use survey::ChainLink;
pub use tenant_secret::TenantSecret;
pub use vault::{Parent, Vault};
pub use versions::{StoredVersion, VersionStore};
pub use writer::{PointWriter, Written};
