//! A tenant's data opens for that tenant, that recovery point and that place, and for nothing else.

use domain::ErrorCode;
use vault::{Digester, PointRef, VaultError};

use crate::world::{Names, PEOPLE, World, code, finish, header, names, read, write};

/// Checks that neither opening nor checking accepts what lies there.
async fn refused(world: &World, names: Names, reference: &PointRef) {
    assert_eq!(code(world.read(names, reference, "app.people").await), ErrorCode::NotAuthentic);
    assert!(!world.findings(names, reference).await.is_empty());
}

/// The key under which `names`'s link of that reference lies.
fn link_key(names: Names, reference: &PointRef) -> String {
    format!("v1/t/{}/chain/{:012}", names.tenant, reference.sequence)
}

#[tokio::test]
async fn another_tenants_recovery_point_does_not_open() {
    let world = World::new();
    let (ours, theirs) = (names(1, 2, 3), names(11, 12, 13));
    world.back_up(ours).await.unwrap();
    let their_reference = world.back_up(theirs).await.unwrap().point;
    refused(&world, ours, &their_reference).await;
    refused(&world, Names { tenant: ours.tenant, ..theirs }, &their_reference).await;
    refused(&world, Names { point: ours.point, ..theirs }, &their_reference).await;

    // Even with their objects laid where ours are, and the catalog's row forged to match.
    for (key, bytes) in world.store.objects() {
        let moved = key
            .replace(&theirs.tenant.to_string(), &ours.tenant.to_string())
            .replace(&theirs.point.to_string(), &ours.point.to_string())
            .replace(&theirs.run.to_string(), &ours.run.to_string());
        if moved != key {
            world.store.overwrite(&moved, bytes);
        }
    }
    refused(&world, ours, &their_reference).await;
}

#[tokio::test]
async fn another_point_of_the_same_tenant_does_not_stand_in() {
    let world = World::new();
    let (monday, tuesday) = (names(1, 2, 3), names(1, 12, 13));
    let old = world.back_up(monday).await.unwrap().point;
    let new = world.back_up(tuesday).await.unwrap().point;
    refused(&world, tuesday, &old).await;

    // Monday's link in Tuesday's place, with the catalog's hash forged; then Monday's manifest; then its key record.
    let objects = world.store.objects();
    let (old_link, new_link) = (link_key(monday, &old), link_key(tuesday, &new));
    world.store.overwrite(&new_link, objects[&old_link].clone());
    refused(&world, tuesday, &PointRef { sequence: new.sequence, link_sha256: old.link_sha256.clone() }).await;
    refused(&world, tuesday, &new).await;
    world.store.overwrite(&new_link, objects[&new_link].clone());
    let manifest = |names: Names| format!("v1/t/{}/points/{}/{}", names.tenant, names.point, names.run);
    world.store.overwrite(&manifest(tuesday), objects[&manifest(monday)].clone());
    refused(&world, tuesday, &new).await;
    world.store.overwrite(&manifest(tuesday), objects[&manifest(tuesday)].clone());
    let record = |names: Names| format!("v1/t/{}/keys/{}", names.tenant, names.run);
    world.store.overwrite(&record(tuesday), objects[&record(monday)].clone());
    refused(&world, tuesday, &new).await;
}

#[tokio::test]
async fn a_pack_of_another_point_does_not_stand_in() {
    let world = World::new();
    let (monday, tuesday) = (names(1, 2, 3), names(1, 12, 13));
    world.back_up(monday).await.unwrap();
    let old = world.stored("/packs/");
    let reference = world.back_up(tuesday).await.unwrap().point;
    let new = world.stored("/packs/").into_iter().find(|key| !old.contains(key)).unwrap();
    let objects = world.store.objects();
    assert_eq!(objects[&old[0]].len(), objects[&new].len(), "equal rows, so only the keys tell them apart");
    world.store.overwrite(&new, objects[&old[0]].clone());
    refused(&world, tuesday, &reference).await;
}

#[tokio::test]
async fn chunks_that_traded_places_are_refused() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    for name in ["people", "others"] {
        write(&writer, header(name), format!("1\t{name}\n").as_bytes()).await.unwrap();
    }
    let written = finish(writer).await;
    let pack = &world.stored("/packs/")[0];
    let bytes = world.store.objects()[pack].clone();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    world.store.overwrite(pack, [second, first].concat());
    refused(&world, names, &written.point).await;
}

#[tokio::test]
async fn another_vaults_name_does_not_open_it() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().point;
    assert_eq!(code(world.named("other").open(names.tenant, names.point, &reference).await), ErrorCode::NotAuthentic);
}

#[tokio::test]
async fn a_link_other_than_the_published_one_is_refused() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().point;
    for link_sha256 in ["0".repeat(64), String::new(), reference.link_sha256.to_uppercase()] {
        let forged = PointRef { link_sha256, ..reference.clone() };
        assert!(matches!(world.open(names, &forged).await.err(), Some(VaultError::NotAuthentic { .. })));
    }
    for sequence in [0, 2, u64::MAX] {
        let forged = PointRef { sequence, ..reference.clone() };
        assert_eq!(code(world.open(names, &forged).await), ErrorCode::NotAuthentic);
    }
}

#[tokio::test]
async fn equal_rows_of_two_tenants_have_unrelated_digests() {
    let world = World::new();
    let mut digests = Vec::new();
    for tenant in [1, 1, 2] {
        let digester = Digester::new(&world.vault.tenant_secret(names(tenant, 0, 0).tenant).await.unwrap());
        digests.push(write(&digester, header("people"), PEOPLE).await.unwrap().digest);
    }
    assert_eq!(digests[0], digests[1], "a tenant's secret stays the same");
    assert_ne!(digests[0], digests[2]);
}

#[tokio::test]
async fn streams_can_be_read_side_by_side() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let written = world.back_up(names).await.unwrap();
    let reader = world.open(names, &written.point).await.unwrap();
    let other = reader.clone();
    let task = tokio::spawn(async move { read(&other, "app.people").await.unwrap() });
    assert_eq!(read(&reader, "app.people").await.unwrap(), task.await.unwrap());
}
