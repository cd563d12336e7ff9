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

use crate::{
    audited::audited,
    database::{IT_IS_LIVE, live_all_the_same},
    work::Work,
};

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
    let ended = Box::pin(end(services, &request, report.clone()));
    audited(services, "restore.abandon", &request, ended, |state| format!("{state}: {report}")).await
}

/// Cleans up, tells, and records how it ended.
async fn end(services: &Services, request: &RestoreRequest, mut report: ErrorReport) -> Result<&'static str, ErrorReport> {
    let id = request.id;
    match services.plan().await {
        Ok(plan) => {
            if matches!(request.state, RequestState::Executing { .. }) {
                let replaced = clean_up(services, &plan, request).await?;
                report = live_all_the_same(id, report, replaced.as_deref());
            }
            // Told before it is final: a delivery that finds the request ended tells nobody any more.
            tell(services, &plan, request, &report).await?;
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
        summary: format!("stopped: {}, asked by {}: {report}", request.in_words(), request.requested_by.arn),
        meaning: match request.kind {
            Kind::Database | Kind::Snapshot => {
                format!("nothing live was changed, unless the message says that {IT_IS_LIVE}")
            }
            // Many calls and no transaction; but a new request finds done what is done.
            Kind::Media | Kind::Configuration => {
                format!(
                    "what was put right until then stays; {} that are not the recovery point's are as they were",
                    request.kind.unit()
                )
            }
        },
        remedy: format!(
            "look at `holdfast restore watch {id}`; unless it is live, mend the cause, then ask again with `holdfast restore request --tenant {} --reason …`",
            request.tenant
        ),
    };
    services.raise_once(plan, AlertClass::RestoreFailed, &id, said).await
}

/// Staging cleans up after itself; this is for an invocation that was cut off. Gives what was replaced, if it had cut over. What cannot be cleaned now is found by its name later.
///
/// # Errors
/// If the restore is still at work in another invocation: it may yet succeed, so nothing may be called stopped.
async fn clean_up(services: &Services, plan: &Plan, request: &RestoreRequest) -> Result<Option<String>, ErrorReport> {
    let cleaned = async {
        let work = Work::open(services, plan, request).await?;
        work.clean_up().await
    };
    match Box::pin(cleaned).await {
        Err(report) if report.code == ErrorCode::Throttled => Err(report),
        Err(report) => {
            tracing::warn!(request.id = %request.id, error.code = report.code.name(), "staging is left behind: {}", report.message);
            Ok(None)
        }
        Ok(replaced) => Ok(replaced),
    }
}

fn report(request: &RestoreRequest, error: Caught) -> ErrorReport {
    if error.is_timeout() && matches!(request.state, RequestState::AwaitingApproval { .. }) {
        return ErrorReport::new(ErrorCode::ApprovalInvalid, "nobody else approved it in time; make a new request");
    }
    caught(error)
}

impl Caught {
    /// Whether a state waited for too long.
    pub(crate) fn is_timeout(&self) -> bool {
        self.error == "States.Timeout"
    }
}

/// What was caught, under its own code if it has one.
pub(crate) fn caught(caught: Caught) -> ErrorReport {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct FunctionFailure {
        error_message: String,
    }
    if let Some(code) = ErrorCode::ALL.iter().find(|code| code.name() == caught.error) {
        let said = serde_json::from_str::<FunctionFailure>(&caught.cause).map_or(caught.cause, |failure| failure.error_message);
        return ErrorReport::new(*code, said);
    }
    let message = format!("the runbook stopped with {}: {}", caught.error, caught.cause);
    ErrorReport::new(ErrorCode::StoreUnavailable, message)
}
