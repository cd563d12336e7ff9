//! A bucket with versions, as far as a restore sees one, and a vault to record it in.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use domain::{ErrorCode, ErrorReport, RecoveryPointId, RunId, VaultTenantId};
use futures::{StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use sources::{
    SourceError,
    media::{self, ObjectVersion, restore::Bucket},
};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, Parent, PointReader, Vault, Written};

/// One version in the bucket: what is listed of it, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) listed: ObjectVersion,
    pub(crate) content: u32,
}

#[derive(Default)]
pub(crate) struct State {
    /// Newest last.
    keys: BTreeMap<String, Vec<Stored>>,
    writes: i64,
    /// Copies and deletions by a restore that still succeed; nothing: all of them.
    acts_left: Option<u32>,
    acts: u32,
}

/// A bucket. Every write takes a second of its own clock.
#[derive(Default)]
pub(crate) struct ModelBucket {
    pub(crate) state: Mutex<State>,
    /// As under a KMS key: an entity tag says nothing about the bytes, and only checksums tell that a copy is one.
    pub(crate) tags_are_random: bool,
    /// There are no checksums either.
    pub(crate) is_blind: bool,
    pub(crate) is_suspended: bool,
    /// A version whose bytes are in an archive, though no listing tells.
    pub(crate) quietly_archived: Option<String>,
    /// The listing, counted from 0, before which somebody writes this key.
    pub(crate) written_before: Option<(usize, &'static str)>,
    pub(crate) listings: AtomicUsize,
}

impl ModelBucket {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn write(&self, key: &str, content: Option<u32>, tags: BTreeMap<String, String>) -> String {
        let mut state = self.state();
        state.writes += 1;
        let number = state.writes;
        let etag = content.map(|content| if self.tags_are_random { format!("random {number}") } else { format!("e{content}") });
        let listed = ObjectVersion {
            key: key.to_owned(),
            age: 0,
            version_id: format!("v{number}"),
            delete_marker: content.is_none(),
            modified_at: Timestamp::from_second(1_700_000_000 + number).unwrap().to_string(),
            size_bytes: content.map_or(0, |content| u64::from(content % 3)),
            etag,
            checksums: BTreeMap::new(),
            storage_class: content.map(|_| "STANDARD".to_owned()),
            content_type: None,
            encryption: None,
            metadata: BTreeMap::new(),
            tags,
        };
        let version_id = listed.version_id.clone();
        state.keys.entry(key.to_owned()).or_default().push(Stored { listed, content: content.unwrap_or_default() });
        version_id
    }

    pub(crate) fn put(&self, key: &str, content: u32) -> String {
        self.write(key, Some(content), [("class".to_owned(), format!("c{content}"))].into())
    }

    pub(crate) fn delete(&self, key: &str) {
        self.write(key, None, BTreeMap::new());
    }

    /// Changes a version's record, as nothing but the bucket's owner can.
    pub(crate) fn change(&self, version_id: &str, change: impl Fn(&mut Stored)) {
        self.state().keys.values_mut().flatten().filter(|stored| stored.listed.version_id == version_id).for_each(change);
    }

    /// Removes a version for good, as a lifecycle rule does.
    pub(crate) fn expire(&self, version_id: &str) {
        self.state().keys.values_mut().for_each(|versions| versions.retain(|stored| stored.listed.version_id != version_id));
    }

    /// Every version, by key and newest first.
    pub(crate) fn versions(&self) -> Vec<ObjectVersion> {
        let told = |versions: &Vec<Stored>| -> Vec<_> {
            let newest_first = versions.iter().rev().enumerate();
            newest_first
                .map(|(age, stored)| ObjectVersion { age: u32::try_from(age).unwrap(), ..stored.listed.clone() })
                .collect()
        };
        self.state().keys.values().flat_map(told).collect()
    }

    /// What whoever reads the bucket gets: contents and tags.
    pub(crate) fn live(&self) -> BTreeMap<String, (u32, BTreeMap<String, String>)> {
        let state = self.state();
        let newest = state.keys.iter().filter_map(|(key, versions)| Some((key, versions.last()?)));
        let live = newest.filter(|(_, stored)| !stored.listed.delete_marker);
        live.map(|(key, stored)| (key.clone(), (stored.content, stored.listed.tags.clone()))).collect()
    }

    /// Lets a restore do so many acts, and fail at the next one.
    pub(crate) fn stop_after(&self, acts: Option<u32>) {
        self.state().acts_left = acts;
    }

    pub(crate) fn acts(&self) -> u32 {
        self.state().acts
    }

    fn act(&self, key: &str, over: Option<&ObjectVersion>) -> Result<(), ErrorReport> {
        let mut state = self.state();
        let newest = state.keys.get(key).and_then(|versions| versions.last());
        let live = newest.filter(|stored| !stored.listed.delete_marker);
        let is_as_seen = live.map(|stored| &stored.listed.etag) == over.map(|over| &over.etag);
        assert!(is_as_seen, "nobody else writes while a restore acts");
        if state.acts_left == Some(0) {
            return Err(ErrorReport::new(ErrorCode::StoreUnavailable, "a planned fault"));
        }
        state.acts_left = state.acts_left.map(|left| left - 1);
        state.acts += 1;
        Ok(())
    }

    fn stored(&self, version: &ObjectVersion) -> Option<Stored> {
        let state = self.state();
        state.keys.get(&version.key)?.iter().find(|stored| stored.listed.version_id == version.version_id).cloned()
    }
}

#[async_trait]
impl Bucket for ModelBucket {
    fn place(&self) -> String {
        "files/acme/".to_owned()
    }

    async fn check_keeps_versions(&self) -> Result<(), ErrorReport> {
        if self.is_suspended { Err(ErrorReport::new(ErrorCode::NotConfigured, "versioning is suspended")) } else { Ok(()) }
    }

    fn history(&self) -> BoxStream<'_, Result<ObjectVersion, ErrorReport>> {
        if let Some((listing, key)) = self.written_before
            && self.listings.fetch_add(1, SeqCst) == listing
        {
            self.put(key, 99);
        }
        let untagged = |version: ObjectVersion| ObjectVersion { tags: BTreeMap::new(), ..version };
        // Each is read when its turn comes, as a page is: what a restore writes meanwhile may or may not show.
        let keys: Vec<String> = self.state().keys.keys().cloned().collect();
        stream::iter(keys)
            .flat_map(move |key| {
                let of_key: Vec<_> =
                    self.versions().into_iter().filter(|version| version.key == key).map(untagged).map(Ok).collect();
                stream::iter(of_key)
            })
            .boxed()
    }

    async fn is_copy(&self, live: &ObjectVersion, recorded: &ObjectVersion) -> Result<bool, ErrorReport> {
        let (Some(live), Some(kept)) = (self.stored(live), self.stored(recorded)) else { return Ok(false) };
        let has_same_bytes = !self.is_blind && live.content == kept.content || live.listed.etag == recorded.etag;
        Ok(has_same_bytes && live.listed.tags == recorded.tags)
    }

    async fn copy_forward(&self, recorded: &ObjectVersion, over: Option<&ObjectVersion>) -> Result<Option<String>, ErrorReport> {
        if self.quietly_archived.as_ref() == Some(&recorded.version_id) {
            return Ok(None);
        }
        self.act(&recorded.key, over)?;
        let source = self.stored(recorded).expect("a restore copies what the bucket has");
        Ok(Some(self.write(&recorded.key, Some(source.content), recorded.tags.clone())))
    }

    async fn mark_deleted(&self, live: &ObjectVersion) -> Result<(), ErrorReport> {
        self.act(&live.key, Some(live))?;
        self.delete(&live.key);
        Ok(())
    }
}

/// A vault with one tenant's recovery points.
pub(crate) struct Recorder {
    pub(crate) vault: Vault,
    points: u128,
    newest: Option<Parent>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let vault = Vault::new(store, Arc::new(MemoryKeys::new()), Arc::new(MemorySigning::new()), "test".parse().unwrap());
        Self { vault, points: 0, newest: None }
    }

    /// Records versions, on top of the recovery point before.
    pub(crate) async fn record(&mut self, versions: Vec<ObjectVersion>) -> Result<(PointReader, Written), SourceError> {
        self.points += 1;
        let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
        let (point, run) =
            (RecoveryPointId::from_uuid(Uuid::from_u128(self.points)), RunId::from_uuid(Uuid::from_u128(self.points)));
        let writer = self.vault.begin(tenant, point, run, self.newest.as_ref()).await?;
        media::write(stream::iter(versions).map(Ok::<_, SourceError>), &writer).await?;
        let written = writer.finish(serde_json::Value::Null, Timestamp::UNIX_EPOCH).await?;
        self.newest = Some(Parent { point, reference: written.point.clone() });
        let reader = self.vault.open(tenant, point, &written.point).await?;
        Ok((reader, written))
    }
}
