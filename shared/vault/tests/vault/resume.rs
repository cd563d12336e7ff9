//! A run that stops before its end leaves what it has done, and a later one takes it over.

use domain::ErrorCode;
use serde_json::json;
use vault::{Fault, OpenStream, Progress, StreamSink, VaultError};

use crate::world::{Names, World, code, finish, header, names, table, write};

fn stopped() -> Names {
    names(1, 2, 3)
}

fn resumed() -> Names {
    names(1, 2, 4)
}

fn rows(slice: u64) -> Vec<u8> {
    table(slice * 1_000..slice * 1_000 + 1_000, 1_000, 0)
}

async fn write_slice(stream: &dyn OpenStream, rows: Vec<u8>) {
    let mut slice = stream.slice().unwrap();
    slice.rows(rows.into()).await.unwrap();
    slice.end().await.unwrap();
}

/// A world in which a run stopped after two slices of a stream; a third had begun, and a fourth had ended.
async fn stopped_world() -> World {
    let world = World::new();
    let writer = world.begin(stopped()).await;
    let stream = writer.open(header("people")).unwrap();
    write_slice(stream.as_ref(), rows(0)).await;
    write_slice(stream.as_ref(), rows(1)).await;
    let open = stream.slice().unwrap();
    write_slice(stream.as_ref(), rows(3)).await;
    writer.suspend(json!({"view": "0000-1"})).await.unwrap();
    drop(open);
    world
}

async fn progress_of(world: &World, names: Names) -> Result<Option<Progress>, VaultError> {
    world.vault.progress(names.tenant, names.point, names.run).await
}

#[tokio::test]
async fn a_run_that_stopped_leaves_no_recovery_point() {
    let world = stopped_world().await;
    assert_eq!((world.stored("/points/").len(), world.stored("/chain/").len(), world.stored("/progress/").len()), (0, 0, 1));
}

#[tokio::test]
async fn finished_slices_are_taken_over_and_not_stored_again() {
    let world = stopped_world().await;
    let progress = progress_of(&world, stopped()).await.unwrap().unwrap();
    assert_eq!(progress.account(), &json!({"view": "0000-1"}));
    assert_eq!(progress.slices(&header("people")), 2, "those before the first that had not ended");

    let writer = world.begin(resumed()).await;
    let stream = writer.open(header("people")).unwrap();
    stream.adopt(&progress, 0).await.unwrap();
    stream.adopt(&progress, 1).await.unwrap();
    write_slice(stream.as_ref(), rows(2)).await;
    let summary = stream.end().await.unwrap();
    let written = finish(writer).await;
    assert!(written.chunks_reused > 0 && written.stored_bytes < 1_200_000, "about a third of what there is");

    let whole = [rows(0), rows(1), rows(2)].concat();
    assert!(world.read(resumed(), &written.point, "app.people").await.unwrap() == whole);
    assert_eq!(world.findings(resumed(), &written.point).await, [""; 0]);
    let afresh = vault::Digester::new(&world.vault.tenant_secret(stopped().tenant).await.unwrap());
    assert_eq!(summary, write(&afresh, header("people"), &whole).await.unwrap());
}

#[tokio::test]
async fn a_stream_whose_columns_or_key_changed_is_not_taken_over() {
    let world = stopped_world().await;
    let progress = progress_of(&world, stopped()).await.unwrap().unwrap();
    let (mut columns, mut key) = (header("people"), header("people"));
    columns.columns.push("more".to_owned());
    key.key_columns = vec![1];
    for changed in [header("pets"), columns, key] {
        assert_eq!(progress.slices(&changed), 0);
        let writer = world.begin(names(1, 2, 10 + world.stored("/keys/").len() as u128)).await;
        let stream = writer.open(changed).unwrap();
        assert!(stream.adopt(&progress, 0).await.is_err());
        assert!(writer.finish(json!(null), crate::world::noon()).await.is_err());
    }
}

#[tokio::test]
async fn progress_of_another_tenant_point_or_run_is_none_of_ours() {
    let world = stopped_world().await;
    assert!(progress_of(&world, resumed()).await.unwrap().is_none(), "that run left nothing");
    assert_eq!(code(progress_of(&world, names(1, 9, 3)).await), ErrorCode::NotAuthentic, "that run's point is another");
    let [key] = &world.stored("/progress/")[..] else { panic!("one record") };
    let record = world.store.objects()[key].clone();
    world.back_up(names(9, 2, 3)).await.unwrap();
    for elsewhere in [names(1, 2, 5), names(9, 2, 3)] {
        let (tenant, run) = (elsewhere.tenant, elsewhere.run);
        world.store.overwrite(&format!("v1/t/{tenant}/progress/{run}"), record.clone());
        assert_eq!(code(progress_of(&world, elsewhere).await), ErrorCode::NotAuthentic);
    }
}

#[tokio::test]
async fn damaged_progress_is_refused_bit_by_bit() {
    let world = stopped_world().await;
    let [key] = &world.stored("/progress/")[..] else { panic!("one record") };
    let record = world.store.objects()[key].clone();
    let (mut tried, mut rejected) = (0, 0);
    for at in 0..record.len() {
        for bit in 0..8 {
            let mut changed = record.to_vec();
            changed[at] ^= 1 << bit;
            world.store.overwrite(key, changed);
            tried += 1;
            rejected += usize::from(progress_of(&world, stopped()).await.is_err());
        }
        world.store.overwrite(key, record.slice(..at));
        tried += 1;
        rejected += usize::from(progress_of(&world, stopped()).await.is_err());
    }
    println!("progress: {rejected} of {tried} rejected");
    assert_eq!((rejected, tried), (9 * record.len(), 9 * record.len()));
}

#[tokio::test]
async fn a_damaged_list_of_the_run_that_stopped_cannot_be_taken_over() {
    let world = stopped_world().await;
    let progress = progress_of(&world, stopped()).await.unwrap().unwrap();
    let [key] = &world.stored("/lists/")[..] else { panic!("one list") };
    let mut bytes = world.store.objects()[key].to_vec();
    bytes[200] ^= 1;
    world.store.overwrite(key, bytes);
    let writer = world.begin(resumed()).await;
    let stream = writer.open(header("people")).unwrap();
    assert_eq!(code(stream.adopt(&progress, 0).await), ErrorCode::NotAuthentic);
    assert!(writer.finish(json!(null), crate::world::noon()).await.is_err());
}

#[tokio::test]
async fn every_store_call_of_stopping_can_fail_and_leaves_no_progress_to_trust() {
    // A pack, a list and the record.
    for nth in 1..=3 {
        let world = World::new();
        let writer = world.begin(stopped()).await;
        let stream = writer.open(header("people")).unwrap();
        write_slice(stream.as_ref(), rows(0)).await;
        world.store.fail_at(nth, Fault::Before);
        assert_eq!(code(writer.suspend(json!(null)).await), ErrorCode::StoreUnavailable);
        assert!(!world.store.fault_pending() && progress_of(&world, stopped()).await.unwrap().is_none());
    }
}
