//! Typed records over the table: read with the generation, write only against it.

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Catalog,
    table::{Expected, Key, Order, StateKey, Stored, TableError},
};

/// A value that is one item of the catalog.
pub trait Record: Serialize + DeserializeOwned {
    /// Its primary key, which never changes during its life.
    fn key(&self) -> Key;

    /// Its place in the `by_state` index, if it has one now.
    fn state(&self) -> Option<StateKey> {
        None
    }
}

/// A record as it was read, with the generation that a write must still find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The record.
    pub value: T,
    /// The generation it was read at.
    pub generation: u64,
}

/// An item that is not the record its key says it is.
#[derive(Debug, thiserror::Error)]
#[error("catalog item {key} is not readable as what it should be; a newer version may have written it, or a person")]
pub struct UnreadableRecord {
    key: String,
    source: serde_json::Error,
}

impl Catalog {
    /// Reads one record.
    ///
    /// # Errors
    /// If the table fails or the item is not such a record.
    pub async fn get<T: Record>(&self, key: &Key) -> Result<Option<Versioned<T>>, TableError> {
        self.table.get(key).await?.map(decode).transpose()
    }

    /// Writes a record that is not there yet.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if it is there.
    pub async fn create<T: Record>(&self, value: T) -> Result<Versioned<T>, TableError> {
        self.write(value, 1, Expected::Absent).await
    }

    /// Replaces a record by a newer value, if it is still the one that was read.
    ///
    /// # Errors
    /// [`TableError::Conflict`] if somebody wrote it in between.
    pub async fn update<T: Record>(&self, read: &Versioned<T>, value: T) -> Result<Versioned<T>, TableError> {
        debug_assert_eq!(read.value.key(), value.key(), "an update keeps its key");
        self.write(value, read.generation + 1, Expected::Generation(read.generation)).await
    }

    /// Lists the records of a partition by sort key.
    ///
    /// # Errors
    /// If the table fails or an item is not such a record.
    pub async fn list<T: Record>(
        &self,
        pk: &str,
        prefix: &str,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Versioned<T>>, TableError> {
        self.table.query(pk, prefix, order, limit).await?.into_iter().map(decode).collect()
    }

    /// Lists the records with a state key, oldest first. May lag behind writes: read a record again before acting on it.
    ///
    /// # Errors
    /// If the table fails or an item is not such a record.
    pub async fn list_state<T: Record>(&self, state_key: &str, limit: usize) -> Result<Vec<Versioned<T>>, TableError> {
        self.table.query_state(state_key, limit).await?.into_iter().map(decode).collect()
    }

    async fn write<T: Record>(&self, value: T, generation: u64, expected: Expected) -> Result<Versioned<T>, TableError> {
        let key = value.key();
        let body = serde_json::to_string(&value).map_err(|source| unreadable(&key, source))?;
        self.table.put(Stored { state: value.state(), key, generation, body }, expected).await?;
        Ok(Versioned { value, generation })
    }
}

fn decode<T: Record>(stored: Stored) -> Result<Versioned<T>, TableError> {
    let value = serde_json::from_str(&stored.body).map_err(|source| unreadable(&stored.key, source))?;
    Ok(Versioned { value, generation: stored.generation })
}

fn unreadable(key: &Key, source: serde_json::Error) -> TableError {
    let error = UnreadableRecord { key: key.to_string(), source };
    TableError::Unavailable { what: key.to_string(), source: Box::new(error) }
}
