//! A preview says what is true: its counts against SQL's own, in many random cases, and it writes nothing.

use domain::{
    request::{Selection, TableEffect},
    tenant::Layout,
};
use sources::postgres::{
    Comparison, compare,
    restore::{Job, RestoreId, run},
};

use crate::{
    cluster::{Cluster, quiet},
    dice::Dice,
    fixture, many,
    world::World,
};

/// What a tenant's tables are called, and how `psql` tells their rows apart: a condition on a row `t`, and the key; none without one.
type Tables = [(&'static str, Option<&'static str>)];

const POOLED: &Tables = &[
    ("accounts", Some("tenant_id || ' ' || id")),
    ("orders", Some("tenant_id || ' ' || id")),
    ("lines", Some("tenant_id || ' ' || order_id || ' ' || no")),
    ("tokens", Some("id::text")),
    ("uses", Some("tenant_id || ' ' || token || ' ' || at")),
];

const OWN: &Tables = &[
    ("numbered", Some("id::text")),
    ("paired", Some("a || '|' || b")),
    ("heap", None),
    ("always_empty", Some("id::text")),
    ("wide", Some("id::text")),
    ("bare", None),
];

/// Tables of a schema: with keys and without, with nothing in them, and with values whose text is hard.
const OWN_TABLES: &str = "SET ROLE app_owner; CREATE SCHEMA app; SET search_path = app;
CREATE TABLE numbered (id int PRIMARY KEY, v text, n numeric); INSERT INTO numbered SELECT i, md5(i::text), i / 8.0 FROM generate_series(1, 40) i;
CREATE TABLE paired (a text, b int, doc jsonb, PRIMARY KEY (b, a)); INSERT INTO paired SELECT E'k\\t' || i % 5, i, jsonb_build_object('i', i) FROM generate_series(1, 40) i;
CREATE TABLE heap (x int, y text); INSERT INTO heap SELECT i % 7, NULLIF(i % 3, 0)::text FROM generate_series(1, 40) i;
CREATE TABLE always_empty (id int PRIMARY KEY);
CREATE TABLE wide (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text, twice text GENERATED ALWAYS AS (body || body) STORED, parts text[]);
INSERT INTO wide (body, parts) SELECT E'line\\n' || repeat(md5(i::text), i), ARRAY[NULL, 'a,b', i::text] FROM generate_series(1, 15) i;
CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES;
GRANT USAGE ON SCHEMA app TO app_user;";

fn own_mutation(dice: &mut Dice) -> String {
    let mut sql = String::new();
    for _ in 0..dice.roll(6) {
        let (every, which, salt) = (1 + dice.roll(6), dice.roll(3), dice.roll(1000));
        sql += &match dice.roll(14) {
            0 => format!("DELETE FROM app.numbered WHERE id % {every} = {which};"),
            1 => format!("UPDATE app.numbered SET v = v || '{salt}' WHERE id % {every} = {which};"),
            2 => format!("UPDATE app.numbered SET n = n * 1.0 WHERE id % {every} = {which};"),
            3 => format!(
                "INSERT INTO app.numbered SELECT {salt} * 100 + i, NULL, 'NaN' FROM generate_series(1, {every}) i ON CONFLICT DO NOTHING;"
            ),
            4 => format!("DELETE FROM app.paired WHERE b % {every} = {which};"),
            5 => format!("UPDATE app.paired SET doc = '{{\"salt\": {salt}}}' WHERE b % {every} = {which};"),
            6 => format!("INSERT INTO app.paired SELECT 'n{salt}', i FROM generate_series(1, {every}) i ON CONFLICT DO NOTHING;"),
            7 => format!("DELETE FROM app.heap WHERE ctid IN (SELECT ctid FROM app.heap LIMIT {which});"),
            8 => format!("INSERT INTO app.heap SELECT {which}, NULL FROM generate_series(1, {every});"),
            9 => format!("UPDATE app.heap SET y = '{salt}' WHERE x = {which};"),
            10 => format!("INSERT INTO app.wide (body) VALUES ('{salt}'); DELETE FROM app.wide WHERE id % {every} = {which};"),
            11 => format!("UPDATE app.wide SET parts = parts || '{salt}'::text WHERE id % {every} = {which};"),
            12 if salt % 3 == 0 => "TRUNCATE app.numbered, app.heap;".to_owned(),
            _ => "INSERT INTO app.bare DEFAULT VALUES; DELETE FROM app.bare WHERE ctid IN (SELECT ctid FROM app.bare OFFSET 3);"
                .to_owned(),
        };
    }
    sql
}

/// Keeps what is there now, as text, where no preview looks.
fn remember(cluster: &Cluster, database: &str, tables: &Tables, condition: &str) {
    let mut sql = "DROP SCHEMA IF EXISTS truth CASCADE; CREATE SCHEMA truth;".to_owned();
    for (table, key) in tables {
        let key = key.unwrap_or("t::text");
        sql +=
            &format!("CREATE TABLE truth.{table} AS SELECT {key} AS key, t::text AS line FROM app.{table} t WHERE {condition};");
    }
    cluster.sql(database, &sql);
}

/// What going back would do, by SQL over the two moments: returned, overwritten, destroyed and unchanged of each table.
fn truth(cluster: &Cluster, database: &str, tables: &Tables, condition: &str) -> Vec<[u64; 4]> {
    let sql: String = tables
        .iter()
        .map(|(table, key)| match key {
            Some(key) => format!(
                "SELECT count(*) FILTER (WHERE n.key IS NULL), count(*) FILTER (WHERE o.line <> n.line), count(*) FILTER (WHERE o.key IS NULL), count(*) FILTER (WHERE o.line = n.line)
                 FROM truth.{table} o FULL JOIN (SELECT {key} AS key, t::text AS line FROM app.{table} t WHERE {condition}) n ON o.key = n.key;"
            ),
            None => format!(
                "SELECT coalesce(sum(greatest(o.n - coalesce(n.n, 0), 0)), 0), 0, coalesce(sum(greatest(n.n - coalesce(o.n, 0), 0)), 0), coalesce(sum(least(o.n, n.n)) FILTER (WHERE o.n IS NOT NULL AND n.n IS NOT NULL), 0)
                 FROM (SELECT line, count(*) AS n FROM truth.{table} GROUP BY 1) o FULL JOIN (SELECT t::text AS line, count(*) AS n FROM app.{table} t WHERE {condition} GROUP BY 1) n ON o.line = n.line;"
            ),
        })
        .collect();
    let numbers =
        |line: &str| -> [u64; 4] { line.split('|').map(|n| n.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap() };
    cluster.sql(database, &sql).lines().map(numbers).collect()
}

/// The number that the next transaction to write anything will get.
fn next_transaction(cluster: &Cluster) -> u64 {
    cluster.sql("postgres", "SELECT pg_snapshot_xmax(pg_current_snapshot())").parse().unwrap()
}

fn counts(effect: &TableEffect) -> [u64; 4] {
    [effect.returned, effect.overwritten, effect.destroyed, effect.unchanged]
}

/// Some of the tables, or all.
fn some(dice: &mut Dice, tables: &Tables) -> Selection {
    if dice.roll(3) == 0 {
        return Selection::default();
    }
    let mut names: Vec<_> = tables.iter().filter(|_| dice.roll(2) == 0).map(|(table, _)| (*table).to_owned()).collect();
    if names.is_empty() {
        names.push(dice.pick(tables).0.to_owned());
    }
    if dice.roll(2) == 0 {
        names[0] = format!("app.{}", names[0]);
    }
    Selection { tables: names, columns: Vec::new() }
}

fn check(what: &str, tables: &Tables, selection: &Selection, preview: &Comparison, expected: &[[u64; 4]]) {
    let is_chosen = |table: &str| {
        let names = [table.to_owned(), format!("app.{table}")];
        selection.tables.is_empty() || selection.tables.iter().any(|name| names.contains(name))
    };
    let chosen: Vec<_> = tables.iter().zip(expected).filter(|((table, _), _)| is_chosen(table)).collect();
    assert_eq!(preview.tables.len(), chosen.len(), "{what}: {selection:?}");
    for ((table, _), expected) in chosen {
        let effect = preview.tables.iter().find(|effect| effect.table == format!("\"app\".\"{table}\"")).unwrap();
        assert_eq!(counts(effect), *expected, "{what}: {table}");
    }
}

struct Setting<'a> {
    world: World,
    tables: &'static Tables,
    condition: &'a str,
    mutation: fn(&mut Dice) -> String,
}

/// Previews random cases, and carries some of them out.
async fn preview_truly(seed: u64, cases: usize, setting: Setting<'_>) {
    let Setting { world, tables, condition, mutation } = setting;
    let (cluster, database, mut dice) = (world.cluster, world.scope.layout().database(), Dice::of(seed));
    let point = world.open(&world.export().await).await;
    remember(cluster, database, tables, condition);
    let recorded: Vec<u64> = truth(cluster, database, tables, condition).iter().map(|[.., unchanged]| *unchanged).collect();
    let (mut changes, mut carried_out) = (0, 0);
    for case in 0..cases {
        let what = format!("seed {seed}, case {case}");
        cluster.sql(database, &mutation(&mut dice));
        let selection = some(&mut dice, tables);
        let before = next_transaction(cluster);
        let preview = compare(&world.account, &world.scope, &point, &selection).await.unwrap();
        assert_eq!(next_transaction(cluster), before, "{what}: nothing was written");
        let expected = truth(cluster, database, tables, condition);
        check(&what, tables, &selection, &preview, &expected);
        for ([returned, overwritten, _, unchanged], recorded) in expected.iter().zip(&recorded) {
            assert_eq!(returned + overwritten + unchanged, *recorded, "{what}: every recorded row has one fate");
        }
        changes += expected.iter().flat_map(|counts| &counts[..3]).sum::<u64>();
        if case % 6 == 5 {
            // What was previewed is what happens: the selected tables are as they were, and the others as they are.
            let (tools, id) = (cluster.tools(), RestoreId::of(world.fresh()));
            let job = Job::new(&world.account, &tools, &world.scope, &id, &point).unwrap().selecting(&selection);
            let done = run(&job.approved_for(&preview.live_digest)).await;
            let now = truth(cluster, database, tables, condition);
            if let Err(error) = &done {
                // Tables that are not selected may refer to rows that would go; then nothing happens at all.
                assert!(!selection.tables.is_empty() && error.to_string().contains("fkey"), "{what}: {error}");
                assert_eq!(now, expected, "{what}: a refusal changes nothing");
                continue;
            }
            for (((table, _), now), (before, recorded)) in tables.iter().zip(&now).zip(expected.iter().zip(&recorded)) {
                let is_back = preview.tables.iter().any(|effect| effect.table == format!("\"app\".\"{table}\""));
                assert_eq!(*now, if is_back { [0, 0, 0, *recorded] } else { *before }, "{what}: {table}");
            }
            carried_out += 1;
        }
    }
    assert!(changes > 0 && carried_out > 2, "the cases were cases");
}

fn pooled(dice: &mut Dice) -> String {
    let rest = if dice.roll(9) == 0 { "DELETE FROM app.uses WHERE tenant_id = 't01';" } else { "" };
    format!("{}{}{rest}", many::mutation(dice, "t01"), many::mutation(dice, "t02"))
}

#[tokio::test]
async fn a_previews_counts_are_sqls_own_in_a_pool() {
    let (cluster, _at_rest) = quiet().await;
    many::make_for(cluster, "preview_pool", 4);
    let layout = Layout::Pool { database: "preview_pool".into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let world = World::on(cluster, "t01", layout);
    let setting = Setting { world, tables: POOLED, condition: "t.tenant_id = 't01'", mutation: pooled };
    preview_truly(11, 108, setting).await;
}

#[tokio::test]
async fn a_previews_counts_are_sqls_own_in_a_schema() {
    let (cluster, _at_rest) = quiet().await;
    fixture::database(cluster, "preview_schema");
    cluster.sql("preview_schema", OWN_TABLES);
    let world = World::on(cluster, "own", Layout::Schema { database: "preview_schema".into(), schema: "app".into() });
    preview_truly(12, 108, Setting { world, tables: OWN, condition: "true", mutation: own_mutation }).await;
}
