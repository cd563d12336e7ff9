//! Counting how live rows meet recorded ones.
//!
//! Rows are told apart by 16-byte hashes of their key and of the whole row, so a table's memory is 32 bytes a row and change.

use std::collections::HashMap;

use domain::request::TableEffect;

type Hash = [u8; 16];

fn hash(bytes: &[u8]) -> Hash {
    let mut hash = Hash::default();
    blake3::Hasher::new().update(bytes).finalize_xof().fill(&mut hash);
    hash
}

/// The recorded rows of a table, and how the live ones met them.
pub(crate) struct Tally {
    key_columns: Vec<usize>,
    /// By key: the row. For tables without one, by row: how many.
    keyed: HashMap<Hash, Hash>,
    counted: HashMap<Hash, u64>,
    overwritten: u64,
    destroyed: u64,
    unchanged: u64,
}

impl Tally {
    pub(crate) fn new(header: &vault::StreamHeader) -> Self {
        Self {
            key_columns: header.key_columns.clone(),
            keyed: HashMap::new(),
            counted: HashMap::new(),
            overwritten: 0,
            destroyed: 0,
            unchanged: 0,
        }
    }

    /// The hash of a line's key fields. A tab never stands inside a field of `COPY` text.
    fn key(&self, line: &[u8]) -> Hash {
        let fields: Vec<_> = line.split(|byte| *byte == b'\t').collect();
        let key: Vec<_> = self.key_columns.iter().map(|index| fields.get(*index).copied().unwrap_or_default()).collect();
        hash(&key.join(&b'\t'))
    }

    pub(crate) fn record_all(&mut self, lines: &[u8]) {
        for line in whole_lines(lines) {
            if self.key_columns.is_empty() {
                *self.counted.entry(hash(line)).or_default() += 1;
            } else {
                self.keyed.insert(self.key(line), hash(line));
            }
        }
    }

    pub(crate) fn meet_all(&mut self, lines: &[u8]) {
        for line in whole_lines(lines) {
            if self.key_columns.is_empty() {
                match self.counted.get_mut(&hash(line)) {
                    Some(count) if *count > 0 => {
                        *count -= 1;
                        self.unchanged += 1;
                    }
                    _ => self.destroyed += 1,
                }
            } else {
                match self.keyed.remove(&self.key(line)) {
                    Some(recorded) if recorded == hash(line) => self.unchanged += 1,
                    Some(_) => self.overwritten += 1,
                    None => self.destroyed += 1,
                }
            }
        }
    }

    pub(crate) fn into_effect(self, table: &str) -> TableEffect {
        let returned = self.keyed.len() as u64 + self.counted.values().sum::<u64>();
        let Self { overwritten, destroyed, unchanged, .. } = self;
        TableEffect { table: table.to_owned(), returned, overwritten, destroyed, unchanged }
    }
}

fn whole_lines(lines: &[u8]) -> impl Iterator<Item = &[u8]> {
    lines.strip_suffix(b"\n").unwrap_or(lines).split(|byte| *byte == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(key_columns: &[usize], recorded: &str, live: &str, expected: [u64; 4]) {
        let header = vault::StreamHeader {
            name: "t".into(),
            digest_name: "t".into(),
            columns: Vec::new(),
            key_columns: key_columns.to_vec(),
        };
        let mut rows = Tally::new(&header);
        rows.record_all(recorded.as_bytes());
        rows.meet_all(live.as_bytes());
        let found = rows.into_effect("t");
        assert_eq!(
            [found.returned, found.overwritten, found.destroyed, found.unchanged],
            expected,
            "{recorded:?} against {live:?}"
        );
    }

    #[test]
    fn rows_with_a_key_are_told_apart_by_it() {
        check(&[0], "1\ta\n2\tb\n3\tc\n", "2\tb\n3\tx\n4\td\n", [1, 1, 1, 1]);
        check(&[1, 0], "1\ta\tx\n", "1\ta\ty\n", [0, 1, 0, 0]);
    }

    #[test]
    fn rows_without_a_key_are_counted_as_a_multiset() {
        check(&[], "a\na\nb\n", "a\nb\nb\n", [1, 0, 1, 2]);
    }
}
