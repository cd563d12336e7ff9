//! Following a request. The function cannot call back, so this asks again every now and then.

use std::{io::IsTerminal, time::Duration};

use serde_json::{Value, json};

use crate::call::{Failure, Operator};

const PAUSE: Duration = Duration::from_millis(500);
/// A preview reads the tenant twice; one that takes longer than this is followed by asking again.
const PREVIEW_ASKS_MAX: u32 = 20 * 60 * 2;
/// As long as an approval may take.
const END_ASKS_MAX: u32 = 24 * 3600 * 2;

/// Waits until a request waits for approval, or is past it.
pub(crate) async fn until_previewed(operator: &Operator, request: &str) -> Result<Value, Failure> {
    follow(operator, request, PREVIEW_ASKS_MAX, |state| !matches!(state, "requested" | "previewed")).await
}

/// Waits until a request has ended.
pub(crate) async fn until_ended(operator: &Operator, request: &str) -> Result<Value, Failure> {
    follow(operator, request, END_ASKS_MAX, |state| matches!(state, "proven" | "failed")).await
}

async fn follow(operator: &Operator, request: &str, asks_max: u32, reached: fn(&str) -> bool) -> Result<Value, Failure> {
    let mut shown = String::new();
    for _ in 0..asks_max {
        let answer = operator.call("restore-status", &json!({ "request": request })).await?;
        let state = answer["state"].as_str().unwrap_or_default();
        if std::io::stderr().is_terminal() && state != shown {
            eprintln!("{request}: {}", state.replace('_', " "));
        }
        if reached(state) {
            return Ok(answer);
        }
        state.clone_into(&mut shown);
        pause().await;
    }
    Err(Failure::NoAnswer(format!(
        "restore request {request} is still {shown}; look again later with `holdfast restore watch {request}`"
    )))
}

#[expect(clippy::disallowed_methods, reason = "a person is waiting at a terminal, and the function cannot call back")]
async fn pause() {
    tokio::time::sleep(PAUSE).await;
}
