//! Exports in several turns: told to stop anywhere, and gone on from there by another run, they are what one run would have made.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use domain::{RecoveryPointId, RunId, request::Selection, tenant::Layout};
use sources::postgres::restore::prove;
use vault::{PointReader, Written};

use crate::{
    cluster::quiet,
    fixture,
    slices::{KEYS, OTHERS, table},
    world::{Point, Turned, World},
};

/// Says that it is time once it was asked often enough.
fn after(times: usize) -> impl Fn() -> bool + Send + Sync {
    let asked = AtomicUsize::new(0);
    move || asked.fetch_add(1, SeqCst) >= times
}

fn never() -> bool {
    false
}

fn fresh_point(world: &World) -> RecoveryPointId {
    RecoveryPointId::from_uuid(world.fresh())
}

/// A turn that must stop; gives its run.
async fn paused(world: &World, id: RecoveryPointId, earlier: Option<RunId>, times: usize) -> (RunId, bool) {
    match world.turn(id, earlier, &after(times)).await {
        Turned::Paused { run, began_anew } => (run, began_anew),
        Turned::Whole(..) => panic!("it was over before it was asked {times} times"),
    }
}

/// A turn that goes to the end.
async fn whole(world: &World, id: RecoveryPointId, earlier: Option<RunId>) -> (Point, Written) {
    match world.turn(id, earlier, &never).await {
        Turned::Whole(point, written) => (point, written),
        Turned::Paused { .. } => panic!("nothing told it to stop"),
    }
}

/// Every stream's rows, in order.
async fn rows(point: &PointReader) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for stream in &point.manifest().streams {
        let (mut reader, mut text) = (point.stream(&stream.header.name).unwrap().all(), Vec::new());
        while let Some(lines) = reader.next().await.unwrap() {
            text.extend_from_slice(&lines);
        }
        all.insert(stream.header.name.clone(), text);
    }
    all
}

/// Rows in their order, counts and digests are the same.
async fn assert_equal(found: &PointReader, expected: &PointReader, after: &str) {
    let (found_rows, expected_rows) = (rows(found).await, rows(expected).await);
    for (table, expected) in &expected_rows {
        assert!(found_rows.get(table) == Some(expected), "{table} after {after}");
    }
    let sums = |point: &PointReader| -> BTreeMap<_, _> {
        let streams = point.manifest().streams.iter();
        streams.map(|stream| (stream.header.name.clone(), (stream.rows, stream.digest.to_string()))).collect()
    };
    assert_eq!(sums(found), sums(expected), "after {after}");
    let documents = |point: &PointReader| point.manifest().blobs.iter().map(|blob| blob.name.clone()).collect::<Vec<_>>();
    assert_eq!(documents(found), documents(expected), "after {after}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_turns_over_tables_of_any_key_make_the_export_that_one_would_and_it_comes_back() {
    let (cluster, _guard) = quiet().await;
    let world = World::on(cluster, "turns", Layout::Database { database: "turns".into() });
    fixture::database(cluster, "turns");
    cluster.sql("turns", &[OTHERS.to_owned(), KEYS.map(table).concat()].concat());
    let expected = world.open(&world.export().await).await;

    let (id, mut earlier, mut turns) = (fresh_point(&world), None, 0);
    let (point, written) = loop {
        turns += 1;
        assert!(turns < 100, "it does not come to an end");
        match world.turn(id, earlier, &after(14 + turns % 13)).await {
            Turned::Whole(point, written) => break (point, written),
            Turned::Paused { run, began_anew } => {
                assert!(!began_anew, "nothing was written, but turn {turns} began anew");
                earlier = Some(run);
            }
        }
    };
    assert!(turns > 10, "{turns} turns");
    assert!(written.chunks_reused * 10 > written.chunks * 8, "{written:?}: most of it was read in earlier turns");
    let point = world.open(&point).await;
    assert_equal(&point, &expected, &format!("{turns} turns")).await;

    let before = cluster.dump("turns", None);
    cluster.sql("postgres", "DROP DATABASE turns");
    assert!(world.restore(&point).await.unwrap().changed);
    assert!(before == cluster.dump("turns", None));
    prove(&cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap();
    cluster.sql("postgres", "DROP DATABASE turns");
}

/// Two tables of several batches, one with an awkward key, and two that one batch holds.
const SMALL: &str = r#"SET ROLE app_owner; CREATE SCHEMA app; SET search_path = app;
CREATE TABLE long (tenant_id text COLLATE "en-x-icu", n int, body text, PRIMARY KEY (tenant_id, n));
INSERT INTO long SELECT (ARRAY['acme', 'Acme', 'äcme', E'a\\c''m\te'])[1 + i % 4], i, repeat('x', 700) FROM generate_series(1, 2000) i;
CREATE TABLE by_uuid (id uuid PRIMARY KEY, tenant_id text, body text);
INSERT INTO by_uuid SELECT md5(i::text)::uuid, 'acme', repeat('x', 700) FROM generate_series(1, 1000) i;
CREATE TABLE little (id int PRIMARY KEY, tenant_id text); INSERT INTO little VALUES (1, 'acme');
CREATE TABLE nothing (id int PRIMARY KEY, tenant_id text);"#;
const NO_KEY: &str = "SET ROLE app_owner; CREATE TABLE app.heap (body text); INSERT INTO app.heap SELECT repeat('x', 700) FROM generate_series(1, 1000) i";

/// Stops an export at every place where it may be told to, and goes on once.
async fn assert_every_stop_is_gone_on_from(world: &World, database: &str) {
    let expected = world.open(&world.export().await).await;
    let mut places = 0;
    loop {
        let id = fresh_point(world);
        let run = match world.turn(id, None, &after(places)).await {
            Turned::Paused { run, .. } => run,
            Turned::Whole(..) => break,
        };
        let (point, _) = whole(world, id, Some(run)).await;
        assert_equal(&world.open(&point).await, &expected, &format!("a stop at place {places}")).await;
        places += 1;
    }
    assert!(places >= 10, "{places} places to stop at");
    world.cluster.sql("postgres", &format!("DROP DATABASE {database}"));
}

#[tokio::test]
async fn a_stop_before_the_first_batch_in_the_last_or_anywhere_between_is_gone_on_from() {
    let (cluster, _guard) = quiet().await;
    let world = World::on(cluster, "stops", Layout::Database { database: "stops".into() });
    fixture::database(cluster, "stops");
    cluster.sql("stops", SMALL);
    cluster.sql("stops", NO_KEY);
    assert_every_stop_is_gone_on_from(&world, "stops").await;
}

#[tokio::test]
async fn a_pooled_tenants_export_is_gone_on_from_with_its_rows_alone() {
    let (cluster, _guard) = quiet().await;
    let layout = Layout::Pool { database: "pooled".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let world = World::on(cluster, "acme", layout);
    fixture::database(cluster, "pooled");
    cluster.sql("pooled", SMALL);
    assert_every_stop_is_gone_on_from(&world, "pooled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_reads_nothing_loses_nothing() {
    let (cluster, _guard) = quiet().await;
    let world = World::on(cluster, "idle", Layout::Database { database: "idle".into() });
    fixture::database(cluster, "idle");
    cluster.sql("idle", &format!("SET ROLE app_owner; CREATE SCHEMA app; {}", table(KEYS[0])));
    let expected = world.open(&world.export().await).await;
    let id = fresh_point(&world);
    let (first, _) = paused(&world, id, None, 9).await;
    let (idle, began_anew) = paused(&world, id, Some(first), 0).await;
    assert!(!began_anew);
    let (point, written) = whole(&world, id, Some(idle)).await;
    assert!(written.chunks_reused > 0, "{written:?}: what the first run read is lost");
    let point = world.open(&point).await;
    assert_equal(&point, &expected, "a turn that read nothing").await;
    assert!(point.stream("\"app\".\"a_int\"").unwrap().slices() > 2, "one at least was interrupted");
    cluster.sql("postgres", "DROP DATABASE idle");
}

#[tokio::test]
async fn a_write_between_two_turns_makes_the_next_begin_anew_and_be_right() {
    let (cluster, _guard) = quiet().await;
    let world = World::on(cluster, "written", Layout::Database { database: "written".into() });
    fixture::database(cluster, "written");
    cluster.sql("written", SMALL);
    cluster.sql("written", NO_KEY);
    for write in [
        "UPDATE app.long SET body = 'changed' WHERE n = 1",
        "DELETE FROM app.by_uuid WHERE id = (SELECT min(id::text)::uuid FROM app.by_uuid)",
        "INSERT INTO app.heap VALUES ('new')",
        "ALTER TABLE app.little ADD COLUMN more int",
        "CLUSTER app.long USING long_pkey",
    ] {
        let id = fresh_point(&world);
        let (first, began_anew) = paused(&world, id, None, 8).await;
        assert!(!began_anew, "there was nothing to go on from");
        let (second, began_anew) = paused(&world, id, Some(first), 8).await;
        assert!(!began_anew, "nothing was written before: {write}");
        cluster.sql("written", write);
        let (third, began_anew) = paused(&world, id, Some(second), 8).await;
        assert!(began_anew, "{write}");
        let (point, written) = whole(&world, id, Some(third)).await;
        assert!(written.chunks_reused > 0, "what the third run read still counts");
        let point = world.open(&point).await;
        prove(&cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap();
        assert_equal(&point, &world.open(&world.export().await).await, write).await;
    }
    cluster.sql("postgres", "DROP DATABASE written");
}

#[tokio::test]
async fn reading_and_maintenance_between_two_turns_change_no_view() {
    let (cluster, _guard) = quiet().await;
    let world = World::on(cluster, "kept", Layout::Database { database: "kept".into() });
    fixture::database(cluster, "kept");
    cluster.sql("kept", SMALL);
    cluster.sql("kept", NO_KEY);
    cluster.sql("kept", "DELETE FROM app.long WHERE n % 7 = 0; DELETE FROM app.heap WHERE ctid < '(20,0)'");
    let expected = world.open(&world.export().await).await;
    let id = fresh_point(&world);
    let (first, _) = paused(&world, id, None, 8).await;
    cluster.sql("kept", "CHECKPOINT; VACUUM app.long; VACUUM app.heap; SELECT count(*) FROM app.long");
    let (second, began_anew) = paused(&world, id, Some(first), 8).await;
    assert!(!began_anew);
    let (point, _) = whole(&world, id, Some(second)).await;
    assert_equal(&world.open(&point).await, &expected, "maintenance").await;
    cluster.sql("postgres", "DROP DATABASE kept");
}

#[tokio::test]
async fn an_account_that_is_not_understood_is_begun_anew() {
    let (cluster, _guard) = quiet().await;
    let world = World::on(cluster, "strange", Layout::Database { database: "strange".into() });
    fixture::database(cluster, "strange");
    cluster.sql("strange", SMALL);
    let id = fresh_point(&world);
    let strange = world.suspend(id, serde_json::json!({"view": 7})).await;
    let (_, began_anew) = paused(&world, id, Some(strange), 8).await;
    assert!(began_anew);
    cluster.sql("postgres", "DROP DATABASE strange");
}
