//! Whatever is lost or damaged, a check names it and a reader refuses it.

use domain::ErrorCode;
use vault::{Share, caps};

use crate::world::{World, code, finish, header, names, read, table, write, write_sample};

#[tokio::test]
async fn a_lost_object_is_found_by_its_key() {
    let names = names(1, 2, 3);
    for part in ["/keys/dedup", "/keys/run_", "/packs/", "/points/", "/lists/", "/chain/"] {
        let world = World::new();
        let reference = world.back_up(names).await.unwrap().point;
        let [key] = &world.stored(part)[..] else { panic!("one object per kind") };
        world.store.remove(key);
        let findings = world.findings(names, &reference).await;
        assert!(findings[0].contains(key) && findings[0].ends_with("it is missing"), "{findings:?}");
        let named: Vec<_> = findings.iter().filter(|finding| !finding.contains(key)).collect();
        assert_eq!(named, [""; 0], "nothing else is to blame");
        assert_eq!(code(world.read(names, &reference, "app.people").await), ErrorCode::NotAuthentic);
    }
}

#[tokio::test]
async fn a_check_goes_on_after_a_finding_and_names_what_needs_the_chunk() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    write_sample(&writer).await.unwrap();
    write(&writer, header("more"), b"1\tx\n").await.unwrap();
    let reference = finish(writer).await.point;
    let pack = &world.stored("/packs/")[0];
    let mut bytes = world.store.objects()[pack].to_vec();
    let last = bytes.len() - 1;
    bytes[100] ^= 1;
    bytes[last] ^= 1;
    world.store.overwrite(pack, bytes);

    let report = world.vault.check(names.tenant, names.point, &reference, Share::ALL).await.unwrap();
    let needed: Vec<_> = report.findings.iter().map(|finding| finding.entry.clone().unwrap()).collect();
    assert_eq!(needed, ["app.people", "app.more"]);
    assert_eq!((report.chunks, report.chunks_read, report.streams), (3, 1, 1), "the document and the empty stream are sound");
    assert_eq!(
        report.findings[0].to_string(),
        format!("`{pack} at byte 0`, needed by `app.people`: its authentication tag differs")
    );
}

#[tokio::test]
async fn a_lost_pack_is_one_finding_however_many_chunks_it_held() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up_rows(names, None, header("people"), &table(0..20, 400_000, 0)).await.point;
    world.store.remove(&world.stored("/packs/")[0]);
    assert_eq!(world.findings(names, &reference).await.len(), 1);
}

#[tokio::test]
async fn rows_before_a_damaged_chunk_are_given_and_none_behind_it() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let rows = table(0..9, 400_000, 0);
    let reference = world.back_up_rows(names, None, header("people"), &rows).await.point;
    let pack = &world.stored("/packs/")[0];
    let mut bytes = world.store.objects()[pack].to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    world.store.overwrite(pack, bytes);

    let reader = world.open(names, &reference).await.unwrap();
    let mut slice = reader.stream("app.people").unwrap().all();
    let mut given = Vec::new();
    let damaged = loop {
        match slice.next().await {
            Ok(chunk) => given.extend_from_slice(&chunk.unwrap()),
            Err(error) => break error,
        }
    };
    assert_eq!(domain::Coded::code(&damaged), ErrorCode::NotAuthentic);
    assert!(given.len() > rows.len() / 4 && rows.starts_with(&given));
    assert!(slice.next().await.is_err(), "a reader that failed gives nothing more");
}

#[tokio::test]
async fn the_shares_of_a_check_together_read_every_chunk_once() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let reference = world.back_up_rows(names, None, header("people"), &table(0..60, 150_000, 0)).await.point;
    let check = async |share: Share| world.vault.check(names.tenant, names.point, &reference, share).await.unwrap();
    let all = check(Share::ALL).await;
    assert_eq!((all.chunks_read, all.streams), (all.chunks, 1));
    let mut read = 0;
    for n in 1..=7 {
        let report = check(Share::new(n, 7).unwrap()).await;
        assert_eq!((report.chunks, report.streams, report.rows), (all.chunks, 1, 60), "counts and digests are always added up");
        assert!(report.chunks_read < all.chunks_read);
        read += report.chunks_read;
    }
    assert_eq!(read, all.chunks_read);

    // Damage is found by the share that has the chunk, and by no other.
    let pack = &world.stored("/packs/")[0];
    let mut bytes = world.store.objects()[pack].to_vec();
    bytes[1_000] ^= 1;
    world.store.overwrite(pack, bytes);
    let mut found = 0;
    for n in 1..=7 {
        found += check(Share::new(n, 7).unwrap()).await.findings.len();
    }
    assert_eq!(found, 1);
}

#[test]
fn a_share_is_one_of_several() {
    assert_eq!("1/1".parse(), Ok(Share::ALL));
    assert_eq!("3/7".parse::<Share>().unwrap().to_string(), "3/7");
    for text in ["0/7", "8/7", "1/0", "1", "a/b", "/", "1/7/2", "-1/7"] {
        assert!(text.parse::<Share>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_monstrous_object_in_place_of_a_small_one_is_refused() {
    let names = names(1, 2, 3);
    for (part, bytes) in [("/keys/run_", caps::KEY_RECORD_BYTES_MAX + 1), ("/chain/", caps::LINK_BYTES_MAX + 1)] {
        let world = World::new();
        let reference = world.back_up(names).await.unwrap().point;
        world.store.overwrite(&world.stored(part)[0], vec![b' '; bytes]);
        let error = world.open(names, &reference).await.err().unwrap().to_string();
        assert!(error.contains("it has the wrong size"), "{error}");
    }
}

#[tokio::test]
async fn a_document_is_refused_whole_when_a_piece_of_it_is_damaged() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let writer = world.begin(names).await;
    writer.blob("archive", &crate::world::noise(3 << 20, 9)).await.unwrap();
    let reference = finish(writer).await.point;
    let pack = &world.stored("/packs/")[0];
    let mut bytes = world.store.objects()[pack].to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    world.store.overwrite(pack, bytes);
    let reader = world.open(names, &reference).await.unwrap();
    assert_eq!(code(reader.blob("archive").await), ErrorCode::NotAuthentic);
    assert!(read(&reader, "archive").await.is_err());
}
