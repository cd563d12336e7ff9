//! The locks on the vault's objects: until when what is stored cannot be deleted. Nothing here reads an object or changes a lock.

use aws_sdk_s3::Client;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use crate::{AwsError, Call, time::timestamp};

/// Calls under way at once.
const AT_ONCE: usize = 16;

/// The locks of a bucket's objects.
#[derive(Debug, Clone)]
pub struct VaultLocks {
    client: Client,
    bucket: String,
}

impl VaultLocks {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }

    /// When the last lock of these versions, each an object's key and a version of it, ends; nothing if none of them has one. Needs
    /// `s3:GetObjectRetention`.
    ///
    /// # Errors
    /// If a call fails: what is not known must not pass for unlocked.
    pub async fn newest_end(&self, versions: Vec<(String, String)>) -> Result<Option<Timestamp>, AwsError> {
        let ends: Vec<Option<Timestamp>> = stream::iter(versions)
            .map(|(key, version)| async move { self.end(&key, &version).await })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        Ok(ends.into_iter().flatten().max())
    }

    async fn end(&self, key: &str, version: &str) -> Result<Option<Timestamp>, AwsError> {
        let call = Call::new("s3:GetObjectRetention", key);
        match self.client.get_object_retention().bucket(&self.bucket).key(key).version_id(version).send().await {
            Ok(found) => Ok(found.retention.and_then(|retention| retention.retain_until_date).as_ref().and_then(timestamp)),
            Err(error) => match call.failed(error) {
                // S3's word for an object without a lock; one that was deleted in between has none either.
                AwsError::NotFound { .. } => Ok(None),
                error => Err(error),
            },
        }
    }
}
