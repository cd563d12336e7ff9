//! Platforms in all layouts, clean at first, then with data that is nobody's in every way there is: all of it is found, and no more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use domain::{
    coverage::{Owners, Place, Report, judge},
    plan::Plan,
    register::{Status, Tenant},
    tenant::Layout,
};
use serde_json::json;
use sources::postgres::{Endpoint, coverage::scan};

use crate::cluster::{Cluster, alone};

const CASES: u64 = 8;

/// Numbers that follow from a seed (splitmix64).
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Beginnings of names as products and attackers make them.
const HOSTILE: [&str; 10] = [
    "plain",
    "Upper",
    "quo\"te",
    "o'hara",
    "Größe",
    "家🦀",
    "a b",
    "semi;--",
    "back\\slash",
    "long_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
];

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// One platform on the server, and what is to be found on it.
struct Platform {
    cluster: &'static Cluster,
    seeded: Seeded,
    plan: Plan,
    tenants: Vec<Tenant>,
    databases: BTreeSet<String>,
    names: u64,
    expected: BTreeSet<String>,
    ids: Ids,
}

/// What tenant ids look like, and the types of column that take them.
#[derive(Clone, Copy)]
enum Ids {
    Text,
    Uuid,
    Integer,
}

impl Platform {
    /// A clean platform: a central database, a shared one with a pool, tenants in all layouts.
    fn new(cluster: &'static Cluster, seed: u64) -> Self {
        let mut seeded = Seeded::new(seed);
        let ids = *seeded.pick(&[Ids::Text, Ids::Text, Ids::Uuid, Ids::Integer]);
        let (app, pool) = (format!("{}_{seed}", seeded.pick(&HOSTILE)), format!("{}_pool", seeded.pick(&HOSTILE)));
        let column = seeded.pick(&["tenant_id", "Tenant Id", "té\"nant"]);
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [
                { "id": "central", "instance": "i", "database": format!("central_{seed}"), "secret": "s", "platform": true },
                { "id": "shared", "instance": "i", "database": app, "secret": "s", "pool": { "schema": pool, "tenant_column": column } },
            ],
            "exclusions": [{ "table": "sessions", "reason": "transient" }],
            "rules": [{ "id": "daily", "kind": "export", "classes": ["critical"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 }],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        let plan = Plan::parse(&plan.to_string()).unwrap();
        let mut platform = Self {
            cluster,
            seeded,
            plan,
            tenants: Vec::new(),
            databases: BTreeSet::new(),
            names: 0,
            expected: BTreeSet::new(),
            ids,
        };
        let (central, app) = (platform.plan.databases[0].database.clone(), platform.app().to_owned());
        platform.database(&central);
        platform.database(&app);
        platform.sql(
            &central,
            "CREATE SCHEMA register; CREATE TABLE register.tenants (id text); CREATE TABLE public.anything (id text)",
        );
        platform.sql(
            &app,
            &format!(
                "CREATE SCHEMA {} AUTHORIZATION app_owner; CREATE EXTENSION pg_trgm SCHEMA public",
                quoted(platform.pool_schema())
            ),
        );
        for _ in 0..=platform.seeded.below(2) {
            platform.schema_tenant(Status::Active);
            platform.database_tenant(Status::Suspended);
        }
        for _ in 0..2 + platform.seeded.below(4) {
            let id = platform.fresh_id();
            platform.pool_tenant(&id, Status::Active);
        }
        platform
    }

    fn app(&self) -> &str {
        &self.plan.databases[1].database
    }

    fn pool_schema(&self) -> &str {
        &self.plan.databases[1].pool.as_ref().unwrap().schema
    }

    fn tenant_column(&self) -> &str {
        &self.plan.databases[1].pool.as_ref().unwrap().tenant_column
    }

    /// A name that is new on this server, of up to 63 bytes.
    fn fresh_name(&mut self) -> String {
        self.names += 1;
        format!("{}_{}", self.seeded.pick(&HOSTILE), self.names)
    }

    /// A tenant id that is new here.
    fn fresh_id(&mut self) -> String {
        self.names += 1;
        match self.ids {
            Ids::Text => format!(
                "{}-{}",
                self.seeded.pick(&["acme", "ACME", "o'hara", "Größe", "🦀", "quo\"te", "a,b{}", "\\N", "NULL"]),
                self.names
            ),
            Ids::Uuid => format!("00000000-0000-4000-8000-{:012x}", self.names),
            Ids::Integer => self.names.to_string(),
        }
    }

    fn sql(&self, database: &str, sql: &str) {
        self.cluster.sql(database, &format!("SET client_min_messages = error; SET standard_conforming_strings = on; {sql}"));
    }

    /// As the platform's own role.
    fn app_sql(&self, sql: &str) {
        self.sql(self.app(), &format!("SET ROLE app_owner; {sql}"));
    }

    fn database(&mut self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {} OWNER app_owner TEMPLATE template0", quoted(name)));
        self.sql(name, "GRANT ALL ON SCHEMA public TO app_owner");
        self.databases.insert(name.to_owned());
    }

    fn add(&mut self, id: &str, layout: Layout, status: Status) {
        self.tenants.push(Tenant {
            id: id.parse().unwrap(),
            database_id: "shared".into(),
            layout,
            criticality: "critical".into(),
            time_zone: "UTC".into(),
            status,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        });
    }

    fn schema_tenant(&mut self, status: Status) -> String {
        let (schema, id) = (self.fresh_name(), self.fresh_id());
        self.app_sql(&format!("RESET ROLE; CREATE SCHEMA {0} AUTHORIZATION app_owner; CREATE TABLE {0}.orders (id int); CREATE TABLE {0}.sessions (id int)", quoted(&schema)));
        self.add(&id, Layout::Schema { database: self.app().to_owned(), schema: schema.clone() }, status);
        schema
    }

    fn database_tenant(&mut self, status: Status) -> String {
        let (name, id) = (self.fresh_name(), self.fresh_id());
        self.database(&name);
        self.sql(
            &name,
            "SET ROLE app_owner; CREATE TABLE public.orders (id int); CREATE SCHEMA own; CREATE TABLE own.sessions (id int)",
        );
        self.add(&id, Layout::Database { database: name.clone() }, status);
        name
    }

    fn pool_tenant(&mut self, id: &str, status: Status) {
        let layout = Layout::Pool {
            database: self.app().to_owned(),
            schema: self.pool_schema().to_owned(),
            tenant_column: self.tenant_column().to_owned(),
        };
        self.add(id, layout, status);
    }

    /// A pooled table with rows of every live tenant. Returns its quoted name and how messages call its place.
    fn pooled_table(&mut self) -> (String, String) {
        let name = self.fresh_name();
        let table = format!("{}.{}", quoted(self.pool_schema()), quoted(&name));
        let types: &[&str] = match self.ids {
            Ids::Text => &["text", "varchar(200)", "varchar", "char(200)", "text COLLATE \"C\"", "text COLLATE loose"],
            Ids::Uuid => &["uuid", "text"],
            Ids::Integer => &["smallint", "integer", "bigint", "varchar"],
        };
        let (column, of_type) = (quoted(self.tenant_column()), *self.seeded.pick(types));
        let loose =
            "CREATE COLLATION IF NOT EXISTS public.loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)";
        let of_type = of_type.replace("loose", "public.loose");
        let partitioned = self.seeded.below(3) == 0;
        let made = if partitioned {
            format!(
                " PARTITION BY RANGE (id); CREATE TABLE {0} PARTITION OF {table} DEFAULT",
                quoted(&format!("part_{}", self.names))
            )
        } else {
            String::new()
        };
        let made = made.replace("CREATE TABLE \"part", &format!("CREATE TABLE {}.\"part", quoted(self.pool_schema())));
        self.sql(self.app(), loose);
        self.sql(
            self.app(),
            &format!("CREATE TABLE {table} ({column} {of_type}, id int){made}; ALTER TABLE {table} OWNER TO app_owner"),
        );
        if self.seeded.below(2) == 0 {
            self.app_sql(&format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON {table} USING (false)"));
        }
        let live: Vec<String> = self
            .tenants
            .iter()
            .filter(|tenant| tenant.is_protected() && matches!(tenant.layout, Layout::Pool { .. }))
            .map(|tenant| tenant.id.to_string())
            .collect();
        for id in live {
            let rows = self.seeded.below(20);
            self.rows(&table, Some(&id), rows);
        }
        (table, format!("table {}.{} in {} on i", quoted(self.pool_schema()), quoted(&name), quoted(self.app())))
    }

    fn rows(&self, table: &str, tenant: Option<&str>, rows: u64) {
        let value = tenant.map_or_else(|| "NULL".to_owned(), text);
        self.app_sql(&format!("INSERT INTO {table} SELECT {value}, i FROM generate_series(1, {rows}) i"));
    }

    fn expect(&mut self, line: String) {
        assert!(self.expected.insert(line.clone()), "planted twice: {line}");
    }

    /// An id that no tenant has, though it may look like one's.
    fn stranger(&mut self) -> String {
        let live = self.tenants.iter().rev().map(|tenant| tenant.id.to_string()).find(|id| !id.is_empty()).unwrap();
        let is_taken = |platform: &Self, id: &str| platform.tenants.iter().any(|tenant| tenant.id.as_str() == id);
        match (self.ids, self.seeded.below(5)) {
            (Ids::Text, 0) if !is_taken(self, &live.to_uppercase()) => live.to_uppercase(),
            (Ids::Text, 1) => format!("{live}x"),
            (Ids::Text, 2) => format!("{}{}", self.fresh_id(), "é".repeat(150)),
            (Ids::Text, 3) => self.tenants[0].id.to_string(),
            _ => self.fresh_id(),
        }
    }

    /// Plants rows of strangers, without a tenant and of deleted tenants in a pooled table.
    fn plant_rows(&mut self, table: &str, place: &str) {
        if self.seeded.below(2) == 0 {
            let rows = 1 + self.seeded.below(9);
            self.rows(table, None, rows);
            self.expect(format!("{place}: {rows} rows have no tenant"));
        }
        let mut strangers = BTreeMap::new();
        for _ in 0..self.seeded.below(40) {
            let (id, rows) = (self.stranger(), 1 + self.seeded.below(3));
            self.rows(table, Some(&id), rows);
            *strangers.entry(id).or_insert(0) += rows;
        }
        if !strangers.is_empty() {
            let rows: u64 = strangers.values().sum();
            self.expect(format!("{place}: {rows} rows are of {} tenants that the register does not list there", strangers.len()));
            for (id, rows) in strangers.iter().take(domain::caps::COVERAGE_VALUES_MAX) {
                let shown: String = id.chars().take(129).collect();
                self.expect(format!("{place}: {shown:?} has {rows}"));
            }
        }
        if self.seeded.below(2) == 0 {
            let (id, rows) = (self.fresh_id(), 1 + self.seeded.below(5));
            self.pool_tenant(&id, Status::Deleted);
            self.rows(table, Some(&id), rows);
            self.expect(format!("{place}: deleted {id:?} has {rows}"));
        }
    }

    fn plant_elsewhere(&mut self) {
        let app = self.app().to_owned();
        for _ in 0..self.seeded.below(3) {
            let name = self.fresh_name();
            self.app_sql(&format!("CREATE TABLE {}.{} (code text)", quoted(self.pool_schema()), quoted(&name)));
            self.expect(format!(
                "table {}.{} in {} on i: it is in a pool's schema and has no tenant column",
                quoted(self.pool_schema()),
                quoted(&name),
                quoted(&app)
            ));
        }
        for _ in 0..self.seeded.below(3) {
            let name = self.fresh_name();
            self.sql(
                &app,
                &format!("CREATE SCHEMA {0}; CREATE TABLE {0}.a (id int); CREATE TABLE {0}.b (id int)", quoted(&name)),
            );
            self.expect(format!("schema {} in {} on i: it has 2 tables and is no tenant's", quoted(&name), quoted(&app)));
        }
        for _ in 0..self.seeded.below(2) {
            let name = self.fresh_name();
            self.database(&name);
            self.sql(&name, "CREATE TABLE public.a (id int)");
            self.expect(format!("database {} on i: it has 1 tables and is no tenant's", quoted(&name)));
        }
        if self.seeded.below(2) == 0 {
            let name = self.fresh_name();
            self.database(&name);
            self.sql(
                "postgres",
                &format!("ALTER DATABASE {0} OWNER TO admin; REVOKE ALL ON DATABASE {0} FROM PUBLIC", quoted(&name)),
            );
            self.expect(format!("database {} on i: it is no tenant's and could not be looked into", quoted(&name)));
            self.expect(format!("database {} on i: unseen", quoted(&name)));
        }
        if self.seeded.below(2) == 0 {
            let schema = self.schema_tenant(Status::Deleted);
            self.expect(format!("schema {} in {} on i: deleted", quoted(&schema), quoted(&app)));
            let name = self.database_tenant(Status::Deleted);
            self.expect(format!("database {} on i: deleted", quoted(&name)));
        }
        if self.seeded.below(2) == 0 {
            self.sql(&app, "SELECT lo_create(0), lo_create(0)");
            self.expect(format!("database {} on i: it holds 2 large objects, which are no tenant's", quoted(&app)));
        }
        // A table that would be filtered, and one that may not be read: neither is taken for an empty one.
        for denied in ["FORCE ROW LEVEL SECURITY", "OWNER TO admin"] {
            if self.seeded.below(2) == 0 {
                let (table, place) = self.pooled_table();
                self.sql(&app, &format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY; ALTER TABLE {table} {denied}"));
                self.expect(format!("{place}: unseen"));
            }
        }
        self.plant_harmless();
    }

    /// What holds no data that could be lost, or is left out by design.
    fn plant_harmless(&mut self) {
        let (app, pool, column) = (self.app().to_owned(), quoted(self.pool_schema()), quoted(self.tenant_column()));
        self.app_sql(&format!(
            "CREATE TABLE {pool}.sessions ({column} text); INSERT INTO {pool}.sessions VALUES (NULL), ('nobody');
             CREATE UNLOGGED TABLE {pool}.cache ({column} text); INSERT INTO {pool}.cache VALUES (NULL);
             CREATE VIEW {pool}.nothing AS SELECT 1 AS one; CREATE TEMPORARY TABLE gone (id int)"
        ));
        self.sql(
            &app,
            "CREATE FOREIGN DATA WRAPPER dummy; CREATE SERVER far FOREIGN DATA WRAPPER dummy; CREATE SCHEMA elsewhere;
            CREATE FOREIGN TABLE elsewhere.orders (id int) SERVER far; CREATE SCHEMA \"empty\";
            CREATE SCHEMA hf_undo_0123456789abcdef; CREATE TABLE hf_undo_0123456789abcdef.orders (id int);
            CREATE SCHEMA hf_side_0123456789abcdef; CREATE TABLE hf_side_0123456789abcdef.orders (id int)",
        );
        for prefix in ["hf_undo", "hf_side"] {
            let kept = format!("{prefix}_{:016x}", self.seeded.next());
            self.database(&kept);
        }
    }

    async fn scan(&self) -> Report {
        self.scan_as(&self.tenants).await
    }

    async fn scan_as(&self, known: &[Tenant]) -> Report {
        self.scan_until(known, &|| false).await
    }

    async fn scan_until(&self, known: &[Tenant], is_time_up: &(dyn Fn() -> bool + Send + Sync)) -> Report {
        let reached_by =
            |database: Option<&str>| -> Endpoint { self.cluster.master().with_database(database.unwrap_or("postgres")) };
        let seen = scan("i", &reached_by, &self.plan, &Owners::of(&self.plan, known), is_time_up).await;
        judge(&self.plan, &Owners::of(&self.plan, &self.tenants), vec![seen], jiff::Timestamp::UNIX_EPOCH)
    }

    fn drop_all(&self) {
        for name in &self.databases {
            self.sql("postgres", &format!("DROP DATABASE {} WITH (FORCE)", quoted(name)));
        }
    }
}

fn lines(report: &Report) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for found in &report.findings {
        lines.insert(format!("{}: {}", found.place, found.gap));
        if let domain::coverage::Gap::UnknownTenants(values) = &found.gap {
            lines.extend(values.first.iter().map(|value| format!("{}: {:?} has {}", found.place, value.tenant, value.rows)));
        }
    }
    lines.extend(report.unseen.iter().map(|unseen| format!("{}: unseen", unseen.place)));
    for gone in &report.deleted {
        match &gone.values {
            None => lines.insert(format!("{}: deleted", gone.place)),
            Some(values) => {
                lines.extend(
                    values.first.iter().map(|value| format!("{}: deleted {:?} has {}", gone.place, value.tenant, value.rows)),
                );
                true
            }
        };
    }
    lines
}

#[tokio::test]
async fn everything_that_is_nobodys_is_found_and_nothing_else() {
    let mut planted = 0;
    for seed in 0..CASES {
        let mut platform = Platform::new(alone(), seed);
        let tables: Vec<_> = (0..1 + platform.seeded.below(3)).map(|_| platform.pooled_table()).collect();
        let clean = platform.scan().await;
        assert_eq!(lines(&clean), BTreeSet::new(), "seed {seed}: a clean platform");

        for (table, place) in &tables {
            platform.plant_rows(table, place);
        }
        platform.plant_elsewhere();
        let report = platform.scan().await;
        assert_eq!(lines(&report), platform.expected, "seed {seed}");
        if seed == 0 {
            check_time(&platform, &report).await;
        }
        assert_eq!(report.uncovered().count(), report.findings.len(), "seed {seed}: none of it is in a recovery point");
        let left_out: BTreeSet<_> =
            report.left_out.iter().map(|left| left.reason.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(left_out.len(), 4, "seed {seed}: {left_out:?}");
        planted += platform.expected.len();

        // Whoever signed up while the scan ran has nothing to be found.
        let signed_up = platform.tenants.iter().position(|tenant| matches!(tenant.layout, Layout::Pool { .. })).unwrap();
        let mut known = platform.tenants.clone();
        known.remove(signed_up);
        assert_eq!(lines(&platform.scan_as(&known).await), platform.expected, "seed {seed}: signed up meanwhile");
        platform.drop_all();
    }
    println!("{CASES} platforms, seeds 0 to {}, {planted} lines expected and found", CASES - 1);
}

/// However soon time is up, what was not reached is told of as not seen.
async fn check_time(platform: &Platform, whole: &Report) {
    let asked = AtomicUsize::new(0);
    let count = || {
        asked.fetch_add(1, SeqCst);
        false
    };
    platform.scan_until(&platform.tenants, &count).await;
    let places = asked.load(SeqCst);
    assert!(places > 1, "there was nothing to run out of time at");
    for enough in 0..places {
        let asked = AtomicUsize::new(0);
        let report = platform.scan_until(&platform.tenants, &|| asked.fetch_add(1, SeqCst) >= enough).await;
        let late: Vec<_> = report.unseen.iter().filter(|unseen| unseen.why.contains("invocation was over")).collect();
        assert!(enough > 0 || !late.is_empty(), "nothing was looked at, and it looks as if all had been");
        for finding in &whole.findings {
            let is_in = |place: &Place| {
                place.database == finding.place.database && (place.table.is_none() || place.table == finding.place.table)
            };
            let is_told = report.findings.contains(finding) || late.iter().any(|unseen| is_in(&unseen.place));
            assert!(is_told, "{enough} of {places}: {} is neither found nor unseen", finding.place);
        }
    }
}
