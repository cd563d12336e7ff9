//! Exports: complete, consistent, and digested as a live scope is.

use domain::tenant::Layout;
use sources::postgres::digest;
use vault::Digester;

use crate::{fixture, world::World};

#[tokio::test]
async fn an_export_and_a_digest_of_the_same_data_are_equal() {
    let world = World::new("same", Layout::Database { database: "tenant_same".into() });
    fixture::database(world.cluster, "tenant_same");
    fixture::application(world.cluster, "tenant_same", "app", 200);
    let (point, facts) = world.try_export(&world.scope).await.unwrap();
    let point = world.open(&point).await;
    let live = digest(&world.cluster.master(), &world.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(live.differences(point.manifest()), Vec::<String>::new());
    assert_eq!(sources::postgres::DatabaseFacts::decode(&point.manifest().facts).unwrap(), facts);
    let left_out: Vec<_> = facts.left_out.iter().map(|left| left.name.as_str()).collect();
    assert_eq!(left_out, ["\"app\".\"cache\"", "\"app\".\"sessions\""]);
    let rows = |table: &str| facts.table(&format!("\"app\".\"{table}\"")).map(|table| table.rows);
    assert_eq!((rows("customers"), rows("measurements"), rows("measurements_2024")), (Some(200), Some(12), None));
    assert_eq!((rows("parent"), rows("child"), rows("nothing")), (Some(1), Some(1), Some(2)));

    world.cluster.sql("tenant_same", "UPDATE app.orders SET total = total + 0.00 WHERE id = 1");
    let again = digest(&world.cluster.master(), &world.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(again.identity(), live.identity(), "a rewritten row is the same row");
    world.cluster.sql("tenant_same", "UPDATE app.customers SET balance = '1.100' WHERE balance::text = '1.10'");
    let changed = digest(&world.cluster.master(), &world.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(changed.differences(point.manifest()).len(), 1, "equal is not identical");
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
