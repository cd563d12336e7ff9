-- Updates 1 % of the rows of each large table, scattered over it.
\set ON_ERROR_STOP on
UPDATE reading SET value = value + 2 WHERE mod(hashint8extended(id, 7), 100) = 0;
UPDATE message SET body = substr(body, 40) || ' ' || substr(body, 1, 39) WHERE mod(hashint8extended(id, 7), 100) = 0;
UPDATE document SET body = jsonb_set(body, '{revision}', '2') WHERE mod(hashint8extended(id, 7), 100) = 0;
UPDATE session SET last_seen_at = last_seen_at + interval '2 minutes' WHERE mod(uuid_hash_extended(id, 7), 100) = 0;
UPDATE audit_line SET line = line || '!' WHERE mod(hashtextextended(line, 7), 100) = 0;
UPDATE stock SET quantity = quantity + 2 WHERE mod(hashtextextended(article, warehouse_id + 100 * (day - '2024-01-01')), 100) = 0;
VACUUM ANALYZE;
