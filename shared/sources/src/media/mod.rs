//! A tenant's uploaded files: every version of every object under the tenant's prefix, and the way back to them.
//!
//! The bytes stay where they are, in a versioned bucket. A recovery point records which version was current and what it looked like;
//! a restore makes that version current again, as a copy, and never removes one ([`restore`]). All of it goes key by key, in the order in
//! which both the bucket and the recovery point have them, so that memory does not grow with the number of files.

mod histories;
mod plan;
pub mod restore;

use std::collections::BTreeMap;

use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};
use vault::{PointReader, StreamSink, StreamSummary};

use crate::{
    error::SourceError,
    json_lines::{RecordReader, RecordWriter},
};

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

impl ObjectVersion {
    /// Whether it comes behind another one: under a later key in the order of UTF-8 bytes, or as the next older version of the same.
    #[must_use]
    pub fn follows(&self, other: &Self) -> bool {
        if self.key == other.key { other.age.checked_add(1) == Some(self.age) } else { self.age == 0 && self.key > other.key }
    }
}

/// Writes versions as the stream [`STREAM`], as they come: sorted, with none left out.
///
/// # Errors
/// If they do not come sorted, or cannot be had or stored.
pub async fn write<E: From<SourceError>>(
    versions: impl Stream<Item = Result<ObjectVersion, E>>,
    sink: &dyn StreamSink,
) -> Result<StreamSummary, E> {
    let mut writer = RecordWriter::begin(STREAM, sink)?;
    let mut versions = std::pin::pin!(versions);
    let mut before: Option<ObjectVersion> = None;
    while let Some(version) = versions.next().await {
        let version = version?;
        if before.as_ref().map_or(version.age != 0, |before| !version.follows(before)) {
            return Err(unordered("the bucket's listing", &version).into());
        }
        writer.push(&version).await?;
        before = Some(version);
    }
    Ok(writer.end().await?)
}

/// Reads the versions of a recovery point, one by one.
///
/// # Errors
/// If there is no such stream; later, if the vault fails or a record is not understood.
pub fn read(point: &PointReader) -> Result<impl Stream<Item = Result<ObjectVersion, SourceError>> + Send + use<>, SourceError> {
    let reader = RecordReader::begin(STREAM, point)?;
    Ok(stream::try_unfold(reader, async |mut reader| Ok(reader.next().await?.map(|version| (version, reader)))))
}

fn unordered(what: &str, version: &ObjectVersion) -> SourceError {
    let ObjectVersion { key, age, version_id, .. } = version;
    SourceError::Unordered {
        what: format!("{what} at version {version_id} of `{}`, the {age}th of its key,", key.escape_debug()),
    }
}
