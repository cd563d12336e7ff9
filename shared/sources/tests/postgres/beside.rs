//! Recovery points that are put beside the live data.

use domain::{Coded, ErrorCode, request::Selection};
use sources::postgres::restore::{Job, beside, compare_beside, compare_drop, drop_beside, leftovers, prove_beside};
use vault::PointReader;

use crate::{
    fixture,
    layouts::{SCHEMA, worlds},
    world::World,
};

/// Everything on the server that is not the copy's: of the tenant's database and of the server itself.
fn everything(world: &World) -> Vec<String> {
    let database = world.scope.layout().database();
    let mut lines = world.cluster.dump(database, Some(SCHEMA));
    let places = "SELECT 'schema', nspname, nspowner::regrole, nspacl::text FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname !~ '^hf_side_' ORDER BY 2";
    let servers = format!(
        "SELECT datname, datdba::regrole, datacl FROM pg_database WHERE datname ~ '^{database}' ORDER BY 1; SELECT rolname FROM pg_roles WHERE rolname ~ '{}'",
        world.id
    );
    lines.extend(world.cluster.sql(database, places).lines().map(str::to_owned));
    lines.extend(world.cluster.sql("postgres", &servers).lines().map(str::to_owned));
    lines
}

async fn made(name: &str) -> Vec<(&'static str, World, PointReader)> {
    let mut all = Vec::new();
    for (layout, world) in worlds(name) {
        let database = world.scope.layout().database();
        match layout {
            "pool" => fixture::pooled(world.cluster, database),
            _ => fixture::application(world.cluster, database, SCHEMA, 50),
        }
        let point = world.open(&world.export().await).await;
        let damage = match layout {
            "pool" => "DELETE FROM app.tokens WHERE tenant_id = 'acme'",
            _ => "TRUNCATE app.audit; DROP VIEW app.turnover",
        };
        world.cluster.sql(database, damage);
        all.push((layout, world, point));
    }
    all
}

#[tokio::test]
async fn a_recovery_point_beside_the_live_data_changes_nothing_live_and_is_its_owners_alone() {
    for (layout, world, point) in made("beside").await {
        let (tools, side) = (world.cluster.tools(), format!("hf_side_{}", world.id));
        let job = || Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap();
        let (before, digest) = (everything(&world), live(&world, &point).await);
        let preview = compare_beside(&job()).unwrap();
        assert!(preview.tables.iter().all(|table| table.overwritten + table.destroyed + table.unchanged == 0), "{layout}");
        assert!(preview.notes[0].contains(&side) && preview.notes[0].contains("app_owner"), "{layout}: {:?}", preview.notes);

        let outcome = beside(&job()).await.unwrap();
        assert_eq!((outcome.changed, outcome.undo_copy.as_deref()), (true, Some(side.as_str())), "{layout}");
        assert_eq!(outcome.rows, preview.tables.iter().map(|table| table.returned).sum::<u64>(), "{layout}");
        assert_eq!((everything(&world), live(&world, &point).await), (before.clone(), digest.clone()), "{layout}");

        // What it holds, and who may see it: the owner, and of others not even who may read the live rows.
        let (at, table) = match layout {
            "silo" | "database" => (side.as_str(), "app.customers".to_owned()),
            _ => (world.scope.layout().database(), format!("{side}.customers")),
        };
        let of_others =
            format!("SELECT count(*) FROM {table}{}", if layout == "pool" { " WHERE tenant_id <> 'acme'" } else { "" });
        assert_eq!(world.cluster.sql(at, &format!("SET ROLE app_owner; {of_others}")), if layout == "pool" { "0" } else { "50" });
        let may = match layout {
            "silo" | "database" => format!("SELECT has_database_privilege('app_user', '{side}', 'CONNECT')"),
            _ => format!("SELECT has_schema_privilege('app_user', '{side}', 'USAGE')"),
        };
        assert_eq!(world.cluster.sql(at, &may), "f", "{layout}");
        let owners = "SELECT DISTINCT relowner::regrole FROM pg_class WHERE relnamespace::regnamespace::text";
        let schema = if at == side { "app" } else { side.as_str() };
        assert_eq!(world.cluster.sql(at, &format!("{owners} = '{schema}'")), "app_owner", "{layout}");

        // Delivered again, it is found there and compared. It is no leftover.
        let again = beside(&job()).await.unwrap();
        assert_eq!((again.changed, again.rows, again.undo_copy), (false, outcome.rows, outcome.undo_copy), "{layout}");
        assert_eq!(prove_beside(&job()).await.unwrap().rows, outcome.rows, "{layout}");
        let found = leftovers(&world.account.with_database(world.scope.layout().database())).await.unwrap();
        let found: Vec<_> = found.iter().filter(|left| left.name.ends_with(&world.id.to_string())).collect();
        assert!(found.len() == 1 && found[0].name == side && found[0].kept, "{layout}: {found:?}");

        // What somebody did to it is not taken for the recovery point's.
        world.cluster.sql(
            at,
            &format!("DELETE FROM {} WHERE true", table.replace("customers", if layout == "pool" { "tokens" } else { "audit" })),
        );
        let error = beside(&job()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentMismatch, "{layout}: {error}");
        assert_eq!((everything(&world), live(&world, &point).await), (before.clone(), digest.clone()), "{layout}");

        assert!(compare_drop(&job(), &world.id).await.unwrap().notes[0].contains("is dropped"), "{layout}");
        assert!(drop_beside(&job(), &world.id).await.unwrap(), "{layout}");
        assert!(!drop_beside(&job(), &world.id).await.unwrap(), "{layout}: there is nothing left to drop");
        assert!(compare_drop(&job(), &world.id).await.unwrap().notes[0].contains("not there any more"), "{layout}");
        assert_eq!((everything(&world), live(&world, &point).await), (before, digest), "{layout}");
    }
}

/// What refuses a restore into the live tables is no hindrance beside them, where the refusals send people.
#[tokio::test]
async fn rows_come_beside_live_tables_that_they_no_longer_fit() {
    for (layout, world, point) in made("beside_unfit").await {
        let (tools, side, database) = (world.cluster.tools(), format!("hf_side_{}", world.id), world.scope.layout().database());
        let (tables, changes, rows): (&[&str], _, _) = match layout {
            "pool" => (
                &["customers", "tokens", "uses"],
                "ALTER TABLE app.tokens DROP CONSTRAINT tokens_pkey CASCADE, DROP COLUMN token, ADD PRIMARY KEY (tenant_id, id); DROP TABLE app.uses;
                 ALTER TYPE app.mood RENAME TO old_mood; CREATE TYPE app.mood AS ENUM ('bad');
                 ALTER TABLE app.customers ALTER COLUMN mood TYPE app.mood USING 'bad'::app.mood; DROP TYPE app.old_mood",
                "SELECT count(*) FROM {side}.tokens; SELECT DISTINCT mood FROM {side}.customers WHERE mood IS NOT NULL",
            ),
            _ => (
                &["customers", "big", "orders"],
                "ALTER TABLE app.orders DROP CONSTRAINT orders_pkey CASCADE; DROP TABLE app.big; ALTER TABLE app.customers DROP COLUMN home, DROP COLUMN name; DROP TYPE app.address",
                "SELECT count(*) FROM {side}.orders WHERE total = 50.00; SELECT DISTINCT pg_typeof(home) FROM {side}.customers",
            ),
        };
        world.cluster.sql(database, &format!("SET ROLE app_owner; {changes}"));
        let selection = Selection { tables: tables.iter().map(|&table| table.to_owned()).collect(), columns: Vec::new() };
        let job = || Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap().selecting(&selection);
        let before = everything(&world);
        assert!(compare_beside(&job()).unwrap().notes.iter().any(|note| note.contains("are text there")), "{layout}");
        let outcome = beside(&job()).await.unwrap();
        assert_eq!((outcome.changed, prove_beside(&job()).await.unwrap().rows), (true, outcome.rows), "{layout}");
        assert_eq!(everything(&world), before, "{layout}");
        let expected = if layout == "pool" { "50\nok" } else { "1\ntext" };
        assert_eq!(world.cluster.sql(database, &rows.replace("{side}", &side)), expected, "{layout}");
        assert!(drop_beside(&job(), &world.id).await.unwrap(), "{layout}");
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new(), "{layout}");
    }
}

async fn live(world: &World, point: &PointReader) -> String {
    let digester = vault::Digester::new(point.tenant_secret());
    sources::postgres::digest(&world.account, &world.scope, &digester).await.unwrap().unwrap().identity()
}

#[tokio::test]
async fn what_fails_its_check_is_not_left_beside_the_live_data() {
    for (layout, world, point) in made("beside_bad").await {
        let (tools, point) = (world.cluster.tools(), world.spoilt(&point).await);
        let before = everything(&world);
        let error = beside(&Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::ContentMismatch, "{layout}: {error}");
        assert_eq!(everything(&world), before, "{layout}");
        let database = world.scope.layout().database();
        assert_eq!(world.cluster.leftovers(database, &world.id).await, Vec::<String>::new(), "{layout}");
        let sides = format!("SELECT count(*) FROM pg_database WHERE datname = 'hf_side_{}'", world.id);
        assert_eq!(world.cluster.sql("postgres", &sides), "0", "{layout}");
    }
}

#[tokio::test]
async fn a_copy_that_something_refers_to_is_not_dropped() {
    for (layout, world, point) in
        made("beside_used").await.into_iter().filter(|(layout, ..)| matches!(*layout, "schema" | "pool"))
    {
        let (tools, side, database) = (world.cluster.tools(), format!("hf_side_{}", world.id), world.scope.layout().database());
        let job = Job::new(&world.account, &tools, &world.scope, &world.id, &point).unwrap();
        beside(&job).await.unwrap();
        world.cluster.sql(database, &format!("CREATE SCHEMA report; CREATE VIEW report.was AS SELECT * FROM {side}.customers"));
        let error = drop_beside(&job, &world.id).await.unwrap_err();
        assert!(error.code() == ErrorCode::RestoreRefused && error.to_string().contains("report.was"), "{layout}: {error}");
        world.cluster.sql(database, "DROP SCHEMA report CASCADE");
        assert!(drop_beside(&job, &world.id).await.unwrap(), "{layout}");
    }
}
