//! What a backup and a restore cost in requests, and how much a reader takes in ahead.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use vault::{MemoryStore, ObjectInfo, ObjectStore, StoreError, caps};

use crate::world::{World, back_up, header, names, read, table};

#[tokio::test]
async fn a_tenants_first_backup_costs_nine_requests_and_two_key_calls() {
    let (world, names) = (World::new(), names(1, 2, 3));
    world.back_up(names).await.unwrap();
    // Look for the secret, and for a chain that would need one, store it; the key record, a pack, a list, the manifest; look for the chain's end, add the link.
    assert_eq!(world.store.calls(), 9);
    assert_eq!(
        (world.keys.calls(), world.signing.calls()),
        (2, 1),
        "one for the tenant's secret, one for the run, one signature"
    );
}

#[tokio::test]
async fn an_unchanged_incremental_backup_costs_ten_requests_and_two_key_calls() {
    let (world, monday) = (World::new(), names(1, 2, 3));
    let parent = monday.parent(&world.back_up(monday).await.unwrap().point);
    let before = (world.store.calls(), world.keys.calls(), world.signing.calls());
    back_up(&world.vault, names(1, 12, 13), Some(&parent)).await.unwrap();
    // The secret, the parent's link and list, which packs there are; the key record, a list, the manifest; the chain's end, its last
    // link, the new one. And no pack.
    assert_eq!((world.store.calls() - before.0, world.keys.calls() - before.1, world.signing.calls() - before.2), (10, 2, 1));
}

#[tokio::test]
async fn a_restore_costs_five_requests_and_one_for_each_window() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up_rows(names, None, header("people"), &table(0..36, 400_000, 0)).await;
    let before = (world.store.calls(), world.keys.calls());
    let reader = world.open(names, &written.point).await.unwrap();
    assert_eq!(
        (world.store.calls() - before.0, world.keys.calls() - before.1),
        (4, 2),
        "the link, the manifest, two key records"
    );
    let before = (world.store.calls(), world.keys.calls());
    read(&reader, "app.people").await.unwrap();
    let windows = 36 * 400_000 / caps::READ_WINDOW_BYTES + 1;
    assert_eq!(world.store.calls() - before.0, 1 + 1 + windows, "a list, the run's key record again, and neighbours together");
    assert_eq!(world.keys.calls() - before.1, 1);
}

/// Counts what is asked of packs.
struct Metered {
    store: Arc<MemoryStore>,
    ranges: AtomicU64,
}

#[async_trait]
impl ObjectStore for Metered {
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put_new(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.store.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        if key.contains("/packs/") {
            self.ranges.fetch_add(1, SeqCst);
            assert!(length <= 5 << 20, "a window of {length} bytes");
        }
        self.store.get_range(key, offset, length).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        self.store.list(prefix, after).await
    }

    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        self.store.lock(key, at_least, until).await
    }
}

#[tokio::test]
async fn rows_that_compress_well_are_not_taken_in_far_ahead() {
    // Sixteen chunks of 4 MiB that lie next to each other in a few kilobytes.
    let (world, names) = (World::new(), names(1, 2, 3));
    let row = [vec![b'x'; (caps::CHUNK_BYTES_MAX / 2) - 1], b"\n".to_vec()].concat();
    let mut header = header("people");
    header.key_columns.clear();
    let rows = row.repeat(32);
    let written = world.back_up_rows(names, None, header, &rows).await;
    assert!(written.stored_bytes < 100_000);

    let metered = Arc::new(Metered { store: Arc::clone(&world.store), ranges: AtomicU64::new(0) });
    let reader = world.over(metered.clone()).open(names.tenant, names.point, &written.point).await.unwrap();
    let mut slice = reader.stream("app.people").unwrap().all();
    let per_window = caps::READ_WINDOW_PLAINTEXT_BYTES;
    let ahead_max = caps::READ_AHEAD_PLAINTEXT_BYTES + per_window;
    let mut given = 0;
    while let Some(chunk) = slice.next().await.unwrap() {
        given += chunk.len() as u64;
        // Let what was started fetch.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let asked = (metered.ranges.load(SeqCst) * per_window).min(rows.len() as u64);
        assert!(asked.saturating_sub(given) <= ahead_max + per_window, "{asked} asked for when {given} were given");
    }
    assert_eq!(given, rows.len() as u64);
    assert_eq!(metered.ranges.load(SeqCst), rows.len() as u64 / per_window);
}
