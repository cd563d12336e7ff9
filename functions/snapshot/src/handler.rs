//! Snapshots of the plan's instances by RDS itself: asked for on a tick, followed to available on later ticks and RDS events.
//!
//! A snapshot takes longer than an invocation may, so no invocation waits for one: the recovery point stays running until
//! somebody sees the snapshot available, or failed.

use aws::{Started, Tags};
use catalog::{Held, Taken, audit::Phase};
use domain::{
    Coded, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::{Plan, RuleKind},
    point::{Content, Kind, RecoveryPoint, State},
    slot::{Slot, Subject},
};
use jiff::Timestamp;
use runtime::{
    Event, Invocation,
    event::RdsSource,
    services::{Said, Services, known_database},
};
use serde_json::{Value, json};

use crate::{
    name::snapshot_name,
    step::{Step, settle},
};

/// The built-in rule whose tick only follows.
const FOLLOW: &str = "snapshots-follow";

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, _: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let started = match event {
        Event::Tick { rule, .. } if rule == FOLLOW => Ok(0),
        Event::Tick { rule, scheduled_time } => start_due(services, &plan, &rule, scheduled_time).await,
        Event::Rds(event) if event.source_type == RdsSource::Snapshot => Ok(0),
        other => return Err(other.refused("snapshot", "a tick or an RDS snapshot event").into()),
    };
    // What could not be started is no reason to leave what was.
    let followed = follow_all(services, &plan).await;
    let (started, followed) = (started?, followed?);
    Ok(json!({ "started": started, "available": followed.available, "failed": followed.failed, "creating": followed.creating }))
}

async fn start_due(services: &Services, plan: &Plan, rule: &str, scheduled_time: Timestamp) -> Result<usize, ErrorReport> {
    if plan.rule(rule).is_none_or(|found| found.kind != RuleKind::Snapshot) {
        let message = format!("the backup plan has no snapshot rule `{rule}`; schedules and rules must have the same names");
        return Err(ErrorReport::new(ErrorCode::UnknownRule, message));
    }
    let mut started = 0;
    let mut first_error = None;
    for subject in plan.snapshot_subjects() {
        let slot =
            Slot { rule: rule.to_owned(), scheduled_time, subject: Subject::Instance(subject.to_owned()), kind: Kind::Snapshot };
        match start(services, plan, subject, &slot).await {
            Ok(true) => started += 1,
            Ok(false) => {}
            // One instance's trouble is its own: the others still get their snapshots.
            Err(report) => {
                tracing::error!(instance = subject, error.code = report.code.name(), "{}", report.message);
                if let Err(untold) = raise_failure(services, plan, subject, &report.to_string()).await {
                    tracing::error!(instance = subject, error.code = untold.code.name(), "nobody was told: {}", untold.message);
                }
                first_error.get_or_insert(report);
            }
        }
    }
    first_error.map_or(Ok(started), Err)
}

/// Asks RDS for the slot's snapshot, unless the slot has its recovery point.
async fn start(services: &Services, plan: &Plan, subject: &str, slot: &Slot) -> Result<bool, ErrorReport> {
    let database = known_database(plan, subject)?;
    let held = match services.catalog.take_slot(slot, services.fresh.run_id(), services.clock.now()).await? {
        Taken::Held(held) => held,
        Taken::Done(_) => return Ok(false),
    };
    let name = snapshot_name(&held.value);
    services.audit(Phase::Intent, "snapshot", "snapshot.create", subject, &name).await?;
    let asked = ask(services, &name, &database.instance, &held).await;
    let outcome = asked.as_ref().map_or_else(ToString::to_string, |()| "accepted".to_owned());
    services.audit(Phase::Outcome, "snapshot", "snapshot.create", subject, &outcome).await?;
    match asked {
        Ok(()) => Ok(true),
        Err(report) => {
            give_up(services, &held, &report).await;
            Err(report)
        }
    }
}

/// Asks RDS for a snapshot. One of this name is ours from an earlier delivery only if it carries our tag.
async fn ask(services: &Services, name: &str, instance: &str, held: &Held) -> Result<(), ErrorReport> {
    let point = held.value.id.to_string();
    let tags = Tags::from([
        ("holdfast:point".to_owned(), point.clone()),
        ("holdfast:vault".to_owned(), services.config.vault_id.to_string()),
    ]);
    if services.clients.instances().create_snapshot(name, instance, &tags).await? == Started::Now {
        return Ok(());
    }
    let found = services.clients.instances().describe_snapshot(name).await?;
    if found.instance == instance && found.tags.get("holdfast:point") == Some(&point) {
        return Ok(());
    }
    let message =
        format!("snapshot {name} exists but is not this recovery point's; find out who made it, and delete or rename it");
    Err(ErrorReport::new(ErrorCode::SourceRefused, message))
}

#[derive(Default)]
struct Followed {
    available: usize,
    failed: usize,
    creating: usize,
}

/// Looks at every snapshot under way and settles those that have ended.
async fn follow_all(services: &Services, plan: &Plan) -> Result<Followed, ErrorReport> {
    let mut followed = Followed::default();
    let mut first_error = None;
    for listed in services.catalog.running(Kind::Snapshot, caps::LISTED_POINTS_MAX).await? {
        match follow(services, plan, &listed.value).await {
            Ok(Some(true)) => followed.available += 1,
            Ok(Some(false)) => followed.failed += 1,
            Ok(None) => followed.creating += 1,
            // A second follower settled it at the same moment.
            Err(report) if report.code == ErrorCode::Fenced => {}
            // One snapshot's trouble is its own: the others are still followed.
            Err(report) => {
                tracing::error!(recovery_point.id = %listed.value.id, error.code = report.code.name(), "{}", report.message);
                first_error.get_or_insert(report);
            }
        }
    }
    first_error.map_or(Ok(followed), Err)
}

/// Settles one snapshot if it has ended: `Some(true)` available, `Some(false)` failed, `None` still being created.
async fn follow(services: &Services, plan: &Plan, listed: &RecoveryPoint) -> Result<Option<bool>, ErrorReport> {
    // The listing may lag behind; the decision is made on the record itself.
    let Some(held) = services.catalog.get::<RecoveryPoint>(&catalog::Record::key(listed)).await? else { return Ok(None) };
    if held.value.state != State::Running {
        return Ok(Some(held.value.content().is_some()));
    }
    let Subject::Instance(subject) = &held.value.subject else {
        return Ok(None);
    };
    let name = snapshot_name(&held.value);
    let snapshot = match services.clients.instances().describe_snapshot(&name).await {
        Ok(snapshot) => Some(snapshot),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let age = services.clock.now().duration_since(held.value.started_at);
    match (settle(&name, snapshot.as_ref().map(|snapshot| &snapshot.state), age), snapshot) {
        (Step::Publish, Some(snapshot)) => {
            let settings = settings_of(services, &snapshot.instance).await?;
            let content = Content::Snapshot { identifier: name, arn: snapshot.arn, settings };
            services.catalog.publish(&held, content, services.clock.now()).await?;
            services.all_clear(AlertClass::RunFailed, &alert_subject(subject)).await?;
            Ok(Some(true))
        }
        (Step::GiveUp(why), _) => {
            // The alert first: once the record says failed, no tick comes back to it.
            raise_failure(services, plan, subject, &why).await?;
            give_up(services, &held, &ErrorReport::new(ErrorCode::SourceRefused, why)).await;
            Ok(Some(false))
        }
        (Step::Wait | Step::Publish, _) => Ok(None),
    }
}

/// What a restore from a snapshot of this instance would lose; nothing is known of an instance that has gone meanwhile.
async fn settings_of(services: &Services, instance: &str) -> Result<Value, ErrorReport> {
    match services.clients.instances().settings(instance).await {
        Ok(settings) => Ok(json!(settings)),
        // Its last snapshot is worth the more.
        Err(error) if error.is_not_found() => {
            tracing::warn!(instance, "the instance has gone; its snapshot is published without its settings");
            Ok(Value::Null)
        }
        Err(error) => Err(error.into()),
    }
}

async fn give_up(services: &Services, held: &Held, report: &ErrorReport) {
    match services.catalog.fail(held, report, services.clock.now()).await {
        Err(error) if error.code() != ErrorCode::Fenced => tracing::warn!(%error, "the failure could not be recorded"),
        _ => {}
    }
}

async fn raise_failure(services: &Services, plan: &Plan, subject: &str, what: &str) -> Result<(), ErrorReport> {
    let said = Said {
        summary: format!("the snapshot of instance {subject} failed: {what}"),
        meaning: "the instance has no snapshot of this slot; older ones still serve".to_owned(),
        remedy: "mend the cause (quota, instance state, permissions); the next slot tries again".to_owned(),
    };
    services.raise(plan, AlertClass::RunFailed, &alert_subject(subject), said).await
}

fn alert_subject(subject: &str) -> String {
    format!("snapshot of instance {subject}")
}
