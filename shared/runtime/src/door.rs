//! The door of a function: from Lambda's next event to the handler, and back with a result or a named error.
//!
//! A handler fails with an [`ErrorReport`]; here it becomes a `Diagnostic` whose type is the error code's name, which
//! is what a state machine's `Retry` and `Catch` match. Each failure is logged once, with its class. A panic stays a
//! panic: Lambda reports it under its own name, because it is a bug and no error of ours.
//!
//! A cold start that fails does not end the process. The invocation that meets it gets the error by name, and the next
//! one tries again, so a passing fault heals and a missing variable is reported to whoever called.

use std::{fmt, sync::Arc};

use domain::{Class, ErrorReport};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::OnceCell;
use tracing::Instrument;

use crate::{clock::SystemClock, config, deadline::Deadline, event::Event, telemetry};

/// Why the door closed for good: Lambda's own interface failed.
pub type Closed = lambda_runtime::Error;

/// What a handler may know about the call it serves.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Lambda's id of this call, the same on a redelivery.
    pub request_id: String,
    /// When Lambda ends it.
    pub deadline: Deadline,
}

/// Serves events until Lambda ends the process.
///
/// `load` makes what the handler needs, once per process; `handle` serves one event with it.
///
/// # Errors
/// If this process was not started by Lambda, or Lambda's runtime interface fails.
pub async fn serve<D, L, H>(function: &'static str, load: L, handle: H) -> Result<(), Closed>
where
    L: AsyncFn() -> Result<D, ErrorReport>,
    H: AsyncFn(&D, Event, &Invocation) -> Result<Value, ErrorReport>,
{
    telemetry::start(config::log_filter().as_deref());
    if !config::started_by_lambda() {
        return Err(format!(
            "`{function}` is a Lambda function and AWS_LAMBDA_RUNTIME_API is not set; deploy it, or try it in the local stack"
        )
        .into());
    }
    let deps = OnceCell::new();
    // Before the first event is asked for: a cold start has its full processor until then.
    if let Err(report) = deps.get_or_try_init(|| load()).await {
        log(&report);
    }
    let serve_one = async |call: LambdaEvent<Value>| {
        let invocation = Invocation {
            request_id: call.context.request_id,
            deadline: Deadline::from_epoch_ms(call.context.deadline, Arc::new(SystemClock)),
        };
        let span = tracing::info_span!("invocation", function, request.id = %invocation.request_id);
        answer(&deps, &load, &handle, call.payload, &invocation).instrument(span).await
    };
    lambda_runtime::Runtime::new(service_fn(|call| Box::pin(serve_one(call)))).run().await
}

async fn answer<D, L, H>(
    deps: &OnceCell<D>,
    load: &L,
    handle: &H,
    payload: Value,
    invocation: &Invocation,
) -> Result<Value, Failure>
where
    L: AsyncFn() -> Result<D, ErrorReport>,
    H: AsyncFn(&D, Event, &Invocation) -> Result<Value, ErrorReport>,
{
    let served = async {
        let deps = deps.get_or_try_init(|| load()).await?;
        handle(deps, Event::parse(payload)?, invocation).await
    };
    served.await.map_err(|report| {
        log(&report);
        Failure(report)
    })
}

fn log(report: &ErrorReport) {
    let (code, class) = (report.code.name(), report.code.class());
    match class {
        // The next delivery is expected to succeed; whoever waits for it raises the alarm if it does not.
        Class::Transient | Class::Throttled | Class::Conflict => {
            tracing::warn!(error.code = code, error.class = ?class, "{}", report.message)
        }
        Class::Permanent | Class::Integrity | Class::Denied => {
            tracing::error!(error.code = code, error.class = ?class, "{}", report.message)
        }
    }
}

/// An error on its way to Lambda.
#[derive(PartialEq, Eq)]
struct Failure(ErrorReport);

impl Failure {
    /// Messages are cut here: Lambda refuses an error document that is too large, and then the code would be lost too.
    const MESSAGE_BYTES_MAX: usize = 32 * 1024;
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl From<Failure> for Diagnostic {
    fn from(Failure(ErrorReport { code, mut message }): Failure) -> Self {
        message.truncate(message.floor_char_boundary(Failure::MESSAGE_BYTES_MAX));
        Self { error_type: code.name().to_owned(), error_message: message }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use domain::ErrorCode;
    use serde_json::json;

    use super::*;
    use crate::clock::FixedClock;

    fn invocation() -> Invocation {
        let noon = "2026-11-23T12:00:00Z".parse().unwrap();
        Invocation { request_id: "r-1".to_owned(), deadline: Deadline::at(noon, Arc::new(FixedClock::at(noon))) }
    }

    fn tick() -> Value {
        json!({"tick": {"rule": "reconcile", "scheduled_time": "2026-11-23T02:15:00Z"}})
    }

    #[tokio::test]
    async fn a_failed_cold_start_is_reported_by_name_and_tried_again() {
        let loads = Cell::new(0);
        let load = async || {
            loads.set(loads.get() + 1);
            if loads.get() == 1 { Err(ErrorReport::new(ErrorCode::NotConfigured, "HOLDFAST_TABLE is not set")) } else { Ok(7) }
        };
        let handle = async |deps: &i32, _: Event, _: &Invocation| Ok(json!(deps));
        let deps = OnceCell::new();

        let first = answer(&deps, &load, &handle, tick(), &invocation()).await.unwrap_err();
        assert_eq!(Diagnostic::from(first).error_type, "NotConfigured");
        for _ in 0..2 {
            assert_eq!(answer(&deps, &load, &handle, tick(), &invocation()).await, Ok(json!(7)));
        }
        assert_eq!(loads.get(), 2, "once loaded, it stays");
    }

    #[tokio::test]
    async fn an_event_nobody_knows_never_reaches_the_handler() {
        let handle = async |(): &(), _: Event, _: &Invocation| -> Result<Value, ErrorReport> { panic!("the handler was called") };
        let failure = answer(&OnceCell::new(), &async || Ok(()), &handle, json!({"tock": {}}), &invocation()).await.unwrap_err();
        assert_eq!(failure.0.code, ErrorCode::MalformedEvent);
    }

    #[test]
    fn every_code_leaves_under_its_own_name() {
        for code in ErrorCode::ALL {
            assert_eq!(Diagnostic::from(Failure(ErrorReport::new(*code, "why"))).error_type, code.name());
        }
    }

    #[test]
    fn an_overlong_message_is_cut_between_characters() {
        let report = ErrorReport::new(ErrorCode::SourceRefused, "é".repeat(40_000) + "x");
        assert!(Diagnostic::from(Failure(report)).error_message.len() <= Failure::MESSAGE_BYTES_MAX);
    }
}
