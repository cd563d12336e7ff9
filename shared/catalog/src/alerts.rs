//! Alerts that are open or were: what keeps one trouble from paging twice.

use domain::alert::{Alert, AlertClass};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, StateKey, TableError},
};

const PARTITION: &str = "ALERTS";
const OPEN: &str = "alert#open";

/// An alert and whether its trouble lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// What was last said about it.
    pub alert: Alert,
    /// When the trouble was over; absent while it lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
    /// When a subscriber was last told; absent if sending has not succeeded yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
}

fn alert_key(class: AlertClass, subject: &str) -> Key {
    Key { pk: PARTITION.to_owned(), sk: format!("{}#{subject}", class.name()) }
}

impl Record for AlertRecord {
    fn key(&self) -> Key {
        alert_key(self.alert.class, &self.alert.subject)
    }

    fn state(&self) -> Option<StateKey> {
        self.closed_at.is_none().then(|| StateKey { state_key: OPEN.to_owned(), state_at: self.alert.opened_at.to_string() })
    }
}

impl Catalog {
    /// Opens an alert. Returns the record if a subscriber must be told: it is new, was closed, or telling failed before.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn open_alert(&self, alert: &Alert) -> Result<Option<Versioned<AlertRecord>>, TableError> {
        let fresh = AlertRecord { alert: alert.clone(), closed_at: None, sent_at: None };
        let key = fresh.key();
        let opened = match self.get::<AlertRecord>(&key).await? {
            None => self.create(fresh).await,
            Some(known) if known.value.closed_at.is_some() => self.update(&known, fresh).await,
            Some(known) if known.value.sent_at.is_none() => Ok(known),
            Some(_) => return Ok(None),
        };
        match opened {
            Ok(record) => Ok(Some(record)),
            // Somebody else opened it at the same moment and tells the subscribers.
            Err(TableError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The alert of this class about this subject, open or closed, if there ever was one.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn alert(&self, class: AlertClass, subject: &str) -> Result<Option<AlertRecord>, TableError> {
        Ok(self.get::<AlertRecord>(&alert_key(class, subject)).await?.map(|record| record.value))
    }

    /// Records that subscribers were told.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn mark_sent(&self, record: &Versioned<AlertRecord>, now: Timestamp) -> Result<(), TableError> {
        let sent = AlertRecord { sent_at: Some(now), ..record.value.clone() };
        settled(self.update(record, sent).await)
    }

    /// Closes an alert whose trouble is over. Returns whether it was open.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn close_alert(&self, class: AlertClass, subject: &str, now: Timestamp) -> Result<bool, TableError> {
        match self.get::<AlertRecord>(&alert_key(class, subject)).await? {
            Some(known) if known.value.closed_at.is_none() => {
                let closed = AlertRecord { closed_at: Some(now), ..known.value.clone() };
                settled(self.update(&known, closed).await).map(|()| true)
            }
            _ => Ok(false),
        }
    }

    /// The open alerts, the oldest first. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn open_alerts(&self, limit: usize) -> Result<Vec<AlertRecord>, TableError> {
        let found: Vec<Versioned<AlertRecord>> = self.list_state(OPEN, limit).await?;
        Ok(found.into_iter().map(|record| record.value).collect())
    }

    /// Every alert there ever was, by class and subject.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn alerts(&self, class: Option<AlertClass>, limit: usize) -> Result<Vec<AlertRecord>, TableError> {
        let prefix = class.map(|class| format!("{}#", class.name())).unwrap_or_default();
        let found: Vec<Versioned<AlertRecord>> = self.list(PARTITION, &prefix, Order::Ascending, limit).await?;
        Ok(found.into_iter().map(|record| record.value).collect())
    }
}

/// Whoever wrote the alert in between has settled it as well: nobody's work fails over the order of two notes about it.
fn settled(written: Result<Versioned<AlertRecord>, TableError>) -> Result<(), TableError> {
    match written {
        Ok(_) | Err(TableError::Conflict { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryTable;

    #[tokio::test]
    async fn one_trouble_is_told_once_until_it_is_over() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let now: Timestamp = "2026-11-23T03:00:00Z".parse().unwrap();
        let alert = Alert {
            class: AlertClass::MissedSlot,
            subject: "acme".into(),
            opened_at: now,
            summary: "s".into(),
            meaning: "m".into(),
            remedy: "r".into(),
        };
        let opened = catalog.open_alert(&alert).await.unwrap().expect("a new alert is told");
        assert!(catalog.open_alert(&alert).await.unwrap().is_some(), "telling has not succeeded yet");
        catalog.mark_sent(&opened, now).await.unwrap();
        assert!(catalog.open_alert(&alert).await.unwrap().is_none(), "told already");
        assert!(catalog.close_alert(AlertClass::MissedSlot, "acme", now).await.unwrap());
        assert!(!catalog.close_alert(AlertClass::MissedSlot, "acme", now).await.unwrap());
        assert!(catalog.open_alert(&alert).await.unwrap().is_some(), "the trouble is back");
    }
}
