//! Whatever happens to a stored object, a check names it and a reader refuses it.

use domain::{Coded, ErrorCode};
use serde_json::json;
use vault::{StreamSink, caps};

use crate::world::{World, header, names, noise, noon, read, write_sample};

#[tokio::test]
async fn a_lost_object_is_found_by_its_key() {
    let names = names(1, 2, 3);
    for part in ["/keys/dedup", "/keys/run_", "/packs/", "/points/"] {
        let world = World::new();
        let reference = world.back_up(names).await.unwrap().manifest;
        let [key] = &world.stored(part)[..] else { panic!("one object per kind") };
        world.store.remove(key);
        let findings = world.findings(names, &reference).await;
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].contains(key) && findings[0].ends_with("it is missing"), "{findings:?}");
        if let Ok(reader) = world.open(names, &reference).await {
            assert_eq!(read(&reader, "app.people").await.unwrap_err().code(), ErrorCode::NotAuthentic);
        }
    }
}

#[tokio::test]
async fn every_byte_of_every_stored_object_matters() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    assert!(world.findings(names, &reference).await.is_empty());
    for (key, bytes) in world.store.objects() {
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << (at % 8);
            world.store.overwrite(&key, changed);
            assert!(!world.findings(names, &reference).await.is_empty(), "byte {at} of {key}");
        }
        for kept in [0, 1, 85, bytes.len() / 2, bytes.len() - 1] {
            world.store.overwrite(&key, bytes.slice(..kept));
            assert!(!world.findings(names, &reference).await.is_empty(), "{kept} bytes of {key}");
        }
        // Bytes behind a pack's last chunk are never read, so they are no damage to any recovery point.
        if !key.contains("/packs/") {
            world.store.overwrite(&key, [&bytes[..], b"x"].concat());
            assert!(!world.findings(names, &reference).await.is_empty(), "a byte more in {key}");
        }
        world.store.overwrite(&key, bytes);
    }
    assert!(world.findings(names, &reference).await.is_empty());
}

#[tokio::test]
async fn a_check_goes_on_after_a_finding_and_names_what_needs_the_chunk() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    write_sample(&mut writer).await.unwrap();
    writer.begin_stream(header("more")).await.unwrap();
    writer.rows(b"1\tx\n").await.unwrap();
    writer.end_stream().await.unwrap();
    let reference = writer.finish(json!(null), noon()).await.unwrap().manifest;
    let pack = &world.stored("/packs/")[0];
    let mut bytes = world.store.objects()[pack].to_vec();
    let last = bytes.len() - 1;
    bytes[100] ^= 1;
    bytes[last] ^= 1;
    world.store.overwrite(pack, bytes);

    let report = world.vault.check(names.tenant, names.point, &reference).await.unwrap();
    let needed: Vec<_> = report.findings.iter().map(|finding| finding.entry.clone().unwrap()).collect();
    assert_eq!(needed, ["app.people", "app.more"]);
    assert_eq!((report.chunks, report.streams), (1, 1), "the document and the empty stream are sound");
    assert_eq!(
        report.findings[0].to_string(),
        format!("`{pack} at byte 0`, needed by `app.people`: its authentication tag differs")
    );
}

#[tokio::test]
async fn a_lost_pack_is_one_finding_however_many_chunks_it_held() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let mut writer = world.vault.begin(names.tenant, names.point, names.run).await.unwrap();
    writer.begin_stream(header("people")).await.unwrap();
    for key in 0..8_u64 {
        writer.rows(&[format!("{key}\t").into_bytes(), noise(400_000, key), b"\n".to_vec()].concat()).await.unwrap();
    }
    writer.end_stream().await.unwrap();
    let reference = writer.finish(json!(null), noon()).await.unwrap().manifest;
    world.store.remove(&world.stored("/packs/")[0]);
    assert_eq!(world.findings(names, &reference).await.len(), 1);
}

#[tokio::test]
async fn a_monstrous_object_in_place_of_a_small_one_is_refused() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up(names).await.unwrap().manifest;
    world.store.overwrite(&world.stored("/keys/run_")[0], vec![b' '; caps::KEY_RECORD_BYTES_MAX + 1]);
    let error = world.open(names, &reference).await.err().unwrap().to_string();
    assert!(error.contains("it has the wrong size"), "{error}");
}
