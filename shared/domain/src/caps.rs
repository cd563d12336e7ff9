//! Every limit in one place, each with its reason.

/// Recovery points returned by one listing; more are paged by the catalog and summarised.
pub const LISTED_POINTS_MAX: usize = 10_000;
/// Tenants read from the register in one go. Beyond it the register query must be split by shard.
pub const REGISTER_ROWS_MAX: usize = 200_000;
/// Exports run side by side by one invocation: two keep two cores busy, more only contend for the database.
pub const EXPORTS_AT_ONCE: usize = 2;
/// Time kept back before an invocation's end, so that it can record what it did, in milliseconds.
pub const DEADLINE_RESERVE_MS: u64 = 60_000;
/// How long an approval may wait to be used, in seconds: the state machine's own wait is as long.
pub const APPROVAL_LIFETIME_S: i64 = 24 * 3600;
/// Rows compared by a preview. Above it the preview refuses: 32 bytes a row must fit the function's memory.
pub const PREVIEW_ROWS_MAX: u64 = 30_000_000;
/// Free text from people (reasons, descriptions), in bytes.
pub const FREE_TEXT_BYTES_MAX: usize = 1_024;
/// Each of an alert's texts, in bytes: SNS takes 256 KiB for all the forms in which an alert is sent together.
pub const ALERT_TEXT_BYTES_MAX: usize = 2_048;
/// How long a run may hold its slot before reconcile takes it for dead, in seconds: three invocations and their retries.
pub const RUN_AT_MOST_S: i64 = 2 * 3600;
/// How long an approved restore may go on from its start, over all its deliveries, in seconds.
pub const RESTORE_AT_MOST_S: i64 = 6 * 3600;
/// How long a request may stay open, in seconds: its state machine's wait for approval, and the work.
pub const REQUEST_AT_MOST_S: i64 = 48 * 3600;
/// How far ahead of the clock a manual run's instant may be, in seconds. A point of the future would hide missed slots until then.
pub const AHEAD_AT_MOST_S: i64 = 600;
/// How late a slot may be before it counts as missed, in seconds: start-up, retries and the run itself.
pub const SLOT_GRACE_S: i64 = 30 * 60;
/// Recovery points that one retention decision lets go, in one record of at most 400 KB: about 130 bytes each. Later runs go on.
pub const LET_GO_PER_DECISION_MAX: u32 = 2_000;
/// Recovery points read to explain retention in one answer. A Lambda answer holds 6 MB, each takes about 150 bytes of it.
pub const EXPLAINED_POINTS_MAX: usize = 30_000;
/// Newest recovery points of a tenant that its posture is judged by; a posture reads every tenant's.
pub const POSTURE_POINTS_MAX: usize = 50;
/// Newest recovery points of each subject and kind, where those of all are listed.
pub const POINTS_OF_EACH_MAX: usize = 3;
/// Alerts in one answer of the operator, each of at most about 6 KB when every text is at its limit; nearly all are far shorter.
pub const ALERTS_LISTED_MAX: usize = 1_000;
/// Alerts read to find the latest that were closed: they are stored by class and subject, not by time.
pub const ALERTS_READ_MAX: usize = 10_000;
/// Entries of the audit trail in one answer of the operator, each well below 1 KB.
pub const AUDIT_LISTED_MAX: usize = 5_000;
/// Restore requests listed that are open, and as many that ended.
pub const REQUESTS_LISTED_MAX: usize = 200;
/// How often in a row `holdfast` may get no answer while it follows a request, two seconds apart: a deployment or a short outage.
pub const FOLLOW_FAILURES_MAX: u32 = 30;
/// How long a snapshot may take before its slot is given up, in seconds: hours are normal for a large instance, a day is not.
pub const SNAPSHOT_AT_MOST_S: i64 = 24 * 3600;
/// How long one invocation may compare before another takes over, in seconds: a function's own limit, and a little.
pub const COMPARE_AT_MOST_S: i64 = 16 * 60;
/// How long a restore test may take altogether, whatever it waits for or fails at, in seconds. A clone costs as long as it lives.
pub const DRILL_AT_MOST_S: i64 = 6 * 3600;
/// How long a clone may live without a record of its restore test, in seconds. The record is written first, so none is awaited.
pub const UNRECORDED_CLONE_AT_MOST_S: i64 = 3600;
/// Restore tests read to see whose turn it is, the latest first.
pub const DRILLS_READ_MAX: usize = 10_000;
/// How long `holdfast` waits for a preview, in seconds: it reads the tenant twice. A longer one is followed by asking again.
pub const FOLLOW_PREVIEW_AT_MOST_S: u32 = 20 * 60;
/// How long `holdfast` follows a request to its end, in seconds: as long as an approval may take.
pub const FOLLOW_AT_MOST_S: u32 = 24 * 3600;
/// After this long, an export stores everything anew instead of sharing what is stored: far below the time for which the vault locks an
/// object (35 days unless the template's `VaultLockDays` says otherwise), so that whatever a recovery point needs stays locked for weeks.
pub const FULL_EVERY_S: i64 = 14 * 24 * 3600;
/// Newest records that are looked at for what an export can build on: two weeks of hourly ones and twice as many failed.
pub const BUILT_ON_LISTED_MAX: usize = 1_000;
/// How far apart the parts of a recovery set may have been read, in seconds: one invocation. A tenant's parts are read one after the other
/// in one, so more means that a later one made up for what failed.
pub const SET_SKEW_AT_MOST_S: i64 = 15 * 60;
/// How far a database server's clock may be ahead of ours, in milliseconds, without a listing counting as begun before the database's view.
/// Both follow Amazon's time service to within milliseconds; a clock that does not is the rest.
pub const CLOCKS_APART_AT_MOST_MS: i64 = 5_000;
/// How often the databases are scanned for data that belongs to nobody, in seconds: a scan reads every pooled table once.
pub const COVERAGE_EVERY_S: i64 = 24 * 3600;
/// How soon a scan is made again that could not look everywhere, in seconds.
pub const COVERAGE_AGAIN_S: i64 = 3600;
/// How long counting the rows of one pooled table may take, in milliseconds: several have to fit into one invocation.
pub const COVERAGE_COUNT_AT_MOST_MS: u64 = 4 * 60_000;
/// Values of a tenant column that a scan takes in, of each pooled table: so many tenants may sign up while it runs.
pub const COVERAGE_VALUES_SEEN_MAX: usize = 1_000;
/// Values of a tenant column that a coverage report names, of each pooled table; how many there are is told besides.
pub const COVERAGE_VALUES_MAX: usize = 20;
/// Tables of one database that a scan takes in, at about 200 bytes each.
pub const COVERAGE_TABLES_MAX: usize = 200_000;
/// A coverage report in the catalog, in bytes: an item of the table holds 400 KB.
pub const COVERAGE_BYTES_MAX: usize = 350_000;
/// How long after the instant of a tenant's rows the listing of its files may have begun that they are compared with, in seconds. S3's
/// lifecycle rules count in days: within one, nothing that was there then is gone for good by itself.
pub const LISTED_AFTER_AT_MOST_S: i64 = 24 * 3600;
/// Places that a scan opens alerts for; one more tells of the rest.
pub const COVERAGE_ALERTS_MAX: usize = 100;
/// Tenants of one sweep of a pool: their ids stand in every statement of it.
pub const SWEPT_TENANTS_MAX: usize = 1_000;
/// Bytes in a tenant's last recovery point from which on it is exported by itself, because a sweep cannot be gone on from: a few seconds of
/// reading, so that no tenant keeps the others of a sweep waiting.
pub const SWEPT_TENANT_BYTES_MAX: u64 = 256 << 20;
/// Bytes in the last recovery points of the tenants of one sweep: at some 30 MB a second two minutes and a half, and as much again for a
/// server that has to sort them.
pub const SWEPT_BYTES_MAX: u64 = 4 << 30;
/// Tenants whose newest recovery points are looked up at once to arrange a tick, a query of some ten milliseconds each.
pub const LOOKED_AT_ONCE: usize = 8;
