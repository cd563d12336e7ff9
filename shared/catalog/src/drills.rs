//! Restore tests under way: which isolated instance serves which recovery points, so that nothing is left running.

use std::collections::BTreeMap;

use domain::{RecoveryPointId, TenantId, forecast::Sample};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, StateKey, TableError},
};

const PARTITION: &str = "DRILLS";
const OPEN: &str = "drill#open";
/// Latest drills that are read to find open ones: more than are ever begun within the index's lag, each of some 50 KB at most.
const LATEST_READ: usize = 50;

/// How far a restore test has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum DrillState {
    /// The isolated instance is being made, or waits to be used.
    Restoring,
    /// An invocation is loading and comparing, one tenant after the other. If it stopped in the middle, another takes over once its time
    /// must be up.
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

/// Restore tests on one isolated instance: of the snapshot that it was made from, and of exports of tenants that live on its like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Persisted")]
pub struct Drill {
    /// The isolated instance's identifier. It begins with the time, so that listings are in order.
    pub instance: String,
    /// The plan's database that stands for the instance it is a clone of; absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The recovery point that holds the snapshot it is made from; absent in older records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RecoveryPointId>,
    /// When the instance was first found to take connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<Timestamp>,
    /// What came of the snapshot's own test; absent until it has been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot_outcome: Option<String>,
    /// The tests of exports, in the order in which they are made.
    pub tests: Vec<Test>,
    /// When it began; the RTO counts from here.
    pub started_at: Timestamp,
    /// The scheduled time of the tick that began it; absent if a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tick: Option<Timestamp>,
    /// How far it has come.
    #[serde(flatten)]
    pub state: DrillState,
}

/// The test of one export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// The tenant.
    pub tenant: TenantId,
    /// The recovery point under test.
    pub point: RecoveryPointId,
    /// How many invocations have begun it.
    #[serde(default)]
    pub attempts: u32,
    /// How long loading and comparing took, if it came back equal; forecasts are made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Sample>,
    /// What came of it; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
}

impl Test {
    /// A test that is still to be made.
    #[must_use]
    pub fn of(tenant: TenantId, point: RecoveryPointId) -> Self {
        Self { tenant, point, attempts: 0, measured: None, outcome: None }
    }
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "came", content = "why", rename_all = "snake_case")]
pub enum Outcome {
    /// The recovery point came back equal.
    Proven,
    /// It came back wrong, or did not load.
    Bad(String),
    /// The test could not be made; it says nothing of the recovery point.
    Untested(String),
    /// The recovery point changed while it was tested, perhaps expired.
    Void(String),
}

/// A drill as it is stored, now or by versions that tested one export on each instance.
#[derive(Deserialize)]
struct Persisted {
    instance: String,
    #[serde(default)]
    database: Option<String>,
    #[serde(default)]
    snapshot: Option<RecoveryPointId>,
    #[serde(default)]
    ready_at: Option<Timestamp>,
    #[serde(default)]
    snapshot_outcome: Option<String>,
    #[serde(default)]
    tests: Vec<Test>,
    #[serde(default)]
    tenant: Option<TenantId>,
    #[serde(default)]
    point: Option<RecoveryPointId>,
    #[serde(default)]
    measured: Option<Sample>,
    started_at: Timestamp,
    #[serde(default)]
    tick: Option<Timestamp>,
    #[serde(flatten)]
    state: DrillState,
}

impl From<Persisted> for Drill {
    fn from(stored: Persisted) -> Self {
        let Persisted { instance, database, snapshot, ready_at, snapshot_outcome, mut tests, started_at, tick, state, .. } =
            stored;
        if let (Some(tenant), Some(point)) = (stored.tenant, stored.point) {
            tests.push(Test { measured: stored.measured, ..Test::of(tenant, point) });
        }
        Self { instance, database, snapshot, ready_at, snapshot_outcome, tests, started_at, tick, state }
    }
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
        self.is_open().then(|| StateKey { state_key: OPEN.to_owned(), state_at: self.started_at.to_string() })
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

    /// Drills that are not done, the latest first. The index of open ones may lag behind, so the latest are read besides: of these every
    /// finished write is seen.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn open_drills(&self, limit: usize) -> Result<Vec<Versioned<Drill>>, TableError> {
        let latest = self.drills(LATEST_READ).await?;
        let mut drills: BTreeMap<String, Versioned<Drill>> =
            latest.into_iter().map(|drill| (drill.value.instance.clone(), drill)).collect();
        let indexed: Vec<Versioned<Drill>> = self.list_state(OPEN, limit).await?;
        for found in indexed {
            if !drills.contains_key(&found.value.instance)
                && let Some(drill) = self.drill(&found.value.instance).await?
            {
                drills.insert(found.value.instance, drill);
            }
        }
        Ok(drills.into_values().rev().filter(|drill| drill.value.is_open()).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::MemoryTable;

    fn drill(instance: &str, state: DrillState) -> Drill {
        let point = "rp_00000000-0000-8000-8000-000000000001".parse().unwrap();
        Drill {
            instance: instance.to_owned(),
            database: Some("pool".to_owned()),
            snapshot: Some(point),
            ready_at: None,
            snapshot_outcome: None,
            tests: vec![Test::of("acme".parse().unwrap(), point)],
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
        for n in 0..LATEST_READ {
            catalog.create(drill(&format!("e-{n:02}"), DrillState::Done { at, outcome: "proven".into() })).await.unwrap();
        }
        let open = catalog.open_drills(10).await.unwrap();
        assert_eq!(names(open), ["d-3", "d-2", "d-1"], "however many came after them");
    }

    #[test]
    fn a_drill_survives_being_stored() {
        let mut drill = drill("d-1", DrillState::Comparing { since: Timestamp::UNIX_EPOCH });
        drill.tests[0].outcome = Some(Outcome::Bad("it differs".into()));
        let more = [Outcome::Proven, Outcome::Untested("no time".into())];
        let more = more.map(|outcome| Test { outcome: Some(outcome), ..drill.tests[0].clone() });
        drill.tests.extend(more);
        assert_eq!(serde_json::from_str::<Drill>(&serde_json::to_string(&drill).unwrap()).unwrap(), drill);
    }

    #[test]
    fn a_record_of_one_test_from_before_there_were_several_is_still_read() {
        let old = r#"{ "instance": "d-1", "tenant": "acme", "point": "rp_00000000-0000-8000-8000-000000000001", "started_at": "1970-01-01T00:00:00Z",
            "measured": { "rows": 7, "ms": 9 }, "state": "done", "at": "1970-01-01T00:00:00Z", "outcome": "proven" }"#;
        let read: Drill = serde_json::from_str(old).unwrap();
        assert_eq!((read.tests.len(), read.tests[0].measured.map(|sample| sample.rows)), (1, Some(7)));
        assert_eq!((read.database, read.snapshot, read.tick), (None, None, None));
    }
}
