//! A store and keys that count what is asked of them.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};
use vault::{DataKey, KeyContext, KeyError, KeyService, ObjectInfo, ObjectStore, SecretKey, StoreError};

/// Calls by kind.
#[derive(Default)]
struct Calls {
    put: AtomicU64,
    get: AtomicU64,
    list: AtomicU64,
    key: AtomicU64,
}

pub(crate) struct Counted<T> {
    inner: T,
    calls: Calls,
}

impl<T> Counted<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, calls: Calls::default() }
    }
}

/// Calls of a store and of keys.
pub(crate) fn calls<S, K>(store: &Counted<S>, keys: &Counted<K>, signatures: u64) -> Value {
    let [put, get, list] = [&store.calls.put, &store.calls.get, &store.calls.list].map(|calls| calls.load(SeqCst));
    json!({ "put": put, "get": get, "list": list, "key": keys.calls.key.load(SeqCst) + signatures })
}

#[async_trait]
impl<T: ObjectStore> ObjectStore for Counted<T> {
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.calls.put.fetch_add(1, SeqCst);
        self.inner.put_new(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.calls.get.fetch_add(1, SeqCst);
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.calls.get.fetch_add(1, SeqCst);
        self.inner.get_range(key, offset, length).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        self.calls.list.fetch_add(1, SeqCst);
        self.inner.list(prefix, after).await
    }

    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        self.calls.put.fetch_add(1, SeqCst);
        self.inner.lock(key, at_least, until).await
    }
}

#[async_trait]
impl<T: KeyService> KeyService for Counted<T> {
    async fn generate(&self, context: &KeyContext) -> Result<DataKey, KeyError> {
        self.calls.key.fetch_add(1, SeqCst);
        self.inner.generate(context).await
    }

    async fn unwrap_key(&self, wrapped: &[u8], context: &KeyContext) -> Result<SecretKey, KeyError> {
        self.calls.key.fetch_add(1, SeqCst);
        self.inner.unwrap_key(wrapped, context).await
    }
}
