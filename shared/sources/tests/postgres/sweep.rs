//! Sweeps: what comes of a tenant is what its own export would have made of it, and a table is read once for all.

use std::{collections::BTreeMap, sync::Arc};

use domain::{Coded, ErrorCode, RecoveryPointId, RunId, TenantId, VaultTenantId, tenant::Layout};
use sources::postgres::{DatabaseFacts, Pool, Scope, Standing, Sweep, export};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, Parent, PointReader, PointWriter, Vault, Written};

use crate::{
    cluster::{Cluster, cluster, quiet, until},
    fixture,
    parallel::until_no_session_is_left,
    recorder::Recorder,
    world,
};

/// Ids that sort otherwise under most collations than their bytes do, and that need quoting somewhere.
const HOSTILE: [&str; 12] =
    ["acme", "ACME", "Zebra", "a-b", "ab", "o'hara", "back\\slash", "q\"uote", "Ünïcödé", "éclair", "7", "{x,y}"];

/// A pool's tables: with the tenant in front of the key, with a key and no index on the tenant, parted, with a computed column and the
/// tenant last, and one in which few have rows.
fn tables(column: &str) -> String {
    format!(
        "SET ROLE app_owner; CREATE SCHEMA app; SET search_path = app;
         CREATE TABLE customers (tenant_id {column} NOT NULL, id int, email text, PRIMARY KEY (tenant_id, id));
         CREATE TABLE tokens (id serial PRIMARY KEY, token text, tenant_id {column});
         CREATE TABLE orders (tenant_id {column} NOT NULL, id int, total numeric, PRIMARY KEY (id, tenant_id)) PARTITION BY HASH (tenant_id);
         CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);
         CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);
         CREATE TABLE notes (body text, shout text GENERATED ALWAYS AS (upper(body)) STORED, id int PRIMARY KEY, tenant_id {column});
         CREATE TABLE rare (tenant_id {column} PRIMARY KEY);
         CREATE TABLE countries (code text PRIMARY KEY); INSERT INTO countries VALUES ('DE');"
    )
}

/// Rows of each tenant, between each other's on disk, and as many of one that nobody knows and of nobody.
fn rows(tenants: &[String], stranger: &str, column: &str) -> String {
    let all = tenants.iter().map(String::as_str).chain([stranger]).map(|id| format!("('{}'::{column})", id.replace('\'', "''")));
    let all = all.collect::<Vec<_>>().join(", ");
    format!(
        "CREATE TEMP TABLE tenants (id {column}); INSERT INTO tenants VALUES {all};
         INSERT INTO app.customers SELECT t.id, i, E'tab\\t' || i || E'\\n\\\\' FROM generate_series(1, 40) i, tenants t;
         INSERT INTO app.tokens (token, tenant_id) SELECT md5(i || t.id::text), t.id FROM generate_series(1, 60) i, tenants t;
         INSERT INTO app.tokens (token, tenant_id) SELECT 'nobody''s', NULL FROM generate_series(1, 5);
         INSERT INTO app.orders SELECT t.id, i, i * 1.10 FROM generate_series(1, 30) i, tenants t;
         INSERT INTO app.notes (body, id, tenant_id) SELECT repeat('long', 5000), row_number() OVER (ORDER BY i), t.id FROM generate_series(1, 20) i, tenants t;
         INSERT INTO app.rare SELECT id FROM tenants ORDER BY id LIMIT 3; ANALYZE;"
    )
}

fn owned(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

pub(crate) struct Pooled {
    cluster: &'static Cluster,
    vault: Vault,
    scopes: Vec<Scope>,
    next: std::cell::Cell<u128>,
}

struct Made {
    point: RecoveryPointId,
    written: Written,
    facts: DatabaseFacts,
}

impl Pooled {
    pub(crate) fn new(cluster: &'static Cluster, database: &str, tenants: &[String]) -> Self {
        let layout = Layout::Pool { database: database.into(), schema: "app".into(), tenant_column: "tenant_id".into() };
        let vault = Vault::new(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryKeys::new()),
            Arc::new(MemorySigning::new()),
            "test".parse().unwrap(),
        );
        let scopes = tenants.iter().map(|tenant| world::scope(tenant, layout.clone())).collect();
        Self { cluster, vault, scopes, next: std::cell::Cell::new(0) }
    }

    /// One whose tables have tenant columns of this type.
    fn with(database: &str, tenants: &[String], stranger: &str, column: &str) -> Self {
        fixture::database(cluster(), database);
        let plain = column.split(" COLLATE").next().unwrap();
        cluster().sql(database, &[tables(column), rows(tenants, stranger, plain)].concat());
        Self::new(cluster(), database, tenants)
    }

    fn fresh(&self) -> Uuid {
        self.next.set(self.next.get() + 1);
        Uuid::from_u128(self.next.get())
    }

    fn scope(&self, tenant: &TenantId) -> &Scope {
        self.scopes.iter().find(|scope| scope.tenant() == tenant).unwrap()
    }

    async fn writer(&self, tenant: &TenantId, parent: Option<&Made>) -> PointWriter {
        let parent = parent.map(|made| Parent { point: made.point, reference: made.written.point.clone() });
        let (point, run) = (RecoveryPointId::from_uuid(self.fresh()), RunId::from_uuid(self.fresh()));
        self.vault.begin(name(tenant), point, run, parent.as_ref()).await.unwrap()
    }

    async fn finish(&self, writer: PointWriter, facts: DatabaseFacts) -> Made {
        let point = writer.point();
        let written = writer.finish(facts.encode().unwrap(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        Made { point, written, facts }
    }

    async fn alone(&self, tenant: &TenantId) -> Made {
        let writer = self.writer(tenant, None).await;
        let facts = export(&self.cluster.master(), &self.cluster.tools(), self.scope(tenant), &writer).await.unwrap();
        self.finish(writer, facts).await
    }

    /// Sweeps one tenant on top of a recovery point.
    async fn swept(&self, sweep: &mut Sweep<'_>, tenant: &TenantId, parent: Option<&Made>) -> Made {
        let writer = self.writer(tenant, parent).await;
        let facts = sweep.export(tenant, &writer).await.unwrap();
        self.finish(writer, facts).await
    }

    pub(crate) async fn pool(&self) -> Pool {
        Pool::open(&self.cluster.master(), &self.scopes).await.unwrap()
    }

    async fn open(&self, tenant: &TenantId, made: &Made) -> PointReader {
        self.vault.open(name(tenant), made.point, &made.written.point).await.unwrap()
    }

    /// Exports every tenant alone, then sweeps all of them, and finds no difference. Returns the order of the sweep.
    async fn check_equal(&self) -> Vec<String> {
        let mut alone = BTreeMap::new();
        for scope in &self.scopes {
            alone.insert(scope.tenant().clone(), self.alone(scope.tenant()).await);
        }
        let pool = self.pool().await;
        let order: Vec<_> = pool.tenants().cloned().collect();
        let mut sweep = pool.sweep().await.unwrap();
        for tenant in &order {
            let expected = &alone[tenant];
            let found = self.swept(&mut sweep, tenant, Some(expected)).await;
            self.assert_equal(tenant, &found, expected).await;
            assert_eq!(found.written.chunks_reused, found.written.chunks, "{tenant}: every chunk is cut where it was");
            assert_eq!(found.written.chunks, expected.written.chunks);
        }
        drop(sweep);
        pool.close().await;
        order.iter().map(ToString::to_string).collect()
    }

    async fn assert_equal(&self, tenant: &TenantId, found: &Made, expected: &Made) {
        let streams = async |made: &Made| {
            let point = self.open(tenant, made).await;
            let streams = point.manifest().streams.iter();
            streams.map(|stream| (stream.header.clone(), stream.rows, stream.digest, stream.slices.len())).collect::<Vec<_>>()
        };
        assert_eq!(streams(found).await, streams(expected).await, "{tenant}");
        let mut facts = found.facts.clone();
        (facts.read_at, facts.lsn) = (expected.facts.read_at.clone(), expected.facts.lsn.clone());
        assert_eq!(facts, expected.facts, "{tenant}");
    }
}

fn name(tenant: &TenantId) -> VaultTenantId {
    let hash = blake3::hash(tenant.as_str().as_bytes());
    VaultTenantId::from_uuid(Uuid::from_u128(u128::from_be_bytes(hash.as_bytes()[..16].try_into().unwrap())))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swept_tenant_is_what_its_own_export_makes_of_it_whatever_its_id_is_and_however_ids_sort() {
    for (database, column) in [
        ("swept_c", "text COLLATE \"C\""),
        ("swept_icu", "text COLLATE \"en-x-icu\""),
        ("swept_default", "text"),
        ("swept_varchar", "varchar(20) COLLATE \"de-x-icu\""),
    ] {
        let pooled = Pooled::with(database, &owned(&HOSTILE), "stranger", column);
        let order = pooled.check_equal().await;
        assert_eq!(order.len(), HOSTILE.len(), "{column}");
        let sorted =
            cluster().sql(database, "SELECT DISTINCT tenant_id FROM app.customers WHERE tenant_id <> 'stranger' ORDER BY 1");
        assert_eq!(order.join("\n"), sorted, "{column}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_are_numbers_or_uuids_are_swept_too() {
    let numbers = owned(&["10", "9", "-3", "200000"]);
    assert_eq!(Pooled::with("swept_int", &numbers, "77", "int").check_equal().await, ["-3", "9", "10", "200000"]);
    let numbers = owned(&["10", "9", "3000000000"]);
    assert_eq!(Pooled::with("swept_bigint", &numbers, "77", "bigint").check_equal().await, ["9", "10", "3000000000"]);
    let uuids: Vec<_> = [9, 3, u128::MAX].map(|number| Uuid::from_u128(number).to_string()).into();
    let order = Pooled::with("swept_uuid", &uuids, &Uuid::nil().to_string(), "uuid").check_equal().await;
    assert_eq!(order, [&*uuids[1], &*uuids[0], &*uuids[2]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_name_tenants_by_other_types_and_those_beyond_the_sessions_are_read_in_the_same_view() {
    let tenants = owned(&["1", "2", "30"]);
    let pooled = Pooled::with("swept_mixed", &tenants, "99", "text");
    let more: String = (0..9).map(|n| format!("CREATE TABLE app.more_{n} (tenant_id text, id int PRIMARY KEY); INSERT INTO app.more_{n} SELECT '{}', i FROM generate_series(1, {}) i;", n % 3, n * 10)).collect();
    let others = "CREATE TABLE app.numbers (tenant_id int, id int PRIMARY KEY); INSERT INTO app.numbers SELECT i % 3, i FROM generate_series(1, 500) i;
        CREATE TABLE app.padded (tenant_id char(5), id int PRIMARY KEY); INSERT INTO app.padded SELECT i % 3, i FROM generate_series(1, 90) i;
        CREATE TABLE app.computed (id int PRIMARY KEY, tenant_id text GENERATED ALWAYS AS ((id % 3)::text) STORED); INSERT INTO app.computed SELECT i FROM generate_series(1, 90) i;
        CREATE TABLE app.collated (tenant_id text COLLATE \"C\", id int PRIMARY KEY); INSERT INTO app.collated SELECT i % 3, i FROM generate_series(1, 90) i;";
    // The text has no immutable cast from int as a computed column in every version, so that column is made of a text.
    let others = others.replace("(id % 3)::text", "CASE id % 3 WHEN 0 THEN '0' WHEN 1 THEN '1' ELSE '2' END");
    cluster().sql("swept_mixed", &format!("SET ROLE app_owner; {more}{others}"));
    assert_eq!(pooled.check_equal().await, ["1", "2", "30"]);

    let pool = pooled.pool().await;
    let sweep = pool.sweep().await.unwrap();
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'swept_mixed' AND application_name = 'holdfast'";
    assert_eq!(cluster().sql("postgres", sessions), "9", "one holds the view, and eight tables are swept");
    drop(sweep);
    pool.close().await;
    until_no_session_is_left("swept_mixed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_strangers_and_of_nobody_are_given_to_nobody() {
    let tenants = owned(&["b", "d"]);
    let pooled = Pooled::with("swept_strangers", &tenants, "c", "text");
    let pool = pooled.pool().await;
    let mut sweep = pool.sweep().await.unwrap();
    for tenant in &tenants {
        let recorder = Recorder::default();
        sweep.export(&tenant.parse().unwrap(), &recorder).await.unwrap();
        for (table, field, rows) in [("customers", 0, 40), ("tokens", 2, 60), ("orders", 0, 30), ("notes", 2, 20)] {
            let text = recorder.slices(table).concat();
            assert_eq!(text.lines().count(), rows, "{table}");
            assert!(
                text.lines().all(|line| line.split('\t').nth(field) == Some(tenant)),
                "{table} has rows that are not {tenant}'s"
            );
        }
    }
    drop(sweep);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_fails_or_is_left_out_harms_no_other() {
    let tenants = owned(&["a", "b", "c", "d", "e"]);
    let pooled = Pooled::with("swept_harm", &tenants, "x", "text");
    let ids: Vec<TenantId> = tenants.iter().map(|id| id.parse().unwrap()).collect();
    let pool = pooled.pool().await;
    let mut sweep = pool.sweep().await.unwrap();
    let check = async |sweep: &mut Sweep<'_>, tenant: &TenantId| {
        let found = pooled.swept(sweep, tenant, None).await;
        pooled.assert_equal(tenant, &found, &pooled.alone(tenant).await).await;
    };
    check(&mut sweep, &ids[0]).await;
    // Stops in the middle: what is left of this one's rows is passed over.
    let error = sweep.export(&ids[1], &Recorder::refusing("notes")).await.unwrap_err();
    assert!(error.to_string().contains("refused by the test"), "{error}");
    assert_eq!(sweep.standing(), Standing::Going);
    // The third one's turn is not taken.
    check(&mut sweep, &ids[3]).await;
    for past in [&ids[1], &ids[2], &ids[3], &"nobody".parse().unwrap()] {
        let recorder = Recorder::default();
        let error = sweep.export(past, &recorder).await.unwrap_err();
        assert!(error.to_string().contains("is past tenant"), "an empty recovery point must not come of it: {error}");
    }
    drop(sweep);
    pool.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_id_is_no_value_of_the_column_is_left_to_an_export_of_its_own() {
    let mut tenants = owned(&["1", "2"]);
    let mut pooled = Pooled::with("swept_spelt", &tenants, "99", "int");
    tenants.extend(owned(&["acme", "007"]));
    pooled.scopes = Pooled::new(cluster(), "swept_spelt", &tenants).scopes;
    let pool = pooled.pool().await;
    let order: Vec<_> = pool.tenants().map(TenantId::as_str).collect();
    assert_eq!(order, ["1", "2"]);
    let mut sweep = pool.sweep().await.unwrap();
    assert_eq!(sweep.export(&"2".parse().unwrap(), &Recorder::default()).await.unwrap().tables.len(), 5);
    drop(sweep);
    pool.close().await;
}

#[tokio::test]
async fn a_tenant_whose_rows_name_objects_of_the_pool_is_left_to_an_export_of_its_own_which_is_refused() {
    let pooled = Pooled::with("sweep_naming", &owned(&["a", "b", "c"]), "stranger", "text");
    let naming = "ALTER TABLE app.notes ADD about regclass; UPDATE app.notes SET about = 'app.orders' WHERE tenant_id = 'b';
        UPDATE app.notes SET about = 'pg_class' WHERE tenant_id = 'c'";
    cluster().sql("sweep_naming", naming);
    let pool = pooled.pool().await;
    assert_eq!(pool.tenants().map(TenantId::as_str).collect::<Vec<_>>(), ["a", "c"]);
    pool.close().await;
    let b = &pooled.scopes[1];
    let writer = pooled.writer(b.tenant(), None).await;
    let refused = export(&cluster().master(), &cluster().tools(), b, &writer).await.unwrap_err();
    assert!(refused.code() == ErrorCode::SourceRefused && refused.to_string().contains("about"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_without_a_row_has_every_table_and_none_of_it() {
    let mut pooled = Pooled::with("swept_empty", &owned(&["a"]), "x", "text");
    pooled.scopes = Pooled::new(cluster(), "swept_empty", &owned(&["0", "a", "z"])).scopes;
    assert_eq!(pooled.check_equal().await, ["0", "a", "z"]);
}

/// More rows of each tenant than any buffer between server and reader holds.
fn long(database: &str, tenants: &[String]) -> Pooled {
    fixture::database(cluster(), database);
    let ids = tenants.iter().map(|id| format!("('{id}')")).collect::<Vec<_>>().join(", ");
    cluster().sql(
        database,
        &format!(
            "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.long (tenant_id text, id int, body text, PRIMARY KEY (tenant_id, id));
             ALTER TABLE app.long ALTER body SET STORAGE PLAIN;
             INSERT INTO app.long SELECT t.id, i, repeat('x', 7000) FROM generate_series(1, 3000) i, (VALUES {ids}) t(id)"
        ),
    );
    Pooled::new(cluster(), database, tenants)
}

async fn check_end(database: &str, function: &str, expected: Standing, code: ErrorCode) {
    let tenants = owned(&["a", "b", "c"]);
    let pooled = long(database, &tenants);
    let ids: Vec<TenantId> = tenants.iter().map(|id| id.parse().unwrap()).collect();
    let pool = pooled.pool().await;
    let mut sweep = pool.sweep().await.unwrap();
    pooled.swept(&mut sweep, &ids[0], None).await;
    let reading = format!("datname = '{database}' AND application_name = 'holdfast' AND state = 'active'");
    cluster().sql("postgres", &format!("SELECT {function}(pid) FROM pg_stat_activity WHERE {reading}"));
    let mut errors = Vec::new();
    for tenant in &ids[1..] {
        match sweep.export(tenant, &Recorder::default()).await {
            Ok(facts) => panic!("{tenant} has {} rows of a statement that was ended", facts.tables[0].rows),
            Err(error) => errors.push(error.code()),
        }
        assert_eq!(sweep.standing(), expected);
    }
    assert_eq!(errors, [code, ErrorCode::SourceUnreachable]);
    drop(sweep);
    pool.close().await;
    until_no_session_is_left(database).await;
    // The next delivery, or an export of its own.
    assert_eq!(pooled.alone(&ids[2]).await.written.rows, 3000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_loses_a_connection_leaves_the_rest_to_the_next_delivery() {
    check_end("swept_lost", "pg_terminate_backend", Standing::Lost, ErrorCode::SourceUnreachable).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_of_which_a_statement_fails_leaves_the_rest_to_exports_of_their_own() {
    check_end("swept_broken", "pg_cancel_backend", Standing::Broken, ErrorCode::Throttled).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_that_is_given_up_leaves_no_session() {
    let pooled = long("swept_given_up", &owned(&["a", "b", "c"]));
    let pool = pooled.pool().await;
    let mut sweep = pool.sweep().await.unwrap();
    sweep.export(&"a".parse().unwrap(), &Recorder::default()).await.unwrap();
    drop(sweep);
    pool.close().await;
    until_no_session_is_left("swept_given_up").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swept_pool_is_one_moment_while_rows_move_between_tenants() {
    let tenants = owned(&["a", "b", "c", "d"]);
    fixture::database(cluster(), "swept_moving");
    cluster().sql(
        "swept_moving",
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.coins (id int PRIMARY KEY, tenant_id text); CREATE TABLE app.stop ();
         INSERT INTO app.coins SELECT i, chr(97 + i % 4) FROM generate_series(1, 4000) i",
    );
    let moves = "DO $$DECLARE i int := 0; BEGIN WHILE NOT EXISTS (SELECT FROM app.stop) LOOP i := i + 1;
        UPDATE app.coins SET tenant_id = chr(97 + (ascii(tenant_id) - 96) % 4) WHERE id = 1 + (i * 7) % 4000; COMMIT; END LOOP; END$$";
    let moving = std::thread::spawn(|| cluster().sql("swept_moving", moves));
    let pooled = Pooled::new(cluster(), "swept_moving", &tenants);
    for _ in 0..10 {
        let pool = pooled.pool().await;
        let mut sweep = pool.sweep().await.unwrap();
        let mut coins = Vec::new();
        for tenant in &tenants {
            let recorder = Recorder::default();
            sweep.export(&tenant.parse().unwrap(), &recorder).await.unwrap();
            let text = recorder.slices("coins").concat();
            coins.extend(text.lines().map(|line| line.split('\t').next().unwrap().parse::<u32>().unwrap()));
        }
        coins.sort_unstable();
        assert!(coins == (1..=4000).collect::<Vec<_>>(), "every coin is one tenant's, {} were found", coins.len());
        drop(sweep);
        pool.close().await;
    }
    cluster().sql("swept_moving", "INSERT INTO app.stop DEFAULT VALUES");
    moving.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_without_an_index_on_the_tenant_is_read_once_for_all_of_them() {
    let (cluster, _guard) = quiet().await;
    fixture::database(cluster, "swept_scans");
    let tenants: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    cluster.sql("swept_scans", &[tables("text"), rows(&tenants, "stranger", "text")].concat());
    let pooled = Pooled::new(cluster, "swept_scans", &tenants);
    // A session's counts are in the sums once it is gone.
    let scans = async || {
        let gone = "NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = 'swept_scans' AND application_name = 'holdfast')";
        let wait = format!(
            "DO $$BEGIN FOR i IN 1..6000 LOOP IF {gone} THEN RETURN; END IF; PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP; END$$"
        );
        cluster.sql("swept_scans", &wait);
        let sum = "SELECT string_agg(relname || ' ' || seq_scan, ', ' ORDER BY relname) FROM pg_stat_user_tables WHERE relname IN ('notes', 'tokens')";
        let found = cluster.sql("swept_scans", &format!("{sum}; SELECT pg_stat_reset()"));
        found.trim().to_owned()
    };
    scans().await;
    for scope in &pooled.scopes {
        pooled.alone(scope.tenant()).await;
    }
    assert_eq!(scans().await, "notes 20, tokens 20", "one by one, each tenant costs a scan");
    let pool = pooled.pool().await;
    let mut sweep = pool.sweep().await.unwrap();
    for tenant in pool.tenants() {
        pooled.swept(&mut sweep, tenant, None).await;
    }
    drop(sweep);
    pool.close().await;
    assert_eq!(scans().await, "notes 1, tokens 1");
}

#[tokio::test]
async fn nobody_can_change_a_table_under_a_sweep() {
    let pooled = Pooled::with("swept_locked", &owned(&["a", "b"]), "x", "text");
    let pool = pooled.pool().await;
    let altering = tokio::task::spawn_blocking(|| cluster().sql("swept_locked", "ALTER TABLE app.notes ADD COLUMN late int"));
    until(
        "SELECT FROM pg_stat_activity WHERE datname = 'swept_locked' AND wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE%'"
            .into(),
    )
    .await;
    let mut sweep = pool.sweep().await.unwrap();
    for tenant in ["a", "b"] {
        let facts = sweep.export(&tenant.parse().unwrap(), &Recorder::default()).await.unwrap();
        assert_eq!(facts.table("\"app\".\"notes\"").unwrap().columns.len(), 4);
    }
    drop(sweep);
    pool.close().await;
    altering.await.unwrap();
}
