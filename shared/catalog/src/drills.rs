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
    /// The isolated instance's identifier.
    pub instance: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The recovery point under test.
    pub point: RecoveryPointId,
    /// When it began; the RTO counts from here.
    pub started_at: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    pub state: DrillState,
}

impl Record for Drill {
    fn key(&self) -> Key {
        Key { pk: PARTITION.to_owned(), sk: self.instance.clone() }
    }

    fn state(&self) -> Option<StateKey> {
        (!matches!(self.state, DrillState::Done { .. }))
            .then(|| StateKey { state_key: "drill#open".to_owned(), state_at: self.started_at.to_string() })
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

    /// Drills that are not done, seeing every finished write.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn open_drills(&self, limit: usize) -> Result<Vec<Versioned<Drill>>, TableError> {
        let drills: Vec<Versioned<Drill>> = self.list(PARTITION, "", Order::Descending, limit).await?;
        Ok(drills.into_iter().filter(|drill| !matches!(drill.value.state, DrillState::Done { .. })).collect())
    }
}
