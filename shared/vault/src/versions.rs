//! The port of the sweep: what is stored version by version, and the only way in which anything is deleted.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::store::StoreError;

/// A stored version of an object. Delete markers are none: whoever puts them hides an object and takes nothing away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredVersion {
    /// The object's key.
    pub key: String,
    /// Which version of it.
    pub version: String,
    /// Its size.
    pub bytes: u64,
    /// When it was stored.
    pub stored_at: Timestamp,
}

/// A store that keeps every version. [`crate::conformance::version_store`] says the same in assertions.
#[async_trait]
pub trait VersionStore: Send + Sync {
    /// Lists every stored version of the objects whose keys start with `prefix`, by key, whatever hides them.
    ///
    /// # Errors
    /// If the listing cannot be completed; never a part of it.
    async fn versions(&self, prefix: &str) -> Result<Vec<StoredVersion>, StoreError>;

    /// Reads one version, no more of it than `bytes_max`.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none.
    async fn get_version(&self, key: &str, version: &str, bytes_max: u64) -> Result<Bytes, StoreError>;

    /// Until when a version cannot be deleted, if it ever was locked. The instant may be past.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is no such version.
    async fn locked_until(&self, key: &str, version: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Deletes one version for good. One that is gone already is gone.
    ///
    /// # Errors
    /// [`StoreError::Denied`] if it is locked, which S3 calls by the same name as a missing right: [`Self::locked_until`] tells. Whenever
    /// no answer came, it may have been deleted.
    async fn delete_version(&self, key: &str, version: &str) -> Result<(), StoreError>;
}
