//! What is not exported, and how it is said.

use domain::{Coded, ErrorCode, ErrorReport, tenant::Layout};
use sources::{
    SourceError,
    postgres::{Password, Session, read_register},
};

use crate::{
    cluster::{MASTER_PASSWORD, cluster},
    fixture,
    world::World,
};

async fn check_refused(world: &World, prepare: &str, says: &[&str]) {
    world.cluster.sql(world.scope.layout().database(), prepare);
    let Err(error) = world.try_export(&world.scope).await else { panic!("exported in spite of: {prepare}") };
    let report = ErrorReport::from(error);
    assert_eq!(report.code, ErrorCode::SourceRefused, "{report}");
    for word in says.iter().chain(&["localhost", world.scope.layout().database()]) {
        assert!(report.message.contains(word), "`{report}` does not say `{word}`");
    }
}

fn database_world(name: &str) -> World {
    let world = World::new(name, Layout::Database { database: name.into() });
    fixture::database(world.cluster, name);
    world.cluster.sql(name, "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY)");
    world
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_by_name() {
    check_refused(&database_world("refuse_lo"), "SELECT lo_create(0)", &["1 large objects"]).await;
    check_refused(
        &database_world("refuse_reference"),
        "CREATE TABLE app.sessions (id int PRIMARY KEY); ALTER TABLE app.t ADD CONSTRAINT to_session FOREIGN KEY (id) REFERENCES app.sessions",
        &["sessions", "to_session"],
    )
    .await;
    let schema = World::new("refuse_schema", Layout::Schema { database: "refuse_schema".into(), schema: "app".into() });
    fixture::database(schema.cluster, "refuse_schema");
    check_refused(
        &schema,
        "GRANT CREATE ON SCHEMA public TO app_owner; SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE public.all_of_us (id int PRIMARY KEY); CREATE TABLE app.t (id int CONSTRAINT outward REFERENCES public.all_of_us)",
        &["outward", "all_of_us"],
    )
    .await;
    check_refused(&schema, "DROP SCHEMA app CASCADE", &["\"app\" does not exist"]).await;
}

#[tokio::test]
async fn a_pool_that_cannot_tell_rows_apart_is_refused() {
    for (tenant, prepare, says) in [
        ("acme", "CREATE TABLE app.keyless (tenant_id text)", "keyless"),
        ("007", "CREATE TABLE app.numbered (tenant_id int, id int, PRIMARY KEY (tenant_id, id))", "spelt differently"),
        (
            "acme",
            "CREATE COLLATION app.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
            CREATE TABLE app.folded (tenant_id text COLLATE app.loose PRIMARY KEY)",
            "folded",
        ),
        ("acme", "CREATE TABLE app.typed (tenant_id json, id int PRIMARY KEY)", "typed"),
    ] {
        let database = format!("pool_{says}").replace(' ', "_");
        let layout = Layout::Pool { database: database.clone(), schema: "app".into(), tenant_column: "tenant_id".into() };
        let world = World::new(tenant, layout);
        fixture::database(world.cluster, &database);
        check_refused(&world, &format!("SET ROLE app_owner; CREATE SCHEMA app; {prepare}"), &[says]).await;
    }
}

#[tokio::test]
async fn a_read_that_would_be_filtered_fails_instead_of_shrinking() {
    let world = database_world("filtered");
    let prepare =
        "INSERT INTO app.t VALUES (1); ALTER TABLE app.t ENABLE ROW LEVEL SECURITY; ALTER TABLE app.t FORCE ROW LEVEL SECURITY;
        CREATE POLICY none ON app.t USING (false)";
    check_refused(&world, prepare, &["row-level security", "\"t\""]).await;
}

#[tokio::test]
async fn a_table_that_may_not_be_read_fails_the_export() {
    let world = database_world("unreadable");
    check_refused(&world, "CREATE TABLE app.private (id int PRIMARY KEY)", &["private", "permission denied"]).await;
}

#[tokio::test]
async fn connections_that_fail_name_host_and_database_and_no_password() {
    let master = cluster().master();
    let reached = |changed| async move {
        match Session::open(&changed, sources::Phase::Reading).await {
            Err(error) => {
                let shown = format!("{error:?}");
                assert!(!shown.contains(MASTER_PASSWORD) && !shown.contains("canary"), "{shown}");
                ErrorReport::from(error)
            }
            Ok(_) => panic!("connected"),
        }
    };
    let nobody = reached(sources::postgres::Endpoint { port: 1, ..master.with_database("somewhere") }).await;
    assert!(nobody.code == ErrorCode::SourceUnreachable && nobody.message.contains("`somewhere` on localhost:1"), "{nobody}");
    let stranger = reached(sources::postgres::Endpoint { host: "no-such-host.invalid".into(), ..master.clone() }).await;
    assert!(stranger.code == ErrorCode::SourceUnreachable && stranger.message.contains("no-such-host.invalid"), "{stranger}");
    let login = reached(master.with_login("master", Password::new("canary-wrong"))).await;
    assert!(login.code == ErrorCode::SourceRefused && login.message.contains("`master`"), "{login}");
    let missing = reached(master.with_database("nowhere")).await;
    assert!(missing.code == ErrorCode::SourceRefused && missing.message.contains("`nowhere`"), "{missing}");
    let untrusted = reached(sources::postgres::Endpoint { ca_file: cluster().other_ca(), ..master.clone() }).await;
    assert!(untrusted.code == ErrorCode::SourceRefused && untrusted.message.contains("identity"), "{untrusted}");
    let wrong_name = reached(sources::postgres::Endpoint { host: "127.0.0.2".into(), ..master.clone() }).await;
    assert!(matches!(wrong_name.code, ErrorCode::SourceRefused | ErrorCode::SourceUnreachable), "{wrong_name}");
    let no_ca = reached(sources::postgres::Endpoint { ca_file: "/no/such/file".into(), ..master }).await;
    assert!(no_ca.code == ErrorCode::NotConfigured && no_ca.message.contains("/no/such/file"), "{no_ca}");
}

#[tokio::test]
async fn tools_that_are_missing_are_named() {
    let world = database_world("toolless");
    let writer = world
        .vault
        .begin(
            domain::VaultTenantId::from_uuid(world.fresh()),
            domain::RecoveryPointId::from_uuid(world.fresh()),
            domain::RunId::from_uuid(world.fresh()),
            None,
        )
        .await
        .unwrap();
    let tools = sources::postgres::Tools::new("/nowhere");
    let error = sources::postgres::export(&world.cluster.master(), &tools, &world.scope, &writer).await.unwrap_err();
    assert!(error.code() == ErrorCode::NotConfigured && error.to_string().contains("/nowhere/pg_dump"), "{error}");
}

#[tokio::test]
async fn the_register_is_read_as_text() {
    let cluster = cluster();
    fixture::database(cluster, "central");
    cluster.sql("central", "SET ROLE app_owner; CREATE SCHEMA register; CREATE TABLE register.tenants (tenant_id text, layout text, database_id text,
        database_name text, schema_name text, criticality text, time_zone text, status text, created_at timestamptz);
        INSERT INTO register.tenants VALUES ('acme', 'pool', 'pool', NULL, NULL, 'standard', 'Europe/Berlin', 'active', '2024-01-02 03:04:05+02')");
    let endpoint = cluster.master().with_database("central");
    let rows = read_register(&endpoint, "SELECT * FROM register.tenants; ").await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].tenant_id.as_deref(), rows[0].database_name.as_deref()), (Some("acme"), None));
    let created: jiff::Timestamp = rows[0].created_at.as_deref().unwrap().parse().unwrap();
    assert_eq!(created.to_string(), "2024-01-02T01:04:05Z");
    for query in [
        "SELECT tenant_id FROM register.tenants",
        "SELECT",
        "DELETE FROM register.tenants",
        "SELECT 1) x; DROP TABLE register.tenants; --",
    ] {
        let error = read_register(&endpoint, query).await.unwrap_err();
        assert!(matches!(error, SourceError::Register { .. }), "{query}: {error}");
        assert_eq!(error.code(), ErrorCode::RegisterInvalid);
    }
}
