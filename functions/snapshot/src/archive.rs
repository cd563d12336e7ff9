//! Archives: once a month RDS exports the newest snapshot of each instance to files of Parquet, to be read in years without RDS or us.

use aws::{Archive, ArchiveState as Progress, Archives};
use catalog::{
    TableError, Versioned,
    archives::{ArchiveRecord, ArchiveState},
    audit::Phase,
};
use domain::{
    Coded, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::{self, Plan},
    point::{Content, Kind, RecoveryPoint},
    slot::Subject,
};
use jiff::{Timestamp, tz::TimeZone};
use runtime::services::{Said, Services};

/// What became of the archives under way or due.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) asked: usize,
    pub(crate) complete: usize,
    pub(crate) queued: usize,
}

/// The name of RDS's task for an attempt at an instance's month: derived, so that asking twice asks for the same one. A name that failed is
/// used up.
fn task_name(vault: &str, subject: &Subject, month: &str, attempt: u8) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast archive v1");
    for part in [vault, &subject.to_string()] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    let name = format!("holdfast-{month}-{}", &hasher.finalize().to_hex()[..12]);
    if attempt <= 1 { name } else { format!("{name}-{attempt}") }
}

/// The month of an instant in the plan's zone.
fn month(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m").to_string()
}

/// What is to be done about an instance's archive, given the latest one and the newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due<'a> {
    /// Look how far RDS has come with the latest one.
    Look,
    /// This month has none yet: ask for one of this snapshot.
    Ask(&'a RecoveryPoint),
    /// This month's failed a day ago: ask once more, of this snapshot.
    AskAgain(&'a RecoveryPoint),
    /// Nothing.
    Nothing,
}

/// One archive for each month that has a snapshot; what failed is tried again a few times, daily, for as long as it is its month.
fn due<'a>(latest: Option<&ArchiveRecord>, newest: Option<&'a RecoveryPoint>, now: Timestamp, zone: &TimeZone) -> Due<'a> {
    let Some(newest) = newest else {
        return if latest.is_some_and(|latest| latest.state == ArchiveState::Asked) { Due::Look } else { Due::Nothing };
    };
    let Some(latest) = latest else { return Due::Ask(newest) };
    let of_newest = month(newest.scheduled_time, zone);
    match &latest.state {
        ArchiveState::Asked => Due::Look,
        _ if latest.month < of_newest => Due::Ask(newest),
        ArchiveState::Failed { at, .. } if latest.month == of_newest && is_again(latest.attempt, *at, now) => {
            Due::AskAgain(newest)
        }
        ArchiveState::Failed { .. } | ArchiveState::Complete { .. } => Due::Nothing,
    }
}

/// Whether what failed then at this attempt is to be tried once more.
fn is_again(attempt: u8, failed_at: Timestamp, now: Timestamp) -> bool {
    attempt < caps::ARCHIVE_ATTEMPTS_MAX && now.duration_since(failed_at).as_secs() >= caps::ARCHIVE_AGAIN_AFTER_S
}

/// Goes on with every instance's archive. One's trouble is its own; the first is told at the end.
pub(crate) async fn all(services: &Services, plan: &Plan, key: &str) -> Result<Tally, ErrorReport> {
    let mut tally = Tally::default();
    let Some(wanted) = &plan.archive else { return Ok(tally) };
    let zone = plan.zone()?;
    let archives = services.clients.archives();
    let mut working = None;
    let mut first_error = None;
    for id in plan.snapshot_subjects() {
        let subject = Subject::Instance(id.to_owned());
        let keeper = Keeper { services, plan, wanted, key, archives: &archives, subject, zone: &zone };
        match keeper.go_on(&mut tally, &mut working).await {
            // Somebody else went on with it at the same moment.
            Err(report) if report.code == ErrorCode::Fenced => {}
            Err(report) => {
                tracing::error!(instance = id, error.code = report.code.name(), "{}", report.message);
                first_error.get_or_insert(report);
            }
            Ok(()) => {}
        }
    }
    first_error.map_or(Ok(tally), Err)
}

struct Keeper<'a> {
    services: &'a Services,
    plan: &'a Plan,
    wanted: &'a plan::Archive,
    key: &'a str,
    archives: &'a Archives,
    subject: Subject,
    zone: &'a TimeZone,
}

impl Keeper<'_> {
    /// `working` is how many exports RDS is working on, once that is known.
    async fn go_on(&self, tally: &mut Tally, working: &mut Option<usize>) -> Result<(), ErrorReport> {
        let latest = self.services.catalog.latest_archive(&self.subject).await?;
        let newest = self.services.catalog.newest_usable(&self.subject, Kind::Snapshot).await?.map(|point| point.value);
        let now = self.services.clock.now();
        let (newest, failed) = match (due(latest.as_ref().map(|latest| &latest.value), newest.as_ref(), now, self.zone), &latest)
        {
            (Due::Look, Some(latest)) => return self.look(latest, tally).await,
            (Due::Ask(newest), _) => (newest, None),
            (Due::AskAgain(newest), failed) => (newest, failed.as_ref()),
            (Due::Look | Due::Nothing, _) => return Ok(()),
        };
        let under_way = match *working {
            Some(known) => known,
            None => self.archives.working().await?,
        };
        *working = Some(under_way);
        if under_way >= caps::ARCHIVES_AT_ONCE {
            tally.queued += 1;
            return Ok(());
        }
        *working = Some(under_way + 1);
        self.begin(newest, failed, tally).await
    }

    /// The record first: if the call is lost, the next look finds that RDS knows no such task, and asks. A new attempt takes the place of
    /// the one that failed.
    async fn begin(
        &self,
        newest: &RecoveryPoint,
        failed: Option<&Versioned<ArchiveRecord>>,
        tally: &mut Tally,
    ) -> Result<(), ErrorReport> {
        let Some(Content::Snapshot { arn, .. }) = newest.content() else { return Ok(()) };
        let month = month(newest.scheduled_time, self.zone);
        let attempt = failed.map_or(1, |failed| failed.value.attempt.saturating_add(1));
        let record = ArchiveRecord {
            task: task_name(self.services.config.vault_id.as_str(), &self.subject, &month, attempt),
            attempt,
            subject: self.subject.clone(),
            month,
            point: newest.id,
            snapshot: arn.clone(),
            bucket: self.wanted.bucket.clone(),
            asked_at: self.services.clock.now(),
            state: ArchiveState::Asked,
        };
        let record = match failed {
            None => self.services.catalog.create(record).await?,
            Some(failed) => self.services.catalog.update(failed, record).await?,
        };
        tally.asked += 1;
        self.ask(&record.value).await
    }

    async fn ask(&self, record: &ArchiveRecord) -> Result<(), ErrorReport> {
        let services = self.services;
        let role = services.config.archive_role()?;
        let (bucket, prefix) = (&self.wanted.bucket, &self.wanted.prefix);
        let wanted = Archive { name: &record.task, snapshot: &record.snapshot, bucket, prefix, role, key: self.key };
        let subject = self.subject.to_string();
        let what = format!("{} of {} to {bucket}", record.task, record.point);
        services.audit(Phase::Intent, "snapshot", "snapshot.archive", &subject, &what).await?;
        let asked = self.archives.start(&wanted).await;
        let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
        services.audit(Phase::Outcome, "snapshot", "snapshot.archive", &subject, &outcome).await?;
        match asked {
            Ok(_) => Ok(()),
            Err(error) => {
                self.raise(&record.month, &error.to_string()).await?;
                Err(error.into())
            }
        }
    }

    async fn look(&self, latest: &Versioned<ArchiveRecord>, tally: &mut Tally) -> Result<(), ErrorReport> {
        let (record, now) = (&latest.value, self.services.clock.now());
        let state = match self.archives.find(&record.task).await? {
            Some(Progress::Working { .. }) => return Ok(()),
            Some(Progress::Complete) => ArchiveState::Complete { at: now },
            Some(Progress::Failed { why }) => ArchiveState::Failed { at: now, why },
            // A snapshot may have gone while RDS could not be asked; then nothing will come of it.
            None if now.duration_since(record.asked_at).as_secs() > caps::ARCHIVE_ASKED_AT_MOST_S => {
                ArchiveState::Failed { at: now, why: "RDS does not know the task".to_owned() }
            }
            None => return self.ask(record).await,
        };
        match &state {
            // The alert first: once the record says failed, no tick comes back to it.
            ArchiveState::Failed { why, .. } => self.raise(&record.month, why).await?,
            ArchiveState::Complete { .. } => {
                tally.complete += 1;
                self.services.all_clear(AlertClass::RunFailed, &self.alert_subject()).await?;
            }
            ArchiveState::Asked => {}
        }
        let settled = ArchiveRecord { state, ..record.clone() };
        match self.services.catalog.update(latest, settled).await {
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
            Err(error) => Err(ErrorReport::new(error.code(), error.to_string())),
        }
    }

    fn alert_subject(&self) -> String {
        format!("archive of {}", self.subject)
    }

    async fn raise(&self, month: &str, why: &str) -> Result<(), ErrorReport> {
        let said = Said {
            summary: format!("the archive of {} for {month} failed: {why}", self.subject),
            meaning: "the bucket of archives has no files of this month; snapshots and exports are not concerned".to_owned(),
            remedy: format!(
                "mend the cause (the bucket, RDS's role, the key); it is tried again a day after each failure, {} times in all within its \
                 month, and this ends by itself with the first that succeeds; after that, this one by `aws rds start-export-task`",
                caps::ARCHIVE_ATTEMPTS_MAX
            ),
        };
        self.services.raise(self.plan, AlertClass::RunFailed, &self.alert_subject(), said).await
    }
}

#[cfg(test)]
mod tests {
    use domain::slot::Slot;

    use super::*;

    fn snapshot(scheduled_time: &str) -> RecoveryPoint {
        let subject = Subject::Instance("central".into());
        let slot = Slot { rule: "daily".into(), scheduled_time: scheduled_time.parse().unwrap(), subject, kind: Kind::Snapshot };
        RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), Timestamp::UNIX_EPOCH)
    }

    fn archive(month: &str, state: ArchiveState) -> ArchiveRecord {
        ArchiveRecord {
            subject: Subject::Instance("central".into()),
            month: month.into(),
            attempt: 1,
            task: "t".into(),
            point: snapshot("2026-11-01T00:00:00Z").id,
            snapshot: "a".into(),
            bucket: "b".into(),
            asked_at: Timestamp::UNIX_EPOCH,
            state,
        }
    }

    #[test]
    fn each_month_with_a_snapshot_gets_one_archive_whatever_came_of_the_last() {
        let due = |latest: Option<&ArchiveRecord>, newest, zone| due(latest, newest, Timestamp::UNIX_EPOCH, zone);
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let newest = snapshot("2026-11-23T01:15:00Z");
        let at = Timestamp::UNIX_EPOCH;
        let (complete, failed) = (ArchiveState::Complete { at }, ArchiveState::Failed { at, why: "w".into() });
        for (latest, expected) in [
            (None, Due::Ask(&newest)),
            (Some(archive("2026-10", complete.clone())), Due::Ask(&newest)),
            (Some(archive("2026-10", failed.clone())), Due::Ask(&newest)),
            (Some(archive("2026-10", ArchiveState::Asked)), Due::Look),
            (Some(archive("2026-11", ArchiveState::Asked)), Due::Look),
            (Some(archive("2026-11", complete)), Due::Nothing),
            (Some(archive("2026-11", failed)), Due::Nothing),
        ] {
            assert_eq!(due(latest.as_ref(), Some(&newest), &zone), expected, "{latest:?}");
        }
        assert_eq!(due(None, None, &zone), Due::Nothing);
        assert_eq!(due(Some(&archive("2026-11", ArchiveState::Asked)), None, &zone), Due::Look);
        // The month is the plan's: it is December in Berlin already.
        let newest = snapshot("2026-11-30T23:30:00Z");
        assert_eq!(due(Some(&archive("2026-11", ArchiveState::Complete { at })), Some(&newest), &zone), Due::Ask(&newest));
    }

    #[test]
    fn what_failed_is_tried_again_daily_a_few_times_and_only_in_its_month() {
        let (zone, failed_at) = (TimeZone::UTC, "2026-11-10T02:00:00Z".parse::<Timestamp>().unwrap());
        let (newest, next) = (snapshot("2026-11-11T01:15:00Z"), snapshot("2026-12-01T01:15:00Z"));
        let failed = |attempt| {
            let record = archive("2026-11", ArchiveState::Failed { at: failed_at, why: "w".into() });
            ArchiveRecord { attempt, ..record }
        };
        let day = failed_at + jiff::SignedDuration::from_hours(24);
        let just_before = day - jiff::SignedDuration::from_secs(1);
        for (attempt, newest, now, expected) in [
            (1, &newest, just_before, Due::Nothing),
            (1, &newest, day, Due::AskAgain(&newest)),
            (caps::ARCHIVE_ATTEMPTS_MAX - 1, &newest, day, Due::AskAgain(&newest)),
            (caps::ARCHIVE_ATTEMPTS_MAX, &newest, day, Due::Nothing),
            (caps::ARCHIVE_ATTEMPTS_MAX, &next, day, Due::Ask(&next)),
            (1, &next, just_before, Due::Ask(&next)),
        ] {
            assert_eq!(due(Some(&failed(attempt)), Some(newest), now, &zone), expected, "{attempt} {now}");
        }
        // All that is left is of an earlier month: its files would lie below this month's name.
        assert_eq!(due(Some(&failed(1)), Some(&snapshot("2026-10-31T01:15:00Z")), day, &zone), Due::Nothing);
    }

    #[test]
    fn a_tasks_name_is_one_that_rds_takes_and_no_other_stacks() {
        let subject = Subject::Instance("central".into());
        let name = task_name("main", &subject, "2026-11", 1);
        let last = task_name("main", &subject, "2026-11", u8::MAX);
        let all: std::collections::BTreeSet<String> =
            (1..=caps::ARCHIVE_ATTEMPTS_MAX).map(|attempt| task_name("main", &subject, "2026-11", attempt)).collect();
        assert_eq!(all.len(), usize::from(caps::ARCHIVE_ATTEMPTS_MAX), "each attempt has its own");
        assert!(last.len() <= 60 && !last.contains("--"), "{last}");
        assert!(name.len() <= 60 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        assert_ne!(name, task_name("other", &subject, "2026-11", 1));
        assert_ne!(name, task_name("main", &Subject::Instance("pool".into()), "2026-11", 1));
    }
}
