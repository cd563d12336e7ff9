//! Where streams are cut, and how few cuts move when rows change.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::keys::SecretKey;

fn secret(byte: u8) -> TenantSecret {
    TenantSecret::new(&SecretKey::from_slice(&[byte; 32]).unwrap())
}

/// Cuts `input`, handed over in pieces of about `step` bytes that end at line ends.
fn cut(input: &[u8], key_columns: &[usize], step: usize) -> Vec<Cut> {
    let mut chunker = Chunker::new(&secret(1), key_columns.to_vec());
    let (mut cuts, mut left) = (Vec::new(), input);
    while !left.is_empty() {
        let end = left.len().min(step);
        let end = memchr(b'\n', &left[end - 1..]).map_or(left.len(), |more| end + more);
        let mut piece;
        (piece, left) = left.split_at(end);
        while let Some(cut) = chunker.take(&mut piece).unwrap() {
            cuts.push(cut);
        }
    }
    cuts.extend(chunker.finish());
    cuts
}

fn row(key: usize, version: usize, width: usize) -> String {
    let mut row = format!("{key}\tvalue {version} of {key} ");
    while row.len() + 1 < width {
        row.push(char::from(b'a' + (row.len() * 7 + key) as u8 % 26));
    }
    row.push('\n');
    row
}

fn table(rows: usize, width: usize) -> Vec<String> {
    (0..rows).map(|key| row(key, 0, width)).collect()
}

fn chunks_of(rows: &[String]) -> Vec<Vec<u8>> {
    cut(rows.concat().as_bytes(), &[0], 100_000).into_iter().map(|cut| cut.plaintext).collect()
}

/// How many chunks of `new` a backup that has those of `old` would have to store.
fn fresh(old: &HashSet<Vec<u8>>, new: &[String]) -> usize {
    chunks_of(new).into_iter().filter(|chunk| !old.contains(chunk)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_chunks_are_the_rows_however_they_arrive(
        lines in proptest::collection::vec(proptest::collection::vec(any::<u8>().prop_filter("a line", |byte| *byte != b'\n'), 0..9_000), 0..60),
        step in 1_usize..100_000,
    ) {
        let input: Vec<u8> = lines.iter().flat_map(|line| line.iter().copied().chain([b'\n'])).collect();
        let cuts = cut(&input, &[], step);
        prop_assert_eq!(cuts.iter().map(|cut| cut.rows as usize).sum::<usize>(), lines.len());
        prop_assert!(cuts.iter().all(|cut| !cut.continues));
        prop_assert_eq!(&cut(&input, &[], usize::MAX), &cuts);
        prop_assert_eq!(cuts.into_iter().flat_map(|cut| cut.plaintext).collect::<Vec<_>>(), input);
    }
}

#[test]
fn chunks_keep_to_their_sizes_whatever_the_rows_width() {
    for (rows, width) in [(300_000, 24), (60_000, 130), (6_000, 1_500), (400, 20_000), (40, 300_000)] {
        let chunks = chunks_of(&table(rows, width));
        let (last, full) = chunks.split_last().unwrap();
        assert!(full.iter().all(|chunk| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(&chunk.len())), "width {width}");
        assert!(last.len() <= CHUNK_BYTES_MAX);
        let mean = rows * width / chunks.len();
        assert!((CHUNK_BYTES_TARGET / 2..CHUNK_BYTES_TARGET * 2).contains(&mean), "width {width}: mean {mean}");
    }
}

#[test]
fn an_update_changes_one_chunk_and_an_insert_or_delete_at_most_two() {
    let rows = table(40_000, 130);
    let old: HashSet<_> = chunks_of(&rows).into_iter().collect();
    assert!(old.len() > 15);
    for at in (0..rows.len()).step_by(3_331) {
        let mut updated = rows.clone();
        updated[at] = row(at, 1, 130);
        assert_eq!(fresh(&old, &updated), 1, "update of row {at}");
        updated[at] = row(at, 1, 160);
        assert!(fresh(&old, &updated) <= 2, "row {at} grew");

        let mut inserted = rows.clone();
        inserted.insert(at, row(1_000_000 + at, 0, 130));
        assert!(fresh(&old, &inserted) <= 2, "insert before row {at}");

        let mut deleted = rows.clone();
        deleted.remove(at);
        assert!(fresh(&old, &deleted) <= 2, "delete of row {at}");
    }
}

#[test]
fn another_tenants_chunks_end_elsewhere() {
    let rows = table(40_000, 130).concat();
    let mut theirs = Chunker::new(&secret(2), vec![0]);
    let first = theirs.take(&mut rows.as_bytes()).unwrap().unwrap();
    assert_ne!(first, cut(rows.as_bytes(), &[0], 100_000)[0]);
}

#[test]
fn a_row_longer_than_a_chunk_has_chunks_of_its_own() {
    let long = vec![b'x'; 2 * CHUNK_BYTES_MAX + 10];
    let input = [b"before\n", long.as_slice(), b"\nafter\n"].concat();
    let cuts = cut(&input, &[], usize::MAX);
    let shape: Vec<_> = cuts.iter().map(|cut| (cut.plaintext.len(), cut.rows, cut.continues)).collect();
    assert_eq!(shape, [(7, 1, false), (CHUNK_BYTES_MAX, 0, true), (CHUNK_BYTES_MAX, 0, true), (11, 1, false), (6, 1, false)]);
    assert_eq!(cuts.into_iter().flat_map(|cut| cut.plaintext).collect::<Vec<_>>(), input);
}

#[test]
fn rows_of_exactly_a_chunk_are_not_split() {
    for (bytes, pieces) in [(CHUNK_BYTES_MAX - 1, 1), (CHUNK_BYTES_MAX, 1), (CHUNK_BYTES_MAX + 1, 2), (2 * CHUNK_BYTES_MAX, 2)] {
        let mut line = vec![b'x'; bytes - 1];
        line.push(b'\n');
        let cuts = cut(&line, &[], usize::MAX);
        assert_eq!(cuts.len(), pieces, "{bytes} bytes");
        assert_eq!(cuts.iter().map(|cut| cut.rows).sum::<u32>(), 1);
    }
}

#[test]
fn no_rows_give_no_chunks_and_empty_rows_are_rows() {
    assert_eq!(cut(b"", &[], 1), []);
    assert_eq!(cut(b"\n\n\n", &[], usize::MAX), [Cut { plaintext: b"\n\n\n".to_vec(), rows: 3, continues: false }]);
}

#[test]
fn a_row_without_its_key_field_is_refused() {
    let line = [vec![b'x'; CHUNK_BYTES_MIN], b"\n".to_vec()].concat();
    assert_eq!(Chunker::new(&secret(1), vec![1]).take(&mut line.as_slice()), Err(KeyFieldMissing));
}
