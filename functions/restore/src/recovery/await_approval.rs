//! The runbook waits: its token is kept for the approval, and the subscribers are told.

use domain::{
    ErrorReport, RecoveryId,
    alert::AlertClass,
    recovery::{MadeFrom, Recovery, RecoveryPlan, RecoveryState},
};
use runtime::services::{Said, Services};

/// Records the token that lets the runbook go on.
pub(super) async fn await_approval(services: &Services, id: RecoveryId, token: String) -> Result<&'static str, ErrorReport> {
    let backup_plan = services.plan().await?;
    let requested_by = services.catalog.recovery(id).await?.value.requested_by;
    let needed = services.recovery_approvals_needed(&backup_plan, &requested_by).await?;
    let recovery = services.catalog.advance_recovery(id, |recovery| recovery.await_approval(token)).await?.value;
    if let RecoveryState::AwaitingApproval { plan, .. } = &recovery.state {
        let told = said(&recovery, plan, needed);
        if let Err(report) = services.raise(&backup_plan, AlertClass::RecoveryAwaitsApproval, &id.to_string(), told).await {
            // As with a restore request: it waits all the same, and the token that is kept by now must not fail with this step.
            tracing::error!(recovery.id = %id, error.code = report.code.name(), "nobody was asked to agree: {}", report.message);
        }
    }
    Ok(recovery.state.name())
}

fn said(recovery: &Recovery, plan: &RecoveryPlan, needed: u8) -> Said {
    let Recovery { id, to, native, reason, requested_by, .. } = recovery;
    let to = to.map_or_else(|| "the newest there is".to_owned(), |to| format!("{to}"));
    let others = if needed == 1 { "another person agrees".to_owned() } else { format!("{needed} other people agree") };
    let made = plan.instances.iter().filter(|instance| instance.from.is_some()).count();
    let of_instant = plan.instances.iter().filter(|instance| matches!(instance.from, Some(MadeFrom::Instant(_)))).count();
    let of_instant = if *native { format!(", {of_instant} of them of that very instant") } else { String::new() };
    Said {
        summary: format!("{} asks to recover the whole environment to {to}: {reason}", requested_by.arn),
        meaning: format!(
            "{made} of {} instances would be made anew beside what is there{of_instant}, and {} tenants be restored on them, {} from exports; nothing \
             happens until {others}",
            plan.instances.len(),
            plan.tenants,
            plan.from_exports
        ),
        remedy: format!(
            "look at `holdfast recover preview {id}`, then, as another person, `holdfast recover approve {id}`; without it the request lapses"
        ),
    }
}
