//! Restore tests under way: which isolated instance serves which recovery point, so that nothing is left running.

use domain::{RecoveryPointId, TenantId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, StateKey, TableError},
};

const PARTITION: &str = "DRILLS";

/// How far a restore test has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DrillState {
    /// The isolated instance is being made, or waits to be used.
    Restoring,
    /// An invocation is loading and comparing. If it stopped in the middle, another takes over once its time must be up.
    Comparing {
        /// When it began.
        since: Timestamp,
    },
    /// The comparison is done; the instance must go.
    TearingDown {
        /// What came of it.
        outcome: String,
    },
    /// The instance is gone.
    Done {
        /// When.
        at: Timestamp,
        /// What came of it.
        outcome: String,
    },
}

/// A restore test of one recovery point on an isolated instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// The isolated instance's identifier. It begins with the time, so that listings are in order.
    pub instance: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The recovery point under test.
    pub point: RecoveryPointId,
    /// When it began; the RTO counts from here.
    pub started_at: Timestamp,
    /// The scheduled time of the tick that began it; absent if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Timestamp>,
    /// How far it has come.
    #[serde(flatten)]
    pub state: DrillState,
}

impl Drill {
    /// Whether its instance may still run.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !matches!(self.state, DrillState::Done { .. })
    }
}

impl Record for Drill {
    fn key(&self) -> Key {
        Key { pk: PARTITION.to_owned(), sk: self.instance.clone() }
    }

    fn state(&self) -> Option<StateKey> {
        self.is_open().then(|| StateKey { state_key: "drill#open".to_owned(), state_at: self.started_at.to_string() })
    }
}

impl Catalog {
    /// The drill on this instance.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn drill(&self, instance: &str) -> Result<Option<Versioned<Drill>>, TableError> {
        self.get(&Key { pk: PARTITION.to_owned(), sk: instance.to_owned() }).await
    }

    /// Drills, open and done, the latest first, seeing every finished write.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn drills(&self, limit: usize) -> Result<Vec<Versioned<Drill>>, TableError> {
        self.list(PARTITION, "", Order::Descending, limit).await
    }

    /// Drills that are not done, seeing every finished write.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn open_drills(&self, limit: usize) -> Result<Vec<Versioned<Drill>>, TableError> {
        let drills = self.drills(limit).await?;
        Ok(drills.into_iter().filter(|drill| drill.value.is_open()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryTable;

    fn drill(instance: &str, state: DrillState) -> Drill {
        Drill {
            instance: instance.to_owned(),
            tenant: "acme".parse().unwrap(),
            point: "rp_00000000-0000-8000-8000-000000000001".parse().unwrap(),
            started_at: Timestamp::UNIX_EPOCH,
            tick: None,
            state,
        }
    }

    #[tokio::test]
    async fn open_drills_are_those_whose_clone_may_still_run() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let at = Timestamp::UNIX_EPOCH;
        let outcome = "proven".to_owned();
        for (instance, state) in [
            ("d-1", DrillState::Restoring),
            ("d-2", DrillState::Comparing { since: at }),
            ("d-3", DrillState::TearingDown { outcome: outcome.clone() }),
            ("d-4", DrillState::Done { at, outcome }),
        ] {
            catalog.create(drill(instance, state)).await.unwrap();
        }
        let names = |drills: Vec<Versioned<Drill>>| drills.into_iter().map(|drill| drill.value.instance).collect::<Vec<_>>();
        assert_eq!(names(catalog.drills(10).await.unwrap()), ["d-4", "d-3", "d-2", "d-1"]);
        assert_eq!(names(catalog.open_drills(10).await.unwrap()), ["d-3", "d-2", "d-1"]);
    }

    #[test]
    fn a_record_from_before_ticks_were_recorded_is_still_read() {
        let text = serde_json::to_string(&drill("d-1", DrillState::Restoring)).unwrap();
        assert!(!text.contains("tick"), "{text}");
        assert_eq!(serde_json::from_str::<Drill>(&text).unwrap().tick, None);
    }
}
