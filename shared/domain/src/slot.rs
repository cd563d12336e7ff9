//! Slots: one scheduled instant of one rule for one item, and the recovery point id that follows from it.

use jiff::Timestamp;

use crate::{id::RecoveryPointId, point::Kind, tenant::TenantId};

/// What a recovery point is of: a tenant, or a database instance as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// A tenant, in its own scope.
    Tenant(TenantId),
    /// A database of the plan with everything on its instance.
    Instance(String),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tenant(tenant) => write!(f, "{tenant}"),
            Self::Instance(id) => write!(f, "instance {id}"),
        }
    }
}

/// One scheduled instant of one rule for one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The rule's id; `manual` for a run that an operator asked for, `point-in-time` for one that a restore asked for.
    pub rule: String,
    /// The instant the schedule named, not the one at which somebody looked.
    pub scheduled_time: Timestamp,
    /// What is backed up.
    pub subject: Subject,
    /// Which kind of recovery point it gives.
    pub kind: Kind,
}

impl Slot {
    /// The rule id of runs that an operator asked for.
    pub const MANUAL: &str = "manual";
    /// The rule id of what is kept of a tenant's present state before a restore changes it. Nobody asks for that state without naming
    /// it, or the restore: it is the very one that somebody wanted to be rid of.
    pub const BEFORE_RESTORE: &str = "before-restore";
    /// The rule id of recovery points that a restore request has made of an instant.
    pub const POINT_IN_TIME: &str = "point-in-time";
    /// The tag of a snapshot that names the rule which asked for it.
    pub const RULE_TAG: &str = "holdfast:rule";
    /// The tag of a snapshot with the instant that the schedule named.
    pub const SCHEDULED_TAG: &str = "holdfast:scheduled-time";

    /// What a snapshot's tags say of its slot, by the names of the tags.
    #[must_use]
    pub fn tags(&self) -> [(&'static str, String); 2] {
        [(Self::RULE_TAG, self.rule.clone()), (Self::SCHEDULED_TAG, self.scheduled_time.to_string())]
    }

    /// The slot of a tenant's rows at an instant that a restore asks for: two requests for one instant share their recovery point.
    #[must_use]
    pub fn of_instant(tenant: TenantId, instant: Timestamp) -> Self {
        let (rule, subject) = (Self::POINT_IN_TIME.to_owned(), Subject::Tenant(tenant));
        Self { rule, scheduled_time: instant, subject, kind: Kind::Database }
    }

    /// The recovery point id that this slot, and no other, gives.
    ///
    /// The first 16 bytes of a BLAKE3 hash over the length-prefixed parts, marked as a version 8 UUID (RFC 9562).
    #[must_use]
    pub fn recovery_point_id(&self) -> RecoveryPointId {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast slot v1");
        let subject = match &self.subject {
            Subject::Tenant(tenant) => format!("tenant {tenant}"),
            Subject::Instance(id) => format!("instance {id}"),
        };
        for part in [self.rule.as_str(), &self.scheduled_time.to_string(), &subject, self.kind.name()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        RecoveryPointId::from_uuid(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(rule: &str, time: &str, tenant: &str, kind: Kind) -> Slot {
        Slot { rule: rule.into(), scheduled_time: time.parse().unwrap(), subject: Subject::Tenant(tenant.parse().unwrap()), kind }
    }

    #[test]
    fn a_slot_names_the_same_recovery_point_every_time() {
        let id = slot("daily", "2026-11-23T02:15:00Z", "acme", Kind::Database).recovery_point_id();
        insta::assert_snapshot!(id, @"rp_c28ff9cb-30f2-81c6-b010-287069b31ef2");
    }

    #[test]
    fn any_other_slot_names_another() {
        let time = "2026-11-23T02:15:00Z";
        let ids: std::collections::BTreeSet<_> = [
            slot("daily", time, "acme", Kind::Database),
            slot("daily", time, "acme", Kind::Media),
            slot("daily", time, "acm", Kind::Database),
            slot("dail", time, "acme", Kind::Database),
            slot("daily", "2026-11-24T02:15:00Z", "acme", Kind::Database),
            Slot { subject: Subject::Instance("acme".into()), ..slot("daily", time, "acme", Kind::Database) },
        ]
        .iter()
        .map(Slot::recovery_point_id)
        .collect();
        assert_eq!(ids.len(), 6);
    }
}
