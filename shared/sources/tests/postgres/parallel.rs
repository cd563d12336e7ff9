//! Several sessions on one scope: one view, and one fate.

use std::collections::BTreeSet;

use domain::{Coded, ErrorCode, tenant::Layout};
use sources::postgres::digest;

use crate::{
    cluster::{cluster, until},
    fixture,
    recorder::Recorder,
    world::World,
};

/// Two tables, each large enough on disk to be read in slices, and a sign to stop.
const BANK: &str = "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY, amount int, filler text) WITH (fillfactor = 10);
    INSERT INTO app.a SELECT i, 1000, repeat('x', 700) FROM generate_series(1, 4300) i;
    CREATE TABLE app.b (LIKE app.a INCLUDING ALL) WITH (fillfactor = 10); INSERT INTO app.b SELECT * FROM app.a; ANALYZE app.a, app.b;
    CREATE TABLE app.stop ()";

/// Moves money from one table to the other until told to stop.
const TRANSFERS: &str = "DO $$DECLARE i int := 0; BEGIN WHILE NOT EXISTS (SELECT FROM app.stop) LOOP i := i + 1;
    UPDATE app.a SET amount = amount - 1 WHERE id = 1 + i % 4300; UPDATE app.b SET amount = amount + 1 WHERE id = 1 + (i * 7) % 4300; COMMIT;
    END LOOP; END$$";

fn total(text: &str) -> i64 {
    text.lines().map(|line| line.split('\t').nth(1).unwrap().parse::<i64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_side_by_side_is_of_one_moment_while_money_moves() {
    let world = World::new("bank", Layout::Database { database: "bank".into() });
    fixture::database(world.cluster, "bank");
    world.cluster.sql("bank", BANK);
    let transfers = std::thread::spawn(|| cluster().sql("bank", TRANSFERS));
    let (mut totals, mut in_work_most) = (BTreeSet::new(), 0);
    for _ in 0..40 {
        let recorder = Recorder::default();
        digest(&world.cluster.master(), &world.scope, &recorder).await.unwrap().unwrap();
        let [a, b] = ["a", "b"].map(|table| recorder.slices(table));
        assert!(a.len() >= 2 && b.len() >= 2);
        totals.insert(total(&a.concat()) + total(&b.concat()));
        in_work_most = in_work_most.max(recorder.in_work_most());
    }
    for _ in 0..5 {
        let (point, mut text) = (world.open(&world.export().await).await, Vec::new());
        for table in ["a", "b"] {
            let stream = point.stream(&format!("\"app\".\"{table}\"")).unwrap();
            assert!(stream.slices() >= 2);
            let mut rows = stream.all();
            while let Some(lines) = rows.next().await.unwrap() {
                text.extend_from_slice(&lines);
            }
        }
        totals.insert(total(&String::from_utf8(text).unwrap()));
    }
    world.cluster.sql("bank", "INSERT INTO app.stop DEFAULT VALUES");
    transfers.join().unwrap();
    assert_eq!((totals, in_work_most), ([8_600_000].into(), 2));
}

/// A table whose slices are more than any buffer between server and reader holds.
fn long(world: &World, database: &str) {
    fixture::database(world.cluster, database);
    world.cluster.sql(
        database,
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.long (id int PRIMARY KEY, body text); ALTER TABLE app.long ALTER body SET STORAGE PLAIN;
        INSERT INTO app.long SELECT i, repeat('x', 7000) FROM generate_series(1, 10000) i; ANALYZE app.long",
    );
}

pub(crate) async fn until_no_session_is_left(database: &str) {
    let left = format!("SELECT FROM pg_stat_activity WHERE datname = '{database}' AND application_name = 'holdfast'");
    until(format!("SELECT WHERE NOT EXISTS ({left})")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_that_loses_one_of_its_sessions_fails_and_leaves_none() {
    let world = World::new("killed", Layout::Database { database: "killed".into() });
    long(&world, "killed");
    // The session that began last is the one beside the first.
    let reading =
        "SELECT pid, row_number() OVER (ORDER BY backend_start DESC) AS place, count(*) OVER () AS sessions FROM pg_stat_activity
        WHERE datname = 'killed' AND state = 'active' AND query LIKE 'COPY (SELECT%'";
    let killing = "CASE WHEN sessions = 2 AND place = 1 THEN pg_terminate_backend(pid) END";
    let killed = until(format!("SELECT FROM ({reading}) AS reading WHERE {killing}"));
    let (exported, ()) = tokio::join!(world.try_export(&world.scope), killed);
    let error = exported.err().unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnreachable, "{error}");
    until_no_session_is_left("killed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_are_not_taken_end_every_session() {
    let world = World::new("refused", Layout::Database { database: "refused".into() });
    long(&world, "refused");
    let recorder = Recorder::refusing("long");
    let error = digest(&world.cluster.master(), &world.scope, &recorder).await.unwrap_err();
    assert!(error.to_string().contains("refused by the test"), "{error}");
    until_no_session_is_left("refused").await;
}

#[tokio::test]
async fn a_server_with_one_connection_to_spare_is_read_by_one_session() {
    let world = World::new("narrow", Layout::Database { database: "narrow".into() });
    long(&world, "narrow");
    world.cluster.sql("postgres", "ALTER DATABASE narrow CONNECTION LIMIT 1");
    let recorder = Recorder::default();
    digest(&world.cluster.master(), &world.scope, &recorder).await.unwrap().unwrap();
    assert_eq!((recorder.slices("long").len(), recorder.in_work_most()), (2, 1));
    assert_eq!(recorder.slices("long").concat().lines().count(), 10_000);
}
