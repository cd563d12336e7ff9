//! Slices: they part a table exactly, in key order, whatever its key is.

use domain::{request::Selection, tenant::Layout};
use sources::postgres::{digest, restore::prove};

use crate::{fixture, recorder::Recorder, world::World};

/// Keys, each with the expression that makes it from the number `i`.
pub(crate) const KEYS: [(&str, &str, &str); 18] = [
    ("a_int", "k int PRIMARY KEY", "i"),
    ("a_bigint", "k bigint PRIMARY KEY", "i * -4000000000"),
    ("a_text", "k text COLLATE \"en-x-icu\" PRIMARY KEY", r#"(ARRAY['a', 'B', 'Ä', E'z\\''\t', 'é "'])[1 + abs(i) % 5] || i"#),
    ("a_c_text", "k text COLLATE \"C\" PRIMARY KEY", "(ARRAY['a', 'B', 'Ä', 'z', 'é'])[1 + abs(i) % 5] || i"),
    ("a_uuid", "k uuid PRIMARY KEY", "md5(i::text)::uuid"),
    (
        "a_time",
        "k timestamptz PRIMARY KEY",
        "CASE i WHEN 9 THEN '-infinity' ELSE '2024-03-31 02:30:00.123456+02'::timestamptz + i * interval '7 hours' END",
    ),
    ("a_numeric", "k numeric PRIMARY KEY", "CASE i WHEN 9 THEN 'NaN' ELSE i / 7.0 END"),
    ("a_double", "k float8 PRIMARY KEY", "CASE i WHEN 9 THEN '-Infinity' ELSE i / 7.0::float8 END"),
    ("a_bytea", "k bytea PRIMARY KEY", "decode(md5(i::text), 'hex')"),
    ("a_varchar", "k varchar(20) PRIMARY KEY", "'x''' || i"),
    ("a_char", "k char(12) PRIMARY KEY", "lpad(i::text, 6)"),
    ("a_range", "k int4range PRIMARY KEY", "int4range(i, i + 5)"),
    ("a_domain", "k app.positive PRIMARY KEY", "abs(i) * 2 + CASE WHEN i < 0 THEN 1 ELSE 0 END"),
    ("a_citext", "k public.citext PRIMARY KEY", "(ARRAY['a', 'B', 'ä', 'Z'])[1 + abs(i) % 4] || i"),
    ("few", "k text, n int, PRIMARY KEY (k, n)", "'it''s ' || abs(i) % 3, i"),
    ("skewed", "k int, n int, PRIMARY KEY (k, n)", "CASE WHEN i % 10 = 0 THEN i ELSE 7 END, i"),
    (
        "moody",
        "k app.mood, n int, PRIMARY KEY (k, n)",
        r#"(ARRAY['ok', 'it''s "bad"', 'very, bad']::app.mood[])[1 + abs(i) % 3], i"#,
    ),
    ("no_key", "k int", "i"),
];

/// A table of rows that have a page each, just large enough to be sliced, and some that came after the statistics.
pub(crate) fn table((name, columns, value): (&str, &str, &str)) -> String {
    format!(
        "CREATE TABLE app.{name} ({columns}, filler text) WITH (fillfactor = 10, autovacuum_enabled = off);
         INSERT INTO app.{name} SELECT {value}, repeat('x', 700) FROM generate_series(1, 4300) i;
         ANALYZE app.{name};
         INSERT INTO app.{name} SELECT {value}, 'later' FROM generate_series(-20, -1) i;
         INSERT INTO app.{name} SELECT {value}, 'later' FROM generate_series(5000, 5020) i;"
    )
}

pub(crate) const OTHERS: &str = r#"
CREATE EXTENSION citext SCHEMA public; SET ROLE app_owner; CREATE SCHEMA app;
CREATE DOMAIN app.positive AS int CHECK (VALUE > 0); CREATE TYPE app.mood AS ENUM ('ok', 'it''s "bad"', 'very, bad');
CREATE TABLE app.parted (k int PRIMARY KEY, filler text) PARTITION BY RANGE (k);
CREATE TABLE app.parted_low PARTITION OF app.parted FOR VALUES FROM (MINVALUE) TO (2500) WITH (fillfactor = 10);
CREATE TABLE app.parted_high PARTITION OF app.parted FOR VALUES FROM (2500) TO (MAXVALUE) WITH (fillfactor = 10);
INSERT INTO app.parted SELECT i, repeat('x', 700) FROM generate_series(1, 4300) i; ANALYZE app.parted;
CREATE TABLE app.empty (k int PRIMARY KEY); CREATE TABLE app.single (k int PRIMARY KEY); INSERT INTO app.single VALUES (1);
CREATE TABLE app.unknown (k int PRIMARY KEY, filler text) WITH (fillfactor = 10, autovacuum_enabled = off);
INSERT INTO app.unknown SELECT i, repeat('x', 700) FROM generate_series(1, 4300) i;
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slices_part_a_table_of_any_key_exactly_and_come_back() {
    let world = World::new("sliced", Layout::Database { database: "sliced".into() });
    fixture::database(world.cluster, "sliced");
    world.cluster.sql("sliced", &[OTHERS.to_owned(), KEYS.map(table).concat()].concat());

    let read = async || {
        let recorder = Recorder::default();
        digest(&world.cluster.master(), &world.scope, &recorder).await.unwrap().unwrap();
        recorder
    };
    let (recorder, again) = (read().await, read().await);
    let check = |table: &str, order: &str, slices: usize| {
        let found = recorder.slices(table);
        let sql = format!("SET TimeZone = 'UTC'; COPY (SELECT * FROM app.{table} {order}) TO STDOUT");
        assert!(found.concat().trim_end() == world.cluster.sql("sliced", &sql), "{table} is not whole or not in order");
        assert_eq!(found.len(), slices, "slices of {table}");
        assert!(found == again.slices(table), "{table} is cut elsewhere the second time");
        found.iter().map(|slice| slice.lines().count()).collect::<Vec<_>>()
    };
    for (name, columns, _) in KEYS {
        let order = match columns {
            _ if name == "no_key" => "",
            _ if columns.contains(" n ") => "ORDER BY k, n",
            _ => "ORDER BY k",
        };
        let slices = match name {
            // Values of a range cannot be named by the type that its index compares.
            "a_range" => 1,
            // Blocks are cut at multiples of 2048.
            "no_key" => 3,
            _ => 2,
        };
        let rows = check(name, order, slices);
        assert!(["skewed", "a_range", "no_key"].contains(&name) || rows.iter().all(|count| *count > 1400), "{name}: {rows:?}");
    }
    check("parted", "ORDER BY k", 2);
    for (name, rows) in [("empty", 0), ("single", 1), ("unknown", 4300)] {
        assert_eq!(check(name, "ORDER BY k", 1), [rows], "{name}");
    }

    let point = world.open(&world.export().await).await;
    let before = world.cluster.dump("sliced", None);
    world.cluster.sql("postgres", "DROP DATABASE sliced");
    assert!(world.restore(&point).await.unwrap().changed);
    assert!(before == world.cluster.dump("sliced", None));
    prove(&world.cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap();
    world.cluster.sql("postgres", "DROP DATABASE sliced");
}
