//! What a plan asserts of restored data is asked where it cannot do harm.

use domain::{
    Coded, ErrorCode,
    assertion::{Assertion, Expected},
    tenant::Layout,
};
use sources::{
    SourceError,
    postgres::restore::{Job, ask_clone, drill},
};
use vault::PointReader;

use crate::{fixture, world::World};

fn assertion(name: &str, sql: &str, expected: Expected) -> Assertion {
    Assertion { name: name.into(), database: None, classes: vec!["*".into()], sql: sql.into(), expected }
}

async fn tested(world: &World, point: &PointReader, assertions: Vec<Assertion>) -> Result<(), SourceError> {
    let tools = world.cluster.tools();
    let job = Job::new(&world.account, &tools, &world.scope, &world.id, point)?.asserting(assertions);
    drill(&job).await.map(|_| ())
}

#[tokio::test]
async fn restored_rows_are_asked_by_bare_names_in_every_layout_and_a_wrong_answer_is_told_by_name() {
    let layouts = [
        Layout::Database { database: "asserted".into() },
        Layout::Schema { database: "asserted_schema".into(), schema: "app".into() },
        Layout::Pool { database: "asserted_pool".into(), schema: "app".into(), tenant_column: "tenant_id".into() },
    ];
    for layout in layouts {
        let world = World::new("acme", layout.clone());
        if matches!(layout, Layout::Pool { .. }) {
            fixture::pool(world.cluster, layout.database());
        } else {
            fixture::database(world.cluster, layout.database());
            fixture::application(world.cluster, layout.database(), "app", 30);
        }
        let point = world.open(&world.export().await).await;
        let right = [
            assertion("orders", "SELECT count(*) FROM orders", Expected::Min(30)),
            assertion("customers", "SELECT count(*) FROM customers -- each of them", Expected::Max(50)),
            assertion("tenant", "SELECT {tenant} || ' is asked'", Expected::Equals("acme is asked".into())),
        ];
        tested(&world, &point, right.to_vec()).await.unwrap();
        let wrong = assertion("no orders", "SELECT count(*) FROM orders", Expected::Max(0));
        let error = tested(&world, &point, [&right[..], &[wrong]].concat()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentMismatch, "{error}");
        assert!(error.to_string().contains("assertion `no orders` expects at most 0 and found `"), "{error}");
        assert_eq!(world.cluster.leftovers(layout.database(), &world.id).await, Vec::<String>::new(), "{layout:?}");
    }
}

#[tokio::test]
async fn a_question_that_writes_fails_or_asks_too_much_says_nothing_about_the_data() {
    let world = World::new("assertive", Layout::Database { database: "assertive".into() });
    fixture::database(world.cluster, "assertive");
    world.cluster.sql(
        "assertive",
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.notes (note text); INSERT INTO app.notes VALUES ('a'), ('b');
        CREATE FUNCTION app.write() RETURNS int LANGUAGE plpgsql AS $$BEGIN INSERT INTO app.notes VALUES ('c'); RETURN 1; END$$;
        CREATE FUNCTION app.unlock() RETURNS int LANGUAGE plpgsql AS $$BEGIN PERFORM set_config('transaction_read_only', 'off', true); RETURN app.write(); END$$;
        CREATE FUNCTION app.leak() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'canary'; END$$;",
    );
    let point = world.open(&world.export().await).await;
    for (sql, said) in [
        ("SELECT write()", "read-only"),
        ("SELECT unlock()", "read-write"),
        ("SELECT note FROM notes", "more than one row"),
        ("SELECT note, note FROM notes LIMIT 1", "one column"),
        ("SELECT 1 FROM nowhere", "nowhere"),
        ("SELECT leak()", "raised an exception"),
        ("SELECT 1) AS value, (SELECT 2", "one column"),
    ] {
        let error = tested(&world, &point, vec![assertion("asks", sql, Expected::Min(1))]).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::EnvironmentBad, "{sql}: {error}");
        let report = domain::ErrorReport::from(error).to_string();
        assert!(report.contains("assertion `asks` could not be asked"), "{report}");
        assert!(report.contains(said) || sql.contains("AS value"), "{sql}: {report}");
        assert!(!report.contains("canary"), "{report}");
    }
}

#[tokio::test]
async fn a_clone_is_asked_as_a_role_that_may_only_read() {
    let world = World::new("cloned", Layout::Database { database: "cloned".into() });
    fixture::database(world.cluster, "cloned");
    world.cluster.sql(
        "cloned",
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.notes (note text); INSERT INTO app.notes VALUES ('a'), ('b');
        CREATE TABLE app.guarded (note text); ALTER TABLE app.guarded ENABLE ROW LEVEL SECURITY;
        REVOKE CONNECT ON DATABASE cloned FROM PUBLIC;
        CREATE FUNCTION app.climb() RETURNS text LANGUAGE plpgsql AS $$BEGIN SET ROLE app_owner; RETURN current_user; END$$;",
    );
    let endpoint = world.account.with_database("cloned");
    let ask = async |sql: &str, expected| ask_clone(&endpoint, &world.id, &[assertion("notes", sql, expected)]).await;
    ask_clone(&endpoint, &world.id, &[]).await.unwrap();
    // Twice, as a repeated delivery would.
    for _ in 0..2 {
        ask("SELECT count(*) FROM app.notes", Expected::Equals("2".into())).await.unwrap();
    }
    let wrong = ask("SELECT count(*) FROM app.notes", Expected::Min(3)).await.unwrap_err();
    assert_eq!(wrong.code(), ErrorCode::ContentMismatch, "{wrong}");
    let climbed = ask("SELECT app.climb()", Expected::Min(1)).await.unwrap_err();
    assert_eq!(climbed.code(), ErrorCode::EnvironmentBad, "its login is a member of nothing that may write: {climbed}");
    // Rows that it may not see would be left out of the answer, so there is none.
    let guarded = ask("SELECT count(*) FROM app.guarded", Expected::Max(0)).await.unwrap_err();
    assert_eq!(guarded.code(), ErrorCode::EnvironmentBad);
    assert!(guarded.to_string().contains("under row-level security"), "{guarded}");
}
