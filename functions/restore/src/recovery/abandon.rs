//! The runbook gave up: the recovery ends, and the subscribers are told what stands there all the same.

use domain::{
    ErrorCode, ErrorReport, RecoveryId,
    alert::AlertClass,
    recovery::{Recovery, RecoveryState, Stage},
};
use runtime::services::{Said, Services};

use crate::abandon::{Caught, caught};

/// Ends a recovery that did not come to its end. One that has ended stays as it ended.
pub(super) async fn abandon(services: &Services, id: RecoveryId, error: Caught) -> Result<&'static str, ErrorReport> {
    let recovery = services.catalog.recovery(id).await?.value;
    if recovery.state.is_final() {
        return Ok(recovery.state.name());
    }
    let lapsed = matches!(recovery.state, RecoveryState::AwaitingApproval { .. }) && error.is_timeout();
    let report = if lapsed {
        ErrorReport::new(ErrorCode::ApprovalInvalid, "nobody else approved it in time; ask for another recovery")
    } else {
        caught(error)
    };
    match services.plan().await {
        Ok(plan) => {
            services.all_clear(AlertClass::RecoveryAwaitsApproval, &id.to_string()).await?;
            // Told before it is final: a delivery that finds it ended tells nobody any more.
            services.raise(&plan, AlertClass::RecoveryFailed, &id.to_string(), said(&recovery, &report)).await?;
        }
        // A broken plan is often the very cause; the recovery must end all the same, and the function's own alarm tells of it.
        Err(broken) => tracing::error!(recovery.id = %id, "abandoned untold: {report}; the plan: {broken}"),
    }
    let now = services.clock.now();
    let failed = services.catalog.advance_recovery(id, |recovery| recovery.fail(&report, now)).await?.value;
    Ok(failed.state.name())
}

fn said(recovery: &Recovery, report: &ErrorReport) -> Said {
    let instances = recovery.state.work().map_or(&[][..], |work| work.instances.as_slice());
    let there = instances.iter().filter(|made| !matches!(made.stage, Stage::Due | Stage::Failed { .. }));
    let names: Vec<&str> = there.map(|made| made.name.as_str()).collect();
    let (meaning, look) = match names.is_empty() {
        true => ("no instance was made, and nothing that is there was touched".to_owned(), ""),
        false => (
            format!("nothing that was there is touched; new instances stay, and cost: {}", names.join(", ")),
            "; keep the new instances if tenants on them are needed, or delete them",
        ),
    };
    let id = recovery.id;
    Said {
        summary: format!("the recovery of the environment stopped: {report}"),
        meaning,
        remedy: format!("read `holdfast recover watch {id}`, mend the cause and ask for another recovery{look}"),
    }
}
