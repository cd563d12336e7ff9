//! Restores of tenants that have a database or a schema to themselves.

use domain::{Coded, ErrorCode, request::Selection, tenant::Layout};
use sources::postgres::{
    LiveDigest, compare,
    restore::{Job, RestoreId, cleanup, drill, prove, run},
};
use uuid::Uuid;

use crate::{cluster::cluster, fixture, world::World};

/// Differences between two dumps. An excluded or unlogged table's rows are the only ones that may be gone.
fn assert_same(before: &[String], after: &[String]) {
    let missing: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let surplus: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    let expected = |line: &&&String| ["1\tgone after a restore", "1"].contains(&line.as_str());
    assert!(missing.iter().all(|line| expected(&line)) && surplus.is_empty(), "missing: {missing:#?}\nsurplus: {surplus:#?}");
}

#[tokio::test]
async fn a_dropped_database_comes_back_whole() {
    let world = World::new("dropped", Layout::Database { database: "tenant_dropped".into() });
    fixture::database(world.cluster, "tenant_dropped");
    fixture::application(world.cluster, "tenant_dropped", "app", 300);
    fixture::application(world.cluster, "tenant_dropped", "Reports 2024", 20);
    world.cluster.sql(
        "tenant_dropped",
        "GRANT CREATE ON SCHEMA public TO app_owner; ALTER TABLE app.parent OWNER TO other_owner;
        ALTER DATABASE tenant_dropped SET search_path = app, \"$user\"; ALTER DATABASE tenant_dropped SET statement_timeout = '5min';
        REVOKE CONNECT ON DATABASE tenant_dropped FROM PUBLIC; GRANT CONNECT ON DATABASE tenant_dropped TO app_user;
        COMMENT ON DATABASE tenant_dropped IS 'a tenant''s'; CREATE EXTENSION citext SCHEMA public;",
    );
    let properties = "SELECT pg_get_userbyid(datdba), (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a), datcollate, encoding, shobj_description(oid, 'pg_database'),
        (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid) FROM pg_database d WHERE datname = 'tenant_dropped'";
    let (before, properties_before) = (world.cluster.dump("tenant_dropped", None), world.cluster.sql("postgres", properties));
    let point = world.open(&world.export().await).await;

    world.cluster.sql("postgres", "DROP DATABASE tenant_dropped");
    let outcome = world.restore(&point).await.unwrap();
    assert!(outcome.changed && outcome.undo_copy.is_none(), "{outcome:?}");
    assert_same(&before, &world.cluster.dump("tenant_dropped", None));
    assert_eq!(world.cluster.sql("postgres", properties), properties_before);
    let filled = "SELECT doubled > 0 FROM app.a_totals_of_totals; SELECT relispopulated FROM pg_class WHERE oid = 'app.never_filled'::regclass";
    assert_eq!(world.cluster.sql("tenant_dropped", filled), "t\nf");
    let proof = prove(&world.cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap();
    assert_eq!((proof.rows, proof.notes.as_slice()), (outcome.rows, [].as_slice()));

    let again = world.restore(&point).await.unwrap();
    assert!(!again.changed, "{again:?}");
    assert_eq!(world.cluster.leftovers("tenant_dropped", &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_silo_is_put_back_under_a_busy_application_and_what_was_there_is_kept() {
    let world = World::new("silo", Layout::Silo { database: "tenant silo".into() });
    fixture::database(world.cluster, "tenant silo");
    fixture::application(world.cluster, "tenant silo", "app", 100);
    let before = world.cluster.dump("tenant silo", None);
    let point = world.open(&world.export().await).await;
    world.cluster.sql(
        "tenant silo",
        "DELETE FROM app.\"Order Lines\"; UPDATE app.audit SET what = 'changed'; DROP VIEW app.turnover;
        SET ROLE app_owner; CREATE TABLE app.new_table AS SELECT 1 AS one",
    );

    let busy = std::thread::spawn(|| {
        let _ = std::panic::catch_unwind(|| cluster().sql_as("app_user", "tenant silo", "SELECT pg_sleep(60)"));
    });
    let outcome = world.restore(&point).await.unwrap();
    busy.join().unwrap();
    assert_same(&before, &world.cluster.dump("tenant silo", None));
    let undo = outcome.undo_copy.unwrap();
    assert_eq!(world.cluster.sql(&undo, "SELECT DISTINCT what FROM app.audit"), "changed");
    assert!(!world.restore(&point).await.unwrap().changed);

    // Once carried out, a request is used up: what changed since is not overwritten by running it once more.
    world.cluster.sql("tenant silo", "DELETE FROM app.audit");
    let error = world.restore(&point).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::RestoreRefused, "{error}");
    assert_eq!(world.cluster.leftovers("tenant silo", &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_schema_comes_back_beside_neighbours_that_stay_untouched() {
    let world = World::new("one", Layout::Schema { database: "shared".into(), schema: "tenant \"one\"".into() });
    fixture::database(world.cluster, "shared");
    fixture::application(world.cluster, "shared", "tenant \"\"one\"\"", 100);
    fixture::application(world.cluster, "shared", "tenant_two", 50);
    world.cluster.sql("shared", "CREATE EXTENSION citext SCHEMA public; SET ROLE app_owner;
        CREATE TABLE \"tenant \"\"one\"\"\".folded (id public.citext PRIMARY KEY); INSERT INTO \"tenant \"\"one\"\"\".folded VALUES ('ÄbC')");
    let schema = Some("tenant \"\"one\"\"");
    let (before, neighbour) = (world.cluster.dump("shared", schema), world.cluster.dump("shared", Some("tenant_two")));
    let point = world.open(&world.export().await).await;

    world
        .cluster
        .sql("shared", "UPDATE \"tenant \"\"one\"\"\".customers SET name = 'overwritten'; TRUNCATE \"tenant \"\"one\"\"\".audit");
    let outcome = world.restore(&point).await.unwrap();
    assert!(outcome.undo_copy.is_some());
    assert_same(&before, &world.cluster.dump("shared", schema));
    assert!(prove(&world.cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap().notes.is_empty());
    assert!(!world.restore(&point).await.unwrap().changed);

    world.cluster.sql("shared", "DROP SCHEMA \"tenant \"\"one\"\"\" CASCADE");
    let second = RestoreId::of(Uuid::from_u128(77));
    assert!(world.restore_as(&point, &second).await.unwrap().undo_copy.is_none());
    assert_same(&before, &world.cluster.dump("shared", schema));
    assert_same(&neighbour, &world.cluster.dump("shared", Some("tenant_two")));
    for id in [&world.id, &second] {
        assert_eq!(world.cluster.leftovers("shared", id).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_schema_that_others_refer_to_is_not_swapped() {
    let world = World::new("referred", Layout::Schema { database: "referred".into(), schema: "one".into() });
    fixture::database(world.cluster, "referred");
    fixture::application(world.cluster, "referred", "one", 10);
    let point = world.open(&world.export().await).await;
    world.cluster.sql(
        "referred",
        "SET ROLE app_owner; CREATE SCHEMA spy; CREATE VIEW spy.view AS SELECT * FROM one.audit; DELETE FROM one.audit",
    );
    let before = world.cluster.dump("referred", None);
    let error = world.restore(&point).await.unwrap_err();
    assert!(error.code() == ErrorCode::RestoreRefused && error.to_string().contains("view spy.view"), "{error}");
    assert_eq!(world.cluster.dump("referred", None), before);
    assert_eq!(world.cluster.leftovers("referred", &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_fails_its_check_is_never_cut_over_and_leaves_nothing() {
    for (tenant, layout) in [
        ("bad-db", Layout::Database { database: "bad_database".into() }),
        ("bad-schema", Layout::Schema { database: "bad_database".into(), schema: "app".into() }),
    ] {
        let world = World::new(tenant, layout);
        if tenant == "bad-db" {
            fixture::database(world.cluster, "bad_database");
            fixture::application(world.cluster, "bad_database", "app", 10);
        }
        let point = world.spoilt(&world.open(&world.export().await).await).await;
        let before = world.cluster.dump("bad_database", None);
        let error = world.restore(&point).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentMismatch, "{error}");
        assert_eq!(world.cluster.dump("bad_database", None), before);
        assert_eq!(world.cluster.leftovers("bad_database", &world.id).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn an_attempt_that_died_is_cleared_and_done_again() {
    let world = World::new("died", Layout::Database { database: "tenant_died".into() });
    fixture::database(world.cluster, "tenant_died");
    fixture::application(world.cluster, "tenant_died", "app", 10);
    let point = world.open(&world.export().await).await;
    world.cluster.sql("tenant_died", "DELETE FROM app.audit");
    let (stage, role) = (format!("hf_stage_{}", world.id), format!("hf_restore_{}", world.id));
    world.cluster.sql(
        "postgres",
        &format!("SET ROLE master; CREATE ROLE {role} LOGIN; GRANT {role} TO master; CREATE DATABASE {stage} OWNER {role}"),
    );
    assert_eq!(world.cluster.leftovers("postgres", &world.id).await.len(), 2);
    assert!(world.restore(&point).await.unwrap().changed);
    assert_eq!(world.cluster.leftovers("postgres", &world.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn live_data_other_than_the_approved_is_left_alone() {
    let world = World::new("drift", Layout::Database { database: "tenant_drift".into() });
    fixture::database(world.cluster, "tenant_drift");
    fixture::application(world.cluster, "tenant_drift", "app", 50);
    let point = world.open(&world.export().await).await;
    let (master, tools) = (world.cluster.master(), world.cluster.tools());
    world.cluster.sql("tenant_drift", "SET session_replication_role = replica; DELETE FROM app.customers WHERE email < 'user2'; UPDATE app.orders SET total = 0 WHERE id = 1;
        INSERT INTO app.parent VALUES (9); ALTER TABLE app.big ADD COLUMN extra int; INSERT INTO app.audit VALUES ('2024-01-01', 'same')");
    let preview = compare(&master, &world.scope, &point, &Selection::default()).await.unwrap();
    let count = |table: &str| {
        let effect = preview.tables.iter().find(|effect| effect.table == table).unwrap();
        [effect.returned, effect.overwritten, effect.destroyed, effect.unchanged]
    };
    assert_eq!(count("\"app\".\"customers\""), [11, 0, 0, 39]);
    assert_eq!(count("\"app\".\"orders\""), [0, 1, 0, 49]);
    assert_eq!(count("\"app\".\"parent\""), [0, 0, 1, 1]);
    assert_eq!(count("\"app\".\"audit\""), [0, 0, 1, 7]);
    assert_eq!(count("\"app\".\"big\""), [0, 0, 0, 3]);
    assert_eq!(count("\"app\".\"sessions\""), [0, 0, 1, 0]);
    assert!(preview.notes.iter().any(|note| note.contains("gained column")), "{:?}", preview.notes);

    world.cluster.sql("tenant_drift", "INSERT INTO app.parent VALUES (10)");
    let approved = || Job::new(&master, &tools, &world.scope, &world.id, &point).unwrap().approved_for(&preview.live_digest);
    let error = run(&approved()).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TargetDrifted, "{error}");
    world.cluster.sql("tenant_drift", "DELETE FROM app.parent WHERE id = 10");
    assert!(run(&approved()).await.unwrap().changed);

    world.cluster.sql("postgres", "DROP DATABASE tenant_drift");
    let preview = compare(&master, &world.scope, &point, &Selection::default()).await.unwrap();
    assert_eq!(preview.live_digest, LiveDigest::ABSENT);
}

#[tokio::test]
async fn a_restore_test_leaves_nothing_and_touches_nothing() {
    for (tenant, layout) in [
        ("drill-db", Layout::Database { database: "drilled".into() }),
        ("drill-schema", Layout::Schema { database: "drilled".into(), schema: "app".into() }),
    ] {
        let world = World::new(tenant, layout);
        if tenant == "drill-db" {
            fixture::database(world.cluster, "drilled");
            fixture::application(world.cluster, "drilled", "app", 20);
        }
        let point = world.open(&world.export().await).await;
        world.cluster.sql("drilled", "DELETE FROM app.audit");
        let before = world.cluster.dump("drilled", None);
        let (master, tools) = (world.cluster.master(), world.cluster.tools());
        let job = Job::new(&master, &tools, &world.scope, &world.id, &point).unwrap();
        let tables = drill(&job).await.unwrap();
        assert_eq!(tables.len(), point.manifest().streams.len());
        assert_eq!(world.cluster.dump("drilled", None), before);
        assert_eq!(world.cluster.leftovers("drilled", &world.id).await, Vec::<String>::new());
        cleanup(&job).await.unwrap();
        world.cluster.sql("drilled", "INSERT INTO app.audit VALUES (NULL, NULL)");
    }
}

#[tokio::test]
async fn a_tenants_code_gains_nothing_from_a_restore() {
    let world = World::new("evil", Layout::Database { database: "tenant_evil".into() });
    fixture::database(world.cluster, "tenant_evil");
    world.cluster.sql("tenant_evil", "SET ROLE app_owner; CREATE SCHEMA app;
        CREATE FUNCTION app.grab() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$BEGIN
            BEGIN EXECUTE 'CREATE ROLE pwned_by_' || current_user; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN true; END$$;
        CREATE FUNCTION app.evil() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN app.grab(); END$$;
        CREATE TABLE app.trap (id int PRIMARY KEY CHECK (app.evil()), twice int GENERATED ALWAYS AS (CASE WHEN app.evil() THEN id * 2 END) STORED);
        CREATE INDEX ON app.trap ((id > 0 AND app.evil())); INSERT INTO app.trap VALUES (1), (2);
        CREATE FUNCTION app.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT ''trapped'''; RESET ROLE;
        ALTER DATABASE tenant_evil SET search_path = app, pg_catalog; ALTER DATABASE tenant_evil SET \"DateStyle\" = 'SQL, DMY'");
    world.cluster.sql("postgres", "DROP ROLE IF EXISTS pwned_by_admin");
    let point = world.open(&world.export().await).await;
    world.cluster.sql("tenant_evil", "SET ROLE app_owner; DELETE FROM app.trap");
    assert!(world.restore(&point).await.unwrap().changed);
    let gained = world.cluster.sql("postgres", "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'pwned%'");
    assert_eq!(gained, "");
}

#[tokio::test]
async fn a_restore_into_a_server_without_a_role_names_it() {
    let world = World::new("roleless", Layout::Database { database: "roleless".into() });
    fixture::database(world.cluster, "roleless");
    world.cluster.sql("roleless", "CREATE ROLE reporting; SET ROLE app_owner; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1); GRANT SELECT ON t TO reporting");
    let point = world.open(&world.export().await).await;
    world.cluster.sql("roleless", "DROP OWNED BY reporting; DROP ROLE reporting; DELETE FROM t");
    let error = world.restore(&point).await.unwrap_err();
    assert!(error.code() == ErrorCode::RestoreRefused && error.to_string().contains("role `reporting`"), "{error}");
}
