//! What retention would decide now, with every reason, beside what it last did.
//!
//! Computed when asked, so it can be looked at before retention ever runs. Nothing here changes anything.

use catalog::decisions::DecisionRecord;
use domain::{ErrorReport, caps, plan::Plan, point::Kind, point::RecoveryPoint, retention, slot::Subject};
use jiff::{Timestamp, tz::TimeZone};
use runtime::services::Services;
use serde_json::{Value, json};

use crate::look::PointsOf;

/// The decisions over the recovery points of one tenant, or of everything that retention judges.
pub(crate) async fn retention_plan(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let zone = plan.zone()?;
    let now = services.clock.now();
    let mut judged = services.catalog.judged(&plan).await?;
    if let Some(tenant) = asked.tenant {
        services.tenant(&tenant).await?;
        judged.retain(|(subject, _)| *subject == Subject::Tenant(tenant.clone()));
    }
    let mut decided = Vec::new();
    let mut left = caps::EXPLAINED_POINTS_MAX;
    let mut truncated = false;
    for (subject, kind) in judged {
        if left == 0 {
            truncated = true;
            break;
        }
        let points = services.catalog.points(&subject, Some(kind), caps::LISTED_POINTS_MAX).await?;
        left = left.saturating_sub(points.len());
        let points: Vec<RecoveryPoint> = points.into_iter().map(|point| point.value).collect();
        let last = services.catalog.newest_decision(&subject, kind).await?;
        decided.extend(explained(&plan, &zone, now, (&subject, kind), &points, last.as_ref()));
    }
    Ok(json!({ "policy": plan.retention, "decided": decided, "truncated": truncated }))
}

/// The decisions about one subject and kind; nothing if there is nothing to decide and never was.
///
/// The cap of a run is left out: it is over all subjects, and says when a recovery point goes, not whether it is needed.
fn explained(
    plan: &Plan,
    zone: &TimeZone,
    now: Timestamp,
    (subject, kind): (&Subject, Kind),
    points: &[RecoveryPoint],
    last: Option<&DecisionRecord>,
) -> Option<Value> {
    let decisions = retention::decide(&plan.retention, zone, points, now, u32::MAX);
    if decisions.is_empty() && last.is_none() {
        return None;
    }
    let last = last.map(|record| {
        json!({
            "decided_for": record.scheduled_time, "applied": record.applied, "kept": record.kept(), "capped": record.capped(),
            "counts": record.counts, "let_go": record.let_go,
        })
    });
    Some(json!({
        "subject": subject.to_string(), "kind": kind, "decided_for": now, "applied": false, "decisions": decisions, "last_run": last,
    }))
}
