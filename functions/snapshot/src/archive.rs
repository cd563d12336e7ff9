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

/// The name of RDS's task for an instance's month: derived, so that asking twice asks for the same one.
fn task_name(vault: &str, subject: &Subject, month: &str) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast archive v1");
    for part in [vault, &subject.to_string()] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    format!("holdfast-{month}-{}", &hasher.finalize().to_hex()[..12])
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
    /// Nothing.
    Nothing,
}

/// One archive for each month that has a snapshot; what failed is not tried again in its month, as its name is used up.
fn due<'a>(latest: Option<&ArchiveRecord>, newest: Option<&'a RecoveryPoint>, zone: &TimeZone) -> Due<'a> {
    if latest.is_some_and(|latest| latest.state == ArchiveState::Asked) {
        return Due::Look;
    }
    match newest {
        Some(newest) if latest.is_none_or(|latest| latest.month < month(newest.scheduled_time, zone)) => Due::Ask(newest),
        _ => Due::Nothing,
    }
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
        match (due(latest.as_ref().map(|latest| &latest.value), newest.as_ref(), self.zone), latest) {
            (Due::Look, Some(latest)) => self.look(&latest, tally).await,
            (Due::Ask(newest), _) => {
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
                self.begin(newest, tally).await
            }
            (Due::Look | Due::Nothing, _) => Ok(()),
        }
    }

    /// The record first: if the call is lost, the next look finds that RDS knows no such task, and asks.
    async fn begin(&self, newest: &RecoveryPoint, tally: &mut Tally) -> Result<(), ErrorReport> {
        let Some(Content::Snapshot { arn, .. }) = newest.content() else { return Ok(()) };
        let month = month(newest.scheduled_time, self.zone);
        let record = ArchiveRecord {
            task: task_name(self.services.config.vault_id.as_str(), &self.subject, &month),
            subject: self.subject.clone(),
            month,
            point: newest.id,
            snapshot: arn.clone(),
            bucket: self.wanted.bucket.clone(),
            asked_at: self.services.clock.now(),
            state: ArchiveState::Asked,
        };
        let record = self.services.catalog.create(record).await?;
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
            remedy: "mend the cause (the bucket, RDS's role, the key); the next month's comes by itself, this one by `aws rds start-export-task`"
                .to_owned(),
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
        // The month is the plan's: it is December in Berlin already.
        let newest = snapshot("2026-11-30T23:30:00Z");
        assert_eq!(due(Some(&archive("2026-11", ArchiveState::Complete { at })), Some(&newest), &zone), Due::Ask(&newest));
    }

    #[test]
    fn a_tasks_name_is_one_that_rds_takes_and_no_other_stacks() {
        let subject = Subject::Instance("central".into());
        let name = task_name("main", &subject, "2026-11");
        assert!(name.len() <= 60 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{name}");
        assert_ne!(name, task_name("other", &subject, "2026-11"));
        assert_ne!(name, task_name("main", &Subject::Instance("pool".into()), "2026-11"));
    }
}
