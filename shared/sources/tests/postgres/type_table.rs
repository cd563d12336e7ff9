//! The types a tenant's columns may have, each with the values that are easiest to spoil.

/// A type, and whether a primary key can be of it.
pub(crate) struct Type {
    /// What its tables are called.
    pub(crate) name: &'static str,
    /// The type as it stands in a definition. `{schema}` is the tenant's.
    pub(crate) sql: &'static str,
    pub(crate) is_key: bool,
    /// Expressions that are cast to it.
    pub(crate) values: &'static [&'static str],
}

const fn key(name: &'static str, sql: &'static str, values: &'static [&'static str]) -> Type {
    Type { name, sql, is_key: true, values }
}

const fn plain(name: &'static str, sql: &'static str, values: &'static [&'static str]) -> Type {
    Type { name, sql, is_key: false, values }
}

/// Types of the tenant's own, made in its schema.
pub(crate) const OWN_TYPES: &str = r#"
CREATE TYPE {schema}.mood AS ENUM ('ok', 'it''s "bad"', 'very, bad', ' blank ', 'Ünï 🧾', 'NULL');
CREATE TYPE {schema}.street AS (name text, number int);
CREATE TYPE {schema}.address AS (street {schema}.street, tags text[], "odd, ""name""" numeric);
CREATE TYPE {schema}.floats AS RANGE (subtype = float8);
CREATE DOMAIN {schema}.percentage AS numeric(5, 2) NOT NULL CHECK (VALUE BETWEEN 0 AND 100);
CREATE DOMAIN {schema}.shares AS numeric[] CHECK (cardinality(VALUE) < 9);
CREATE DOMAIN {schema}.place AS {schema}.street CHECK ((VALUE).number > 0);
CREATE DOMAIN {schema}.half AS {schema}.percentage CHECK (VALUE <= 50);
"#;

pub(crate) const EXTENSIONS: &[&str] = &["hstore", "citext", "ltree", "cube", "seg", "isn"];

/// Types of extensions, of which a tenant's schema or database has the use.
pub(crate) const OF_EXTENSIONS: &[Type] = &[
    key("a_hstore", "public.hstore", &[r#"'"a b"=>NULL, "c"=>"NULL", "\"q\""=>"\\back", ""=>"", "é"=>"🧾"'"#, "''"]),
    key("a_citext", "public.citext", &["'ÄbC'", "'abc'", "''", r"E'\t\\N'"]),
    key("a_ltree", "public.ltree", &["'Top.Science.Astronomy'", "''", "'a_b.C1'"]),
    plain("a_lquery", "public.lquery", &["'Top.*{2}.!a|b'"]),
    key("a_cube", "public.cube", &["'(1,2),(3,4)'", "'(0.1)'", "'(-1e-300,1e300)'", "'(Infinity,NaN)'"]),
    key("a_seg", "public.seg", &["'1.20 .. 3.40'", "'<1.0'", "'~7(+-)0.5'"]),
    key("an_isbn", "public.isbn", &["'978-0-393-04002-9'", "'0-393-04002-X'"]),
];

/// Types that every server has, and types made of them.
pub(crate) const TYPES: &[Type] = &[
    key("a_boolean", "boolean", &["true", "false"]),
    key("a_smallint", "smallint", &["-32768", "0", "32767"]),
    key("an_integer", "integer", &["-2147483648", "-1", "0", "2147483647"]),
    key("a_bigint", "bigint", &["-9223372036854775808", "0", "9223372036854775807", "9007199254740993"]),
    key(
        "a_numeric",
        "numeric",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0",
            "'-0'",
            "'0.000'",
            "'1.10'",
            "'100'",
            "'100.00'",
            "'-1e-1000'",
            "repeat('9', 1500) || '.' || repeat('1', 1500)",
            "'-' || repeat('123456789', 200)",
            "'1e131071'",
            "'1e-16383'",
        ],
    ),
    key("a_numeric_of", "numeric(12, 4)", &["'12345678.9999'", "'-0.0001'", "0"]),
    key("a_numeric_rounded", "numeric(3, -2)", &["'12345'", "'-99900'"]),
    key(
        "a_real",
        "real",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'-0'",
            "0",
            "'1e-45'",
            "'1.17549435e-38'",
            "'3.4028235e38'",
            "'0.1'",
            "'16777217'",
        ],
    ),
    key(
        "a_double",
        "double precision",
        &[
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "'-0'",
            "0",
            "'4.9e-324'",
            "'2.2250738585072014e-308'",
            "'1.7976931348623157e308'",
            "'0.1'",
            "'0.30000000000000004'",
            "'9007199254740993'",
            "'123456789.12345678'",
            "'-1e-307'",
        ],
    ),
    key("a_money", "money", &["'-92233720368547758.08'::money", "'0.01'::money", "'92233720368547758.07'::money"]),
    key(
        "a_text",
        "text",
        &[
            "''",
            r"'\'",
            r"'\N'",
            r"'\.'",
            r"'\\x41'",
            r"E'a\tb'",
            r"E'a\nb'",
            r"E'a\rb'",
            r"E'\r\n'",
            r"E'\n'",
            r"E'\\\n\\.\n'",
            "'it''s \"quoted\"'",
            "'NULL'",
            "' blank '",
            "'🧾🏽 שלום e\u{301} é ｆｕｌｌ'",
            r"E'\u0001\b\f\v\x7f'",
            "'\u{feff}\u{200b}\u{10ffff}'",
            "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32768) i)",
            "repeat('compressible ', 80660)",
            r"repeat(E'\t\\', 100000)",
        ],
    ),
    key("a_varchar", "varchar(8)", &["''", "'12345678'", "'é  '", r"'\N'"]),
    key("a_char", "char(5)", &["''", "'ab'", "'ab   '", "' ab'", "'🧾é'", r"'\N'"]),
    key("a_byte_char", "\"char\"", &["'a'", r"'\'", "''", "' '", "'~'"]),
    key("a_name", "name", &["repeat('n', 63)", "''", "'Quoted \"Name\"'"]),
    key(
        "a_bytea",
        "bytea",
        &[
            "(SELECT string_agg(set_byte('\\x00', 0, i), '' ORDER BY i) FROM generate_series(0, 255) i)",
            "''",
            r"'\x5c'",
            r"'\x5c4e'",
            r"'\x00'",
            "(SELECT string_agg(decode(md5(i::text), 'hex'), '') FROM generate_series(1, 65536) i)",
        ],
    ),
    key(
        "a_date",
        "date",
        &["'infinity'", "'-infinity'", "'0044-03-15 BC'", "'4714-11-24 BC'", "'5874897-12-31'", "'2024-02-29'", "'0001-01-01'"],
    ),
    key("a_time", "time", &["'24:00:00'", "'00:00'", "'23:59:59.999999'", "'12:00:00.000001'"]),
    key("a_time_of", "time(2)", &["'24:00:00'", "'12:34:56.789'"]),
    key("a_timetz", "timetz", &["'24:00:00-15:59'", "'00:00+15:59'", "'04:05:06.789+05:45:30'", "'12:00Z'"]),
    key(
        "a_timestamp",
        "timestamp",
        &[
            "'infinity'",
            "'-infinity'",
            "'294276-12-31 23:59:59.999999'",
            "'4714-11-24 00:00:00 BC'",
            "'1999-12-31 23:59:59.999999'",
            "'0001-01-01 BC'",
        ],
    ),
    key(
        "a_timestamptz",
        "timestamptz",
        &[
            "'infinity'",
            "'-infinity'",
            "'294276-12-31 23:59:59.999999Z'",
            "'4714-11-24 00:00:00Z BC'",
            "'2024-03-31 02:30:00.123456+02'",
            "'2024-10-27 02:30:00+01'",
            "'1883-11-18 12:03:57-04:56:02'",
        ],
    ),
    key("a_timestamptz_of", "timestamptz(0)", &["'2024-03-31 02:30:00.5+02'"]),
    key(
        "an_interval",
        "interval",
        &[
            "'1 year 2 mons -3 days 04:05:06.789'",
            "'-1 year 1 day -00:00:00.000001'",
            "'178956970 years 7 mons'",
            "'-178956970 years -8 mons'",
            "'2147483647 days'",
            "'-2147483648 days'",
            "'2562047788:00:54.775807'",
            "'0'",
            "'30 days'",
            "'1 mon'",
            "'24:00:00'",
        ],
    ),
    key("an_interval_of", "interval day to second(2)", &["'-1 day 23:59:59.999'"]),
    key(
        "a_uuid",
        "uuid",
        &[
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'{A0EEBC99-9C0B4EF8-BB6D6BB9-BD380A11}'",
        ],
    ),
    key(
        "an_inet",
        "inet",
        &["'10.1.2.3/8'", "'10.1.2.3'", "'::1'", "'2001:db8::ff00:42:8329/64'", "'::ffff:1.2.3.4/128'", "'0.0.0.0/0'"],
    ),
    key("a_cidr", "cidr", &["'10.0.0.0/8'", "'2001:db8::/32'", "'::/0'", "'192.168.1.1/32'"]),
    key("a_macaddr", "macaddr", &["'08:00:2b:01:02:03'", "'ff:ff:ff:ff:ff:ff'"]),
    key("a_macaddr8", "macaddr8", &["'08:00:2b:01:02:03:04:05'", "'00:00:00:00:00:00:00:00'"]),
    plain(
        "a_json",
        "json",
        &[
            r#"'{"b": 1,   "a": 2, "b": 3}'"#,
            r#"E'{\n\t"a" : [1,2 , 3]\r\n}'"#,
            "'  null '",
            r#"'"\u0000 \u00e9 \ud83e\uddfe \\ \/"'"#,
            "'1.10e400'",
            "'{}'",
            "'[' || repeat('[', 100) || repeat(']', 100) || ']'",
        ],
    ),
    key(
        "a_jsonb",
        "jsonb",
        &[r#"'{"b": 1,   "a": 2, "b": 3}'"#, "'null'", r#"'"\u00e9 \\ \" \t"'"#, "'1.10e400'", "'-0.0'", "'[1.0, 1.00]'", "'{}'"],
    ),
    plain("an_xml", "xml", &["'<a b=\"1\">&lt;é 🧾<!-- c --></a>'", "'no document'", "''", "E'<a>\\n\\t<b/>\\r\\n</a>'"]),
    plain("a_jsonpath", "jsonpath", &[r#"'$."a b"[*] ? (@.x > 1.10 && @ like_regex "^\\d+$" flag "i")'"#, "'strict $'"]),
    key("a_bit", "bit(5)", &["B'10101'", "B'00000'"]),
    key("a_varbit", "bit varying(70)", &["B''", "B'1'", "repeat('10', 35)"]),
    plain("a_point", "point", &["'(0.1,-0)'", "'(NaN,Infinity)'", "'(1e-307,4.9e-324)'"]),
    plain("a_line", "line", &["'{0.1,-1,0.30000000000000004}'"]),
    plain("a_lseg", "lseg", &["'[(0.1,0.2),(-0.3,1e300)]'"]),
    plain("a_box", "box", &["'(0.1,0.2),(-0.3,-1e-300)'"]),
    plain("a_path", "path", &["'((0.1,0),(1,1),(2,0))'", "'[(0,0),(1,1e-9)]'"]),
    plain("a_polygon", "polygon", &["'((0.1,0),(1,1),(2,0))'"]),
    plain("a_circle", "circle", &["'<(0.1,0.2),0.30000000000000004>'"]),
    key("an_int4range", "int4range", &["'empty'", "'[1,5)'", "'(,)'", "'[,2147483646]'"]),
    key("an_int8range", "int8range", &["'[-9223372036854775808,)'"]),
    key("a_numrange", "numrange", &["'[1.10,2.200)'", "'(,NaN]'", "'empty'"]),
    key("a_tsrange", "tsrange", &["'[-infinity,infinity]'", "'[\"0044-03-15 BC\",)'"]),
    key("a_tstzrange", "tstzrange", &["'[2024-03-31 02:30+02,2024-10-27 02:30+01)'", "'empty'"]),
    key("a_daterange", "daterange", &["'[2024-02-29,2024-03-01)'", "'[-infinity,)'"]),
    key("a_multirange", "int4multirange", &["'{}'", "'{[1,3),[5,7)}'", "'{(,)}'"]),
    key("a_nummultirange", "nummultirange", &["'{[1.10,2.0),(3,)}'"]),
    key("a_tstzmultirange", "tstzmultirange", &["'{[\"2024-01-01 00:00+00\",\"2024-02-01 00:00+00\"),[infinity,)}'"]),
    key(
        "a_text_array",
        "text[]",
        &[
            "'{}'",
            r#"ARRAY['a,b', NULL, '"', '\', '{}', '', 'NULL', ' ', E'\t\n', '🧾']"#,
            "ARRAY[['a', NULL], [E'\\\\N', 'd']]",
            "'[-3:-1]={a,NULL,c}'",
            "'[0:1][5:6]={{a,b},{c,d}}'",
        ],
    ),
    key("an_int_array", "int[]", &["'{}'", "'{NULL}'", "'[0:2]={1,2,3}'", "'{{{1},{2}},{{3},{NULL}}}'"]),
    key("a_float_array", "float8[]", &["'{NaN,-0,4.9e-324,0.1,NULL}'"]),
    key("a_bytea_array", "bytea[]", &[r#"ARRAY['\x00ff'::bytea, '\x5c22'::bytea, NULL, '']"#]),
    plain("a_json_array", "json[]", &[r#"ARRAY['{"a":  "b,\"c"}'::json, NULL]"#]),
    plain("a_box_array", "box[]", &["'{(1,1),(0,0);(2,2),(0.1,0)}'"]),
    key("a_timestamptz_array", "timestamptz[]", &["'{infinity,NULL,\"4714-11-24 00:00:00+00 BC\"}'"]),
    key("a_mood", "{schema}.mood", &["'ok'", "'it''s \"bad\"'", "'very, bad'", "' blank '", "'Ünï 🧾'", "'NULL'"]),
    key("a_mood_array", "{schema}.mood[]", &["ARRAY['it''s \"bad\"', NULL, 'very, bad', 'NULL']"]),
    key(
        "a_street",
        "{schema}.street",
        &["ROW('Main, \"Street\"', 7)", "ROW(NULL, NULL)", "ROW('', NULL)", r"ROW(E'\\N)(\n', -1)"],
    ),
    key(
        "an_address",
        "{schema}.address",
        &[
            r#"ROW(ROW('a "b" (c), d\', 1), ARRAY['x,y', NULL, '"'], 'NaN')"#,
            "ROW(NULL, NULL, NULL)",
            "ROW(ROW(NULL, NULL), '{}', 1.10)",
        ],
    ),
    key("an_address_array", "{schema}.address[]", &[r#"ARRAY[ROW(ROW('"', NULL), '{}', 0.10)::{schema}.address, NULL]"#]),
    key("a_percentage", "{schema}.percentage", &["0", "'100.00'", "'33.333'"]),
    key("a_half", "{schema}.half", &["'12.50'"]),
    key("a_shares", "{schema}.shares", &["'{}'", "'{1.10,NULL,NaN}'"]),
    key("a_place", "{schema}.place", &["ROW('x', 1)"]),
    key("a_floats", "{schema}.floats", &["'empty'", "'[0.1,0.30000000000000004)'", "'[-Infinity,NaN]'"]),
    key("a_tsvector", "tsvector", &["''", "'fat:2,4A cat:3B ''it''''s'' ''back\\\\slash'' 🧾:16383'", "'a b'"]),
    key("a_tsquery", "tsquery", &["''", "'fat:AB & !(rat:* | ''it''''s'') <3> cat'"]),
    key("an_oid", "oid", &["0", "'4294967295'"]),
    key("an_oidvector", "oidvector", &["'1 2 4294967295'"]),
    plain("an_int2vector", "int2vector", &["'-1 0 32767'"]),
    key("a_regclass", "regclass", &["'pg_class'", "0", "'4294967295'"]),
    key("a_regproc", "regproc", &["'now'", "'-'"]),
    key("a_regprocedure", "regprocedure", &["'lower(text)'"]),
    key("a_regoperator", "regoperator", &["'+(integer,integer)'"]),
    key("a_regtype", "regtype", &["'timestamp with time zone'", "'int[]'"]),
    key("a_regconfig", "regconfig", &["'english'"]),
    key("a_regrole", "regrole", &["'app_user'"]),
    key("a_regnamespace", "regnamespace", &["'pg_catalog'"]),
    key("a_regcollation", "regcollation", &["'\"C\"'"]),
    key("an_lsn", "pg_lsn", &["'0/0'", "'FFFFFFFF/FFFFFFFF'", "'16/B374D848'"]),
    plain("a_snapshot", "pg_snapshot", &["'10:20:10,14,15'"]),
    plain("a_txid_snapshot", "txid_snapshot", &["'9223372036854775806:9223372036854775807:'"]),
    key("an_xid8", "xid8", &["'18446744073709551615'", "'0'"]),
    plain("an_xid", "xid", &["'4294967295'", "'0'"]),
    plain("a_cid", "cid", &["'4294967295'"]),
    key("a_tid", "tid", &["'(4294967294,65535)'", "'(0,1)'"]),
    plain("an_aclitem", "aclitem", &["'app_user=r*w/app_owner'", "'=X/app_owner'"]),
    plain("a_refcursor", "refcursor", &["'c'"]),
];
