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
/// How much longer the work may take to begin, in seconds: a recovery point of the state before is made first.
pub const KEPT_BEFORE_WITHIN_S: i64 = 3600;
/// How long an approved erasure may take to begin, in seconds, beyond the time in which it can be approved.
pub const ERASURE_BEGINS_WITHIN_S: i64 = 3600;
/// How long an erasure may go on from its start, over all its deliveries, in seconds. A hold or an open restore may stop it in between.
pub const ERASURE_AT_MOST_S: i64 = 7 * 24 * 3600;
/// How long after it was approved an erasure that is not done is told of, in seconds: its state machine's run and retries.
pub const ERASURE_DONE_WITHIN_S: i64 = 3 * 3600;
/// Days for which KMS keeps a key that an erasure has deleted: its minimum and ours, in which a person may still take it back.
pub const KEY_DELETION_DAYS: i32 = 7;
/// Recovery points that the evidence of an erasure names; how many there are is told besides. A Lambda answer holds 6 MB.
pub const ERASED_POINTS_SHOWN_MAX: usize = 10_000;
/// Within how long another person must have reviewed a restore that one person carried out alone, in seconds; it is escalated after.
pub const REVIEW_WITHIN_S: i64 = 24 * 3600;
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
/// How long the recovery of an environment may go on from its start, in seconds: large instances take hours to appear.
pub const RECOVERY_AT_MOST_S: i64 = 24 * 3600;
/// How long a recovery waits for a new instance, in seconds; what is on it stays lost then, and the others go on.
pub const RECOVERY_INSTANCE_AT_MOST_S: i64 = 8 * 3600;
/// Stretches of tenants that the runbook of a recovery hands out: each leaves some ten events in its history, which holds 25,000.
pub const RECOVERY_RANGES_MAX: usize = 250;
/// Tenants of one pool in one stretch, one after the other; another delivery goes on behind those that are done.
pub const RECOVERY_POOLED_RANGE_MAX: usize = 50;
/// Tenants of a recovery. Their records are read together at every step, at about half a kilobyte each.
pub const RECOVERY_TENANTS_MAX: usize = 20_000;
/// Tenants of a recovery that the operator shows at once; a Lambda answer holds 6 MB.
pub const RECOVERY_TENANTS_SHOWN_MAX: usize = 5_000;
/// Snapshots of an instance that a recovery asks RDS about, the newest first, until it finds one that is there.
pub const RECOVERY_SNAPSHOTS_ASKED_MAX: usize = 20;
/// How long a request may stay open, in seconds: its state machine's wait for approval, and the work.
pub const REQUEST_AT_MOST_S: i64 = 48 * 3600;
/// How long a recovery may stay open, in seconds: longer than its state machine can run.
pub const RECOVERY_OPEN_AT_MOST_S: i64 = 52 * 3600;
/// How far ahead of the clock a manual run's instant may be, in seconds. A point of the future would hide missed slots until then.
pub const AHEAD_AT_MOST_S: i64 = 600;
/// How late a slot may be before it counts as missed, in seconds: start-up, retries and the run itself.
pub const SLOT_GRACE_S: i64 = 30 * 60;
/// How late the slot of a snapshot may be before it counts as missed, in seconds: under another key RDS copies an instance as a whole.
pub const SNAPSHOT_GRACE_S: i64 = 6 * 3600;
/// How long an off-peak window may last, in minutes: the night's stragglers must be told from the next night's slot.
pub const WINDOW_MINUTES_MAX: u16 = 720;
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
/// Measured restores below which a forecast would be a guess.
pub const FORECAST_SAMPLES_MIN: usize = 5;
/// Latest restore requests, and as many restore tests, that a forecast is made from.
pub const FORECAST_SAMPLES_MAX: usize = 100;
/// How many times larger than the largest measured restore one may be that is still forecast.
pub const FORECAST_REACH: u64 = 10;
/// Tables, and columns, that one restore request may name. They are a part of its record, which holds at most 400 KB.
pub const SELECTED_MAX: usize = 500;
/// The name of a table with its schema, or of a column, in bytes: two of PostgreSQL's names of 63 bytes, quoted.
pub const SELECTED_NAME_BYTES_MAX: usize = 256;
/// Entries of the audit trail read for one answer that shows only some of them.
pub const AUDIT_READ_MAX: usize = 50_000;
/// Days of the audit trail looked through for one answer.
pub const AUDIT_DAYS_MAX: usize = 31;
/// Restore requests listed that are open, and as many that ended.
pub const REQUESTS_LISTED_MAX: usize = 200;
/// Holds on one recovery point: each is one affair of people, and the record they travel in stays small.
pub const HOLDS_MAX: usize = 20;
/// Recovery points that one call holds or releases, three calls of some ten milliseconds each; repeating the call goes on.
pub const HELD_PER_CALL_MAX: usize = 500;
/// Recovery points of one hold that a listing names; how many there are is told besides.
pub const HELD_POINTS_NAMED_MAX: usize = 20;
/// How often in a row `holdfast` may get no answer while it follows a request, two seconds apart: a deployment or a short outage.
pub const FOLLOW_FAILURES_MAX: u32 = 30;
/// How long a snapshot may take before its slot is given up, in seconds: hours are normal for a large instance, a day is not.
pub const SNAPSHOT_AT_MOST_S: i64 = 24 * 3600;
/// How long after the slot its copy in the vault may take to be there, in seconds: the first under another key is of the whole instance.
pub const SNAPSHOT_COPY_AT_MOST_S: i64 = 48 * 3600;
/// Copies of snapshots under way in the account: RDS takes 20 into one region ("Copying a DB snapshot" of its user guide).
pub const SNAPSHOT_COPIES_AT_ONCE: usize = 20;
/// How long the snapshots of a slot that failed are kept, in seconds: a repeated delivery of its tick may still go on with them.
pub const FAILED_SNAPSHOT_KEPT_S: i64 = 24 * 3600;
/// How long a snapshot of ours may be missing from the catalog before it is told, in seconds: its record is written first, but the index lags.
pub const UNKNOWN_SNAPSHOT_AFTER_S: i64 = 3600;
/// Exports of snapshots to files that RDS works on at once in an account ("Exporting DB snapshot data to Amazon S3" of its user guide).
pub const ARCHIVES_AT_ONCE: usize = 5;
/// How often RDS is asked for an archive of one month that fails, the first time included.
pub const ARCHIVE_ATTEMPTS_MAX: u8 = 5;
/// How long after a failure it is asked again, in seconds: what is mended by hand is mended within a day.
pub const ARCHIVE_AGAIN_AFTER_S: i64 = 24 * 3600;
/// How long RDS is asked again for an archive that it does not know, in seconds: a role or key that cannot be used is mended by then.
pub const ARCHIVE_ASKED_AT_MOST_S: i64 = 7 * 24 * 3600;
/// How long one invocation may compare before another takes over, in seconds: a function's own limit, and a little.
pub const COMPARE_AT_MOST_S: i64 = 16 * 60;
/// How long a restore test may take altogether, whatever it waits for or fails at, in seconds. A clone costs as long as it lives.
pub const DRILL_AT_MOST_S: i64 = 6 * 3600;
/// How long a clone may live without a record of its restore test, in seconds. The record is written first, so none is awaited.
pub const UNRECORDED_CLONE_AT_MOST_S: i64 = 3600;
/// Clones for restore tests that are looked after, far more than are there at once.
pub const DRILLS_READ_MAX: usize = 500;
/// How long `holdfast` waits for a preview, in seconds: it reads the tenant twice. A longer one is followed by asking again.
pub const FOLLOW_PREVIEW_AT_MOST_S: u32 = 20 * 60;
/// How long `holdfast` follows a request to its end, in seconds: as long as an approval may take.
pub const FOLLOW_AT_MOST_S: u32 = 24 * 3600;
/// After this long, an export stores everything anew instead of sharing what is stored: 13 weeks. A pack stays as a whole while one chunk
/// of it is shared, and nothing rewrites packs; this bounds what lies in them unneeded, and how many places a restore reads from.
pub const FULL_EVERY_S: i64 = 13 * 7 * 24 * 3600;
/// Newest records that are looked at for what an export can build on: 13 weeks of hourly ones and as many failed.
pub const BUILT_ON_LISTED_MAX: usize = 5_000;
/// How much shorter than the vault's lock the lock of a shared object may be, in seconds: with hourly exports it would otherwise be moved
/// on every hour. Of a short lock it is a tenth.
pub const LOCK_SLACK_S: i64 = 24 * 3600;
/// Objects of one tenant that bear a mark at once. They are one item of the catalog, which holds 400 KB, at some 230 bytes each.
pub const MARKS_MAX: usize = 1_000;
/// Versions of one object that go with one mark. There is one, unless somebody put more over it.
pub const VERSIONS_MAX: usize = 50;
/// Objects of one tenant that are asked for their locks, some ten milliseconds each, several at once: by a sweep the oldest unneeded ones, of
/// which later sweeps go on, and by an erasure any.
pub const LOCKS_ASKED_MAX: usize = 20_000;
/// Records of one subject's recovery points of one kind that retention, the sweep, an erasure and the rounds of verify go by, those that have gone
/// included: eleven years of hourly ones. With fewer than all of them a sweep could miss a run, and retention and a round what is oldest.
pub const POINTS_OF_A_KIND_MAX: usize = 100_000;
/// How often a sweep of one tenant begins anew in one invocation because there was more garbage than marks; later ones go on.
pub const SWEEPS_IN_A_ROW_MAX: usize = 20;
/// Tenants that are swept at once, each with a few requests under way.
pub const SWEPT_AT_ONCE: usize = 4;
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
/// How long after an instant RDS may take until it can be restored to, in seconds: it ships the log every five minutes or so. A log that is
/// longer behind does not come any more.
pub const LOG_BEHIND_AT_MOST_S: i64 = 3600;
/// Within how many days every stored chunk of every retained recovery point is read again, unless the plan says otherwise.
pub const AUTHENTIC_WITHIN_DAYS: u16 = 7;
/// Within how many hours the newest recovery point of each tenant is restored for a test, unless the plan says otherwise.
pub const NEWEST_RESTORED_WITHIN_HOURS: u16 = 24;
/// Within how many days every retained recovery point is restored for a test, unless the plan says otherwise.
pub const RESTORED_WITHIN_DAYS: u16 = 30;
/// The SQL of one assertion, in bytes: the plan is one parameter of at most 8 KB in all.
pub const ASSERTION_BYTES_MAX: usize = 2_048;
/// Of a value that an assertion found, so many characters are told.
pub const ASSERTED_VALUE_CHARS_MAX: usize = 100;
/// How long one assertion may take, in milliseconds.
pub const ASSERTION_AT_MOST_MS: u32 = 60_000;
/// Restore tests of tenants on one clone, one after the other; the others are due in the next round. Their record stays below 100 KB.
pub const TESTS_PER_CLONE_MAX: usize = 300;
/// Clones for restore tests that are there at once: RDS allows 40 instances in a region unless asked for more.
pub const DRILLS_AT_ONCE_MAX: usize = 10;
/// Deliveries that begin the same restore test before it counts as one that cannot be carried out: one may be cut off.
pub const TEST_ATTEMPTS_MAX: u32 = 2;
/// How soon a round of checks tries again what could not be checked, in seconds.
pub const ROUND_AGAIN_S: i64 = 3600;
/// Recovery points beyond this much plaintext, in bytes, are read share by share: some minutes each.
pub const READ_AT_ONCE_BYTES: u64 = 8 << 30;
/// A reading that had so long and did not end, in seconds, ends in no other invocation either: a function has 14 minutes to use.
pub const READ_AT_LEAST_S: u64 = 10 * 60;
