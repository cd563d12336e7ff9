//! The vault's objects on S3.
//!
//! A put is create-only (`If-None-Match: *`) and carries the SHA-256 of its bytes, which S3 compares and keeps. When the
//! answer to a put is lost and the SDK tries again, the second try finds the first one's object: that too is reported
//! as [`StoreError::Exists`], because nothing tells it from somebody else's.

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    operation::get_object::builders::GetObjectFluentBuilder,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode, ObjectLockRetention, ObjectLockRetentionMode},
};
use bytes::Bytes;
use jiff::Timestamp;
use vault::{BoxError, ObjectInfo, ObjectStore, StoreError, StoredVersion, VersionStore};

use crate::{
    error::{Answer, Sort},
    time::{date_time, timestamp},
};

/// How often a put is tried that met another put of the same key. S3's advice is to try again.
const PUTS_MAX: usize = 5;

/// An [`ObjectStore`] on S3.
#[derive(Debug, Clone)]
pub struct S3Store {
    client: Client,
    bucket: String,
}

impl S3Store {
    pub(crate) fn new(client: Client, bucket: &str) -> Self {
        Self { client, bucket: bucket.to_owned() }
    }

    fn read(&self, key: &str) -> GetObjectFluentBuilder {
        self.client.get_object().bucket(&self.bucket).key(key)
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    /// Needs `s3:PutObject`.
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        for _ in 0..PUTS_MAX {
            let call = self
                .client
                .put_object()
                .bucket(&self.bucket)
                .key(key)
                .if_none_match("*")
                .checksum_algorithm(ChecksumAlgorithm::Sha256)
                .body(ByteStream::from(bytes.clone()));
            // The checksum's header is signed, and so are with it the bytes. Signing them by themselves would hash every pack once more.
            let Err(error) = call.customize().disable_payload_signing().send().await else { return Ok(()) };
            let answer = Answer::of(error);
            if answer.is(&["PreconditionFailed"]) || answer.status == Some(412) {
                return Err(StoreError::Exists { key: key.to_owned() });
            }
            // 409: somebody else is writing this key at this moment, and may yet fail. Until one has, nobody can say whether it is taken.
            if !answer.is(&["ConditionalRequestConflict"]) && answer.status != Some(409) {
                return Err(failure(key, answer));
            }
        }
        Err(StoreError::Unavailable { key: key.to_owned(), source: "others kept writing it at the same moment".into() })
    }

    /// Needs `s3:GetObject`, and `s3:ListBucket` (with the key as `s3:prefix`) to be told that an object is missing rather than denied.
    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        let found = self.read(key).checksum_mode(ChecksumMode::Enabled).send().await;
        collect(key, found.map_err(|error| failure(key, Answer::of(error)))?.body).await
    }

    /// Needs the same as [`Self::get`].
    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        // Servers read the bounds as signed numbers.
        let last = offset.saturating_add(length.max(1) - 1).min(i64::MAX.unsigned_abs());
        match self.read(key).range(format!("bytes={offset}-{last}")).send().await {
            Ok(found) => collect(key, found.body).await,
            Err(error) => match Answer::of(error) {
                answer if answer.is(&["InvalidRange"]) || answer.status == Some(416) => Ok(Bytes::new()),
                answer => Err(failure(key, answer)),
            },
        }
    }

    /// Needs `s3:ListBucket`.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix);
        let mut pages = call.set_start_after(after.map(str::to_owned)).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure(prefix, Answer::of(error)))?;
            for object in page.contents.unwrap_or_default() {
                let (Some(key), Some(Ok(bytes))) = (object.key, object.size.map(u64::try_from)) else {
                    let source = "an object was listed without its key or size".into();
                    return Err(StoreError::Unavailable { key: prefix.to_owned(), source });
                };
                found.push(ObjectInfo { key, bytes });
            }
        }
        Ok(found)
    }

    /// Needs `s3:ListBucket`.
    async fn folders(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, StoreError> {
        let call = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).delimiter("/");
        let mut pages = call.set_start_after(after.map(str::to_owned)).into_paginator().send();
        let mut found: Vec<String> = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure(prefix, Answer::of(error)))?;
            found.extend(page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix));
        }
        // S3 compares the start with the keys below a folder, so that it lists the one that it is to start behind.
        found.retain(|folder| after.is_none_or(|after| folder.as_str() > after));
        Ok(found)
    }

    /// Needs `s3:GetObjectRetention` and `s3:PutObjectRetention`, and the same listing as [`Self::get`]. The mode stays what it was.
    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        let found = self.retention(key, None).await?;
        if found.as_ref().and_then(until_of).is_some_and(|locked| locked >= at_least) {
            return Ok(());
        }
        let mode = found.and_then(|found| found.mode).unwrap_or(ObjectLockRetentionMode::Governance);
        let retention = ObjectLockRetention::builder().mode(mode).retain_until_date(date_time(until)).build();
        let call = self.client.put_object_retention().bucket(&self.bucket).key(key).retention(retention);
        let call = call.checksum_algorithm(ChecksumAlgorithm::Sha256);
        let locked = call.send().await.map(|_| ()).map_err(|error| failure(key, Answer::of(error)));
        match locked {
            // Another run that shares it locked it for longer in between, which S3 does not let us shorten.
            Err(denied @ StoreError::Denied { .. }) => {
                let now = self.retention(key, None).await?.as_ref().and_then(until_of);
                if now.is_some_and(|locked| locked >= at_least) { Ok(()) } else { Err(denied) }
            }
            answered => answered,
        }
    }
}

impl S3Store {
    /// An object's lock; nothing if it never had one. Of no version, the newest's.
    async fn retention(&self, key: &str, version: Option<&str>) -> Result<Option<ObjectLockRetention>, StoreError> {
        let call = self.client.get_object_retention().bucket(&self.bucket).key(key).set_version_id(version.map(str::to_owned));
        match call.send().await {
            Ok(found) => Ok(found.retention),
            Err(error) => match Answer::of(error) {
                answer if answer.is(&["NoSuchObjectLockConfiguration"]) => Ok(None),
                // So S3 answers for a delete marker, which can have no lock.
                answer if answer.is(&["MethodNotAllowed"]) => Err(StoreError::Missing { key: key.to_owned() }),
                answer => Err(failure(key, answer)),
            },
        }
    }
}

fn until_of(retention: &ObjectLockRetention) -> Option<Timestamp> {
    retention.retain_until_date().and_then(timestamp)
}

#[async_trait]
impl VersionStore for S3Store {
    /// Needs `s3:ListBucketVersions`.
    async fn versions(&self, prefix: &str) -> Result<Vec<StoredVersion>, StoreError> {
        let (mut found, mut next) = (Vec::new(), (None, None));
        loop {
            let call = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let call = call.set_key_marker(next.0.clone()).set_version_id_marker(next.1.clone());
            let page = call.send().await.map_err(|error| failure(prefix, Answer::of(error)))?;
            let incomplete = |what: &str| StoreError::Unavailable {
                key: prefix.to_owned(),
                source: format!("a listing without {what}").into(),
            };
            for version in page.versions() {
                let size = version.size().and_then(|size| u64::try_from(size).ok());
                let stored_at = version.last_modified().and_then(timestamp);
                let (Some(key), Some(id), Some(bytes), Some(stored_at)) = (version.key(), version.version_id(), size, stored_at)
                else {
                    return Err(incomplete("a version's key, id, size or time"));
                };
                found.push(StoredVersion { key: key.to_owned(), version: id.to_owned(), bytes, stored_at });
            }
            if !page.is_truncated().unwrap_or(false) {
                return Ok(found);
            }
            let marker = (page.next_key_marker, page.next_version_id_marker);
            if marker.0.is_none() || marker == next {
                return Err(incomplete("the marker of its next page"));
            }
            next = marker;
        }
    }

    /// Needs `s3:GetObjectVersion`.
    async fn get_version(&self, key: &str, version: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        let last = bytes_max.max(1) - 1;
        let call = self.read(key).version_id(version).range(format!("bytes=0-{last}"));
        match call.send().await {
            // A store that does not know ranges of versions answers with all of it.
            Ok(found) => {
                let mut bytes = collect(key, found.body).await?;
                bytes.truncate(usize::try_from(bytes_max).unwrap_or(usize::MAX));
                Ok(bytes)
            }
            Err(error) => match Answer::of(error) {
                answer if answer.is(&["InvalidRange"]) || answer.status == Some(416) => Ok(Bytes::new()),
                answer => Err(failure(key, answer)),
            },
        }
    }

    /// Needs `s3:GetObjectRetention`.
    async fn locked_until(&self, key: &str, version: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.retention(key, Some(version)).await?.as_ref().and_then(until_of))
    }

    /// Needs `s3:DeleteObjectVersion`.
    async fn delete_version(&self, key: &str, version: &str) -> Result<(), StoreError> {
        let call = self.client.delete_object().bucket(&self.bucket).key(key).version_id(version);
        match call.send().await.map_err(|error| failure(key, Answer::of(error))) {
            Ok(_) | Err(StoreError::Missing { .. }) => Ok(()),
            Err(other) => Err(other),
        }
    }
}

async fn collect(key: &str, body: ByteStream) -> Result<Bytes, StoreError> {
    match body.collect().await {
        Ok(bytes) => Ok(bytes.into_bytes()),
        // The connection broke, or the bytes are not those whose checksum S3 keeps. Either way they are not released.
        Err(error) => Err(StoreError::Unavailable { key: key.to_owned(), source: BoxError::from(error) }),
    }
}

fn failure(key: &str, answer: Answer) -> StoreError {
    let key = key.to_owned();
    match answer.sort() {
        // A bucket that does not exist is a mistake in the template, not a missing object.
        Sort::NotFound if !answer.is(&["NoSuchBucket"]) => StoreError::Missing { key },
        Sort::Throttled => StoreError::Throttled { key, source: answer.into() },
        Sort::Denied | Sort::KeyUnusable => StoreError::Denied { key, source: answer.into() },
        Sort::NotFound | Sort::Quota | Sort::Other => StoreError::Unavailable { key, source: answer.into() },
    }
}
