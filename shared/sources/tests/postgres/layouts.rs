//! The four layouts a tenant may have, how each is destroyed, and what its tables say to somebody who shares none of our code.

use domain::{
    request::{Selection, TableEffect},
    tenant::Layout,
};
use sources::postgres::{compare, digest, restore::prove};
use vault::{Digester, PointReader};

use crate::{cluster::Cluster, fixture, world::World};

/// The schema of all tables, whatever the layout.
pub(crate) const SCHEMA: &str = "app";
const ACCOUNT: &str = "acme";

/// A tenant in every layout, each in a database of its own that belongs to `app_owner`.
pub(crate) fn worlds(name: &str) -> [(&'static str, World); 4] {
    let database = |layout: &str| format!("{name}_{layout}");
    let (schema, tenant_column) = (|| SCHEMA.to_owned(), "tenant_id".to_owned());
    [
        ("silo", Layout::Silo { database: database("silo") }),
        ("database", Layout::Database { database: database("database") }),
        ("schema", Layout::Schema { database: database("schema"), schema: schema() }),
        ("pool", Layout::Pool { database: database("pool"), schema: schema(), tenant_column }),
    ]
    .map(|(layout, at)| {
        let world = World::new(ACCOUNT, at);
        fixture::database(world.cluster, &database(layout));
        (layout, world)
    })
}

/// Two sets of settings under which a value's text differs as much as it can.
const SETTINGS: [&str; 2] = [
    "SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'iso_8601'; SET TimeZone = 'UTC'; SET bytea_output = 'hex'; SET extra_float_digits = 3",
    "SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'postgres_verbose'; SET TimeZone = 'Asia/Kathmandu'; SET bytea_output = 'escape'; SET extra_float_digits = 1",
];

const TABLES: &str = "FROM pg_class c WHERE relnamespace = 'app'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND relpersistence = 'p'";

/// What `psql` says about every table: how many rows, hashes of their text under both settings, their rows as `COPY` writes them, and
/// for tables of built-in types a hash of their binary form (that of names of objects is a number, which a restored object has anew).
pub(crate) fn text(cluster: &Cluster, database: &str) -> Vec<String> {
    let only = "CASE relkind WHEN 'p' THEN '' ELSE 'ONLY ' END || oid::regclass";
    let mut sql = String::new();
    for settings in SETTINGS {
        sql += &format!(
            "{settings}; SELECT format($$SELECT %L, count(*), md5(string_agg(of::text, E'\\n' ORDER BY of::text COLLATE \"C\")) FROM %s of$$,
             oid::regclass, {only}) {TABLES} ORDER BY relname \\gexec\n"
        );
    }
    sql += &format!(
        "SELECT format($$SELECT %L, 'binary', md5(string_agg(encode(record_send(of), 'hex'), ',' ORDER BY record_send(of))) FROM %s of$$, oid::regclass, {only})
         {TABLES} AND NOT EXISTS (SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid
             WHERE attrelid = c.oid AND attnum > 0 AND (t.oid >= 16384 OR typsend = 0 OR typname ~ '^reg')) ORDER BY relname \\gexec
         SELECT format($$COPY (SELECT * FROM %s of ORDER BY of::text COLLATE \"C\") TO STDOUT$$, {only}) {TABLES} ORDER BY relname \\gexec\n"
    );
    cluster.sql(database, &sql).lines().map(str::to_owned).collect()
}

/// Names the first differences, not megabytes of them.
pub(crate) fn assert_same_text(layout: &str, before: &[String], after: &[String]) {
    let short = |line: &&String| line.chars().take(160).collect::<String>();
    let missing: Vec<_> = before.iter().filter(|line| !after.contains(line)).take(20).map(|line| short(&line)).collect();
    let surplus: Vec<_> = after.iter().filter(|line| !before.contains(line)).take(20).map(|line| short(&line)).collect();
    assert!(before == after, "{layout}: missing: {missing:#?}\nsurplus: {surplus:#?}");
}

/// The live data equals the recovery point for a digest and for a preview.
pub(crate) async fn assert_unchanged(layout: &str, world: &World, point: &PointReader) {
    let live = digest(&world.account, &world.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(live.differences(point.manifest()), Vec::<String>::new(), "{layout}");
    let preview = compare(&world.account, &world.scope, point, &Selection::default()).await.unwrap();
    // What the recovery point leaves out comes back empty, and the preview says so.
    let is_kept = |table: &&TableEffect| point.manifest().stream(&table.table).is_some();
    let changed = |table: &&TableEffect| is_kept(table) && table.returned + table.overwritten + table.destroyed > 0;
    let changed: Vec<_> = preview.tables.iter().filter(changed).collect();
    assert!(changed.is_empty() && preview.live_digest == live.identity(), "{layout}: {changed:?}");
    assert_eq!(preview.tables.iter().map(|table| table.unchanged).sum::<u64>(), live.rows(), "{layout}");
}

/// Takes away whatever is the tenant's; of a pool by the given statements.
pub(crate) fn destroy(world: &World, in_pool: &str) {
    match world.scope.layout() {
        Layout::Silo { database } | Layout::Database { database } => {
            world.cluster.sql("postgres", &format!("DROP DATABASE {database} WITH (FORCE)"));
        }
        Layout::Schema { database, .. } => drop(world.cluster.sql(database, "DROP SCHEMA app CASCADE")),
        Layout::Pool { database, .. } => drop(world.cluster.sql(database, in_pool)),
    }
}

/// Exports, destroys, restores, and compares what `psql` says before and after.
pub(crate) async fn round_trip(layout: &str, world: &World, in_pool: &str) -> PointReader {
    let database = world.scope.layout().database();
    let before = text(world.cluster, database);
    let point = world.open(&world.export().await).await;
    assert_unchanged(layout, world, &point).await;
    destroy(world, in_pool);
    let outcome = world.restore(&point).await.unwrap();
    assert!(outcome.changed, "{layout}: there was nothing to restore");
    assert_same_text(layout, &before, &text(world.cluster, database));
    prove(&world.account, &world.scope, &point, &Selection::default()).await.unwrap();
    assert_unchanged(layout, world, &point).await;
    assert!(!world.restore(&point).await.unwrap().changed, "{layout}: a second restore changes nothing");
    assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new(), "{layout}");
    point
}
