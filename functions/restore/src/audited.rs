//! The audit trail of a step: what it is about to do, then what came of it, a refusal included.

use catalog::audit::Phase;
use domain::{ErrorReport, request::RestoreRequest};
use runtime::services::Services;

/// Does a step between two entries of the audit trail, under the tenant, both naming the request.
///
/// # Errors
/// The step's, or the catalog's: what cannot be recorded is not done.
pub(crate) async fn audited<T>(
    services: &Services,
    act: &str,
    request: &RestoreRequest,
    step: impl Future<Output = Result<T, ErrorReport>>,
    came_of_it: impl FnOnce(&T) -> String,
) -> Result<T, ErrorReport> {
    let (id, tenant) = (request.id, request.tenant.as_str());
    services.audit(Phase::Intent, "restore", act, tenant, &format!("{id}: {}", request.in_words())).await?;
    let done = step.await;
    let outcome = match &done {
        Ok(done) => format!("{id}: {}", came_of_it(done)),
        Err(report) => format!("{id}: not done: {report}"),
    };
    services.audit(Phase::Outcome, "restore", act, tenant, &outcome).await?;
    done
}
