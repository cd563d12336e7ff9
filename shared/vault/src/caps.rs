//! Every limit of the vault in one place, each with its reason.

/// Plaintext of one sealed chunk. One authenticated unit, so it bounds what a reader holds before it may trust a byte.
pub const CHUNK_BYTES_MAX: usize = 4 << 20;
/// A chunk does not end before it holds this much, so that small keys cannot shred a table into tiny objects.
pub const CHUNK_BYTES_MIN: usize = 64 << 10;
/// The chunk size aimed at: one changed row costs about this much in the next backup.
pub const CHUNK_BYTES_TARGET: usize = 256 << 10;
/// Documents (archives, metadata) are cut into pieces of this size; they have no keys to cut at.
pub const BLOB_PIECE_BYTES: usize = 1 << 20;
/// The largest document. It is read back whole, so it must fit a function's memory.
pub const BLOB_BYTES_MAX: usize = 64 << 20;
/// A pack is closed and uploaded once it holds this much: few requests, yet two in flight fit a small function.
pub const PACK_BYTES_TARGET: usize = 16 << 20;
/// Packs uploaded at once; the writer waits beyond it. Peak memory is this many packs and the one being filled.
pub const UPLOADS_IN_FLIGHT_MAX: usize = 2;
/// Adjacent chunks fetched by one request.
pub const READ_WINDOW_BYTES: u64 = 4 << 20;
/// Plaintext of a manifest, in this version. Longer chunk lists will move to objects of their own.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Chunks of one recovery point: their references must fit the manifest. About 85 GiB of rows.
pub const CHUNKS_PER_POINT_MAX: usize = 350_000;
/// Streams and documents of one recovery point, each with a header in the manifest.
pub const ENTRIES_PER_POINT_MAX: usize = 50_000;
/// A stream's, document's or column's name, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Columns of a stream; PostgreSQL itself stops at 1,600.
pub const COLUMNS_MAX: usize = 2_000;
/// A key record object. KMS gives at most 6,144 bytes for a wrapped key.
pub const KEY_RECORD_BYTES_MAX: usize = 16 << 10;
/// Findings a check lists; the rest are counted.
pub const FINDINGS_MAX: usize = 1_000;
