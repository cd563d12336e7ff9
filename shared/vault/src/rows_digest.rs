//! The digest of a stream's rows: order-independent, keyed, and blind to nothing.
//!
//! Each row's 512-bit keyed hash is added modulo 2^512. A sum, not XOR, because under XOR two equal rows would cancel
//! out and a duplicated pair would go unseen.

use std::{fmt, str::FromStr};

use memchr::memchr_iter;
use serde::{Deserialize, Serialize};

use crate::keys::SecretKey;

/// The sum of a stream's row hashes, least significant byte first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RowsDigest([u8; 64]);

impl RowsDigest {
    /// The digest of no rows.
    pub const ZERO: Self = Self([0; 64]);

    pub(crate) fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    /// The digest of these rows and those of `other` together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut limbs = [0; 8];
        add(&mut limbs, &self.0);
        add(&mut limbs, &other.0);
        Self::of_limbs(limbs)
    }

    fn of_limbs(limbs: [u64; 8]) -> Self {
        let mut bytes = [0; 64];
        for (bytes, limb) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(limbs) {
            *bytes = limb.to_le_bytes();
        }
        Self(bytes)
    }
}

impl Default for RowsDigest {
    fn default() -> Self {
        Self::ZERO
    }
}

/// Adds a number in little-endian bytes, modulo 2^512.
fn add(limbs: &mut [u64; 8], number: &[u8; 64]) {
    let mut carry = false;
    for (limb, bytes) in limbs.iter_mut().zip(number.as_chunks::<8>().0) {
        let (sum, over) = limb.overflowing_add(u64::from_le_bytes(*bytes));
        let (sum, over_again) = sum.overflowing_add(u64::from(carry));
        (*limb, carry) = (sum, over || over_again);
    }
}

impl fmt::Display for RowsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for RowsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowsDigest({self})")
    }
}

impl FromStr for RowsDigest {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 64];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if hex::encode(bytes) == text => Ok(Self(bytes)),
            _ => Err("not a rows digest: expected 128 lower-case hexadecimal digits".to_owned()),
        }
    }
}

impl TryFrom<String> for RowsDigest {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<RowsDigest> for String {
    fn from(digest: RowsDigest) -> Self {
        digest.to_string()
    }
}

/// Adds rows up. Sums of parts can themselves be added, so the work can be split over cores.
pub(crate) struct RowsHasher {
    keyed: blake3::Hasher,
    limbs: [u64; 8],
    rows: u64,
}

impl RowsHasher {
    /// A hasher under a stream's row key.
    pub(crate) fn under(row_key: &SecretKey) -> Self {
        Self { keyed: blake3::Hasher::new_keyed(row_key.expose()), limbs: [0; 8], rows: 0 }
    }

    /// Takes bytes of rows; a row ends at its newline, wherever the pieces end.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let mut start = 0;
        for end in memchr_iter(b'\n', bytes) {
            self.keyed.update(&bytes[start..end]);
            self.add_row();
            start = end + 1;
        }
        self.keyed.update(&bytes[start..]);
    }

    fn add_row(&mut self) {
        let mut hash = [0; 64];
        self.keyed.finalize_xof().fill(&mut hash);
        self.keyed.reset();
        self.rows += 1;
        add(&mut self.limbs, &hash);
    }

    /// The rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// The digest of the rows so far.
    pub(crate) fn digest(&self) -> RowsDigest {
        RowsDigest::of_limbs(self.limbs)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{stream::StreamHeader, tenant_secret::TenantSecret};

    fn header(digest_name: &str, columns: &[&str]) -> StreamHeader {
        StreamHeader {
            name: format!("app.{digest_name}"),
            digest_name: digest_name.to_owned(),
            columns: columns.iter().map(|column| (*column).to_owned()).collect(),
            key_columns: Vec::new(),
        }
    }

    fn hasher(secret: u8, header: &StreamHeader) -> RowsHasher {
        RowsHasher::under(&TenantSecret::new(&SecretKey::from_slice(&[secret; 32]).unwrap()).rows_key(header))
    }

    fn digest_under(secret: u8, header: &StreamHeader, rows: &[impl AsRef<[u8]>]) -> RowsDigest {
        let mut hasher = hasher(secret, header);
        for row in rows {
            hasher.update(row.as_ref());
            hasher.update(b"\n");
        }
        assert_eq!(hasher.rows(), rows.len() as u64);
        hasher.digest()
    }

    fn digest(rows: &[impl AsRef<[u8]>]) -> RowsDigest {
        digest_under(1, &header("people", &["id", "name"]), rows)
    }

    fn rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
        let byte = any::<u8>().prop_map(|byte| if byte == b'\n' { b' ' } else { byte });
        proptest::collection::vec(proptest::collection::vec(byte, 0..80), 1..20)
    }

    proptest! {
        #[test]
        fn equal_rows_in_any_order_and_any_pieces_give_equal_digests(rows in rows(), turn in 0_usize..20, step in 1_usize..50) {
            let mut turned = rows.clone();
            turned.rotate_left(turn % rows.len());
            prop_assert_eq!(digest(&rows), digest(&turned));
            turned.reverse();
            prop_assert_eq!(digest(&rows), digest(&turned));

            let text: Vec<u8> = rows.iter().flat_map(|row| row.iter().copied().chain([b'\n'])).collect();
            let mut hasher = hasher(1, &header("people", &["id", "name"]));
            text.chunks(step).for_each(|piece| hasher.update(piece));
            prop_assert_eq!(hasher.digest(), digest(&rows));
        }

        #[test]
        fn one_changed_byte_changes_the_digest(rows in rows(), row in 0_usize..20, at in 0_usize..80) {
            let mut changed = rows.clone();
            let row = row % rows.len();
            if rows[row].is_empty() {
                changed[row].push(b'x');
            } else {
                let at = at % rows[row].len();
                changed[row][at] = if changed[row][at] == b'x' { b'y' } else { b'x' };
            }
            prop_assert_ne!(digest(&rows), digest(&changed));
        }

        #[test]
        fn digests_of_parts_add_up_to_the_digest_of_the_whole(rows in rows(), at in 0_usize..20) {
            let (left, right) = rows.split_at(at % rows.len());
            prop_assert_eq!(digest(left).plus(&digest(right)), digest(&rows));
            prop_assert_eq!(digest(right).plus(&digest(left)), digest(&rows));
        }

        #[test]
        fn a_digest_survives_printing_and_parsing(rows in rows()) {
            prop_assert_eq!(digest(&rows).to_string().parse(), Ok(digest(&rows)));
        }
    }

    #[test]
    fn a_duplicated_pair_of_rows_does_not_cancel_out() {
        assert_ne!(digest(&["a", "b", "b"]), digest(&["a"]));
        assert_ne!(digest(&["a", "b", "b"]), digest(&["a", "c", "c"]));
        assert_ne!(digest(&["a", "a"]), digest(&[""; 0]));
    }

    #[test]
    fn rows_cannot_trade_bytes_across_their_ends() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_ne!(digest(&["a", ""]), digest(&["a"]));
    }

    #[test]
    fn the_table_its_columns_and_the_tenant_are_part_of_it_and_the_schema_is_not() {
        let home = header("people", &["id", "name"]);
        let staged = StreamHeader { name: "hf_stage_1.people".to_owned(), ..home.clone() };
        let ours = digest_under(1, &home, &["1\tada"]);
        assert_eq!(ours, digest_under(1, &staged, &["1\tada"]));
        assert_ne!(ours, digest_under(1, &header("pets", &["id", "name"]), &["1\tada"]));
        assert_ne!(ours, digest_under(1, &header("people", &["name", "id"]), &["1\tada"]));
        assert_ne!(ours, digest_under(1, &header("people", &["idname"]), &["1\tada"]));
        assert_ne!(ours, digest_under(2, &home, &["1\tada"]));
    }

    #[test]
    fn sums_carry_through_every_limb_and_wrap_at_the_end() {
        let (ones, mut one) = (RowsDigest([0xff; 64]), RowsDigest::ZERO);
        one.0[0] = 1;
        assert_eq!(ones.plus(&one), RowsDigest::ZERO);
        let mut expected = RowsDigest([0xff; 64]);
        expected.0[0] = 0xfe;
        assert_eq!(ones.plus(&ones), expected);
    }

    #[test]
    fn no_rows_have_the_digest_zero() {
        assert_eq!(digest(&[""; 0]).to_string(), "0".repeat(128));
    }
}
