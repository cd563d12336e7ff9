//! Retention decisions as they were made, for the auditor.

use domain::{point::Kind, retention::Decision, slot::Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, TableError},
};

/// What one retention run decided about one subject and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecisionRecord {
    /// What the recovery points are of.
    pub subject: Subject,
    /// What they hold.
    pub kind: Kind,
    /// The instant the schedule named.
    pub scheduled_time: Timestamp,
    /// Whether the decisions were carried out.
    pub applied: bool,
    /// One per recovery point, newest first.
    pub decisions: Vec<Decision>,
}

fn partition(subject: &Subject) -> String {
    format!("RETENTION#{subject}")
}

impl Record for DecisionRecord {
    fn key(&self) -> Key {
        Key { pk: partition(&self.subject), sk: format!("{}#{}", self.kind.name(), self.scheduled_time) }
    }
}

impl Catalog {
    /// Stores what a run decided. The second delivery of the same tick finds it stored and changes nothing.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn record_decision(&self, record: DecisionRecord) -> Result<(), TableError> {
        match self.create(record).await {
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The newest decisions about a subject and kind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn newest_decision(&self, subject: &Subject, kind: Kind) -> Result<Option<DecisionRecord>, TableError> {
        let prefix = format!("{}#", kind.name());
        let found: Vec<Versioned<DecisionRecord>> = self.list(&partition(subject), &prefix, Order::Descending, 1).await?;
        Ok(found.into_iter().next().map(|record| record.value))
    }
}
