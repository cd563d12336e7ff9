//! Fifty tenants of one pool, all of whom change at random while one of them goes back.

use domain::{request::Selection, tenant::Layout};
use sources::postgres::{
    compare, digest,
    restore::{Job, Outcome, RestoreId, prove, run},
};
use vault::{Digester, PointReader};

use crate::{
    cluster::{Cluster, cluster},
    dice::Dice,
    fixture,
    world::World,
};

const TENANTS: u64 = 50;

/// Pooled tables of every kind that makes a difference by key hard: keys across and within tenants, cascades, references to themselves
/// and to shared tables, identities, computed columns, partitions, and triggers that write elsewhere.
const TABLES: &str = "SET ROLE app_owner; CREATE SCHEMA app; SET search_path = app;
CREATE TABLE countries (code text PRIMARY KEY, name text); INSERT INTO countries SELECT 'C' || i, md5(i::text) FROM generate_series(0, 9) i;
CREATE TABLE rates (at date, rate numeric); INSERT INTO rates SELECT '2024-01-01'::date + i, i / 7.0 FROM generate_series(1, 30) i;
CREATE TABLE log (what text);
CREATE TABLE accounts (
    tenant_id text NOT NULL, id int NOT NULL, email text, balance numeric, tags text[], doc jsonb, span tstzrange, country text REFERENCES countries,
    boss int, updated_at timestamptz, twice numeric GENERATED ALWAYS AS (balance * 2) STORED,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email), FOREIGN KEY (tenant_id, boss) REFERENCES accounts
);
CREATE TABLE orders (
    tenant_id text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, account int NOT NULL, total numeric, at timestamptz,
    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, account) REFERENCES accounts ON DELETE CASCADE ON UPDATE CASCADE
) PARTITION BY HASH (tenant_id);
CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE lines (
    tenant_id text, order_id bigint, no int, body text, PRIMARY KEY (tenant_id, order_id, no),
    FOREIGN KEY (tenant_id, order_id) REFERENCES orders ON DELETE CASCADE
);
CREATE TABLE tokens (
    id bigserial PRIMARY KEY, tenant_id text NOT NULL, token text UNIQUE, account int, raw bytea,
    FOREIGN KEY (tenant_id, account) REFERENCES accounts ON DELETE SET NULL (account)
);
CREATE TABLE uses (tenant_id text, token bigint REFERENCES tokens ON DELETE CASCADE, at int, PRIMARY KEY (tenant_id, token, at));
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    NEW.updated_at := clock_timestamp(); INSERT INTO app.log VALUES (TG_OP); RETURN NEW; END$$;
INSERT INTO accounts (tenant_id, id, email, balance, tags, doc, span, country, boss)
    SELECT t, i, 'a' || i || '@' || t, i * 1.10, ARRAY['x', NULL, i::text], jsonb_build_object('n', i), tstzrange('2024-01-01', NULL), 'C' || i % 10, nullif(i - 1, 0)
    FROM unnest(ARRAY[{tenants}]) t, generate_series(1, 12) i;
INSERT INTO orders (tenant_id, account, total, at) SELECT tenant_id, id, n * 1.5, '2024-01-01' FROM accounts, generate_series(1, 2) n;
INSERT INTO lines SELECT tenant_id, id, n, repeat('x', n) FROM orders, generate_series(1, 2) n;
INSERT INTO tokens (tenant_id, token, account, raw) SELECT tenant_id, md5(tenant_id || id), id, decode(md5(id::text), 'hex') FROM accounts;
INSERT INTO uses SELECT tenant_id, id, 1 FROM tokens;
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.log VALUES ('noted'); RETURN NULL; END$$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON tokens FOR EACH STATEMENT EXECUTE FUNCTION noted();";

/// The tables that have a tenant column.
const POOLED: [&str; 5] = ["accounts", "orders", "lines", "tokens", "uses"];

pub(crate) fn name(tenant: u64) -> String {
    format!("t{tenant:02}")
}

pub(crate) fn world(database: &str, tenant: u64) -> World {
    let layout = Layout::Pool { database: database.into(), schema: "app".into(), tenant_column: "tenant_id".into() };
    World::new(&name(tenant), layout)
}

pub(crate) fn make(cluster: &Cluster, database: &str) {
    make_for(cluster, database, TENANTS);
}

pub(crate) fn make_for(cluster: &Cluster, database: &str, tenants: u64) {
    fixture::database(cluster, database);
    let tenants: Vec<_> = (0..tenants).map(|tenant| format!("'{}'", name(tenant))).collect();
    cluster.sql(database, &TABLES.replace("{tenants}", &tenants.join(", ")));
}

/// Statements that change some of a tenant's rows in ways an application could.
pub(crate) fn mutation(dice: &mut Dice, tenant: &str) -> String {
    let mut sql = String::new();
    for _ in 0..=dice.roll(6) {
        let (every, which, salt) = (2 + dice.roll(6), dice.roll(3), dice.roll(1 << 40));
        let some = format!("tenant_id = '{tenant}' AND id % {every} = {which}");
        let account =
            format!("(SELECT id FROM app.accounts WHERE tenant_id = '{tenant}' ORDER BY md5(id::text || '{salt}') LIMIT 1)");
        let change = match dice.roll(16) {
            0 => format!("DELETE FROM app.orders WHERE {some};"),
            1 | 2 => format!(
                "DELETE FROM app.accounts a WHERE {some} AND NOT EXISTS (SELECT FROM app.accounts b WHERE b.tenant_id = a.tenant_id AND b.boss = a.id AND b.id <> a.id);"
            ),
            3 | 4 => format!(
                "INSERT INTO app.accounts (tenant_id, id, email, balance, boss, country) SELECT '{tenant}', (SELECT coalesce(max(id), 0) FROM app.accounts WHERE tenant_id = '{tenant}') + i,
                     md5('{salt}' || i), {salt} / 7.0, {account}, 'C' || i % 10 FROM generate_series(1, {every}) i;"
            ),
            5 => format!("UPDATE app.accounts SET balance = balance + 0.00, doc = jsonb_set(coalesce(doc, '{{}}'), '{{s}}', '{salt}') WHERE {some};"),
            6 => format!("UPDATE app.accounts SET tags = tags || '{salt}'::text, span = tstzrange(NULL, '2030-01-01'), email = NULL WHERE {some};"),
            7 => format!("UPDATE app.accounts SET boss = NULL WHERE {some};"),
            8 => format!("UPDATE app.orders SET total = total * 1.0, account = coalesce({account}, account) WHERE {some};"),
            9 => format!("INSERT INTO app.orders (tenant_id, account, total) SELECT tenant_id, id, 7 FROM app.accounts WHERE {some};"),
            10 => format!("DELETE FROM app.lines WHERE tenant_id = '{tenant}' AND order_id % {every} = {which}; UPDATE app.lines SET body = body || 'é' WHERE tenant_id = '{tenant}' AND no = 1;"),
            11 => format!("INSERT INTO app.lines SELECT tenant_id, id, 1000 + {which}, NULL FROM app.orders WHERE {some} ON CONFLICT DO NOTHING;"),
            12 => format!("DELETE FROM app.tokens WHERE {some}; INSERT INTO app.tokens (tenant_id, token, account) VALUES ('{tenant}', md5('{salt}{tenant}'), {account});"),
            13 => format!("UPDATE app.tokens SET token = md5(token || '{salt}'), raw = NULL, account = {account} WHERE {some};"),
            14 => format!("INSERT INTO app.uses SELECT tenant_id, id, 2 + {which} FROM app.tokens WHERE {some} ON CONFLICT DO NOTHING;"),
            // The number of a row that is gone is taken by another.
            _ => format!(
                "UPDATE app.accounts a SET id = id + 1000 WHERE tenant_id = '{tenant}' AND id % {every} = {which} AND id < 1000
                     AND NOT EXISTS (SELECT FROM app.accounts b WHERE b.tenant_id = a.tenant_id AND b.boss = a.id)
                     AND NOT EXISTS (SELECT FROM app.tokens k WHERE k.tenant_id = a.tenant_id AND k.account = a.id);
                 INSERT INTO app.accounts (tenant_id, id, email) SELECT '{tenant}', i, md5('{salt}' || i) FROM generate_series(1, 12) i WHERE i % {every} = {which} ON CONFLICT DO NOTHING;"
            ),
        };
        // What the application's own constraints forbid does not happen.
        sql += &format!("DO $do$BEGIN {change} EXCEPTION WHEN integrity_constraint_violation THEN NULL; END$do$;\n");
    }
    sql
}

fn mutate_all(cluster: &Cluster, database: &str, dice: &mut Dice) {
    let mut sql = format!(
        "INSERT INTO app.countries VALUES ('N{}', NULL) ON CONFLICT DO NOTHING; UPDATE app.rates SET rate = rate + 1;",
        dice.roll(1000)
    );
    for tenant in 0..TENANTS {
        sql += &mutation(dice, &name(tenant));
    }
    cluster.sql(database, &sql);
}

/// What psql says of the tenant's rows, table by table, and of everything else in the pool: there also where each row lies and which
/// transaction wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) own: String,
    pub(crate) own_places: String,
    pub(crate) others: String,
}

pub(crate) fn see(cluster: &Cluster, database: &str, tenant: &str) -> Seen {
    let hash = |place: &str, table: &str, condition: &str| {
        format!(
            "SELECT '{table}', count(*), md5(string_agg({place}t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM app.{table} t WHERE {condition};"
        )
    };
    let place = "t.tableoid || ' ' || t.ctid || ' ' || t.xmin || ' ' || ";
    let of = |place: &str, condition: &str| POOLED.map(|table| hash(place, table, condition)).concat();
    let shared: String = ["countries", "rates", "log"].map(|table| hash(place, table, "true")).concat();
    let (own, foreign) = (format!("t.tenant_id = '{tenant}'"), format!("t.tenant_id <> '{tenant}'"));
    Seen {
        own: cluster.sql(database, &of("", &own)),
        own_places: cluster.sql(database, &of(place, &own)),
        others: cluster.sql(database, &format!("{}{shared}", of(place, &foreign))),
    }
}

/// Previews, approves and restores, as the product does.
pub(crate) async fn restore_approved(world: &World, point: &PointReader, id: &RestoreId) -> Outcome {
    let all = Selection::default();
    let preview = compare(&world.account, &world.scope, point, &all).await.unwrap();
    let tools = world.cluster.tools();
    let job = Job::new(&world.account, &tools, &world.scope, id, point).unwrap();
    run(&job.approved_for(preview.live_digest)).await.unwrap()
}

/// One of fifty goes back, with whatever `then` does with what was there before and what there is now.
async fn one_goes_back(seed: u64, then: impl AsyncFn(&World, &Outcome, &Seen)) {
    let database = format!("many_{seed}");
    make(cluster(), &database);
    let mut dice = Dice::of(seed);
    for _ in 0..2 {
        let tenant = dice.roll(TENANTS);
        let world = world(&database, tenant);
        mutate_all(world.cluster, &database, &mut dice);
        let point = world.open(&world.export().await).await;
        let recorded = see(world.cluster, &database, &name(tenant));
        for _ in 0..1 + dice.roll(2) {
            mutate_all(world.cluster, &database, &mut dice);
        }
        let changed = see(world.cluster, &database, &name(tenant));
        let id = RestoreId::of(world.fresh());
        let outcome = restore_approved(&world, &point, &id).await;
        let restored = see(world.cluster, &database, &name(tenant));
        assert_eq!(restored.own, recorded.own, "seed {seed}: {} is as it was", name(tenant));
        assert_eq!(restored.others, changed.others, "seed {seed}: nobody else's row was written");
        let live = digest(&world.account, &world.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
        assert_eq!(live.differences(point.manifest()), Vec::<String>::new(), "seed {seed}");
        assert_eq!(prove(&world.account, &world.scope, &point, &Selection::default()).await.unwrap().rows, outcome.rows);

        let again = world.restore_as(&point, &id).await.unwrap();
        assert!(!again.changed && again.undo_copy == outcome.undo_copy, "seed {seed}: {again:?}");
        assert_eq!(see(world.cluster, &database, &name(tenant)), restored, "seed {seed}: the second run writes no row");
        assert_eq!(world.cluster.leftovers(&database, &id).await, Vec::<String>::new());
        then(&world, &outcome, &changed).await;
    }
}

/// What was replaced is kept whole. Whoever takes it back joins here: `changed` is what must be there then.
async fn its_undo_copy_is_whole(world: &World, outcome: &Outcome, changed: &Seen) {
    let (database, undo) = (world.scope.layout().database(), outcome.undo_copy.as_ref().unwrap());
    for (table, line) in POOLED.iter().zip(changed.own.lines()) {
        let count = world.cluster.sql(database, &format!("SELECT count(*) FROM {undo}.{table}"));
        assert_eq!(line.split('|').nth(1), Some(count.as_str()), "{table}");
    }
}

#[tokio::test]
async fn one_of_fifty_tenants_goes_back_exactly_and_no_other_row_is_written() {
    for seed in [1, 2, 3] {
        one_goes_back(seed, its_undo_copy_is_whole).await;
    }
}

#[tokio::test]
async fn one_of_fifty_tenants_goes_back_exactly_whatever_the_dice_say() {
    for seed in [4, 5, 6] {
        one_goes_back(seed, its_undo_copy_is_whole).await;
    }
}
