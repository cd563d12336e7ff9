//! The review that is demanded of what one person carried out alone.

use catalog::audit::Phase;
use domain::{
    Coded, ErrorCode, ErrorReport, RequestId,
    alert::AlertClass,
    identity::Identity,
    request::{RestoreRequest, Review},
};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::Value;

use super::{said, shown::shown};

/// The body of `restore-review`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Finding {
    request: RequestId,
    finding: String,
}

/// Records what another person found, and closes the alerts that demanded it.
pub(crate) async fn review(services: &Services, caller: &Identity, finding: Finding) -> Result<Value, ErrorReport> {
    let (id, subject) = (finding.request, finding.request.to_string());
    let text = said(&finding.finding, "a finding")?;
    services.audit(Phase::Intent, &caller.arn, "restore.review", &subject, text).await?;
    let reviewed = async {
        let request = review_once(services, caller, id, text).await?;
        for class in [AlertClass::BreakGlass, AlertClass::ReviewOverdue] {
            services.all_clear(class, &subject).await?;
        }
        Ok::<_, ErrorReport>(request)
    };
    let reviewed = reviewed.await;
    let outcome = reviewed.as_ref().map_or_else(|report| format!("not done: {report}"), |_| "reviewed".to_owned());
    services.audit(Phase::Outcome, &caller.arn, "restore.review", &subject, &outcome).await?;
    Ok(shown(&reviewed?))
}

async fn review_once(services: &Services, caller: &Identity, id: RequestId, text: &str) -> Result<RestoreRequest, ErrorReport> {
    let now = services.clock.now();
    match services.catalog.advance(id, |request| request.reviewed(caller.clone(), text.to_owned(), now)).await {
        Ok(request) => Ok(request.value),
        Err(error) if error.code() == ErrorCode::Fenced => {
            // Perhaps this very review is recorded and only the answer was lost.
            let request = services.catalog.request(id).await?.value;
            let done = request.review.as_ref().and_then(|Review { done, .. }| done.as_ref());
            if done.is_some_and(|done| done.by == *caller && done.finding == text) { Ok(request) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}
