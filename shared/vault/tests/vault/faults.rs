//! What fails, fails closed: an error, nothing published, and a new run that succeeds.

use domain::{Coded, ErrorCode};
use serde_json::json;
use vault::{Digester, Fault, StreamSink, VaultError, caps};

use crate::world::{PEOPLE, World, header, names, noise, noon, read, write_sample};

#[tokio::test]
async fn every_store_call_of_a_backup_can_fail_in_every_way() {
    let calls = {
        let world = World::new();
        world.back_up(names(1, 2, 3)).await.unwrap();
        world.store.calls()
    };
    assert_eq!(calls, 5);
    for nth in 1..=calls {
        for (fault, code) in [
            (Fault::Before, ErrorCode::StoreUnavailable),
            (Fault::After, ErrorCode::StoreUnavailable),
            (Fault::Throttled, ErrorCode::Throttled),
            (Fault::Denied, ErrorCode::NotPermitted),
        ] {
            let world = World::new();
            world.store.fail_at(nth, fault);
            let error = world.back_up(names(1, 2, 3)).await.unwrap_err();
            assert_eq!(error.code(), code, "call {nth}, {fault:?}: {error}");
            assert!(!world.store.fault_pending());
            // Only a manifest whose reply was lost may lie there, and without a published reference nobody looks at it.
            assert_eq!(world.stored("/points/").len(), usize::from(nth == calls && fault == Fault::After));

            let retried = world.back_up(names(1, 2, 4)).await.unwrap();
            assert!(world.findings(names(1, 2, 4), &retried.manifest).await.is_empty());
        }
    }
}

#[tokio::test]
async fn every_store_call_of_a_restore_or_check_can_fail() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    for nth in 1..=4 {
        world.store.fail_at(nth, Fault::Before);
        let read = async { read(&world.open(names, &reference).await?, "app.people").await };
        assert_eq!(read.await.unwrap_err().code(), ErrorCode::StoreUnavailable);
        assert!(!world.store.fault_pending());

        world.store.fail_at(nth, Fault::Before);
        let checked = world.vault.check(names.tenant, names.point, &reference).await;
        assert_eq!(checked.unwrap_err().code(), ErrorCode::StoreUnavailable, "an unread chunk is not a damaged one");
    }
}

#[tokio::test]
async fn a_crash_before_finish_leaves_nothing_a_reader_would_find() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    write_sample(&mut writer).await.unwrap();
    drop(writer);
    assert_eq!(world.stored("/points/"), [""; 0]);
    assert_eq!(world.stored("/packs/"), [""; 0]);
}

#[tokio::test]
async fn a_run_begins_once() {
    let (world, names) = (World::new(), names(1, 2, 3));
    world.back_up(names).await.unwrap();
    let error = world.back_up(names).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Fenced);
    assert!(error.to_string().contains(&names.run.to_string()), "{error}");
}

#[tokio::test]
async fn an_object_already_there_is_never_taken_for_ours() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    let key = format!("v1/t/{}/points/{}/{}", names.tenant, names.point, names.run);
    world.store.overwrite(&key, "planted");
    let error = writer.finish(json!(null), noon()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::Fenced);
    assert_eq!(world.store.objects()[&key], "planted");
}

#[tokio::test]
async fn a_failed_upload_cannot_be_finished_over() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    world.store.fail_at(1, Fault::Before);
    writer.begin_stream(header("people")).await.unwrap();
    let mut failed = false;
    for key in 0..80_u64 {
        let rows = [format!("{key}\t").into_bytes(), noise(1 << 20, key), b"\n".to_vec()].concat();
        let taken = writer.rows(&rows).await;
        assert!(!failed || taken.is_err(), "a failed writer takes nothing more");
        failed |= taken.is_err();
    }
    assert!(failed);
    assert!(writer.end_stream().await.is_err());
    assert!(matches!(writer.finish(json!(null), noon()).await, Err(VaultError::OutOfOrder(_))));
    assert_eq!(world.stored("/points/"), [""; 0]);
}

#[tokio::test]
async fn a_disabled_key_stops_backups_restores_and_checks() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    let objects = world.store.objects();
    world.keys.set_disabled(true);
    let errors = [
        world.back_up(crate::world::names(1, 2, 4)).await.err().unwrap(),
        world.back_up(crate::world::names(7, 2, 5)).await.err().unwrap(),
        world.open(names, &reference).await.err().unwrap(),
        world.vault.check(names.tenant, names.point, &reference).await.err().unwrap(),
    ];
    for error in errors {
        assert_eq!(error.code(), ErrorCode::KeyUnusable, "{error}");
    }
    assert_eq!(world.store.objects(), objects, "nothing was stored");
    world.keys.set_disabled(false);
    assert!(world.findings(names, &reference).await.is_empty());
}

#[tokio::test]
async fn two_who_make_a_tenants_secret_at_once_end_up_with_one() {
    let world = World::new();
    let tenant = names(1, 0, 0).tenant;
    let (one, two) = futures::join!(world.vault.tenant_secret(tenant), world.vault.tenant_secret(tenant));
    let mut digests = Vec::new();
    for secret in [one.unwrap(), two.unwrap(), world.vault.tenant_secret(tenant).await.unwrap()] {
        let mut digester = Digester::new(&secret);
        digester.begin_stream(header("people")).await.unwrap();
        digester.rows(PEOPLE).await.unwrap();
        digests.push(digester.end_stream().await.unwrap().digest);
    }
    assert!(digests.iter().all(|digest| *digest == digests[0]));
    assert_eq!(world.stored("/keys/").len(), 1);
}

#[tokio::test]
async fn opening_never_makes_a_secret() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    let key = &world.stored("/keys/dedup")[0];
    world.store.remove(key);
    assert_eq!(world.open(names, &reference).await.err().unwrap().code(), ErrorCode::NotAuthentic);
    assert_eq!(world.stored("/keys/dedup"), [""; 0]);
}

#[tokio::test]
async fn what_is_not_a_stream_of_rows_is_refused() {
    let world = World::new();
    let mut run = 0;
    let mut writer = async || {
        run += 1;
        let names = names(1, 2, run);
        world.vault.begin(names.tenant, names.point, names.run).await.unwrap()
    };
    let refused = |result: Result<(), VaultError>, expected: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };

    let mut half = writer().await;
    half.begin_stream(header("people")).await.unwrap();
    refused(half.rows(b"1\tada\n2\tgr").await, "do not end in a newline");
    assert!(half.finish(json!(null), noon()).await.is_err());

    let mut twice = writer().await;
    write_sample(&mut twice).await.unwrap();
    refused(twice.begin_stream(header("people")).await, "already has a stream of that name");

    let mut key = header("people");
    key.key_columns = vec![2];
    refused(writer().await.begin_stream(key).await, "its key names column 2 of 2");
    let mut name = header("people");
    name.name = "x".repeat(caps::NAME_BYTES_MAX + 1);
    refused(writer().await.begin_stream(name).await, "its name must have 1 to 1024 bytes");

    refused(writer().await.rows(b"1\n").await, "rows outside a stream");
    refused(writer().await.end_stream().await.map(drop), "a stream that never began");
    let mut open = writer().await;
    open.begin_stream(header("people")).await.unwrap();
    refused(open.finish(json!(null), noon()).await.map(drop), "before the open stream's end");

    let mut short = header("people");
    (short.columns, short.key_columns) = (vec!["a".to_owned(), "b".to_owned()], vec![1]);
    let mut keyless = writer().await;
    keyless.begin_stream(short).await.unwrap();
    refused(keyless.rows(&[vec![b'x'; 70_000], b"\n".to_vec()].concat()).await, "fewer fields than its key needs");

    refused(writer().await.blob("big", &vec![0; caps::BLOB_BYTES_MAX + 1]).await, "document `big` would exceed");
}
