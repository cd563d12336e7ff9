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
    /// The tenant register, or a row of it, could not be read.
    RegisterBad,
    /// A database holds data that no tenant of the register owns, so that no recovery point has it.
    Uncovered,
    /// Rows name media objects that are not there.
    DanglingReference,
    /// Retention wanted to expire more than it may in one run.
    RetentionCapped,
    /// A restore waits for a second person.
    RestoreAwaitsApproval,
    /// A restore was carried out and matched.
    RestoreProven,
    /// A restore stopped.
    RestoreFailed,
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
            Self::RegisterBad => "register_bad",
            Self::Uncovered => "uncovered",
            Self::DanglingReference => "dangling_reference",
            Self::RetentionCapped => "retention_capped",
            Self::RestoreAwaitsApproval => "restore_awaits_approval",
            Self::RestoreProven => "restore_proven",
            Self::RestoreFailed => "restore_failed",
        }
    }

    /// Whether it tells of something that happened, rather than of a trouble that lasts until it is mended.
    #[must_use]
    pub fn is_notice(self) -> bool {
        matches!(self, Self::RestoreProven | Self::RestoreFailed)
    }

    /// How urgent alerts of this class are.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::RestoreProven => Severity::Info,
            Self::EnvironmentBad | Self::DanglingReference | Self::RestoreAwaitsApproval | Self::RetentionCapped => {
                Severity::Warning
            }
            Self::MissedSlot
            | Self::RunFailed
            | Self::BackupBad
            | Self::ChainBroken
            | Self::RegisterBad
            | Self::Uncovered
            | Self::RestoreFailed => Severity::Critical,
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
            "{} in {}\n\nWhat happened: {}\nWhat it means: {}\nWhat to do:    {}\n\nClass {}, subject {}, since {}.\n",
            self.class.severity().name().to_uppercase(),
            plain(environment),
            plain(&self.summary),
            plain(&self.meaning),
            plain(&self.remedy),
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
