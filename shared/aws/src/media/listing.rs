//! The pages of a bucket's version listing, each put back into one order.
//!
//! S3 tells versions and delete markers of a page in two lists, both by key and newest first. The pages follow one another in that same
//! order, so that a page can be told as it is, even in the middle of a key's history.

use std::{collections::BTreeMap, iter::Peekable};

use aws_sdk_s3::{
    operation::list_object_versions::ListObjectVersionsOutput,
    primitives::DateTime,
    types::{DeleteMarkerEntry, ObjectVersion as FoundVersion},
};
use sources::media::ObjectVersion;

use super::Media;
use crate::{Answer, AwsError, Call, time::timestamp};

/// Where a page ends: the last key, and the version of it.
type Marker = (Option<String>, Option<String>);

/// A listing under way.
pub(super) struct Listing<'a> {
    media: &'a Media,
    prefix: &'a str,
    /// Where the next page begins; nothing if there is none.
    next: Option<Marker>,
    /// The key told last.
    last_key: Option<String>,
}

/// A version as listed.
struct Listed {
    is_latest: bool,
    modified: DateTime,
    version: ObjectVersion,
}

impl<'a> Listing<'a> {
    pub(super) fn new(media: &'a Media, prefix: &'a str) -> Self {
        Self { media, prefix, next: Some((None, None)), last_key: None }
    }

    /// The versions of the next page.
    pub(super) async fn next_page(&mut self) -> Result<Option<Vec<ObjectVersion>>, AwsError> {
        let Some((key, version)) = self.next.take() else { return Ok(None) };
        let request = self.media.client.list_object_versions().bucket(&self.media.bucket).prefix(self.prefix);
        let request = request.set_key_marker(key.clone()).set_version_id_marker(version.clone());
        let page = request.send().await.map_err(|error| self.call().failed(error))?;
        if page.is_truncated().unwrap_or(false) {
            let next = (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
            if next.0.is_none() || next == (key, version) {
                return Err(self.call().lacks("marker of the next page"));
            }
            self.next = Some(next);
        }
        let versions = self.merge(&page)?;
        for version in &versions {
            if self.last_key.as_ref().is_some_and(|last| version.key < *last) {
                return Err(self.out_of_order(&version.key));
            }
            if self.last_key.as_ref() != Some(&version.key) {
                self.last_key = Some(version.key.clone());
            }
        }
        Ok(Some(versions))
    }

    /// Both lists of a page as one. Each keeps its own order, which knows more than the times in it: an upload in parts has the time of
    /// its beginning. Between the two only the time decides, in whole seconds; within one second the marker counts as the later, because
    /// an object is written before it is deleted.
    fn merge(&self, page: &ListObjectVersionsOutput) -> Result<Vec<ObjectVersion>, AwsError> {
        let versions: Result<Vec<_>, _> = page.versions().iter().map(|found| self.version(found)).collect();
        let markers: Result<Vec<_>, _> = page.delete_markers().iter().map(|found| self.marker(found)).collect();
        let (mut versions, mut markers) = (versions?.into_iter().peekable(), markers?.into_iter().peekable());
        let mut merged = Vec::with_capacity(versions.len() + markers.len());
        while let Some(next) = next_of(&mut versions, &mut markers) {
            merged.push(next.version);
        }
        Ok(merged)
    }

    fn version(&self, found: &FoundVersion) -> Result<Listed, AwsError> {
        let parts = (found.key(), found.version_id(), found.is_latest(), found.last_modified());
        let mut listed = listed(self.prefix, parts).ok_or_else(|| self.call().lacks("version's key, id or time"))?;
        listed.version.size_bytes = u64::try_from(found.size().unwrap_or(0)).unwrap_or(0);
        listed.version.etag = found.e_tag().map(|etag| etag.trim_matches('"').to_owned());
        listed.version.storage_class = found.storage_class().map(|class| class.as_str().to_owned());
        Ok(listed)
    }

    fn marker(&self, found: &DeleteMarkerEntry) -> Result<Listed, AwsError> {
        let parts = (found.key(), found.version_id(), found.is_latest(), found.last_modified());
        let mut listed = listed(self.prefix, parts).ok_or_else(|| self.call().lacks("delete marker's key, id or time"))?;
        listed.version.delete_marker = true;
        Ok(listed)
    }

    fn call(&self) -> Call {
        Call::new("s3:ListBucketVersions", format!("{}/{}", self.media.bucket, self.prefix))
    }

    fn out_of_order(&self, key: &str) -> AwsError {
        let message = format!("`{}` comes behind a key that it precedes, so files could be missed", key.escape_debug());
        AwsError::Unusable { call: self.call(), answer: Answer { code: "OutOfOrder".to_owned(), message, status: None } }
    }
}

type Parts<'a> = (Option<&'a str>, Option<&'a str>, Option<bool>, Option<&'a DateTime>);

fn listed(prefix: &str, (key, version_id, is_latest, modified): Parts<'_>) -> Option<Listed> {
    let modified = *modified?;
    let version = ObjectVersion {
        key: key?.strip_prefix(prefix)?.to_owned(),
        age: 0,
        version_id: version_id?.to_owned(),
        delete_marker: false,
        modified_at: timestamp(&modified)?.to_string(),
        size_bytes: 0,
        etag: None,
        checksums: BTreeMap::new(),
        storage_class: None,
        content_type: None,
        encryption: None,
        metadata: BTreeMap::new(),
        tags: BTreeMap::new(),
    };
    Some(Listed { is_latest: is_latest.unwrap_or(false), modified, version })
}

/// Takes whichever comes first.
fn next_of(
    versions: &mut Peekable<impl Iterator<Item = Listed>>,
    markers: &mut Peekable<impl Iterator<Item = Listed>>,
) -> Option<Listed> {
    let (Some(version), Some(marker)) = (versions.peek(), markers.peek()) else {
        return versions.next().or_else(|| markers.next());
    };
    let rank = |listed: &Listed| (listed.is_latest, listed.modified.as_nanos());
    // Of one key, the higher rank is the newer.
    let marker_first = marker.version.key.cmp(&version.version.key).then_with(|| rank(version).cmp(&rank(marker))).is_le();
    if marker_first { markers.next() } else { versions.next() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &str, id: &str, second: i64, is_latest: bool) -> Listed {
        let modified = DateTime::from_secs(second);
        listed("t/", (Some(&format!("t/{key}")), Some(id), Some(is_latest), Some(&modified))).unwrap()
    }

    #[test]
    fn versions_and_delete_markers_become_one_history() {
        let versions = vec![
            told("a", "a3", 30, true),
            told("a", "a1", 10, false),
            // Begun before the version under it, and finished after.
            told("b", "b2", 10, false),
            told("b", "b1", 20, false),
            told("c", "c1", 20, true),
        ];
        let markers = vec![told("a", "a2", 20, false), told("b", "b3", 20, true), told("b", "b0", 10, false)];
        let (mut versions, mut markers) = (versions.into_iter().peekable(), markers.into_iter().peekable());
        let history: Vec<_> =
            std::iter::from_fn(|| next_of(&mut versions, &mut markers)).map(|listed| listed.version.version_id).collect();
        assert_eq!(history, ["a3", "a2", "a1", "b3", "b0", "b2", "b1", "c1"]);
    }

    #[test]
    fn a_key_outside_the_prefix_is_no_answer() {
        let modified = DateTime::from_secs(0);
        assert!(listed("t/acme/", (Some("t/acme2/x"), Some("1"), None, Some(&modified))).is_none());
    }
}
