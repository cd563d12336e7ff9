//! Every limit in one place, each with its reason.

/// Recovery points returned by one listing; more are paged by the catalog and summarised.
pub const LISTED_POINTS_MAX: usize = 10_000;
/// Tenants read from the register in one go. Beyond it the register query must be split by shard.
pub const REGISTER_ROWS_MAX: usize = 200_000;
/// Exports run side by side by one invocation: two keep two cores busy, more only contend for the database.
pub const EXPORTS_AT_ONCE: usize = 2;
/// Time kept back before an invocation's end, so that it can record what it did, in milliseconds.
pub const DEADLINE_RESERVE_MS: i64 = 20_000;
/// How long an approval may wait to be used, in seconds: the state machine's own wait is as long.
pub const APPROVAL_LIFETIME_S: i64 = 24 * 3600;
/// Rows compared by a preview. Above it the preview refuses: 32 bytes a row must fit the function's memory.
pub const PREVIEW_ROWS_MAX: u64 = 30_000_000;
/// Free text from people (reasons, descriptions), in bytes.
pub const FREE_TEXT_BYTES_MAX: usize = 1_024;
/// How late a slot may be before it counts as missed, in seconds: start-up, retries and the run itself.
pub const SLOT_GRACE_S: i64 = 30 * 60;
