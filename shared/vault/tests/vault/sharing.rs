//! What a run may rely on that it did not store itself: nothing that is being deleted, and nothing that anybody could delete soon.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use domain::{ErrorCode, VaultTenantId};
use jiff::SignedDuration;
use serde_json::json;
use vault::{Fault, ObjectStore as _, Sharing, SharingError, Vault, Written};

use crate::world::{Names, World, code, header, names, noon, read, table, write};

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// Says of what it was told that it is being deleted, and remembers what it was asked.
#[derive(Default)]
struct Refuses {
    deleted: Mutex<BTreeSet<String>>,
    asked: Mutex<Vec<BTreeSet<String>>>,
    unknown: bool,
}

#[async_trait]
impl Sharing for Refuses {
    async fn refused(&self, _: VaultTenantId, objects: &BTreeSet<String>) -> Result<BTreeSet<String>, SharingError> {
        if self.unknown {
            return Err(SharingError { code: ErrorCode::Throttled, source: "the catalog is busy".into() });
        }
        self.asked.lock().unwrap().push(objects.clone());
        Ok(objects.intersection(&self.deleted.lock().unwrap()).cloned().collect())
    }

    fn lock_for(&self) -> SignedDuration {
        DAY * 30
    }
}

/// A first recovery point of one pack, and its vault beside sweeps; everything in it is locked for some days.
async fn first(lock_days: i32, sharing: &Arc<Refuses>) -> (World, Vault, Written) {
    let world = World::new();
    world.store.set_clock(noon(), DAY * lock_days);
    let vault = world.vault.clone().beside(Arc::clone(sharing) as Arc<dyn Sharing>);
    let written = back_up(&vault, FIRST(), None).await.unwrap();
    (world, vault, written)
}

#[expect(non_snake_case, reason = "a constant that is computed")]
fn FIRST() -> Names {
    names(1, 1, 1)
}

async fn back_up(vault: &Vault, names: Names, parent: Option<&vault::Parent>) -> Result<Written, vault::VaultError> {
    let writer = vault.begin(names.tenant, names.point, names.run, parent).await?;
    write(&writer, header("people"), &table(0..100, 1_000, 1)).await?;
    writer.finish(json!(null), noon()).await
}

/// What the first recovery point stored that the next one relies on.
fn relied_on(world: &World) -> Vec<String> {
    let run = FIRST().run.to_string();
    let keys = world.stored("/keys/").into_iter().filter(|key| key.ends_with(&run));
    world.stored("/packs/").into_iter().take(1).chain(keys).collect()
}

#[tokio::test]
async fn what_is_shared_is_asked_for_and_locked_before_it_is_published() {
    let sharing = Arc::new(Refuses::default());
    let (world, vault, written) = first(20, &sharing).await;
    let shared = relied_on(&world);
    assert!(sharing.asked.lock().unwrap().is_empty(), "a first recovery point shares nothing");
    let next = back_up(&vault, names(1, 2, 2), Some(&FIRST().parent(&written.point))).await.unwrap();
    assert_eq!(next.chunks, next.chunks_reused);
    assert_eq!(*sharing.asked.lock().unwrap(), [shared.iter().cloned().collect::<BTreeSet<_>>()], "the pack and its key, once");
    for key in &shared {
        assert_eq!(world.store.lock_of(key), Some(noon() + DAY * 30), "{key}");
    }
    let others = world.store.objects().into_keys().filter(|key| !shared.contains(key) && !key.ends_with("/keys/dedup"));
    assert!(others.into_iter().all(|key| world.store.lock_of(&key) == Some(noon() + DAY * 20)), "nothing else was locked");
}

#[tokio::test]
async fn every_recovery_point_locks_the_tenants_secret_even_if_it_shares_nothing() {
    let (world, vault, _) = first(20, &Arc::default()).await;
    let secret = world.stored("/keys/dedup").remove(0);
    assert_eq!(world.store.lock_of(&secret), Some(noon() + DAY * 30), "it has had the bucket's 20 days");
    world.store.lock(&secret, noon() + DAY * 31, noon() + DAY * 31).await.unwrap();
    back_up(&vault, names(1, 2, 2), None).await.unwrap();
    assert_eq!(world.store.lock_of(&secret), Some(noon() + DAY * 31), "a longer lock is left alone");
    let anew = names(1, 3, 3);
    let writer = vault.begin(anew.tenant, anew.point, anew.run, None).await.unwrap();
    world.store.remove(&secret);
    assert_eq!(code(writer.finish(json!(null), noon()).await), ErrorCode::NotAuthentic);
    assert_eq!(world.stored("/chain/").len(), 2, "no link is signed that nothing opens");
}

#[tokio::test]
async fn a_lock_that_lasts_nearly_as_long_or_longer_is_left_alone() {
    for (lock_days, then) in [(29, 29), (28, 30), (31, 31)] {
        let sharing = Arc::new(Refuses::default());
        let (world, vault, written) = first(lock_days, &sharing).await;
        back_up(&vault, names(1, 2, 2), Some(&FIRST().parent(&written.point))).await.unwrap();
        for key in relied_on(&world) {
            assert_eq!(world.store.lock_of(&key), Some(noon() + DAY * then), "{lock_days}: {key}");
        }
    }
}

#[tokio::test]
async fn what_is_being_deleted_is_stored_anew_whichever_half_it_is() {
    for half in [0, 1] {
        let sharing = Arc::new(Refuses::default());
        let (world, vault, written) = first(20, &sharing).await;
        let deleted = relied_on(&world)[half].clone();
        sharing.deleted.lock().unwrap().insert(deleted.clone());
        let (next, parent) = (names(1, 2, 2), FIRST().parent(&written.point));
        let again = back_up(&vault, next, Some(&parent)).await.unwrap();
        assert_eq!((again.chunks_reused, again.chunks), (0, written.chunks));
        world.store.remove(&deleted);
        assert_eq!(world.read(next, &again.point, "app.people").await.unwrap(), table(0..100, 1_000, 1));
    }
}

#[tokio::test]
async fn what_goes_after_it_was_asked_for_fails_the_run() {
    for half in [0, 1] {
        let sharing = Arc::new(Refuses::default());
        let (world, vault, written) = first(20, &sharing).await;
        let (next, parent) = (names(1, 2, 2), FIRST().parent(&written.point));
        let writer = vault.begin(next.tenant, next.point, next.run, Some(&parent)).await.unwrap();
        write(&writer, header("people"), &table(0..100, 1_000, 1)).await.unwrap();
        world.store.remove(&relied_on(&world)[half]);
        assert_eq!(code(writer.finish(json!(null), noon()).await), ErrorCode::NotAuthentic);
        assert_eq!(world.stored("/chain/").len(), 1, "no link names what is not there");
    }
}

#[tokio::test]
async fn if_nobody_can_say_nothing_is_shared_and_nothing_written() {
    let (world, _, written) = first(20, &Arc::default()).await;
    let vault = world.vault.clone().beside(Arc::new(Refuses { unknown: true, ..Refuses::default() }));
    let (before, parent) = (world.store.objects(), FIRST().parent(&written.point));
    assert_eq!(code(back_up(&vault, names(1, 2, 2), Some(&parent)).await), ErrorCode::Throttled);
    assert_eq!(world.store.objects(), before);
}

#[tokio::test]
async fn what_a_stopped_run_left_is_asked_for_too() {
    for part in ["/packs/", "/lists/", "/keys/run_"] {
        let sharing = Arc::new(Refuses::default());
        let world = World::new();
        let vault = world.vault.clone().beside(Arc::clone(&sharing) as Arc<dyn Sharing>);
        let stopped = names(1, 1, 1);
        let writer = vault.begin(stopped.tenant, stopped.point, stopped.run, None).await.unwrap();
        write(&writer, header("people"), &table(0..100, 1_000, 1)).await.unwrap();
        writer.suspend(json!(null)).await.unwrap();
        assert!(vault.progress(stopped.tenant, stopped.point, stopped.run).await.unwrap().is_some());
        sharing.deleted.lock().unwrap().extend(world.stored(part));
        assert!(vault.progress(stopped.tenant, stopped.point, stopped.run).await.unwrap().is_none(), "{part}");
    }
}

#[tokio::test]
async fn a_lock_that_fails_fails_the_run_before_its_link() {
    let sharing = Arc::new(Refuses::default());
    let (world, vault, written) = first(20, &sharing).await;
    let (next, parent) = (names(1, 2, 2), FIRST().parent(&written.point));
    let writer = vault.begin(next.tenant, next.point, next.run, Some(&parent)).await.unwrap();
    write(&writer, header("people"), &table(0..100, 1_000, 1)).await.unwrap();
    // The list is put first, the locks follow.
    world.store.fail_at(2, Fault::Denied);
    assert_eq!(code(writer.finish(json!(null), noon()).await), ErrorCode::NotPermitted);
    assert!(!world.store.fault_pending());
    assert_eq!(world.stored("/chain/").len(), 1);
    assert!(read(&world.open(FIRST(), &written.point).await.unwrap(), "app.people").await.is_ok());
}
