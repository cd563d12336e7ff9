//! Versions of tenants' media objects in S3: what there is, and one made current again by a copy.
//!
//! Content type, user metadata, encryption and checksums of a version are told only by calls that could also read its bytes, which
//! the exporting role may not make; in its records those fields stay empty.

#[cfg(test)]
mod fake;
mod listing;
mod prefix;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use futures::{Stream, TryStreamExt, future::ready, stream};
use sources::media::ObjectVersion;

use crate::{Answer, AwsError, Call};
use listing::Listing;
pub use prefix::MediaPrefix;

/// Tag calls under way at once. A call takes some tens of milliseconds, so this many stay below the 5,500 reads a second that S3 gives a
/// prefix, and list a million versions well within a function's 15 minutes.
const TAG_CALLS_AT_ONCE: usize = 64;

/// A bucket of tenants' media.
#[derive(Debug, Clone)]
pub struct Media {
    client: Client,
    bucket: String,
}

impl Media {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }

    /// The part of the bucket below a prefix, as a restore works on it.
    #[must_use]
    pub fn below(&self, prefix: &str) -> MediaPrefix {
        MediaPrefix::new(self.clone(), prefix)
    }

    /// Every version and delete marker under a prefix, in key order, newest first, with its tags. A page and some tags are held at a time.
    /// Needs `s3:ListBucketVersions`, `s3:GetObjectTagging` and `s3:GetObjectVersionTagging`.
    ///
    /// Not one instant's picture: a version that is written or removed while this runs may or may not be in it.
    ///
    /// # Errors
    /// If the bucket is not there, a call fails, or the listing is not in order.
    pub fn versions<'a>(&'a self, prefix: &'a str) -> impl Stream<Item = Result<ObjectVersion, AwsError>> + Send + use<'a> {
        let tagged = self.history(prefix).map_ok(async move |mut version| {
            Ok(self.tags(prefix, &version).await?.map(|tags| {
                version.tags = tags;
                version
            }))
        });
        let mut ages = Ages::default();
        tagged
            .try_buffered(TAG_CALLS_AT_ONCE)
            .try_filter_map(|tagged| ready(Ok(tagged)))
            // A version that went away in between leaves no gap.
            .map_ok(move |version| ages.give(version))
    }

    /// The same without tags. Needs `s3:ListBucketVersions`.
    ///
    /// # Errors
    /// As [`Self::versions`].
    pub fn history<'a>(&'a self, prefix: &'a str) -> impl Stream<Item = Result<ObjectVersion, AwsError>> + Send + use<'a> {
        let listing = Listing::new(self, prefix);
        let pages = stream::try_unfold(listing, async |mut listing: Listing<'a>| {
            Ok(listing.next_page().await?.map(|page| (stream::iter(page.into_iter().map(Ok)), listing)))
        });
        let mut ages = Ages::default();
        pages.try_flatten().map_ok(move |version| ages.give(version))
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

/// Numbers the versions of each key as they go by.
#[derive(Default)]
struct Ages {
    key: String,
    next: u32,
}

impl Ages {
    fn give(&mut self, mut version: ObjectVersion) -> ObjectVersion {
        if version.key != self.key {
            (self.key, self.next) = (version.key.clone(), 0);
        }
        version.age = self.next;
        self.next = self.next.saturating_add(1);
        version
    }
}
