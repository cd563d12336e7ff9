//! One tenant of a recovery: what was planned for it, and what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    error::ErrorReport,
    id::{RecoveryId, RecoveryPointId},
    tenant::TenantId,
};

/// Where a tenant's data comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "source", rename_all = "snake_case")]
pub enum Source {
    /// An export that is newer than what the instance is made from.
    Export {
        /// The recovery point.
        point: RecoveryPointId,
        /// What names its content: its link's hash.
        content: String,
        /// The instant that it holds.
        as_of: Timestamp,
    },
    /// The instance's snapshot, as it is.
    Snapshot {
        /// The instant that it holds.
        as_of: Timestamp,
    },
    /// The instance as it was at the instant that was asked for, by RDS's own log.
    Instant {
        /// The instant.
        as_of: Timestamp,
    },
    /// Nothing: there is nothing to make its instance from.
    Nowhere,
}

impl Source {
    /// The instant that it holds.
    #[must_use]
    pub fn as_of(&self) -> Option<Timestamp> {
        match self {
            Self::Export { as_of, .. } | Self::Snapshot { as_of } | Self::Instant { as_of } => Some(*as_of),
            Self::Nowhere => None,
        }
    }
}

/// What is planned for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedTenant {
    /// The tenant.
    pub tenant: TenantId,
    /// Its criticality class.
    pub class: String,
    /// The database of the plan where it lives.
    pub database: String,
    /// Whether it shares its tables with others, so that they are restored one after the other.
    pub pooled: bool,
    /// Where its data comes from.
    #[serde(flatten)]
    pub from: Source,
}

/// What became of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "progress", rename_all = "snake_case")]
pub enum Progress {
    /// Its turn has not come.
    Waiting,
    /// It is being restored.
    Restoring {
        /// Since when.
        since: Timestamp,
        /// What the last attempt ended with, if another follows.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trouble: Option<String>,
    },
    /// Its live data in the new environment equals its recovery point.
    Proven {
        /// When that was seen.
        at: Timestamp,
        /// From the first attempt to the match, in milliseconds.
        rto_ms: i64,
        /// Rows that match.
        rows: u64,
        /// Where the snapshot's state of it is kept.
        undo_copy: Option<String>,
        /// What a person should look at.
        notes: Vec<String>,
    },
    /// It stands as the snapshot has it, and was counted.
    AsOfSnapshot {
        /// When.
        at: Timestamp,
        /// From the beginning of the count to its end, in milliseconds.
        rto_ms: i64,
        /// Its tables.
        tables: u64,
        /// Its rows.
        rows: u64,
    },
    /// It stands as its instance was at the instant that was asked for, and was counted.
    AsOfInstant {
        /// When.
        at: Timestamp,
        /// From the beginning of the count to its end, in milliseconds.
        rto_ms: i64,
        /// Its tables.
        tables: u64,
        /// Its rows.
        rows: u64,
    },
    /// The recovered register says that it is no customer any more.
    LeftOut {
        /// When.
        at: Timestamp,
        /// What the register says.
        why: String,
    },
    /// It is not back.
    Failed {
        /// When it was given up.
        at: Timestamp,
        /// The error code.
        code: String,
        /// What stopped it and what to do.
        message: String,
    },
}

impl Progress {
    /// The progress's name, as persisted and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Restoring { .. } => "restoring",
            Self::Proven { .. } => "proven",
            Self::AsOfSnapshot { .. } => "as_of_snapshot",
            Self::AsOfInstant { .. } => "as_of_instant",
            Self::LeftOut { .. } => "left_out",
            Self::Failed { .. } => "failed",
        }
    }

    /// A failure.
    #[must_use]
    pub fn failed(report: &ErrorReport, now: Timestamp) -> Self {
        Self::Failed { at: now, code: report.code.name().to_owned(), message: report.message.clone() }
    }

    /// Whether nothing more will happen to it.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Restoring { .. })
    }
}

/// A tenant of a recovery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveredTenant {
    /// The recovery.
    pub recovery: RecoveryId,
    /// Its place in the order of priority, from 0.
    pub index: u32,
    /// Whether it was in the plan that was approved. Others are in the recovered register only: they are counted, never restored.
    pub planned: bool,
    /// What is planned for it.
    #[serde(flatten)]
    pub plan: PlannedTenant,
    /// What became of it.
    #[serde(flatten)]
    pub progress: Progress,
}

impl RecoveredTenant {
    /// What its restore's names are derived from: another one for every recovery and tenant, the same at every delivery.
    #[must_use]
    pub fn restore_id(&self) -> Uuid {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast recovered tenant v1");
        hasher.update(self.recovery.uuid().as_bytes());
        hasher.update(self.plan.tenant.as_str().as_bytes());
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }
}
