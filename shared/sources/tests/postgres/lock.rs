//! One restore at a time on one target.

use std::pin::Pin;

use domain::{Coded, ErrorCode, tenant::Layout};
use sources::postgres::restore::{Job, RestoreId, cleanup, drill, run};
use uuid::Uuid;

use crate::{
    cluster::{cluster, until},
    fixture,
    world::{World, scope},
};

/// Starts a superuser's session, which a restore cannot end, and waits until it sleeps.
pub(crate) async fn hold(database: &'static str, sql: String) -> std::thread::JoinHandle<()> {
    let held = std::thread::spawn(move || {
        let _ = std::panic::catch_unwind(|| cluster().sql(database, &format!("{sql}; SELECT pg_sleep(120)")));
    });
    until(format!(
        "SELECT FROM pg_stat_activity WHERE datname = '{database}' AND query LIKE '%pg_sleep(120)' AND state = 'active'"
    ))
    .await;
    held
}

pub(crate) fn let_go(database: &str, held: std::thread::JoinHandle<()>) {
    let sql =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(120)' AND pid <> pg_backend_pid()";
    cluster().sql("postgres", &format!("{sql} AND datname = '{database}'"));
    held.join().unwrap();
}

/// Runs `first` until its cutover waits for a table that somebody writes to, then `meanwhile`, and then lets it go on.
fn while_it_waits<T>(
    database: &'static str,
    table: &str,
    first: impl Future<Output = T>,
    meanwhile: impl Future<Output = ()>,
) -> Pin<Box<impl Future<Output = T>>> {
    Box::pin(async move {
        let writer = hold(database, format!("BEGIN; LOCK TABLE {table} IN ROW EXCLUSIVE MODE")).await;
        let blocked = format!(
            "SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = '{database}' AND NOT l.granted"
        );
        let meanwhile = async {
            until(blocked).await;
            meanwhile.await;
            let_go(database, writer);
        };
        tokio::join!(first, meanwhile).0
    })
}

#[tokio::test]
async fn nothing_else_begins_on_a_target_while_a_restore_is_at_work_there() {
    let world = World::new("locked", Layout::Schema { database: "locked".into(), schema: "one".into() });
    fixture::database(world.cluster, "locked");
    fixture::application(world.cluster, "locked", "one", 10);
    let point = world.open(&world.export().await).await;
    world.cluster.sql("locked", "DELETE FROM one.audit");
    let (master, tools) = (world.cluster.master(), world.cluster.tools());

    let outcome = while_it_waits("locked", "one.audit", world.restore(&point), async {
        let staged = || world.cluster.sql("locked", &format!("SELECT count(*) FROM hf_stage_{}.audit", world.id));
        assert_eq!(staged(), "7");
        let other = RestoreId::of(Uuid::from_u128(78));
        for id in [&world.id, &other] {
            let job = Job::new(&master, &tools, &world.scope, id, &point).unwrap();
            for error in [run(&job).await.unwrap_err(), drill(&job).await.unwrap_err(), cleanup(&job).await.unwrap_err()] {
                assert_eq!(error.code(), ErrorCode::Throttled, "{error}");
                assert!(error.to_string().starts_with(r#"another restore of "locked"."one" is at work"#), "{error}");
            }
        }
        assert_eq!(staged(), "7", "what the first had staged is still there");
        let neighbour = scope("neighbour", Layout::Schema { database: "locked".into(), schema: "two".into() });
        cleanup(&Job::new(&master, &tools, &neighbour, &other, &point).unwrap()).await.unwrap();
    })
    .await;
    assert!(outcome.unwrap().changed);
    assert!(!world.restore(&point).await.unwrap().changed, "the lock is free again");
    assert_eq!(world.cluster.leftovers("locked", &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn two_tenants_of_a_pool_are_restored_one_after_the_other() {
    let layout = || Layout::Pool { database: "locked pool".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let (acme, other) = (World::new("acme", layout()), World::new("other", layout()));
    fixture::pool(acme.cluster, "locked pool");
    let (of_acme, of_other) = (acme.open(&acme.export().await).await, other.open(&other.export().await).await);
    acme.cluster.sql("locked pool", "DELETE FROM app.orders WHERE customer = 7");
    let outcome = while_it_waits("locked pool", "app.orders", acme.restore(&of_acme), async {
        let error = other.restore(&of_other).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Throttled, "{error}");
    })
    .await;
    assert!(outcome.unwrap().changed);
    assert!(other.restore(&of_other).await.unwrap().changed);
}

#[tokio::test]
async fn a_restore_that_lost_its_lock_does_not_cut_over() {
    let pool = Layout::Pool { database: "lost".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    for (tenant, layout, table) in
        [("acme", pool, "app.orders"), ("silo", Layout::Schema { database: "lost".into(), schema: "one".into() }, "one.audit")]
    {
        let schema = &table[..3];
        let world = World::new(tenant, layout);
        if schema == "app" {
            fixture::pool(world.cluster, "lost");
            fixture::application(world.cluster, "lost", "one", 10);
        }
        let point = world.open(&world.export().await).await;
        world.cluster.sql("lost", &format!("DELETE FROM {table}"));
        let before = world.cluster.dump("lost", None);
        let done = while_it_waits("lost", table, world.restore(&point), async {
            let key = format!(r#"hashtextextended('holdfast restore "lost"."{schema}"', 0)"#);
            let holders = format!(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint << 32 | objid::bigint = {key}"
            );
            assert_eq!(world.cluster.sql("postgres", &holders), "t");
        })
        .await;
        let error = done.unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceUnreachable, "{error}");
        assert_eq!(world.cluster.dump("lost", None), before);
        assert_eq!(world.cluster.leftovers("lost", &world.id).await, Vec::<String>::new());
        assert!(world.restore(&point).await.unwrap().changed);
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_freed_stays_and_the_lock_goes() {
    let world = World::new("unfreed", Layout::Database { database: "unfreed".into() });
    fixture::database(world.cluster, "unfreed");
    fixture::application(world.cluster, "unfreed", "app", 10);
    let point = world.open(&world.export().await).await;
    world.cluster.sql("unfreed", "DELETE FROM app.audit");
    let before = world.cluster.dump("unfreed", None);
    let superuser = hold("unfreed", "SELECT 1".to_owned()).await;
    let error = world.restore(&point).await.unwrap_err();
    assert!(error.code() == ErrorCode::Throttled && error.to_string().contains("swapping"), "{error}");
    let_go("unfreed", superuser);
    assert_eq!(world.cluster.dump("unfreed", None), before);
    assert_eq!(world.cluster.leftovers("unfreed", &world.id).await, Vec::<String>::new());
    assert!(world.restore(&point).await.unwrap().changed);
}
