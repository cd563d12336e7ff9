//! How much time an invocation has left.
//!
//! Long work asks between two steps and stops early with what it has finished: an invocation that is cut off can
//! neither record what it did nor say why.

use std::{fmt, sync::Arc, time::Duration};

use domain::{ErrorCode, ErrorReport, caps};
use jiff::Timestamp;

use crate::clock::Clock;

/// The instant at which Lambda ends this invocation.
#[derive(Clone)]
pub struct Deadline {
    at: Timestamp,
    clock: Arc<dyn Clock>,
}

impl Deadline {
    /// A deadline at `at`, as told by `clock`.
    #[must_use]
    pub fn at(at: Timestamp, clock: Arc<dyn Clock>) -> Self {
        Self { at, clock }
    }

    /// The deadline in a Lambda context: milliseconds since 1970.
    ///
    /// An unreadable value counts as already passed, so that work is left to the next invocation rather than cut off.
    #[must_use]
    pub fn from_epoch_ms(epoch_ms: u64, clock: Arc<dyn Clock>) -> Self {
        let at = i64::try_from(epoch_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Self { at: at.unwrap_or(Timestamp::UNIX_EPOCH), clock }
    }

    /// The time left, zero once the deadline has passed.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::try_from(self.at.duration_since(self.clock.now())).unwrap_or(Duration::ZERO)
    }

    /// Whether only the reserve ([`caps::DEADLINE_RESERVE_MS`]) is left: finish, record, begin nothing new.
    #[must_use]
    pub fn near(&self) -> bool {
        self.remaining().as_millis() <= u128::from(caps::DEADLINE_RESERVE_MS)
    }

    /// Stops work that may not begin any more.
    ///
    /// # Errors
    /// `DeadlineNear`, naming the work that is left, once [`Self::near`].
    pub fn check(&self, next: &str) -> Result<(), ErrorReport> {
        if self.near() {
            let left_s = self.remaining().as_secs();
            let message = format!("{left_s} s are left, too few to begin {next}; the next invocation carries on from here");
            return Err(ErrorReport::new(ErrorCode::DeadlineNear, message));
        }
        Ok(())
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Deadline({})", self.at)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::clock::FixedClock;

    #[test]
    fn a_deadline_is_near_within_its_reserve_and_after() {
        let clock = Arc::new(FixedClock::at("2026-11-23T02:00:00Z".parse().unwrap()));
        let deadline = Deadline::at("2026-11-23T02:15:00Z".parse().unwrap(), Arc::<FixedClock>::clone(&clock));
        assert_eq!(deadline.remaining(), Duration::from_secs(900));
        deadline.check("the export of acme").unwrap();

        clock.set("2026-11-23T02:14:45Z".parse().unwrap());
        let report = deadline.check("the export of acme").unwrap_err();
        assert_eq!(
            report.to_string(),
            "DeadlineNear: 15 s are left, too few to begin the export of acme; the next invocation carries on from here"
        );

        clock.advance(SignedDuration::from_mins(5));
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.near());
    }

    #[test]
    fn a_senseless_deadline_has_passed() {
        let clock = Arc::new(FixedClock::at("2026-11-23T02:00:00Z".parse().unwrap()));
        assert!(Deadline::from_epoch_ms(u64::MAX, clock).near());
    }
}
