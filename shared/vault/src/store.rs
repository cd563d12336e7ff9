//! The object store port: create-only puts and reads, and no delete.

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

/// The cause of a store's or key service's failure.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// One stored object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The object's key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
}

/// Where sealed bytes are kept. [`crate::conformance::object_store`] says the same in assertions.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Creates an object. Durable when it returns.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if the key is taken, even by equal bytes: an object that is already there is never ours.
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// Reads a whole object.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is none.
    async fn get(&self, key: &str) -> Result<Bytes, StoreError>;

    /// Reads `length` bytes from `offset`. What lies beyond the end is left out, so the answer may be shorter, or empty
    /// when `offset` is at or past the end; `length` is at least 1.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is no such object.
    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError>;

    /// Lists the objects whose keys start with `prefix`, in key order; only those after the key `after`, if one is given.
    ///
    /// # Errors
    /// If the listing cannot be completed; never a part of it.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError>;

    /// Lists the folders in `prefix`, which ends in a slash: what its keys have before the next slash, that slash included, each once and
    /// in key order; only those after the folder `after`, if one is given. A store that can should not list every object for that.
    ///
    /// # Errors
    /// If the listing cannot be completed; never a part of it.
    async fn folders(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let mut folders = Vec::new();
        for object in self.list(prefix, None).await? {
            let Some(folder) = object.key[prefix.len()..].find('/').map(|slash| object.key[..=prefix.len() + slash].to_owned())
            else {
                continue;
            };
            if folders.last() != Some(&folder) && after.is_none_or(|after| folder.as_str() > after) {
                folders.push(folder);
            }
        }
        Ok(folders)
    }

    /// Finds an object there, and if anybody could delete it before `at_least`, locks it until `until`. A lock is never shortened.
    ///
    /// # Errors
    /// [`StoreError::Missing`] if there is no such object.
    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError>;
}

/// Why a store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no such object.
    #[error("the vault object `{key}` is missing; check the bucket's versions for a delete marker")]
    Missing {
        /// The object's key.
        key: String,
    },
    /// The key of a create-only put is taken.
    #[error("the vault object `{key}` already exists and is not taken for ours; start a new run")]
    Exists {
        /// The object's key.
        key: String,
    },
    /// No answer, or one that says nothing about the request. The put may have happened.
    #[error("the vault object `{key}` could not be reached; try again")]
    Unavailable {
        /// The object's key.
        key: String,
        /// What the store said.
        source: BoxError,
    },
    /// Refused for its rate.
    #[error("the store throttled a call for the vault object `{key}`; try again more slowly")]
    Throttled {
        /// The object's key.
        key: String,
        /// What the store said.
        source: BoxError,
    },
    /// Refused for want of permission.
    #[error("access to the vault object `{key}` was denied; check this role's and the bucket's policies")]
    Denied {
        /// The object's key.
        key: String,
        /// What the store said.
        source: BoxError,
    },
}
