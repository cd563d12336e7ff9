//! However rows reach a digest, afresh, beside a parent or against a recovery point, it is the same.

use proptest::prelude::*;
use vault::{Digester, StreamSummary, caps};

use crate::world::{World, finish, header, names, noise, read, table, write};

/// Writes `old`, then `new` with that as its parent, and compares every way to digest `new`.
async fn every_way_gives_one_digest(old: &[u8], new: &[u8]) {
    let world = World::new();
    let (monday, tuesday) = (names(1, 2, 3), names(1, 12, 13));
    let first = world.back_up_rows(monday, None, header("people"), old).await;
    let writer = world.vault.begin(tuesday.tenant, tuesday.point, tuesday.run, Some(&monday.parent(&first.point))).await.unwrap();
    let incremental = write(&writer, header("people"), new).await.unwrap();
    let second = finish(writer).await;
    assert!(world.read(tuesday, &second.point, "app.people").await.unwrap() == new);
    assert_eq!(world.findings(tuesday, &second.point).await, [""; 0]);

    let digest = async |digester: Digester| -> StreamSummary { write(&digester, header("people"), new).await.unwrap() };
    let reader = world.open(tuesday, &second.point).await.unwrap();
    let afresh = digest(Digester::new(reader.tenant_secret())).await;
    assert_eq!(incremental, afresh, "beside a parent");
    assert_eq!(digest(Digester::against(&reader).await.unwrap()).await, afresh, "against itself");
    let earlier = world.open(monday, &first.point).await.unwrap();
    assert_eq!(digest(Digester::against(&earlier).await.unwrap()).await, afresh, "against an earlier one");
    assert_eq!(reader.manifest().streams[0].digest, afresh.digest, "as the manifest says");
}

/// What happens to a table between two backups.
#[derive(Debug, Clone)]
enum Edit {
    Update(usize),
    Insert(usize),
    Delete(usize),
    /// A row longer than a chunk, its content drawn from few, so that its pieces meet each other.
    InsertLong(usize, u64),
    /// A short row between two long ones, in a chunk of its own, whose bytes are those of a long row's end.
    InsertShort(usize, u64),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>().prop_map(|index| index.index(4_000));
    prop_oneof![
        3 => at.clone().prop_map(Edit::Update),
        3 => at.clone().prop_map(Edit::Insert),
        3 => at.clone().prop_map(Edit::Delete),
        1 => (at.clone(), 0..2_u64).prop_map(|(at, tail)| Edit::InsertLong(at, tail)),
        1 => (at, 0..2_u64).prop_map(|(at, tail)| Edit::InsertShort(at, tail)),
    ]
}

fn apply(rows: &mut Vec<Vec<u8>>, edit: &Edit, version: u64) {
    match *edit {
        Edit::Update(at) => rows[at] = table(at as u64..at as u64 + 1, 300, version),
        Edit::Insert(at) => rows.insert(at, table(at as u64..at as u64 + 1, 300, version)),
        Edit::Delete(at) => drop(rows.remove(at)),
        Edit::InsertLong(at, tail) => rows.insert(at, long_row(tail)),
        Edit::InsertShort(at, tail) => {
            rows.splice(at..at, [long_row(9), format!("{tail}\tx\n").into_bytes(), long_row(9)]);
        }
    }
}

/// A row whose first piece fills a chunk, and whose second is `<tail>\tx` and its newline.
fn long_row(tail: u64) -> Vec<u8> {
    [noise(caps::CHUNK_BYTES_MAX, 1), format!("{tail}\tx\n").into_bytes()].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn edits_never_make_a_reused_digest_wrong(
        before in proptest::collection::vec(edit(), 0..6),
        after in proptest::collection::vec(edit(), 0..12),
    ) {
        let mut rows: Vec<_> = (0..4_050).map(|key| table(key..key + 1, 300, 0)).collect();
        before.iter().for_each(|edit| apply(&mut rows, edit, 1));
        let old = rows.concat();
        after.iter().for_each(|edit| apply(&mut rows, edit, 2));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(every_way_gives_one_digest(&old, &rows.concat()));
    }
}

#[tokio::test]
async fn the_tail_of_a_long_row_is_not_taken_for_a_row_of_its_own() {
    // The long row's last piece is `7\tx`, and its entry has the whole row's hash; the short row `7\tx` is a chunk of the same id.
    let long = long_row(7);
    every_way_gives_one_digest(&long, b"7\tx\n").await;
    every_way_gives_one_digest(b"7\tx\n", &long).await;
    every_way_gives_one_digest(&[&long[..], b"7\tx\n"].concat(), &[b"7\tx\n", &long[..]].concat()).await;
}

#[tokio::test]
async fn rows_in_any_order_and_slicing_have_one_digest() {
    let (world, names) = (World::new(), names(1, 2, 3));
    let rows: Vec<_> = (0..2_000).map(|key| table(key..key + 1, 300, 0)).collect();
    let written = world.back_up_rows(names, None, header("people"), &rows.concat()).await;
    let reader = world.open(names, &written.point).await.unwrap();
    let mut turned = rows.clone();
    turned.rotate_left(777);
    turned.reverse();
    let digester = Digester::against(&reader).await.unwrap();
    let digested = write(&digester, header("people"), &turned.concat()).await.unwrap();
    assert_eq!(digested.digest, reader.manifest().streams[0].digest);
    assert_eq!(read(&reader, "app.people").await.unwrap(), rows.concat());
}
