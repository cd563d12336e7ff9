//! A tenant whose record was lost and that was met anew: what lies under the name it had is swept as what lies under the one it has.

use std::sync::Arc;

use catalog::tenants::{Erased, TenantRecord};
use domain::VaultTenantId;
use vault::ObjectStore as _;

use super::{
    many_tenants,
    world::{DAY, World},
};
use crate::sweep::Tally;

fn name(n: u8) -> VaultTenantId {
    format!("vt_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
}

const FORMER: u8 = 1;
const PRESENT: u8 = 2;

fn acme() -> TenantRecord {
    let mut acme = many_tenants().remove(0);
    (acme.tenant.id, acme.vault_tenant, acme.former) = ("acme".parse().unwrap(), name(PRESENT), [name(FORMER)].into());
    acme
}

async fn sweep(world: &World, tenant: &TenantRecord) -> Tally {
    world.next_day();
    world.round(std::slice::from_ref(tenant), 1_000, true).await.unwrap()
}

/// What is stored under a name, but for what stays for good.
fn left(world: &World, n: u8) -> Vec<String> {
    let stored = world.stored(&name(n).to_string()).into_iter();
    stored.filter(|key| !key.contains("/chain/") && !key.ends_with("/keys/dedup")).collect()
}

#[tokio::test]
async fn under_each_name_what_is_not_needed_goes_and_the_rest_restores() {
    let mut world = World::new().await;
    world.back_up(1, None).await;
    let older = world.back_up(2, Some(1)).await;
    world.tenant = name(PRESENT);
    world.back_up(3, None).await;
    let newer = world.back_up(4, Some(3)).await;
    for day in [1, 3] {
        world.expire(day).await;
    }
    let tally = sweep(&world, &acme()).await;
    assert_eq!((tally.points, world.state(1).await, world.state(3).await), (2, "swept", "swept"), "{tally:?}");
    assert_eq!(world.restored(4).await.unwrap(), newer);
    world.tenant = name(FORMER);
    assert_eq!(world.restored(2).await.unwrap(), older);
    world.expire(2).await;
    assert_eq!(sweep(&world, &acme()).await.points, 1);
    assert_eq!(left(&world, FORMER), Vec::<String>::new());
    assert_eq!(sweep(&world, &acme()).await.garbage, 0);
}

#[tokio::test]
async fn a_slot_that_was_filled_under_two_names_goes_under_both_and_is_swept_when_its_own_content_is() {
    let mut world = World::new().await;
    let first = world.back_up(1, None).await;
    world.set_catalog_back(Arc::default());
    world.tenant = name(PRESENT);
    world.back_up(1, None).await;
    assert_eq!(sweep(&world, &acme()).await.garbage, 0, "the first content stays as long as the recovery point");
    world.expire(1).await;
    let pack = world.stored(&format!("{}/packs/", name(PRESENT))).remove(0);
    world.store.lock(&pack, world.now() + DAY * 5, world.now() + DAY * 5).await.unwrap();
    sweep(&world, &acme()).await;
    assert_eq!((left(&world, FORMER), left(&world, PRESENT)), (vec![], vec![pack]), "{first:?}");
    assert_eq!(world.state(1).await, "expired", "the same place of the former chain is not its content");
    world.advance(DAY * 6);
    sweep(&world, &acme()).await;
    assert_eq!((left(&world, PRESENT), world.state(1).await), (vec![], "swept"));
}

#[tokio::test]
async fn a_run_that_failed_lets_nothing_go_that_was_published_under_the_former_name_and_an_erasure_does() {
    let mut world = World::new().await;
    let kept = world.back_up(1, None).await;
    world.set_catalog_back(Arc::default());
    world.tenant = name(PRESENT);
    world.fail(1).await;
    assert!(sweep(&world, &acme()).await.deleted > 0, "what the run left");
    assert_eq!(left(&world, PRESENT), Vec::<String>::new());
    world.tenant = name(FORMER);
    assert_eq!(world.restored(1).await.unwrap(), kept);

    let erasure = "er_00000000-0000-7000-8000-000000000001".parse().unwrap();
    let erased = TenantRecord { erased: Some(Erased { erasure, at: world.now() }), ..acme() };
    sweep(&world, &erased).await;
    assert_eq!(left(&world, FORMER), Vec::<String>::new());
}

#[tokio::test]
async fn a_run_that_began_under_a_name_that_the_tenant_lost_since_is_waited_for_there() {
    let mut world = World::new().await;
    world.back_up(1, None).await;
    world.tenant = name(PRESENT);
    world.back_up(2, None).await;
    // Built on the other, which expires before the run is over.
    let (held, writer) = world.begin(3, Some(2)).await;
    world.expire(2).await;
    let renamed = TenantRecord { vault_tenant: name(FORMER), former: [name(PRESENT)].into(), ..acme() };
    let tally = world.round(std::slice::from_ref(&renamed), 1_000, true).await.unwrap();
    assert_eq!((tally.waiting, tally.deleted), (1, 0), "{tally:?}");
    let written = writer.finish(serde_json::Value::Null, world.now()).await.unwrap();
    world.catalog.publish(&held, world.published(3, &written), world.now()).await.unwrap();
    sweep(&world, &renamed).await;
    assert_eq!(world.restored(3).await.unwrap(), World::content(3));
    assert_eq!(world.state(2).await, "swept");
}

#[tokio::test]
async fn a_name_that_another_tenant_goes_by_is_swept_for_neither() {
    let mut world = World::new().await;
    world.back_up(1, None).await;
    world.expire(1).await;
    let before = world.store.objects();
    world.tenant = name(PRESENT);
    world.back_up(2, None).await;
    world.expire(2).await;
    let other = TenantRecord { vault_tenant: name(FORMER), ..many_tenants().remove(1) };
    let report = world.round(&[acme(), other], 1_000, true).await.unwrap_err();
    assert!(report.message.starts_with("2 tenants") && report.message.contains("to another tenant too"), "{report}");
    assert_eq!(left(&world, FORMER).len(), before.len() - 2, "all of it but the link and the secret");
    assert_eq!(left(&world, PRESENT), Vec::<String>::new(), "its other name is its own");
}
