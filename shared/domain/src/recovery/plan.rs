//! What a recovery would do, as the people who approve it see it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PlannedTenant, Recovery, Source};
use crate::{
    forecast::Forecast,
    id::{RecoveryId, RecoveryPointId},
};

/// How the name of every instance of a recovery begins; roles go by it.
const INSTANCE_PREFIX: &str = "holdfast-recovery-";

/// What an instance is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MadeFrom {
    /// A snapshot.
    Snapshot(FromSnapshot),
    /// The log of the instance that it takes the place of.
    Instant(FromInstant),
}

impl MadeFrom {
    /// The instant whose data it will hold.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        match self {
            Self::Snapshot(from) => from.as_of,
            Self::Instant(from) => from.as_of,
        }
    }

    /// The recovery point whose record has the settings to give back; none if nobody recorded any.
    #[must_use]
    pub fn settings_of(&self) -> Option<RecoveryPointId> {
        match self {
            Self::Snapshot(from) => from.settings_of,
            Self::Instant(from) => from.settings_of,
        }
    }

    /// The recovery point of its snapshot; an instant has none.
    #[must_use]
    pub fn point(&self) -> Option<RecoveryPointId> {
        match self {
            Self::Snapshot(from) => Some(from.point),
            Self::Instant(_) => None,
        }
    }

    /// Where a tenant's data comes from that stands as the instance has it.
    #[must_use]
    pub fn source(&self) -> Source {
        match self {
            Self::Snapshot(from) => Source::Snapshot { as_of: from.as_of },
            Self::Instant(from) => Source::Instant { as_of: from.as_of },
        }
    }
}

/// The instant that an instance is restored to by RDS, from its automated backups and its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromInstant {
    /// RDS's immutable id of the instance whose backups these are: one that took its name since has another history.
    pub resource_id: String,
    /// The instant.
    pub as_of: Timestamp,
    /// The recovery point whose record has the settings to give back; none if nobody recorded any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_of: Option<RecoveryPointId>,
}

/// The snapshot that an instance is made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromSnapshot {
    /// Its recovery point.
    pub point: RecoveryPointId,
    /// Its identifier.
    pub identifier: String,
    /// Its ARN.
    pub arn: String,
    /// The instant whose data it holds.
    pub as_of: Timestamp,
    /// The recovery point whose record has the settings to give back; none if nobody recorded any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings_of: Option<RecoveryPointId>,
}

/// An instance to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInstance {
    /// The database of the plan that stands for it.
    pub database: String,
    /// The instance that it takes the place of.
    pub replaces: String,
    /// Its identifier: derived, so that two deliveries ask for one instance.
    pub name: String,
    /// What it is made from; none if there is nothing.
    pub from: Option<MadeFrom>,
}

impl PlannedInstance {
    /// The identifier of the instance that takes a database's place: by RDS's rules, at most 63 letters, digits and single hyphens.
    ///
    /// A database id that cannot stand in it as it is, is told apart by a hash.
    #[must_use]
    pub fn name_for(recovery: RecoveryId, database: &str) -> String {
        const READABLE_MAX: usize = 20;
        let mut readable = String::new();
        for byte in database.bytes().map(|byte| byte.to_ascii_lowercase()) {
            if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
                readable.push(char::from(byte));
            } else if !readable.is_empty() && !readable.ends_with('-') {
                readable.push('-');
            }
        }
        readable.truncate(READABLE_MAX);
        let readable = readable.trim_end_matches('-');
        let hex = recovery.uuid().simple().to_string();
        let begins = format!("{INSTANCE_PREFIX}{}", &hex[hex.len() - 12..]);
        if readable == database {
            return format!("{begins}-{readable}");
        }
        let hash = blake3::hash(database.as_bytes()).to_hex();
        let readable = if readable.is_empty() { "db" } else { readable };
        format!("{begins}-{readable}-{}", &hash[..8])
    }
}

/// What a recovery would do. Its tenants, of whom there may be thousands, are records of their own, and bound in by the digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPlan {
    /// When it was made.
    pub at: Timestamp,
    /// The new instances.
    pub instances: Vec<PlannedInstance>,
    /// How many tenants there are, in order of priority.
    pub tenants: u32,
    /// How many of them are the platform's own databases, which come first.
    pub platform: u32,
    /// How many come back from an export; the others stay as their instance has them.
    pub from_exports: u32,
    /// What people should know: what has no snapshot, what was never proven.
    pub notes: Vec<String>,
    /// How long the largest tenant that comes from an export may take, its instance included, by restore tests.
    pub forecast: Forecast,
    /// Digest over all that was asked for and all of the above, every tenant included: what an approval is bound to.
    pub digest: String,
}

impl RecoveryPlan {
    /// Seals a plan.
    #[must_use]
    pub fn sealed(self, recovery: &Recovery, tenants: &[PlannedTenant]) -> Self {
        Self { digest: self.seal(recovery, tenants), ..self }
    }

    /// The digest that this plan must have, for this recovery of these tenants.
    pub(super) fn seal(&self, recovery: &Recovery, tenants: &[PlannedTenant]) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast recovery plan v1");
        let Recovery { id, to, native, reason, requested_by, requested_at, state: _ } = recovery;
        let Self { at, instances, tenants: count, platform, from_exports, notes, forecast, digest: _ } = self;
        let mut part = |json: Result<String, serde_json::Error>| {
            // Plain structs of text and numbers always have their JSON, and JSON keeps its parts apart.
            let json = json.unwrap_or_default();
            hasher.update(&(json.len() as u64).to_be_bytes());
            hasher.update(json.as_bytes());
        };
        part(serde_json::to_string(&(id, to, reason, requested_by, requested_at)));
        // Recoveries of before there was a choice keep their digest.
        if *native {
            part(serde_json::to_string("native"));
        }
        part(serde_json::to_string(&(at, instances, count, platform, from_exports, notes, forecast)));
        for tenant in tenants {
            part(serde_json::to_string(tenant));
        }
        hasher.finalize().to_hex().to_string()
    }
}
