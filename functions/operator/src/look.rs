//! What an operator can look at. Nothing here changes anything.

use std::{cmp::Reverse, collections::BTreeMap};

use catalog::{alerts::AlertRecord, tenants::TenantRecord};
use domain::{
    ErrorCode, ErrorReport, TenantId, caps,
    point::{Content, Kind, Proof, RecoveryPoint},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PointsOf {
    pub(crate) tenant: Option<TenantId>,
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
        let points = services.catalog.points(&subject, Some(Kind::Database), caps::POSTURE_POINTS_MAX).await?;
        with_point += usize::from(points.iter().any(|point| point.value.is_usable()));
        proven += usize::from(points.iter().any(|point| is_proven(&point.value)));
    }
    let open = services.catalog.open_alerts(caps::ALERTS_LISTED_MAX).await?.len();
    let requests = services.catalog.requests(true, caps::REQUESTS_LISTED_MAX).await?.len();
    Ok(json!({
        "environment": plan.environment,
        "vault": services.config.vault_id,
        "tenants": { "protected": protected, "with_recovery_point": with_point, "proven": proven },
        "open_alerts": open,
        "open_restore_requests": requests,
    }))
}

/// Whether a recovery point came back in a restore test and still can.
fn is_proven(point: &RecoveryPoint) -> bool {
    point.content().is_some() && matches!(point.proof, Proof::Proven { .. })
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
        domain::point::State::Available { content: Content::Snapshot { identifier, settings, .. }, .. } => {
            shown["snapshot"] = json!(identifier);
            shown["settings"] = settings.clone();
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

/// The audit trail of one UTC day, today's by default.
pub(crate) async fn audit(services: &Services, asked: Day) -> Result<Value, ErrorReport> {
    let day = asked.day.unwrap_or_else(|| services.clock.now());
    let mut entries = services.catalog.audit_of(day, caps::AUDIT_LISTED_MAX + 1).await?;
    let truncated = cut(&mut entries, caps::AUDIT_LISTED_MAX);
    Ok(json!({ "entries": entries, "truncated": truncated }))
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
