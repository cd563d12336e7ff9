//! A stretch of tenants, one after the other. What is done stays done: another delivery goes on behind it.

use std::ops::Range;

use catalog::Versioned;
use domain::{
    ErrorReport, RecoveryId,
    recovery::{Progress, RecoveredTenant},
};
use runtime::{Invocation, services::Services, trouble::Trouble};

use super::{opened::Opened, tenant::Place};
use crate::abandon::{Caught, caught};

/// Restores the tenants of a stretch.
pub(super) async fn restore(
    services: &Services,
    id: RecoveryId,
    range: Range<u32>,
    invocation: &Invocation,
) -> Result<&'static str, ErrorReport> {
    let opened = Opened::read(services, id).await?;
    if opened.recovery.state.is_final() {
        return Ok(opened.recovery.state.name());
    }
    let (_, environment) = opened.check(services).await?;
    let due = of(&opened, &range);
    if due.iter().all(|item| item.value.progress.is_final()) {
        return Ok(opened.recovery.state.name());
    }
    let register = services.recovered_register(&opened.plan, &environment).await?;
    let place = Place { services, plan: &opened.plan, environment: &environment, register: &register.tenants };
    settle_all(&place, due, invocation).await?;
    Ok(opened.recovery.state.name())
}

/// Settles these one after the other. One that may succeed later keeps no other waiting; all of it is then delivered again.
pub(super) async fn settle_all(
    place: &Place<'_>,
    items: Vec<Versioned<RecoveredTenant>>,
    invocation: &Invocation,
) -> Result<(), ErrorReport> {
    let mut trouble = Trouble::default();
    for item in items.into_iter().filter(|item| !item.value.progress.is_final()) {
        let name = format!("tenant {}", item.value.plan.tenant);
        if let Err(near) = invocation.deadline.check(&format!("the restore of {name}")) {
            trouble.note(&name, near);
            break;
        }
        if let Err(report) = place.settle(item).await {
            trouble.note(&name, report);
        }
    }
    trouble.into_result()
}

/// The runbook gave a stretch up: whoever is not back in it has failed, and the others go on.
pub(super) async fn give_up(
    services: &Services,
    id: RecoveryId,
    range: Range<u32>,
    error: Caught,
) -> Result<&'static str, ErrorReport> {
    let opened = Opened::read(services, id).await?;
    let report = caught(error);
    for item in of(&opened, &range).into_iter().filter(|item| !item.value.progress.is_final()) {
        let report = match &item.value.progress {
            Progress::Restoring { trouble: Some(trouble), .. } => ErrorReport::new(report.code, trouble.clone()),
            _ => report.clone(),
        };
        let progress = Progress::failed(&report, services.clock.now());
        services.catalog.update(&item, RecoveredTenant { progress, ..item.value.clone() }).await?;
    }
    Ok(opened.recovery.state.name())
}

fn of(opened: &Opened, range: &Range<u32>) -> Vec<Versioned<RecoveredTenant>> {
    opened.tenants.iter().filter(|item| range.contains(&item.value.index)).cloned().collect()
}
