//! Alerts: what happened, what it means for recovery, and what to do.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::text::plain;

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// For the record.
    Info,
    /// Somebody should look within the working day.
    Warning,
    /// Somebody must look now.
    Critical,
}

impl Severity {
    /// The severity's name, as subscribers filter by it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// The class of an alert. With the subject it is what alerts are deduplicated by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertClass {
    /// A slot came and went without a recovery point.
    MissedSlot,
    /// A run gave up.
    RunFailed,
    /// A recovery point's content is not what it must be.
    BackupBad,
    /// A tenant's chain of recovery points has a gap, or holds something that the vault did not sign.
    ChainBroken,
    /// A restore test could not be carried out.
    EnvironmentBad,
    /// Nothing of a tenant has come back in a restore test for longer than the plan allows.
    ProofOld,
    /// Something stored of a tenant was not read again for longer than the plan allows.
    ReadingOld,
    /// A measured restore of a tenant took longer than the plan promises.
    RtoExceeded,
    /// The vault holds recovery points of a tenant that the catalog does not know.
    CatalogLost,
    /// The tenant register, or a row of it, could not be read.
    RegisterBad,
    /// A database holds data that no tenant of the register owns, so that no recovery point has it.
    Uncovered,
    /// Restores that are over left staging copies or roles behind.
    Leftover,
    /// Rows name media objects that are not there.
    DanglingReference,
    /// Retention wanted to expire more than it may in one run.
    RetentionCapped,
    /// The account holds as many snapshots as it may, and none can be spared.
    SnapshotQuota,
    /// RDS holds snapshots with this vault's tag that the catalog does not know.
    SnapshotUnknown,
    /// The plan's retention policy lets more go than the one in force, and too few people have agreed.
    RetentionShortened,
    /// A restore was asked for.
    RestoreRequested,
    /// A restore waits for other people.
    RestoreAwaitsApproval,
    /// Enough people have agreed to a restore; the work begins.
    RestoreApproved,
    /// One person carries a restore out alone. Open until another has reviewed it.
    BreakGlass,
    /// Nobody has reviewed a restore that one person carried out alone, and it is time.
    ReviewOverdue,
    /// A restore was carried out and matched.
    RestoreProven,
    /// A restore stopped.
    RestoreFailed,
    /// The erasure of a tenant waits for other people.
    ErasureAwaitsApproval,
    /// A tenant's recovery points were let go for good.
    ErasureDone,
    /// The erasure of a tenant stopped, or what it did was taken back.
    ErasureFailed,
    /// The recovery of an environment waits for other people.
    RecoveryAwaitsApproval,
    /// An environment was recovered and every tenant of it matched.
    RecoveryProven,
    /// The recovery of an environment stopped, or a part of it did.
    RecoveryFailed,
}

impl AlertClass {
    /// The class's name, as subscribers filter by it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MissedSlot => "missed_slot",
            Self::RunFailed => "run_failed",
            Self::BackupBad => "backup_bad",
            Self::ChainBroken => "chain_broken",
            Self::EnvironmentBad => "environment_bad",
            Self::ProofOld => "proof_old",
            Self::ReadingOld => "reading_old",
            Self::RtoExceeded => "rto_exceeded",
            Self::CatalogLost => "catalog_lost",
            Self::RegisterBad => "register_bad",
            Self::Uncovered => "uncovered",
            Self::Leftover => "leftover",
            Self::DanglingReference => "dangling_reference",
            Self::RetentionCapped => "retention_capped",
            Self::SnapshotQuota => "snapshot_quota",
            Self::SnapshotUnknown => "snapshot_unknown",
            Self::RetentionShortened => "retention_shortened",
            Self::RestoreRequested => "restore_requested",
            Self::RestoreAwaitsApproval => "restore_awaits_approval",
            Self::RestoreApproved => "restore_approved",
            Self::BreakGlass => "break_glass",
            Self::ReviewOverdue => "review_overdue",
            Self::RestoreProven => "restore_proven",
            Self::RestoreFailed => "restore_failed",
            Self::ErasureAwaitsApproval => "erasure_awaits_approval",
            Self::ErasureDone => "erasure_done",
            Self::ErasureFailed => "erasure_failed",
            Self::RecoveryAwaitsApproval => "recovery_awaits_approval",
            Self::RecoveryProven => "recovery_proven",
            Self::RecoveryFailed => "recovery_failed",
        }
    }

    /// Every class there is.
    pub const ALL: &[Self] = &[
        Self::MissedSlot,
        Self::RunFailed,
        Self::BackupBad,
        Self::ChainBroken,
        Self::EnvironmentBad,
        Self::ProofOld,
        Self::ReadingOld,
        Self::RtoExceeded,
        Self::CatalogLost,
        Self::RegisterBad,
        Self::Uncovered,
        Self::Leftover,
        Self::DanglingReference,
        Self::RetentionCapped,
        Self::SnapshotQuota,
        Self::SnapshotUnknown,
        Self::RetentionShortened,
        Self::RestoreRequested,
        Self::RestoreAwaitsApproval,
        Self::RestoreApproved,
        Self::BreakGlass,
        Self::ReviewOverdue,
        Self::RestoreProven,
        Self::RestoreFailed,
        Self::ErasureAwaitsApproval,
        Self::ErasureDone,
        Self::ErasureFailed,
        Self::RecoveryAwaitsApproval,
        Self::RecoveryProven,
        Self::RecoveryFailed,
    ];

    /// The page with the steps for whom it wakes, as it lies in this repository.
    #[must_use]
    pub fn runbook(self) -> &'static str {
        match self {
            Self::MissedSlot | Self::RunFailed => "docs/runbooks/backup-missing.md",
            Self::BackupBad | Self::ChainBroken => "docs/runbooks/backup-bad.md",
            Self::EnvironmentBad => "docs/runbooks/drill-failed.md",
            Self::ProofOld => "docs/runbooks/proof-old.md",
            Self::ReadingOld => "docs/runbooks/reading-old.md",
            Self::RtoExceeded => "docs/runbooks/rto-exceeded.md",
            Self::CatalogLost => "docs/runbooks/catalog-lost.md",
            Self::RegisterBad => "docs/runbooks/register-bad.md",
            Self::Uncovered => "docs/runbooks/uncovered-data.md",
            Self::Leftover => "docs/runbooks/leftovers.md",
            Self::DanglingReference => "docs/runbooks/dangling-references.md",
            Self::RetentionCapped => "docs/runbooks/retention-capped.md",
            Self::SnapshotQuota | Self::SnapshotUnknown => "docs/runbooks/snapshots-stuck.md",
            Self::RetentionShortened => "docs/runbooks/retention-shortened.md",
            Self::RestoreRequested | Self::RestoreAwaitsApproval => "docs/runbooks/approve-a-restore.md",
            Self::RestoreApproved | Self::RestoreProven => "docs/runbooks/restore-a-tenant.md",
            Self::BreakGlass | Self::ReviewOverdue => "docs/runbooks/break-glass.md",
            Self::RestoreFailed => "docs/runbooks/restore-failed.md",
            Self::ErasureAwaitsApproval | Self::ErasureDone | Self::ErasureFailed => "docs/runbooks/erase-a-tenant.md",
            Self::RecoveryAwaitsApproval | Self::RecoveryProven | Self::RecoveryFailed => "docs/runbooks/environment-lost.md",
        }
    }

    /// Whether it tells of something that happened, rather than of a trouble that lasts until it is mended.
    #[must_use]
    pub fn is_notice(self) -> bool {
        matches!(
            self,
            Self::RestoreRequested
                | Self::RestoreApproved
                | Self::RestoreProven
                | Self::RestoreFailed
                | Self::ErasureDone
                | Self::RecoveryProven
                | Self::RecoveryFailed
        )
    }

    /// How urgent alerts of this class are.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::RestoreRequested | Self::RestoreApproved | Self::RestoreProven | Self::RecoveryProven => Severity::Info,
            // Not for the record only: what is gone cannot be fetched back, and a key that waits to be deleted still can.
            Self::ErasureDone => Severity::Warning,
            Self::EnvironmentBad
            | Self::ProofOld
            | Self::ReadingOld
            | Self::RtoExceeded
            | Self::Leftover
            | Self::DanglingReference
            | Self::RestoreAwaitsApproval
            | Self::ErasureAwaitsApproval
            | Self::RecoveryAwaitsApproval
            | Self::SnapshotUnknown
            | Self::RetentionCapped
            | Self::RetentionShortened => Severity::Warning,
            Self::MissedSlot
            | Self::RunFailed
            | Self::BackupBad
            | Self::ChainBroken
            | Self::CatalogLost
            | Self::RegisterBad
            | Self::Uncovered
            | Self::SnapshotQuota
            | Self::RestoreFailed
            | Self::BreakGlass
            | Self::ReviewOverdue
            | Self::ErasureFailed
            | Self::RecoveryFailed => Severity::Critical,
        }
    }
}

/// One alert, as it is sent and as it is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Its class.
    pub class: AlertClass,
    /// What it is about: a tenant, an instance, a request.
    pub subject: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// What happened.
    pub summary: String,
    /// What it means for recovery.
    pub meaning: String,
    /// What to do next.
    pub remedy: String,
}

impl Alert {
    /// Readable text, for e-mail.
    #[must_use]
    pub fn to_text(&self, environment: &str) -> String {
        format!(
            "{} in {}\n\nWhat happened: {}\nWhat it means: {}\nWhat to do:    {}\nRunbook:       {}\n\nClass {}, subject {}, since {}.\n",
            self.class.severity().name().to_uppercase(),
            plain(environment),
            plain(&self.summary),
            plain(&self.meaning),
            plain(&self.remedy),
            self.class.runbook(),
            self.class.name(),
            plain(&self.subject),
            self.opened_at
        )
    }

    /// Stable JSON, for machines.
    #[must_use]
    pub fn to_json(&self, environment: &str) -> serde_json::Value {
        serde_json::json!({
            "version": 1,
            "environment": environment,
            "class": self.class.name(),
            "severity": self.class.severity().name(),
            "subject": self.subject,
            "opened_at": self.opened_at,
            "summary": self.summary,
            "meaning": self.meaning,
            "remedy": self.remedy,
            "runbook": self.class.runbook(),
        })
    }

    /// The subject line of an e-mail: ASCII, one line, at most 100 characters, as SNS demands.
    #[must_use]
    pub fn title(&self, environment: &str) -> String {
        let title =
            format!("[{}] Holdfast {}: {} ({})", self.class.severity().name(), environment, self.class.name(), self.subject);
        title.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(100).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_runbook_that_is_there_and_every_runbook_is_in_the_index() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let index = std::fs::read_to_string(root.join("docs/runbooks/README.md")).unwrap();
        for class in AlertClass::ALL {
            let runbook = class.runbook();
            assert!(root.join(runbook).is_file(), "{} names {runbook}", class.name());
            let file = runbook.rsplit('/').next().unwrap();
            assert!(index.contains(&format!("({file})")), "docs/runbooks/README.md does not list {file}");
        }
    }

    #[test]
    fn all_classes_are_all_of_them() {
        let source = include_str!("alert.rs");
        let named = source.split("pub fn name(self)").nth(2).and_then(|rest| rest.split("pub const ALL").next()).unwrap();
        assert_eq!(named.matches("Self::").count(), AlertClass::ALL.len());
        let distinct: std::collections::BTreeSet<_> = AlertClass::ALL.iter().collect();
        assert_eq!(distinct.len(), AlertClass::ALL.len());
    }

    #[test]
    fn a_hostile_name_cannot_forge_a_line_or_a_title() {
        let alert = Alert {
            class: AlertClass::MissedSlot,
            subject: "x\r\nBcc: all\u{202E}\u{1b}[2J".into(),
            opened_at: "2026-11-23T02:15:00Z".parse().unwrap(),
            summary: "no point\nWhat to do: nothing".into(),
            meaning: "m".into(),
            remedy: "r".into(),
        };
        let text = alert.to_text("test");
        assert_eq!(text.lines().filter(|line| line.starts_with("What to do")).count(), 1, "{text}");
        assert!(!text.contains(['\u{1b}', '\u{202E}', '\r']), "{text:?}");
        assert!(alert.title(&"e".repeat(200)).len() <= 100 && !alert.title("t").contains('\n'));
    }
}
