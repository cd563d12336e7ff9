//! What fails, fails closed: an error, nothing published, and a new run that succeeds.

use bytes::Bytes;
use domain::ErrorCode;
use serde_json::json;
use vault::{Digester, Fault, Share, StreamSink, VaultError, caps};

use crate::world::{PEOPLE, World, code, header, names, noise, noon, write, write_sample};

#[tokio::test]
async fn every_store_call_of_a_backup_can_fail_in_every_way() {
    let calls = {
        let world = World::new();
        world.back_up(names(1, 2, 3)).await.unwrap();
        world.store.calls()
    };
    assert_eq!(calls, 9);
    for nth in 1..=calls {
        for (fault, expected) in [
            (Fault::Before, ErrorCode::StoreUnavailable),
            (Fault::After, ErrorCode::StoreUnavailable),
            (Fault::Throttled, ErrorCode::Throttled),
            (Fault::Denied, ErrorCode::NotPermitted),
        ] {
            let world = World::new();
            world.store.fail_at(nth, fault);
            assert_eq!(code(world.back_up(names(1, 2, 3)).await), expected, "call {nth}, {fault:?}");
            assert!(!world.store.fault_pending());
            // Only a link whose reply was lost may lie there, and without a published reference nobody restores from it.
            let links = world.stored("/chain/").len() as u64;
            assert_eq!(links, u64::from(nth == calls && fault == Fault::After));

            let retried = world.back_up(names(1, 2, 4)).await.unwrap();
            assert_eq!(retried.point.sequence, links + 1);
            assert_eq!(world.findings(names(1, 2, 4), &retried.point).await, [""; 0]);
            assert_eq!(world.chain_findings(names(1, 2, 4), retried.point.sequence).await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn every_store_call_of_an_incremental_backup_can_fail() {
    let (first, second, third) = (names(1, 2, 3), names(1, 12, 13), names(1, 12, 14));
    let calls = 10;
    for nth in 1..=calls + 1 {
        let world = World::new();
        let parent = first.parent(&world.back_up(first).await.unwrap().point);
        world.store.fail_at(nth, Fault::Before);
        let failed = crate::world::back_up(&world.vault, second, Some(&parent)).await;
        assert_eq!(world.store.fault_pending(), nth > calls, "an incremental backup is {calls} calls");
        if nth <= calls {
            assert_eq!(code(failed), ErrorCode::StoreUnavailable, "call {nth}");
        }
        world.store.fail_at(u64::MAX / 2, Fault::Before);
        let retried = crate::world::back_up(&world.vault, third, Some(&parent)).await.unwrap();
        assert_eq!(world.findings(third, &retried.point).await, [""; 0]);
    }
}

#[tokio::test]
async fn every_store_call_of_a_restore_or_check_can_fail() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().point;
    // The link, the manifest, two key records, a list, and a pack's range for each of two chunks.
    for nth in 1..=6 {
        world.store.fail_at(nth, Fault::Before);
        assert_eq!(code(world.read(names, &reference, "app.people").await), ErrorCode::StoreUnavailable);
        assert!(!world.store.fault_pending());
    }
    for nth in 1..=7 {
        world.store.fail_at(nth, Fault::Before);
        let checked = world.vault.check(names.tenant, names.point, &reference, Share::ALL).await;
        assert_eq!(code(checked), ErrorCode::StoreUnavailable, "an unread chunk is not a damaged one");
        assert!(!world.store.fault_pending());
    }
}

#[tokio::test]
async fn a_crash_before_finish_leaves_nothing_a_reader_would_find() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    write_sample(&writer).await.unwrap();
    drop(writer);
    assert_eq!(world.stored("/points/"), [""; 0]);
    assert_eq!(world.stored("/packs/"), [""; 0]);
    assert_eq!(world.stored("/chain/"), [""; 0]);
}

#[tokio::test]
async fn a_run_begins_once() {
    let (world, names) = (World::new(), names(1, 2, 3));
    world.back_up(names).await.unwrap();
    let error = world.back_up(names).await.unwrap_err();
    assert!(error.to_string().contains(&names.run.to_string()), "{error}");
    assert_eq!(domain::Coded::code(&error), ErrorCode::Fenced);
}

#[tokio::test]
async fn an_object_already_there_is_never_taken_for_ours() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    let key = format!("v1/t/{}/points/{}/{}", names.tenant, names.point, names.run);
    world.store.overwrite(&key, "planted");
    assert_eq!(code(writer.finish(json!(null), noon()).await), ErrorCode::Fenced);
    assert_eq!(world.store.objects()[&key], "planted");
}

#[tokio::test]
async fn a_failed_upload_cannot_be_finished_over() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    world.store.fail_at(1, Fault::Before);
    let stream = writer.open(header("people")).unwrap();
    let mut slice = stream.slice().unwrap();
    let mut failed = false;
    for key in 0..80_u64 {
        let rows = [format!("{key}\t").into_bytes(), noise(1 << 20, key), b"\n".to_vec()].concat();
        let taken = slice.rows(rows.into()).await;
        assert!(!failed || taken.is_err(), "a failed writer takes nothing more");
        failed |= taken.is_err();
    }
    assert!(failed);
    assert!(slice.end().await.is_err());
    assert!(stream.end().await.is_err());
    assert!(matches!(writer.open(header("more")).err(), Some(VaultError::OutOfOrder(_))));
    assert!(matches!(writer.blob("x", b"x").await, Err(VaultError::OutOfOrder(_))));
    assert!(matches!(writer.finish(json!(null), noon()).await, Err(VaultError::OutOfOrder(_))));
    assert_eq!(world.stored("/points/"), [""; 0]);
}

#[tokio::test]
async fn a_step_given_up_half_way_cannot_be_finished_over() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    let stream = writer.open(header("people")).unwrap();
    let mut slice = stream.slice().unwrap();
    // More than the packs that may be under way, so that the step has to wait, and is dropped while it does.
    let rows: Bytes = crate::world::table(0..64, 1 << 20, 0).into();
    assert!(futures::FutureExt::now_or_never(slice.rows(rows)).is_none());
    assert!(matches!(slice.end().await, Err(VaultError::OutOfOrder(_))));
    assert!(matches!(writer.finish(json!(null), noon()).await, Err(VaultError::OutOfOrder(_))));
}

#[tokio::test]
async fn a_disabled_key_stops_backups_restores_and_checks() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().point;
    let objects = world.store.objects();
    world.keys.set_disabled(true);
    let errors = [
        code(world.back_up(crate::world::names(1, 2, 4)).await),
        code(world.back_up(crate::world::names(7, 2, 5)).await),
        code(world.open(names, &reference).await),
        code(world.vault.check(names.tenant, names.point, &reference, Share::ALL).await),
    ];
    assert_eq!(errors, [ErrorCode::KeyUnusable; 4]);
    assert_eq!(world.store.objects(), objects, "nothing was stored");
    world.keys.set_disabled(false);
    assert_eq!(world.findings(names, &reference).await, [""; 0]);
}

#[tokio::test]
async fn a_disabled_signing_key_publishes_nothing() {
    let (world, first) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(first).await.unwrap().point;
    world.signing.set_disabled(true);
    assert_eq!(code(world.back_up(names(1, 12, 13)).await), ErrorCode::KeyUnusable);
    assert_eq!(world.stored("/chain/").len(), 1, "no second link");
    assert_eq!(world.findings(first, &reference).await, [""; 0], "what was signed before still opens");
    world.signing.set_disabled(false);
    assert_eq!(world.back_up(names(1, 12, 14)).await.unwrap().point.sequence, 2);
    assert_eq!(world.chain_findings(first, 2).await, [""; 0]);
}

#[tokio::test]
async fn two_who_make_a_tenants_secret_at_once_end_up_with_one() {
    let world = World::new();
    let tenant = names(1, 0, 0).tenant;
    let (one, two) = futures::join!(world.vault.tenant_secret(tenant), world.vault.tenant_secret(tenant));
    let mut digests = Vec::new();
    for secret in [one.unwrap(), two.unwrap(), world.vault.tenant_secret(tenant).await.unwrap()] {
        digests.push(write(&Digester::new(&secret), header("people"), PEOPLE).await.unwrap().digest);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert_eq!(world.stored("/keys/").len(), 1);
}

#[tokio::test]
async fn neither_opening_nor_building_upon_a_recovery_point_makes_a_secret() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().point;
    world.store.remove(&world.stored("/keys/dedup")[0]);
    assert_eq!(code(world.open(names, &reference).await), ErrorCode::NotAuthentic);
    let next = crate::world::names(1, 12, 13);
    assert_eq!(code(crate::world::back_up(&world.vault, next, Some(&names.parent(&reference))).await), ErrorCode::NotAuthentic);
    assert_eq!(world.stored("/keys/dedup"), [""; 0]);
}

/// The outcome of writing one stream under a header, in a run of its own.
async fn write_one(change: impl FnOnce(&mut vault::StreamHeader), rows: &[u8]) -> String {
    let world = World::new();
    let writer = world.begin(names(1, 2, 3)).await;
    let mut header = header("people");
    change(&mut header);
    let error = write(&writer, header, rows).await.unwrap_err();
    assert!(writer.finish(json!(null), noon()).await.is_err(), "what was refused cannot be finished over");
    error.to_string()
}

#[tokio::test]
async fn what_is_not_a_stream_of_rows_is_refused() {
    let half = write_one(|_| (), b"1\tada\n2\tgr").await;
    assert!(half.contains("do not end in a newline"), "{half}");
    let long = [vec![b'x'; 70_000], b"\n".to_vec()].concat();
    let keyless = write_one(|header| header.key_columns = vec![1], &long).await;
    assert!(keyless.contains("fewer fields than its key needs"), "{keyless}");
}

#[tokio::test]
async fn a_header_beyond_the_limits_is_refused() {
    let world = World::new();
    let writer = world.begin(names(1, 2, 3)).await;
    let refused = |change: &dyn Fn(&mut vault::StreamHeader), expected: &str| {
        let mut header = header("people");
        change(&mut header);
        let error = writer.open(header).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&|header| header.key_columns = vec![2], "its key names column 2 of 2");
    refused(&|header| header.name = "x".repeat(caps::NAME_BYTES_MAX + 1), "its name must have 1 to 1024 bytes");
    refused(&|header| header.digest_name.clear(), "its name must have 1 to 1024 bytes");
    refused(&|header| header.columns = vec!["c".to_owned(); caps::COLUMNS_MAX + 1], "at most 2000 columns");
    writer.open(header("people")).unwrap();
    refused(&|_| (), "already has a stream of that name");
}

#[tokio::test]
async fn steps_out_of_order_are_refused() {
    let world = World::new();
    let mut run = 2;
    let mut begin = async || {
        run += 1;
        world.begin(names(1, 2, run)).await
    };
    let open = begin().await;
    let stream = open.open(header("people")).unwrap();
    let slice = stream.slice().unwrap();
    assert!(matches!(stream.end().await, Err(VaultError::OutOfOrder("the end of a stream with an open slice"))));
    drop(slice);
    assert!(matches!(open.finish(json!(null), noon()).await, Err(VaultError::OutOfOrder("finish before the open streams' end"))));

    let big = begin().await.blob("big", &vec![0; caps::BLOB_BYTES_MAX + 1]).await.unwrap_err().to_string();
    assert!(big.contains("document `big` would exceed"), "{big}");
    let twice = begin().await;
    write_sample(&twice).await.unwrap();
    assert!(twice.blob("pre-data", b"x").await.unwrap_err().to_string().contains("already has a document of that name"));
}
