//! The sweep on a vault and a catalog in memory, beside a run that wants what the sweep deletes.
//!
//! A run's steps are put between the sweep's calls, in every way of which two switches are enough. Nothing may be lost, and nothing be left
//! behind; locks last for no time, so nothing may rest on them. Then the code's guards are broken one by one, as far as the ports let one
//! in, and each has to show as a loss.

mod interleaved;
mod names;
mod world;

use std::{collections::BTreeSet, sync::Arc};

use catalog::tenants::TenantRecord;
use domain::{ErrorCode, sweep::Mark};
use interleaved::{Bug, explore};
use vault::{ObjectStore as _, VersionStore as _};
use world::{DAY, World};

#[tokio::test]
async fn garbage_goes_in_one_sweep_and_what_is_left_restores() {
    let world = World::new().await;
    let [first, second, third] = [world.back_up(1, None).await, world.back_up(2, Some(1)).await, world.back_up(3, Some(2)).await];
    for day in [1, 2] {
        world.expire(day).await;
    }
    let before = world.store.objects();
    let tally = world.sweep().await.unwrap();
    // Two manifests and lists, and the second's pack and key: the pack and key of the first are the third's, too.
    assert_eq!((tally.condemned, tally.deleted, tally.released, tally.points), (6, 6, 0, 2), "{tally:?}");
    assert_eq!(world.restored(3).await.unwrap(), third);
    assert_eq!([world.state(1).await, world.state(2).await, world.state(3).await], ["swept", "swept", "available"]);
    assert_eq!(world.chain_findings().await, Vec::<String>::new(), "every link is still there");
    let swept = world.catalog.swept(world.tenant).await.unwrap();
    assert_eq!((swept.marks.len(), swept.sweep, swept.epoch.0), (0, None, 1));
    assert!(before.len() == world.store.objects().len() + 6 && first != second);

    world.expire(3).await;
    world.next_day();
    let tally = world.sweep().await.unwrap();
    assert_eq!(tally.points, 1);
    let left: Vec<String> = world.store.objects().into_keys().filter(|key| !key.contains("/chain/")).collect();
    assert!(
        left.len() == 1 && left[0].ends_with("/keys/dedup"),
        "links and the tenant's secret stay, and nothing else: {left:?}"
    );
}

#[tokio::test]
async fn a_sweep_with_nothing_to_do_writes_no_mark_and_moves_no_epoch() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.sweep().await.unwrap();
    let swept = world.catalog.swept(world.tenant).await.unwrap();
    assert!(swept.epoch.is_first() && swept.marks.is_empty() && swept.done.is_some());
    world.back_up(2, None).await;
    world.expire(1).await;
    let put = world.store.calls();
    assert_eq!(world.sweep().await.unwrap(), crate::sweep::Tally::default(), "the tick's sweep is done");
    assert_eq!(world.store.calls(), put, "its repetition asks for nothing");
}

#[tokio::test]
async fn a_dry_run_counts_and_leaves_everything_as_it_is() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.expire(1).await;
    let (objects, catalog) = (world.store.objects(), world.catalog.swept(world.tenant).await.unwrap());
    let tally = world.look().await;
    assert!(tally.garbage == 4 && tally.garbage_bytes > 0 && tally.condemned + tally.deleted + tally.points == 0, "{tally:?}");
    assert_eq!((world.store.objects(), world.catalog.swept(world.tenant).await.unwrap()), (objects, catalog));
}

#[tokio::test]
async fn what_a_failed_run_left_goes_and_what_a_stopped_one_left_waits_for_its_lock() {
    let world = World::new().await;
    world.set_lock(DAY * 10);
    world.back_up(1, None).await;
    world.stop(2).await;
    world.fail(3).await;
    let tally = world.sweep().await.unwrap();
    assert!(tally.garbage > 0 && tally.locked == tally.garbage && tally.condemned == 0, "{tally:?}");
    world.advance(DAY * 11);
    let tally = world.sweep().await.unwrap();
    assert!(tally.deleted == tally.garbage && tally.deleted > 0, "{tally:?}");
    assert!(world.restored(1).await.is_ok());
    assert_eq!(world.sweep_of_the_next_day().await.garbage, 0);
}

#[tokio::test]
async fn a_version_that_was_locked_meanwhile_stays_marked_until_it_may_go() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.expire(1).await;
    let pack = world.stored("/packs/").remove(0);
    // Condemned, and then locked by somebody.
    world.begin_run(2).await;
    assert_eq!(world.sweep().await.unwrap().waiting, 1);
    world.store.lock(&pack, world.now() + DAY * 5, world.now() + DAY * 5).await.unwrap();
    world.end_run(2).await;
    let tally = world.sweep_of_the_next_day().await;
    assert_eq!((tally.kept_by_lock, tally.deleted), (1, 3), "{tally:?}");
    let marks = world.catalog.swept(world.tenant).await.unwrap().marks;
    assert!(matches!(marks.get(&pack), Some(Mark::Sweeping { .. })) && marks.len() == 1, "{marks:?}");
    assert_eq!(world.state(1).await, "expired", "something is left of it");
    world.advance(DAY * 6);
    let tally = world.sweep().await.unwrap();
    assert_eq!((tally.deleted, tally.points, world.state(1).await), (1, 1, "swept"));
    assert!(world.catalog.swept(world.tenant).await.unwrap().marks.is_empty());
}

#[tokio::test]
async fn a_sweep_waits_for_a_run_goes_on_at_the_next_tick_and_ends_a_dead_one() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.expire(1).await;
    world.begin_run(2).await;
    let tally = world.sweep().await.unwrap();
    assert_eq!((tally.condemned, tally.waiting, tally.deleted), (4, 1, 0));
    let tally = world.sweep_of_the_next_day().await;
    assert_eq!((tally.fenced, tally.deleted, tally.waiting), (1, 4, 0), "a run of yesterday is dead");
    assert_eq!(world.state(2).await, "failed");
    let acts = world.acts().await;
    assert_eq!(acts, ["run.fence intent", "run.fence outcome", "vault.sweep intent", "vault.sweep outcome"]);
}

#[tokio::test]
async fn a_wiped_or_older_catalog_lets_nothing_go() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.set_catalog_back(Arc::default());
    assert_eq!(world.sweep().await.unwrap().garbage, 0);

    let world = World::new().await;
    world.fail(1).await;
    let older = world.copy_of_points().await;
    let kept = world.back_up(1, None).await;
    world.set_catalog_back(older);
    assert_eq!(world.state(1).await, "failed", "the catalog has forgotten the run that published");
    let tally = world.sweep().await.unwrap();
    assert!(tally.deleted > 0, "what the failed run left goes");
    assert_eq!(world.restored(1).await.unwrap(), kept, "and nothing of what a later run published");
}

#[tokio::test]
async fn what_was_swept_before_a_catalog_was_rebuilt_needs_nothing_any_more() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.back_up(2, Some(1)).await;
    world.expire(1).await;
    world.sweep().await.unwrap();
    assert_eq!(world.state(1).await, "swept");
    // A rebuild records what has a manifest.
    world.set_catalog_back(world.copy_of_points_but(1).await);
    world.next_day();
    assert_eq!(world.sweep().await.unwrap().garbage, 0, "the other one shares the pack");
    world.expire(2).await;
    world.next_day();
    assert_eq!(world.sweep().await.unwrap().points, 1);
    let left: Vec<String> = world.stored("").into_iter().filter(|key| !key.contains("/chain/")).collect();
    assert!(left.len() == 1 && left[0].ends_with("/keys/dedup"), "nothing is kept for the forgotten one: {left:?}");
}

#[tokio::test]
async fn a_manifest_that_is_only_hidden_keeps_what_an_unknown_link_names() {
    let world = World::new().await;
    let kept = world.back_up(1, None).await;
    world.set_catalog_back(Arc::default());
    let manifest = world.stored("/points/").remove(0);
    world.store.put_over(&manifest, None);
    assert_eq!(world.sweep().await.unwrap().garbage, 0);
    world.store.take_off(&manifest);
    assert_eq!(world.restored(1).await.unwrap(), kept);
}

fn many_tenants() -> Vec<TenantRecord> {
    let tenant = |n: u32| {
        let record = serde_json::json!({
            "id": format!("tenant-{n:02}"), "vault_tenant": format!("vt_00000000-0000-0000-0000-0000000000{n:02}"),
            "database_id": "shared", "layout": "schema", "database": "app", "schema": format!("tenant_{n:02}"),
            "criticality": "standard", "time_zone": "Europe/Oslo", "status": "active",
            "created_at": "2024-01-01T00:00:00Z", "seen_at": "2026-11-20T00:00:00Z",
        });
        serde_json::from_value(record).unwrap()
    };
    (10..30).map(tenant).collect()
}

#[tokio::test]
async fn a_sweep_that_always_stops_half_way_still_reaches_every_tenant_within_a_few_days() {
    let (world, tenants) = (World::new().await, many_tenants());
    let mut reached = BTreeSet::new();
    for _ in 0..4 {
        world.next_day();
        let report = world.round(&tenants, 10, true).await.unwrap_err();
        assert!(report.code == ErrorCode::DeadlineNear && report.message.starts_with("10 tenants"), "{report}");
        for tenant in &tenants {
            if world.catalog.swept(tenant.vault_tenant).await.unwrap().done.is_some() {
                reached.insert(tenant.vault_tenant);
            }
        }
    }
    assert_eq!(reached.len(), tenants.len());
}

#[tokio::test]
async fn a_dry_run_that_runs_out_of_time_tells_what_it_saw_and_how_many_it_left_out() {
    let (world, tenants) = (World::new().await, many_tenants());
    let tally = world.round(&tenants, 12, false).await.unwrap();
    assert_eq!(tally, crate::sweep::Tally { not_looked_at: 8, ..Default::default() });
}

#[tokio::test]
async fn delete_markers_and_newer_garbage_hide_nothing_from_the_sweep() {
    let world = World::new().await;
    let kept = world.back_up(1, None).await;
    world.back_up(2, None).await;
    world.expire(2).await;
    let needed = world.made_of(1).await;
    for key in world.store.objects().into_keys() {
        world.store.put_over(&key, None);
        world.store.put_over(&key, Some("garbage".into()));
    }
    world.sweep().await.unwrap();
    let left = world.store.versions("").await.unwrap();
    for key in &needed {
        assert_eq!(left.iter().filter(|version| version.key == *key).count(), 2, "{key} is as it was left");
    }
    for key in left.iter().map(|version| &version.key).collect::<BTreeSet<_>>() {
        world.store.take_off(key);
        world.store.take_off(key);
    }
    assert_eq!(world.restored(1).await.unwrap(), kept);
    assert_eq!(world.state(2).await, "swept", "what nobody needs goes with all its versions");
}

#[tokio::test]
async fn a_link_that_is_damaged_stops_the_sweep_of_its_tenant() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.back_up(2, None).await;
    world.expire(1).await;
    let link = world.stored("/chain/").pop().unwrap();
    world.store.overwrite(&link, "damaged");
    let report = world.sweep().await.unwrap_err();
    assert!(report.code == ErrorCode::NotAuthentic && report.message.contains(&link), "{report}");
    assert!(world.catalog.swept(world.tenant).await.unwrap().marks.is_empty());
}

#[tokio::test]
async fn a_lost_epoch_catches_up_with_the_runs_that_know_a_later_one() {
    let world = World::new().await;
    world.back_up(1, None).await;
    world.expire(1).await;
    world.sweep().await.unwrap();
    world.next_day();
    world.begin_run(2).await;
    world.set_catalog_back(world.copy_of_points().await);
    world.back_up(3, None).await;
    world.expire(3).await;
    assert_eq!(world.sweep().await.unwrap().waiting, 1, "the run of the later epoch is waited for");
    assert!(world.catalog.epoch(world.tenant).await.unwrap().0 >= 2);
}

#[tokio::test]
async fn whatever_a_run_does_between_the_sweeps_calls_nothing_is_lost_and_nothing_left() {
    for list_stays in [false, true] {
        let explored = explore(None, list_stays).await;
        assert_eq!(explored.losses, Vec::<String>::new());
        println!("{explored:?}");
        assert!(
            explored.worlds > 500 && explored.published > 0 && explored.shared > 0 && explored.stored_anew > 0,
            "{explored:?}"
        );
    }
}

#[tokio::test]
async fn every_guard_that_is_broken_in_the_code_around_the_ports_loses_something() {
    for bug in Bug::ALL {
        let explored = explore(Some(bug), bug == Bug::LooksEarly).await;
        println!("{bug:?}: {:?}", explored.losses.first());
        assert!(!explored.losses.is_empty(), "{bug:?} was not noticed in {} worlds", explored.worlds);
    }
}

#[tokio::test]
async fn each_call_of_the_sweep_may_fail_and_the_next_tick_makes_up_for_it() {
    for nth in 1.. {
        let world = World::new().await;
        world.back_up(1, None).await;
        let kept = world.back_up(2, Some(1)).await;
        world.back_up(3, None).await;
        world.expire(1).await;
        world.expire(3).await;
        world.store.fail_at(nth, vault::Fault::After);
        let failed = world.sweep().await.is_err();
        if world.store.fault_pending() {
            assert!(nth > 10, "only {nth} calls were made");
            break;
        }
        assert!(failed, "the {nth}th call's failure was told");
        let tally = world.sweep().await.unwrap();
        assert_eq!(world.restored(2).await.unwrap(), kept);
        assert_eq!([world.state(1).await, world.state(3).await], ["swept"; 2], "{nth}: {tally:?}");
        assert_eq!(world.sweep_of_the_next_day().await.garbage, 0, "{nth}");
    }
}
