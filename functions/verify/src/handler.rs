//! Verification: every stored byte of the newest recovery points is read again, and one tenant is really restored, in isolation.
//!
//! The first says whether what is stored is authentic and whole. Only the second proves a recovery point.

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, TenantId,
    point::{Kind, Proof},
    slot::Subject,
};
use runtime::{Event, Invocation, event::RdsSource, services::Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{authentic, drill};

/// The rule whose tick checks everything and begins a restore test.
const DAILY: &str = "verify-daily";
/// The rule whose tick only follows restore tests under way.
const FOLLOW: &str = "verify-follow";

/// What an operator or a runbook names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    tenant: TenantId,
    recovery_point: RecoveryPointId,
}

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    match event {
        Event::Tick { rule, .. } if rule == FOLLOW => drill::follow_all(services, invocation).await,
        Event::Tick { rule, .. } if rule == DAILY => daily(services, invocation).await,
        Event::Tick { rule, .. } => {
            let message = format!("verify has no rule `{rule}`; its schedules' ticks name `{DAILY}` and `{FOLLOW}`");
            Err(ErrorReport::new(ErrorCode::UnknownRule, message))
        }
        Event::Rds(event) if event.source_type == RdsSource::Instance => {
            drill::follow_one(services, &event.source_identifier).await
        }
        Event::Item(item) => one(services, Event::item(item)?).await,
        other => Err(other.refused("verify", "a tick, an item or an RDS instance event").into()),
    }
}

/// Checks the newest recovery points of every tenant, then begins the restore test that is most due.
async fn daily(services: &Services, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let (mut checked, mut bad) = (0, 0);
    let mut candidates = Vec::new();
    for record in services.catalog.tenants().await? {
        if !record.tenant.is_protected() {
            continue;
        }
        for kind in [Kind::Database, Kind::Media, Kind::Configuration] {
            invocation.deadline.check("the next recovery point's check")?;
            let subject = Subject::Tenant(record.tenant.id.clone());
            let Some(point) = services.catalog.newest_available(&subject, kind).await? else { continue };
            checked += 1;
            let sound = authentic::check(services, &plan, &record.tenant, &point).await?;
            bad += usize::from(!sound);
            if sound && kind == Kind::Database {
                candidates.push((record.tenant.clone(), point));
            }
        }
    }
    // The longest unproven first, then the longest since its proof; ids break ties, so the rotation is the same for everyone.
    candidates.sort_by_key(|(tenant, point)| {
        let proven_at = match &point.value.proof {
            Proof::Proven { at, .. } => Some(*at),
            Proof::Unproven | Proof::Refuted { .. } => None,
        };
        (proven_at, tenant.id.clone())
    });
    let begun = match candidates.first() {
        Some((tenant, point)) => Some(drill::begin(services, &plan, tenant, &point.value).await?),
        None => None,
    };
    Ok(json!({ "checked": checked, "bad": bad, "drill": begun }))
}

/// Checks one recovery point and begins its restore test.
async fn one(services: &Services, item: Item) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let tenant = services.tenant(&item.tenant).await?.tenant;
    let point = services.catalog.point(&item.tenant, item.recovery_point).await?;
    if point.value.content().is_none() || point.value.kind == Kind::Snapshot {
        let message = format!(
            "recovery point {} is {}; only an available export can be verified",
            item.recovery_point,
            point.value.state.name()
        );
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    if !authentic::check(services, &plan, &tenant, &point).await? {
        let message =
            format!("recovery point {} of tenant {} is damaged; an alert has the findings", item.recovery_point, item.tenant);
        return Err(ErrorReport::new(ErrorCode::NotAuthentic, message));
    }
    let begun = match point.value.kind {
        Kind::Database => Some(drill::begin(services, &plan, &tenant, &point.value).await?),
        _ => None,
    };
    Ok(json!({ "checked": 1, "bad": 0, "drill": begun }))
}
