//! Which policy decides now. A change that keeps more takes effect by itself; one that *shortens* waits until two people have agreed.
//!
//! Who wrote the plan is not known here: whoever may deploy it may write anything into it. So two people agree, and both in their own name.

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{Policy, PolicyVersion, Shortened, shortens};
use crate::{
    error::{Coded, ErrorCode},
    identity::Identity,
};

/// How many people must agree to a change that shortens.
pub const AGREE_MIN: usize = 2;

/// A policy with the zone that its days and weeks are meant in: all that a decision depends on besides the recovery points.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The policy.
    pub policy: Policy,
    /// The plan's zone, by its IANA name.
    pub time_zone: String,
}

impl Terms {
    /// Names them by what they say.
    #[must_use]
    pub fn version(&self) -> PolicyVersion {
        self.policy.version(&self.time_zone)
    }

    /// The zone of days and weeks.
    ///
    /// # Errors
    /// If this version's zones do not include it.
    pub fn zone(&self) -> Result<TimeZone, UnknownZone> {
        TimeZone::get(&self.time_zone).map_err(|_| UnknownZone { name: self.time_zone.clone() })
    }

    /// In which ways these let more go than the earlier ones; empty if in none.
    #[must_use]
    pub fn shorten(&self, earlier: &Self) -> Vec<String> {
        let mut ways: Vec<String> = shortens(&earlier.policy, &self.policy).iter().map(Shortened::to_string).collect();
        // Other borders of days and weeks: another recovery point may be the newest of its day.
        if self.time_zone != earlier.time_zone {
            ways.push(format!("time_zone from {} to {}", earlier.time_zone, self.time_zone));
        }
        ways
    }
}

/// A zone that was known when the policy came into force, and is no longer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the retention policy in force is meant in `{name}`, which is no IANA time zone any more; let the plan name another")]
pub struct UnknownZone {
    name: String,
}

impl Coded for UnknownZone {
    fn code(&self) -> ErrorCode {
        ErrorCode::PlanInvalid
    }
}

/// One person's agreement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agreed {
    /// Who.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
}

/// What the plan asks for and nobody, or only one, has agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What would be in force.
    pub terms: Terms,
    /// Since when it waits.
    pub since: Timestamp,
    /// Who has agreed so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<Agreed>,
}

/// What decides, since when, and what waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    /// What decides.
    pub terms: Terms,
    /// Since when.
    pub since: Timestamp,
    /// Who agreed to it, if it shortened what was in force before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agreed: Vec<Agreed>,
    /// What waits for agreement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// Why an agreement was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgreeError {
    /// Nothing waits.
    #[error("no retention policy waits for anybody's agreement; `holdfast retention plan` shows what is in force")]
    NothingWaits,
    /// The plan has changed since.
    #[error(
        "the retention policy that waits is {waiting}, not {named}; look at `holdfast retention plan` and agree to what it shows"
    )]
    Other {
        /// What was agreed to.
        named: String,
        /// What waits.
        waiting: PolicyVersion,
    },
    /// They cannot be told apart from somebody who agreed before.
    #[error("{by} has agreed already, or cannot be told apart from who has; another person must")]
    SamePerson {
        /// Who.
        by: String,
    },
}

impl Coded for AgreeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::NothingWaits => ErrorCode::UnknownRequest,
            Self::Other { .. } => ErrorCode::ApprovalInvalid,
            Self::SamePerson { .. } => ErrorCode::NotPermitted,
        }
    }
}

impl InForce {
    /// The first policy there is: nothing was promised before.
    #[must_use]
    pub fn first(terms: Terms, now: Timestamp) -> Self {
        Self { terms, since: now, agreed: Vec::new(), waiting: None }
    }

    /// What is in force once the plan says this. It is the same if nothing changes by it.
    #[must_use]
    pub fn with(self, asked: &Terms, now: Timestamp) -> Self {
        if self.terms == *asked {
            // Whatever waited is not asked for any more.
            return Self { waiting: None, ..self };
        }
        if asked.shorten(&self.terms).is_empty() {
            return Self::first(asked.clone(), now);
        }
        match &self.waiting {
            Some(waiting) if waiting.terms == *asked => self,
            _ => Self { waiting: Some(Waiting { terms: asked.clone(), since: now, agreed: Vec::new() }), ..self },
        }
    }

    /// Records one person's agreement to what waits; the second puts it in force. The same if it was recorded before.
    ///
    /// # Errors
    /// If something else waits, or this is not another person.
    pub fn agree(self, by: &Identity, version: &str, now: Timestamp) -> Result<Self, AgreeError> {
        if self.waiting.is_none() && self.terms.version().as_str() == version && self.agreed.iter().any(|one| one.by == *by) {
            // The answer to the last agreement was lost.
            return Ok(self);
        }
        let Some(waiting) = &self.waiting else { return Err(AgreeError::NothingWaits) };
        if waiting.terms.version().as_str() != version {
            return Err(AgreeError::Other { named: version.to_owned(), waiting: waiting.terms.version() });
        }
        if waiting.agreed.iter().any(|one| one.by == *by) {
            return Ok(self);
        }
        if by.person().is_none() || waiting.agreed.iter().any(|one| one.by.is_same_person(by)) {
            return Err(AgreeError::SamePerson { by: by.arn.clone() });
        }
        let mut waiting = waiting.clone();
        waiting.agreed.push(Agreed { by: by.clone(), at: now });
        if waiting.agreed.len() < AGREE_MIN {
            return Ok(Self { waiting: Some(waiting), ..self });
        }
        Ok(Self { terms: waiting.terms, since: now, agreed: waiting.agreed, waiting: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRY: Policy = Policy {
        keep_all_days: 7,
        daily: 14,
        weekly: 8,
        monthly: 12,
        yearly: 3,
        min_proven: 2,
        max_expire_per_run: 100,
        apply: false,
    };

    fn terms(policy: Policy) -> Terms {
        Terms { policy, time_zone: "Europe/Berlin".into() }
    }

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 60 * minute).unwrap()
    }

    fn person(name: &str) -> Identity {
        Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: format!("AIDA{name}"), account: "1".into() }
    }

    fn shorter() -> Terms {
        terms(Policy { daily: 3, ..DRY })
    }

    fn waiting() -> InForce {
        InForce::first(terms(DRY), at(0)).with(&shorter(), at(1))
    }

    #[test]
    fn a_change_that_keeps_more_takes_effect_by_itself() {
        let longer = terms(Policy { daily: 30, ..DRY });
        let now = InForce::first(terms(DRY), at(0)).with(&longer, at(1));
        assert_eq!((now.terms, now.since, now.waiting), (longer, at(1), None));
    }

    #[test]
    fn a_change_that_shortens_waits_and_the_old_policy_decides_until_two_people_have_agreed() {
        let waiting = waiting();
        assert_eq!(waiting.terms, terms(DRY));
        assert_eq!(waiting.clone().with(&shorter(), at(9)), waiting, "asking again changes nothing");
        let version = shorter().version();
        let one = waiting.agree(&person("ana"), version.as_str(), at(2)).unwrap();
        assert_eq!(one.terms, terms(DRY), "one is not enough");
        let two = one.agree(&person("ben"), version.as_str(), at(3)).unwrap();
        assert_eq!((&two.terms, two.since, two.agreed.len(), &two.waiting), (&shorter(), at(3), 2, &None));
        assert_eq!(two.clone().agree(&person("ben"), version.as_str(), at(4)).unwrap(), two, "an answer that was lost");
    }

    #[test]
    fn nobody_agrees_twice_and_no_session_of_a_role_agrees() {
        let version = shorter().version();
        let one = waiting().agree(&person("ana"), version.as_str(), at(2)).unwrap();
        assert_eq!(one.clone().agree(&person("ana"), version.as_str(), at(3)).unwrap(), one);
        let session = |role: &str| Identity {
            arn: format!("arn:aws:sts::1:assumed-role/{role}/ana"),
            principal: format!("AROA{role}:ana"),
            account: "1".into(),
        };
        for same in [session("AWSReservedSSO_ops"), session("deploy")] {
            let refused = one.clone().agree(&same, version.as_str(), at(3)).unwrap_err();
            assert_eq!(refused.code(), ErrorCode::NotPermitted, "{refused}");
        }
        assert!(waiting().agree(&session("deploy"), version.as_str(), at(2)).is_err(), "not even as the first");
    }

    #[test]
    fn an_agreement_is_to_one_version_and_void_once_the_plan_says_something_else() {
        let version = shorter().version();
        let one = waiting().agree(&person("ana"), version.as_str(), at(2)).unwrap();
        let other = one.clone().with(&terms(Policy { daily: 2, ..DRY }), at(3));
        assert!(matches!(other.clone().agree(&person("ben"), version.as_str(), at(4)), Err(AgreeError::Other { .. })));
        assert!(other.waiting.unwrap().agreed.is_empty());
        let back = one.with(&terms(DRY), at(3));
        assert_eq!(back.agree(&person("ben"), version.as_str(), at(4)).unwrap_err(), AgreeError::NothingWaits);
    }

    #[test]
    fn another_zone_shortens() {
        let elsewhere = Terms { time_zone: "UTC".into(), ..terms(DRY) };
        assert_eq!(elsewhere.shorten(&terms(DRY)), ["time_zone from Europe/Berlin to UTC"]);
        assert_ne!(elsewhere.version(), terms(DRY).version());
    }

    #[test]
    fn the_persisted_names_are_promises() {
        let one = waiting().agree(&person("ana"), shorter().version().as_str(), at(2)).unwrap();
        let json = serde_json::to_value(&one).unwrap();
        assert_eq!(serde_json::from_value::<InForce>(json.clone()).unwrap(), one);
        insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(json) });
    }
}
