//! Snapshots of the plan's instances and clusters by RDS itself: asked for on a tick, followed to a copy in the vault on later ticks and RDS
//! events, deleted when they have expired.
//!
//! A snapshot takes longer than an invocation may, so no invocation waits for one: the recovery point stays running until
//! somebody sees its copy available, or failed.

use domain::{
    ErrorCode, ErrorReport,
    plan::{Plan, RuleKind},
    point::Kind,
    slot::{Slot, Subject},
};
use jiff::Timestamp;
use runtime::{Event, Invocation, event::RdsSource, services::Services};
use serde_json::{Value, json};

use crate::{archive, run::Run, tidy};

/// The built-in rule whose tick only follows.
const FOLLOW: &str = "snapshots-follow";

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    // One thing at a time: only the five-minute ticks make room and tidy up.
    let follows = matches!(&event, Event::Tick { rule, .. } if rule == FOLLOW);
    let mut run = Run::new(services, &plan, services.config.storage_key()?, follows);
    let started = match event {
        Event::Tick { .. } if follows => Ok(()),
        Event::Tick { rule, scheduled_time } => start_due(&mut run, &plan, &rule, scheduled_time).await,
        Event::Rds(event) if event.source_type == RdsSource::Snapshot => Ok(()),
        other => return Err(other.refused("snapshot", "a tick or an RDS snapshot event").into()),
    };
    // What could not be started is no reason to leave what was, nor what could not be followed to keep what has gone.
    let followed = run.follow_all().await;
    let tidied = if follows { tidy::all(&mut run, invocation).await } else { Ok(tidy::Tally::default()) };
    let told = run.tell_of_quota().await;
    let archived =
        if follows { archive::all(services, &plan, services.config.storage_key()?).await } else { Ok(archive::Tally::default()) };
    let tidied = started.and(followed).and(told).and(tidied)?;
    let archived = archived?;
    let tally = run.tally;
    Ok(json!({
        "started": tally.started, "available": tally.available, "failed": tally.failed, "creating": tally.creating,
        "deleted": tidied.deleted, "swept": tidied.swept, "unknown": tidied.unknown, "lost": tidied.lost,
        "archives_asked": archived.asked, "archives_complete": archived.complete, "archives_queued": archived.queued,
    }))
}

async fn start_due(run: &mut Run<'_>, plan: &Plan, rule: &str, scheduled_time: Timestamp) -> Result<(), ErrorReport> {
    if plan.rule(rule).is_none_or(|found| found.kind != RuleKind::Snapshot) {
        let message = format!("the backup plan has no snapshot rule `{rule}`; schedules and rules must have the same names");
        return Err(ErrorReport::new(ErrorCode::UnknownRule, message));
    }
    let mut first_error = None;
    for id in plan.snapshot_subjects() {
        let subject = Subject::Instance(id.to_owned());
        let slot = Slot { rule: rule.to_owned(), scheduled_time, subject, kind: Kind::Snapshot };
        // One instance's trouble is its own: the others still get their snapshots.
        if let Err(report) = run.start(&slot).await {
            tracing::error!(instance = id, error.code = report.code.name(), "{}", report.message);
            first_error.get_or_insert(report);
        }
    }
    first_error.map_or(Ok(()), Err)
}
