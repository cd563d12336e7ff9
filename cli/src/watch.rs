//! Following a request or a check. The function cannot call back, so this asks again every now and then.

use std::time::Duration;

use domain::caps;
use serde_json::{Value, json};

use crate::{
    call::{Failure, Operator},
    progress::Progress,
};

/// How often it asks in a second, to count a time in askings.
const ASKS_PER_S: u32 = 2;
const PAUSE: Duration = Duration::from_millis(1000 / ASKS_PER_S as u64);
/// How long it follows a check, in seconds: as long as the state machine may try.
const CHECK_AT_MOST_S: u32 = 2 * 3600;
/// After a failure that may pass: what does not answer is not asked harder.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Waits until a request waits for approval, or is past it.
pub(crate) async fn until_previewed(operator: &Operator, request: &str) -> Result<Value, Failure> {
    follow(operator, &of_request(request, caps::FOLLOW_PREVIEW_AT_MOST_S), |state| !matches!(state, "requested" | "previewed"))
        .await
}

/// Waits until a request has ended.
pub(crate) async fn until_ended(operator: &Operator, request: &str) -> Result<Value, Failure> {
    follow(operator, &of_request(request, caps::FOLLOW_AT_MOST_S), |state| matches!(state, "proven" | "failed")).await
}

/// Waits until a recovery waits for approval, or is past it.
pub(crate) async fn until_planned(operator: &Operator, recovery: &str) -> Result<Value, Failure> {
    let followed = of_recovery(recovery, caps::FOLLOW_PREVIEW_AT_MOST_S);
    follow(operator, &followed, |state| !matches!(state, "requested" | "planned")).await
}

/// Waits until a recovery has ended.
pub(crate) async fn until_recovered(operator: &Operator, recovery: &str) -> Result<Value, Failure> {
    follow(operator, &of_recovery(recovery, caps::FOLLOW_AT_MOST_S), |state| matches!(state, "done" | "failed")).await
}

fn of_recovery(recovery: &str, at_most_s: u32) -> Followed {
    Followed {
        verb: "recover-status",
        body: json!({ "recovery": recovery }),
        name: recovery.to_owned(),
        later: format!("look again later with `holdfast recover watch {recovery}`"),
        passing: Failure::is_passing,
        at_most_s,
    }
}

fn of_request(request: &str, at_most_s: u32) -> Followed {
    Followed {
        verb: "restore-status",
        body: json!({ "request": request }),
        name: request.to_owned(),
        later: format!("look again later with `holdfast restore watch {request}`"),
        passing: Failure::is_passing,
        at_most_s,
    }
}

/// Waits until checks that were started have ended, and gives them as they ended.
pub(crate) async fn until_checked(operator: &Operator, started: &Value) -> Result<Value, Failure> {
    let tenant = started["tenant"].as_str().unwrap_or_default();
    let mut ended = Vec::new();
    for check in started["checks"].as_array().into_iter().flatten() {
        let point = check["point"].as_str().unwrap_or_default();
        let followed = Followed {
            verb: "vault-check-status",
            body: json!({ "tenant": tenant, "point": point, "execution": check["execution"] }),
            name: format!("check of {point}"),
            later: format!(
                "it goes on; if it finds something, `holdfast alerts` and `holdfast points --tenant {tenant}` will tell"
            ),
            passing: not_started_yet,
            at_most_s: CHECK_AT_MOST_S,
        };
        let mut status = follow(operator, &followed, |state| state != "running").await?;
        status["kind"] = check["kind"].clone();
        ended.push(status);
    }
    Ok(Value::Array(ended))
}

/// Waits until a tenant's references were reconciled, or could not be.
pub(crate) async fn until_reconciled(operator: &Operator, started: &Value) -> Result<Value, Failure> {
    let tenant = started["tenant"].as_str().unwrap_or_default();
    let followed = Followed {
        verb: "references-status",
        body: json!({ "tenant": tenant, "execution": started["execution"] }),
        name: format!("references of {tenant}"),
        later: "it goes on; if something dangles, `holdfast alerts` will tell".to_owned(),
        passing: not_started_yet,
        at_most_s: CHECK_AT_MOST_S,
    };
    follow(operator, &followed, |state| state != "running").await
}

/// Waits until a stretch of the catalog was made again, or could not be.
pub(crate) async fn until_rebuilt(operator: &Operator, started: &Value) -> Result<Value, Failure> {
    let followed = Followed {
        verb: "catalog-rebuild-status",
        body: json!({ "execution": started["execution"] }),
        name: "catalog".to_owned(),
        later: "it goes on; the same command later finds what it recorded".to_owned(),
        passing: not_started_yet,
        at_most_s: CHECK_AT_MOST_S,
    };
    follow(operator, &followed, |state| state != "running").await
}

/// Step Functions may take a moment until it knows what it has started.
fn not_started_yet(failure: &Failure) -> bool {
    failure.is_passing() || matches!(failure, Failure::Answered { status: 404, .. })
}

/// What is followed, and how to ask about it.
struct Followed {
    verb: &'static str,
    body: Value,
    name: String,
    /// What a person can do who no longer waits.
    later: String,
    /// Which failures may pass.
    passing: fn(&Failure) -> bool,
    at_most_s: u32,
}

async fn follow(operator: &Operator, what: &Followed, reached: fn(&str) -> bool) -> Result<Value, Failure> {
    let mut progress = Progress::of(&what.name);
    let mut patience = Patience::for_those(what.passing);
    for _ in 0..what.at_most_s * ASKS_PER_S {
        let answer = match operator.call(what.verb, &what.body).await {
            Ok(answer) => answer,
            Err(failure) => {
                patience.bear(failure)?;
                pause(PAUSE_AFTER_FAILURE).await;
                continue;
            }
        };
        patience = Patience::for_those(what.passing);
        let state = answer["state"].as_str().unwrap_or_default();
        progress.state(state);
        if reached(state) {
            return Ok(answer);
        }
        pause(PAUSE).await;
    }
    Err(Failure::NoAnswer(format!("{} is still {}; {}", what.name, progress.last(), what.later)))
}

/// How many passing failures in a row were borne: the work goes on meanwhile, so they are no reason to stop following it.
struct Patience {
    passing: fn(&Failure) -> bool,
    failures: u32,
}

impl Patience {
    fn for_those(passing: fn(&Failure) -> bool) -> Self {
        Self { passing, failures: 0 }
    }

    /// Bears a failure that may pass, a limited number of times in a row.
    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failures += 1;
        if (self.passing)(&failure) && self.failures < caps::FOLLOW_FAILURES_MAX { Ok(()) } else { Err(failure) }
    }
}

#[expect(clippy::disallowed_methods, reason = "a person is waiting at a terminal, and the function cannot call back")]
async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Failure {
        Failure::Answered { status, code: "C".into(), message: "m".into() }
    }

    #[test]
    fn a_short_outage_is_borne_and_a_long_one_is_not() {
        let mut patience = Patience::for_those(Failure::is_passing);
        for n in 1..caps::FOLLOW_FAILURES_MAX {
            let failure = if n % 2 == 0 { answered(503) } else { Failure::NoAnswer("m".into()) };
            patience.bear(failure).unwrap();
        }
        assert!(patience.bear(answered(429)).is_err());
    }

    #[test]
    fn what_will_not_pass_ends_it_at_once() {
        for failure in [answered(400), answered(403), answered(404), answered(500), Failure::NotSigned("m".into())] {
            assert!(Patience::for_those(Failure::is_passing).bear(failure).is_err());
        }
    }
}
