//! PostgreSQL's own regression database: what its authors thought of, through Holdfast and back.
//!
//! Its scripts are run in the order of their schedule, by a superuser, without the library of functions in C that they come with: what
//! is left in the database then is dumped, exported, restored, and dumped again.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use domain::{ErrorCode, ErrorReport, request::Selection, tenant::Layout};
use sources::postgres::restore::prove;

use crate::{
    cluster::{Cluster, beside_the_tests},
    world::World,
};

const DATABASE: &str = "regression";
/// A superuser while it runs the scripts, an ordinary role afterwards.
const OWNER: &str = "regression_owner";

/// The least the scripts must leave, lest this test shrinks into one of an empty database: a query and a number.
const FLOORS: &[(&str, &str, u64)] = &[
    ("tables", "SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace NOT IN (system)", 600),
    ("partitions", "SELECT count(*) FROM pg_class WHERE relispartition AND relkind IN ('r', 'p')", 180),
    ("indexes", "SELECT count(*) FROM pg_class WHERE relkind IN ('i', 'I') AND relnamespace NOT IN (system)", 230),
    ("functions", "SELECT count(*) FROM pg_proc WHERE pronamespace NOT IN (system)", 300),
    ("types", "SELECT count(*) FROM pg_type WHERE typtype IN ('e', 'd', 'r', 'm') AND typnamespace NOT IN (system)", 30),
    ("views", "SELECT count(*) FROM pg_class WHERE relkind IN ('v', 'm') AND relnamespace NOT IN (system)", 55),
    ("triggers", "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal", 60),
    ("rules", "SELECT count(*) FROM pg_rewrite WHERE rulename <> '_RETURN' AND oid >= 16384", 39),
];
/// The least rows that come back.
const ROWS_MIN: u64 = 100_000;

/// What an ordinary role cannot make: where it is listed, and which of it. Each is dropped with what depends on it.
const SUPERUSERS_OWN: &[(&str, &str)] = &[
    ("pg_type", "typtype = 'b' AND typelem = 0 OR NOT typisdefined"),
    ("pg_opclass", "true"),
    ("pg_opfamily", "true"),
    ("pg_am", "true"),
    ("pg_transform", "true"),
    ("pg_cast", "castmethod = 'b' OR castsource < 16384 AND casttarget < 16384"),
    ("pg_proc", "prokind <> 'a' AND prolang IN (SELECT oid FROM pg_language WHERE lanname IN ('c', 'internal'))"),
    ("pg_proc", "proleakproof"),
    ("pg_proc", "prosupport <> 0"),
    ("pg_proc", "EXISTS (SELECT FROM pg_aggregate WHERE aggfnoid = o.oid AND aggtranstype = 'internal'::regtype)"),
];

/// How many objects of which kinds go with these; `docs/fidelity.md` has the same table.
const DROPPED: &[(&str, i64)] = &[
    ("access method", 1),
    ("cast", 6),
    ("function", 37),
    ("large object", 3),
    ("operator", 5),
    ("operator class", 3),
    ("operator family", 7),
    ("relation i", 2),
    ("relation m", 1),
    ("relation r", 4),
    ("relation v", 1),
    ("transform", 1),
    ("type", 6),
];

/// A difference between the dumps before and after, with its reason; `docs/fidelity.md` says more.
struct Named {
    why: &'static str,
    /// How the entry's name begins.
    begins: &'static str,
    /// What its first line holds.
    holds: &'static [&'static str],
    /// How many entries differ so, missing and surplus ones together.
    entries: usize,
    /// Whether `pg_restore` as a superuser makes the same difference.
    is_dumps_own: bool,
}

/// Every difference there is.
const NAMED: &[Named] = &[
    Named {
        why: "publications are left out and named in the recovery point",
        begins: "Name: dump_pub_",
        holds: &["Type: PUBLICATION"],
        entries: 15,
        is_dumps_own: false,
    },
    Named {
        why: "foreign-data wrappers and servers are left out and named in the recovery point",
        begins: "Name: useless",
        holds: &["Type: FOREIGN DATA WRAPPER", "Type: SERVER"],
        entries: 2,
        is_dumps_own: false,
    },
    Named {
        why: "privileges on the server's own objects are left out and named in the recovery point",
        begins: "Name: ",
        holds: &["Type: ACL; Schema: pg_catalog"],
        entries: 4,
        is_dumps_own: false,
    },
    Named {
        why: "rows of unlogged tables are left out and named in the recovery point",
        begins: "Data for Name: ",
        holds: &["Data for Name: spgist_unlogged_tbl;"],
        entries: 2,
        is_dumps_own: false,
    },
    Named {
        why: "a child's columns come after its parents', as pg_dump writes them: the definition",
        begins: "Name: ",
        holds: &[
            "Name: gtestxx_4; Type: TABLE;",
            "Name: test_type_diff2_c1; Type: TABLE;",
            "Name: test_type_diff2_c2; Type: TABLE;",
        ],
        entries: 6,
        is_dumps_own: true,
    },
    Named {
        why: "a child's columns come after its parents', as pg_dump writes them: the rows",
        begins: "Data for Name: ",
        holds: &[
            "b_star;",
            "c_star;",
            "d_star;",
            "e_star;",
            "f_star;",
            "renamecolumnanother;",
            "renamecolumnchild;",
            "test_type_diff2_c1;",
            "test_type_diff2_c2;",
            "test_type_diff_c;",
        ],
        entries: 20,
        is_dumps_own: true,
    },
];

impl Named {
    fn is_it(&self, difference: &str) -> bool {
        let title = difference[2..].lines().next().unwrap_or_default();
        title.starts_with(self.begins) && self.holds.iter().any(|text| title.contains(text))
    }
}

#[tokio::test]
async fn the_regression_database_comes_back_with_no_difference() {
    let cluster: &'static Cluster = Box::leak(Box::new(Cluster::start()));
    let built = tokio::task::spawn_blocking(|| build(cluster));
    built.await.unwrap();
    let world = World::on(cluster, DATABASE, Layout::Database { database: DATABASE.into() });

    // As it is, it cannot come back, and the export says what it is about it.
    let refused = ErrorReport::from(world.try_export(&world.scope).await.err().expect("a restore could not make what is in it"));
    assert_eq!(refused.code, ErrorCode::SourceRefused, "{refused}");
    for word in ["operator class ", "operator family ", "access method heap2", "cast ", "transform ", "language", "× function"] {
        assert!(refused.message.contains(word), "{word}: {refused}");
    }
    let dropped = drop_superusers_own(cluster);
    let dropped: Vec<_> = dropped.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
    assert_eq!(dropped, DROPPED, "what goes with what only a superuser can make");
    let forced =
        ErrorReport::from(world.try_export(&world.scope).await.err().expect("a table shows its owner only some of its rows"));
    assert!(forced.message.contains("row-level security policy for table \"rls_tbl_force\""), "{forced}");
    cluster.sql(DATABASE, "ALTER TABLE regress_rls_schema.rls_tbl_force NO FORCE ROW LEVEL SECURITY");

    let before = dump(cluster);
    let peer = peer(cluster);
    let (point, facts) = world.try_export(&world.scope).await.unwrap();
    // Whatever is gone afterwards is named in the recovery point.
    let is_left_out = |kind: &str, name: &str| facts.left_out.iter().any(|left| left.kind == kind && left.name == name);
    assert!(is_left_out("publication", "dump_pub_all") && is_left_out("foreign-data wrapper", "useless"), "{:?}", facts.left_out);
    assert!(is_left_out("foreign server", "useless_server") && is_left_out("table", "\"public\".\"spgist_unlogged_tbl\""));
    assert!(
        is_left_out("privileges", "table pg_catalog.pg_proc")
            && is_left_out("privileges", "table column pg_catalog.pg_authid.rolname")
    );
    let point = world.open(&point).await;
    cluster.sql("postgres", "DROP DATABASE regression");
    let outcome = world.restore(&point).await.unwrap();
    assert!(outcome.rows >= ROWS_MIN, "{outcome:?}");
    let after = dump(cluster);
    let unexplained: Vec<_> =
        differences(&before, &after).into_iter().filter(|entry| NAMED.iter().all(|named| !named.is_it(entry))).collect();
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
    for named in NAMED {
        let found = differences(&before, &after).iter().filter(|entry| named.is_it(entry)).count();
        assert_eq!(found, named.entries, "{}: the number of differing entries", named.why);
    }
    // What pg_dump and pg_restore themselves change, by a superuser and without Holdfast, is not Holdfast's.
    let unalike: Vec<_> = differences(&peer, &after)
        .into_iter()
        .filter(|entry| NAMED.iter().all(|named| named.is_dumps_own || !named.is_it(entry)))
        .collect();
    assert!(unalike.is_empty(), "not as pg_restore makes it:\n{}", unalike.join("\n"));
    let proof = prove(&cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap();
    assert_eq!(proof.notes, Vec::<String>::new());
    assert!(!world.restore(&point).await.unwrap().changed);
}

/// Runs the scripts.
fn build(cluster: &Cluster) {
    let source = beside_the_tests("postgres-regress");
    let schedule = std::fs::read_to_string(source.join("parallel_schedule"));
    let schedule = schedule.expect("PostgreSQL's regression scripts are not there: `python3 tests/local prepare` fetches them");
    let scripts = Scripts::copy(&source);
    cluster.sql(
        "postgres",
        &format!(
            "CREATE ROLE {OWNER} SUPERUSER LOGIN; GRANT {OWNER} TO master; CREATE DATABASE {DATABASE} OWNER {OWNER} TEMPLATE template0;
            ALTER DATABASE {DATABASE} SET bytea_output TO 'hex'; ALTER DATABASE {DATABASE} SET timezone_abbreviations TO 'Default'"
        ),
    );
    let names = schedule.lines().filter_map(|line| line.strip_prefix("test: ")).flat_map(str::split_whitespace);
    for name in names {
        let mut command = cluster.client("psql", OWNER, DATABASE);
        command
            .args(["-X", "-q", "-a", "-v", "HIDE_TABLEAM=on", "-v", "HIDE_TOAST_COMPRESSION=on"])
            .env("PG_ABS_SRCDIR", &scripts.0)
            .env("PG_ABS_BUILDDIR", &scripts.0)
            .env("PG_LIBDIR", "/nowhere")
            .env("PG_DLSUFFIX", ".so")
            .env("PGTZ", "PST8PDT")
            .env("PGDATESTYLE", "Postgres, MDY")
            .env("PGOPTIONS", "-c intervalstyle=postgres_verbose")
            .stdin(std::fs::File::open(source.join(format!("sql/{name}.sql"))).unwrap())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let status = command.status().unwrap();
        // Statements fail as they are meant to, and psql goes on; it ends early only with its connection.
        assert!(status.success(), "the script {name} did not come to its end: {status}");
    }
    for (what, query, least) in FLOORS {
        let system = "SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema'";
        let found: u64 = cluster.sql(DATABASE, &query.replace("system", system)).parse().unwrap();
        assert!(found >= *least, "the scripts left only {found} {what}, fewer than {least}");
    }
    cluster.sql("postgres", &format!("ALTER ROLE {OWNER} NOSUPERUSER"));
}

/// A copy of what the server reads and writes for the scripts, where its account reaches it.
struct Scripts(PathBuf);

impl Scripts {
    fn copy(source: &Path) -> Self {
        let copy = Self(std::env::temp_dir().join(format!("holdfast-regress-{}", std::process::id())));
        let script = "set -e; mkdir \"$2\"; cp -R \"$1/data\" \"$2\"; mkdir \"$2/results\"; chmod -R a+rX \"$2\"; chmod a+rwx \"$2/results\"";
        let status = Command::new("sh").args(["-c", script, "sh"]).arg(source).arg(&copy.0).status().unwrap();
        assert!(status.success(), "{} is not a copy of src/test/regress", source.display());
        copy
    }
}

impl Drop for Scripts {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Drops what only a superuser can make, and returns how many objects of which kinds went with it.
fn drop_superusers_own(cluster: &Cluster) -> Vec<(String, i64)> {
    let counts = "SELECT kind || '=' || count(*) FROM (
            SELECT 'relation ' || relkind::text AS kind FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'p', 'v', 'm', 'i')
            UNION ALL SELECT 'function' FROM pg_proc WHERE oid >= 16384 UNION ALL SELECT 'type' FROM pg_type WHERE oid >= 16384 AND typtype <> 'c' AND typelem = 0
            UNION ALL SELECT 'operator' FROM pg_operator WHERE oid >= 16384 UNION ALL SELECT 'operator class' FROM pg_opclass WHERE oid >= 16384
            UNION ALL SELECT 'operator family' FROM pg_opfamily WHERE oid >= 16384 UNION ALL SELECT 'cast' FROM pg_cast WHERE oid >= 16384
            UNION ALL SELECT 'transform' FROM pg_transform UNION ALL SELECT 'access method' FROM pg_am WHERE oid >= 16384
            UNION ALL SELECT 'trigger' FROM pg_trigger WHERE NOT tgisinternal UNION ALL SELECT 'constraint' FROM pg_constraint WHERE oid >= 16384 UNION ALL SELECT 'large object' FROM pg_largeobject_metadata) AS o
        GROUP BY kind ORDER BY kind";
    let count = || -> Vec<(String, i64)> {
        let counted = cluster.sql(DATABASE, counts);
        counted
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(kind, count)| (kind.to_owned(), count.parse().unwrap()))
            .collect()
    };
    let before = count();
    for (catalog, condition) in SUPERUSERS_OWN {
        let list = format!(
            "SELECT format('DO $$BEGIN DROP %s %s CASCADE; EXCEPTION WHEN undefined_object OR undefined_function THEN NULL; END$$;', i.type, replace(i.identity, ' on language ', ' language '))
             FROM {catalog} o, pg_identify_object('{catalog}'::regclass, o.oid, 0) i WHERE o.oid >= 16384 AND ({condition})
             AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = '{catalog}'::regclass AND d.objid = o.oid AND d.deptype = 'i')"
        );
        let statements = cluster.sql(DATABASE, &list);
        cluster.sql(DATABASE, &format!("SET client_min_messages = error; {statements}"));
    }
    cluster.sql(DATABASE, "SELECT lo_unlink(oid) FROM pg_largeobject_metadata");
    let after = count();
    let left = |kind: &str| after.iter().find(|(other, _)| other == kind).map_or(0, |(_, count)| *count);
    let dropped = before.into_iter().map(|(kind, count)| {
        let left = left(&kind);
        (kind, count - left)
    });
    dropped.filter(|(_, count)| *count > 0).collect()
}

/// The dump of a copy that `pg_dump` and `pg_restore` made as a superuser.
fn peer(cluster: &Cluster) -> Vec<String> {
    cluster.sql("postgres", &format!("ALTER ROLE {OWNER} SUPERUSER"));
    cluster.sql("postgres", "CREATE DATABASE regression_peer TEMPLATE template0");
    let mut dumping = cluster.client("pg_dump", "admin", DATABASE).arg("-Fc").stdout(Stdio::piped()).spawn().unwrap();
    let archive = dumping.stdout.take().unwrap();
    let restored = cluster.client("pg_restore", "admin", "regression_peer").stdin(archive).output().unwrap();
    assert!(dumping.wait().unwrap().success() && restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let dump = dump_of(cluster, "regression_peer");
    cluster.sql("postgres", "DROP DATABASE regression_peer");
    cluster.sql("postgres", &format!("ALTER ROLE {OWNER} NOSUPERUSER"));
    dump
}

fn dump(cluster: &Cluster) -> Vec<String> {
    dump_of(cluster, DATABASE)
}

/// Everything `pg_dump` says, entry by entry in an order of its own. The rows of a table are sorted: their order is nothing that a
/// dump promises.
fn dump_of(cluster: &Cluster, database: &str) -> Vec<String> {
    let output = cluster.client("pg_dump", "admin", database).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut entries: Vec<_> = text.split("\n--\n-- ").map(normalised).collect();
    entries.sort();
    entries
}

/// An entry without the settings between entries, which depend on what was dumped before it.
fn normalised(entry: &str) -> String {
    let is_between = |line: &&str| !line.starts_with("SET default_") && !line.contains("restrict ");
    let mut lines: Vec<_> = entry.lines().filter(is_between).map(str::trim_end).collect();
    if let Some(start) = lines.iter().position(|line| line.starts_with("COPY ")) {
        let end = lines.iter().rposition(|line| *line == "\\.").unwrap();
        lines[start + 1..end].sort_unstable();
    }
    lines.join("\n").trim_end().to_owned()
}

fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let missing = before.iter().filter(|entry| after.binary_search(entry).is_err()).map(|entry| format!("- {entry}"));
    let surplus = after.iter().filter(|entry| before.binary_search(entry).is_err()).map(|entry| format!("+ {entry}"));
    let mut lines: Vec<_> = missing.chain(surplus).collect();
    lines.sort_by(|a, b| a[2..].cmp(&b[2..]));
    lines
}
