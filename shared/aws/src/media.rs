//! Versions of tenants' media objects in S3: what there is, never the bytes.
//!
//! Content type, user metadata and encryption of a version are told only by calls that could also read its bytes, which
//! this role may not; those fields stay empty.

use std::{cmp::Reverse, collections::BTreeMap};

use aws_sdk_s3::{Client, primitives::DateTime};
use futures::{StreamExt, TryStreamExt, stream};
use sources::media::ObjectVersion;

use crate::{Answer, AwsError, Call, time::timestamp};

/// Versions of one tenant that fit the function's memory, at about 1 KiB each.
const VERSIONS_MAX: usize = 500_000;
/// Tag calls under way at once. S3 takes thousands a second; more than this only waits for sockets.
const TAG_CALLS_AT_ONCE: usize = 16;

/// A bucket of tenants' media.
#[derive(Debug, Clone)]
pub struct Media {
    client: Client,
    bucket: String,
}

/// A version as listed, before its tags are known.
struct Listed {
    is_latest: bool,
    modified: DateTime,
    version: ObjectVersion,
}

impl Media {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }

    /// Lists every version and delete marker under a prefix, in key order, newest first.
    /// Needs `s3:ListBucketVersions`, `s3:GetObjectTagging` and `s3:GetObjectVersionTagging`.
    ///
    /// Not one instant's picture: a version that is written or removed while this runs may or may not be in it.
    ///
    /// # Errors
    /// If the bucket is not there, a call fails, or there are too many versions; never a part of the list.
    pub async fn versions(&self, prefix: &str) -> Result<Vec<ObjectVersion>, AwsError> {
        let listed = newest_first(self.list(prefix).await?);
        // One call per version, each with the full key; the record keeps the key below the prefix.
        let tagged = stream::iter(listed).map(async |mut version| {
            let tags = self.tags(prefix, &version).await?;
            Ok(tags.map(|tags| {
                version.tags = tags;
                version
            }))
        });
        let tagged: Vec<Option<ObjectVersion>> = tagged.buffered(TAG_CALLS_AT_ONCE).try_collect().await?;
        Ok(with_ages(tagged.into_iter().flatten().collect()))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, AwsError> {
        let call = || Call::new("s3:ListBucketVersions", format!("{}/{prefix}", self.bucket));
        let mut listed = Vec::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let request = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let request = request.set_key_marker(key_marker).set_version_id_marker(version_marker);
            let page = request.send().await.map_err(|error| call().failed(error))?;
            for found in page.versions() {
                let size_bytes = u64::try_from(found.size().unwrap_or(0)).unwrap_or(0);
                let mut version =
                    listed_version(prefix, found.key(), found.version_id(), found.is_latest(), found.last_modified());
                if let Some(listed) = &mut version {
                    listed.version.size_bytes = size_bytes;
                    listed.version.etag = found.e_tag().map(|etag| etag.trim_matches('"').to_owned());
                    listed.version.storage_class = found.storage_class().map(|class| class.as_str().to_owned());
                }
                listed.push(version.ok_or_else(|| call().lacks("version's key, id or time"))?);
            }
            for found in page.delete_markers() {
                let mut marker =
                    listed_version(prefix, found.key(), found.version_id(), found.is_latest(), found.last_modified());
                if let Some(listed) = &mut marker {
                    listed.version.delete_marker = true;
                }
                listed.push(marker.ok_or_else(|| call().lacks("delete marker's key, id or time"))?);
            }
            if listed.len() > VERSIONS_MAX {
                let message = format!("there are more than {VERSIONS_MAX} versions; remove old ones with a lifecycle rule");
                return Err(AwsError::Unusable {
                    call: call(),
                    answer: Answer { code: "TooMany".to_owned(), message, status: None },
                });
            }
            if !page.is_truncated().unwrap_or(false) {
                return Ok(listed);
            }
            if page.next_key_marker.is_none() {
                return Err(call().lacks("marker of the next page"));
            }
            (key_marker, version_marker) = (page.next_key_marker, page.next_version_id_marker);
        }
    }

    /// The tags of a version, or nothing if it was removed since it was listed.
    async fn tags(&self, prefix: &str, version: &ObjectVersion) -> Result<Option<BTreeMap<String, String>>, AwsError> {
        if version.delete_marker {
            return Ok(Some(BTreeMap::new()));
        }
        let key = format!("{prefix}{}", version.key);
        let call = self.client.get_object_tagging().bucket(&self.bucket).key(&key).version_id(&version.version_id);
        match call.send().await {
            Ok(found) => Ok(Some(found.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect())),
            Err(error) => match Answer::of(error) {
                answer if answer.is(&["NoSuchVersion"]) => Ok(None),
                // Said of the key, not of the version, which may well be there: its record stays, without tags.
                answer if answer.is(&["NoSuchKey"]) => Ok(Some(BTreeMap::new())),
                answer => Err(answer.sorted(Call::new("s3:GetObjectVersionTagging", format!("{}/{key}", self.bucket)))),
            },
        }
    }
}

fn listed_version(
    prefix: &str,
    key: Option<&str>,
    version_id: Option<&str>,
    is_latest: Option<bool>,
    modified: Option<&DateTime>,
) -> Option<Listed> {
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

/// Puts versions and delete markers, which S3 lists apart, back into one order.
///
/// Each list has its own order, which a stable sort keeps. Between the two only the time decides, in whole seconds; within
/// one second the marker counts as the later, because an object is written before it is deleted.
fn newest_first(mut listed: Vec<Listed>) -> Vec<ObjectVersion> {
    listed.sort_by(|left, right| {
        let rank = |listed: &Listed| (!listed.is_latest, Reverse(listed.modified), !listed.version.delete_marker);
        left.version.key.cmp(&right.version.key).then_with(|| rank(left).cmp(&rank(right)))
    });
    listed.into_iter().map(|listed| listed.version).collect()
}

fn with_ages(mut versions: Vec<ObjectVersion>) -> Vec<ObjectVersion> {
    for at in 1..versions.len() {
        if versions[at].key == versions[at - 1].key {
            versions[at].age = versions[at - 1].age + 1;
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(key: &str, id: &str, second: i64, is_latest: bool, delete_marker: bool) -> Listed {
        let modified = DateTime::from_secs(second);
        let mut listed = listed_version("t/", Some(&format!("t/{key}")), Some(id), Some(is_latest), Some(&modified)).unwrap();
        listed.version.delete_marker = delete_marker;
        listed
    }

    #[test]
    fn versions_and_delete_markers_become_one_history() {
        // As S3 answers: first every version, then every marker, each by key and newest first.
        let answer = vec![
            listed("a", "a3", 30, true, false),
            listed("a", "a1", 10, false, false),
            listed("b", "b2", 20, false, false),
            listed("b", "b1", 20, false, false),
            listed("a", "a2", 20, false, true),
            listed("b", "b3", 20, true, true),
        ];
        let history = with_ages(newest_first(answer));
        let history: Vec<_> = history.iter().map(|version| (version.version_id.as_str(), version.age)).collect();
        assert_eq!(history, [("a3", 0), ("a2", 1), ("a1", 2), ("b3", 0), ("b2", 1), ("b1", 2)]);
    }

    #[test]
    fn a_key_outside_the_prefix_is_no_answer() {
        assert!(listed_version("t/acme/", Some("t/acme2/x"), Some("1"), None, Some(&DateTime::from_secs(0))).is_none());
    }
}
