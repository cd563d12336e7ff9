//! A chunk's entry in a list: what it is and where it lies.

use crate::{caps, chunk::ChunkId, envelope, rows_digest::RowsDigest};

/// An entry as stored.
pub(crate) const ENTRY_BYTES: usize = 32 + 64 + 5 * 4 + 1;

/// Where a chunk is and what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkEntry {
    /// The keyed hash of its plaintext.
    pub id: ChunkId,
    /// The digest of the rows that end in it; zero in documents.
    pub digest: RowsDigest,
    /// Which of the link's packs holds it, counted from 0.
    pub pack: u32,
    /// Where the sealed chunk starts in the pack.
    pub offset: u32,
    /// The sealed chunk's size.
    pub length: u32,
    /// The plaintext's size.
    pub plaintext_bytes: u32,
    /// Rows that end in it; 0 in documents.
    pub rows: u32,
    /// Whether its last row goes on in the next chunk: a row longer than a chunk.
    pub continues: bool,
}

impl ChunkEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.digest.as_bytes());
        for number in [self.pack, self.offset, self.length, self.plaintext_bytes, self.rows] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.push(u8::from(self.continues));
    }

    /// Reads one entry; `None` if its flag or its sizes are none that a writer writes.
    pub(crate) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let (id, rest) = bytes.split_first_chunk::<32>()?;
        let (digest, rest) = rest.split_first_chunk::<64>()?;
        let (numbers, flag) = rest.as_chunks::<4>();
        let [pack, offset, length, plaintext_bytes, rows] =
            numbers.try_into().ok().map(|all: [[u8; 4]; 5]| all.map(u32::from_be_bytes))?;
        let continues = match flag {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let plaintext = plaintext_bytes as usize;
        let fits = (1..=caps::CHUNK_BYTES_MAX).contains(&plaintext) && length as usize <= envelope::sealed_bytes_max(plaintext);
        fits.then(|| Self {
            id: ChunkId::from_bytes(*id),
            digest: RowsDigest::from_bytes(*digest),
            pack,
            offset,
            length,
            plaintext_bytes,
            rows,
            continues,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = ChunkEntry> {
        let numbers = (any::<u32>(), any::<u32>(), 1..=300_u32, 1..=4_194_304_u32, any::<u32>(), any::<bool>());
        (any::<[u8; 32]>(), any::<[u8; 32]>(), numbers).prop_map(
            |(id, half, (pack, offset, length, plaintext_bytes, rows, continues))| {
                let digest = RowsDigest::from_bytes([half, half].concat().try_into().unwrap());
                ChunkEntry { id: ChunkId::from_bytes(id), digest, pack, offset, length, plaintext_bytes, rows, continues }
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_survives_encoding(entry in entry()) {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            prop_assert_eq!(ChunkEntry::decode(&bytes.try_into().unwrap()), Some(entry));
        }

        #[test]
        fn any_bytes_are_an_entry_in_one_spelling_or_none(bytes in any::<[u8; 32]>().prop_map(|part| [part; 4].concat()[..ENTRY_BYTES].to_vec())) {
            if let Some(entry) = ChunkEntry::decode(&bytes.clone().try_into().unwrap()) {
                let mut again = Vec::new();
                entry.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
