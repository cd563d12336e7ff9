-- One row per edge of each type: what a text COPY, a comparison or a cast is likely to get wrong.
-- Several pairs are equal to PostgreSQL and yet written differently (1.0 and 1.00, 0 and -0): a restore must tell them apart.
INSERT INTO type_gallery (specimen, n, n42, f4, f8, i2, i4, i8, b, pct) VALUES
    ('number: zero', 0, 0, 0, 0, 0, 0, 0, false, 0),
    ('number: minus zero', -0.0, 0, '-0', '-0', 0, 0, 0, true, 0.00),
    ('number: one, one digit', 1.0, 1, 1, 1, 1, 1, 1, NULL, 1),
    ('number: one, many digits', 1.000000000000000000000, 1, 1, 1, 1, 1, 1, NULL, 1),
    ('number: not a number', 'NaN', 'NaN', 'NaN', 'NaN', NULL, NULL, NULL, NULL, NULL),
    ('number: infinity', 'Infinity', NULL, 'Infinity', 'Infinity', 32767, 2147483647, 9223372036854775807, NULL, 100),
    ('number: minus infinity', '-Infinity', NULL, '-Infinity', '-Infinity', -32768, -2147483648, -9223372036854775808, NULL, NULL),
    ('number: huge', 10::numeric ^ 1000 + 7, 1e21 + 0.00000000000000000001, 3.4028235e38, 1.7976931348623157e308, NULL, NULL, NULL, NULL, NULL),
    ('number: tiny', ('0.' || repeat('0', 1500) || '1')::numeric, 0.00000000000000000001, 1e-45, 5e-324, NULL, NULL, NULL, NULL, NULL),
    ('number: not exact in binary', 0.1, 0.1, 0.1, 0.1::float8 + 0.2::float8, NULL, NULL, NULL, NULL, 33.33),
    ('number: absent', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO type_gallery (specimen, d, ts, tstz, tm, tmtz, iv, trange) VALUES
    ('time: infinity', 'infinity', 'infinity', 'infinity', '24:00:00', '24:00:00+15:59', '178000000 years', '(,infinity)'),
    ('time: minus infinity', '-infinity', '-infinity', '-infinity', '00:00:00', '00:00:00-15:59', '-178000000 years', '(,)'),
    ('time: before Christ', '4713-01-01 BC', '4713-01-01 00:00:00 BC', '0044-03-15 12:00:00+00 BC', '12:00:00.000001', '12:00:00+05:45', '-1 day +23:59:59.999999', 'empty'),
    ('time: far future', '5874897-12-31', '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '23:59:59.999999', '23:59:59.999999-03:30', '1 year -2 mons +3 days -04:05:06.789', '[2024-01-01 00:00+00,2024-02-01 00:00+00)'),
    ('time: in the skipped hour', '2024-03-31', '2024-03-31 02:30:00', '2024-03-31 02:30:00 Europe/Berlin', '02:30', '02:30+01', '36 hours', '[2024-03-31 00:30+00,2024-03-31 01:30+00]'),
    ('time: in the repeated hour', '2024-10-27', '2024-10-27 02:30:00', '2024-10-27 02:30:00+01', '02:30', '02:30+02', '1 day 12 hours', '[2024-10-27 00:30+00,)'),
    ('time: leap day', '2024-02-29', '2024-02-29 23:59:60', '2024-02-29 23:59:59.5+00', '00:00:00.5', '00:00:00+00', '1 mon', NULL),
    ('time: year before there were time zones', '1583-10-15', '1883-11-18 12:03:57', '1883-11-18 12:03:57-05', '00:00', '00:00+00', '0', NULL);

INSERT INTO type_gallery (specimen, t, c, v, one, nm, raw, u) VALUES
    ('text: empty', '', '', '', '', '', '', '00000000-0000-0000-0000-000000000000'),
    ('text: absent', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    ('text: padded', 'x  ', 'x', 'x  ', 'x', 'x', '\x00', 'ffffffff-ffff-ffff-ffff-ffffffffffff'),
    ('text: null lookalike', E'\\N', E'\\N', E'\\N', E'\\', 'NULL', '\x5c4e', NULL),
    ('text: high char', E'\u00ff', E'\u00e9\u00e9', E'😀', E'\\377', 'ünï', '\xfffe00', NULL);
INSERT INTO type_gallery (specimen, raw)
SELECT 'bytes: every value', decode(string_agg(lpad(to_hex(b), 2, '0'), '' ORDER BY b), 'hex') FROM generate_series(0, 255) b;
INSERT INTO type_gallery (specimen, raw) VALUES ('bytes: a copy marker', '\x5c2e0a'), ('bytes: a gzip header', '\x1f8b0800');

INSERT INTO type_gallery (specimen, js, jb, jp) VALUES
    ('json: duplicates and blanks', E'{ "a" : 1,\n\t"a":2 }', '{"a": 1, "a": 2}', '$.a[*] ? (@ > 1)'),
    ('json: unicode', '{"emoji": "\ud83d\ude80 🚀", "rtl": "שלום", "tab": "\t", "slash": "\\"}', '{"emoji": "\ud83d\ude80 🚀", "rtl": "שלום", "tab": "\t", "slash": "\\"}', '$'),
    ('json: numbers', '[1.0, 1.00, 1e2, -0]', '[1.0, 1.00, 1e2, -0, 123456789012345678901234567890.123456789]', NULL),
    ('json: nested', '{"a":{"b":{"c":[[],{},null,[[[[1]]]]]}}}', '{"a":{"b":{"c":[[],{},null,[[[[1]]]]]}}}', 'strict $.**'),
    ('json: null value', 'null', 'null', NULL),
    ('json: bare text', '"\\.\n"', '"\\.\n"', NULL),
    ('json: absent', NULL, NULL, NULL);

INSERT INTO type_gallery (specimen, a1, a2, a3, ab, aj, ae, addr, addrs) VALUES
    ('array: empty', '{}', '{}', '{}', '{}', '{}', '{}', '(,,)', '{}'),
    ('array: nulls and text that looks null', '{NULL,1,NULL}', '{NULL,"NULL",""," ","{}",",","\\","\""}', '{NaN,NULL,1.00}', ARRAY['\x00ff', NULL]::bytea[], ARRAY['null', NULL, '{"k": "v,}"}']::jsonb[], '{placed,NULL,returned}', ROW('a "b", (c)', NULL, ''), ARRAY[ROW('x', 1, NULL), NULL, ROW('"', 2, E'\\')]::address[]),
    ('array: two dimensions', '{{1,2,NULL},{4,5,6}}', '{{a,b},{"c d",NULL}}', '{{{1.10}}}', NULL, NULL, NULL, NULL, NULL),
    ('array: lower bound not one', '[-2:0]={7,8,9}', '[5:6][0:1]={{a,b},{c,d}}', NULL, NULL, NULL, NULL, NULL, NULL),
    ('array: lines', NULL, ARRAY[E'tab\there', E'line\nbreak', E'\\.', E'quote"', '😀'], NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO type_gallery (specimen, bits, vbits, ip, net, mac, pt, box_, tsv, tsq, lsn, r, mr) VALUES
    ('other: a', B'1010101', B'', '192.168.0.1/24', '10.0.0.0/8', '08:00:2b:01:02:03:04:05', '(1.5,-0)', '(1,1),(0,0)', 'a:1A b:2,3 ''it''''s'':4', 'a & (b | !c)', '16/B374D848', '[1,10)', '{[1.0,2.5),(7,)}'),
    ('other: b', B'0000000', B'1', '::ffff:1.2.3.4/128', '2001:db8::/32', 'ff:ff:ff:ff:ff:ff:ff:ff', '(NaN,Infinity)', '(-1e300,2),(3,-4)', '', '', '0/0', 'empty', '{}'),
    ('other: c', NULL, NULL, '0.0.0.0', NULL, NULL, '(0,0)', NULL, 'prefix', 'pre:*B <2> fix', 'FFFFFFFF/FFFFFFFF', '(,)', '{(,)}');
