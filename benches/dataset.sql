-- The database `tenant` of the benchmark: seven tables of different shape, the same rows on every machine.
-- Variables: customers, readings, messages, documents, sessions, audit_lines, stock (rows of each table).
--
-- Text is made of words with the frequencies of a natural language, so that it compresses like one. Rows cut their text out
-- of a 64 MB tape: the same words come back only far outside the window of any compressor used here.

\set ON_ERROR_STOP on
SET client_min_messages = warning;
SET synchronous_commit = off;

CREATE SCHEMA seed;

-- A number in [0, 1) from a key. `hashint8extended` is what hash partitioning relies on, so it never changes.
CREATE FUNCTION seed.unit(key bigint, salt bigint) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT ((hashint8extended(key, salt) >> 12) & 1125899906842623)::float8 / 1125899906842624 $$;

CREATE FUNCTION seed.pick(key bigint, salt bigint, below bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT floor(seed.unit(key, salt) * below)::bigint $$;

-- The more frequent a word, the shorter: two to five syllables of a consonant and a vowel.
CREATE TABLE seed.word AS
SELECT rank, (
    SELECT string_agg(substr('bcdfghklmnprstvw', (1 + seed.pick(rank * 8 + n, 11, 16))::int, 1)
                   || substr('aeiou', (1 + seed.pick(rank * 8 + n, 12, 5))::int, 1), '' ORDER BY n)
    FROM generate_series(1, (1 + ceil(ln(rank + 1) / ln(12)))::int) n) AS word
FROM generate_series(1, 8000) rank;
CREATE UNIQUE INDEX ON seed.word (rank) INCLUDE (word);

CREATE TABLE seed.tape (page bigint PRIMARY KEY, words text);
ALTER TABLE seed.tape ALTER words SET STORAGE PLAIN;
INSERT INTO seed.tape
SELECT page, (
    SELECT string_agg(word, ' ' ORDER BY n)
    FROM generate_series(1, 400) n JOIN seed.word ON rank = floor(exp(ln(8000) * seed.unit(page * 400 + n, 21)))::int)
FROM generate_series(0, 32767) page;
VACUUM ANALYZE seed.word, seed.tape;

-- Up to 1,500 bytes of text for a row.
CREATE FUNCTION seed.prose(key bigint, salt bigint, bytes int) RETURNS text LANGUAGE plpgsql STABLE AS
$$ BEGIN
    RETURN (SELECT substr(words, (1 + seed.pick(key, salt + 1, 500))::int, bytes)
            FROM seed.tape WHERE page = seed.pick(key, salt, 32768));
END $$;

CREATE TABLE customer (
    id bigint PRIMARY KEY, email text NOT NULL, name text NOT NULL, country char(2) NOT NULL, note text,
    created_at timestamptz NOT NULL);
CREATE TABLE reading (
    id bigint NOT NULL, sensor_id int NOT NULL, at timestamptz NOT NULL, value numeric(10,3) NOT NULL, quality smallint,
    delta int NOT NULL);
CREATE TABLE message (
    id bigint NOT NULL, customer_id bigint NOT NULL, created_at timestamptz NOT NULL, is_read boolean NOT NULL, body text NOT NULL);
CREATE TABLE document (
    id bigint NOT NULL, customer_id bigint NOT NULL, reference text NOT NULL, body jsonb NOT NULL);
CREATE TABLE session (
    id uuid NOT NULL, customer_id bigint NOT NULL, last_seen_at timestamptz NOT NULL, agent text NOT NULL);
CREATE TABLE audit_line (at timestamptz NOT NULL, actor text NOT NULL, line text NOT NULL);
CREATE TABLE stock (
    warehouse_id int NOT NULL, article text NOT NULL, day date NOT NULL, quantity int NOT NULL, price numeric(12,2) NOT NULL);

INSERT INTO customer
SELECT i, 'user' || i || '@' || seed.pick(i, 31, 400) || '.example', initcap(seed.prose(i, 32, 18)),
       substr('DEFRGBITESNLPLAT', (1 + 2 * seed.pick(i, 34, 8))::int, 2), nullif(seed.prose(i, 35, seed.pick(i, 37, 120)::int), ''),
       timestamptz '2020-01-01 00:00Z' + i * interval '37 seconds'
FROM generate_series(1, :customers) i;

INSERT INTO reading
SELECT i, 1 + seed.pick(i, 41, 900), timestamptz '2024-01-01 00:00Z' + i * interval '1.7 seconds',
       (20 + 15 * sin(i / 4000.0) + seed.unit(i, 42))::numeric(10,3), nullif(seed.pick(i, 43, 5), 0), seed.pick(i, 44, 2000) - 1000
FROM generate_series(1, :readings) i;

INSERT INTO message
SELECT i, 1 + seed.pick(i, 51, :customers), timestamptz '2023-01-01 00:00Z' + i * interval '11 seconds',
       seed.unit(i, 52) < 0.8, seed.prose(i, 53, 80 + seed.pick(i, 55, 140)::int)
FROM generate_series(1, :messages) i;

-- Every fiftieth document is large enough to be stored out of line.
INSERT INTO document
SELECT i, 1 + seed.pick(i, 61, :customers), 'DOC-' || lpad(i::text, 10, '0'), jsonb_build_object(
    'title', seed.prose(i, 62, 40), 'state', (ARRAY['draft', 'open', 'paid', 'void'])[1 + seed.pick(i, 64, 4)],
    'amount', round((seed.unit(i, 65) * 10000)::numeric, 2), 'revision', 0,
    'tags', jsonb_build_array(seed.prose(i, 66, 8), seed.prose(i, 67, 8), seed.prose(i, 68, 8)),
    'address', jsonb_build_object('street', seed.prose(i, 69, 24), 'zip', lpad(seed.pick(i, 71, 99999)::text, 5, '0')),
    'text', CASE WHEN i % 50 = 0 THEN seed.prose(i, 72, 1500) || seed.prose(i, 74, 1500) || seed.prose(i, 76, 1500)
                 ELSE seed.prose(i, 78, 400 + seed.pick(i, 80, 800)::int) END)
FROM generate_series(1, :documents) i;

-- The keys are random and the rows come in no order, as random UUIDs do.
INSERT INTO session
SELECT md5('session ' || i)::uuid, 1 + seed.pick(i, 81, :customers), timestamptz '2025-06-01 00:00Z' + i * interval '3 seconds',
       'Browser/' || seed.pick(i, 82, 40) || '.' || seed.pick(i, 83, 20) || ' ' || seed.prose(i, 84, 30)
FROM generate_series(1, :sessions) i;

INSERT INTO audit_line
SELECT timestamptz '2025-01-01 00:00Z' + i * interval '5 seconds', 'user' || 1 + seed.pick(i, 91, 500), seed.prose(i, 92, 80)
FROM generate_series(1, :audit_lines) i;

INSERT INTO stock
SELECT 1 + i % 12, 'SKU' || lpad((i / 12 % 5000)::text, 6, '0'), date '2024-01-01' + (i / 60000)::int, seed.pick(i, 95, 5000),
       round((seed.unit(i / 12 % 5000, 96) * 900)::numeric, 2)
FROM generate_series(0, :stock - 1) i;

DROP SCHEMA seed CASCADE;

ALTER TABLE customer ADD UNIQUE (email);
ALTER TABLE reading ADD PRIMARY KEY (id);
CREATE INDEX ON reading (sensor_id, at);
ALTER TABLE message ADD PRIMARY KEY (id);
CREATE INDEX ON message (customer_id, created_at);
ALTER TABLE message ADD FOREIGN KEY (customer_id) REFERENCES customer;
ALTER TABLE document ADD PRIMARY KEY (id), ADD UNIQUE (reference);
CREATE INDEX ON document (customer_id);
ALTER TABLE document ADD FOREIGN KEY (customer_id) REFERENCES customer;
ALTER TABLE session ADD PRIMARY KEY (id);
CREATE INDEX ON session (last_seen_at);
CREATE INDEX ON audit_line (at);
ALTER TABLE stock ADD PRIMARY KEY (warehouse_id, article, day);

VACUUM ANALYZE;
