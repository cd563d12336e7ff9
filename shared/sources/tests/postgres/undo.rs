//! Restores that are taken back.

use domain::{
    Coded, ErrorCode,
    request::{Selection, TableEffect},
    tenant::Layout,
};
use sources::{
    SourceError,
    postgres::{
        Comparison, Endpoint, LiveDigest, compare, digest,
        restore::{Job, Outcome, RestoreId, Undo, compare_undo, prove_undo, run, undo},
    },
};
use uuid::Uuid;
use vault::{Digester, PointReader};

use crate::{
    cut::Cut,
    fixture,
    layouts::{SCHEMA, worlds},
    world::World,
};

/// What happened to a tenant before somebody had it restored: rows, definitions, owners and privileges, and a table no recovery point holds.
const DAMAGE: &str = "SET session_replication_role = replica; DELETE FROM app.customers WHERE email < 'user2'; UPDATE app.orders SET total = 0 WHERE id = 1;
    INSERT INTO app.parent VALUES (9); INSERT INTO app.sessions VALUES (2, 'of the time before'); DROP VIEW app.turnover; GRANT SELECT ON app.orders TO other_owner;
    ALTER TABLE app.parent OWNER TO other_owner; ALTER TABLE app.big ADD COLUMN extra int DEFAULT 7; COMMENT ON TABLE app.audit IS 'looked at';
    SET ROLE app_owner; CREATE TABLE app.new_table AS SELECT 1 AS one; CREATE INDEX ON app.new_table (one)";

const DAMAGE_IN_POOL: &str = "SET session_replication_role = replica;
    DELETE FROM app.orders WHERE tenant_id = 'acme' AND customer > 10; DELETE FROM app.customers WHERE tenant_id = 'acme' AND id > 40;
    UPDATE app.customers SET id = id + 1000 WHERE tenant_id = 'acme' AND id = 5; UPDATE app.customers SET referred_by = 1005 WHERE tenant_id = 'acme' AND referred_by = 5;
    UPDATE app.orders SET customer = 1005, total = 1.1 WHERE tenant_id = 'acme' AND customer = 5;
    UPDATE app.customers SET doc = '{\"a\": 1}', mood = 'bad' WHERE tenant_id = 'acme' AND id = 7;
    DELETE FROM app.tokens WHERE tenant_id = 'acme'; INSERT INTO app.tokens (tenant_id, token) VALUES ('acme', 'new')";

/// A tenant whose data was damaged and then restored.
struct Restored {
    layout: &'static str,
    world: World,
    point: PointReader,
    restore: RestoreId,
    /// The tables that it was limited to.
    selection: Selection,
    /// The digest of what was live before the restore, as its preview recorded it.
    recorded: String,
    /// All that `pg_dump` said before and after it.
    before: Vec<String>,
    after: Vec<String>,
}

impl Restored {
    /// One in each layout. `name` is that of the test's databases.
    async fn everywhere(name: &str) -> Vec<Self> {
        Self::everywhere_of(name, |_| &[]).await
    }

    /// Likewise, with only some tables restored.
    async fn everywhere_of(name: &str, tables: fn(&str) -> &'static [&'static str]) -> Vec<Self> {
        let mut all = Vec::new();
        for (layout, world) in worlds(name) {
            match layout {
                "pool" => fixture::pooled(world.cluster, world.scope.layout().database()),
                _ => fixture::application(world.cluster, world.scope.layout().database(), SCHEMA, 100),
            }
            let selection =
                Selection { tables: tables(layout).iter().map(|&table| table.to_owned()).collect(), columns: Vec::new() };
            let restored = Self::of(layout, world, selection, |world, layout| {
                let damage = if layout == "pool" { DAMAGE_IN_POOL } else { DAMAGE };
                world.cluster.sql(world.scope.layout().database(), damage);
            });
            all.push(Box::pin(restored).await);
        }
        all
    }

    async fn of(layout: &'static str, world: World, selection: Selection, damage: impl Fn(&World, &str)) -> Self {
        let point = world.open(&world.export().await).await;
        damage(&world, layout);
        let before = dump(&world);
        let recorded = compare(&world.account, &world.scope, &point, &selection).await.unwrap().live_digest;
        let (restore, tools) = (world.id.clone(), world.cluster.tools());
        let job = Job::new(&world.account, &tools, &world.scope, &restore, &point).unwrap();
        let job = job.selecting(&selection).approved_for(&recorded);
        assert!(run(&job).await.unwrap().changed, "{layout}");
        let after = dump(&world);
        Self { layout, world, point, restore, selection, recorded, before, after }
    }

    fn database(&self) -> &str {
        self.world.scope.layout().database()
    }

    /// A table of the tenant's in every layout, and a row that an application adds to it.
    fn written(&self) -> (&'static str, &'static str) {
        match self.layout {
            "pool" => ("\"app\".\"tokens\"", "INSERT INTO app.tokens (id, tenant_id, token) VALUES (7777, 'acme', 'since')"),
            _ => ("\"app\".\"parent\"", "INSERT INTO app.parent VALUES (7777)"),
        }
    }

    /// Runs `work` with the undo of this restore, or of another, under the id made of a number.
    async fn with<T>(
        &self,
        (number, of, recorded): (u64, &RestoreId, &str),
        account: &Endpoint,
        approved: Option<&str>,
        work: impl AsyncFnOnce(&Undo<'_>) -> T,
    ) -> T {
        let (id, tools) = (self.own(number), self.world.cluster.tools());
        let mut job = Job::new(account, &tools, &self.world.scope, &id, &self.point).unwrap().selecting(&self.selection);
        if let Some(approved) = approved {
            job = job.approved_for(approved);
        }
        work(&Undo::new(job, of, recorded, "restore recovery point rp_before instead").unwrap()).await
    }

    async fn preview(&self, number: u64) -> Result<Comparison, SourceError> {
        self.with((number, &self.restore, &self.recorded), &self.world.account, None, async |undo| compare_undo(undo).await).await
    }

    async fn undo(&self, number: u64, approved: Option<&str>) -> Result<Outcome, SourceError> {
        self.with((number, &self.restore, &self.recorded), &self.world.account, approved, async |of| undo(of).await).await
    }

    async fn live_digest(&self) -> String {
        let digester = Digester::new(self.point.tenant_secret());
        let live = digest(&self.world.account, &self.world.scope, &digester).await.unwrap();
        live.map_or_else(|| LiveDigest::ABSENT.to_owned(), |live| live.identity())
    }

    async fn assert_as_before(&self) {
        assert_same(self.layout, &self.before, &dump(&self.world));
        assert_eq!(self.live_digest().await, self.recorded, "{}", self.layout);
    }

    /// The id of an undo, which no other test's or layout's on the same server has.
    fn own(&self, number: u64) -> RestoreId {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.database().as_bytes()).update(&number.to_be_bytes());
        let hash = hasher.finalize();
        RestoreId::of(Uuid::from_slice(&hash.as_bytes()[..16]).unwrap())
    }

    async fn assert_left(&self, number: u64) {
        for id in [&self.restore, &self.own(number)] {
            assert_eq!(self.world.cluster.leftovers(self.database(), id).await, Vec::<String>::new(), "{}", self.layout);
        }
    }
}

/// All of the database or schema, or of a pool all tenants' rows; sequences of a pool are everybody's and only move on.
fn dump(world: &World) -> Vec<String> {
    let database = world.scope.layout().database();
    let has_database = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    let has_schema = format!("SELECT count(*) FROM pg_namespace WHERE nspname = '{SCHEMA}'");
    if world.cluster.sql("postgres", &has_database) == "0" || world.cluster.sql(database, &has_schema) == "0" {
        return Vec::new();
    }
    let lines = world.cluster.dump(database, Some(SCHEMA)).into_iter();
    lines.filter(|line| !matches!(world.scope.layout(), Layout::Pool { .. }) || !line.contains("setval")).collect()
}

fn assert_same(layout: &str, before: &[String], after: &[String]) {
    let missing: Vec<_> = before.iter().filter(|line| !after.contains(line)).take(10).collect();
    let surplus: Vec<_> = after.iter().filter(|line| !before.contains(line)).take(10).collect();
    assert!(before == after, "{layout}: missing: {missing:#?}\nsurplus: {surplus:#?}");
}

fn counts(tables: &[TableEffect], name: &str) -> [u64; 4] {
    let found = tables.iter().find(|effect| effect.table == name).unwrap();
    [found.returned, found.overwritten, found.destroyed, found.unchanged]
}

#[tokio::test]
async fn what_was_live_before_a_restore_comes_back_exactly_and_so_does_what_that_replaced() {
    for it in Restored::everywhere("undone").await {
        let (layout, (table, write)) = (it.layout, it.written());
        // What was written since the restore would go, and is counted.
        it.world.cluster.sql(it.database(), write);
        let (newer, preview) = (dump(&it.world), it.preview(501).await.unwrap());
        assert_eq!(counts(&preview.tables, table)[2], if layout == "pool" { 51 } else { 1 }, "{layout}: {:?}", preview.tables);
        if layout == "pool" {
            assert_eq!(counts(&preview.tables, table), [1, 0, 51, 0], "{:?}", preview.tables);
            assert_eq!(counts(&preview.tables, "\"app\".\"customers\""), [1, 2, 11, 37], "{:?}", preview.tables);
        } else {
            assert_eq!(counts(&preview.tables, table), [1, 0, 1, 1], "{layout}: {:?}", preview.tables);
            assert_eq!(counts(&preview.tables, "\"app\".\"orders\""), [0, 1, 0, 99], "{layout}");
            assert_eq!(counts(&preview.tables, "\"app\".\"sessions\""), [2, 0, 0, 0], "{layout}");
            assert_eq!(counts(&preview.tables, "\"app\".\"new_table\""), [1, 0, 0, 0], "{layout}");
            assert!(preview.notes.iter().any(|note| note.contains("lost column \"extra\"")), "{layout}: {:?}", preview.notes);
        }
        assert_eq!(preview.live_digest, it.live_digest().await, "{layout}");

        let outcome = it.undo(501, Some(&preview.live_digest)).await.unwrap();
        assert_eq!((outcome.changed, outcome.undo_copy.clone()), (true, Some(format!("hf_undo_{}", it.own(501)))), "{layout}");
        it.assert_as_before().await;
        let first = (501, &it.restore, it.recorded.as_str());
        let proof = it.with(first, &it.world.account, None, async |undo| prove_undo(undo).await).await.unwrap();
        assert_eq!((proof.live_digest.as_str(), proof.rows), (it.recorded.as_str(), outcome.rows), "{layout}");

        // Delivered again: nothing happens. Asked for again: nothing is to be done.
        let again = it.undo(501, Some(&preview.live_digest)).await.unwrap();
        assert_eq!((again.changed, again.undo_copy), (false, outcome.undo_copy), "{layout}");
        let nothing = it.preview(502).await.unwrap();
        assert!(
            nothing.tables.iter().all(|table| table.returned + table.overwritten + table.destroyed == 0),
            "{layout}: {nothing:?}"
        );
        it.assert_as_before().await;

        // Back again to what the undo replaced, and once more to what that replaced.
        let undone = (503, &it.own(501), preview.live_digest.as_str());
        assert!(it.with(undone, &it.world.account, Some(&it.recorded), async |of| undo(of).await).await.unwrap().changed);
        assert_same(layout, &newer, &dump(&it.world));
        assert_eq!(it.live_digest().await, preview.live_digest, "{layout}");
        let redone = (504, &it.own(503), it.recorded.as_str());
        let approved = Some(preview.live_digest.as_str());
        assert!(it.with(redone, &it.world.account, approved, async |of| undo(of).await).await.unwrap().changed);
        it.assert_as_before().await;
        it.assert_left(504).await;
        assert_ne!(it.before, it.after, "{layout}: the test takes nothing back");
    }
}

#[tokio::test]
async fn of_selected_tables_only_these_go_back_whatever_was_written_to_others() {
    let tables = |layout: &str| -> &'static [&'static str] {
        if layout == "pool" { &["tokens"] } else { &["parent", "audit", "app.big"] }
    };
    for it in Restored::everywhere_of("undo_some", tables).await {
        let (layout, (table, write)) = (it.layout, it.written());
        let elsewhere = match layout {
            // Without the trigger, which writes elsewhere too.
            "pool" => {
                "SET session_replication_role = replica; INSERT INTO app.customers (tenant_id, id, email) VALUES ('acme', 9999, 'since')"
            }
            _ => "INSERT INTO app.departments SELECT 99, min(id) FROM app.employees",
        };
        it.world.cluster.sql(it.database(), &format!("{write}; {elsewhere}"));
        let of_others = |lines: Vec<String>| -> Vec<String> {
            lines
                .into_iter()
                .filter(|line| !line.contains("9999") && !line.starts_with("99\t") && !line.contains("setval"))
                .collect()
        };
        let preview = it.preview(571).await.unwrap();
        assert_eq!(preview.tables.len(), it.selection.tables.len(), "{layout}: {:?}", preview.tables);
        assert!(counts(&preview.tables, table)[2] > 0, "{layout}: {:?}", preview.tables);
        it.world
            .cluster
            .sql(it.database(), &elsewhere.replace("9999", "99999").replace(" 99,", " 999,").replace("since", "since then"));
        let outcome = it.undo(571, Some(&preview.live_digest)).await.unwrap();
        assert!(outcome.changed, "{layout}");
        let found: Vec<_> = of_others(dump(&it.world)).into_iter().filter(|line| !line.starts_with("999\t")).collect();
        assert_same(layout, &of_others(it.before.clone()), &found);
        assert!(!it.undo(571, Some(&preview.live_digest)).await.unwrap().changed, "{layout}");
        let redone = (572, &it.own(571), preview.live_digest.as_str());
        assert!(it.with(redone, &it.world.account, Some(&it.recorded), async |of| undo(of).await).await.unwrap().changed);
        let proof = it.with(redone, &it.world.account, None, async |undo| prove_undo(undo).await).await.unwrap();
        assert_eq!(proof.live_digest, preview.live_digest, "{layout}");
        it.assert_left(572).await;
    }
}

#[tokio::test]
async fn where_nothing_was_an_undo_leaves_nothing() {
    for (layout, world) in worlds("nothing") {
        let database = world.scope.layout().database().to_owned();
        match layout {
            "pool" => fixture::pooled(world.cluster, &database),
            _ => fixture::application(world.cluster, &database, SCHEMA, 20),
        }
        let gone = "SET session_replication_role = replica; DELETE FROM app.orders WHERE tenant_id = 'acme';
            DELETE FROM app.tokens WHERE tenant_id = 'acme'; DELETE FROM app.customers WHERE tenant_id = 'acme'";
        let it = Restored::of(layout, world, Selection::default(), |world, _| crate::layouts::destroy(world, gone)).await;
        assert_eq!(it.recorded == LiveDigest::ABSENT, layout != "pool", "{layout}");
        let preview = it.preview(511).await.unwrap();
        assert!(preview.tables.iter().all(|table| table.returned + table.overwritten + table.unchanged == 0), "{layout}");
        assert!(preview.tables.iter().map(|table| table.destroyed).sum::<u64>() > 50, "{layout}");
        assert!(it.undo(511, Some(&preview.live_digest)).await.unwrap().changed, "{layout}");
        it.assert_as_before().await;
        let again = it.undo(511, Some(&preview.live_digest)).await.unwrap();
        assert!(!again.changed && again.undo_copy.is_some(), "{layout}: {again:?}");
        assert_eq!(it.preview(512).await.unwrap().live_digest, it.recorded, "{layout}");

        let undone = (513, &it.own(511), preview.live_digest.as_str());
        let back = it.with(undone, &it.world.account, Some(&it.recorded), async |of| undo(of).await).await.unwrap();
        assert_eq!((back.changed, back.undo_copy.is_some()), (true, layout == "pool"), "{layout}");
        assert_same(layout, &it.after, &dump(&it.world));
        assert_eq!(it.live_digest().await, preview.live_digest, "{layout}");
        it.assert_left(513).await;
    }
}

#[tokio::test]
async fn an_undo_of_anything_else_than_was_shown_is_refused() {
    for it in Restored::everywhere("undo_drift").await {
        let (layout, (_, write)) = (it.layout, it.written());
        let preview = it.preview(521).await.unwrap();
        it.world.cluster.sql(it.database(), write);
        let drifted = dump(&it.world);
        let error = it.undo(521, Some(&preview.live_digest)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::TargetDrifted, "{layout}: {error}");
        assert_same(layout, &drifted, &dump(&it.world));
        it.assert_left(521).await;

        // Once carried out it is used up: what is written then is not overwritten by running it once more.
        let preview = it.preview(522).await.unwrap();
        it.undo(522, Some(&preview.live_digest)).await.unwrap();
        it.world.cluster.sql(it.database(), write);
        let newer = dump(&it.world);
        let error = it.undo(522, Some(&preview.live_digest)).await.unwrap_err();
        assert!(
            error.code() == ErrorCode::RestoreRefused && error.to_string().contains("carried out before"),
            "{layout}: {error}"
        );
        assert_same(layout, &newer, &dump(&it.world));
    }
}

#[tokio::test]
async fn a_copy_that_is_gone_or_was_changed_is_not_put_back_and_the_other_way_is_named() {
    for it in Restored::everywhere("undo_gone").await {
        let (layout, undo) = (it.layout, format!("hf_undo_{}", it.restore));
        let (drop, change) = match layout {
            "pool" => (format!("DROP SCHEMA {undo} CASCADE"), format!("UPDATE {undo}.tokens SET token = 'forged'")),
            "schema" => (format!("DROP SCHEMA {undo} CASCADE"), format!("UPDATE {undo}.audit SET what = 'forged'")),
            _ => (format!("DROP DATABASE {undo}"), "UPDATE app.audit SET what = 'forged'".to_owned()),
        };
        let is_database = matches!(layout, "silo" | "database");
        it.world.cluster.sql(if is_database { &undo } else { it.database() }, &change);
        let error = it.undo(531, None).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentMismatch, "{layout}: {error}");
        it.world.cluster.sql(if is_database { "postgres" } else { it.database() }, &drop);
        for error in [it.preview(531).await.unwrap_err(), it.undo(531, None).await.unwrap_err()] {
            let said = error.to_string();
            assert!(error.code() == ErrorCode::RestoreRefused && said.contains("rp_before instead"), "{layout}: {said}");
        }
        assert_same(layout, &it.after, &dump(&it.world));
        it.assert_left(531).await;
    }
}

#[tokio::test]
async fn what_was_written_in_the_last_moment_before_the_cutover_goes_back_once_that_was_seen() {
    for it in Restored::everywhere("undo_last").await {
        let (layout, undo_copy) = (it.layout, format!("hf_undo_{}", it.restore));
        let (database, late) = match layout {
            "pool" => (it.database(), format!("INSERT INTO {undo_copy}.tokens SELECT * FROM {undo_copy}.tokens LIMIT 1")),
            "schema" => (it.database(), format!("INSERT INTO {undo_copy}.parent VALUES (4711)")),
            _ => (undo_copy.as_str(), "INSERT INTO app.parent VALUES (4711)".to_owned()),
        };
        it.world.cluster.sql(database, &late);
        if layout == "pool" {
            // Its cutover looks at the rows under their lock: nothing can have come in the last moment.
            assert_eq!(it.preview(581).await.unwrap_err().code(), ErrorCode::ContentMismatch);
            continue;
        }
        let preview = it.preview(581).await.unwrap();
        let says = |what: &str| preview.notes.iter().any(|note| note.contains(what));
        assert!(says("is not what was recorded before the restore"), "{layout}: {:?}", preview.notes);
        assert_eq!(counts(&preview.tables, "\"app\".\"parent\"")[0], 2, "{layout}: {:?}", preview.tables);
        let since = late.replace("4711", "4712");
        it.world.cluster.sql(database, &since);
        let error = it.undo(581, Some(&preview.live_digest)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentMismatch, "{layout}: what was not shown is not put back: {error}");
        assert_same(layout, &it.after, &dump(&it.world));

        let (shown, own) = (it.preview(582).await.unwrap().live_digest, (582, &it.restore, it.recorded.as_str()));
        for changed in [true, false] {
            let outcome = it.undo(582, Some(&shown)).await.unwrap();
            assert_eq!((outcome.changed, outcome.undo_copy), (changed, Some(format!("hf_undo_{}", it.own(582)))), "{layout}");
            let proven = it.with(own, &it.world.account, Some(&shown), async |undo| prove_undo(undo).await).await;
            assert!(proven.is_ok(), "{layout}: {proven:?}");
        }
        let late_rows = "SELECT count(*) FROM app.parent WHERE id IN (4711, 4712)";
        assert_eq!(it.world.cluster.sql(it.database(), late_rows), "2", "{layout}");
        let undone = (583, &it.own(582), shown.as_str());
        assert!(it.with(undone, &it.world.account, None, async |of| undo(of).await).await.unwrap().changed, "{layout}");
        assert_same(layout, &it.after, &dump(&it.world));
        it.assert_left(583).await;
    }
}

#[tokio::test]
async fn a_table_of_the_same_name_in_another_schema_does_not_keep_selected_tables_from_going_back() {
    let tables = |layout: &str| -> &'static [&'static str] {
        if layout == "pool" { &["tokens"] } else { &["parent", "audit", "app.big"] }
    };
    for it in Restored::everywhere_of("undo_named", tables).await {
        if matches!(it.layout, "silo" | "database") {
            it.world.cluster.sql(
                it.database(),
                "CREATE SCHEMA aaa AUTHORIZATION app_owner; SET ROLE app_owner; CREATE TABLE aaa.parent (name text PRIMARY KEY)",
            );
        }
        let preview = it.preview(591).await.unwrap();
        assert!(it.undo(591, Some(&preview.live_digest)).await.unwrap().changed, "{}", it.layout);
        assert_eq!(it.preview(592).await.unwrap().live_digest, it.recorded, "{}", it.layout);
    }
}

#[tokio::test]
async fn an_undo_that_is_killed_anywhere_is_done_wholly_or_not_at_all_and_ends_well_the_next_time() {
    const STEPS: usize = 9;
    for it in Restored::everywhere("undo_killed").await {
        let layout = it.layout;
        let (mut state, mut number) = ((it.restore.clone(), it.recorded.clone()), 540);
        let mut live = it.live_digest().await;
        let (mut ends, mut cuts, mut done_by_cut) = ([it.before.clone(), it.after.clone()], Vec::new(), 0);
        // First without a cut, to see how long it is.
        for step in 0..=STEPS {
            let (of, recorded) = state;
            // More of them near the end, where it happens.
            let at = cuts.first().map_or(usize::MAX, |whole| whole - whole * (STEPS - step).pow(2) / STEPS.pow(2));
            let cut = Cut::at(&it.world.account, at).await;
            number += 1;
            let this = (number, &of, recorded.as_str());
            let killed = it.with(this, &cut.endpoint, Some(&live), async |of| undo(of).await).await;
            cuts.push(cut.sent());
            drop(cut);
            assert!(step > 0 || killed.is_ok(), "{layout}: {killed:?}");
            let found = dump(&it.world);
            assert!(found == ends[0] || found == ends[1], "{layout}: killed at {at}, something in between is live");
            done_by_cut += usize::from(found == ends[0] && killed.is_err());

            let again = loop {
                match it.with(this, &it.world.account, Some(&live), async |of| undo(of).await).await {
                    // The server has not yet noticed that who held the lock is gone.
                    Err(SourceError::RestoreAtWork { .. }) => drop(it.world.cluster.sql("postgres", "SELECT pg_sleep(0.02)")),
                    again => break again.unwrap(),
                }
            };
            assert_eq!(again.changed, found == ends[1], "{layout}: killed at {at}");
            assert_same(layout, &ends[0], &dump(&it.world));
            assert_eq!(it.live_digest().await, recorded, "{layout}");
            it.assert_left(number).await;
            ends.reverse();
            state = (it.own(number), std::mem::replace(&mut live, recorded));
        }
        assert!(cuts[0] > STEPS, "{layout}: too short to be cut: {cuts:?}");
        println!("{layout}: cut at {cuts:?}, {done_by_cut} done before the cut");
    }
}

#[tokio::test]
async fn of_fifty_tenants_in_a_pool_only_the_one_moves() {
    let database = "undo_fifty";
    let (_, world) = worlds(database).into_iter().find(|(layout, _)| *layout == "pool").unwrap();
    let database = world.scope.layout().database().to_owned();
    fixture::pooled(world.cluster, &database);
    world.cluster.sql(&database, "SET session_replication_role = replica;
        INSERT INTO app.customers (tenant_id, id, email, mood, country, updated_at, doc)
            SELECT 'tenant' || t, i, 'c' || i, 'ok', 'FR', '2024-02-02', '{\"b\": 2}' FROM generate_series(1, 47) t, generate_series(1, 1 + t % 9) i;
        INSERT INTO app.orders (tenant_id, customer, total) SELECT tenant_id, id, id * 1.5 FROM app.customers WHERE tenant_id ~ '^tenant';
        INSERT INTO app.tokens (tenant_id, token) SELECT tenant_id, email FROM app.customers WHERE tenant_id ~ '^tenant'");
    let damage = |world: &World, _: &str| drop(world.cluster.sql(&database, DAMAGE_IN_POOL));
    let it = Restored::of("pool", world, Selection::default(), damage).await;
    let others = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| !line.split('\t').any(|field| field == "acme")).collect()
    };
    // Everybody goes on working meanwhile.
    it.world.cluster.sql(
        &database,
        "UPDATE app.tokens SET token = token || '!' WHERE tenant_id <> 'acme';
        INSERT INTO app.tokens (tenant_id, token) SELECT 'tenant' || t, 'more' FROM generate_series(1, 47) t;
        INSERT INTO app.tokens (tenant_id, token) VALUES ('acme', 'since')",
    );
    let (neighbours, sequences) =
        (others(dump(&it.world)), "SELECT last_value FROM app.tokens_id_seq; SELECT last_value FROM app.orders_id_seq");
    let stood = it.world.cluster.sql(&database, sequences);
    let preview = it.preview(551).await.unwrap();
    assert!(it.undo(551, Some(&preview.live_digest)).await.unwrap().changed);
    assert_eq!(it.live_digest().await, it.recorded);
    assert_same("pool", &neighbours, &others(dump(&it.world)));
    assert_eq!(it.world.cluster.sql(&database, sequences), stood, "sequences do not go back");
    let tenants = "SELECT count(DISTINCT tenant_id) FROM app.customers";
    assert_eq!(it.world.cluster.sql(&database, tenants), "50");
}

#[tokio::test]
async fn rows_that_would_hurt_others_refuse_an_undo_as_they_refuse_a_restore() {
    let all = Restored::everywhere("undo_hurt").await;
    let it = all.into_iter().find(|it| it.layout == "pool").unwrap();
    let check = async |number: u64, says: &str| {
        let before = dump(&it.world);
        let error = it.undo(number, None).await.unwrap_err();
        assert!(error.code() == ErrorCode::RestoreRefused && error.to_string().contains(says), "{error}");
        assert_same(it.layout, &before, &dump(&it.world));
        it.assert_left(number).await;
        it.world.cluster.sql(it.database(), &format!("DROP SCHEMA IF EXISTS hf_undo_{} CASCADE", it.own(number)));
    };
    // The token that was new before the restore now has another tenant's number, and one of today's is another tenant's to use.
    let taken =
        format!("UPDATE app.tokens SET id = (SELECT id FROM hf_undo_{}.tokens), tenant_id = 'other' WHERE id = 60", it.restore);
    it.world.cluster.sql(it.database(), &taken);
    check(561, "1 keys of \"app\".\"tokens\"").await;
    it.world.cluster.sql(it.database(), "UPDATE app.tokens SET id = 60 WHERE id > 150");
    it.world.cluster.sql(it.database(), "INSERT INTO app.uses SELECT 'other', min(id) FROM app.tokens WHERE tenant_id = 'acme'");
    check(562, "1 rows of \"app\".\"uses\"").await;
    it.world.cluster.sql(it.database(), "DELETE FROM app.uses; ALTER TABLE app.tokens ADD COLUMN scope text");
    check(563, "gained column \"scope\"").await;
    it.world.cluster.sql(it.database(), "ALTER TABLE app.tokens DROP COLUMN scope");
    assert!(it.undo(564, None).await.unwrap().changed);
    it.assert_as_before().await;
}
