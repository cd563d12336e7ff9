//! Archives: what RDS was asked to export from snapshots to files for the long term, and what came of it.

use domain::{RecoveryPointId, slot::Subject};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, TableError},
};

/// How far an archive has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ArchiveState {
    /// RDS was asked for it, or is about to be.
    Asked,
    /// Everything is in the bucket.
    Complete {
        /// When that was seen.
        at: Timestamp,
    },
    /// RDS gave up.
    Failed {
        /// When that was seen.
        at: Timestamp,
        /// Why.
        why: String,
    },
}

/// The archive of one month of one instance or cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// What it is of.
    pub subject: Subject,
    /// The month in the plan's zone, such as `2026-11`.
    pub month: String,
    /// Which attempt this is, from 1 on. Older records are of the first.
    #[serde(default = "first")]
    pub attempt: u8,
    /// The identifier of RDS's export task, below which the files are in the bucket.
    pub task: String,
    /// The recovery point whose snapshot is exported.
    pub point: RecoveryPointId,
    /// The snapshot's ARN.
    pub snapshot: String,
    /// The bucket, as the plan named it.
    pub bucket: String,
    /// When RDS was asked.
    pub asked_at: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    pub state: ArchiveState,
}

fn first() -> u8 {
    1
}

fn partition(subject: &Subject) -> String {
    format!("ARCHIVES#{subject}")
}

impl Record for ArchiveRecord {
    fn key(&self) -> Key {
        Key { pk: partition(&self.subject), sk: self.month.clone() }
    }
}

impl Catalog {
    /// The latest archive of an instance or cluster.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn latest_archive(&self, subject: &Subject) -> Result<Option<Versioned<ArchiveRecord>>, TableError> {
        Ok(self.list(&partition(subject), "", Order::Descending, 1).await?.pop())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryTable;

    #[test]
    fn a_record_from_before_attempts_were_counted_is_of_the_first() {
        let old = serde_json::json!({
            "subject": { "instance": "central" }, "month": "2026-11", "task": "t", "point": "rp_00000000-0000-8000-8000-000000000001",
            "snapshot": "arn", "bucket": "b", "asked_at": "2026-11-01T02:00:00Z", "state": "asked",
        });
        assert_eq!(serde_json::from_value::<ArchiveRecord>(old).unwrap().attempt, 1);
    }

    #[tokio::test]
    async fn the_latest_archive_is_that_of_the_latest_month() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let subject = Subject::Instance("central".into());
        assert_eq!(catalog.latest_archive(&subject).await.unwrap(), None);
        for month in ["2026-11", "2027-01", "2026-12"] {
            let record = ArchiveRecord {
                subject: subject.clone(),
                month: month.into(),
                attempt: 1,
                task: format!("holdfast-{month}"),
                point: "rp_00000000-0000-8000-8000-000000000001".parse().unwrap(),
                snapshot: "arn".into(),
                bucket: "b".into(),
                asked_at: Timestamp::UNIX_EPOCH,
                state: ArchiveState::Asked,
            };
            catalog.create(record).await.unwrap();
        }
        assert_eq!(catalog.latest_archive(&subject).await.unwrap().unwrap().value.month, "2027-01");
        assert_eq!(catalog.latest_archive(&Subject::Instance("centra".into())).await.unwrap(), None);
    }
}
