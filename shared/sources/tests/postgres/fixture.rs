//! Databases whose types, names and texts are as awkward as products make them.

use crate::cluster::Cluster;

/// Objects of one tenant in schema `{schema}` of the connected database, owned by `app_owner`.
const APPLICATION: &str = r#"
SET ROLE app_owner;
CREATE SCHEMA "{schema}"; COMMENT ON SCHEMA "{schema}" IS 'It''s a \schema';
SET search_path = "{schema}";
CREATE TYPE mood AS ENUM ('ok', 'it''s "bad"', 'very, bad');
CREATE TYPE address AS (street text, number int);
CREATE DOMAIN percentage AS numeric(5, 2) CHECK (VALUE BETWEEN 0 AND 100);
CREATE TABLE customers (
    id uuid PRIMARY KEY, email text NOT NULL, name text, mood mood, born date, home address, share percentage,
    tags text[], profile jsonb, raw bytea, balance numeric, f8 float8, f4 real, at timestamptz, local timestamp, span interval,
    period tstzrange, ip inet, doc json, money money, fixed char(5), one "char", bits bit(3), grid int[][],
    search text GENERATED ALWAYS AS (lower(email)) STORED, updated_at timestamptz
);
CREATE UNIQUE INDEX customers_email ON customers (lower(email));
CREATE INDEX customers_bad ON customers (at) WHERE mood <> 'ok';
INSERT INTO customers SELECT
    md5(i::text)::uuid, 'user' || i || '@example.com',
    (ARRAY[E'tab\there', E'line\nbreak', E'back\\slash \\N \\.', '', NULL, 'Ünïcödé 🧾 שלום', E'\r\n', 'a"quote''s', '\.', E'\u0001'])[1 + i % 10],
    (ARRAY['ok', 'it''s "bad"', 'very, bad', NULL]::mood[])[1 + i % 4], (ARRAY['0044-03-15 BC', 'infinity', '2024-02-29', NULL]::date[])[1 + i % 4],
    ROW('Main, "Street"', i)::address, (i % 101)::percentage, ARRAY['a,b', NULL, '"', E'\\', '{{}}']::text[],
    jsonb_build_object('k', i, 'n', 1e400::numeric, 's', E'x\ty'), decode(md5(i::text), 'hex'),
    (ARRAY['NaN', '1.10', '1.1', '-0.00000000000000000001', '123456789012345678901234567890']::numeric[])[1 + i % 5],
    (ARRAY['NaN', 'Infinity', '-0', '0.1', '1e-307', '4.9e-324']::float8[])[1 + i % 6], (i / 3.0)::real,
    (ARRAY['infinity', '-infinity', '2024-03-31 02:30:00.123456+02', '4713-01-01 00:00:00 BC']::timestamptz[])[1 + i % 4], '1999-12-31 23:59:59.999999',
    (ARRAY['1 year 2 mons -3 days 04:05:06.789', '-1 day', '00:00:00']::interval[])[1 + i % 3],
    tstzrange('2024-01-01', CASE WHEN i % 2 = 0 THEN '2025-01-01'::timestamptz END, '[)'), '10.0.0.0/8', '{{"b": 1,  "a": 2}}', 12.34, 'ab', 'x', B'101',
    ARRAY[[1, 2], [3, NULL]]
    FROM generate_series(1, {rows}) i;
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer uuid NOT NULL REFERENCES customers ON DELETE CASCADE, total numeric(12, 2) CHECK (total >= 0)
);
INSERT INTO orders (customer, total) SELECT id, row_number() OVER (ORDER BY id) FROM customers;
CREATE TABLE "Order Lines" ("order" bigint REFERENCES orders, "Line No" int, "the ""quoted"" é" text, PRIMARY KEY ("order", "Line No"));
INSERT INTO "Order Lines" SELECT id, n, repeat('x', n) FROM orders, generate_series(1, 2) n;
CREATE TABLE departments (id int PRIMARY KEY, head int NOT NULL);
CREATE TABLE employees (id serial PRIMARY KEY, department int NOT NULL REFERENCES departments DEFERRABLE INITIALLY DEFERRED, boss int REFERENCES employees);
ALTER TABLE departments ADD FOREIGN KEY (head) REFERENCES employees DEFERRABLE INITIALLY DEFERRED;
BEGIN; INSERT INTO departments VALUES (1, 1); INSERT INTO employees (department, boss) VALUES (1, NULL), (1, 1); COMMIT;
CREATE TABLE audit (at timestamptz, what text);
INSERT INTO audit SELECT '2024-01-01', 'same' FROM generate_series(1, 5); INSERT INTO audit VALUES (NULL, NULL), ('2024-01-02', '');
CREATE TABLE measurements (at timestamptz NOT NULL, value float8, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE measurements_2024 PARTITION OF measurements FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE measurements_rest PARTITION OF measurements DEFAULT;
INSERT INTO measurements SELECT '2024-06-01'::timestamptz + i * interval '1 month', i FROM generate_series(1, 12) i;
CREATE TABLE parent (id int PRIMARY KEY); CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 'child');
CREATE TABLE nothing (); INSERT INTO nothing DEFAULT VALUES; INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE big (id int PRIMARY KEY, body text); INSERT INTO big SELECT i, repeat(md5(i::text), 20000) FROM generate_series(1, 3) i;
CREATE TABLE sessions (id int PRIMARY KEY, data text); INSERT INTO sessions VALUES (1, 'gone after a restore');
CREATE UNLOGGED TABLE cache (id int); INSERT INTO cache VALUES (1);
CREATE SEQUENCE tickets START 5000 INCREMENT -2 MAXVALUE 6000; SELECT nextval('tickets'), nextval('tickets');
CREATE SEQUENCE unused;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.updated_at := clock_timestamp(); RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch();
CREATE FUNCTION secret_total() RETURNS numeric LANGUAGE sql STABLE RETURN (SELECT sum(total) FROM orders);
CREATE VIEW turnover AS SELECT customer, sum(total) FROM orders GROUP BY 1;
CREATE MATERIALIZED VIEW totals AS SELECT sum(total) AS total FROM orders;
CREATE MATERIALIZED VIEW a_totals_of_totals AS SELECT total * 2 AS doubled FROM totals;
CREATE MATERIALIZED VIEW never_filled AS SELECT 1 AS one WITH NO DATA;
ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY nobody ON orders FOR SELECT TO app_user USING (false);
GRANT USAGE ON SCHEMA "{schema}" TO app_user; GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA "{schema}" TO app_user;
GRANT UPDATE (name) ON customers TO app_user WITH GRANT OPTION; REVOKE EXECUTE ON FUNCTION secret_total FROM PUBLIC;
GRANT SELECT ON totals TO PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA "{schema}" GRANT SELECT ON TABLES TO app_user;
COMMENT ON COLUMN customers.name IS 'what'' they \ call themselves';
RESET ROLE; RESET search_path;
"#;

/// Makes one tenant's application in a schema.
pub(crate) fn application(cluster: &Cluster, database: &str, schema: &str, rows: u32) {
    let sql = APPLICATION.replace("{schema}", schema).replace("{rows}", &rows.to_string()).replace("{{", "{").replace("}}", "}");
    cluster.sql(database, &sql);
}

/// Makes a database that belongs to `app_owner`, as the account under test would.
pub(crate) fn database(cluster: &Cluster, name: &str) {
    cluster.sql("postgres", &format!("SET ROLE master; CREATE DATABASE \"{name}\" OWNER app_owner TEMPLATE template0"));
}

/// Pooled tables with the rows of three tenants, and a table that is everybody's.
const POOL: &str = r#"
SET ROLE app_owner;
CREATE SCHEMA app; SET search_path = app;
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TABLE countries (code text PRIMARY KEY); INSERT INTO countries VALUES ('DE'), ('FR');
CREATE TABLE customers (
    tenant_id text NOT NULL, id int NOT NULL, email text, mood mood, country text REFERENCES countries, updated_at timestamptz, doc json,
    shout text GENERATED ALWAYS AS (upper(email)) STORED, referred_by int,
    PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, email), FOREIGN KEY (tenant_id, referred_by) REFERENCES customers
);
CREATE TABLE orders (
    tenant_id text NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, customer int NOT NULL, total numeric,
    PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, customer) REFERENCES customers
) PARTITION BY HASH (tenant_id);
CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE tokens (id serial PRIMARY KEY, tenant_id text NOT NULL, token text);
CREATE TABLE uses (tenant_id text, token int REFERENCES tokens ON DELETE CASCADE, PRIMARY KEY (tenant_id, token));
CREATE TABLE sessions (tenant_id text, id int PRIMARY KEY); INSERT INTO sessions VALUES ('acme', 1);
CREATE TABLE changes (what text);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
    NEW.updated_at := clock_timestamp(); INSERT INTO app.changes VALUES (TG_OP); RETURN NEW; END$$;
INSERT INTO customers (tenant_id, id, email, mood, country, updated_at, doc, referred_by)
    SELECT t, i, 'c' || i || E'\t@' || t, CASE WHEN i % 2 = 0 THEN 'ok'::mood END, 'DE', '2024-01-01', '{"a":  1}', nullif(i - 1, 0)
    FROM unnest(ARRAY['acme', 'other', 'o''hara']) t, generate_series(1, 50) i;
INSERT INTO orders (tenant_id, customer, total) SELECT tenant_id, id, (id % 7) * 1.10 FROM customers, generate_series(1, 3);
INSERT INTO tokens (tenant_id, token) SELECT tenant_id, md5(id::text || tenant_id) FROM customers;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER off BEFORE UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch(); ALTER TABLE customers DISABLE TRIGGER off;
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON customers USING (tenant_id = current_setting('app.tenant', true));
ALTER TABLE orders ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON orders USING (tenant_id = current_setting('app.tenant', true));
GRANT USAGE ON SCHEMA app TO app_user; GRANT ALL ON ALL TABLES IN SCHEMA app TO app_user;
"#;

/// Makes a database of pooled tables.
pub(crate) fn pool(cluster: &Cluster, name: &str) {
    database(cluster, name);
    pooled(cluster, name);
}

/// Makes the pooled tables in a database that is there.
pub(crate) fn pooled(cluster: &Cluster, name: &str) {
    cluster.sql(name, POOL);
}
