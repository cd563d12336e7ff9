//! What a restore could not make again is refused by the export, by name and with the reason.

use domain::{ErrorCode, ErrorReport, tenant::Layout};

use crate::{fixture, world::World};

async fn check(number: usize, layout: fn(String) -> Layout, prepare: &str, says: &[&str]) {
    let database = format!("unrestorable_{number}");
    let world = World::new(&database.replace('_', "-"), layout(database.clone()));
    fixture::database(world.cluster, &database);
    world.cluster.sql(
        &database,
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY); CREATE TYPE app.mood AS ENUM ('ok');
        CREATE TYPE app.span AS RANGE (SUBTYPE = float8)",
    );
    let plain = world.try_export(&world.scope).await;
    assert!(plain.is_ok(), "without it: {:?}", plain.err());
    world.cluster.sql(&database, prepare);
    let error = world.try_export(&world.scope).await.err().unwrap_or_else(|| panic!("exported in spite of: {prepare}"));
    let report = ErrorReport::from(error);
    assert_eq!(report.code, ErrorCode::SourceRefused, "{report}");
    for word in says {
        assert!(report.message.contains(word), "`{report}` does not say `{word}`");
    }
}

#[tokio::test]
async fn what_only_a_superuser_can_make_is_refused_by_name() {
    let cases: [(&str, &[&str]); 9] = [
        ("CREATE FUNCTION app.f(int) RETURNS int LANGUAGE internal STRICT AS 'int4um'", &["function app.f(integer)", "not a trusted one"]),
        ("CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'", &["function app.f", "LEAKPROOF"]),
        (
            "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql SET session_replication_role = replica AS 'SELECT 1'",
            &["function app.f()", "only a superuser"],
        ),
        ("CREATE AGGREGATE app.a(int8) (SFUNC = int8_avg_accum, STYPE = internal, FINALFUNC = numeric_poly_avg)", &["aggregate app.a", "the server's own memory"]),
        ("CREATE TYPE app.shell", &["type app.shell"]),
        ("CREATE OPERATOR FAMILY app.family USING btree", &["operator family app.family USING btree"]),
        ("CREATE ACCESS METHOD app_am TYPE TABLE HANDLER heap_tableam_handler", &["access method app_am"]),
        ("CREATE CAST (int AS bit varying) WITH INOUT", &["cast (", "server's own"]),
        (
            "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'; CREATE FUNCTION app.g() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1';
             CREATE TEXT SEARCH TEMPLATE app.template (LEXIZE = dsimple_lexize)",
            &["2 × function, 1 × text search template", "drop it, with what depends on it"],
        ),
    ];
    for (number, (prepare, says)) in cases.into_iter().enumerate() {
        check(number, |database| Layout::Database { database }, prepare, says).await;
    }
}

#[tokio::test]
async fn a_schema_is_refused_what_only_a_superuser_can_make_in_it_and_casts_that_no_schema_holds() {
    let layout = |database| Layout::Schema { database, schema: "app".into() };
    check(20, layout, "CREATE FUNCTION app.f() RETURNS int LANGUAGE sql LEAKPROOF AS 'SELECT 1'", &["function app.f()"]).await;
    check(
        21,
        layout,
        "SET ROLE app_owner; CREATE FUNCTION app.number(app.mood) RETURNS int LANGUAGE sql AS 'SELECT 1';
        CREATE CAST (app.mood AS int) WITH FUNCTION app.number(app.mood)",
        &["cast (app.mood AS integer)", "no export of a schema carries it"],
    )
    .await;
}

/// The tests' plan excludes a table of this name.
const FOREIGN: &str = "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER elsewhere FOREIGN DATA WRAPPER elsewhere;
    CREATE FOREIGN TABLE app.sessions (id int) SERVER elsewhere;";

#[tokio::test]
async fn what_is_made_of_a_foreign_table_is_refused_by_name() {
    for (number, (prepare, says)) in [
        ("CREATE VIEW app.v AS SELECT * FROM app.sessions", "view app.v"),
        ("CREATE FUNCTION app.f() RETURNS bigint LANGUAGE sql RETURN (SELECT count(*) FROM app.sessions)", "function app.f()"),
        ("CREATE TABLE app.typed (session app.sessions); ALTER TABLE app.typed OWNER TO app_owner", "table app.typed"),
        ("CREATE TABLE app.child () INHERITS (app.sessions); ALTER TABLE app.child OWNER TO app_owner", "table app.child"),
    ]
    .into_iter()
    .enumerate()
    {
        let says = [says, "foreign table app.sessions", "does not come back"];
        check(30 + number, |database| Layout::Database { database }, &format!("{FOREIGN} {prepare}"), &says).await;
    }
}
