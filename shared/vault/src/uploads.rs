//! Puts under way: a bounded number at once, the rest waits.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::{
    caps::UPLOADS_IN_FLIGHT_MAX,
    error::VaultError,
    store::{BoxError, ObjectStore, StoreError},
};

/// Uploads objects beside other work. Dropping it stops those under way.
pub(crate) struct Uploads {
    store: Arc<dyn ObjectStore>,
    under_way: JoinSet<Result<(), StoreError>>,
}

impl Uploads {
    pub(crate) fn to(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, under_way: JoinSet::new() }
    }

    /// Starts a put. Waits while too many are under way, and reports any that failed.
    pub(crate) async fn put(&mut self, key: String, bytes: Bytes) -> Result<(), VaultError> {
        while self.under_way.len() >= UPLOADS_IN_FLIGHT_MAX {
            self.wait_for_one().await?;
        }
        let store = Arc::clone(&self.store);
        self.under_way.spawn(async move { store.put_new(&key, bytes).await });
        Ok(())
    }

    /// Waits until everything is durable.
    pub(crate) async fn finish(&mut self) -> Result<(), VaultError> {
        while !self.under_way.is_empty() {
            self.wait_for_one().await?;
        }
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<(), VaultError> {
        match self.under_way.join_next().await {
            None => Ok(()),
            Some(Ok(uploaded)) => Ok(uploaded?),
            Some(Err(died)) => Err(StoreError::Unavailable { key: "an upload".to_owned(), source: BoxError::from(died) }.into()),
        }
    }
}
