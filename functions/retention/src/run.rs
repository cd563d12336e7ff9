//! One run of retention: the delivery of a tick, or its repetition, which carries out what the first delivery decided and no more.

use std::collections::BTreeSet;

use catalog::{PointError, TableError, Versioned, audit::Phase, decisions::DecisionRecord};
use domain::{
    ErrorReport, RecoveryPointId,
    alert::AlertClass,
    caps,
    point::{Kind, RecoveryPoint},
    retention::{self, Decision, Terms},
    slot::Subject,
};
use jiff::{Timestamp, tz::TimeZone};
use runtime::{Invocation, services::Services};

/// What became of the recovery points.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) kept: usize,
    pub(crate) due: usize,
    /// Of those, what an open restore request or recovery names.
    pub(crate) named: usize,
    pub(crate) expired: usize,
    pub(crate) capped: usize,
}

pub(crate) struct Run<'a> {
    services: &'a Services,
    invocation: &'a Invocation,
    terms: &'a Terms,
    zone: TimeZone,
    scheduled_time: Timestamp,
    /// How many more recovery points this tick may let go, over all its deliveries.
    left: u32,
    pub(crate) tally: Tally,
}

impl<'a> Run<'a> {
    /// Begins, or goes on: what earlier deliveries of the tick decided counts towards its cap, wherever they were cut off.
    pub(crate) async fn begin(
        services: &'a Services,
        invocation: &'a Invocation,
        terms: &'a Terms,
        scheduled_time: Timestamp,
        judged: &[(Subject, Kind)],
    ) -> Result<Self, ErrorReport> {
        let mut left = terms.policy.max_expire_per_run;
        for (subject, kind) in judged {
            if let Some(record) = services.catalog.decision_of(subject, *kind, scheduled_time).await? {
                left = left.saturating_sub(count(&record.let_go));
            }
        }
        Ok(Self { services, invocation, terms, zone: terms.zone()?, scheduled_time, left, tally: Tally::default() })
    }

    /// Decides over the recovery points of one subject and kind, and carries it out if the plan says so.
    pub(crate) async fn judge(&mut self, subject: &Subject, kind: Kind) -> Result<(), ErrorReport> {
        let points = self.services.catalog.points(subject, Some(kind), caps::POINTS_OF_A_KIND_MAX).await?;
        let values: Vec<RecoveryPoint> = points.iter().map(|point| point.value.clone()).collect();
        let record = match self.services.catalog.decision_of(subject, kind, self.scheduled_time).await? {
            Some(first) => first,
            None => {
                let decisions = self.decide(&values, self.left.min(caps::LET_GO_PER_DECISION_MAX));
                if decisions.is_empty() {
                    return Ok(());
                }
                let decided = DecisionRecord::new(subject.clone(), kind, self.scheduled_time, self.terms, &decisions);
                let stored = self.services.catalog.record_decision(decided).await?;
                self.left = self.left.saturating_sub(count(&stored.let_go));
                stored
            }
        };
        self.tally.kept += record.kept();
        self.tally.due += record.let_go.len();
        self.tally.capped += record.capped();
        if record.let_go.is_empty() {
            return Ok(());
        }
        // Read for each subject anew, as late as can be: what open restore requests and recoveries name goes when those have ended.
        let named = self.services.catalog.named_points().await?;
        self.tally.named += record.let_go.iter().filter(|decision| named.contains(&decision.point)).count();
        if self.terms.policy.apply {
            let still_due = still_due(&record, &self.decide(&values, u32::MAX), &named);
            // A hold ends by the clock too, not only by a tick's time: a tick of the future releases nothing.
            let held = |point: &RecoveryPoint| point.is_held(self.services.clock.now());
            let due = points.iter().filter(|point| still_due.contains(&point.value.id) && !held(&point.value));
            for point in due.collect::<Vec<_>>() {
                self.invocation.deadline.check("the next recovery point's expiry")?;
                self.expire(subject, point).await?;
            }
        }
        Ok(())
    }

    /// The tick's own time, not the clock's: a late or repeated delivery decides the same.
    fn decide(&self, points: &[RecoveryPoint], may_expire: u32) -> Vec<Decision> {
        let mut decisions = retention::decide(&self.terms.policy, &self.zone, points, self.scheduled_time, may_expire);
        retention::note_locks(&mut decisions, points, self.services.config.vault_lock, self.scheduled_time);
        decisions
    }

    async fn expire(&mut self, subject: &Subject, point: &Versioned<RecoveryPoint>) -> Result<(), ErrorReport> {
        let (id, subject) = (point.value.id, subject.to_string());
        let expired = point.value.clone().expire(self.services.clock.now()).map_err(PointError::from)?;
        self.services.audit(Phase::Intent, "retention", "point.expire", &subject, &id.to_string()).await?;
        let written = self.services.catalog.update(point, expired).await;
        let outcome = match &written {
            Ok(_) => {
                self.tally.expired += 1;
                format!("{id}: expired")
            }
            // It was proven, refuted or held since it was read: the decision is void and the next run decides anew.
            Err(TableError::Conflict { .. }) => format!("{id}: changed meanwhile, kept"),
            Err(error) => format!("{id}: perhaps not expired: {error}"),
        };
        self.services.audit(Phase::Outcome, "retention", "point.expire", &subject, &outcome).await?;
        match written {
            // What is no longer kept cannot be a bad backup any more.
            Ok(_) => self.services.all_clear(AlertClass::BackupBad, &id.to_string()).await,
            Err(TableError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn count(decisions: &[Decision]) -> u32 {
    u32::try_from(decisions.len()).unwrap_or(u32::MAX)
}

/// What may expire now: what the tick's first delivery let go and said it would carry out, as far as a fresh look agrees.
///
/// A recovery point that was proven, held or became the newest since then stays, and so does one that an open restore request or recovery names: it
/// may be of an instant weeks ago, made only now, and nobody has approved the restore yet.
fn still_due(record: &DecisionRecord, fresh: &[Decision], named: &BTreeSet<RecoveryPointId>) -> BTreeSet<RecoveryPointId> {
    if !record.applied {
        return BTreeSet::new();
    }
    let agreed: BTreeSet<RecoveryPointId> =
        fresh.iter().filter(|decision| !decision.keep).map(|decision| decision.point).collect();
    let due = |point: &RecoveryPointId| agreed.contains(point) && !named.contains(point);
    record.let_go.iter().map(|decision| decision.point).filter(due).collect()
}

#[cfg(test)]
mod tests {
    use domain::retention::{Policy, Reason};

    use super::*;

    fn decision(n: u32, reason: Reason) -> Decision {
        Decision {
            point: format!("rp_00000000-0000-0000-0000-{n:012}").parse().unwrap(),
            scheduled_time: "2026-11-23T02:15:00Z".parse().unwrap(),
            keep: reason != Reason::NotNeeded,
            reasons: BTreeSet::from([reason]),
        }
    }

    fn decided(applied: bool, decisions: &[Decision]) -> DecisionRecord {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let policy = Policy {
            keep_all_days: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            min_proven: 1,
            max_expire_per_run: 100,
            apply: applied,
        };
        let terms = Terms { policy, time_zone: "UTC".into() };
        DecisionRecord::new(subject, Kind::Database, "2026-11-23T05:00:00Z".parse().unwrap(), &terms, decisions)
    }

    #[test]
    fn a_repetition_expires_only_what_the_first_delivery_let_go() {
        let first =
            decided(true, &[decision(1, Reason::Newest), decision(2, Reason::CapReached), decision(3, Reason::NotNeeded)]);
        let fresh = [decision(1, Reason::NotNeeded), decision(2, Reason::NotNeeded), decision(3, Reason::NotNeeded)];
        assert_eq!(still_due(&first, &fresh, &BTreeSet::new()), BTreeSet::from([fresh[2].point]));
    }

    #[test]
    fn what_is_needed_since_the_decision_stays() {
        let first = decided(true, &[decision(1, Reason::NotNeeded), decision(2, Reason::NotNeeded)]);
        let fresh = [decision(1, Reason::Proven), decision(2, Reason::Held)];
        assert_eq!(still_due(&first, &fresh, &BTreeSet::new()), BTreeSet::new());
    }

    #[test]
    fn what_an_open_request_names_stays_until_the_request_has_ended() {
        let due = [decision(1, Reason::NotNeeded), decision(2, Reason::NotNeeded)];
        let named = BTreeSet::from([due[0].point]);
        assert_eq!(still_due(&decided(true, &due), &due, &named), BTreeSet::from([due[1].point]));
    }

    #[test]
    fn a_dry_run_stays_dry_when_its_tick_is_repeated_under_another_plan() {
        let first = decided(false, &[decision(1, Reason::NotNeeded)]);
        assert_eq!(still_due(&first, &[decision(1, Reason::NotNeeded)], &BTreeSet::new()), BTreeSet::new());
    }
}
