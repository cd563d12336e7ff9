//! Retention decisions as they were made, for the auditor.
//!
//! A record names what was let go and counts the rest: a decision over thousands of kept points would not fit one item. Why each of
//! those is kept can be computed again at any time.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    caps,
    plan::{Plan, RuleKind},
    point::Kind,
    retention::{Decision, PolicyVersion, Reason, Terms},
    slot::Subject,
};
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
    /// The policy that decided: see [`Catalog::terms`]. Older records do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyVersion>,
    /// Whether the decisions were to be carried out.
    pub applied: bool,
    /// What was let go, newest first; at most [`caps::LET_GO_PER_DECISION_MAX`].
    pub let_go: Vec<Decision>,
    /// How many recovery points were kept or let go, and why.
    pub counts: Vec<ReasonCount>,
}

/// How many recovery points a run kept, or let go, for the same reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Whether they were kept.
    pub keep: bool,
    /// The reasons.
    pub reasons: BTreeSet<Reason>,
    /// How many they were.
    pub points: usize,
}

impl DecisionRecord {
    /// Records the decisions over every recovery point of a subject and kind.
    #[must_use]
    pub fn new(subject: Subject, kind: Kind, scheduled_time: Timestamp, terms: &Terms, decisions: &[Decision]) -> Self {
        let mut counts: BTreeMap<(bool, &BTreeSet<Reason>), usize> = BTreeMap::new();
        for decision in decisions {
            *counts.entry((decision.keep, &decision.reasons)).or_default() += 1;
        }
        let counts =
            counts.into_iter().map(|((keep, reasons), points)| ReasonCount { keep, reasons: reasons.clone(), points }).collect();
        let let_go: Vec<Decision> = decisions.iter().filter(|decision| !decision.keep).cloned().collect();
        debug_assert!(let_go.len() <= caps::LET_GO_PER_DECISION_MAX as usize, "the caller decides within the limit");
        Self { subject, kind, scheduled_time, policy: Some(terms.version()), applied: terms.policy.apply, let_go, counts }
    }

    /// How many recovery points were kept.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.counts.iter().filter(|count| count.keep).map(|count| count.points).sum()
    }

    /// How many were kept only because the run had reached its cap.
    #[must_use]
    pub fn capped(&self) -> usize {
        self.counts.iter().filter(|count| count.reasons.contains(&Reason::CapReached)).map(|count| count.points).sum()
    }
}

fn partition(subject: &Subject) -> String {
    format!("RETENTION#{subject}")
}

fn decision_key(subject: &Subject, kind: Kind, scheduled_time: Timestamp) -> Key {
    Key { pk: partition(subject), sk: format!("{}#{scheduled_time}", kind.name()) }
}

impl Record for DecisionRecord {
    fn key(&self) -> Key {
        decision_key(&self.subject, self.kind, self.scheduled_time)
    }
}

impl Catalog {
    /// What retention judges: every kind of every tenant ever seen, and the plan's instances if a rule takes snapshots.
    ///
    /// An instance that left the plan keeps its snapshots until a person decides.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn judged(&self, plan: &Plan) -> Result<Vec<(Subject, Kind)>, TableError> {
        let mut judged = Vec::new();
        for record in self.tenants().await? {
            let kinds = [Kind::Database, Kind::Media, Kind::Configuration];
            judged.extend(kinds.map(|kind| (Subject::Tenant(record.tenant.id.clone()), kind)));
        }
        if plan.rules.iter().any(|rule| rule.kind == RuleKind::Snapshot) {
            let instances = plan.snapshot_subjects().into_iter();
            judged.extend(instances.map(|id| (Subject::Instance(id.to_owned()), Kind::Snapshot)));
        }
        Ok(judged)
    }

    /// Stores what a run decided, and returns what is stored: for a second delivery of the same tick, what the first decided.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn record_decision(&self, record: DecisionRecord) -> Result<DecisionRecord, TableError> {
        match self.create(record).await {
            Ok(created) => Ok(created.value),
            Err(TableError::Conflict { key }) => match self.get::<DecisionRecord>(&key).await? {
                Some(first) => Ok(first.value),
                None => Err(TableError::Conflict { key }),
            },
            Err(error) => Err(error),
        }
    }

    /// What the tick of this instant decided about a subject and kind, if one of its deliveries came so far.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn decision_of(
        &self,
        subject: &Subject,
        kind: Kind,
        scheduled_time: Timestamp,
    ) -> Result<Option<DecisionRecord>, TableError> {
        Ok(self.get(&decision_key(subject, kind, scheduled_time)).await?.map(|record| record.value))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::retention::Policy;

    use super::*;
    use crate::MemoryTable;

    fn decision(n: usize, reasons: &[Reason]) -> Decision {
        Decision {
            point: format!("rp_00000000-0000-0000-0000-{n:012}").parse().unwrap(),
            scheduled_time: "2026-11-23T02:15:00Z".parse().unwrap(),
            keep: !reasons.contains(&Reason::NotNeeded),
            reasons: reasons.iter().copied().collect(),
        }
    }

    fn record(decisions: &[Decision]) -> DecisionRecord {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let policy = Policy {
            keep_all_days: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            min_proven: 1,
            max_expire_per_run: 100,
            apply: true,
        };
        let terms = Terms { policy, time_zone: "UTC".into() };
        DecisionRecord::new(subject, Kind::Database, "2026-11-23T05:00:00Z".parse().unwrap(), &terms, decisions)
    }

    #[test]
    fn what_is_kept_is_counted_by_its_reasons_and_what_goes_is_named() {
        let decisions = [
            decision(1, &[Reason::Recent, Reason::Newest]),
            decision(2, &[Reason::Recent]),
            decision(3, &[Reason::Recent]),
            decision(4, &[Reason::CapReached]),
            decision(5, &[Reason::NotNeeded]),
        ];
        let record = record(&decisions);
        assert_eq!((record.kept(), record.capped()), (4, 1));
        assert_eq!(record.let_go, decisions[4..]);
        let recent = record.counts.iter().find(|count| count.reasons == BTreeSet::from([Reason::Recent])).unwrap();
        assert_eq!((recent.keep, recent.points), (true, 2));
    }

    #[test]
    fn the_largest_record_fits_an_item_of_the_table() {
        let mut decisions: Vec<_> = (0..caps::LISTED_POINTS_MAX).map(|n| decision(n, &[Reason::Recent, Reason::Daily])).collect();
        decisions.extend((0..caps::LET_GO_PER_DECISION_MAX as usize).map(|n| decision(n, &[Reason::NotNeeded])));
        assert!(serde_json::to_string(&record(&decisions)).unwrap().len() < 390_000);
    }

    #[tokio::test]
    async fn a_second_delivery_gets_what_the_first_decided() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let (first, second) = (record(&[decision(1, &[Reason::NotNeeded])]), record(&[decision(2, &[Reason::NotNeeded])]));
        assert_eq!(catalog.decision_of(&first.subject, first.kind, first.scheduled_time).await.unwrap(), None);
        assert_eq!(catalog.record_decision(first.clone()).await.unwrap(), first);
        assert_eq!(catalog.record_decision(second).await.unwrap(), first);
        assert_eq!(catalog.newest_decision(&first.subject, first.kind).await.unwrap(), Some(first));
    }
}
