//! Restores of some tables, and into tables that moved on.

use domain::{
    Coded, ErrorCode,
    request::{ColumnNow, Selection},
    tenant::Layout,
};
use sources::{
    SourceError,
    postgres::{
        compare,
        restore::{Job, Outcome, RestoreId, cleanup, prove, run},
    },
};
use vault::PointReader;

use crate::{
    cluster::{cluster, until},
    fixture,
    layouts::assert_same_text,
    lock::{hold, let_go},
    world::World,
};

fn only(tables: &[&str]) -> Selection {
    Selection { tables: tables.iter().map(|table| (*table).to_owned()).collect(), columns: Vec::new() }
}

fn now(table: &str, column: &str, now: Option<&str>) -> ColumnNow {
    ColumnNow { table: table.into(), column: column.into(), now: now.map(str::to_owned) }
}

async fn restore(world: &World, point: &PointReader, id: &RestoreId, selection: &Selection) -> Result<Outcome, SourceError> {
    let tools = world.cluster.tools();
    let job = Job::new(&world.account, &tools, &world.scope, id, point)?.selecting(selection);
    run(&job).await
}

/// The layouts in which a tenant has its tables to itself.
fn layouts(name: &str) -> [Layout; 3] {
    let database = |layout: &str| format!("{name}_{layout}");
    [
        Layout::Silo { database: database("silo") },
        Layout::Database { database: database("database") },
        Layout::Schema { database: database("schema"), schema: "app".into() },
    ]
}

/// Every line of a dump but the rows of these tables, and where their sequences stand.
fn others(world: &World, tables: &[&str]) -> Vec<String> {
    let mut command = world.cluster.client("pg_dump", "admin", world.scope.layout().database());
    command.args(["-N", "hf_undo_*"]).args(tables.iter().map(|table| format!("--exclude-table-data=app.\"{table}\"")));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> =
        text.lines().filter(|line| !line.contains("restrict ") && !line.contains("setval")).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test]
async fn unique_values_that_moved_between_rows_move_back() {
    for layout in layouts("moved") {
        let world = World::new("moved", layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(
            database,
            "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.seats (id int PRIMARY KEY, place text UNIQUE, who int, row_no int, UNIQUE (row_no, who));
             CREATE TABLE app.tickets (seat int PRIMARY KEY REFERENCES app.seats, code text); CREATE TABLE app.others (seat int REFERENCES app.seats ON DELETE CASCADE);
             INSERT INTO app.seats SELECT i, 'p' || i, i, i % 2 FROM generate_series(1, 9) i; INSERT INTO app.tickets SELECT i, 'c' || i FROM generate_series(1, 9) i;
             INSERT INTO app.others VALUES (8), (9)",
        );
        let point = world.open(&world.export().await).await;
        let all = "SELECT * FROM app.seats ORDER BY id; SELECT * FROM app.tickets ORDER BY seat; SELECT * FROM app.others ORDER BY seat";
        let recorded = world.cluster.sql(database, all);
        // Two swap, three go round, two pass on along a chain that ends in a new value; one takes what a row has that goes.
        world.cluster.sql(
            database,
            "SET session_replication_role = replica; UPDATE app.seats SET place = 'x' || id; UPDATE app.seats SET row_no = 7, who = 10 - who WHERE id IN (1, 3);
             UPDATE app.seats SET place = 'p' || CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 WHEN 3 THEN 4 WHEN 4 THEN 5 WHEN 5 THEN 3 WHEN 6 THEN 7 WHEN 7 THEN 70 WHEN 9 THEN 90 ELSE 8 END;
             INSERT INTO app.seats VALUES (99, 'p9', 99, 99)",
        );
        let outcome = restore(&world, &point, &world.id, &only(&["seats"])).await.unwrap();
        assert!(outcome.changed, "{database}");
        assert_eq!(world.cluster.sql(database, all), recorded, "{database}");

        // What would take rows of tables that stay with it is still refused.
        world.cluster.sql(
            database,
            "SET session_replication_role = replica; UPDATE app.seats SET place = 'x' WHERE id = 8; UPDATE app.seats SET place = 'p8' WHERE id = 9; UPDATE app.seats SET place = 'p9' WHERE id = 8",
        );
        let before = world.cluster.sql(database, all);
        let id = RestoreId::of(world.fresh());
        let error = restore(&world, &point, &id, &only(&["seats"])).await.unwrap_err();
        assert!(error.code() == ErrorCode::RestoreRefused && error.to_string().contains("app.others"), "{database}: {error}");
        assert_eq!(world.cluster.sql(database, all), before, "{database}");
        let outcome = restore(&world, &point, &id, &only(&["seats", "others"])).await.unwrap();
        assert!(outcome.changed, "{database}");
        assert_eq!(world.cluster.sql(database, all), recorded, "{database}");
    }
}

#[tokio::test]
async fn what_is_kept_of_tables_of_several_owners_stays_each_owners_own() {
    for layout in layouts("owners") {
        let world = World::new("owners", layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(
            database,
            "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY); CREATE TABLE app.b (id int PRIMARY KEY, secret text);
             INSERT INTO app.a VALUES (1); INSERT INTO app.b VALUES (1, 'recorded'); RESET ROLE; ALTER TABLE app.b OWNER TO other_owner; GRANT USAGE ON SCHEMA app TO other_owner",
        );
        let point = world.open(&world.export().await).await;
        world.cluster.sql(database, "INSERT INTO app.a VALUES (2); UPDATE app.b SET secret = 'present'");
        let undo = restore(&world, &point, &world.id, &only(&["a", "b"])).await.unwrap().undo_copy.unwrap();
        let owners = format!(
            "SELECT relname, relowner::regrole FROM pg_class WHERE relkind = 'r' AND relnamespace = '{undo}'::regnamespace ORDER BY 1;
             SELECT has_table_privilege('app_owner', '{undo}.b', 'SELECT'), has_schema_privilege('other_owner', '{undo}', 'CREATE'); SET ROLE other_owner; SELECT secret FROM {undo}.b"
        );
        assert_eq!(world.cluster.sql(database, &owners), "a|app_owner\nb|other_owner\nf|f\npresent", "{database}");
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn selected_tables_go_back_and_all_others_stay() {
    for layout in layouts("selected") {
        let world = World::new("selected", layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        fixture::application(world.cluster, database, "app", 60);
        let point = world.open(&world.export().await).await;
        let tables =
            ["orders", "audit", "measurements", "Order Lines", "nothing", "big", "measurements_2024", "measurements_rest"];
        let rows = |world: &World| {
            let sql = tables.map(|table| {
                format!("SELECT '{table}', count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ONLY app.\"{table}\" t;")
            });
            let partitioned = sql.concat().replace("ONLY app.\"measurements\"", "app.measurements");
            world.cluster.sql(database, &partitioned)
        };
        let recorded = rows(&world);
        world.cluster.sql(
            database,
            "SET session_replication_role = replica; UPDATE app.customers SET name = 'new'; DELETE FROM app.\"Order Lines\"; DELETE FROM app.orders WHERE id % 2 = 0;
             UPDATE app.orders SET total = 0 WHERE id % 3 = 0; UPDATE app.audit SET what = 'x' WHERE what = ''; INSERT INTO app.audit VALUES ('2024-01-01', 'same');
             DELETE FROM app.measurements WHERE value > 5; DELETE FROM app.nothing; UPDATE app.big SET body = 'small' WHERE id = 2; SELECT setval('app.orders_id_seq', 1);
             INSERT INTO app.parent VALUES (77); SELECT setval('app.employees_id_seq', 1)",
        );
        let changed = rows(&world);
        let selection = only(&["orders", "app.audit", "measurements", "\"app\".\"Order Lines\"", "nothing", "big"]);
        let preview = compare(&world.account, &world.scope, &point, &selection).await.unwrap();
        assert_eq!(preview.tables.len(), selection.tables.len());
        assert!(
            preview.notes[0].contains("these stay as they are") && preview.notes[0].contains("\"app\".\"customers\""),
            "{:?}",
            preview.notes
        );
        // What happens elsewhere does not void the approval; a row of a selected table does.
        let approved = |id: &RestoreId| {
            let (account, scope) = (&world.account, &world.scope);
            (account.clone(), scope.clone(), id.clone(), preview.live_digest.clone())
        };
        world.cluster.sql(database, "UPDATE app.departments SET head = 2");
        let before = others(&world, &tables);
        world.cluster.sql(database, "INSERT INTO app.audit VALUES (NULL, 'drift')");
        let tools = world.cluster.tools();
        let (account, scope, id, digest) = approved(&world.id);
        let job = || Job::new(&account, &tools, &scope, &id, &point).unwrap().selecting(&selection).approved_for(&digest);
        assert_eq!(run(&job()).await.unwrap_err().code(), ErrorCode::TargetDrifted);
        world.cluster.sql(database, "DELETE FROM app.audit WHERE what = 'drift'");

        let outcome = run(&job()).await.unwrap();
        assert_eq!(rows(&world), recorded, "{database}");
        assert_same_text(database, &before, &others(&world, &tables));
        let sequences = "SELECT last_value >= (SELECT max(id) FROM app.orders) FROM app.orders_id_seq; SELECT last_value FROM app.employees_id_seq";
        assert_eq!(world.cluster.sql(database, sequences), "t\n1", "{database}");
        assert_eq!(prove(&account, &scope, &point, &selection).await.unwrap().rows, outcome.rows);
        assert_eq!(prove(&account, &scope, &point, &Selection::default()).await.unwrap_err().code(), ErrorCode::ContentMismatch);
        assert!(!run(&job()).await.unwrap().changed);
        assert_eq!(world.cluster.leftovers(database, &id).await, Vec::<String>::new());
        let undo = outcome.undo_copy.unwrap();
        assert_eq!(
            world.cluster.sql(database, &format!("SELECT count(*) FROM {undo}.audit WHERE what = 'x'")),
            "1",
            "{database}"
        );
        assert_ne!(changed, recorded);

        // The undo copy is no part of the tenant: a backup of it and a restore of the whole do not know it.
        let (whole, facts) = world.try_export(&world.scope).await.unwrap();
        assert!(facts.tables.iter().all(|table| !table.name.to_string().contains(&undo)), "{database}");
        let is_database = !matches!(world.scope.layout(), Layout::Schema { .. });
        assert_eq!(facts.left_out.iter().any(|left| left.name == undo), is_database);
        world.cluster.sql(database, "DELETE FROM app.parent");
        let whole = world.open(&whole).await;
        let outcome = world.restore_as(&whole, &RestoreId::of(world.fresh())).await.unwrap();
        let has_undo = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{undo}'");
        assert_eq!(world.cluster.sql(database, &has_undo), if is_database { "0" } else { "1" });
        assert!(outcome.changed && prove(&account, &scope, &whole, &Selection::default()).await.is_ok());
    }
}

/// Code in a table that would make a role if it ran with rights.
const TRAP: &str = "SET ROLE app_owner; CREATE SCHEMA app;
    CREATE FUNCTION app.grab() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$BEGIN
        BEGIN EXECUTE 'CREATE ROLE grabbed_by_' || current_user; EXCEPTION WHEN OTHERS THEN NULL; END;
        BEGIN EXECUTE 'RESET ROLE; SET ROLE master'; EXECUTE 'CREATE ROLE grabbed_by_master'; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN true; END$$;
    CREATE FUNCTION app.evil() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$BEGIN RETURN app.grab(); END$$;
    CREATE DOMAIN app.odd AS int CHECK (app.evil());
    CREATE TABLE app.trap (id int PRIMARY KEY CHECK (app.evil()), odd app.odd, twice int GENERATED ALWAYS AS (CASE WHEN app.evil() THEN id * 2 END) STORED);
    CREATE INDEX ON app.trap ((id > 0 AND app.evil())) WHERE app.evil(); INSERT INTO app.trap VALUES (1, 1), (2, 2), (3, 3);
    CREATE FUNCTION app.fire() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM app.grab(); RETURN NEW; END$$;
    CREATE TRIGGER fire BEFORE INSERT OR UPDATE OR DELETE ON app.trap FOR EACH ROW EXECUTE FUNCTION app.fire();";

#[tokio::test]
async fn a_tenants_code_gains_nothing_from_rows_put_into_its_tables() {
    for (number, layout) in layouts("trap").into_iter().enumerate() {
        let world = World::new("trap", layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(database, TRAP);
        let point = world.open(&world.export().await).await;
        world.cluster.sql(
            database,
            "SET ROLE app_owner; DELETE FROM app.trap WHERE id = 1; UPDATE app.trap SET odd = 7 WHERE id = 2;
             ALTER TABLE app.trap ADD COLUMN gained boolean DEFAULT app.grab()",
        );
        world.cluster.sql("postgres", "DROP ROLE IF EXISTS grabbed_by_admin, grabbed_by_app_owner, grabbed_by_master");
        let selection = only(&["trap"]);
        assert!(restore(&world, &point, &world.id, &selection).await.unwrap().changed, "{number}");
        let sql = "SELECT string_agg(rolname, ',') FROM pg_roles WHERE rolname LIKE 'grabbed%'";
        assert_eq!(world.cluster.sql("postgres", sql), "", "{database}");
        assert_eq!(
            world.cluster.sql(database, "SELECT string_agg(id || ' ' || odd, ',' ORDER BY id) FROM app.trap"),
            "1 1,2 2,3 3"
        );
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn rows_go_into_tables_that_moved_on() {
    let pool = Layout::Pool { database: "moved_pool".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let own = Layout::Database { database: "moved_own".into() };
    for layout in [pool, own] {
        let is_pool = matches!(layout, Layout::Pool { .. });
        let world = World::new("acme", layout);
        let database = world.scope.layout().database();
        fixture::database(world.cluster, database);
        world.cluster.sql(
            database,
            "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.t (tenant_id text, id int, name text, gone text, n int, PRIMARY KEY (tenant_id, id));
             CREATE TABLE app.child (tenant_id text, id int PRIMARY KEY, t int, FOREIGN KEY (tenant_id, t) REFERENCES app.t ON DELETE CASCADE);
             INSERT INTO app.t SELECT t, i, E'n\\t' || i, E'g\\\\' || i, i FROM unnest(ARRAY['acme', 'other']) t, generate_series(1, 6) i;
             INSERT INTO app.child SELECT tenant_id, id + CASE tenant_id WHEN 'acme' THEN 0 ELSE 100 END, id FROM app.t",
        );
        let point = world.open(&world.export().await).await;
        world.cluster.sql(
            database,
            "SET ROLE app_owner; ALTER TABLE app.t RENAME COLUMN name TO title; ALTER TABLE app.t DROP COLUMN gone, ALTER COLUMN n TYPE bigint,
                ADD COLUMN added text DEFAULT 'default', ADD COLUMN number int GENERATED BY DEFAULT AS IDENTITY, ADD COLUMN must text NOT NULL DEFAULT 'must';
             ALTER TABLE app.child ADD COLUMN mark text DEFAULT 'unmarked'; CREATE TABLE app.fresh (tenant_id text PRIMARY KEY); INSERT INTO app.fresh VALUES ('acme');
             UPDATE app.t SET added = 'kept ' || id; UPDATE app.child SET mark = 'kept';
             DELETE FROM app.t WHERE id = 1; UPDATE app.t SET title = 'changed', n = -1 WHERE id = 2;
             INSERT INTO app.t (tenant_id, id, title) VALUES ('acme', 9, 'new'); UPDATE app.child SET t = 9 WHERE id = 3",
        );
        let others = || {
            world.cluster.sql(database, "SELECT xmin, ctid, * FROM app.t WHERE tenant_id = 'other' ORDER BY id; SELECT xmin, ctid, * FROM app.child WHERE tenant_id = 'other' ORDER BY id")
        };
        let selection = Selection {
            tables: if is_pool { Vec::new() } else { vec!["t".into(), "child".into()] },
            columns: vec![now("t", "name", Some("title")), now("app.t", "gone", None)],
        };
        let (mine, before) = (
            "SELECT id, title, n, added, must FROM app.t WHERE tenant_id = 'acme' ORDER BY id; SELECT id, t, mark FROM app.child WHERE tenant_id = 'acme' ORDER BY id",
            others(),
        );
        let preview = compare(&world.account, &world.scope, &point, &selection).await.unwrap();
        for note in [
            "the recorded values of \"gone\" are left behind",
            "the recorded values of \"name\" go to \"title\"",
            "\"n\" is bigint now (it was integer)",
            "gained column \"added\"",
            "\"app\".\"fresh\" is new since the recovery point and stays as it is",
        ] {
            assert!(preview.notes.iter().any(|said| said.contains(note)), "{note}: {:?}", preview.notes);
        }
        let counts: Vec<_> = preview
            .tables
            .iter()
            .map(|effect| [effect.returned, effect.overwritten, effect.destroyed, effect.unchanged])
            .collect();
        let (child, t) = if is_pool { ([1, 1, 0, 4], [1, 1, 1, 4]) } else { ([2, 1, 0, 9], [2, 2, 1, 8]) };
        assert_eq!(counts, [child, t], "{database}");

        let outcome = restore(&world, &point, &world.id, &selection).await.unwrap();
        assert_eq!(
            world.cluster.sql(database, mine),
            "1|n\t1|1|default|must\n2|n\t2|2|kept 2|must\n3|n\t3|3|kept 3|must\n4|n\t4|4|kept 4|must\n5|n\t5|5|kept 5|must\n6|n\t6|6|kept 6|must\n\
             1|1|unmarked\n2|2|kept\n3|3|kept\n4|4|kept\n5|5|kept\n6|6|kept",
            "{database}: rows that were there keep what new columns hold, though one went with its parent and came back"
        );
        assert!(!is_pool || others() == before, "{database}");
        let proof = prove(&world.account, &world.scope, &point, &selection).await.unwrap();
        assert!(proof.notes.iter().any(|note| note.contains("left behind, and are not compared")), "{:?}", proof.notes);
        assert!(!restore(&world, &point, &world.id, &selection).await.unwrap().changed);
        let undo = outcome.undo_copy.unwrap();
        assert_eq!(
            world.cluster.sql(database, &format!("SELECT added FROM {undo}.t WHERE tenant_id = 'acme' AND id = 2")),
            "kept 2"
        );
        world.cluster.sql(database, "UPDATE app.t SET title = 'otherwise' WHERE tenant_id = 'acme' AND id = 4");
        let error = prove(&world.account, &world.scope, &point, &selection).await.unwrap_err();
        assert!(
            error.code() == ErrorCode::ContentMismatch && error.to_string().contains("\"app\".\"t\" has other content"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_table_is_named_so_that_only_one_can_be_meant() {
    let world = World::new("names", Layout::Database { database: "selected_names".into() });
    fixture::database(world.cluster, "selected_names");
    world.cluster.sql("selected_names", "SET ROLE app_owner; CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t (id int PRIMARY KEY); CREATE TABLE b.t (id int PRIMARY KEY); CREATE TABLE b.u (id int PRIMARY KEY)");
    let point = world.open(&world.export().await).await;
    world.cluster.sql("selected_names", "INSERT INTO a.t VALUES (1); INSERT INTO b.t VALUES (1)");
    for (tables, says) in [
        (&["t"][..], r#"`t` may be "a"."t", "b"."t""#),
        (&["v"], r#"no table `v`; choose among "a"."t", "b"."t", "b"."u""#),
        (&["a.t", "b.t"], r#"two tables of the selection are called "t""#),
    ] {
        let error = compare(&world.account, &world.scope, &point, &only(tables)).await.unwrap_err();
        assert!(error.code() == ErrorCode::RestoreRefused && error.to_string().contains(says), "{error}");
        let error = restore(&world, &point, &world.id, &only(tables)).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    assert!(restore(&world, &point, &world.id, &only(&["a.t"])).await.unwrap().changed);
    assert_eq!(world.cluster.sql("selected_names", "SELECT count(*) FROM a.t; SELECT count(*) FROM b.t"), "0\n1");

    world.cluster.sql("selected_names", "INSERT INTO b.u VALUES (1); ALTER TABLE b.u OWNER TO master; CREATE TABLE b.w (id int REFERENCES b.u); ALTER TABLE b.w OWNER TO app_owner");
    let second = RestoreId::of(world.fresh());
    let error = restore(&world, &point, &second, &only(&["u"])).await.unwrap_err();
    assert!(error.to_string().contains("belong to `master` and some to others"), "{error}");
    world.cluster.sql("selected_names", "DROP TABLE b.w");
    assert!(restore(&world, &point, &second, &only(&["u"])).await.unwrap().changed);
    world.cluster.sql("postgres", "DROP DATABASE selected_names");
    let error = compare(&world.account, &world.scope, &point, &only(&["a.t"])).await.unwrap_err();
    assert!(error.to_string().contains("restore the whole recovery point"), "{error}");
}

#[tokio::test]
async fn what_a_writer_commits_while_the_cutover_waits_voids_the_approval() {
    for (name, layout) in [
        ("waits_own", Layout::Database { database: "waits_own".into() }),
        ("waits_pool", Layout::Pool { database: "waits_pool".into(), schema: "app".into(), tenant_column: "tenant_id".into() }),
    ] {
        let world = World::new("acme", layout);
        fixture::pool(world.cluster, name);
        let point = world.open(&world.export().await).await;
        world.cluster.sql(name, "DELETE FROM app.tokens WHERE tenant_id = 'acme'");
        let selection = only(&["tokens"]);
        let preview = compare(&world.account, &world.scope, &point, &selection).await.unwrap();
        let tools = world.cluster.tools();
        let job = Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap();
        let job = job.selecting(&selection).approved_for(&preview.live_digest);
        let writer = std::thread::spawn(move || {
            cluster().sql(
                name,
                "BEGIN; INSERT INTO app.tokens VALUES (7777, 'acme', 'late'); SELECT pg_sleep(0.01);
                 DO $$BEGIN FOR i IN 1..6000 LOOP IF EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                     WHERE d.datname = current_database() AND NOT l.granted) THEN RETURN; END IF; PERFORM pg_sleep(0.01); END LOOP; END$$; COMMIT",
            )
        });
        until(format!("SELECT FROM pg_stat_activity WHERE datname = '{name}' AND query LIKE 'DO%pg_locks%'")).await;
        let error = run(&job).await.unwrap_err();
        tokio::task::spawn_blocking(move || writer.join().unwrap()).await.unwrap();
        assert_eq!(error.code(), ErrorCode::TargetDrifted, "{error}");
        assert_eq!(world.cluster.sql(name, "SELECT token FROM app.tokens WHERE tenant_id = 'acme'"), "late");
        assert_eq!(world.cluster.leftovers(name, &world.id).await, Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_staged_selection_that_died_is_cleared() {
    let world = World::new("dead-selection", Layout::Database { database: "dead_selection".into() });
    fixture::database(world.cluster, "dead_selection");
    world.cluster.sql("dead_selection", "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY)");
    let point = world.open(&world.export().await).await;
    world.cluster.sql("dead_selection", "INSERT INTO app.t VALUES (1)");
    let (stage, role) = (format!("hf_stage_{}", world.id), format!("hf_restore_{}", world.id));
    world.cluster.sql(
        "dead_selection",
        &format!("SET ROLE master; CREATE ROLE {role} LOGIN; GRANT {role} TO master; GRANT app_owner TO {role}; GRANT CREATE ON DATABASE dead_selection TO {role};
            RESET ROLE; CREATE SCHEMA {stage} AUTHORIZATION {role}; CREATE TABLE {stage}.t (id int); ALTER TABLE {stage}.t OWNER TO {role}"),
    );
    let (tools, selection) = (world.cluster.tools(), only(&["t"]));
    let job = Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap().selecting(&selection);
    assert_eq!(world.cluster.leftovers("dead_selection", &world.id).await.len(), 2);
    cleanup(&job).await.unwrap();
    assert_eq!(world.cluster.leftovers("dead_selection", &world.id).await, Vec::<String>::new());
    assert!(run(&job).await.unwrap().changed);
    // A superuser in the middle of a write keeps the cutover out; the lock it waits for is named, and nothing is left.
    world.cluster.sql("dead_selection", "INSERT INTO app.t VALUES (2)");
    let writer = hold("dead_selection", "BEGIN; INSERT INTO app.t VALUES (3)".to_owned()).await;
    let second = RestoreId::of(world.fresh());
    let (busy, ()) = tokio::join!(restore(&world, &point, &second, &selection), async {
        until("SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database WHERE d.datname = 'dead_selection' AND NOT l.granted".into()).await;
        let_go("dead_selection", writer);
    });
    assert!(busy.unwrap().changed);
    assert_eq!(world.cluster.sql("dead_selection", "SELECT count(*) FROM app.t"), "0");
}
