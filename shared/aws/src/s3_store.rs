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
    types::{ChecksumAlgorithm, ChecksumMode},
};
use bytes::Bytes;
use vault::{BoxError, ObjectInfo, ObjectStore, StoreError};

use crate::error::{Answer, Sort};

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
