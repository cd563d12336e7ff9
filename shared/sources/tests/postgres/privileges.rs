//! Privileges come back as they were, whoever gave them.

use domain::{request::Selection, tenant::Layout};
use sources::postgres::restore::prove;

use crate::{fixture, world::World};

/// Privileges that a replay of `GRANT` as one role would not give back.
const AWKWARD: &str = r#"
GRANT CREATE ON SCHEMA public TO app_owner; SET ROLE app_owner;
CREATE SCHEMA app; CREATE TABLE app.chain (id int PRIMARY KEY, "a.b" text, c int); CREATE TABLE app.given_up (id int PRIMARY KEY);
CREATE TABLE app.of_another (id int PRIMARY KEY); CREATE FUNCTION app.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE app.total(int) (SFUNC = int4pl, STYPE = int); CREATE DOMAIN app.d AS int; CREATE SEQUENCE app.s;
CREATE PROCEDURE app.p() LANGUAGE sql AS ''; CREATE VIEW app.v AS SELECT * FROM app.chain; CREATE MATERIALIZED VIEW app.m AS SELECT 1 AS one;
CREATE OPERATOR app.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE TEXT SEARCH CONFIGURATION app.words (COPY = simple); CREATE TEXT SEARCH DICTIONARY app.dictionary (TEMPLATE = simple);
CREATE CONVERSION app.latin FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8;
GRANT USAGE ON SCHEMA app TO app_user, other_owner;
GRANT SELECT, UPDATE ON app.chain TO other_owner WITH GRANT OPTION; GRANT UPDATE ("a.b") ON app.chain TO app_user WITH GRANT OPTION;
SET ROLE other_owner; GRANT SELECT ON app.chain TO app_user WITH GRANT OPTION;
SET ROLE app_user; GRANT SELECT ON app.chain TO PUBLIC; GRANT UPDATE ("a.b") ON app.chain TO PUBLIC;
SET ROLE app_owner;
REVOKE ALL ON app.given_up FROM app_owner; GRANT SELECT ON app.given_up TO app_owner; REVOKE INSERT ON app.chain FROM app_owner; REVOKE ALL ON FUNCTION app.f FROM PUBLIC, app_owner;
REVOKE USAGE ON TYPE app.d FROM PUBLIC; REVOKE EXECUTE ON FUNCTION app.total FROM PUBLIC; GRANT EXECUTE ON PROCEDURE app.p TO app_user;
GRANT USAGE ON SEQUENCE app.s TO app_user; GRANT SELECT (id) ON app.v TO app_user; GRANT SELECT ON app.m TO app_user;
RESET ROLE; ALTER TABLE app.of_another OWNER TO other_owner; ALTER OPERATOR app.=== (int, int) OWNER TO other_owner;
ALTER TEXT SEARCH CONFIGURATION app.words OWNER TO other_owner; ALTER TEXT SEARCH DICTIONARY app.dictionary OWNER TO other_owner;
ALTER CONVERSION app.latin OWNER TO other_owner;
SET ROLE other_owner; GRANT SELECT ON app.of_another TO app_owner; REVOKE DELETE ON app.of_another FROM other_owner; SET ROLE app_owner;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
"#;

/// Only a whole database has defaults that are nobody else's.
const OF_THE_DATABASE: &str = "SET ROLE app_owner; ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM app_owner;
    ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO app_user WITH GRANT OPTION; ALTER DEFAULT PRIVILEGES REVOKE DELETE ON TABLES FROM app_owner;
    ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT USAGE ON TYPES TO other_owner; RESET ROLE;
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    REVOKE TEMPORARY ON DATABASE granted_database FROM app_owner, PUBLIC; GRANT CREATE ON DATABASE granted_database TO other_owner WITH GRANT OPTION";

#[tokio::test]
async fn privileges_come_back_whoever_gave_them_and_whoever_gave_them_up() {
    for (tenant, layout) in [
        ("granted-db", Layout::Database { database: "granted_database".into() }),
        ("granted-schema", Layout::Schema { database: "granted_schema".into(), schema: "app".into() }),
    ] {
        let world = World::new(tenant, layout);
        let database = world.scope.layout().database().to_owned();
        fixture::database(world.cluster, &database);
        // Whoever is to pass a privilege on has to be one whose part Holdfast's account may take.
        world.cluster.sql(&database, "GRANT app_user TO master");
        world.cluster.sql(&database, AWKWARD);
        let schema = (tenant == "granted-schema").then_some("app");
        if schema.is_none() {
            world.cluster.sql(&database, OF_THE_DATABASE);
        }
        let acl = format!(
            "SELECT pg_get_userbyid(datdba), (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a) FROM pg_database WHERE datname = '{database}'"
        );
        let of_database = world.cluster.sql("postgres", &acl);
        let before = world.cluster.dump(&database, schema);
        let point = world.open(&world.export().await).await;
        match schema {
            Some(_) => world.cluster.sql(&database, "DROP SCHEMA app CASCADE"),
            None => world.cluster.sql("postgres", &format!("DROP DATABASE {database}")),
        };
        let outcome = world.restore(&point).await.unwrap();
        assert_eq!(outcome.notes, Vec::<String>::new());
        let after = world.cluster.dump(&database, schema);
        let differing: Vec<_> = before
            .iter()
            .filter(|line| !after.contains(line))
            .chain(after.iter().filter(|line| !before.contains(line)))
            .collect();
        assert!(before == after, "{tenant}: {differing:#?}");
        assert_eq!(world.cluster.sql("postgres", &acl), of_database);
        assert!(prove(&world.cluster.master(), &world.scope, &point, &Selection::default()).await.unwrap().notes.is_empty());
    }
}

#[tokio::test]
async fn a_privilege_that_comes_with_an_extension_and_was_changed_is_named_as_left_out() {
    let database = "granted_extension";
    let world = World::new(database, Layout::Database { database: database.into() });
    fixture::database(world.cluster, database);
    world.cluster.sql(
        database,
        "CREATE EXTENSION citext; CREATE EXTENSION pg_stat_statements; REVOKE EXECUTE ON FUNCTION texticlike(citext, text) FROM PUBLIC;
        GRANT SELECT ON pg_stat_statements_info TO app_user",
    );
    let (_, facts) = world.try_export(&world.scope).await.unwrap();
    let named: Vec<_> = facts.left_out.iter().filter(|left| left.kind == "privileges").map(|left| left.name.as_str()).collect();
    assert_eq!(
        named,
        ["function public.texticlike(public.citext,pg_catalog.text)", "view public.pg_stat_statements_info"],
        "the other objects have their privileges as they came"
    );
}
