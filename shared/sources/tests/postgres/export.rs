//! Exports: complete, consistent, and digested as a live scope is.

use domain::tenant::Layout;
use sources::postgres::digest;
use vault::Digester;

use crate::{cluster::cluster, fixture, world::World};

#[tokio::test]
async fn an_export_and_a_digest_of_the_same_data_are_equal() {
    let world = World::new("same", Layout::Database { database: "tenant_same".into() });
    fixture::database(world.cluster, "tenant_same");
    fixture::application(world.cluster, "tenant_same", "app", 200);
    let (point, facts) = world.try_export(&world.scope).await.unwrap();
    let point = world.open(&point).await;
    let live = digest(&world.cluster.master(), &world.scope, &mut Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(live.differences(point.manifest()), Vec::<String>::new());
    assert_eq!(sources::postgres::DatabaseFacts::decode(&point.manifest().facts).unwrap(), facts);
    let left_out: Vec<_> = facts.left_out.iter().map(|left| left.name.as_str()).collect();
    assert_eq!(left_out, ["\"app\".\"cache\"", "\"app\".\"sessions\""]);
    let rows = |table: &str| facts.table(&format!("\"app\".\"{table}\"")).map(|table| table.rows);
    assert_eq!((rows("customers"), rows("measurements"), rows("measurements_2024")), (Some(200), Some(12), None));
    assert_eq!((rows("parent"), rows("child"), rows("nothing")), (Some(1), Some(1), Some(2)));

    world.cluster.sql("tenant_same", "UPDATE app.orders SET total = total + 0.00 WHERE id = 1");
    let again = digest(&world.cluster.master(), &world.scope, &mut Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(again.identity(), live.identity(), "a rewritten row is the same row");
    world.cluster.sql("tenant_same", "UPDATE app.customers SET balance = '1.100' WHERE balance::text = '1.10'");
    let changed =
        digest(&world.cluster.master(), &world.scope, &mut Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(changed.differences(point.manifest()).len(), 1, "equal is not identical");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_of_one_moment_while_money_moves() {
    let world = World::new("bank", Layout::Database { database: "bank".into() });
    fixture::database(world.cluster, "bank");
    // The second table is read after the first: long enough after for transfers to happen in between.
    world.cluster.sql(
        "bank",
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY, amount int, filler text);
        INSERT INTO app.a SELECT i, 1000, repeat('x', 1000) FROM generate_series(1, 3000) i;
        CREATE TABLE app.b (LIKE app.a INCLUDING ALL); INSERT INTO app.b SELECT * FROM app.a; CREATE TABLE app.stop ()",
    );
    let transfers = std::thread::spawn(|| {
        cluster().sql("bank", "DO $$DECLARE i int := 0; BEGIN WHILE NOT EXISTS (SELECT FROM app.stop) LOOP i := i + 1;
            UPDATE app.a SET amount = amount - 1 WHERE id = 1 + i % 3000; UPDATE app.b SET amount = amount + 1 WHERE id = 1 + (i * 7) % 3000; COMMIT;
            END LOOP; END$$")
    });
    let mut totals = std::collections::BTreeSet::new();
    for _ in 0..5 {
        let point = world.open(&world.export().await).await;
        let mut total = 0;
        for table in ["a", "b"] {
            let (mut reader, mut text) = (point.stream(&format!("\"app\".\"{table}\"")).await.unwrap(), Vec::new());
            while let Some(lines) = reader.next().await.unwrap() {
                text.extend_from_slice(&lines);
            }
            let text = String::from_utf8(text).unwrap();
            total += text.lines().map(|line| line.split('\t').nth(1).unwrap().parse::<i64>().unwrap()).sum::<i64>();
        }
        totals.insert(total);
    }
    world.cluster.sql("bank", "INSERT INTO app.stop DEFAULT VALUES");
    transfers.join().unwrap();
    assert_eq!(totals, [6_000_000].into());
}

#[tokio::test]
async fn no_password_reaches_the_servers_log() {
    let world = World::new("logged", Layout::Database { database: "logged".into() });
    fixture::database(world.cluster, "logged");
    world.cluster.sql("logged", "SET ROLE app_owner; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)");
    let point = world.open(&world.export().await).await;
    world.cluster.sql("logged", "DELETE FROM t");
    assert!(world.restore(&point).await.unwrap().changed);
    let log = world.cluster.log();
    let role = log.lines().find(|line| line.contains(&format!("CREATE ROLE \"hf_restore_{}\"", world.id))).unwrap();
    assert!(role.contains("PASSWORD 'SCRAM-SHA-256$"), "{role}");
    assert!(!log.lines().any(|line| line.contains("holdfast") && line.contains("canary")));
}
