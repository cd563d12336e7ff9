//! The runbook waits: its token is kept for the approval, and the subscribers are told.

use domain::{
    ErrorReport, RequestId,
    alert::AlertClass,
    request::{Preview, RequestState, RestoreRequest},
};
use runtime::services::{Said, Services};

/// Records the token that lets the runbook go on.
pub(crate) async fn await_approval(services: &Services, id: RequestId, task_token: String) -> Result<&'static str, ErrorReport> {
    let request = services.catalog.advance(id, |request| request.await_approval(task_token)).await?.value;
    if let RequestState::AwaitingApproval { preview, .. } = &request.state {
        let plan = services.plan().await?;
        services.raise(&plan, AlertClass::RestoreAwaitsApproval, &id.to_string(), said(&request, preview)).await?;
    }
    Ok(request.state.name())
}

fn said(request: &RestoreRequest, preview: &Preview) -> Said {
    let (returned, overwritten, destroyed) = preview
        .tables
        .iter()
        .fold((0, 0, 0), |sum, table| (sum.0 + table.returned, sum.1 + table.overwritten, sum.2 + table.destroyed));
    let RestoreRequest { id, tenant, point, kind, requested_by, reason, .. } = request;
    let (kind, unit) = (kind.name(), kind.unit());
    Said {
        summary: format!("{} asks to restore tenant {tenant} from {kind} recovery point {point}: {reason}", requested_by.arn),
        meaning: format!(
            "{returned} {unit} would come back, {overwritten} be overwritten, {destroyed} be destroyed; nothing happens until another person agrees"
        ),
        remedy: format!(
            "look at `holdfast restore preview {id}`, then, as another person, `holdfast restore approve {id}`; without it the request lapses"
        ),
    }
}
