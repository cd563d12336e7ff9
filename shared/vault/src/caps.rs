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
/// Packs or lists uploaded at once; the writer waits beyond it. Peak memory is this many packs and the one being filled.
pub const UPLOADS_IN_FLIGHT_MAX: usize = 2;
/// Chunks of one slice being hashed and sealed at once: enough to keep a small function's cores busy while rows arrive.
pub const CHUNKS_IN_WORK_MAX: usize = 4;
/// Adjacent chunks fetched by one request.
pub const READ_WINDOW_BYTES: u64 = 4 << 20;
/// Plaintext of those chunks: what compresses well must not fill the memory.
pub const READ_WINDOW_PLAINTEXT_BYTES: u64 = 16 << 20;
/// Windows that a slice's reader fetches and opens ahead, unless their plaintext reaches [`READ_AHEAD_PLAINTEXT_BYTES`].
pub const READ_WINDOWS_AHEAD_MAX: usize = 8;
/// Plaintext that a slice's reader holds ahead, if one window is not more already.
pub const READ_AHEAD_PLAINTEXT_BYTES: u64 = 24 << 20;
/// Plaintext of a chunk list: authenticated whole, so it bounds what a reader holds before it may trust a byte.
pub const LIST_BYTES_MAX: usize = 4 << 20;
/// A chunk list is closed before it would hold more: few requests, little memory.
pub const LIST_BYTES_TARGET: usize = 1 << 20;
/// Opened lists a reader keeps, so that many small tables in one list cost one request.
pub const LISTS_KEPT_MAX: usize = 4;
/// A link: 100 bytes per pack, so enough for some 150,000 packs.
pub const LINK_BYTES_MAX: usize = 16 << 20;
/// Objects at the chain's end, and before the newest place that was published, that a writer looks at for an authentic link.
pub const CHAIN_INTRUDERS_MAX: u64 = 64;
/// Plaintext of a manifest or progress.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;
/// Chunks of one recovery point, about 1.2 TB of rows: an incremental run holds some 150 to 300 bytes of memory for each.
pub const CHUNKS_PER_POINT_MAX: usize = 4_000_000;
/// Slices of a stream.
pub const SLICES_PER_STREAM_MAX: usize = 10_000;
/// Streams and documents of one recovery point, each with a header in the manifest.
pub const ENTRIES_PER_POINT_MAX: usize = 50_000;
/// A stream's, document's or column's name, in bytes.
pub const NAME_BYTES_MAX: usize = 1_024;
/// Columns of a stream; PostgreSQL itself stops at 1,600.
pub const COLUMNS_MAX: usize = 2_000;
/// A key record object. KMS gives at most 6,144 bytes for a wrapped key.
pub const KEY_RECORD_BYTES_MAX: usize = 16 << 10;
/// Calls that are under way at once where many objects are looked at or locked one by one.
pub const REQUESTS_AT_ONCE: usize = 16;
/// Findings a check lists; the rest are counted.
pub const FINDINGS_MAX: usize = 1_000;
/// Chunks of which a round of checks remembers that it read them, at some 100 bytes each; 125 GB of rows. Beyond it, shared ones are read again.
pub const SEEN_CHUNKS_MAX: usize = 500_000;
