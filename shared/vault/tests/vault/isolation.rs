//! A tenant's data opens for that tenant, that recovery point and that place, and for nothing else.

use domain::{Coded, ErrorCode};
use vault::{Digester, ManifestRef, StreamSink, VaultError};

use crate::world::{Names, PEOPLE, World, header, names, read};

/// Checks that neither opening nor checking accepts what lies there.
async fn refused(world: &World, names: Names, reference: &ManifestRef) {
    let error = match world.open(names, reference).await {
        Err(error) => error,
        Ok(reader) => read(&reader, "app.people").await.unwrap_err(),
    };
    assert_eq!(error.code(), ErrorCode::NotAuthentic, "{error}");
    assert!(!world.findings(names, reference).await.is_empty());
}

#[tokio::test]
async fn another_tenants_recovery_point_does_not_open() {
    let world = World::new();
    let (ours, theirs) = (names(1, 2, 3), names(11, 12, 13));
    let our_reference = world.back_up(ours).await.unwrap().manifest;
    let their_reference = world.back_up(theirs).await.unwrap().manifest;
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
    refused(&world, ours, &ManifestRef { key: our_reference.key, sha256: their_reference.sha256 }).await;
}

#[tokio::test]
async fn another_point_of_the_same_tenant_does_not_stand_in() {
    let world = World::new();
    let (monday, tuesday) = (names(1, 2, 3), names(1, 12, 13));
    let old = world.back_up(monday).await.unwrap().manifest;
    let new = world.back_up(tuesday).await.unwrap().manifest;
    refused(&world, tuesday, &old).await;

    // Monday's manifest bytes under Tuesday's key, with the catalog's hash forged; with Monday's key record as well.
    let objects = world.store.objects();
    world.store.overwrite(&new.key, objects[&old.key].clone());
    let forged = ManifestRef { key: new.key.clone(), sha256: old.sha256.clone() };
    refused(&world, tuesday, &forged).await;
    let record = |names: Names| format!("v1/t/{}/keys/{}", names.tenant, names.run);
    world.store.overwrite(&record(tuesday), objects[&record(monday)].clone());
    refused(&world, tuesday, &forged).await;
    refused(&world, tuesday, &new).await;
}

#[tokio::test]
async fn a_pack_of_another_point_does_not_stand_in() {
    let world = World::new();
    let (monday, tuesday) = (names(1, 2, 3), names(1, 12, 13));
    world.back_up(monday).await.unwrap();
    let old = world.stored("/packs/");
    let reference = world.back_up(tuesday).await.unwrap().manifest;
    let new = world.stored("/packs/").into_iter().find(|key| !old.contains(key)).unwrap();
    let objects = world.store.objects();
    assert_eq!(objects[&old[0]].len(), objects[&new].len(), "equal rows, so only the keys tell them apart");
    world.store.overwrite(&new, objects[&old[0]].clone());
    refused(&world, tuesday, &reference).await;
}

#[tokio::test]
async fn chunks_that_traded_places_are_refused() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    for name in ["people", "others"] {
        writer.begin_stream(header(name)).await.unwrap();
        writer.rows(format!("1\t{name}\n").as_bytes()).await.unwrap();
        writer.end_stream().await.unwrap();
    }
    let written = writer.finish(serde_json::json!(null), crate::world::noon()).await.unwrap();
    let pack = &world.stored("/packs/")[0];
    let bytes = world.store.objects()[pack].clone();
    let (first, second) = bytes.split_at(bytes.len() / 2);
    world.store.overwrite(pack, [second, first].concat());
    refused(&world, names, &written.manifest).await;
}

#[tokio::test]
async fn another_vaults_name_does_not_open_it() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    let error = world.named("other").open(names.tenant, names.point, &reference).await.err().unwrap();
    assert_eq!(error.code(), ErrorCode::NotAuthentic);
}

#[tokio::test]
async fn a_manifest_other_than_the_published_one_is_refused() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    let forged = ManifestRef { sha256: "0".repeat(64), ..reference.clone() };
    assert!(matches!(world.open(names, &forged).await.err(), Some(VaultError::NotAuthentic { .. })));
    for key in [format!("{}/x", reference.key), String::new(), reference.key.replace("v1/", "v1//")] {
        let error = world.open(names, &ManifestRef { key, ..reference.clone() }).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::NotAuthentic);
    }
}

#[tokio::test]
async fn equal_rows_of_two_tenants_have_unrelated_digests() {
    let world = World::new();
    let mut digests = Vec::new();
    for tenant in [1, 1, 2] {
        let mut digester = Digester::new(&world.vault.tenant_secret(names(tenant, 0, 0).tenant).await.unwrap());
        digester.begin_stream(header("people")).await.unwrap();
        digester.rows(PEOPLE).await.unwrap();
        digests.push(digester.end_stream().await.unwrap().digest);
    }
    assert_eq!(digests[0], digests[1], "a tenant's secret stays the same");
    assert_ne!(digests[0], digests[2]);
}
