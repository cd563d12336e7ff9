//! A tenant's part of a media bucket, as a restore works on it.
//!
//! What it may do takes nothing away: it copies a version onto its own key and puts delete markers. It never names a version in a
//! deletion, and its role could not carry that out.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::{
    config::{Builder, timeout::TimeoutConfig},
    operation::head_object::HeadObjectOutput,
    types::{BucketVersioningStatus, ChecksumMode, ChecksumType, StorageClass, TaggingDirective},
};
use domain::{ErrorCode, ErrorReport};
use futures::{StreamExt, TryStreamExt, future::try_join, stream::BoxStream};
use sources::media::{ObjectVersion, restore::Bucket};

use super::Media;
use crate::{Answer, AwsError, Call};

/// For one attempt of a copy, which S3 carries out within the call: up to 5 GiB.
const COPY_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(240);
/// For a copy with all its attempts.
const COPY_TIMEOUT: Duration = Duration::from_secs(500);

/// The objects below one prefix. Made by [`Media::below`].
#[derive(Debug, Clone)]
pub struct MediaPrefix {
    media: Media,
    prefix: String,
}

impl MediaPrefix {
    pub(super) fn new(media: Media, prefix: &str) -> Self {
        Self { media, prefix: prefix.to_owned() }
    }

    fn key(&self, below: &str) -> String {
        format!("{}{below}", self.prefix)
    }

    fn call(&self, action: &'static str, below: &str) -> Call {
        Call::new(action, format!("{}/{}", self.media.bucket, self.key(below)))
    }

    /// Gives a failure to change a key its meaning. A key that is not as it was looked at may have been changed by somebody else, or by this
    /// very call, whose first answer was lost: the next delivery looks again, and tells one from the other.
    fn refused(&self, call: Call, answer: Answer) -> ErrorReport {
        if answer.is(&["PreconditionFailed", "ConditionalRequestConflict"]) || matches!(answer.status, Some(409 | 412)) {
            let message = format!("{call}: the key is not as it was a moment ago; the next delivery looks at it again");
            return ErrorReport::new(ErrorCode::Fenced, message);
        }
        answer.sorted(call).into()
    }

    /// Asks for a version's headers.
    async fn head(&self, version: &ObjectVersion) -> Result<HeadObjectOutput, AwsError> {
        let request = self.media.client.head_object().bucket(&self.media.bucket).key(self.key(&version.key));
        let request = request.version_id(&version.version_id).checksum_mode(ChecksumMode::Enabled);
        request.send().await.map_err(|error| self.call("s3:GetObjectVersion", &version.key).failed(error))
    }

    async fn has_same_bytes(&self, live: &ObjectVersion, recorded: &ObjectVersion) -> Result<bool, AwsError> {
        if live.etag.is_some() && live.etag == recorded.etag {
            return Ok(true);
        }
        // A copy of what was uploaded in parts, or is under a KMS key, has another tag.
        match try_join(self.head(live), self.head(recorded)).await {
            Ok((live, recorded)) => Ok(have_equal_checksums(&live, &recorded)),
            // The recorded version went away: nothing says that they were equal.
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl Bucket for MediaPrefix {
    fn place(&self) -> String {
        format!("{}/{}", self.media.bucket, self.prefix)
    }

    /// Needs `s3:GetBucketVersioning`.
    async fn check_keeps_versions(&self) -> Result<(), ErrorReport> {
        let call = || Call::new("s3:GetBucketVersioning", &self.media.bucket);
        let asked = self.media.client.get_bucket_versioning().bucket(&self.media.bucket).send().await;
        let status = asked.map_err(|error| call().failed(error))?.status;
        if status == Some(BucketVersioningStatus::Enabled) {
            return Ok(());
        }
        let message = "versioning is not enabled, so a copy would replace what it is put on; enable it".to_owned();
        let answer = Answer { code: "NotVersioned".to_owned(), message, status: None };
        Err(AwsError::Unusable { call: call(), answer }.into())
    }

    /// Needs `s3:ListBucketVersions`.
    fn history(&self) -> BoxStream<'_, Result<ObjectVersion, ErrorReport>> {
        self.media.history(&self.prefix).map_err(ErrorReport::from).boxed()
    }

    /// Needs `s3:GetObjectVersionTagging` and `s3:GetObjectVersion`, and, for objects under a KMS key, `kms:Decrypt` with it.
    async fn is_copy(&self, live: &ObjectVersion, recorded: &ObjectVersion) -> Result<bool, ErrorReport> {
        if !self.has_same_bytes(live, recorded).await? {
            return Ok(false);
        }
        Ok(self.media.tags(&self.prefix, live).await? == Some(recorded.tags.clone()))
    }

    /// Needs `s3:GetObject`, `s3:GetObjectVersion`, `s3:PutObject` and `s3:PutObjectTagging`, and, for objects under a KMS key, `kms:Decrypt` and
    /// `kms:GenerateDataKey` with it. The copy has the metadata of its source, the recorded tags and storage class, and the bucket's
    /// default encryption.
    async fn copy_forward(&self, recorded: &ObjectVersion, over: Option<&ObjectVersion>) -> Result<Option<String>, ErrorReport> {
        let call = || self.call("s3:PutObject", &recorded.key);
        let key = self.key(&recorded.key);
        let source = format!("{}/{}?versionId={}", self.media.bucket, encoded(&key, b"/"), encoded(&recorded.version_id, b""));
        let tags: Vec<_> =
            recorded.tags.iter().map(|(name, value)| format!("{}={}", encoded(name, b""), encoded(value, b""))).collect();
        let request = self.media.client.copy_object().bucket(&self.media.bucket).key(&key).copy_source(source);
        let request = request.tagging_directive(TaggingDirective::Replace).tagging(tags.join("&"));
        let request = request.set_storage_class(recorded.storage_class.as_deref().map(StorageClass::from));
        // S3 itself refuses if the key changed since it was looked at.
        let request = match over {
            Some(live) => request.set_if_match(live.etag.as_deref().map(quoted)),
            None => request.if_none_match("*"),
        };
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(COPY_ATTEMPT_TIMEOUT).operation_timeout(COPY_TIMEOUT).build();
        let slow = Builder::new().timeout_config(timeouts);
        let copied = request.customize().config_override(slow).send().await;
        match copied.map_err(Answer::of) {
            Ok(copied) => Ok(Some(copied.version_id.ok_or_else(|| call().lacks("version id of the copy"))?)),
            // An archive tier of Intelligent-Tiering, which a listing does not tell from the others.
            Err(answer) if answer.is(&["InvalidObjectState"]) => Ok(None),
            Err(answer) => Err(self.refused(call(), answer)),
        }
    }

    /// Needs `s3:DeleteObject` and `s3:GetObject`.
    async fn mark_deleted(&self, live: &ObjectVersion) -> Result<(), ErrorReport> {
        let request = self.media.client.delete_object().bucket(&self.media.bucket).key(self.key(&live.key));
        let request = request.set_if_match(live.etag.as_deref().map(quoted));
        let marked = request.send().await;
        marked.map_err(|error| self.refused(self.call("s3:DeleteObject", &live.key), Answer::of(error)))?;
        Ok(())
    }
}

/// Whether a checksum over the whole object says that both have the same bytes. Those of an upload in parts are over the parts'.
fn have_equal_checksums(one: &HeadObjectOutput, other: &HeadObjectOutput) -> bool {
    let whole = |head: &HeadObjectOutput| head.checksum_type() != Some(&ChecksumType::Composite);
    let pairs = [
        (one.checksum_sha256(), other.checksum_sha256()),
        (one.checksum_sha1(), other.checksum_sha1()),
        (one.checksum_crc64_nvme(), other.checksum_crc64_nvme()),
        (one.checksum_crc32_c(), other.checksum_crc32_c()),
        (one.checksum_crc32(), other.checksum_crc32()),
    ];
    let mut both = pairs.into_iter().filter_map(|(one, other)| one.zip(other));
    whole(one) && whole(other) && both.next().is_some_and(|(one, other)| one == other)
}

fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

/// Percent-encodes all but letters, digits, `-._~` and what is to stay.
fn encoded(text: &str, stays: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || stays.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
