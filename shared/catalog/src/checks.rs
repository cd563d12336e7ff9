//! What verification did, and when: beside each recovery point, and of the round that is under way.

use std::collections::BTreeSet;

use domain::{
    RecoveryPointId,
    point::{Kind, RecoveryPoint},
    slot::Subject,
    verification::Checked,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, TableError},
};

/// Writers of one record are few: an invocation that reads and one that restores.
const ATTEMPTS_MAX: usize = 5;

/// What was done about a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckedRecord {
    /// Whose it is.
    pub subject: Subject,
    /// Which.
    pub point: RecoveryPointId,
    /// The sort key of the recovery point itself, so that both are listed alike.
    place: String,
    /// What was done.
    #[serde(flatten)]
    pub checked: Checked,
}

fn partition(subject: &Subject) -> String {
    match subject {
        Subject::Tenant(tenant) => format!("CHECKED#tenant#{tenant}"),
        Subject::Instance(id) => format!("CHECKED#instance#{id}"),
    }
}

impl Record for CheckedRecord {
    fn key(&self) -> Key {
        Key { pk: partition(&self.subject), sk: self.place.clone() }
    }
}

/// A day's round of checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Round {
    /// The scheduled time of the tick that began it.
    pub tick: Timestamp,
    /// Since when an invocation is reading; absent if none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading_since: Option<Timestamp>,
    /// Whether everything that was due was read.
    pub read: bool,
    /// When reading it again was last tried and failed; absent if nothing failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// Whether every restore test that was due was begun.
    pub tests_begun: bool,
    /// Recovery points of which a reading had all of an invocation's time and did not end. The round passes over them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub outran: BTreeSet<RecoveryPointId>,
}

/// What a round of checks left unread of a subject, so that nobody has to go through all of its recovery points to know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Whose it is.
    pub subject: Subject,
    /// Since when a stored byte of it was not read; absent if nothing is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread_since: Option<Timestamp>,
}

fn reading_key(subject: &Subject) -> Key {
    Key { pk: partition(subject).replacen("CHECKED#", "READING#", 1), sk: "reading".to_owned() }
}

impl Record for Reading {
    fn key(&self) -> Key {
        reading_key(&self.subject)
    }
}

fn round_key() -> Key {
    Key { pk: "VERIFICATION".to_owned(), sk: "round".to_owned() }
}

impl Record for Round {
    fn key(&self) -> Key {
        round_key()
    }
}

impl Catalog {
    /// What was done about a subject's recovery points of one kind, the newest first.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn checked(
        &self,
        subject: &Subject,
        kind: Kind,
        limit: usize,
    ) -> Result<Vec<Versioned<CheckedRecord>>, TableError> {
        self.list(&partition(subject), &format!("{}#", kind.name()), Order::Descending, limit).await
    }

    /// Adds to what was done about a recovery point.
    ///
    /// # Errors
    /// If the table fails, or others wrote it again and again.
    pub async fn record_checked(&self, point: &RecoveryPoint, change: impl Fn(&mut Checked)) -> Result<(), TableError> {
        let (subject, place) = (point.subject.clone(), point.key().sk);
        let fresh = CheckedRecord { subject, point: point.id, place, checked: Checked::default() };
        let key = fresh.key();
        for attempt in 1.. {
            let written = match self.get::<CheckedRecord>(&key).await? {
                Some(found) => {
                    let mut changed = found.value.clone();
                    change(&mut changed.checked);
                    self.update(&found, changed).await
                }
                None => {
                    let mut first = fresh.clone();
                    change(&mut first.checked);
                    self.create(first).await
                }
            };
            match written {
                Err(TableError::Conflict { .. }) if attempt < ATTEMPTS_MAX => {}
                other => return other.map(|_| ()),
            }
        }
        Ok(())
    }

    /// What the last round of checks left unread of a subject, if there was one.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn reading(&self, subject: &Subject) -> Result<Option<Versioned<Reading>>, TableError> {
        self.get(&reading_key(subject)).await
    }

    /// Records what a round leaves unread of a subject. Who is overtaken by another invocation leaves it at what that one saw.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn record_reading(&self, subject: &Subject, unread_since: Option<Timestamp>) -> Result<(), TableError> {
        let reading = Reading { subject: subject.clone(), unread_since };
        let written = match self.reading(subject).await? {
            Some(found) if found.value == reading => return Ok(()),
            Some(found) => self.update(&found, reading).await,
            None => self.create(reading).await,
        };
        match written {
            Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The round of checks that was begun last.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn round(&self) -> Result<Option<Versioned<Round>>, TableError> {
        self.get(&round_key()).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{point::Kind, slot::Slot};

    use super::*;
    use crate::MemoryTable;

    fn point(time: &str) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: time.parse().unwrap(), subject, kind: Kind::Database };
        RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), Timestamp::UNIX_EPOCH)
    }

    #[tokio::test]
    async fn what_a_round_leaves_unread_is_what_the_last_one_said_and_no_record_of_a_point() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let subject = point("2026-11-22T02:15:00Z").subject;
        assert_eq!(catalog.reading(&subject).await.unwrap(), None);
        for day in ["2026-11-22T03:30:00Z", "2026-11-23T03:30:00Z", "2026-11-23T03:30:00Z"] {
            let since: Timestamp = day.parse().unwrap();
            catalog.record_reading(&subject, Some(since)).await.unwrap();
            assert_eq!(catalog.reading(&subject).await.unwrap().unwrap().value.unread_since, Some(since));
        }
        catalog.record_reading(&subject, None).await.unwrap();
        assert_eq!(catalog.reading(&subject).await.unwrap().unwrap().value.unread_since, None);
        assert!(catalog.checked(&subject, Kind::Database, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn what_was_done_about_a_point_is_added_up_and_listed_like_the_points() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let (old, new) = (point("2026-11-22T02:15:00Z"), point("2026-11-23T02:15:00Z"));
        let at: Timestamp = "2026-11-23T03:30:00Z".parse().unwrap();
        catalog.record_checked(&new, |checked| checked.present_at = Some(at)).await.unwrap();
        catalog.record_checked(&old, |checked| checked.tested_at = Some(at)).await.unwrap();
        catalog.record_checked(&new, |checked| checked.tried_at = Some(at)).await.unwrap();
        let listed = catalog.checked(&new.subject, new.kind, 10).await.unwrap();
        assert_eq!(listed.iter().map(|record| record.value.point).collect::<Vec<_>>(), [new.id, old.id]);
        let expected = Checked { present_at: Some(at), tried_at: Some(at), ..Checked::default() };
        assert_eq!(listed[0].value.checked, expected);
    }
}
