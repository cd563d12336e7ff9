//! Slots that came and went without a recovery point, and recovery points older than their RPO.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    ErrorReport,
    alert::AlertClass,
    plan::Plan,
    point::Kind,
    register::Tenant,
    rpo::{self, Freshness, MissedSlot},
    slot::Subject,
};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use runtime::services::{Said, Services};

/// Readings of the catalog at the same time: enough to look through many tenants in one invocation.
pub(crate) const READ_AT_ONCE: usize = 16;

/// Opens an alert for each missed slot and closes those that are made up for. Returns what is missed.
pub(crate) async fn alert(services: &Services, plan: &Plan, tenants: &[Tenant]) -> Result<Vec<MissedSlot>, ErrorReport> {
    let newest = newest_points(services, plan, tenants).await?;
    let lookup = |subject: &Subject, kind: Kind| newest.get(&(subject.clone(), kind)).copied();
    let now = services.clock.now();
    let missed = rpo::missed_slots(plan, &plan.zone()?, tenants, &lookup, now);
    let troubled: BTreeSet<String> = missed.iter().map(alert_subject).collect();
    for slot in &missed {
        services.raise(plan, AlertClass::MissedSlot, &alert_subject(slot), said(slot, now)).await?;
    }
    for open in services.catalog.alerts(Some(AlertClass::MissedSlot), domain::caps::LISTED_POINTS_MAX).await? {
        if open.closed_at.is_none() && !troubled.contains(&open.alert.subject) {
            services.all_clear(AlertClass::MissedSlot, &open.alert.subject).await?;
        }
    }
    Ok(missed)
}

async fn newest_points(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
) -> Result<BTreeMap<(Subject, Kind), Freshness>, ErrorReport> {
    let of_tenants = tenants
        .iter()
        .filter(|tenant| tenant.is_protected())
        .flat_map(|tenant| rpo::tenant_kinds(plan, tenant).into_iter().map(|kind| (Subject::Tenant(tenant.id.clone()), kind)));
    let of_instances = plan.snapshot_subjects().into_iter().map(|id| (Subject::Instance(id.to_owned()), Kind::Snapshot));
    let wanted: Vec<(Subject, Kind)> = of_tenants.chain(of_instances).collect();
    let found: Vec<_> = futures::stream::iter(wanted)
        .map(|(subject, kind)| async move {
            // A refuted recovery point covers nothing.
            let newest = services.catalog.newest_usable(&subject, kind).await?;
            Ok::<_, ErrorReport>(newest.map(|point| ((subject, kind), Freshness::of(&point.value))))
        })
        .buffer_unordered(READ_AT_ONCE)
        .try_collect()
        .await?;
    Ok(found.into_iter().flatten().collect())
}

pub(crate) fn alert_subject(slot: &MissedSlot) -> String {
    format!("{} of rule {}", slot.subject, slot.rule)
}

fn said(slot: &MissedSlot, now: Timestamp) -> Said {
    let kinds: Vec<&str> = slot.kinds.iter().map(|kind| kind.name()).collect();
    let rpo = slot.rpo_minutes;
    let meaning = match slot.newest {
        Some(newest) => {
            let lost = now.duration_since(newest).as_mins();
            format!(
                "the newest recovery point holds what there was at {newest}; all after it would be lost, {lost} minutes against an RPO of {rpo}"
            )
        }
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
    let kinds = kinds.join(", ");
    let summary =
        format!("{} was due at {} by rule {} and has no fresh recovery point ({kinds})", slot.subject, slot.due, slot.rule);
    Said { summary, meaning, remedy }
}
