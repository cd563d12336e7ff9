//! Legal holds: reasons for which a recovery point stays, whatever the policy says.
//!
//! A hold is named by its reason, so that asking twice for the same one gives one. It ends when somebody releases it, or by itself
//! at an instant that was named when it was placed. Nothing shortens a hold but its release, which is an act of its own in the audit trail.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{RecoveryPoint, State};
use crate::{
    caps,
    error::{Coded, ErrorCode},
    id::RecoveryPointId,
};

/// A reason to keep a recovery point whatever the policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Why: the hold's name on its recovery point.
    pub reason: String,
    /// Who placed it.
    pub owner: String,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When it ends by itself; never, if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Hold {
    /// Whether it has ended by itself.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Whether it lasts at least as long as another one.
    fn lasts_as_long_as(&self, other: &Self) -> bool {
        self.until.is_none_or(|until| other.until.is_some_and(|others| until >= others))
    }
}

/// Why a hold was not placed or released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoldError {
    /// There is nothing to hold.
    #[error("recovery point {point} is {state}, so it cannot be held; `holdfast points` shows what is available")]
    NotAvailable {
        /// The recovery point.
        point: RecoveryPointId,
        /// Its state.
        state: &'static str,
    },
    /// It would end before it has begun.
    #[error(
        "the hold would be over at {until}, which is past; name a later instant, or leave it out to hold until it is released"
    )]
    Past {
        /// The instant asked for.
        until: Timestamp,
    },
    /// It would end earlier than the one that stands.
    #[error("recovery point {point} is held for `{reason}` already, for longer; release that hold first if it shall end earlier")]
    Shortened {
        /// The recovery point.
        point: RecoveryPointId,
        /// The hold's reason.
        reason: String,
    },
    /// It has as many as it may.
    #[error("recovery point {point} has {max} holds, as many as it may; release one that is no longer needed", max = caps::HOLDS_MAX)]
    TooMany {
        /// The recovery point.
        point: RecoveryPointId,
    },
    /// It has no such hold.
    #[error("recovery point {point} has no hold for `{named}`; `holdfast hold list` shows which there are")]
    Unknown {
        /// The recovery point.
        point: RecoveryPointId,
        /// The reason that was named.
        named: String,
    },
    /// It has several.
    #[error("recovery point {point} is held for several reasons; say with --hold which one ends: {}", there.join("; "))]
    Ambiguous {
        /// The recovery point.
        point: RecoveryPointId,
        /// The reasons.
        there: Vec<String>,
    },
}

impl Coded for HoldError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotAvailable { .. } => ErrorCode::UnknownRecoveryPoint,
            Self::Unknown { .. } => ErrorCode::UnknownHold,
            Self::Past { .. } | Self::Shortened { .. } | Self::TooMany { .. } | Self::Ambiguous { .. } => {
                ErrorCode::MalformedEvent
            }
        }
    }
}

impl RecoveryPoint {
    /// Whether a hold forbids it to go.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.holds.iter().any(|hold| !hold.is_over(now))
    }

    /// Places a hold; one for the same reason is prolonged, never shortened. The same recovery point if that changes nothing.
    ///
    /// # Errors
    /// Unless it is available, and has room for one more.
    pub fn hold(mut self, hold: Hold, now: Timestamp) -> Result<Self, HoldError> {
        let point = self.id;
        if !matches!(self.state, State::Available { .. }) {
            return Err(HoldError::NotAvailable { point, state: self.state.name() });
        }
        if let Some(until) = hold.until.filter(|until| *until <= now) {
            return Err(HoldError::Past { until });
        }
        let same = self.holds.iter_mut().find(|there| there.reason == hold.reason && !there.is_over(now));
        if let Some(there) = same {
            if !hold.lasts_as_long_as(there) {
                return Err(HoldError::Shortened { point, reason: hold.reason });
            }
            there.until = hold.until;
            return Ok(self);
        }
        // Those that are over are kept to explain retention's next decision, not for ever.
        self.holds.retain(|there| !there.is_over(now));
        if self.holds.len() >= caps::HOLDS_MAX {
            return Err(HoldError::TooMany { point });
        }
        self.holds.push(hold);
        Ok(self)
    }

    /// Ends the hold with this reason, or the only one there is.
    ///
    /// # Errors
    /// If there is no such hold, or several and none was named.
    pub fn release(mut self, named: Option<&str>, now: Timestamp) -> Result<Self, HoldError> {
        let point = self.id;
        let standing: Vec<String> = self.holds.iter().filter(|hold| !hold.is_over(now)).map(|hold| hold.reason.clone()).collect();
        let reason = match (named, standing.as_slice()) {
            (Some(named), there) if there.iter().any(|reason| reason == named) => named.to_owned(),
            (None, [only]) => only.clone(),
            (None, [_, ..]) => return Err(HoldError::Ambiguous { point, there: standing }),
            (named, _) => return Err(HoldError::Unknown { point, named: named.unwrap_or("any reason").to_owned() }),
        };
        self.holds.retain(|hold| hold.reason != reason);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        id::{RunId, VaultTenantId},
        point::{Content, Kind},
        slot::{Slot, Subject},
    };

    fn at(day: u8) -> Timestamp {
        format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
    }

    fn running() -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: at(1), subject, kind: Kind::Database };
        RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(1)), at(1))
    }

    fn available() -> RecoveryPoint {
        let content = Content::Export {
            vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(9)),
            sequence: 1,
            link_sha256: "00".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 2,
            stored_bytes: 3,
            read: None,
        };
        running().publish(content, at(1)).unwrap()
    }

    fn hold(reason: &str, until: Option<u8>) -> Hold {
        Hold { reason: reason.into(), owner: "ana".into(), placed_at: at(2), until: until.map(at) }
    }

    #[test]
    fn a_held_recovery_point_does_not_expire_until_it_is_released_or_the_hold_is_over() {
        let held = available().hold(hold("case 4711", None), at(2)).unwrap();
        assert!(held.is_held(at(29)) && held.clone().expire(at(29)).is_err());
        assert!(held.release(None, at(3)).unwrap().expire(at(3)).is_ok());
        let until = available().hold(hold("case 4711", Some(10)), at(2)).unwrap();
        assert!(until.clone().expire(at(9)).is_err());
        assert!(until.expire(at(10)).is_ok());
    }

    #[test]
    fn the_same_hold_twice_is_one_and_it_is_prolonged_but_never_shortened() {
        let once = available().hold(hold("case 4711", Some(10)), at(2)).unwrap();
        assert_eq!(once.clone().hold(hold("case 4711", Some(10)), at(3)).unwrap(), once);
        let longer = once.hold(hold("case 4711", None), at(3)).unwrap();
        assert_eq!((longer.holds.len(), longer.holds[0].until), (1, None));
        let shorter = longer.hold(hold("case 4711", Some(20)), at(3));
        assert!(matches!(shorter, Err(HoldError::Shortened { .. })), "{shorter:?}");
    }

    #[test]
    fn only_what_is_available_is_held_and_only_for_a_time_to_come() {
        let refused = running().hold(hold("h", None), at(2)).unwrap_err();
        assert!(refused.to_string().contains("is running") && refused.code() == ErrorCode::UnknownRecoveryPoint, "{refused}");
        let expired = available().expire(at(2)).unwrap();
        assert!(expired.hold(hold("h", None), at(2)).unwrap_err().to_string().contains("is expired"));
        assert_eq!(available().hold(hold("h", Some(2)), at(2)), Err(HoldError::Past { until: at(2) }));
    }

    #[test]
    fn the_holds_of_a_recovery_point_are_bounded_and_those_that_are_over_make_room() {
        let mut held = available().hold(hold("soon over", Some(3)), at(2)).unwrap();
        for n in 1..caps::HOLDS_MAX {
            held = held.hold(hold(&format!("case {n}"), None), at(2)).unwrap();
        }
        assert!(matches!(held.clone().hold(hold("one more", None), at(2)), Err(HoldError::TooMany { .. })));
        let more = held.hold(hold("one more", None), at(3)).unwrap();
        assert_eq!(more.holds.len(), caps::HOLDS_MAX);
    }

    #[test]
    fn of_several_holds_one_is_named_to_be_released_and_the_others_stay() {
        let held = available().hold(hold("a", None), at(2)).unwrap().hold(hold("b", None), at(2)).unwrap();
        let unnamed = held.clone().release(None, at(2)).unwrap_err();
        assert!(unnamed.to_string().ends_with("a; b"), "{unnamed}");
        assert_eq!(held.clone().release(Some("c"), at(2)).unwrap_err().code(), ErrorCode::UnknownHold);
        let left = held.release(Some("a"), at(2)).unwrap();
        assert_eq!(left.holds.iter().map(|hold| hold.reason.as_str()).collect::<Vec<_>>(), ["b"]);
        let none = left.release(None, at(2)).unwrap();
        assert_eq!(none.release(None, at(2)).unwrap_err().code(), ErrorCode::UnknownHold);
    }

    #[test]
    fn a_hold_of_an_older_record_has_no_end() {
        let json = r#"{"reason":"lawsuit","owner":"ana","placed_at":"2026-11-02T12:00:00Z"}"#;
        let read: Hold = serde_json::from_str(json).unwrap();
        assert_eq!((read.until, serde_json::to_string(&read).unwrap().as_str()), (None, json));
    }
}
