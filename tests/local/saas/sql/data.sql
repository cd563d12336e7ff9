-- The rows of one tenant, in either schema: in the pool the session's app.tenant_id fills the tenant column.
-- Everything is computed from the tenant's id, so two builds of the platform hold the same bytes.
-- Variables: schema, tenant, display_name, canary, percent (size), pool and whole_database (0 or 1).
\set ON_ERROR_STOP on
SET ROLE app_owner;
SET app.tenant_id = :'tenant';
SET TIME ZONE 'UTC';
BEGIN;
SET LOCAL search_path = :"schema";
SET LOCAL synchronous_commit = off;

CREATE FUNCTION pg_temp.pick(i bigint, salt text, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE
    RETURN (hashtextextended(:'tenant' || salt || i::text, 0) & 9223372036854775807) % below;
CREATE FUNCTION pg_temp.id(i bigint, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE
    RETURN md5(:'tenant' || salt || i::text)::uuid;
CREATE FUNCTION pg_temp.moment(i bigint, salt text) RETURNS timestamptz LANGUAGE sql IMMUTABLE
    RETURN timestamptz '2023-01-01 00:00:00+00' + pg_temp.pick(i, salt, 63072000000000) * interval '1 microsecond';
CREATE FUNCTION pg_temp.rows(full_size int) RETURNS bigint LANGUAGE sql IMMUTABLE RETURN full_size * :percent / 100;

\ir awkward_texts.sql

\if :pool
\else
\ir countries.sql
\endif

INSERT INTO customers (customer_id, email, name, country_code, status, nickname, tags, profile, credit_limit, born_on, created_at, updated_at)
SELECT pg_temp.id(i, 'customer'),
       format('%s.%s@%s.example', lower(first), i, :'tenant'),
       CASE WHEN i % 40 = 0 AND awkward.body <> '' THEN left(awkward.body, 200) ELSE first || ' ' || last END,
       (ARRAY['DE','AT','CH','FR','IS','JP','IL','EG','KR','GR','VN','XX'])[1 + pg_temp.pick(i, 'country', 12)],
       (enum_range(NULL::customer_status))[1 + pg_temp.pick(i, 'status', 4)],
       CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE first END,
       CASE WHEN i % 4 = 0 THEN '{}' ELSE ARRAY[lower(last), NULL, 'tag ' || i % 9] END,
       jsonb_build_object('plan', jsonb_build_object('code', (ARRAY['free','team','scale'])[1 + i % 3], 'seats', i % 50),
                          'company', :'display_name', 'quote', CASE WHEN i % 25 = 0 THEN left(awkward.body, 100) END,
                          'history', jsonb_build_array(i, i::numeric / 7, NULL, i % 2 = 0)),
       CASE WHEN i % 6 = 0 THEN NULL WHEN i % 101 = 0 THEN 'NaN' ELSE pg_temp.pick(i, 'credit', 1000000000) / 1000.0 END,
       date '1940-01-01' + pg_temp.pick(i, 'born', 25000)::int,
       pg_temp.moment(i, 'created'), pg_temp.moment(i, 'updated')
FROM generate_series(1, pg_temp.rows(4000)) i
    CROSS JOIN LATERAL (SELECT (ARRAY['Zoë','José','Łukasz','Søren','Ming','Aïcha','Bjørk','Anna','Ilse','Tomáš'])[1 + i % 10] AS first,
                               (ARRAY['Müller','O''Brien','D''Angelo','van "Dutch" Berg','Nguyễn','王','Øst','Smith'])[1 + i % 8] AS last) person
    JOIN awkward_texts awkward ON awkward.n = 1 + i % (SELECT count(*) FROM awkward_texts);

INSERT INTO products (sku, title, price, dimensions, weight_kg, attributes)
SELECT format('SKU/%s-%s', to_char(i, 'FM0000'), :'tenant'), 'Product № ' || i, pg_temp.pick(i, 'price', 500000) / 100.0,
       CASE WHEN i % 5 <> 0 THEN ARRAY[i / 3.0, NULL, i * 1.10]::numeric[] END,
       CASE WHEN i % 7 <> 0 THEN i / 7.0::float8 END,
       jsonb_build_object('colour', (ARRAY['rot','grün','blau'])[1 + i % 3], 'sizes', jsonb_build_array(i % 3, 'XL'))
FROM generate_series(1, 500) i;

INSERT INTO orders (order_id, customer_id, status, placed_at, deliver_on, delivery_window, total)
SELECT i, pg_temp.id(1 + pg_temp.pick(i, 'buyer', pg_temp.rows(4000)), 'customer'),
       (enum_range(NULL::order_status))[1 + i % 4], pg_temp.moment(i, 'placed'),
       CASE WHEN i % 9 = 0 THEN NULL WHEN i % 997 = 0 THEN 'infinity'::date ELSE date '2024-01-01' + (i % 700)::int END,
       make_interval(days => (i % 3)::int, mins => (i % 500)::int), pg_temp.pick(i, 'total', 100000000) / 10000.0
FROM generate_series(1, pg_temp.rows(8000)) i;

INSERT INTO "Order Lines" (order_id, "Line No", "SKU", quantity, "Unit Price", "the ""quoted"" remark")
SELECT o, line, format('SKU/%s-%s', to_char(1 + pg_temp.pick(o * 7 + line, 'sku', 500), 'FM0000'), :'tenant'),
       1 + (o + line) % 20, ((o * line) % 100000) / 100.0,
       CASE line WHEN 1 THEN NULL WHEN 2 THEN '' ELSE :'display_name' || E'\tline\n' || line END
FROM generate_series(1, pg_temp.rows(8000)) o, generate_series(1, 3) line;

INSERT INTO departments (department_id, name, head_id) SELECT d, 'Dept. ' || d, 1000 + d FROM generate_series(1, 12) d;
INSERT INTO employees (employee_id, department_id, manager_id, name, home, salary)
OVERRIDING SYSTEM VALUE
SELECT 1000 + i, 1 + i % 12, CASE WHEN i > 1 THEN 1000 + i / 2 END, 'Employee ' || i,
       CASE WHEN i % 3 > 0 THEN ROW('Straße "' || i || '", (rear)', i, nullif(i % 3, 2)::text)::address END,
       30000 + pg_temp.pick(i, 'salary', 900000000000) / 10000000.0
FROM generate_series(1, 200) i;

INSERT INTO "Größe & Gewicht" ("Straße", "名前", "column.with.dots", "select")
SELECT label, body, upper(label), reverse(left(body, 60)) FROM awkward_texts;

-- Every tenth entry three times over; to the last byte where the table has no key.
CREATE TEMP VIEW audit_entries AS
SELECT row_number() OVER (ORDER BY i, copy) AS entry_id, pg_temp.moment(i, 'audit') AS happened_at,
       CASE WHEN i % 5 > 0 THEN 'user-' || i % 97 END AS actor, 'order.' || (ARRAY['view','edit','pay'])[1 + i % 3] AS action,
       CASE WHEN i % 4 > 0 THEN format('{"order":%s,  "by": "%s"}', i, :'tenant')::json END AS detail
FROM generate_series(1, pg_temp.rows(6000)) i, generate_series(1, CASE WHEN i % 10 = 0 THEN 3 ELSE 1 END) copy;
\if :pool
INSERT INTO audit_log (entry_id, happened_at, actor, action, detail) SELECT * FROM audit_entries;
\else
INSERT INTO audit_log SELECT happened_at, actor, action, detail FROM audit_entries;
\endif

INSERT INTO tickets (ticket_id, ticket_number, customer_id, subject, body, opened_at, open_hours)
SELECT i, 5000 + i, CASE WHEN i % 8 > 0 THEN pg_temp.id(1 + pg_temp.pick(i, 'caller', pg_temp.rows(4000)), 'customer') END,
       'Ticket ' || i, repeat('Sehr geehrte Damen und Herren, ', (i % 90)::int), pg_temp.moment(i, 'ticket'),
       tstzrange('2024-01-01 00:00+00'::timestamptz + i * interval '1 hour', '2024-01-01 00:59+00'::timestamptz + i * interval '1 hour')
FROM generate_series(1, pg_temp.rows(1500)) i;

-- Incompressible and compressible values beyond a page, so that they are stored out of line.
INSERT INTO attachments (ticket_id, name, content, transcript)
SELECT i, 'scan ' || i || '.pdf',
       decode((SELECT string_agg(md5(:'tenant' || i || ':' || k), '') FROM generate_series(1, 1000) k), 'hex'),
       CASE WHEN i = 1 THEN repeat('a long transcript of ' || :'display_name' || E'\n', 20000)
            WHEN i % 2 = 0 THEN (SELECT string_agg(md5(:'tenant' || i || k), ' ') FROM generate_series(1, 200) k) END
FROM generate_series(1, 40) i;

INSERT INTO notes (note_id, label, body) SELECT n, label, body FROM awkward_texts;
INSERT INTO notes (note_id, label, body) VALUES (1000, 'canary', :'canary');
INSERT INTO notes (note_id, label, body)
SELECT 1000 + i, 'note', format('%s wrote note %s to %s', :'display_name', i, pg_temp.id(i, 'customer')) FROM generate_series(1, 600) i;

INSERT INTO settings (key, value)
SELECT 'setting/' || i, CASE i % 4 WHEN 0 THEN NULL WHEN 1 THEN 'null'::jsonb WHEN 2 THEN to_jsonb('text ' || i) ELSE jsonb_build_object('n', i) END
FROM generate_series(1, 40) i;
INSERT INTO sessions (session_id, customer_id, data, expires_at)
SELECT pg_temp.id(i, 'session'), pg_temp.id(i, 'customer'), '{"transient": true}', timestamptz '2026-12-31 00:00:00+00'
FROM generate_series(1, 300) i;
\ir specimens.sql

\if :whole_database
INSERT INTO public.feature_flags SELECT 'flag-' || i, i % 2 = 0, pg_temp.moment(i, 'flag') FROM generate_series(1, 30) i;
INSERT INTO "Reports 2024".monthly_turnover SELECT date '2024-01-01' + i * interval '1 month', i * 1000.5 FROM generate_series(0, 11) i;
INSERT INTO "Reports 2024".customer_rank
SELECT customer_id, row_number() OVER (ORDER BY customer_id), percent_rank() OVER (ORDER BY customer_id) FROM customers;
\endif

-- Sequences stand well past the largest key in use, as they do after deletions: restoring max(id) would hand out old numbers.
\if :pool
SELECT setval(format('%I.%I', 'app', s), greatest((pg_sequence_last_value(format('%I.%I', 'app', s)::regclass)), 20000), true)
FROM unnest(ARRAY['orders_order_id_seq', 'employees_employee_id_seq', 'tickets_ticket_id_seq', 'ticket_numbers']) s \g /dev/null
\else
SELECT setval('orders_order_id_seq', 12345, true), setval('employees_employee_id_seq', 4000, true),
       setval('tickets_ticket_id_seq', 9000, false), setval('ticket_numbers', 77777, true) \g /dev/null
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
\endif
COMMIT;
