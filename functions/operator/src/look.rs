//! What an operator can look at. Nothing here changes anything.

use catalog::tenants::TenantRecord;
use domain::{
    ErrorReport, TenantId, caps,
    point::{Content, Kind, RecoveryPoint},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

/// The most alerts and audit entries in one answer.
const LISTED_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointsOf {
    tenant: Option<TenantId>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    day: Option<Timestamp>,
}

/// Posture in one page: how many tenants, how many of them fresh and proven, what is open.
pub(crate) async fn status(services: &Services) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let tenants = services.catalog.tenants().await?;
    let (mut protected, mut with_point, mut proven) = (0, 0, 0);
    for record in tenants.iter().filter(|record| record.tenant.is_protected()) {
        protected += 1;
        let subject = Subject::Tenant(record.tenant.id.clone());
        let points = services.catalog.points(&subject, Some(Kind::Database), 50).await?;
        with_point += usize::from(points.iter().any(|point| point.value.is_usable()));
        proven += usize::from(points.iter().any(|point| point.value.proof.name() == "proven"));
    }
    let open = services.catalog.alerts(None, LISTED_MAX).await?.into_iter().filter(|alert| alert.closed_at.is_none()).count();
    let requests = services.catalog.requests(true, LISTED_MAX).await?.len();
    Ok(json!({
        "environment": plan.environment,
        "vault": services.config.vault_id,
        "tenants": { "protected": protected, "with_recovery_point": with_point, "proven": proven },
        "open_alerts": open,
        "open_restore_requests": requests,
    }))
}

/// Every tenant with its newest recovery points.
pub(crate) async fn tenants(services: &Services) -> Result<Value, ErrorReport> {
    let mut listed = Vec::new();
    for TenantRecord { tenant, .. } in services.catalog.tenants().await? {
        let newest = services.catalog.newest_available(&Subject::Tenant(tenant.id.clone()), Kind::Database).await?;
        listed.push(json!({
            "tenant": tenant.id,
            "layout": tenant.layout.name(),
            "database": tenant.database_id,
            "criticality": tenant.criticality,
            "status": tenant.status,
            "newest": newest.as_ref().map(|point| point.value.scheduled_time),
            "proof": newest.as_ref().map(|point| point.value.proof.name()),
        }));
    }
    Ok(json!({ "tenants": listed }))
}

/// The recovery points of one tenant, or the newest few of every tenant and instance.
pub(crate) async fn points(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
    const FEW: usize = 3;
    let mut found: Vec<RecoveryPoint> = Vec::new();
    if let Some(tenant) = asked.tenant {
        services.tenant(&tenant).await?;
        let points = services.catalog.points(&Subject::Tenant(tenant), None, caps::LISTED_POINTS_MAX).await?;
        found.extend(points.into_iter().map(|point| point.value));
    } else {
        let plan = services.plan().await?;
        let tenants = services.catalog.tenants().await?.into_iter().map(|record| Subject::Tenant(record.tenant.id));
        let instances = plan.snapshot_subjects().into_iter().map(|id| Subject::Instance(id.to_owned())).collect::<Vec<_>>();
        for subject in tenants.chain(instances) {
            for kind in [Kind::Database, Kind::Media, Kind::Configuration, Kind::Snapshot] {
                let points = services.catalog.points(&subject, Some(kind), FEW).await?;
                found.extend(points.into_iter().map(|point| point.value));
            }
        }
    }
    Ok(json!({ "points": found.iter().map(shown).collect::<Vec<_>>() }))
}

fn shown(point: &RecoveryPoint) -> Value {
    let mut shown = json!({
        "id": point.id,
        "kind": point.kind,
        "rule": point.rule,
        "scheduled_time": point.scheduled_time,
        "state": point.state.name(),
        "attempts": point.attempts,
        "proof": point.proof.name(),
        "held": !point.holds.is_empty(),
    });
    match &point.subject {
        Subject::Tenant(tenant) => shown["tenant"] = json!(tenant),
        Subject::Instance(instance) => shown["instance"] = json!(instance),
    }
    match &point.state {
        domain::point::State::Failed { code, message, .. } => shown["error"] = json!({ "code": code, "message": message }),
        domain::point::State::Available { content: Content::Export { rows, plaintext_bytes, stored_bytes, .. }, .. } => {
            shown["rows"] = json!(rows);
            shown["plaintext_bytes"] = json!(plaintext_bytes);
            shown["stored_bytes"] = json!(stored_bytes);
        }
        domain::point::State::Available { content: Content::Snapshot { identifier, .. }, .. } => {
            shown["snapshot"] = json!(identifier)
        }
        _ => {}
    }
    shown
}

/// Alerts, open ones first.
pub(crate) async fn alerts(services: &Services) -> Result<Value, ErrorReport> {
    let mut alerts = services.catalog.alerts(None, LISTED_MAX).await?;
    alerts.sort_by_key(|record| (record.closed_at.is_some(), std::cmp::Reverse(record.alert.opened_at)));
    let shown: Vec<Value> = alerts
        .into_iter()
        .map(|record| {
            let alert = record.alert;
            json!({
                "class": alert.class, "severity": alert.class.severity(), "subject": alert.subject, "opened_at": alert.opened_at,
                "closed_at": record.closed_at, "summary": alert.summary, "meaning": alert.meaning, "remedy": alert.remedy,
            })
        })
        .collect();
    Ok(json!({ "alerts": shown }))
}

/// The audit trail of one UTC day, today's by default.
pub(crate) async fn audit(services: &Services, asked: Day) -> Result<Value, ErrorReport> {
    let day = asked.day.unwrap_or_else(|| services.clock.now());
    Ok(json!({ "entries": services.catalog.audit_of(day, LISTED_MAX).await? }))
}

/// What retention last decided, with every reason.
pub(crate) async fn retention_plan(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let subjects: Vec<Subject> = match asked.tenant {
        Some(tenant) => {
            services.tenant(&tenant).await?;
            vec![Subject::Tenant(tenant)]
        }
        None => {
            let tenants = services.catalog.tenants().await?.into_iter().map(|record| Subject::Tenant(record.tenant.id));
            let instances = plan.snapshot_subjects().into_iter().map(|id| Subject::Instance(id.to_owned()));
            tenants.chain(instances).collect()
        }
    };
    let mut decided = Vec::new();
    for subject in subjects {
        for kind in [Kind::Database, Kind::Media, Kind::Configuration, Kind::Snapshot] {
            if let Some(record) = services.catalog.newest_decision(&subject, kind).await? {
                decided.push(json!({
                    "subject": subject.to_string(), "kind": kind, "decided_for": record.scheduled_time, "applied": record.applied,
                    "decisions": record.decisions,
                }));
            }
        }
    }
    Ok(json!({ "policy": plan.retention, "decided": decided }))
}
