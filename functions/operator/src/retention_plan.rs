//! What retention would decide now, with every reason, beside what it last did; and people's agreement to a policy that lets more go.
//!
//! Decisions are computed when asked, so they can be looked at before retention ever runs.

use catalog::{audit::Phase, decisions::DecisionRecord};
use domain::{
    ErrorReport,
    alert::AlertClass,
    caps,
    identity::Identity,
    point::{Kind, RecoveryPoint},
    retention::{self, AGREE_MIN, InForce, Policy, Terms},
    slot::Subject,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::look::PointsOf;

/// The decisions over the recovery points of one tenant, or of everything that retention judges.
pub(crate) async fn retention_plan(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let now = services.clock.now();
    let in_force = services.catalog.policy_in_force(&plan.terms(), now).await?;
    let zone = in_force.terms.zone()?;
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
        let by = match last.as_ref().and_then(|last| last.policy.as_ref()) {
            Some(version) => services.catalog.terms(version.as_str()).await?,
            None => None,
        };
        let last = last.as_ref().map(|last| (last, by));
        decided.extend(explained(
            (&in_force.terms.policy, &zone, services.config.vault_lock),
            now,
            (&subject, kind),
            &points,
            last,
        ));
    }
    Ok(json!({
        "policy": in_force.terms.policy, "in_force": shown(&in_force), "decided": decided, "truncated": truncated,
    }))
}

/// Which policy decides, and what waits for whose agreement.
fn shown(in_force: &InForce) -> Value {
    let waiting = in_force.waiting.as_ref().map(|waiting| {
        json!({
            "version": waiting.terms.version(), "terms": waiting.terms, "since": waiting.since,
            "shortens": waiting.terms.shorten(&in_force.terms), "agreed": waiting.agreed, "agreements_needed": AGREE_MIN,
        })
    });
    json!({
        "version": in_force.terms.version(), "terms": in_force.terms, "since": in_force.since, "agreed": in_force.agreed,
        "waiting": waiting,
    })
}

/// The body of `retention-approve`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    version: String,
}

/// Records one person's agreement to the policy that waits. Repeating it changes nothing.
pub(crate) async fn approve(services: &Services, caller: &Identity, agreement: Agreement) -> Result<Value, ErrorReport> {
    const SUBJECT: &str = "retention policy";
    let plan = services.plan().await?;
    services.audit(Phase::Intent, &caller.arn, "retention.approve", SUBJECT, &agreement.version).await?;
    let now = services.clock.now();
    let agreed =
        services.catalog.agree_to_policy(&plan.terms(), caller, &agreement.version, now).await.map_err(ErrorReport::from);
    let outcome = match &agreed {
        Ok(InForce { waiting: Some(waiting), .. }) => format!("{} of {AGREE_MIN} have agreed", waiting.agreed.len()),
        Ok(in_force) => format!("{} decides from now on", in_force.terms.version()),
        Err(report) => format!("not done: {report}"),
    };
    services.audit(Phase::Outcome, &caller.arn, "retention.approve", SUBJECT, &outcome).await?;
    let in_force = agreed?;
    if in_force.waiting.is_none() {
        services.all_clear(AlertClass::RetentionShortened, SUBJECT).await?;
    }
    Ok(shown(&in_force))
}

/// The decisions about one subject and kind; nothing if there is nothing to decide and never was.
///
/// The cap of a run is left out: it is over all subjects, and says when a recovery point goes, not whether it is needed.
fn explained(
    (policy, zone, lock_for): (&Policy, &TimeZone, SignedDuration),
    now: Timestamp,
    (subject, kind): (&Subject, Kind),
    points: &[RecoveryPoint],
    last: Option<(&DecisionRecord, Option<Terms>)>,
) -> Option<Value> {
    let mut decisions = retention::decide(policy, zone, points, now, u32::MAX);
    retention::note_locks(&mut decisions, points, lock_for, now);
    if decisions.is_empty() && last.is_none() {
        return None;
    }
    let last = last.map(|(record, by)| {
        json!({
            "decided_for": record.scheduled_time, "policy": record.policy, "terms": by, "applied": record.applied, "kept": record.kept(), "capped": record.capped(),
            "counts": record.counts, "let_go": record.let_go,
        })
    });
    Some(json!({
        "subject": subject.to_string(), "kind": kind, "decided_for": now, "applied": false, "decisions": decisions, "last_run": last,
    }))
}
