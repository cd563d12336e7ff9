//! Metadata of a tenant's uploaded files: every version of every object under the tenant's prefix.
//!
//! The bytes stay where they are, in a versioned bucket; what a restore needs is which version was current and what it
//! looked like.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vault::{PointReader, StreamSink, StreamSummary};

use crate::{error::SourceError, json_lines};

/// The stream of object versions in a recovery point.
pub const STREAM: &str = "media";

/// One version of one object, or a delete marker. Sorts by key, then newest first as the bucket lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectVersion {
    /// The object's key below the tenant's prefix.
    pub key: String,
    /// Its place among the key's versions, 0 for the current one.
    pub age: u32,
    /// The version id.
    pub version_id: String,
    /// Whether this version says that the object was deleted.
    pub delete_marker: bool,
    /// When it was written, RFC 3339.
    pub modified_at: String,
    /// Size in bytes; 0 for a delete marker.
    pub size_bytes: u64,
    /// The entity tag, without quotes.
    pub etag: Option<String>,
    /// Checksums by algorithm.
    #[serde(default)]
    pub checksums: BTreeMap<String, String>,
    /// Storage class.
    pub storage_class: Option<String>,
    /// Content type.
    pub content_type: Option<String>,
    /// Server-side encryption and its key.
    pub encryption: Option<String>,
    /// User metadata.
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// Writes the versions as the stream [`STREAM`].
///
/// # Errors
/// If the sink fails.
pub async fn write(versions: Vec<ObjectVersion>, sink: &dyn StreamSink) -> Result<StreamSummary, SourceError> {
    json_lines::write(STREAM, versions, sink).await
}

/// Reads the versions of a recovery point.
///
/// # Errors
/// If the vault fails or a record is not understood.
pub async fn read(point: &PointReader) -> Result<Vec<ObjectVersion>, SourceError> {
    json_lines::read(STREAM, point).await
}
