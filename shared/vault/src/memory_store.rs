//! An object store in memory, for tests: it counts calls and fails when told to.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::store::{ObjectInfo, ObjectStore, StoreError};

/// What happens to the chosen call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and did nothing.
    Before,
    /// It was carried out, and its answer was lost.
    After,
    /// It was refused for its rate.
    Throttled,
    /// It was refused for want of permission.
    Denied,
}

/// Objects in memory. As create-only as the real thing; only the test itself can change or remove one.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    in_flight: usize,
    in_flight_max: usize,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Makes the `nth` call from now, counted from 1, fail.
    pub fn fail_at(&self, nth: u64, fault: Fault) {
        let mut state = self.state();
        state.fault = Some((state.calls + nth, fault));
    }

    /// Whether a planned fault is still to come. A test whose fault never fired proved nothing.
    #[must_use]
    pub fn fault_pending(&self) -> bool {
        self.state().fault.is_some()
    }

    /// The most puts that were under way at once.
    #[must_use]
    pub fn puts_in_flight_max(&self) -> usize {
        self.state().in_flight_max
    }

    /// Every object, by key.
    #[must_use]
    pub fn objects(&self) -> BTreeMap<String, Bytes> {
        self.state().objects.clone()
    }

    /// Puts `bytes` in an object's place, as nothing but damage or an attacker could.
    pub fn overwrite(&self, key: &str, bytes: impl Into<Bytes>) {
        self.state().objects.insert(key.to_owned(), bytes.into());
    }

    /// Loses an object.
    pub fn remove(&self, key: &str) {
        self.state().objects.remove(key);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call, and carries it out unless a fault says otherwise.
    fn call<T>(&self, key: &str, act: impl FnOnce(&mut State) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut state = self.state();
        state.calls += 1;
        let calls = state.calls;
        let fault = state.fault.take_if(|(at, _)| *at == calls).map(|(_, fault)| fault);
        let (key, source) = (key.to_owned(), "a planned fault".into());
        match fault {
            None => act(&mut state),
            Some(Fault::Before) => Err(StoreError::Unavailable { key, source }),
            Some(Fault::After) => {
                // Whatever it did or found, nobody hears of it.
                let _ = act(&mut state);
                Err(StoreError::Unavailable { key, source })
            }
            Some(Fault::Throttled) => Err(StoreError::Throttled { key, source }),
            Some(Fault::Denied) => Err(StoreError::Denied { key, source }),
        }
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        {
            let mut state = self.state();
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
        }
        // A real put takes time; letting others run shows how many are under way at once.
        tokio::task::yield_now().await;
        self.state().in_flight -= 1;
        self.call(key, |state| {
            if state.objects.contains_key(key) {
                return Err(StoreError::Exists { key: key.to_owned() });
            }
            state.objects.insert(key.to_owned(), bytes);
            Ok(())
        })
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.call(key, |state| state.objects.get(key).cloned().ok_or_else(|| StoreError::Missing { key: key.to_owned() }))
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.call(key, |state| {
            let bytes = state.objects.get(key).ok_or_else(|| StoreError::Missing { key: key.to_owned() })?;
            let at = |position: u64| usize::try_from(position).map_or(bytes.len(), |position| position.min(bytes.len()));
            Ok(bytes.slice(at(offset)..at(offset.saturating_add(length))))
        })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        self.call(prefix, |state| {
            let matching = state.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            let matching = matching.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
            Ok(matching.map(|(key, bytes)| ObjectInfo { key: key.clone(), bytes: bytes.len() as u64 }).collect())
        })
    }
}
