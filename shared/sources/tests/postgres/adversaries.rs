//! What a restore into live tables must not do: each case is refused whole, nothing is written, and the thing is named.

use std::panic::AssertUnwindSafe;

use domain::{
    Coded, ErrorCode,
    request::{ColumnNow, Selection},
    tenant::Layout,
};
use futures::FutureExt;
use sources::postgres::{
    compare,
    restore::{Job, run},
};

use crate::{fixture, world::World};

/// One case: what is there before the backup, what happens after it, what is asked for, and what the refusal says.
struct Case {
    name: &'static str,
    before: &'static str,
    after: &'static str,
    tables: &'static [&'static str],
    /// `table.column=new`; left behind if nothing follows.
    columns: &'static [&'static str],
    says: &'static [&'static str],
    /// Whether the preview refuses already.
    at_preview: bool,
}

const CASE: Case = Case { name: "", before: "", after: "", tables: &[], columns: &[], says: &[], at_preview: false };

impl Case {
    fn selection(&self) -> Selection {
        let column = |text: &&str| {
            let (old, now) = text.split_once('=').unwrap();
            let (table, column) = old.rsplit_once('.').unwrap();
            ColumnNow { table: table.into(), column: column.into(), now: Some(now.to_owned()).filter(|now| !now.is_empty()) }
        };
        let tables = self.tables.iter().map(|table| (*table).to_owned()).collect();
        Selection { tables, columns: self.columns.iter().map(column).collect() }
    }

    /// Previews and restores, and sees that it is refused and leaves everything as it was.
    async fn check(&self, world: &World) {
        let (name, database) = (self.name, world.scope.layout().database());
        let sql = |sql: &str| drop(world.cluster.sql(database, &format!("SET ROLE app_owner; {sql}")));
        sql(self.before);
        let point = world.open(&world.export().await).await;
        sql(self.after);
        let before = world.cluster.dump(database, None);
        let places = world.cluster.sql(database, PLACES);
        let selection = self.selection();
        let previewed = compare(&world.account, &world.scope, &point, &selection).await;
        assert_eq!(previewed.is_err(), self.at_preview, "{name}: {previewed:?}");
        let tools = world.cluster.tools();
        let job = Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap().selecting(&selection);
        let restored = run(&job).await.map_err(|error| (error.code(), domain::ErrorReport::from(error).message));
        for (code, message) in
            previewed.map_err(|error| (error.code(), error.to_string())).err().into_iter().chain(restored.clone().err())
        {
            // Where the rows cannot even be read, that is said.
            assert!(matches!(code, ErrorCode::RestoreRefused | ErrorCode::SourceRefused), "{name}: {code:?}: {message}");
            assert!(self.says.iter().all(|word| message.contains(word)), "{name}: {message}");
        }
        assert!(restored.is_err(), "{name}: it was restored");
        assert_eq!(world.cluster.dump(database, None), before, "{name}");
        assert_eq!(world.cluster.sql(database, PLACES), places, "{name}: not a row was written");
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new(), "{name}");
    }
}

/// Where each row lies and who wrote it, of every table.
const PLACES: &str = "SELECT format('SELECT %L, md5(string_agg(tableoid || '' '' || ctid || '' '' || xmin, '','' ORDER BY tableoid, ctid)) FROM ONLY %s', oid::regclass, oid::regclass)
    FROM pg_class WHERE relkind = 'r' AND relnamespace = 'app'::regnamespace ORDER BY relname \\gexec";

const POOL: &[Case] = &[
    Case {
        name: "taken",
        after: "UPDATE app.tokens SET tenant_id = 'other' WHERE id = 1",
        says: &["1 keys of \"app\".\"tokens\" now belong to rows of other tenants"],
        ..CASE
    },
    Case {
        name: "referenced",
        after: "INSERT INTO app.tokens VALUES (9000, 'acme', 'new'); INSERT INTO app.uses VALUES ('other', 9000)",
        says: &["1 rows of \"app\".\"uses\" that are not this tenant's", "uses_token_fkey"],
        ..CASE
    },
    Case {
        name: "set_null",
        before: "CREATE TABLE app.shared (id int, token int REFERENCES app.tokens ON DELETE SET NULL)",
        after: "INSERT INTO app.tokens VALUES (9000, 'acme', 'new'); INSERT INTO app.shared VALUES (1, 9000)",
        says: &["1 rows of \"app\".\"shared\"", "shared_token_fkey"],
        ..CASE
    },
    // A row that goes takes a row with it that comes back, and on the way what refers to that.
    Case {
        name: "passing_cascade",
        before: "ALTER TABLE app.tokens ADD customer int, ADD FOREIGN KEY (tenant_id, customer) REFERENCES app.customers ON DELETE CASCADE;
            CREATE TABLE app.shared (id int, token int REFERENCES app.tokens ON DELETE CASCADE); INSERT INTO app.shared VALUES (1, 1)",
        after: "INSERT INTO app.customers (tenant_id, id) VALUES ('acme', 900); UPDATE app.tokens SET customer = 900 WHERE id = 1",
        says: &["app.shared outside of what is restored would change", "foreign key's action"],
        ..CASE
    },
    Case {
        name: "passing_cascade_to_others",
        before: "ALTER TABLE app.tokens ADD customer int, ADD FOREIGN KEY (tenant_id, customer) REFERENCES app.customers ON DELETE CASCADE;
            INSERT INTO app.uses VALUES ('other', 1)",
        after: "INSERT INTO app.customers (tenant_id, id) VALUES ('acme', 900); UPDATE app.tokens SET customer = 900 WHERE id = 1",
        says: &["rows of other tenants in \"app\".\"uses\" would change"],
        ..CASE
    },
    Case {
        name: "passing_null_to_others",
        before: "ALTER TABLE app.tokens ADD customer int, ADD FOREIGN KEY (tenant_id, customer) REFERENCES app.customers ON DELETE CASCADE;
            CREATE TABLE app.marks (tenant_id text, id int PRIMARY KEY, token int REFERENCES app.tokens ON DELETE SET NULL); INSERT INTO app.marks VALUES ('other', 1, 1)",
        after: "INSERT INTO app.customers (tenant_id, id) VALUES ('acme', 900); UPDATE app.tokens SET customer = 900 WHERE id = 1",
        says: &["rows of other tenants in \"app\".\"marks\" would change"],
        ..CASE
    },
    Case {
        name: "other_key",
        after: "ALTER TABLE app.tokens DROP CONSTRAINT tokens_pkey CASCADE, ADD PRIMARY KEY (tenant_id, id)",
        says: &["\"app\".\"tokens\" has another primary key", "(\"tenant_id\", \"id\")"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "lost_column",
        after: "ALTER TABLE app.tokens DROP COLUMN token",
        says: &["\"app\".\"tokens\" lost column \"token\"", "--column tokens.token=<new name>"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "no_such_column",
        after: "ALTER TABLE app.tokens RENAME COLUMN token TO secret",
        columns: &["tokens.token=secrets"],
        says: &["no column \"secrets\", which is to take the values of \"token\"", "\"secret\""],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "computed_column",
        columns: &["customers.email=shout"],
        says: &["\"shout\"", "is computed from others"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "no_such_recorded_column",
        columns: &["tokens.tokn=token"],
        says: &["no recorded column `tokn`", "\"token\""],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "said_twice",
        columns: &["tokens.token=token", "app.tokens.token="],
        says: &["said twice", "\"token\""],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "two_to_one",
        columns: &["customers.email=doc", "customers.doc=doc"],
        says: &["two columns of \"app\".\"customers\" are to go to one"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "tenant_column_moved",
        columns: &["tokens.tenant_id=token", "tokens.token=tenant_id"],
        says: &["tenant column of \"app\".\"tokens\""],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "wrong_type",
        after: "ALTER TABLE app.tokens DROP COLUMN token, ADD COLUMN secret int",
        columns: &["tokens.token=secret"],
        says: &["loading \"app\".\"tokens\"", "\"secret\" is integer now (it was text)"],
        ..CASE
    },
    Case {
        name: "type_that_reads_otherwise",
        after: "ALTER TABLE app.orders ALTER COLUMN total TYPE double precision",
        says: &["read otherwise", "\"app\".\"orders\".\"total\" is double precision now (it was numeric)"],
        ..CASE
    },
    Case {
        name: "type_too_short",
        after: "UPDATE app.tokens SET token = 'x'; ALTER TABLE app.tokens ALTER COLUMN token TYPE varchar(5)",
        says: &["loading \"app\".\"tokens\"", "character varying(5)"],
        ..CASE
    },
    Case {
        name: "label_gone",
        after: "ALTER TYPE app.mood RENAME TO old_mood; CREATE TYPE app.mood AS ENUM ('bad');
            ALTER TABLE app.customers ALTER COLUMN mood TYPE app.mood USING 'bad'::app.mood; DROP TYPE app.old_mood",
        says: &["loading \"app\".\"customers\""],
        ..CASE
    },
    Case {
        name: "needs_a_value",
        after: "DELETE FROM app.tokens WHERE id = 1; ALTER TABLE app.tokens ADD COLUMN scope text; UPDATE app.tokens SET scope = 'all'; ALTER TABLE app.tokens ALTER scope SET NOT NULL",
        says: &["1 rows come back into \"app\".\"tokens\"", "\"scope\"", "no default"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "must_not_be_null",
        after: "UPDATE app.customers SET mood = 'bad'; ALTER TABLE app.customers ALTER mood SET NOT NULL",
        says: &["customers", "`mood`", "null"],
        ..CASE
    },
    Case {
        name: "check",
        after: "DELETE FROM app.orders WHERE total > 0; ALTER TABLE app.orders ADD CONSTRAINT little CHECK (total < 1)",
        says: &["check constraint", "`little`"],
        ..CASE
    },
    Case {
        name: "unique_across_tenants",
        after: "DELETE FROM app.tokens WHERE id = 1; UPDATE app.tokens SET token = md5('1acme') WHERE tenant_id = 'other' AND id = (SELECT min(id) FROM app.tokens WHERE tenant_id = 'other');
            ALTER TABLE app.tokens ADD CONSTRAINT one_token UNIQUE (token)",
        says: &["unique constraint", "`one_token`"],
        ..CASE
    },
    Case {
        name: "deferred_unique_across_tenants",
        after: "DELETE FROM app.tokens WHERE id = 1; UPDATE app.tokens SET token = md5('1acme') WHERE tenant_id = 'other' AND id = (SELECT min(id) FROM app.tokens WHERE tenant_id = 'other');
            ALTER TABLE app.tokens ADD CONSTRAINT one_token UNIQUE (token) DEFERRABLE INITIALLY DEFERRED",
        says: &["unique constraint", "`one_token`"],
        ..CASE
    },
    Case {
        name: "shared_row_gone",
        after: "ALTER TABLE app.customers DISABLE TRIGGER touch; UPDATE app.customers SET country = NULL; DELETE FROM app.countries WHERE code = 'DE'",
        says: &["50 rows of \"app\".\"customers\" would refer to rows of \"app\".\"countries\" that are not there", "customers_country_fkey"],
        ..CASE
    },
    Case {
        name: "deferred_to_a_shared_row",
        before: "ALTER TABLE app.customers ALTER CONSTRAINT customers_country_fkey DEFERRABLE INITIALLY DEFERRED",
        after: "ALTER TABLE app.customers DISABLE TRIGGER touch; UPDATE app.customers SET country = NULL; DELETE FROM app.countries WHERE code = 'DE'",
        says: &["customers_country_fkey"],
        ..CASE
    },
    Case {
        name: "partition_gone",
        before: "CREATE TABLE app.days (tenant_id text, day int, PRIMARY KEY (tenant_id, day)) PARTITION BY RANGE (day);
            CREATE TABLE app.days_1 PARTITION OF app.days FOR VALUES FROM (0) TO (10); CREATE TABLE app.days_2 PARTITION OF app.days FOR VALUES FROM (10) TO (20);
            INSERT INTO app.days VALUES ('acme', 1), ('acme', 11), ('other', 11)",
        after: "DROP TABLE app.days_1",
        says: &["`days`"],
        ..CASE
    },
    Case {
        name: "rule",
        after: "DELETE FROM app.tokens WHERE id = 1; CREATE RULE quiet AS ON INSERT TO app.tokens DO INSTEAD NOTHING",
        says: &["rule quiet of app.tokens"],
        ..CASE
    },
    Case {
        name: "rule_besides",
        after: "DELETE FROM app.tokens WHERE id = 2; CREATE RULE tell AS ON DELETE TO app.tokens DO ALSO INSERT INTO app.changes VALUES ('rule')",
        says: &["rule tell of app.tokens"],
        ..CASE
    },
    Case {
        name: "forced_row_security",
        after: "ALTER TABLE app.customers FORCE ROW LEVEL SECURITY",
        says: &["row-level security", "customers"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "table_gone",
        after: "DROP TABLE app.uses",
        says: &["table \"app\".\"uses\" is gone"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "excluded_table",
        tables: &["sessions"],
        says: &["does not hold the rows of \"app\".\"sessions\"", "transient"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "no_such_table",
        tables: &["token"],
        says: &["no table `token`", "\"app\".\"tokens\""],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "own_unselected_reference",
        before: "INSERT INTO app.uses VALUES ('acme', 1)",
        after: "INSERT INTO app.tokens VALUES (9000, 'acme', 'new'); INSERT INTO app.uses VALUES ('acme', 9000)",
        tables: &["tokens"],
        says: &["1 rows of \"app\".\"uses\" that are not restored", "uses_token_fkey"],
        ..CASE
    },
    Case {
        name: "own_unselected_parent",
        after: "DELETE FROM app.orders WHERE tenant_id = 'acme' AND customer = 50; DELETE FROM app.customers WHERE tenant_id = 'acme' AND id = 50",
        tables: &["orders"],
        says: &["3 rows of \"app\".\"orders\" would refer to rows of \"app\".\"customers\"", "orders_tenant_id_customer_fkey"],
        ..CASE
    },
    Case {
        name: "unselected_parent_of_another",
        before: "INSERT INTO app.uses VALUES ('acme', 1), ('acme', 2)",
        after: "UPDATE app.tokens SET tenant_id = 'other' WHERE id IN (1, 2); DELETE FROM app.uses WHERE tenant_id = 'acme' AND token = 1",
        tables: &["uses"],
        says: &["1 rows of \"app\".\"uses\" would refer to rows of \"app\".\"tokens\"", "or not this tenant's", "uses_token_fkey"],
        ..CASE
    },
    Case {
        name: "uncounted",
        after: "DELETE FROM app.tokens WHERE id = 1; RESET ROLE; ALTER DATABASE adverse_uncounted SET track_counts = off",
        says: &["track_counts is off"],
        ..CASE
    },
];

/// A schema or a database of the tenant's own.
const OWN_TABLES: &str = "CREATE SCHEMA app; CREATE TABLE app.parents (id int PRIMARY KEY, name text UNIQUE);
    CREATE TABLE app.children (id serial PRIMARY KEY, parent int CONSTRAINT of_parent REFERENCES app.parents ON DELETE CASCADE, v numeric(6, 2));
    CREATE TABLE app.heap (x int, y text);
    INSERT INTO app.parents SELECT i, 'p' || i FROM generate_series(1, 5) i; INSERT INTO app.children (parent, v) SELECT i, i FROM generate_series(1, 5) i;
    INSERT INTO app.heap VALUES (1, 'a'), (1, 'a'), (2, NULL); GRANT USAGE ON SCHEMA app TO app_user";

const OWN: &[Case] = &[
    Case {
        name: "own_dangling",
        after: "INSERT INTO app.parents VALUES (6, 'p6'); INSERT INTO app.children VALUES (66, 6, 0)",
        tables: &["parents"],
        says: &["1 rows of \"app\".\"children\" that are not restored", "of_parent"],
        ..CASE
    },
    Case {
        name: "own_parent_gone",
        after: "DELETE FROM app.parents WHERE id < 3",
        tables: &["app.children"],
        says: &["2 rows of \"app\".\"children\" would refer to rows of \"app\".\"parents\"", "of_parent"],
        ..CASE
    },
    Case {
        name: "own_key_for_heap",
        after: "DELETE FROM app.heap; ALTER TABLE app.heap ADD PRIMARY KEY (x)",
        tables: &["heap"],
        says: &["another primary key"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "own_narrower_type",
        after: "ALTER TABLE app.children ALTER v TYPE numeric(6, 1)",
        tables: &["children"],
        says: &["read otherwise", "numeric(6,1)"],
        ..CASE
    },
    Case {
        name: "own_rule",
        after: "DELETE FROM app.heap; CREATE RULE quiet AS ON INSERT TO app.heap DO INSTEAD NOTHING",
        tables: &["heap"],
        says: &["rule quiet of app.heap"],
        ..CASE
    },
    Case {
        name: "own_row_security",
        after: "ALTER TABLE app.heap ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        tables: &["heap"],
        says: &["row-level security", "heap"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "own_columns_of_whole",
        after: "ALTER TABLE app.heap RENAME COLUMN y TO z",
        columns: &["heap.y=z"],
        says: &["name the tables"],
        at_preview: true,
        ..CASE
    },
    Case {
        name: "own_exclusion",
        after: "DELETE FROM app.heap; ALTER TABLE app.heap ADD CONSTRAINT apart EXCLUDE USING btree (x WITH =)",
        tables: &["heap"],
        says: &["`apart`"],
        ..CASE
    },
];

fn pooled(name: &str) -> World {
    let database = format!("adverse_{name}");
    let layout = Layout::Pool { database: database.clone(), schema: "app".into(), tenant_column: "tenant_id".into() };
    let world = World::new("acme", layout);
    fixture::pool(world.cluster, &database);
    world
}

fn own(name: &str, layout: fn(String) -> Layout) -> World {
    let database = format!("adverse_{name}");
    let world = World::new(&name.replace('_', "-"), layout(database.clone()));
    fixture::database(world.cluster, &database);
    world.cluster.sql(&database, &format!("SET ROLE app_owner; {OWN_TABLES}"));
    world
}

/// Checks every case, and then says of all that failed which they are.
async fn check_all(cases: &[Case], world: impl Fn(&Case) -> World) {
    let mut failed = Vec::new();
    for case in cases {
        if AssertUnwindSafe(case.check(&world(case))).catch_unwind().await.is_err() {
            failed.push(case.name);
        }
    }
    assert_eq!(failed, Vec::<&str>::new());
}

#[tokio::test]
async fn a_pool_is_left_alone_when_others_would_be_touched() {
    check_all(&POOL[..POOL.len() / 2], |case| pooled(case.name)).await;
}

#[tokio::test]
async fn a_pool_is_left_alone_when_rows_do_not_fit() {
    check_all(&POOL[POOL.len() / 2..], |case| pooled(case.name)).await;
}

#[tokio::test]
async fn a_schema_is_left_alone_when_selected_tables_do_not_fit() {
    let schema = |database| Layout::Schema { database, schema: "app".into() };
    check_all(OWN, |case| own(&format!("schema_{}", case.name), schema)).await;
}

#[tokio::test]
async fn a_database_is_left_alone_when_selected_tables_do_not_fit() {
    check_all(OWN, |case| own(case.name, |database| Layout::Database { database })).await;
}
