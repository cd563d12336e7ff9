//! The runbook gave up: the request ends, staging goes, the subscribers are told.

use domain::{
    ErrorCode, ErrorReport, RequestId,
    alert::AlertClass,
    plan::Plan,
    point::Kind,
    request::{RequestState, RestoreRequest},
};
use runtime::services::{Said, Services};
use serde::Deserialize;

use crate::work::Work;

/// What the state machine caught.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Caught {
    /// The error's name: one of our codes, or Step Functions' own, such as `States.Timeout`.
    error: String,
    /// A text, for a failed function the JSON with its `errorMessage`.
    #[serde(default)]
    cause: String,
}

/// Ends a request that did not end well. One that has ended stays as it ended.
pub(crate) async fn abandon(services: &Services, id: RequestId, caught: Caught) -> Result<&'static str, ErrorReport> {
    let request = services.catalog.request(id).await?.value;
    if request.state.is_final() {
        return Ok(request.state.name());
    }
    let report = report(&request, caught);
    match services.plan().await {
        Ok(plan) => {
            if matches!(request.state, RequestState::Executing { .. }) {
                clean_up(services, &plan, &request).await?;
            }
            // Told before it is final: a delivery that finds the request ended tells nobody any more.
            tell(services, &plan, &request, &report).await?;
        }
        // A broken plan is often the very cause; the request must end all the same, and the function's own alarm tells of it.
        Err(broken) => tracing::error!(request.id = %id, "abandoned untold: {report}; the plan: {broken}"),
    }
    let failed = services.catalog.advance(id, |request| request.fail(&report, services.clock.now())).await?.value;
    Ok(failed.state.name())
}

async fn tell(services: &Services, plan: &Plan, request: &RestoreRequest, report: &ErrorReport) -> Result<(), ErrorReport> {
    let id = request.id.to_string();
    services.all_clear(AlertClass::RestoreAwaitsApproval, &id).await?;
    let said = Said {
        summary: format!("the restore of tenant {} stopped: {report}", request.tenant),
        meaning: match request.kind {
            Kind::Database | Kind::Snapshot => "nothing live was changed, unless the message says that it is live".to_owned(),
            // Many calls and no transaction; but a new request finds done what is done.
            Kind::Media | Kind::Configuration => {
                format!(
                    "what was put right until then stays; {} that are not the recovery point's are as they were",
                    request.kind.unit()
                )
            }
        },
        remedy: "mend the cause and make a new request".to_owned(),
    };
    services.raise(plan, AlertClass::RestoreFailed, &id, said).await
}

/// Staging cleans up after itself; this is for an invocation that was cut off. What cannot be cleaned now is found by its name later.
///
/// # Errors
/// If the restore is still at work in another invocation: it may yet succeed, so nothing may be called stopped.
async fn clean_up(services: &Services, plan: &Plan, request: &RestoreRequest) -> Result<(), ErrorReport> {
    let cleaned = async {
        let work = Work::open(services, plan, request).await?;
        work.clean_up(request.id).await
    };
    match Box::pin(cleaned).await {
        Err(report) if report.code == ErrorCode::Throttled => Err(report),
        Err(report) => {
            tracing::warn!(request.id = %request.id, error.code = report.code.name(), "staging is left behind: {}", report.message);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn report(request: &RestoreRequest, caught: Caught) -> ErrorReport {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct FunctionFailure {
        error_message: String,
    }
    if let Some(code) = ErrorCode::ALL.iter().find(|code| code.name() == caught.error) {
        let said = serde_json::from_str::<FunctionFailure>(&caught.cause).map_or(caught.cause, |failure| failure.error_message);
        return ErrorReport::new(*code, said);
    }
    match (caught.error.as_str(), &request.state) {
        ("States.Timeout", RequestState::AwaitingApproval { .. }) => {
            ErrorReport::new(ErrorCode::ApprovalInvalid, "nobody else approved it in time; make a new request")
        }
        (error, _) => {
            ErrorReport::new(ErrorCode::StoreUnavailable, format!("the runbook stopped with {error}: {}", caught.cause))
        }
    }
}
