//! Which instants a database can be restored to by RDS itself.

use aws::{AutomatedBackup, RestoreWindow};
use domain::{ErrorCode, ErrorReport, caps, plan::Database};
use jiff::{SignedDuration, Timestamp};

use crate::services::Services;

/// Whether an instant can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// RDS keeps what it takes.
    Now,
    /// It has happened, and RDS will have its log in some minutes.
    Soon,
}

impl Services {
    /// Whether the instance of a database can be restored to an instant.
    ///
    /// # Errors
    /// If it cannot: the instant lies in the future, RDS keeps no automated backups, or not from then. If RDS does not answer.
    pub async fn reach(&self, database: &Database, at: Timestamp) -> Result<Reach, ErrorReport> {
        let window = self.clients.instances().restorable(&database.instance).await?;
        reach(&database.instance, window, at, self.clock.now())
    }
}

/// RDS knows nothing finer than a second.
///
/// # Errors
/// If an instant has a fraction.
pub fn check_whole_second(at: Timestamp) -> Result<(), ErrorReport> {
    if at.subsec_nanosecond() == 0 {
        return Ok(());
    }
    let message = format!("{at} is not a whole second, and RDS restores to whole seconds only: leave the fraction out");
    Err(ErrorReport::new(ErrorCode::MalformedEvent, message))
}

/// The automated backups from which an instance can be made as it was at an instant, and whether it can be by now.
///
/// They are those of what has this name now, or had it when it was deleted: RDS lists no names of before. What had the name then and was
/// called otherwise since, as when two change places, is not found under it. Whoever agrees is shown RDS's id of what was chosen.
///
/// # Errors
/// Why it cannot, for people.
pub fn source_of<'a>(
    backups: &'a [AutomatedBackup],
    instance: &str,
    at: Timestamp,
    now: Timestamp,
) -> Result<(&'a AutomatedBackup, Reach), String> {
    // RDS's names have no case.
    let named = backups.iter().filter(|backup| backup.instance.eq_ignore_ascii_case(instance));
    let holds = |backup: &&AutomatedBackup| (backup.window.earliest..=backup.window.latest).contains(&at);
    if let Some(backup) = named.clone().find(holds) {
        return Ok((backup, Reach::Now));
    }
    let Some(running) = named.clone().find(|backup| !backup.is_kept) else {
        return Err(match named.max_by_key(|backup| backup.window.latest) {
            None => format!("RDS keeps no automated backups of {instance}"),
            Some(AutomatedBackup { window, .. }) => {
                format!(
                    "{instance} is gone, and RDS has kept what it takes for instants from {} to {}",
                    window.earliest, window.latest
                )
            }
        });
    };
    let RestoreWindow { earliest, latest } = running.window;
    if at < earliest {
        return Err(format!("RDS can restore {instance} to instants from {earliest} to {latest}, and {at} is before"));
    }
    if now.duration_since(at) > SignedDuration::from_secs(caps::LOG_BEHIND_AT_MOST_S) {
        return Err(format!(
            "RDS can restore {instance} to instants from {earliest} to {latest}, and has stopped to keep its log before {at}"
        ));
    }
    Ok((running, Reach::Soon))
}

/// Whether an instance with these automated backups can be restored to an instant.
fn reach(instance: &str, window: Option<RestoreWindow>, at: Timestamp, now: Timestamp) -> Result<Reach, ErrorReport> {
    let otherwise = "or restore from a recovery point, without --native";
    let refused = |why: String| Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, why));
    check_whole_second(at)?;
    if at > now {
        return refused(format!("{at} lies in the future: it is {now:.0} now; name an instant that has passed"));
    }
    let Some(RestoreWindow { earliest, latest }) = window else {
        return refused(format!(
            "RDS keeps no automated backups of instance {instance}, so it can be restored to no instant; turn them on for the next time, {otherwise}"
        ));
    };
    if at < earliest {
        return refused(format!(
            "instance {instance} can be restored to instants from {earliest} to {latest}, and {at} is before; name one of them, {otherwise}"
        ));
    }
    if at <= latest {
        return Ok(Reach::Now);
    }
    if now.duration_since(at) > SignedDuration::from_secs(caps::LOG_BEHIND_AT_MOST_S) {
        return refused(format!(
            "instance {instance} can be restored to instants from {earliest} to {latest}, and {at} is after, long since: RDS has stopped to keep its log; \
             name one of them, {otherwise}"
        ));
    }
    Ok(Reach::Soon)
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn judged(instant: &str, window: bool) -> Result<Reach, String> {
        let window = window.then(|| RestoreWindow { earliest: at("02:00:00"), latest: at("10:00:00") });
        reach("pool", window, at(instant), at("10:04:00")).map_err(|report| format!("{}: {}", report.code, report.message))
    }

    #[test]
    fn an_instant_is_restored_within_the_window_and_waited_for_behind_it() {
        for (instant, expected) in
            [("02:00:00", Reach::Now), ("10:00:00", Reach::Now), ("10:00:01", Reach::Soon), ("10:04:00", Reach::Soon)]
        {
            assert_eq!(judged(instant, true), Ok(expected), "{instant}");
        }
    }

    #[test]
    fn any_other_is_refused_with_what_can_be_had() {
        for (instant, window, expected) in [
            ("01:59:59", true, "from 2026-11-23T02:00:00Z to 2026-11-23T10:00:00Z, and 2026-11-23T01:59:59Z is before"),
            ("10:04:01", true, "2026-11-23T10:04:01Z lies in the future"),
            ("09:00:00.5", true, "leave the fraction out"),
            ("09:00:00", false, "RDS keeps no automated backups of instance pool"),
        ] {
            let refused = judged(instant, window).unwrap_err();
            assert!(refused.contains(expected), "{instant}: {refused}");
        }
        let stalled = RestoreWindow { earliest: at("02:00:00"), latest: at("03:00:00") };
        let refused = reach("pool", Some(stalled), at("04:00:00"), at("10:04:00")).unwrap_err();
        assert!(refused.message.contains("has stopped to keep its log"), "{refused}");
    }

    fn backup(resource_id: &str, is_kept: bool, from: &str, to: &str) -> AutomatedBackup {
        let window = RestoreWindow { earliest: at(from), latest: at(to) };
        AutomatedBackup { instance: "Pool".into(), resource_id: resource_id.into(), is_kept, window }
    }

    #[test]
    fn an_instance_is_made_of_whichever_of_its_name_was_there_at_the_instant() {
        let backups = [backup("db-now", false, "06:00:00", "10:00:00"), backup("db-then", true, "02:00:00", "05:00:00")];
        let found = |instant: &str| {
            let (backup, reach) = source_of(&backups, "pool", at(instant), at("10:04:00")).unwrap();
            (backup.resource_id.as_str(), reach)
        };
        assert_eq!(found("04:00:00"), ("db-then", Reach::Now), "the one that was deleted");
        assert_eq!(found("06:00:00"), ("db-now", Reach::Now));
        assert_eq!(found("10:03:00"), ("db-now", Reach::Soon), "it runs, so its log goes on");
    }

    #[test]
    fn an_instance_that_was_not_there_or_has_no_log_of_then_is_made_of_no_instant() {
        let refused =
            |backups: &[AutomatedBackup], instant: &str| source_of(backups, "pool", at(instant), at("10:04:00")).unwrap_err();
        let (running, kept) = (backup("a", false, "06:00:00", "07:00:00"), backup("b", true, "02:00:00", "09:59:00"));
        let older = backup("c", true, "01:00:00", "01:30:00");
        for (backups, instant, expected) in [
            (&[][..], "04:00:00", "RDS keeps no automated backups of pool"),
            (from_ref(&running), "05:59:59", "and 2026-11-23T05:59:59Z is before"),
            (from_ref(&running), "08:00:00", "has stopped to keep its log before 2026-11-23T08:00:00Z"),
            (from_ref(&kept), "10:00:00", "pool is gone, and RDS has kept what it takes for instants from"),
            (&[older.clone(), kept.clone()], "10:00:00", "from 2026-11-23T02:00:00Z to 2026-11-23T09:59:00Z"),
            (&[kept.clone(), older], "10:00:00", "from 2026-11-23T02:00:00Z to 2026-11-23T09:59:00Z"),
        ] {
            let why = refused(backups, instant);
            assert!(why.contains(expected), "{instant}: {why}");
        }
        let other = AutomatedBackup { instance: "silo".into(), ..backup("c", false, "02:00:00", "10:00:00") };
        assert_eq!(refused(&[other], "04:00:00"), "RDS keeps no automated backups of pool");
    }
}
