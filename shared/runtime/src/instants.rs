//! Which instants a tenant's database can be restored to by RDS itself.

use aws::RestoreWindow;
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

/// Whether an instance with these automated backups can be restored to an instant.
fn reach(instance: &str, window: Option<RestoreWindow>, at: Timestamp, now: Timestamp) -> Result<Reach, ErrorReport> {
    let otherwise = "or restore from a recovery point, without --native";
    let refused = |why: String| Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, why));
    if at.subsec_nanosecond() != 0 {
        let message = format!("{at} is not a whole second, and RDS restores to whole seconds only: leave the fraction out");
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
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
}
