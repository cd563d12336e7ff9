//! Hazards of reading PostgreSQL, each first as a naive reader meets it, then as an export does.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use domain::{Coded, ErrorCode, ErrorReport, RecoveryPointId, RunId, TenantId, tenant::Layout};
use sources::{
    SourceError,
    postgres::{Ident, Scope, digest},
};
use vault::Digester;

use crate::{
    cluster::cluster,
    fixture,
    layouts::text,
    lock::{hold, let_go},
    world::{Turned, World},
};

fn world(name: &str, prepare: &str) -> World {
    let world = World::new(name, Layout::Database { database: name.into() });
    fixture::database(world.cluster, name);
    world.cluster.sql(name, &format!("SET ROLE app_owner; CREATE SCHEMA app; {prepare}"));
    world
}

async fn refusal(world: &World) -> SourceError {
    match world.try_export(&world.scope).await {
        Ok(_) => panic!("exported"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_filtered_reader_sees_no_rows_and_an_export_says_so() {
    let world = world("naive_filtered", "CREATE TABLE app.t (id int PRIMARY KEY); INSERT INTO app.t VALUES (1), (2), (3);
        ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; ALTER TABLE app.t FORCE ROW LEVEL SECURITY; CREATE POLICY none ON app.t USING (false)");
    assert_eq!(
        world.cluster.sql_as("master", "naive_filtered", "COPY (SELECT * FROM app.t) TO STDOUT"),
        "",
        "no error, and no row"
    );
    let error = refusal(&world).await;
    assert!(error.code() == ErrorCode::SourceRefused && error.to_string().contains("\"app\".\"t\""), "{error}");
}

#[test]
fn two_tenants_whose_names_are_cut_are_one_and_such_names_are_refused() {
    let [one, two] = ["1", "2"].map(|end| format!("{}{end}", "tenant_".repeat(9)));
    fixture::database(cluster(), "cut");
    cluster().sql("cut", &format!("CREATE SCHEMA IF NOT EXISTS {one}; CREATE TABLE {one}.secrets AS SELECT 'of one' AS secret"));
    let secret = cluster().sql("cut", &format!("CREATE SCHEMA IF NOT EXISTS {two}; SELECT secret FROM {two}.secrets"));
    assert_eq!(secret, "of one", "the second tenant reads the first one's, with a notice in the log");

    assert!(Ident::new(one.clone()).is_err());
    let database = || "cut".to_owned();
    for layout in [
        Layout::Database { database: two.clone() },
        Layout::Schema { database: database(), schema: one.clone() },
        Layout::Pool { database: database(), schema: "app".into(), tenant_column: one.clone() },
    ] {
        let report = ErrorReport::from(Scope::new("acme".parse::<TenantId>().unwrap(), layout, Vec::new()).unwrap_err());
        assert!(report.message.contains("cut") && report.message.contains("tenant_tenant_"), "{report}");
    }
}

/// Functions and an operator that stand before the system's wherever `public` comes first.
const TRAPS: &str = "GRANT CREATE ON SCHEMA public TO app_owner; SET ROLE app_owner; SET search_path = pg_catalog;
    CREATE FUNCTION public.sprung() RETURNS text LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
    CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS 'SELECT public.sprung()';
    CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS 'SELECT public.sprung()';
    CREATE FUNCTION public.literal(text) RETURNS text LANGUAGE sql AS 'SELECT public.sprung()';
    CREATE FUNCTION public.to_json(record) RETURNS json LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
    CREATE FUNCTION public.pg_get_userbyid(oid) RETURNS name LANGUAGE sql AS 'SELECT public.sprung()::name';
    CREATE FUNCTION public.pg_current_snapshot() RETURNS text LANGUAGE sql AS 'SELECT public.sprung()';
    CREATE FUNCTION public.same(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT public.sprung()::boolean';
    CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.same);
    CREATE VIEW public.pg_class AS SELECT public.sprung(); CREATE VIEW public.pg_namespace AS SELECT public.sprung();
    RESET ROLE; ALTER DATABASE trapped SET search_path = public, pg_catalog;";

#[tokio::test]
async fn what_stands_before_the_system_catches_a_naive_reader_and_no_export() {
    let world =
        world("trapped", "CREATE TABLE app.t (id int PRIMARY KEY, at timestamptz); INSERT INTO app.t VALUES (1, '2024-01-01Z')");
    let before = world.open(&world.export().await).await;
    world.cluster.sql("trapped", TRAPS);
    for naive in
        ["SELECT lower('A')", "SELECT count(*) FROM pg_class", "SELECT * FROM pg_catalog.pg_class WHERE relname = 't'::name"]
    {
        assert!(!world.cluster.try_sql("trapped", naive), "{naive} is the system's");
    }
    let point = world.open(&world.export().await).await;
    let live = digest(&world.account, &world.scope, &Digester::new(before.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(live.differences(before.manifest()), Vec::<String>::new());
    world.cluster.sql("trapped", "SET ROLE app_owner; DELETE FROM app.t");
    assert!(world.restore(&point).await.unwrap().changed);
    assert_eq!(world.cluster.sql("trapped", "SELECT id FROM app.t"), "1");
}

/// Values whose text depends on settings.
const SENSITIVE: &str = "CREATE TABLE app.t (id int PRIMARY KEY, f float8, r real, d date, at timestamptz, span interval, raw bytea, word text, m money, tags text[]);
    INSERT INTO app.t SELECT i, 0.1::float8 + 0.2, 1/3.0, '2024-02-03', '2024-03-31 01:30:00Z', '-1 year 2 days -03:04:05', '\\x5c00ff41', 'ÿé', 12.34, ARRAY[NULL, 'NULL']
    FROM generate_series(1, 50) i";
const HOSTILE: [&str; 15] = [
    "extra_float_digits = -15",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Asia/Kathmandu'",
    "bytea_output = 'escape'",
    "client_encoding = 'LATIN1'",
    "array_nulls = off",
    "standard_conforming_strings = off",
    "quote_all_identifiers = on",
    "row_security = on",
    "default_transaction_read_only = on",
    "default_transaction_isolation = 'serializable'",
    "search_path = app, public",
    "xmloption = document",
    "role = app_user",
];

#[tokio::test]
async fn settings_of_a_role_or_a_database_change_what_a_naive_reader_reads_and_no_export() {
    for (of, subject, layout) in [
        ("role", "ROLE master IN DATABASE hostile_role", Layout::Database { database: "hostile_role".into() }),
        ("database", "DATABASE hostile_database", Layout::Schema { database: "hostile_database".into(), schema: "app".into() }),
    ] {
        let world = World::new(&format!("hostile-{of}"), layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(database, &format!("SET ROLE app_owner; CREATE SCHEMA app; {SENSITIVE}; GRANT USAGE ON SCHEMA app TO app_user; GRANT SELECT ON app.t TO app_user;
            ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON app.t TO app_user USING (id < 3); RESET ROLE; GRANT app_user TO master"));
        let naive = || world.cluster.sql_as("master", database, "COPY (SELECT f, r, d, at, span, raw, m FROM app.t) TO STDOUT");
        let (before, read) = (text(world.cluster, database), naive());
        let point = world.open(&world.export().await).await;
        let settings: String = HOSTILE.iter().map(|setting| format!("ALTER {subject} SET {setting}; ")).collect();
        world.cluster.sql("postgres", &settings);
        let hostile = naive();
        assert!(hostile.lines().count() == 2 && read.lines().count() == 50, "fewer rows: {}", hostile.lines().count());
        let (first, other) = (read.lines().next().unwrap(), hostile.lines().next().unwrap());
        let differing = first.split('\t').zip(other.split('\t')).filter(|(first, other)| first != other).count();
        assert_eq!(differing, 6, "other values: {first} {other}");

        // With this one even a naive client would not get as far as to lift it.
        world.cluster.sql("postgres", &format!("ALTER {subject} SET statement_timeout = '1ms'"));
        let again = world.open(&world.export().await).await;
        world.cluster.sql("postgres", &format!("ALTER {subject} RESET statement_timeout"));
        let digests =
            |point: &vault::PointReader| point.manifest().streams.iter().map(|stream| stream.digest).collect::<Vec<_>>();
        let live = digest(&world.account, &world.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
        assert_eq!(live.differences(point.manifest()), Vec::<String>::new(), "{of}");
        assert_eq!(digests(&again), digests(&point), "{of}");
        world.cluster.sql(database, "SET ROLE NONE; SET default_transaction_read_only = off; DELETE FROM app.t");
        assert!(world.restore(&again).await.unwrap().changed);
        world.cluster.sql("postgres", &format!("ALTER {subject} RESET ALL"));
        assert!(text(world.cluster, database) == before, "{of}");
    }
}

#[tokio::test]
async fn a_table_or_partition_that_may_not_be_read_fails_the_export_by_name_or_is_whole() {
    let parted = "CREATE TABLE app.parted (tenant_id text, id int, PRIMARY KEY (tenant_id, id)) PARTITION BY HASH (id);
        CREATE TABLE app.part_0 PARTITION OF app.parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE app.part_1 PARTITION OF app.parted FOR VALUES WITH (MODULUS 2, REMAINDER 1); INSERT INTO app.parted SELECT 'acme', i FROM generate_series(1, 10) i";
    let world = world("unreadable_part", parted);
    world.cluster.sql("unreadable_part", "ALTER TABLE app.part_1 OWNER TO admin");
    let report = ErrorReport::from(refusal(&world).await);
    assert!(report.code == ErrorCode::SourceRefused && report.message.contains("part_1"), "{report}");
    // The right to read the whole is the right to read its parts; without definitions to dump, nothing is missed.
    let layout = Layout::Pool { database: "unreadable_part".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let pool = World::new("acme", layout);
    assert_eq!(pool.try_export(&pool.scope).await.unwrap().1.tables[0].rows, 10);
    world.cluster.sql("unreadable_part", "CREATE TABLE app.alone (tenant_id text PRIMARY KEY)");
    let report = ErrorReport::from(refusal(&pool).await);
    assert!(report.code == ErrorCode::SourceRefused && report.message.contains("alone"), "{report}");
}

#[tokio::test]
async fn a_session_lost_half_way_fails_the_export_and_the_next_is_of_one_moment() {
    let world = world(
        "lost_half",
        "CREATE TABLE app.a (id int PRIMARY KEY, amount int); CREATE TABLE app.b (id int PRIMARY KEY, amount int);
        INSERT INTO app.a SELECT i, 100 FROM generate_series(1, 10) i; INSERT INTO app.b SELECT * FROM app.a",
    );
    let (id, run) = (RecoveryPointId::from_uuid(world.fresh()), RunId::from_uuid(world.fresh()));
    let asked = AtomicUsize::new(0);
    let lose = || {
        // The first time before anything was read, the second time between two tables.
        if asked.fetch_add(1, SeqCst) == 1 {
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lost_half' AND application_name = 'holdfast'";
            assert_eq!(cluster().sql("postgres", sql), "t");
        }
        false
    };
    let Err(error) = world.try_turn(id, None, run, &lose).await else { panic!("exported without its session") };
    assert_eq!(error.code(), ErrorCode::SourceUnreachable, "{error}");
    assert!(asked.load(SeqCst) > 1 && error.to_string().contains("lost_half"), "{error}");

    world.cluster.sql(
        "lost_half",
        "BEGIN; UPDATE app.a SET amount = amount - 50 WHERE id = 1; UPDATE app.b SET amount = amount + 50 WHERE id = 1; COMMIT",
    );
    let next = world.try_turn(id, Some(run), RunId::from_uuid(world.fresh()), &|| false).await.unwrap();
    let Turned::Whole(point, _) = next else { panic!("nothing told it to stop") };
    let (point, mut total) = (world.open(&point).await, 0);
    for table in ["a", "b"] {
        let mut rows = point.stream(&format!("\"app\".\"{table}\"")).unwrap().all();
        while let Some(lines) = rows.next().await.unwrap() {
            let text = String::from_utf8(lines.to_vec()).unwrap();
            total += text.lines().map(|line| line.split('\t').nth(1).unwrap().parse::<i32>().unwrap()).sum::<i32>();
        }
    }
    assert_eq!(total, 2_000);
}

#[tokio::test]
async fn a_table_that_somebody_locks_fails_the_export_in_time_and_by_name() {
    let world = world("locked_away", "CREATE TABLE app.a (id int PRIMARY KEY); CREATE TABLE app.migrated (id int PRIMARY KEY)");
    let holder = hold("locked_away", "BEGIN; LOCK TABLE app.migrated IN ACCESS EXCLUSIVE MODE".to_owned()).await;
    let error = refusal(&world).await;
    assert_eq!(error.code(), ErrorCode::Throttled, "{error}");
    assert!(error.to_string().contains("\"app\".\"migrated\"") && error.to_string().contains("psql"), "{error}");
    let_go("locked_away", holder);
    world.export().await;
}
