//! Cuts a stream of rows into chunks at places that stay put when other rows change.
//!
//! A chunk ends after a row whose key hashes to a boundary, so where a chunk ends depends on that row's key alone and not on
//! what came before: an update changes one chunk, an insert or delete at most two. The hash is keyed, or chunk sizes would
//! tell an observer which keys a tenant has.
//!
//! One row in M is a boundary, and M follows the row's own width (in powers of two), so that narrow and wide tables both
//! come near the target size without any state carried from one backup to the next.

use memchr::memchr;

use crate::{
    caps::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, CHUNK_BYTES_TARGET},
    derive::put_part,
    tenant_secret::TenantSecret,
};

/// A chunk's plaintext, cut but not yet sealed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) plaintext: Vec<u8>,
    /// Rows that end in this chunk.
    pub(crate) rows: u32,
    /// Whether the last row goes on in the next chunk.
    pub(crate) continues: bool,
}

/// Cuts one stream.
pub(crate) struct Chunker {
    secret: TenantSecret,
    key_columns: Vec<usize>,
    buffer: Vec<u8>,
    rows: u32,
    /// What is still to come of a row longer than a chunk.
    long_row_left: usize,
    key_buffer: Vec<u8>,
}

/// A row that has no field where the header says its key is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct KeyFieldMissing;

impl Chunker {
    pub(crate) fn new(secret: &TenantSecret, key_columns: Vec<usize>) -> Self {
        Self { secret: secret.clone(), key_columns, buffer: Vec::new(), rows: 0, long_row_left: 0, key_buffer: Vec::new() }
    }

    /// Takes lines from the front of `input` until a chunk is full or `input` is used up. `input` holds whole lines.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Cut>, KeyFieldMissing> {
        loop {
            if self.long_row_left > 0 {
                return Ok(Some(self.take_long_row(input)));
            }
            let Some(end) = memchr(b'\n', input) else { return Ok(None) };
            let line_bytes = end + 1;
            if !self.buffer.is_empty() && self.buffer.len() + line_bytes > CHUNK_BYTES_MAX {
                return Ok(Some(self.cut()));
            }
            if line_bytes > CHUNK_BYTES_MAX {
                self.long_row_left = line_bytes;
                continue;
            }
            let (line, rest) = input.split_at(line_bytes);
            self.buffer.extend_from_slice(line);
            self.rows += 1;
            *input = rest;
            if self.buffer.len() >= CHUNK_BYTES_MIN && self.is_boundary(&line[..end])? {
                return Ok(Some(self.cut()));
            }
        }
    }

    /// What is left at the end of the stream.
    pub(crate) fn finish(mut self) -> Option<Cut> {
        assert_eq!(self.long_row_left, 0, "input holds whole lines");
        (!self.buffer.is_empty()).then(|| self.cut())
    }

    fn cut(&mut self) -> Cut {
        Cut { plaintext: std::mem::take(&mut self.buffer), rows: std::mem::take(&mut self.rows), continues: false }
    }

    /// The next piece of a row longer than a chunk: such a row has chunks of its own.
    fn take_long_row(&mut self, input: &mut &[u8]) -> Cut {
        let (piece, rest) = input.split_at(self.long_row_left.min(CHUNK_BYTES_MAX));
        *input = rest;
        self.long_row_left -= piece.len();
        let continues = self.long_row_left > 0;
        Cut { plaintext: piece.to_vec(), rows: u32::from(!continues), continues }
    }

    fn is_boundary(&mut self, line: &[u8]) -> Result<bool, KeyFieldMissing> {
        let hash = if self.key_columns.is_empty() {
            blake3::keyed_hash(self.secret.boundary_key(), line)
        } else {
            collect_key(line, &self.key_columns, &mut self.key_buffer)?;
            blake3::keyed_hash(self.secret.boundary_key(), &self.key_buffer)
        };
        let (low, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
        Ok(u64::from_le_bytes(*low) & (one_in(line.len() + 1) - 1) == 0)
    }
}

/// One row in how many ends a chunk, for rows of this width: a power of two, so the boundaries of wider rows include those of narrower.
fn one_in(line_bytes: usize) -> u64 {
    let rows = (CHUNK_BYTES_TARGET / line_bytes).max(1);
    1 << rows.ilog2()
}

/// Collects the key's fields of a `COPY` line, each after its length. A tab inside a field is escaped, so a tab ends a field.
fn collect_key(line: &[u8], key_columns: &[usize], out: &mut Vec<u8>) -> Result<(), KeyFieldMissing> {
    out.clear();
    for index in key_columns {
        let field = line.split(|byte| *byte == b'\t').nth(*index).ok_or(KeyFieldMissing)?;
        put_part(out, field);
    }
    Ok(())
}

#[cfg(test)]
#[path = "chunker_tests.rs"]
mod tests;
