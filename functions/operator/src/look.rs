//! What an operator can look at. Nothing here changes anything.

use std::{cmp::Reverse, collections::BTreeMap};

use catalog::{alerts::AlertRecord, tenants::TenantRecord};
use domain::{
    ErrorCode, ErrorReport, TenantId, caps,
    objectives::Objectives,
    plan::Plan,
    point::{Content, Kind, Proof, RecoveryPoint},
    register::Tenant,
    request::RequestState,
    slot::Subject,
};
use futures::StreamExt;
use jiff::Timestamp;
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

/// Readings of the catalog at the same time: a call has a minute.
const READ_AT_ONCE: usize = 16;
/// Tenants whose promises one answer shows, those first that are not kept; a Lambda answer holds 6 MB.
const OBJECTIVES_SHOWN_MAX: usize = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointsOf {
    pub(crate) tenant: Option<TenantId>,
}

/// Posture in one page: how many tenants, how many of them fresh and proven, what is open.
pub(crate) async fn status(services: &Services) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let tenants = services.catalog.tenants().await?;
    let (mut protected, mut with_point, mut proven) = (0, 0, 0);
    let mut objectives = Vec::new();
    let mut postures = futures::stream::iter(tenants.iter().map(|record| &record.tenant).filter(|tenant| tenant.is_protected()))
        .map(|tenant| posture(services, &plan, tenant))
        .buffered(READ_AT_ONCE);
    while let Some(posture) = postures.next().await {
        let Posture { tenant, usable, is_proven, held } = posture?;
        protected += 1;
        with_point += usize::from(usable);
        proven += usize::from(is_proven);
        objectives.push((tenant, held));
    }
    drop(postures);
    // Whose promises are not kept comes first; otherwise the order is by tenant.
    objectives.sort_by_key(|(_, held)| Reverse(held.unkept()));
    let objectives_truncated = cut(&mut objectives, OBJECTIVES_SHOWN_MAX);
    let objectives: Vec<Value> = objectives
        .into_iter()
        .map(|(tenant, held)| json!({ "tenant": tenant, "rpo": held.rpo, "proof": held.proof, "reading": held.reading, "rto": held.rto }))
        .collect();
    let open = services.catalog.open_alerts(caps::ALERTS_LISTED_MAX).await?.len();
    let requests = services.catalog.requests(true, caps::REQUESTS_LISTED_MAX).await?;
    let waiting = requests.iter().filter(|request| matches!(request.state, RequestState::AwaitingApproval { .. })).count();
    let to_review = services.catalog.requests_to_review(caps::REQUESTS_LISTED_MAX).await?;
    let overdue = to_review.iter().filter_map(|request| request.review.as_ref());
    let overdue = overdue.filter(|review| review.is_overdue(services.clock.now())).count();
    Ok(json!({
        "environment": plan.environment,
        "vault": services.config.vault_id,
        "tenants": { "protected": protected, "with_recovery_point": with_point, "proven": proven },
        "open_alerts": open,
        "open_restore_requests": requests.len(),
        "awaiting_approval": waiting,
        "demanded_reviews": { "open": to_review.len(), "overdue": overdue },
        "objectives": objectives,
        "objectives_truncated": objectives_truncated,
    }))
}

/// What there is of a tenant, and what was promised.
struct Posture<'a> {
    tenant: &'a TenantId,
    usable: bool,
    is_proven: bool,
    held: Objectives,
}

async fn posture<'a>(services: &Services, plan: &Plan, tenant: &'a Tenant) -> Result<Posture<'a>, ErrorReport> {
    let subject = Subject::Tenant(tenant.id.clone());
    let points = services.catalog.points(&subject, Some(Kind::Database), caps::POSTURE_POINTS_MAX).await?;
    Ok(Posture {
        tenant: &tenant.id,
        usable: points.iter().any(|point| point.value.is_usable()),
        is_proven: points.iter().any(|point| is_proven(&point.value)),
        held: services.objectives(plan, tenant).await?,
    })
}

/// Whether a recovery point came back in a restore test and still can.
fn is_proven(point: &RecoveryPoint) -> bool {
    point.content().is_some() && matches!(point.proof, Proof::Proven { .. })
}

/// Every tenant with its newest recovery points.
pub(crate) async fn tenants(services: &Services) -> Result<Value, ErrorReport> {
    let mut listed = Vec::new();
    for TenantRecord { tenant, erased, .. } in services.catalog.tenants().await? {
        let newest = services.catalog.newest_available(&Subject::Tenant(tenant.id.clone()), Kind::Database).await?;
        listed.push(json!({
            "tenant": tenant.id,
            "layout": tenant.layout.name(),
            "database": tenant.database_id,
            "criticality": tenant.criticality,
            "status": if erased.is_some() { json!("erased") } else { json!(tenant.status) },
            "newest": newest.as_ref().map(|point| point.value.scheduled_time),
            "proof": newest.as_ref().map(|point| point.value.proof.name()),
        }));
    }
    Ok(json!({ "tenants": listed }))
}

/// Data that no recovery point has, as the last scan of the databases found it.
pub(crate) async fn coverage(services: &Services) -> Result<Value, ErrorReport> {
    let Some(record) = services.catalog.coverage().await? else {
        return Ok(json!({ "scanned_at": null }));
    };
    serde_json::to_value(record.value.0)
        .map_err(|error| ErrorReport::new(ErrorCode::StoreUnavailable, format!("the coverage report cannot be shown: {error}")))
}

/// The recovery points of one tenant, or the newest few of every tenant and instance.
pub(crate) async fn points(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
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
                let points = services.catalog.points(&subject, Some(kind), caps::POINTS_OF_EACH_MAX).await?;
                found.extend(points.into_iter().map(|point| point.value));
            }
        }
    }
    let now = services.clock.now();
    Ok(json!({ "points": found.iter().map(|point| shown(point, now)).collect::<Vec<_>>() }))
}

fn shown(point: &RecoveryPoint, now: Timestamp) -> Value {
    let mut shown = json!({
        "id": point.id,
        "kind": point.kind,
        "rule": point.rule,
        "scheduled_time": point.scheduled_time,
        "state": point.state.name(),
        "attempts": point.attempts,
        "proof": point.proof.name(),
        "held": point.is_held(now),
    });
    match &point.subject {
        Subject::Tenant(tenant) => shown["tenant"] = json!(tenant),
        Subject::Instance(instance) => shown["instance"] = json!(instance),
    }
    match &point.proof {
        Proof::Unproven => {}
        Proof::Proven { at, rto_ms } => {
            shown["proven_at"] = json!(at);
            shown["rto_ms"] = json!(rto_ms);
        }
        Proof::Refuted { at, findings } => {
            shown["refuted_at"] = json!(at);
            shown["findings"] = json!(findings);
        }
    }
    match &point.state {
        domain::point::State::Failed { code, message, .. } => shown["error"] = json!({ "code": code, "message": message }),
        domain::point::State::Available {
            content: Content::Export { rows, plaintext_bytes, stored_bytes, parent, read, .. },
            ..
        } => {
            shown["full"] = json!(parent.is_none());
            shown["parent"] = json!(parent);
            shown["rows"] = json!(rows);
            shown["plaintext_bytes"] = json!(plaintext_bytes);
            shown["stored_bytes"] = json!(stored_bytes);
            shown["read"] = json!(read);
        }
        domain::point::State::Available { content: Content::Snapshot { identifier, settings, copied, .. }, .. } => {
            shown["snapshot"] = json!(identifier);
            shown["settings"] = settings.clone();
            shown["copied"] = json!(copied);
        }
        _ => {}
    }
    shown
}

/// Alerts: the open ones, then those that were closed last.
pub(crate) async fn alerts(services: &Services) -> Result<Value, ErrorReport> {
    let open = services.catalog.open_alerts(caps::ALERTS_LISTED_MAX).await?;
    let read = services.catalog.alerts(None, caps::ALERTS_READ_MAX).await?;
    let all_read = read.len() < caps::ALERTS_READ_MAX;
    let mut alerts = arranged(open, read);
    let truncated = cut(&mut alerts, caps::ALERTS_LISTED_MAX) || !all_read;
    let shown: Vec<Value> = alerts
        .into_iter()
        .map(|record| {
            let alert = record.alert;
            json!({
                "class": alert.class, "severity": alert.class.severity(), "subject": alert.subject, "opened_at": alert.opened_at,
                "closed_at": record.closed_at, "summary": alert.summary, "meaning": alert.meaning, "remedy": alert.remedy,
                "runbook": alert.class.runbook(),
            })
        })
        .collect();
    Ok(json!({ "alerts": shown, "truncated": truncated }))
}

/// Open alerts, the newest first, then closed ones, the last closed first.
///
/// `indexed` is every open alert, perhaps a moment late; `read` is current and may end before some. What both have counts as in `read`.
fn arranged(indexed: Vec<AlertRecord>, read: Vec<AlertRecord>) -> Vec<AlertRecord> {
    let known: BTreeMap<_, _> =
        indexed.into_iter().chain(read).map(|record| ((record.alert.class, record.alert.subject.clone()), record)).collect();
    let mut alerts: Vec<AlertRecord> = known.into_values().collect();
    alerts.sort_by_key(|record| (record.closed_at.is_some(), Reverse(record.closed_at.unwrap_or(record.alert.opened_at))));
    alerts
}

/// Cuts a list to `max`; whether anything was cut off.
pub(crate) fn cut<T>(list: &mut Vec<T>, max: usize) -> bool {
    let too_long = list.len() > max;
    list.truncate(max);
    too_long
}

#[cfg(test)]
mod tests {
    use domain::alert::{Alert, AlertClass};

    use super::*;

    fn alert(class: AlertClass, opened_hour: u8, closed_hour: Option<u8>) -> AlertRecord {
        let at = |hour: u8| format!("2026-11-23T{hour:02}:00:00Z").parse::<Timestamp>().unwrap();
        let text = String::new;
        let alert =
            Alert { class, subject: "acme".into(), opened_at: at(opened_hour), summary: text(), meaning: text(), remedy: text() };
        AlertRecord { alert, closed_at: closed_hour.map(at), sent_at: None }
    }

    #[test]
    fn open_alerts_come_first_and_the_last_closed_next_however_their_classes_sort() {
        use AlertClass::{BackupBad, MissedSlot, RegisterBad, RestoreFailed, RunFailed};
        let beyond_what_was_read = alert(RestoreFailed, 2, None);
        let closed_since_it_was_indexed = alert(RunFailed, 3, Some(9));
        let indexed = vec![beyond_what_was_read.clone(), alert(RunFailed, 3, None), alert(RegisterBad, 4, None)];
        let read = vec![
            alert(BackupBad, 1, Some(5)),
            alert(MissedSlot, 1, Some(7)),
            closed_since_it_was_indexed.clone(),
            alert(RegisterBad, 4, None),
        ];
        let expected = vec![
            alert(RegisterBad, 4, None),
            beyond_what_was_read,
            closed_since_it_was_indexed,
            alert(MissedSlot, 1, Some(7)),
            alert(BackupBad, 1, Some(5)),
        ];
        assert_eq!(arranged(indexed, read), expected);
    }

    #[test]
    fn a_list_says_whether_something_was_cut_off() {
        let (mut full, mut long) = (vec![1, 2], vec![1, 2, 3]);
        assert!(!cut(&mut full, 2));
        assert!(cut(&mut long, 2));
        assert_eq!((full, long), (vec![1, 2], vec![1, 2]));
    }
}
