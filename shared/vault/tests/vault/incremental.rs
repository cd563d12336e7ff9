//! A backup stores what its parent lacks, is complete by itself, and trusts nothing of the parent that is lost or damaged.

use domain::{ErrorCode, verification::Shares};
use vault::{Parent, Seen, Written, caps};

use crate::world::{Names, World, back_up, code, finish, header, names, noise, read, table, write, write_sample};

const MONDAY: (u128, u128) = (2, 3);
const TUESDAY: (u128, u128) = (12, 13);

fn monday() -> Names {
    names(1, MONDAY.0, MONDAY.1)
}

fn tuesday() -> Names {
    names(1, TUESDAY.0, TUESDAY.1)
}

/// A world with a recovery point of `rows`.
async fn on_monday(rows: &[u8]) -> (World, Written, Parent) {
    let world = World::new();
    let written = world.back_up_rows(monday(), None, header("people"), rows).await;
    let parent = monday().parent(&written.point);
    (world, written, parent)
}

async fn is_complete(world: &World, names: Names, written: &Written, rows: &[u8]) {
    assert!(world.read(names, &written.point, "app.people").await.unwrap() == rows);
    assert_eq!(world.findings(names, &written.point).await, [""; 0]);
}

#[tokio::test]
async fn unchanged_rows_are_stored_once() {
    let rows = table(0..150_000, 200, 0);
    let (world, first, parent) = on_monday(&rows).await;
    let second = world.back_up_rows(tuesday(), Some(&parent), header("people"), &rows).await;
    assert_eq!((second.chunks_reused, second.chunks, second.packs), (first.chunks, first.chunks, first.packs));
    assert!(second.stored_bytes * 100 < first.stored_bytes, "{} of {}", second.stored_bytes, first.stored_bytes);
    is_complete(&world, tuesday(), &second, &rows).await;

    // A third that builds on the second needs nothing of the second's but its lists.
    let third = world.back_up_rows(names(1, 22, 23), Some(&tuesday().parent(&second.point)), header("people"), &rows).await;
    assert_eq!(third.chunks_reused, first.chunks);
    is_complete(&world, names(1, 22, 23), &third, &rows).await;
}

#[tokio::test]
async fn one_changed_percent_costs_at_most_three() {
    let rows =
        |version| [table(0..100_000, 300, 0), table(100_000..102_000, 300, version), table(102_000..200_000, 300, 0)].concat();
    let (world, first, parent) = on_monday(&rows(0)).await;
    let second = world.back_up_rows(tuesday(), Some(&parent), header("people"), &rows(1)).await;
    assert!(second.stored_bytes * 100 <= first.stored_bytes * 3, "{} of {}", second.stored_bytes, first.stored_bytes);
    is_complete(&world, tuesday(), &second, &rows(1)).await;
}

#[tokio::test]
async fn equal_rows_under_another_name_are_stored_once_and_digested_anew() {
    let rows = table(0..4_000, 300, 0);
    let (world, _, parent) = on_monday(&rows).await;
    let mut renamed = header("persons");
    renamed.columns[1] = "full_name".to_owned();
    let mut digests = Vec::new();
    for (run, parent) in [(13, Some(&parent)), (14, None)] {
        let names = names(1, 12, run);
        let writer = world.vault.begin(names.tenant, names.point, names.run, parent).await.unwrap();
        digests.push(write(&writer, renamed.clone(), &rows).await.unwrap().digest);
        let written = finish(writer).await;
        assert_eq!(written.chunks_reused, if parent.is_some() { written.chunks } else { 0 });
        assert_eq!(world.findings(names, &written.point).await, [""; 0]);
    }
    assert_eq!(digests[0], digests[1]);
}

#[tokio::test]
async fn documents_and_rows_that_do_not_fit_a_chunk_are_stored_once_too() {
    let world = World::new();
    let long = [b"1\t".as_slice(), &noise(2 * caps::CHUNK_BYTES_MAX, 5), b"\n2\tshort\n"].concat();
    let mut written = Vec::new();
    for (names, parent) in [(monday(), None), (tuesday(), Some(0))] {
        let parent = parent.map(|index: usize| monday().parent(&Written::clone(&written[index]).point));
        let writer = world.vault.begin(names.tenant, names.point, names.run, parent.as_ref()).await.unwrap();
        write(&writer, header("people"), &long).await.unwrap();
        writer.blob("archive", &noise(3 << 20, 7)).await.unwrap();
        written.push(finish(writer).await);
    }
    assert_eq!((written[1].chunks_reused, written[1].chunks), (written[0].chunks, 7));
    is_complete(&world, tuesday(), &written[1], &long).await;
    let reader = world.open(tuesday(), &written[1].point).await.unwrap();
    assert!(reader.blob("archive").await.unwrap() == noise(3 << 20, 7));
}

#[tokio::test]
async fn a_recovery_point_needs_nothing_of_its_parent_but_packs_and_keys() {
    let rows = table(0..4_000, 300, 0);
    let (world, _, parent) = on_monday(&rows).await;
    let second = world.back_up_rows(tuesday(), Some(&parent), header("people"), &rows).await;
    let others = [monday().point.to_string(), format!("lists/{}", monday().run), "chain/000000000001".to_owned()];
    for other in others {
        let [key] = &world.stored(&other)[..] else { panic!("one object of the first point") };
        world.store.remove(key);
    }
    is_complete(&world, tuesday(), &second, &rows).await;
}

#[tokio::test]
async fn a_lost_or_cut_pack_is_not_built_upon() {
    let rows = table(0..100_000, 400, 0);
    for cut in [false, true] {
        let (world, first, parent) = on_monday(&rows).await;
        assert!(first.packs > 1);
        let pack = &world.stored("/packs/")[0];
        let bytes = world.store.objects()[pack].clone();
        if cut {
            world.store.overwrite(pack, bytes.slice(1..));
        } else {
            world.store.remove(pack);
        }
        let second = world.back_up_rows(tuesday(), Some(&parent), header("people"), &rows).await;
        assert!(0 < second.chunks_reused && second.chunks_reused < second.chunks);
        is_complete(&world, tuesday(), &second, &rows).await;
    }
}

/// Damages one kind of object of a parent; a run that builds on it fails before it writes anything, and succeeds without it.
async fn damaged_parent_is_refused(part: &str, damage: impl Fn(&World, &str)) {
    let world = World::new();
    let parent = monday().parent(&world.back_up(monday()).await.unwrap().point);
    let [key] = &world.stored(part)[..] else { panic!("one object per kind") };
    damage(&world, key);
    let before = world.store.objects();
    assert_eq!(code(back_up(&world.vault, tuesday(), Some(&parent)).await), ErrorCode::NotAuthentic, "{part}");
    assert_eq!(world.store.objects(), before, "nothing was written");
    let written = back_up(&world.vault, tuesday(), None).await.unwrap();
    assert_eq!(world.findings(tuesday(), &written.point).await, [""; 0]);
}

#[tokio::test]
async fn a_damaged_parent_is_refused_and_the_same_run_succeeds_without_it() {
    for part in ["/chain/", "/lists/"] {
        damaged_parent_is_refused(part, |world, key| world.store.remove(key)).await;
        damaged_parent_is_refused(part, |world, key| world.store.overwrite(key, "")).await;
        damaged_parent_is_refused(part, |world, key| {
            let mut bytes = world.store.objects()[key].to_vec();
            bytes[40] ^= 1;
            world.store.overwrite(key, bytes);
        })
        .await;
    }
}

#[tokio::test]
async fn a_parent_other_than_the_one_meant_is_refused() {
    let world = World::new();
    let first = world.back_up(monday()).await.unwrap();
    let second = world.back_up(tuesday()).await.unwrap();
    let theirs = world.back_up(names(9, 2, 33)).await.unwrap();
    let refused = async |parent: Parent| code(back_up(&world.vault, names(1, 22, 23), Some(&parent)).await);
    assert_eq!(refused(monday().parent(&second.point)).await, ErrorCode::NotAuthentic);
    assert_eq!(refused(tuesday().parent(&first.point)).await, ErrorCode::NotAuthentic);
    assert_eq!(refused(monday().parent(&theirs.point)).await, ErrorCode::NotAuthentic);
    let mut forged = first.point.clone();
    forged.link_sha256 = "0".repeat(64);
    assert_eq!(refused(monday().parent(&forged)).await, ErrorCode::NotAuthentic);
}

#[tokio::test]
async fn what_a_run_reads_of_its_parent_needs_no_content_key() {
    let world = World::new();
    let parent = monday().parent(&world.back_up(monday()).await.unwrap().point);
    // The record of Monday's content key is gone: whoever writes on Tuesday never asks for it.
    let record = &world.stored("/keys/run_")[0];
    let bytes = world.store.objects()[record].clone();
    let calls = world.keys.calls();
    let writer = {
        world.store.overwrite(record, "");
        world.vault.begin(tuesday().tenant, tuesday().point, tuesday().run, Some(&parent)).await.unwrap()
    };
    write_sample(&writer).await.unwrap();
    let written = finish(writer).await;
    assert_eq!(world.keys.calls() - calls, 2, "the tenant's secret opened, a content key made");
    world.store.overwrite(record, bytes);
    assert_eq!(written.chunks_reused, 2);
    let reader = world.open(tuesday(), &written.point).await.unwrap();
    assert_eq!(read(&reader, "app.people").await.unwrap(), crate::world::PEOPLE);
}

#[tokio::test]
async fn a_round_reads_what_points_share_once_and_blames_every_point_that_needs_a_damaged_chunk() {
    let rows = table(0..8_000, 300, 0);
    let (world, first, parent) = on_monday(&rows).await;
    let second = world.back_up_rows(tuesday(), Some(&parent), header("people"), &rows).await;
    let round = async |shares: Shares| {
        let seen = Seen::default();
        let one = world.vault.check_shares(monday().tenant, monday().point, &first.point, shares, &seen).await.unwrap();
        let two = world.vault.check_shares(tuesday().tenant, tuesday().point, &second.point, shares, &seen).await.unwrap();
        (one, two)
    };
    let (one, two) = round(Shares::ALL).await;
    assert!(one.is_clean() && two.is_clean() && one.chunks > 5, "{one:?} {two:?}");
    assert_eq!((one.chunks_read, two.chunks, two.chunks_read), (one.chunks, one.chunks, 0));
    let mut read = 0;
    for share in Shares::ALL.singly() {
        read += round(share).await.0.chunks_read;
    }
    assert_eq!(read, one.chunks, "every chunk is in one share");

    let pack = &world.stored("/packs/")[0];
    let mut bytes = world.store.objects()[pack].to_vec();
    bytes[100] ^= 1;
    world.store.overwrite(pack, bytes);
    let (one, two) = round(Shares::ALL).await;
    assert_eq!((one.findings.len(), &one.findings), (1, &two.findings), "found once, and told of both");
    assert!(one.findings[0].to_string().contains(pack.as_str()), "{one:?}");
}
