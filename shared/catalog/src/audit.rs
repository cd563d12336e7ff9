//! The audit trail: an intent before each externally visible act, its outcome after.

use domain::RunId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, TableError},
};

/// Which side of an act an entry stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Written before the act.
    Intent,
    /// Written after it.
    Outcome,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Tells entries of the same instant apart, and ties an outcome to nothing but its own call.
    pub id: RunId,
    /// When it was written.
    pub at: Timestamp,
    /// Who acted: a person's ARN, or the function.
    pub actor: String,
    /// What was done, such as `restore.execute`.
    pub act: String,
    /// What it was done to.
    pub subject: String,
    /// Before or after.
    pub phase: Phase,
    /// What else an auditor needs to know.
    pub detail: String,
}

fn partition(at: Timestamp) -> String {
    format!("AUDIT#{}", at.strftime("%Y-%m-%d"))
}

impl Record for AuditEntry {
    fn key(&self) -> Key {
        Key { pk: partition(self.at), sk: format!("{}#{}", self.at.strftime("%Y-%m-%dT%H:%M:%S%.9fZ"), self.id) }
    }
}

impl Catalog {
    /// Writes an entry. Entries are never changed.
    ///
    /// # Errors
    /// If the table fails; the act must then not happen.
    pub async fn audit(&self, entry: AuditEntry) -> Result<(), TableError> {
        self.create(entry).await.map(|_| ())
    }

    /// The entries of the UTC day of `day`, in order.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn audit_of(&self, day: Timestamp, limit: usize) -> Result<Vec<AuditEntry>, TableError> {
        let found: Vec<Versioned<AuditEntry>> = self.list(&partition(day), "", Order::Ascending, limit).await?;
        Ok(found.into_iter().map(|entry| entry.value).collect())
    }
}
