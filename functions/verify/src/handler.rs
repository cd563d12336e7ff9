//! Verification: every stored byte of the newest recovery points is read again, and one tenant is really restored, in isolation.
//!
//! The first says whether what is stored is authentic and whole. Only the second proves a recovery point.

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, TenantId, order::from_the_days_start, plan::Plan, point::Kind, register::Tenant,
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{Event, Invocation, event::RdsSource, services::Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{authentic, drill, trouble::Trouble};

/// The rule whose tick checks everything and begins a restore test.
const DAILY: &str = "verify-daily";
/// The rule whose tick only follows restore tests under way.
const FOLLOW: &str = "verify-follow";

/// What is read again of every tenant.
const CHECKED: [Kind; 3] = [Kind::Database, Kind::Media, Kind::Configuration];

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
        Event::Tick { rule, scheduled_time } if rule == DAILY => daily(services, scheduled_time, invocation).await,
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

/// Begins the restore test that is most due, then checks the newest recovery points of every tenant.
async fn daily(services: &Services, tick: Timestamp, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let known = services.catalog.tenants().await?;
    let tenants: Vec<Tenant> = known.into_iter().map(|record| record.tenant).filter(Tenant::is_protected).collect();
    let mut trouble = Trouble::default();
    // The test first: a round that runs out of time would never come to it.
    let begun = match drill::begin_due(services, &plan, &tenants, tick).await {
        Ok(begun) => begun,
        Err(report) => {
            trouble.note("the day's restore test", report);
            None
        }
    };
    let tenants = from_the_days_start(tenants, tick);
    let mut round = Round::default();
    for (tenant, kind) in tenants.iter().flat_map(|tenant| CHECKED.map(|kind| (tenant, kind))) {
        if let Err(near) = invocation.deadline.check("the next recovery point's check") {
            trouble.note(&format!("the round, at tenant {},", tenant.id), near);
            break;
        }
        if let Err(report) = check_newest(services, &plan, tenant, kind, &mut round).await {
            trouble.note(&format!("the check of the newest {} of tenant {}", kind.name(), tenant.id), report);
        }
    }
    trouble.into_result()?;
    Ok(json!({ "checked": round.checked, "bad": round.bad, "drill": begun }))
}

/// What a round has found.
#[derive(Default)]
struct Round {
    checked: usize,
    bad: usize,
}

async fn check_newest(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    kind: Kind,
    round: &mut Round,
) -> Result<(), ErrorReport> {
    if let Some(point) = services.catalog.newest_available(&Subject::Tenant(tenant.id.clone()), kind).await? {
        let sound = authentic::check(services, plan, tenant, &point).await?;
        round.checked += 1;
        round.bad += usize::from(!sound);
    }
    Ok(())
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
        Kind::Database => Some(drill::begin(services, &plan, &tenant, &point.value, None).await?),
        _ => None,
    };
    Ok(json!({ "checked": 1, "bad": 0, "drill": begun }))
}
