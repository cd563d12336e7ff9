//! The platform's own databases first, because the register is in one of them; then who else has to come back.

use std::collections::BTreeSet;

use domain::{
    ErrorReport, RecoveryId, TenantId,
    recovery::{MadeFrom, PlannedTenant, Progress, RecoveredTenant, RecoveryState, Source, Work, ranges},
    register::Tenant,
    tenant::Layout,
};
use runtime::{Invocation, services::Services};

use super::{
    opened::Opened,
    tenant::{Place, platform as platform_tenants},
    tenants::settle_all,
};

/// Restores the platform's own databases, reads the register from the recovered one, and gives the stretches of tenants to restore.
pub(super) async fn platform(
    services: &Services,
    id: RecoveryId,
    invocation: &Invocation,
) -> Result<Vec<(u32, u32)>, ErrorReport> {
    let mut opened = Opened::read(services, id).await?;
    if opened.recovery.state.is_final() {
        return Ok(Vec::new());
    }
    let (work, environment) = opened.check(services).await?;
    let of_the_platform = platform_tenants(&opened.plan);
    let place = Place { services, plan: &opened.plan, environment: &environment, register: &of_the_platform };
    let own = |item: &&catalog::Versioned<RecoveredTenant>| item.value.plan.tenant.as_platform().is_some();
    settle_all(&place, opened.tenants.iter().filter(own).cloned().collect(), invocation).await?;

    let register = services.recovered_register(&opened.plan, &environment).await?;
    let listed: Vec<&Tenant> = register.tenants.iter().filter(|tenant| tenant.id.as_platform().is_none()).collect();
    let unplanned = unplanned(&opened, work, &listed);
    let mut notes: Vec<String> = unplanned
        .iter()
        .map(|item| format!("tenant {} is in the recovered register and was not planned for", item.plan.tenant))
        .collect();
    notes.extend(register.problems.iter().map(|problem| format!("the recovered register: {problem}")));
    for item in unplanned {
        services.catalog.put_recovered_tenant(item).await?;
    }
    if matches!(&opened.recovery.state, RecoveryState::Restoring { work, .. } if work.platform_at.is_none()) {
        let now = services.clock.now();
        services.catalog.advance_recovery(id, |recovery| recovery.platform_back(notes, now)).await?;
    }
    opened.tenants = services.catalog.recovered_tenants(id).await?;
    let due = opened.tenants.iter().filter(|item| !item.value.progress.is_final() && !own(item));
    Ok(ranges(&due.map(|item| (item.value.index, &item.value.plan)).collect::<Vec<_>>()))
}

/// Tenants of the recovered register that nobody knew of when the plan was made. They have no export that anybody agreed to, so they are
/// counted as their instance has them.
fn unplanned(opened: &Opened, work: &Work, listed: &[&Tenant]) -> Vec<RecoveredTenant> {
    let known: BTreeSet<&TenantId> = opened.tenants.iter().map(|item| &item.value.plan.tenant).collect();
    let next = opened.tenants.iter().map(|item| item.value.index + 1).max().unwrap_or(0);
    let fresh = listed.iter().filter(|tenant| tenant.is_protected() && !known.contains(&tenant.id));
    let item = |(index, tenant): (u32, &&Tenant)| {
        let subject = opened.plan.snapshot_subject_of(&tenant.database_id).unwrap_or_default();
        let made = work.instance(subject).and_then(|_| {
            let planned = opened.recovery.state.plan()?.instances.iter().find(|planned| planned.database == subject)?;
            planned.from.as_ref().map(MadeFrom::source)
        });
        let plan = PlannedTenant {
            tenant: tenant.id.clone(),
            class: tenant.criticality.clone(),
            database: tenant.database_id.clone(),
            pooled: matches!(tenant.layout, Layout::Pool { .. }),
            from: made.unwrap_or(Source::Nowhere),
        };
        RecoveredTenant { recovery: opened.recovery.id, index, planned: false, plan, progress: Progress::Waiting }
    };
    (next..).zip(fresh).map(item).collect()
}
