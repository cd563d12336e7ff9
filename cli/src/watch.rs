//! Following a request. The function cannot call back, so this asks again every now and then.

use std::{io::IsTerminal, time::Duration};

use domain::{caps, text::plain};
use serde_json::{Value, json};

use crate::call::{Failure, Operator};

/// How often it asks in a second, to count a time in askings.
const ASKS_PER_S: u32 = 2;
const PAUSE: Duration = Duration::from_millis(1000 / ASKS_PER_S as u64);
/// After a failure that may pass: what does not answer is not asked harder.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(2);

/// Waits until a request waits for approval, or is past it.
pub(crate) async fn until_previewed(operator: &Operator, request: &str) -> Result<Value, Failure> {
    follow(operator, request, caps::FOLLOW_PREVIEW_AT_MOST_S, |state| !matches!(state, "requested" | "previewed")).await
}

/// Waits until a request has ended.
pub(crate) async fn until_ended(operator: &Operator, request: &str) -> Result<Value, Failure> {
    follow(operator, request, caps::FOLLOW_AT_MOST_S, |state| matches!(state, "proven" | "failed")).await
}

async fn follow(operator: &Operator, request: &str, at_most_s: u32, reached: fn(&str) -> bool) -> Result<Value, Failure> {
    let mut shown = String::new();
    let mut patience = Patience::default();
    for _ in 0..at_most_s * ASKS_PER_S {
        let answer = match operator.call("restore-status", &json!({ "request": request })).await {
            Ok(answer) => answer,
            Err(failure) => {
                patience.bear(failure)?;
                pause(PAUSE_AFTER_FAILURE).await;
                continue;
            }
        };
        patience = Patience::default();
        let state = answer["state"].as_str().unwrap_or_default();
        if std::io::stderr().is_terminal() && state != shown {
            eprintln!("{request}: {}", plain(&state.replace('_', " ")));
        }
        if reached(state) {
            return Ok(answer);
        }
        state.clone_into(&mut shown);
        pause(PAUSE).await;
    }
    Err(Failure::NoAnswer(format!(
        "restore request {request} is still {shown}; look again later with `holdfast restore watch {request}`"
    )))
}

/// How many passing failures in a row were borne: the restore goes on meanwhile, so they are no reason to stop following it.
#[derive(Debug, Default)]
struct Patience {
    failures: u32,
}

impl Patience {
    /// Bears a failure that may pass, a limited number of times in a row.
    fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        self.failures += 1;
        if failure.is_passing() && self.failures < caps::FOLLOW_FAILURES_MAX { Ok(()) } else { Err(failure) }
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
        let mut patience = Patience::default();
        for n in 1..caps::FOLLOW_FAILURES_MAX {
            let failure = if n % 2 == 0 { answered(503) } else { Failure::NoAnswer("m".into()) };
            patience.bear(failure).unwrap();
        }
        assert!(patience.bear(answered(429)).is_err());
    }

    #[test]
    fn what_will_not_pass_ends_it_at_once() {
        for failure in [answered(400), answered(403), answered(404), answered(500), Failure::NotSigned("m".into())] {
            assert!(Patience::default().bear(failure).is_err());
        }
    }
}
