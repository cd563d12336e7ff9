//! What a look at names and sizes notices, and what only reading can.

use std::sync::Arc;

use bytes::Bytes;
use domain::RunId;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{MemoryKeys, MemorySigning, MemoryStore, Parent, StreamHeader, StreamSink};

struct World {
    store: Arc<MemoryStore>,
    keys: Arc<MemoryKeys>,
    vault: Vault,
}

const TENANT: u128 = 1;

fn tenant() -> VaultTenantId {
    VaultTenantId::from_uuid(Uuid::from_u128(TENANT))
}

impl World {
    fn new() -> Self {
        let (store, keys) = (Arc::new(MemoryStore::new()), Arc::new(MemoryKeys::new()));
        let vault = Vault::new(store.clone(), keys.clone(), Arc::new(MemorySigning::new()), "main".parse().unwrap());
        Self { store, keys, vault }
    }

    /// A recovery point of three rows, the `n`th.
    async fn back_up(&self, n: u128, parent: Option<&Parent>) -> Parent {
        let (point, run) = (RecoveryPointId::from_uuid(Uuid::from_u128(n)), RunId::from_uuid(Uuid::from_u128(n)));
        let writer = self.vault.begin(tenant(), point, run, parent).await.unwrap();
        let (name, columns) = ("people".to_owned(), vec!["id".to_owned()]);
        let stream = writer.open(StreamHeader { digest_name: name.clone(), name, columns, key_columns: vec![0] }).unwrap();
        let mut slice = stream.slice().unwrap();
        slice.rows(b"1\n2\n3\n".as_slice().into()).await.unwrap();
        slice.end().await.unwrap();
        stream.end().await.unwrap();
        let reference = writer.finish(json!(null), "2026-11-23T12:00:00Z".parse().unwrap()).await.unwrap().point;
        Parent { point, reference }
    }

    async fn findings(&self, of: &Parent) -> Vec<(String, Option<String>, Defect)> {
        let stored = self.vault.stored(tenant()).await.unwrap();
        let report = self.vault.check_presence(tenant(), of.point, &of.reference, &stored).await.unwrap();
        report.findings.into_iter().map(|finding| (finding.object, finding.entry, finding.defect)).collect()
    }
}

#[tokio::test]
async fn whatever_a_recovery_point_needs_is_missed_when_it_is_gone_or_of_another_size() {
    let world = World::new();
    let first = world.back_up(7, None).await;
    assert_eq!(world.findings(&first).await, []);
    let objects = world.store.objects();
    // A pack, a list, a manifest, a link, two key records.
    assert_eq!(objects.len(), 6, "{:?}", objects.keys());
    for (key, bytes) in objects {
        world.store.remove(&key);
        assert_eq!(world.findings(&first).await, [(key.clone(), Some(first.point.to_string()), Defect::Missing)]);
        world.store.overwrite(&key, Bytes::new());
        let found = world.findings(&first).await;
        assert_eq!((found.len(), &found[0].0), (1, &key), "cut to nothing: {found:?}");
        world.store.overwrite(&key, bytes);
    }
}

#[tokio::test]
async fn a_recovery_point_that_shares_packs_misses_what_the_earlier_one_wrote() {
    let world = World::new();
    let first = world.back_up(7, None).await;
    let second = world.back_up(8, Some(&first)).await;
    let pack = world.store.objects().into_keys().find(|key| key.contains("/packs/")).unwrap();
    let key_record = layout::content_record(tenant(), RunId::from_uuid(Uuid::from_u128(7)));
    for object in [pack, key_record] {
        let bytes = world.store.objects().remove(&object).unwrap();
        world.store.remove(&object);
        for point in [&first, &second] {
            assert_eq!(world.findings(point).await, [(object.clone(), Some(point.point.to_string()), Defect::Missing)]);
        }
        world.store.overwrite(&object, bytes);
    }
}

#[tokio::test]
async fn what_is_left_of_a_tenant_is_counted_by_versions_and_apart_from_what_the_sweep_never_deletes() {
    let world = World::new();
    world.back_up(7, None).await;
    let count = async || {
        let inventory = world.vault.inventory(&*world.store, tenant()).await.unwrap();
        (inventory.collected().count(), inventory.kept())
    };
    assert_eq!(count().await, (4, 2), "a pack, a list, a manifest and the run's key; a link and the tenant's secret");
    let pack = world.store.objects().into_keys().find(|key| key.contains("/packs/")).unwrap();
    world.store.put_over(&pack, None);
    assert_eq!(world.vault.stored(tenant()).await.unwrap().objects(), 5, "a listing does not show what is hidden");
    assert_eq!(count().await, (4, 2), "but it is stored");
}

#[tokio::test]
async fn nothing_is_decrypted_and_bytes_that_changed_in_their_place_are_not_noticed() {
    let world = World::new();
    let point = world.back_up(7, None).await;
    let calls = world.keys.calls();
    let (pack, bytes) = world.store.objects().into_iter().find(|(key, _)| key.contains("/packs/")).unwrap();
    let flipped: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    world.store.overwrite(&pack, flipped);
    assert_eq!(world.findings(&point).await, [], "that takes reading it");
    assert_eq!(world.keys.calls(), calls);
    let stored = world.vault.stored(tenant()).await.unwrap();
    assert_eq!(stored.objects(), 6);
}
