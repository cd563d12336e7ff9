//! Restores of one tenant's rows among others'.

use domain::{Coded, ErrorCode, request::Selection, tenant::Layout};
use sources::postgres::restore::{Job, drill, prove, run};

use crate::{
    fixture,
    world::{World, scope},
};

fn layout(database: &str) -> Layout {
    Layout::Pool { database: database.into(), schema: "app".into(), tenant_column: "tenant_id".into() }
}

fn world(tenant: &str, database: &str) -> World {
    let world = World::new(tenant, layout(database));
    fixture::pool(world.cluster, database);
    world
}

/// Everything in the pool but one tenant's rows: definitions, other tenants' rows, shared tables. Sequences may move on.
fn others(world: &World, database: &str, tenant: &str) -> Vec<String> {
    let lines = world.cluster.dump(database, Some("app")).into_iter();
    lines.filter(|line| !line.split('\t').any(|field| field == tenant) && !line.contains("setval")).collect()
}

fn rows(world: &World, database: &str, tenant: &str) -> Vec<String> {
    let lines = world.cluster.dump(database, Some("app")).into_iter();
    lines.filter(|line| line.split('\t').any(|field| field == tenant)).collect()
}

#[tokio::test]
async fn one_tenants_rows_come_back_and_nobody_elses_change() {
    let world = world("acme", "pool_one");
    let point = world.open(&world.export().await).await;
    let before = rows(&world, "pool_one", "acme");
    // As an application would: referenced rows replaced by others with the same unique values, values swapped, rows added.
    world.cluster.sql("pool_one", "SET session_replication_role = replica;
        DELETE FROM app.orders WHERE tenant_id = 'acme' AND customer > 10; DELETE FROM app.customers WHERE tenant_id = 'acme' AND id > 40;
        UPDATE app.customers SET id = id + 1000 WHERE tenant_id = 'acme' AND id = 5; UPDATE app.customers SET referred_by = 1005 WHERE tenant_id = 'acme' AND referred_by = 5;
        UPDATE app.orders SET customer = 1005, total = 1.1 WHERE tenant_id = 'acme' AND customer = 5;
        UPDATE app.customers SET doc = '{\"a\": 1}', mood = 'bad' WHERE tenant_id = 'acme' AND id = 7;
        DELETE FROM app.tokens WHERE tenant_id = 'acme'; INSERT INTO app.tokens (tenant_id, token) VALUES ('acme', 'new');
        INSERT INTO app.changes VALUES ('before')");
    let neighbours = others(&world, "pool_one", "acme");
    let outcome = world.restore(&point).await.unwrap();
    assert_eq!(rows(&world, "pool_one", "acme"), before);
    assert_eq!(others(&world, "pool_one", "acme"), neighbours);
    let undo = outcome.undo_copy.unwrap();
    assert_eq!(world.cluster.sql("pool_one", &format!("SELECT token FROM {undo}.tokens")), "new");
    assert_eq!(prove(&world.cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap().rows, outcome.rows);
    assert!(!world.restore(&point).await.unwrap().changed);
    assert_eq!(world.cluster.leftovers("pool_one", &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_whose_every_row_is_gone_comes_back_and_sequences_move_past_it() {
    let world = world("o'hara", "pool_gone");
    let point = world.open(&world.export().await).await;
    let before = rows(&world, "pool_gone", "o'hara");
    world.cluster.sql("pool_gone", "SET session_replication_role = replica; DELETE FROM app.orders WHERE tenant_id = 'o''hara'; DELETE FROM app.tokens WHERE tenant_id = 'o''hara';
        DELETE FROM app.customers WHERE tenant_id = 'o''hara'; SELECT setval('app.tokens_id_seq', 1); SELECT setval('app.orders_id_seq', 5000)");
    let neighbours = others(&world, "pool_gone", "o'hara");
    world.restore(&point).await.unwrap();
    assert_eq!(rows(&world, "pool_gone", "o'hara"), before);
    assert_eq!(others(&world, "pool_gone", "o'hara"), neighbours);
    let sequences = "SELECT last_value >= (SELECT max(id) FROM app.tokens WHERE tenant_id = 'o''hara') FROM app.tokens_id_seq; SELECT last_value FROM app.orders_id_seq";
    assert_eq!(world.cluster.sql("pool_gone", sequences), "t\n5000");
    assert!(!world.restore(&point).await.unwrap().changed);
}

#[tokio::test]
async fn a_key_that_another_tenant_took_refuses_the_whole() {
    let world = world("acme", "pool_taken");
    let point = world.open(&world.export().await).await;
    world.cluster.sql(
        "pool_taken",
        "SET session_replication_role = replica; DELETE FROM app.customers WHERE tenant_id = 'acme' AND id = 3;
        UPDATE app.tokens SET tenant_id = 'other' WHERE id = (SELECT min(id) FROM app.tokens WHERE tenant_id = 'acme')",
    );
    check_refused(&world, "pool_taken", &point, ErrorCode::RestoreRefused, "1 keys of \"app\".\"tokens\"").await;
}

#[tokio::test]
async fn a_row_of_another_tenant_that_would_dangle_refuses_the_whole() {
    let world = world("acme", "pool_dangle");
    let point = world.open(&world.export().await).await;
    let token = "INSERT INTO app.tokens (id, tenant_id, token) VALUES (9000, 'acme', 'new')";
    world.cluster.sql("pool_dangle", &format!("{token}; INSERT INTO app.uses VALUES ('other', 9000)"));
    check_refused(&world, "pool_dangle", &point, ErrorCode::RestoreRefused, "1 rows of \"app\".\"uses\"").await;

    world.cluster.sql("pool_dangle", "DELETE FROM app.uses; SET ROLE app_owner;
        CREATE TABLE app.shared_uses (token int REFERENCES app.tokens ON DELETE CASCADE); INSERT INTO app.shared_uses VALUES (9000)");
    check_refused(&world, "pool_dangle", &point, ErrorCode::RestoreRefused, "1 rows of \"app\".\"shared_uses\"").await;
}

#[tokio::test]
async fn tables_that_changed_since_refuse_the_whole() {
    let world = world("acme", "pool_changed");
    let point = world.open(&world.export().await).await;
    world
        .cluster
        .sql("pool_changed", "ALTER TABLE app.tokens DROP COLUMN token; DELETE FROM app.tokens WHERE tenant_id = 'acme'");
    check_refused(&world, "pool_changed", &point, ErrorCode::RestoreRefused, "lost column \"token\"").await;
}

#[tokio::test]
async fn a_recovery_point_with_another_tenants_rows_refuses_the_whole() {
    let world = world("acme", "pool_mixed");
    let (point, _) = world.try_export(&scope("other", layout("pool_mixed"))).await.unwrap();
    let point = world.open(&point).await;
    check_refused(&world, "pool_mixed", &point, ErrorCode::RestoreRefused, "not tenant acme's").await;
}

#[tokio::test]
async fn a_recovery_point_that_does_not_match_itself_is_refused() {
    let world = world("acme", "pool_spoilt");
    let point = world.spoilt(&world.open(&world.export().await).await).await;
    check_refused(&world, "pool_spoilt", &point, ErrorCode::ContentMismatch, "other content").await;
}

async fn check_refused(world: &World, database: &str, point: &vault::PointReader, code: ErrorCode, says: &str) {
    let before = world.cluster.dump(database, None);
    let error = world.restore(point).await.unwrap_err();
    assert!(error.code() == code && error.to_string().contains(says), "{error}");
    assert_eq!(world.cluster.dump(database, None), before);
    assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn approved_data_is_compared_again_under_the_lock() {
    let world = world("acme", "pool_drift");
    let point = world.open(&world.export().await).await;
    world.cluster.sql("pool_drift", "DELETE FROM app.tokens WHERE tenant_id = 'acme'");
    let (master, tools) = (world.cluster.master(), world.cluster.tools());
    let preview = sources::postgres::compare(&master, &world.scope, &point, &Selection::default()).await.unwrap();
    let effect = preview.tables.iter().find(|effect| effect.table.contains("tokens")).unwrap();
    assert_eq!([effect.returned, effect.overwritten, effect.destroyed, effect.unchanged], [50, 0, 0, 0]);
    assert!(!preview.tables.iter().any(|effect| effect.table.contains("sessions")), "a pool's excluded tables stay as they are");
    let approved = || Job::new(&master, &tools, &world.scope, &world.id, &point).unwrap().approved_for(&preview.live_digest);
    world.cluster.sql("pool_drift", "INSERT INTO app.tokens (tenant_id, token) VALUES ('acme', 'drift')");
    assert_eq!(run(&approved()).await.unwrap_err().code(), ErrorCode::TargetDrifted);
    world.cluster.sql(
        "pool_drift",
        "DELETE FROM app.tokens WHERE token = 'drift'; INSERT INTO app.tokens (tenant_id, token) VALUES ('other', 'not ours')",
    );
    assert!(run(&approved()).await.unwrap().changed);
}

#[tokio::test]
async fn a_restore_test_of_a_pooled_tenant_touches_nothing() {
    let world = world("acme", "pool_drill");
    let point = world.open(&world.export().await).await;
    let before = world.cluster.dump("pool_drill", None);
    let (master, tools) = (world.cluster.master(), world.cluster.tools());
    let job = Job::new(&master, &tools, &world.scope, &world.id, &point).unwrap();
    assert_eq!(drill(&job).await.unwrap().len(), 4);
    assert_eq!(world.cluster.dump("pool_drill", None), before);
}
