//! Cuts a stream of rows into chunks at places that stay put when other rows change.
//!
//! A chunk ends after a row whose key hashes to a boundary, so where a chunk ends depends on that row's key alone and not on
//! what came before: an update changes one chunk, an insert or delete at most two. The hash is keyed, or chunk sizes would
//! tell an observer which keys a tenant has.
//!
//! One row in M is a boundary, and M follows the row's own width (in powers of two), so that narrow and wide tables both
//! come near the target size without any state carried from one backup to the next.

use memchr::memchr;
use siphasher::sip::SipHasher24;

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
    boundary: SipHasher24,
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
        let boundary = SipHasher24::new_with_key(secret.boundary_key());
        Self { boundary, key_columns, buffer: Vec::new(), rows: 0, long_row_left: 0, key_buffer: Vec::new() }
    }

    /// Takes lines from the front of `input` until a chunk is full or `input` is used up. `input` holds whole lines.
    pub(crate) fn take(&mut self, input: &mut &[u8]) -> Result<Option<Cut>, KeyFieldMissing> {
        if self.long_row_left > 0 {
            return Ok(Some(self.take_long_row(input)));
        }
        let mut end = 0;
        while let Some(newline) = memchr(b'\n', &input[end..]) {
            let line = &input[end..=end + newline];
            let held = self.buffer.len() + end;
            if held + line.len() > CHUNK_BYTES_MAX {
                if held > 0 {
                    self.absorb(input, end);
                    return Ok(Some(self.cut()));
                }
                self.long_row_left = line.len();
                return Ok(Some(self.take_long_row(input)));
            }
            let is_boundary = held + line.len() >= CHUNK_BYTES_MIN && self.is_boundary(&line[..newline])?;
            end += line.len();
            self.rows += 1;
            if is_boundary {
                self.absorb(input, end);
                return Ok(Some(self.cut()));
            }
        }
        self.absorb(input, end);
        Ok(None)
    }

    /// Moves the first bytes of `input` into the chunk.
    fn absorb(&mut self, input: &mut &[u8], bytes: usize) {
        let (taken, rest) = input.split_at(bytes);
        if self.buffer.capacity() == 0 {
            self.buffer.reserve(CHUNK_BYTES_TARGET * 2);
        }
        self.buffer.extend_from_slice(taken);
        *input = rest;
    }

    /// What is left at the end of the stream.
    pub(crate) fn finish(&mut self) -> Option<Cut> {
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
            self.boundary.hash(line)
        } else {
            collect_key(line, &self.key_columns, &mut self.key_buffer)?;
            self.boundary.hash(&self.key_buffer)
        };
        Ok(hash & (one_in(line.len() + 1) - 1) == 0)
    }
}

/// One row in how many ends a chunk, for rows of this width: a power of two, so the boundaries of wider rows include those of narrower.
fn one_in(line_bytes: usize) -> u64 {
    let rows = (CHUNK_BYTES_TARGET / line_bytes).max(1);
    1 << rows.ilog2()
}

/// Collects the key's fields of a `COPY` line, each after its length.
fn collect_key(line: &[u8], key_columns: &[usize], out: &mut Vec<u8>) -> Result<(), KeyFieldMissing> {
    out.clear();
    for index in key_columns {
        put_part(out, field(line, *index).ok_or(KeyFieldMissing)?);
    }
    Ok(())
}

/// A field of a `COPY` line. A tab inside a field is escaped, so a tab ends a field.
fn field(line: &[u8], index: usize) -> Option<&[u8]> {
    let mut rest = line;
    for _ in 0..index {
        rest = &rest[memchr(b'\t', rest)? + 1..];
    }
    Some(&rest[..memchr(b'\t', rest).unwrap_or(rest.len())])
}

#[cfg(test)]
#[path = "chunker_tests.rs"]
mod tests;
