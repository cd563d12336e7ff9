//! Code that a tenant's definitions carry, and loads that fail half-way: first what happens without care, then here.

use domain::{Coded, ErrorCode, tenant::Layout};

use crate::{fixture, world::World};

/// Places in which a definition carries code that a load runs, and those in which it must not come to that.
const RUN: [&str; 8] = ["cast", "check", "domain", "generated", "index", "partition", "predicate", "view"];
const NOT_RUN: [&str; 4] = ["default", "policy", "rule", "trigger"];

/// A tenant's tables in schema `app`. Their code makes the role of its carrier a superuser, or at least a new role, if whoever runs it
/// may.
const CLIMBERS: &str = "SET ROLE app_owner; CREATE SCHEMA app;
    CREATE FUNCTION app.grab(carrier text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
        RAISE LOG '% ran as %', carrier, current_user;
        BEGIN EXECUTE format('ALTER ROLE climber_%s SUPERUSER', carrier); EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE format('CREATE ROLE made_by_%s', carrier); EXCEPTION WHEN OTHERS THEN NULL; END; RETURN true; END$$;
    CREATE FUNCTION app.evil(carrier text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN app.grab(carrier);
    CREATE FUNCTION app.evil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM app.grab('trigger'); RETURN NEW; END$$;
    CREATE DOMAIN app.trap AS int CHECK (app.evil('domain'));
    CREATE TABLE app.t (id int PRIMARY KEY CHECK (app.evil('check')), d app.trap,
        g int GENERATED ALWAYS AS (CASE WHEN app.evil('generated') THEN id END) STORED, n boolean DEFAULT app.grab('default'));
    CREATE TABLE app.p (id int) PARTITION BY LIST ((CASE WHEN app.evil('partition') THEN id END)); CREATE TABLE app.p_1 PARTITION OF app.p DEFAULT;
    CREATE INDEX ON app.t ((app.evil('index'))); CREATE INDEX ON app.t (id) WHERE app.evil('predicate');
    INSERT INTO app.t (id, d, n) VALUES (1, 1, true), (2, 2, true); INSERT INTO app.p VALUES (1);
    CREATE MATERIALIZED VIEW app.m AS SELECT app.evil('view');
    CREATE TRIGGER trap BEFORE INSERT OR UPDATE OR DELETE ON app.t FOR EACH ROW EXECUTE FUNCTION app.evil();
    ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; CREATE POLICY trap ON app.t USING (app.evil('policy'));
    CREATE RULE trap AS ON INSERT TO app.p DO ALSO SELECT app.grab('rule');";

/// A cast is in no schema, so that only a tenant with a database of its own may have one.
const CAST: &str = "SET ROLE app_owner; CREATE TYPE app.wrapped AS (n int);
    CREATE FUNCTION app.unwrap(app.wrapped) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$BEGIN PERFORM app.grab('cast'); RETURN 1; END$$;
    CREATE CAST (app.wrapped AS int) WITH FUNCTION app.unwrap(app.wrapped);
    CREATE TABLE app.w (id int PRIMARY KEY, w app.wrapped CHECK (CAST(w AS int) > 0)); INSERT INTO app.w VALUES (1, ROW(1))";

#[tokio::test]
async fn code_in_definitions_makes_a_naive_loader_climb_and_ours_not() {
    for (tenant, layout) in [
        ("climb-db", Layout::Database { database: "climb_database".into() }),
        ("climb-schema", Layout::Schema { database: "climb_schema".into(), schema: "app".into() }),
    ] {
        let world = World::new(tenant, layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        let all = || RUN.iter().chain(&NOT_RUN);
        let reset: String =
            all().map(|of| format!("DROP ROLE IF EXISTS climber_{of}, made_by_{of}; CREATE ROLE climber_{of};")).collect();
        let climbed = || {
            let found = "SELECT regexp_replace(rolname, '.*_', '') FROM pg_roles WHERE rolname LIKE 'climber%' AND rolsuper OR rolname LIKE 'made_by%' GROUP BY 1 ORDER BY 1";
            world.cluster.sql("postgres", found).lines().map(str::to_owned).collect::<Vec<_>>()
        };
        world.cluster.sql("postgres", &reset);
        world.cluster.sql(database, CLIMBERS);
        world.cluster.sql(database, CAST);
        assert_eq!(climbed(), Vec::<String>::new(), "a tenant alone gains nothing");
        let naive = format!("{database}_naive");
        world.cluster.sql("postgres", &format!("CREATE DATABASE {naive}"));
        world.cluster.copy_naively(database, &naive);
        assert_eq!(climbed(), RUN, "a superuser's pg_restore runs them all");
        world.cluster.sql("postgres", &format!("DROP DATABASE {naive} WITH (FORCE); {reset}"));

        let mut run = RUN.to_vec();
        if tenant == "climb-schema" {
            let Err(error) = world.try_export(&world.scope).await else { panic!("exported without its cast") };
            assert!(
                error.code() == ErrorCode::SourceRefused && error.to_string().contains("cast (app.wrapped AS integer)"),
                "{error}"
            );
            world.cluster.sql(database, "DROP TABLE app.w; DROP TYPE app.wrapped CASCADE");
            run.retain(|carrier| *carrier != "cast");
        }
        let point = world.open(&world.export().await).await;
        world.cluster.sql(database, "SET ROLE app_owner; ALTER TABLE app.t DISABLE TRIGGER trap; DELETE FROM app.t; ALTER TABLE app.t ENABLE TRIGGER trap");
        let log = world.cluster.log().len();
        assert!(world.restore(&point).await.unwrap().changed);
        assert_eq!(climbed(), Vec::<String>::new(), "{tenant}");
        let (log, role) = (world.cluster.log().split_off(log), format!("hf_restore_{}", world.id));
        for carrier in run {
            assert!(log.contains(&format!("{carrier} ran as {role}")), "{carrier} is no proof: its code did not run");
        }
        // The server runs some when it plans a query: then the account that reads a live table runs them, in a transaction that cannot write.
        let ran = log.lines().filter(|line| all().any(|of| line.contains(&format!("{of} ran as "))));
        let by_others: Vec<_> = ran.filter(|line| !line.ends_with(&role) && !line.ends_with("ran as master")).collect();
        assert_eq!(by_others, Vec::<&str>::new(), "{tenant}");
        assert_eq!(world.cluster.sql(database, "SET ROLE app_owner; SELECT count(*) FROM app.t"), "2");
        assert!(!NOT_RUN.iter().any(|of| log.contains(&format!("{of} ran as"))), "{tenant}");
    }
}

#[tokio::test]
async fn a_pools_recovery_point_carries_no_definitions_at_all() {
    let layout = Layout::Pool { database: "no_code".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let world = World::new("acme", layout);
    fixture::pool(world.cluster, "no_code");
    let point = world.open(&world.export().await).await;
    assert_eq!(point.manifest().blobs.len(), 0);
}

#[tokio::test]
async fn event_triggers_do_not_come_back_and_untrusted_code_is_refused() {
    let world = World::new("eventful", Layout::Database { database: "eventful".into() });
    fixture::database(world.cluster, "eventful");
    world.cluster.sql(
        "eventful",
        "CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO app_owner;
        CREATE FUNCTION public.spy() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; ALTER FUNCTION spy OWNER TO app_owner;
        CREATE EVENT TRIGGER spy ON ddl_command_end EXECUTE FUNCTION spy()",
    );
    let (point, facts) = world.try_export(&world.scope).await.unwrap();
    let left_out = facts.left_out.iter().find(|left| left.kind == "event trigger").unwrap();
    assert!(left_out.name == "spy" && left_out.reason.contains("rights"), "{left_out:?}");
    world.cluster.sql("eventful", "DELETE FROM t");
    world.restore(&world.open(&point).await).await.unwrap();
    assert_eq!(world.cluster.sql("eventful", "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM pg_event_trigger)"), "1|0");

    for (tenant, prepare) in [
        ("internal", "CREATE FUNCTION public.f() RETURNS timestamptz LANGUAGE internal AS 'now'"),
        ("language", "CREATE LANGUAGE plunsafe HANDLER plpgsql_call_handler"),
    ] {
        let world = World::new(tenant, Layout::Database { database: format!("untrusted_{tenant}") });
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(database, &format!("{prepare}; CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO app_owner"));
        // Some are refused when they are exported, the rest at the latest when they would be restored.
        let refused = match world.try_export(&world.scope).await {
            Err(refused) => refused,
            Ok((point, _)) => {
                world.cluster.sql(database, "DELETE FROM t");
                world.restore(&world.open(&point).await).await.unwrap_err()
            }
        };
        assert!(matches!(refused.code(), ErrorCode::SourceRefused | ErrorCode::RestoreRefused), "{tenant}: {refused}");
        assert!(refused.to_string().contains(tenant) || refused.to_string().contains("LANGUAGE"), "{tenant}: {refused}");
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_load_that_fails_half_way_leaves_half_when_naive_and_nothing_here() {
    let load = "CREATE TABLE half (id int PRIMARY KEY); INSERT INTO half VALUES (1); INSERT INTO half VALUES (2), (1); INSERT INTO half VALUES (3)";
    let cluster = crate::cluster::cluster();
    fixture::database(cluster, "half");
    assert!(!cluster.try_sql("half", load));
    assert_eq!(cluster.sql("half", "SELECT count(*) FROM half"), "1", "a part of it is there, and nobody knows which");

    let picky = "CREATE FUNCTION app.is_at_home() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN
        IF current_user LIKE 'hf_restore%' THEN RAISE 'not here'; END IF; RETURN true; END$$;";
    for (tenant, layout, prepare) in [
        ("half-db", Layout::Database { database: "half_database".into() }, picky),
        ("half-schema", Layout::Schema { database: "half_schema".into(), schema: "app".into() }, picky),
        ("acme", Layout::Pool { database: "half_pool".into(), schema: "app".into(), tenant_column: "tenant_id".into() }, ""),
    ] {
        let world = World::new(tenant, layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(database, &format!("SET ROLE app_owner; CREATE SCHEMA app;
            CREATE TABLE app.a (tenant_id text, id int, PRIMARY KEY (tenant_id, id)); INSERT INTO app.a SELECT 'acme', i FROM generate_series(1, 9) i; {prepare}
            CREATE TABLE app.z (tenant_id text, id int PRIMARY KEY); INSERT INTO app.z VALUES ('acme', 1), ('acme', 2)"));
        let check = if prepare.is_empty() { "" } else { "ALTER TABLE app.z ADD CHECK (app.is_at_home())" };
        world.cluster.sql(database, check);
        let point = world.open(&world.export().await).await;
        world
            .cluster
            .sql(database, "DELETE FROM app.a WHERE id > 3; UPDATE app.a SET id = id + 100; DELETE FROM app.z WHERE id = 2");
        if prepare.is_empty() {
            // By the time this row is put back, rows of other tables are, too.
            world.cluster.sql(database, "ALTER TABLE app.z ADD CHECK (id <> 2) NOT VALID");
        }
        let before = world.cluster.dump(database, None);
        let error = world.restore(&point).await.unwrap_err();
        assert!(error.to_string().contains("\"z\""), "{tenant}: {error}");
        assert_eq!(world.cluster.dump(database, None), before, "{tenant}");
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new(), "{tenant}");
        let undo = format!(
            "SELECT count(*) FROM pg_database WHERE datname = 'hf_undo_{0}' UNION ALL SELECT count(*) FROM pg_namespace WHERE nspname = 'hf_undo_{0}'",
            world.id
        );
        assert_eq!(world.cluster.sql(database, &undo), "0\n0", "{tenant}");
    }
}
