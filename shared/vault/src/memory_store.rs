//! An object store in memory, for tests: it counts calls and fails when told to.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::{
    store::{ObjectInfo, ObjectStore, StoreError},
    versions::{StoredVersion, VersionStore},
};

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

/// Objects in memory, with their versions and locks. As create-only as the real thing; only the test itself and a sweep remove one.
#[derive(Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Default)]
struct State {
    /// The versions of each object, the newest last.
    objects: BTreeMap<String, Vec<Version>>,
    versions: u64,
    now: Timestamp,
    /// For how long what is put is locked.
    lock_for: SignedDuration,
    calls: u64,
    fault: Option<(u64, Fault)>,
    in_flight: usize,
    in_flight_max: usize,
}

/// A version, or with no bytes a delete marker.
struct Version {
    id: u64,
    bytes: Option<Bytes>,
    stored_at: Timestamp,
    locked_until: Option<Timestamp>,
}

impl State {
    fn put(&mut self, key: &str, bytes: Option<Bytes>) {
        self.versions += 1;
        let locked_until = bytes.as_ref().filter(|_| !self.lock_for.is_zero()).map(|_| self.now + self.lock_for);
        let version = Version { id: self.versions, bytes, stored_at: self.now, locked_until };
        self.objects.entry(key.to_owned()).or_default().push(version);
    }

    /// What a reader of the key sees.
    fn latest(&self, key: &str) -> Option<&Bytes> {
        self.objects.get(key)?.last()?.bytes.as_ref()
    }

    fn version(&self, key: &str, version: &str) -> Result<(&Version, &Bytes), StoreError> {
        let found = self.objects.get(key).into_iter().flatten().find(|found| found.id.to_string() == version);
        let found = found.and_then(|found| Some((found, found.bytes.as_ref()?)));
        found.ok_or_else(|| StoreError::Missing { key: key.to_owned() })
    }
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
        let state = self.state();
        state.objects.keys().filter_map(|key| Some((key.clone(), state.latest(key)?.clone()))).collect()
    }

    /// Says what time it is, and for how long what is put from now on is locked.
    pub fn set_clock(&self, now: Timestamp, lock_for: SignedDuration) {
        let mut state = self.state();
        (state.now, state.lock_for) = (now, lock_for);
    }

    /// Until when the newest version of an object is locked.
    #[must_use]
    pub fn lock_of(&self, key: &str) -> Option<Timestamp> {
        self.state().objects.get(key)?.last()?.locked_until
    }

    /// Puts a newer version over an object, or a delete marker, as an attacker would.
    pub fn put_over(&self, key: &str, bytes: Option<Bytes>) {
        self.state().put(key, bytes);
    }

    /// Puts `bytes` in an object's place, as nothing but damage or an attacker could.
    pub fn overwrite(&self, key: &str, bytes: impl Into<Bytes>) {
        let mut state = self.state();
        state.objects.remove(key);
        state.put(key, Some(bytes.into()));
    }

    /// Takes the newest version or marker off an object, as who undoes an attack would.
    pub fn take_off(&self, key: &str) {
        if let Some(versions) = self.state().objects.get_mut(key) {
            versions.pop();
        }
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
            if state.latest(key).is_some() {
                return Err(StoreError::Exists { key: key.to_owned() });
            }
            state.put(key, Some(bytes));
            Ok(())
        })
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.call(key, |state| state.latest(key).cloned().ok_or_else(|| StoreError::Missing { key: key.to_owned() }))
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.call(key, |state| {
            let bytes = state.latest(key).ok_or_else(|| StoreError::Missing { key: key.to_owned() })?;
            let at = |position: u64| usize::try_from(position).map_or(bytes.len(), |position| position.min(bytes.len()));
            Ok(bytes.slice(at(offset)..at(offset.saturating_add(length))))
        })
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        self.call(prefix, |state| {
            let matching = state.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            let matching = matching.filter(|(key, _)| after.is_none_or(|after| key.as_str() > after));
            let seen = matching.filter_map(|(key, versions)| Some((key, versions.last()?.bytes.as_ref()?)));
            Ok(seen.map(|(key, bytes)| ObjectInfo { key: key.clone(), bytes: bytes.len() as u64 }).collect())
        })
    }

    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        self.call(key, |state| {
            let missing = || StoreError::Missing { key: key.to_owned() };
            let newest = state.objects.get_mut(key).and_then(|versions| versions.last_mut()).ok_or_else(missing)?;
            newest.bytes.as_ref().ok_or_else(missing)?;
            if newest.locked_until.is_none_or(|locked| locked < at_least) {
                newest.locked_until = Some(until);
            }
            Ok(())
        })
    }
}

#[async_trait]
impl VersionStore for MemoryStore {
    async fn versions(&self, prefix: &str) -> Result<Vec<StoredVersion>, StoreError> {
        self.call(prefix, |state| {
            let matching = state.objects.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            let versions = matching.flat_map(|(key, versions)| versions.iter().map(move |version| (key, version)));
            let told = versions.filter_map(|(key, version)| {
                let bytes = version.bytes.as_ref()?.len() as u64;
                Some(StoredVersion { key: key.clone(), version: version.id.to_string(), bytes, stored_at: version.stored_at })
            });
            Ok(told.collect())
        })
    }

    async fn get_version(&self, key: &str, version: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.call(key, |state| {
            let (_, bytes) = state.version(key, version)?;
            Ok(bytes.slice(..bytes.len().min(usize::try_from(bytes_max).unwrap_or(usize::MAX))))
        })
    }

    async fn locked_until(&self, key: &str, version: &str) -> Result<Option<Timestamp>, StoreError> {
        self.call(key, |state| Ok(state.version(key, version)?.0.locked_until))
    }

    async fn delete_version(&self, key: &str, version: &str) -> Result<(), StoreError> {
        self.call(key, |state| {
            let Ok((found, _)) = state.version(key, version) else { return Ok(()) };
            if found.locked_until.is_some_and(|until| until > state.now) {
                return Err(StoreError::Denied { key: key.to_owned(), source: "it is locked".into() });
            }
            let id = found.id;
            if let Some(versions) = state.objects.get_mut(key) {
                versions.retain(|version| version.id != id);
            }
            state.objects.retain(|_, versions| !versions.is_empty());
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_keeps_versions_and_locks() {
        let (store, now) = (MemoryStore::new(), "2026-11-23T12:00:00Z".parse().unwrap());
        store.set_clock(now, SignedDuration::ZERO);
        crate::conformance::version_store(&store, "v1/x", now).await;
    }
}
