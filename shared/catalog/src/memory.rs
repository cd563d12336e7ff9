//! A table in memory, for tests and for trying things out.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;

use crate::table::{Expected, Key, Order, Stored, Table, TableError};

/// A [`Table`] that lives and dies with the process.
#[derive(Debug, Default)]
pub struct MemoryTable {
    items: Mutex<BTreeMap<Key, Stored>>,
}

impl MemoryTable {
    fn items(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Stored>> {
        // A panic while holding the lock leaves whole items only, so the map stays usable.
        self.items.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl Table for MemoryTable {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, TableError> {
        Ok(self.items().get(key).cloned())
    }

    async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError> {
        let mut items = self.items();
        let holds = match (items.get(&item.key), expected) {
            (None, Expected::Absent) => true,
            (Some(stored), Expected::Generation(generation)) => stored.generation == generation,
            _ => false,
        };
        if !holds {
            return Err(TableError::Conflict { key: item.key });
        }
        items.insert(item.key.clone(), item);
        Ok(())
    }

    async fn query(&self, pk: &str, sk_prefix: &str, order: Order, limit: usize) -> Result<Vec<Stored>, TableError> {
        let mut found: Vec<Stored> =
            self.items().values().filter(|item| item.key.pk == pk && item.key.sk.starts_with(sk_prefix)).cloned().collect();
        if order == Order::Descending {
            found.reverse();
        }
        found.truncate(limit);
        Ok(found)
    }

    async fn query_state(&self, state_key: &str, limit: usize) -> Result<Vec<Stored>, TableError> {
        let mut found: Vec<(String, Stored)> = self
            .items()
            .values()
            .filter_map(|item| {
                item.state
                    .as_ref()
                    .filter(|state| state.state_key == state_key)
                    .map(|state| (state.state_at.clone(), item.clone()))
            })
            .collect();
        found.sort_by(|left, right| left.0.cmp(&right.0));
        Ok(found.into_iter().map(|(_, item)| item).take(limit).collect())
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn the_table_in_memory_keeps_the_laws() {
        crate::conformance::check(&super::MemoryTable::default(), "memory").await;
    }
}
