//! Retention: decides over every recovery point with all reasons, records the decisions, and carries them out if the plan says so.
//!
//! Expiring is a change of state in the catalog. No stored byte is deleted here: this function's role could not.

use catalog::{PointError, TableError, Versioned, audit::Phase, decisions::DecisionRecord};
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::{Plan, RuleKind},
    point::{Kind, RecoveryPoint},
    retention::{self, Reason},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    Event, Invocation,
    services::{Said, Services},
};
use serde_json::{Value, json};

/// The built-in rule of this function's schedule.
const DAILY: &str = "retention-daily";

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let scheduled_time = match event {
        Event::Tick { rule, scheduled_time } if rule == DAILY => scheduled_time,
        Event::Tick { rule, .. } => {
            let message = format!("retention has no rule `{rule}`; its schedule's tick names `{DAILY}`");
            return Err(ErrorReport::new(ErrorCode::UnknownRule, message));
        }
        other => return Err(other.refused("retention", "a tick").into()),
    };
    let plan = services.plan().await?;
    let mut run = Run { services, plan: &plan, scheduled_time, left: plan.retention.max_expire_per_run, tally: Tally::default() };
    for tenant in services.catalog.tenants().await? {
        invocation.deadline.check("the next tenant's retention")?;
        for kind in [Kind::Database, Kind::Media, Kind::Configuration] {
            run.judge(Subject::Tenant(tenant.tenant.id.clone()), kind).await?;
        }
    }
    // Instances are the plan's; ones that left it keep their snapshots until a person decides.
    if plan.rules.iter().any(|rule| rule.kind == RuleKind::Snapshot) {
        for subject in plan.snapshot_subjects() {
            run.judge(Subject::Instance(subject.to_owned()), Kind::Snapshot).await?;
        }
    }
    run.finish().await
}

#[derive(Default)]
struct Tally {
    kept: usize,
    due: usize,
    expired: usize,
    capped: usize,
}

struct Run<'a> {
    services: &'a Services,
    plan: &'a Plan,
    scheduled_time: Timestamp,
    left: u32,
    tally: Tally,
}

impl Run<'_> {
    async fn judge(&mut self, subject: Subject, kind: Kind) -> Result<(), ErrorReport> {
        let policy = &self.plan.retention;
        let zone = self.plan.zone()?;
        let points = self.services.catalog.points(&subject, Some(kind), caps::LISTED_POINTS_MAX).await?;
        if points.is_empty() {
            return Ok(());
        }
        let values: Vec<RecoveryPoint> = points.iter().map(|point| point.value.clone()).collect();
        // The tick's own time, not the clock's: a late or repeated delivery decides the same.
        let decisions = retention::decide(policy, &zone, &values, self.scheduled_time, self.left);
        let due: Vec<_> = decisions.iter().filter(|decision| !decision.keep).map(|decision| decision.point).collect();
        self.left = self.left.saturating_sub(u32::try_from(due.len()).unwrap_or(u32::MAX));
        self.tally.kept += decisions.len() - due.len();
        self.tally.due += due.len();
        self.tally.capped += decisions.iter().filter(|decision| decision.reasons.contains(&Reason::CapReached)).count();
        let record = DecisionRecord {
            subject: subject.clone(),
            kind,
            scheduled_time: self.scheduled_time,
            applied: policy.apply,
            decisions,
        };
        self.services.catalog.record_decision(record).await?;
        if policy.apply {
            for point in points.iter().filter(|point| due.contains(&point.value.id)) {
                self.expire(&subject, point).await?;
            }
        }
        Ok(())
    }

    async fn expire(&mut self, subject: &Subject, point: &Versioned<RecoveryPoint>) -> Result<(), ErrorReport> {
        let id = point.value.id.to_string();
        self.services.audit(Phase::Intent, "retention", "point.expire", &subject.to_string(), &id).await?;
        let expired = point.value.clone().expire(self.services.clock.now()).map_err(PointError::from)?;
        let outcome = match self.services.catalog.update(point, expired).await {
            Ok(_) => {
                self.tally.expired += 1;
                "expired"
            }
            // It was proven, refuted or held since it was read: the decision is void and the next run decides anew.
            Err(TableError::Conflict { .. }) => "changed meanwhile, kept",
            Err(error) => return Err(error.into()),
        };
        self.services.audit(Phase::Outcome, "retention", "point.expire", &subject.to_string(), &format!("{id}: {outcome}")).await
    }

    async fn finish(self) -> Result<Value, ErrorReport> {
        let Self { services, plan, tally, .. } = self;
        if tally.capped > 0 {
            let said = Said {
                summary: format!(
                    "retention would expire {} more recovery points than one run may ({})",
                    tally.capped, plan.retention.max_expire_per_run
                ),
                meaning: "they are kept for now; a sudden flood is often a mistake in the policy or in the clock".to_owned(),
                remedy: "look at `holdfast retention plan --explain`; if it is right, later runs expire the rest".to_owned(),
            };
            services.raise(plan, AlertClass::RetentionCapped, "retention", said).await?;
        } else {
            services.all_clear(AlertClass::RetentionCapped, "retention").await?;
        }
        Ok(json!({
            "applied": plan.retention.apply, "kept": tally.kept, "due": tally.due, "expired": tally.expired, "capped": tally.capped,
        }))
    }
}
