//! A connection that is lost in the middle of an export: the view goes with it, so the export fails, and the next one has a view of
//! its own.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use domain::{Coded, ErrorCode, RecoveryPointId, RunId, tenant::Layout};
use sources::postgres::digest;
use vault::Digester;

use crate::{
    fixture,
    world::{Point, Turned, World},
};

/// Exports in which the fault may happen too early or too late.
const TRIES: usize = 10;

/// Large enough on disk to be read by two sessions.
const TABLES: &str = "SET ROLE app_owner; CREATE SCHEMA app; CREATE TABLE app.a (id int PRIMARY KEY, amount int, filler text) WITH (fillfactor = 10);
    INSERT INTO app.a SELECT i, 1000, repeat('x', 700) FROM generate_series(1, 4300) i;
    CREATE TABLE app.b (LIKE app.a INCLUDING ALL) WITH (fillfactor = 10); INSERT INTO app.b SELECT * FROM app.a; ANALYZE app.a, app.b";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_is_lost_fails_the_export_and_the_next_one_is_of_one_view() {
    // The session that holds the view after some of its rows, and the one that has joined it and may have read a few.
    for (database, moment, whose) in
        [("lost_first", 4, "backend_start ="), ("lost_other", 0, "query ~ '^(LOCK TABLE .* NOWAIT|COPY)' AND backend_start >")]
    {
        let world = World::new(database, Layout::Database { database: database.into() });
        fixture::database(world.cluster, database);
        world.cluster.sql(database, TABLES);
        let same = async |point: &Point| {
            let point = world.open(point).await;
            let live =
                digest(&world.cluster.master(), &world.scope, &Digester::against(&point).await.unwrap()).await.unwrap().unwrap();
            assert_eq!(live.differences(point.manifest()), Vec::<String>::new(), "{database}");
        };
        let mut failed = false;
        // On a busy machine a session may have read its part, or not be there yet, when the server is asked to end it.
        for _ in 0..TRIES {
            let (asked, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let lose = || {
                if asked.fetch_add(1, SeqCst) >= moment && lost.load(SeqCst) == 0 {
                    let sql = format!(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name = 'holdfast' AND {whose}
                             (SELECT min(backend_start) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'holdfast')"
                    );
                    lost.store(world.cluster.sql(database, &sql).parse().unwrap(), SeqCst);
                }
                false
            };
            let (id, run) = (RecoveryPointId::from_uuid(world.fresh()), RunId::from_uuid(world.fresh()));
            match world.try_turn(id, None, run, &lose).await {
                Err(error) => {
                    assert_eq!(lost.load(SeqCst), 1, "{database}: it failed of something else: {error}");
                    assert_eq!(error.code(), ErrorCode::SourceUnreachable, "{database}: {error}");
                    failed = true;
                    break;
                }
                Ok(Turned::Whole(point, _)) => same(&point).await,
                Ok(Turned::Paused { .. }) => panic!("{database}: nobody asked it to pause"),
            }
        }
        assert!(failed, "{database}: the fault did not happen in {TRIES} exports");

        world.cluster.sql(database, "UPDATE app.a SET amount = amount - 1; UPDATE app.b SET amount = amount + 1");
        same(&world.export().await).await;
    }
}
