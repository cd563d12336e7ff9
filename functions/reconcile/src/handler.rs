//! Reconcile: compares what should be with what is, on a timer, and says so once. Silence is a failure.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    ErrorReport,
    alert::AlertClass,
    plan::Plan,
    point::Kind,
    register::Tenant,
    rpo::{self, MissedSlot},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    Event, Invocation,
    services::{Said, Services},
};
use serde_json::{Value, json};

/// Serves one event. A tick's content does not matter: reconcile looks at the world, not at its event.
pub(crate) async fn handle(services: &Services, event: Event, _: &Invocation) -> Result<Value, ErrorReport> {
    if !matches!(event, Event::Tick { .. }) {
        return Err(event.refused("reconcile", "a tick").into());
    }
    let plan = services.plan().await?;
    // An unreadable register has raised its own alert; what the catalog remembers of it must still be judged.
    let (tenants, register_error) = match services.register(&plan).await {
        Ok(register) => (register.tenants, None),
        Err(report) => (remembered(services).await?, Some(report)),
    };
    let newest = newest_points(services, &plan, &tenants).await?;
    let lookup = |subject: &Subject, kind: Kind| newest.get(&(subject.clone(), kind)).copied();
    let missed = rpo::missed_slots(&plan, &plan.zone()?, &tenants, &lookup, services.clock.now());

    let troubled: BTreeSet<String> = missed.iter().map(alert_subject).collect();
    for slot in &missed {
        services.raise(&plan, AlertClass::MissedSlot, &alert_subject(slot), said(slot)).await?;
    }
    for open in services.catalog.alerts(Some(AlertClass::MissedSlot), domain::caps::LISTED_POINTS_MAX).await? {
        if open.closed_at.is_none() && !troubled.contains(&open.alert.subject) {
            services.all_clear(AlertClass::MissedSlot, &open.alert.subject).await?;
        }
    }
    tracing::info!(tenants = tenants.len(), missed = missed.len(), "reconciled");
    match register_error {
        Some(report) => Err(report),
        None => Ok(json!({ "tenants": tenants.len(), "missed": troubled })),
    }
}

async fn remembered(services: &Services) -> Result<Vec<Tenant>, ErrorReport> {
    Ok(services.catalog.tenants().await?.into_iter().map(|record| record.tenant).collect())
}

async fn newest_points(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
) -> Result<BTreeMap<(Subject, Kind), Timestamp>, ErrorReport> {
    let of_tenants = tenants
        .iter()
        .filter(|tenant| tenant.is_protected())
        .flat_map(|tenant| rpo::tenant_kinds(plan, tenant).into_iter().map(|kind| (Subject::Tenant(tenant.id.clone()), kind)));
    let of_instances = plan.snapshot_subjects().into_iter().map(|id| (Subject::Instance(id.to_owned()), Kind::Snapshot));
    let mut newest = BTreeMap::new();
    for (subject, kind) in of_tenants.chain(of_instances) {
        if let Some(point) = services.catalog.newest_available(&subject, kind).await? {
            newest.insert((subject, kind), point.value.scheduled_time);
        }
    }
    Ok(newest)
}

fn alert_subject(slot: &MissedSlot) -> String {
    format!("{} of rule {}", slot.subject, slot.rule)
}

fn said(slot: &MissedSlot) -> Said {
    let kinds: Vec<&str> = slot.kinds.iter().map(|kind| kind.name()).collect();
    let loss = match slot.newest {
        Some(newest) => format!(
            "the newest recovery point is of {newest}; everything after it would be lost, against an RPO of {} minutes",
            slot.rpo_minutes
        ),
        None => "there is no recovery point at all: everything would be lost".to_owned(),
    };
    let remedy = match &slot.subject {
        Subject::Tenant(tenant) => {
            format!("look for a run_failed alert of the same tenant, mend its cause, then `holdfast run --tenant {tenant}`")
        }
        Subject::Instance(_) => {
            "look for a run_failed alert of the same instance and mend its cause; the next slot tries again".to_owned()
        }
    };
    Said {
        summary: format!(
            "{} was due at {} by rule {} and has no recovery point ({})",
            slot.subject,
            slot.due,
            slot.rule,
            kinds.join(", ")
        ),
        meaning: loss,
        remedy,
    }
}
