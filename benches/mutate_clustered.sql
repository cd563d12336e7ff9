-- Updates 1 % of the rows of each large table, in one contiguous range of its key.
\set ON_ERROR_STOP on
UPDATE reading SET value = value + 1 WHERE id > :readings * 0.40 AND id <= :readings * 0.41;
UPDATE message SET body = substr(body, 40) || ' ' || substr(body, 1, 39) WHERE id > :messages * 0.40 AND id <= :messages * 0.41;
UPDATE document SET body = jsonb_set(body, '{revision}', '1') WHERE id > :documents * 0.40 AND id <= :documents * 0.41;
-- 0x66 / 256 is 40 %, and 0x028f / 65536 is 1 %.
UPDATE session SET last_seen_at = last_seen_at + interval '1 minute'
WHERE id >= '66000000-0000-0000-0000-000000000000' AND id < '688f0000-0000-0000-0000-000000000000';
UPDATE audit_line SET line = line || '.'
WHERE at > timestamptz '2025-01-01 00:00Z' + :audit_lines * 0.40 * interval '5 seconds'
  AND at <= timestamptz '2025-01-01 00:00Z' + :audit_lines * 0.41 * interval '5 seconds';
UPDATE stock SET quantity = quantity + 1 WHERE warehouse_id = 5 AND article >= 'SKU002000' AND article < 'SKU002600';
VACUUM ANALYZE;
