//! Exports of a streaming standby: as complete as a primary's, and honest about how old they are.

use std::{collections::BTreeSet, sync::OnceLock};

use domain::{Coded, ErrorCode, tenant::Layout};
use jiff::Timestamp;
use sources::postgres::{DatabaseFacts, Standing, digest};
use vault::Digester;

use crate::{cluster::Cluster, fixture, recorder::Recorder, sweep::Pooled, world::World};

static REPLICATED: OnceLock<(Cluster, Cluster)> = OnceLock::new();
/// Tests that stop the replay, or need it, come one after the other.
static REPLAY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A primary and its standby.
fn replicated() -> (&'static Cluster, &'static Cluster) {
    let (primary, standby) = REPLICATED.get_or_init(|| {
        let primary = Cluster::start();
        let standby = primary.standby();
        (primary, standby)
    });
    (primary, standby)
}

/// Waits, on the standby, until it has replayed all that the primary has written.
fn catch_up(primary: &Cluster, standby: &Cluster) {
    let written = primary.sql("postgres", "SELECT pg_current_wal_lsn()");
    wait(standby, &format!("pg_last_wal_replay_lsn() >= '{written}'"));
}

fn wait(cluster: &Cluster, condition: &str) {
    let sql = format!(
        "DO $$BEGIN FOR i IN 1..6000 LOOP IF {condition} THEN RETURN; END IF; PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP;
         RAISE 'it never came about'; END$$"
    );
    cluster.sql("postgres", &sql);
}

fn database(name: &str) -> Layout {
    Layout::Database { database: name.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_standby_is_complete_and_says_how_far_it_had_replayed() {
    let _guard = REPLAY.lock().await;
    let (primary, standby) = replicated();
    fixture::database(primary, "replica_whole");
    fixture::application(primary, "replica_whole", "app", 100);
    // Large enough for a second session, which shares the first one's view.
    primary.sql(
        "replica_whole",
        "SET ROLE app_owner; CREATE TABLE app.a (id int PRIMARY KEY, filler text) WITH (fillfactor = 10);
         INSERT INTO app.a SELECT i, repeat('x', 700) FROM generate_series(1, 4300) i; ANALYZE app.a",
    );
    catch_up(primary, standby);
    let (on_standby, on_primary) =
        (World::on(standby, "replica", database("replica_whole")), World::on(primary, "replica", database("replica_whole")));
    let (point, facts) = on_standby.try_export(&on_standby.scope).await.unwrap();
    let point = on_standby.open(&point).await;
    let live = digest(&primary.master(), &on_primary.scope, &Digester::new(point.tenant_secret())).await.unwrap().unwrap();
    assert_eq!(live.differences(point.manifest()), Vec::<String>::new());
    assert!(point.stream("\"app\".\"a\"").unwrap().slices() >= 2);
    assert_eq!(point.manifest().blobs.len(), 2, "its definitions are read in the same view");

    let replay = facts.standby.clone().unwrap();
    let read = facts.read().unwrap().unwrap();
    assert_eq!(read.from, replay.replayed_at.unwrap().parse::<Timestamp>().unwrap());
    assert!(read.from <= read.until && replay.lag_ms.unwrap() >= 0 && replay.replayed_lsn.is_some());
    assert_eq!(DatabaseFacts::decode(&point.manifest().facts).unwrap(), facts);

    let (_, facts) = on_primary.try_export(&on_primary.scope).await.unwrap();
    let read = facts.read().unwrap().unwrap();
    assert!(facts.standby.is_none() && read.from == read.until, "a primary is read at one instant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_standby_has_not_replayed_is_not_said_to_be_in_its_export() {
    let _guard = REPLAY.lock().await;
    let (primary, standby) = replicated();
    fixture::database(primary, "replica_behind");
    primary.sql(
        "replica_behind",
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.t (id int PRIMARY KEY); INSERT INTO app.t VALUES (1)",
    );
    catch_up(primary, standby);
    standby.sql("postgres", "SELECT pg_wal_replay_pause()");
    wait(standby, "pg_get_wal_replay_pause_state() = 'paused'");
    let before = primary.sql("replica_behind", "SELECT to_json(clock_timestamp()) #>> '{}'").parse::<Timestamp>().unwrap();
    primary.sql("replica_behind", "INSERT INTO app.t VALUES (2)");
    let world = World::on(standby, "behind", database("replica_behind"));
    let exported = world.try_export(&world.scope).await;
    standby.sql("postgres", "SELECT pg_wal_replay_resume()");
    let facts = exported.unwrap().1;
    let read = facts.read().unwrap().unwrap();
    assert_eq!(facts.table("\"app\".\"t\"").unwrap().rows, 1);
    assert!(read.from < before && before < read.until, "{read:?} {before}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_must_go_on_replaying_is_read_again_later() {
    let _guard = REPLAY.lock().await;
    let (primary, standby) = replicated();
    fixture::database(primary, "replica_conflict");
    primary.sql(
        "replica_conflict",
        "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.long (tenant_id text, id int, body text, PRIMARY KEY (tenant_id, id)) WITH (autovacuum_enabled = off);
         ALTER TABLE app.long ALTER body SET STORAGE PLAIN;
         INSERT INTO app.long SELECT t, i, repeat('x', 7000) FROM generate_series(1, 3000) i, unnest('{a,b,c}'::text[]) t",
    );
    catch_up(primary, standby);
    let tenants: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    let pooled = Pooled::new(standby, "replica_conflict", &tenants);
    let pool = pooled.pool().await;
    let mut sweep = pool.sweep().await.unwrap();
    let first = sweep.export(&"a".parse().unwrap(), &Recorder::default()).await.unwrap();
    assert_eq!((first.tables[0].rows, first.standby.is_some()), (3000, true));
    // What the sweep still sees is cleaned away on the primary; the standby cannot replay that and let it be seen.
    primary.sql("replica_conflict", "DELETE FROM app.long WHERE tenant_id = 'c'");
    primary.sql("replica_conflict", "VACUUM app.long");
    // It says so a little after it has told the readers to end; one whose reader does not read learns of it later.
    let told = || standby.log().contains("recovery still waiting");
    assert!((0..600).any(|_| told() || standby.sql("postgres", "SELECT pg_sleep(0.1)").len() > 1), "the standby has no conflict");
    let mut found = BTreeSet::new();
    for tenant in ["b", "c"] {
        if let Err(error) = sweep.export(&tenant.parse().unwrap(), &Recorder::default()).await {
            assert_eq!(error.code(), ErrorCode::SourceUnreachable, "{error}");
            found.insert(error.to_string().contains("to go on replaying"));
        }
    }
    assert!(found.contains(&true) && sweep.standing() == Standing::Broken, "{found:?}");
    drop(sweep);
    pool.close().await;
}
