//! From a command to calls, and from answers to what is printed.

use std::{
    fmt,
    io::{BufRead, IsTerminal, Write},
};

use aws::{AwsError, Clients, SignedHttp};
use serde_json::{Value, json};

use crate::{
    args::{Args, Command, Output, Restore, Retention, Vault},
    show, show_coverage, show_references, show_vault, watch,
};

/// Why a command was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is not complete.
    Usage(String),
    /// The function answered with an error.
    Answered { status: u16, code: String, message: String },
    /// There are no credentials to sign a call with.
    NotSigned(String),
    /// No answer, or none that makes sense.
    NoAnswer(String),
    /// It was done, and ended badly.
    NotProven(String),
    /// It was done, and found something in the vault that is not what it must be.
    Damaged(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { code, message, .. } => write!(f, "{code}: {message}"),
            Self::Usage(message)
            | Self::NotSigned(message)
            | Self::NoAnswer(message)
            | Self::NotProven(message)
            | Self::Damaged(message) => f.write_str(message),
        }
    }
}

impl Failure {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::NotSigned(_) | Self::Answered { status: 403 | 409, .. } => 3,
            Self::Answered { status: 404, .. } => 4,
            Self::NoAnswer(_) => 5,
            answered if answered.is_passing() => 5,
            Self::Answered { .. } | Self::NotProven(_) => 1,
            Self::Damaged(_) => 6,
        }
    }

    /// Whether the same call may succeed a little later.
    pub(crate) fn is_passing(&self) -> bool {
        // 502 and 504 are Lambda's own: the function was cut off or is being replaced.
        matches!(self, Self::NoAnswer(_) | Self::Answered { status: 429 | 502..=504, .. })
    }
}

/// The operator function, as this person.
pub(crate) struct Operator {
    http: SignedHttp,
}

impl Operator {
    /// Makes one call.
    pub(crate) async fn call(&self, verb: &str, body: &Value) -> Result<Value, Failure> {
        let path = format!("/v1/{verb}");
        let reply = self.http.post(&path, body).await.map_err(|error| match &error {
            AwsError::Denied { .. } => Failure::NotSigned(chain(&error)),
            _ => Failure::NoAnswer(chain(&error)),
        })?;
        let value: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        if reply.status == 200 && value.is_object() {
            return Ok(value);
        }
        let error = &value["error"];
        let code = error["code"].as_str().unwrap_or(if reply.status == 403 { "NotPermitted" } else { "StoreUnavailable" });
        let hint = match reply.status {
            403 => "AWS refused the signed call; check that this identity may invoke the operator function's URL",
            _ => "the operator function gave no readable answer; see its log",
        };
        let message = error["message"].as_str().unwrap_or(hint);
        Err(Failure::Answered { status: reply.status, code: code.to_owned(), message: message.to_owned() })
    }
}

/// Carries out one command.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    if args.url.is_empty() {
        let message = "which Holdfast? Set HOLDFAST_OPERATOR_URL, or --url, to the stack's output OperatorUrl";
        return Err(Failure::Usage(message.to_owned()));
    }
    let operator = Operator { http: Clients::load().await.signed_http(&args.url) };
    match &args.command {
        Command::Status => print(args, &operator.call("status", &json!({})).await?, show::status),
        Command::Tenants => print(args, &operator.call("tenants", &json!({})).await?, show::tenants),
        Command::Points { tenant } => print(args, &operator.call("points", &json!({ "tenant": tenant })).await?, show::points),
        Command::Sets { tenant } => print(args, &operator.call("sets", &json!({ "tenant": tenant })).await?, show::sets),
        Command::Run { tenant, full } => {
            print(args, &operator.call("run", &json!({ "tenant": tenant, "full": full })).await?, show::run)
        }
        Command::Vault(vault) => run_vault(args, &operator, vault).await,
        Command::Coverage => {
            let report = operator.call("coverage", &json!({})).await?;
            print(args, &report, show_coverage::report)?;
            covered(&report)
        }
        Command::References { tenant } => {
            let started = operator.call("references", &json!({ "tenant": tenant })).await?;
            let answer = watch::until_reconciled(&operator, &started).await?;
            print(args, &answer, show_references::reconciled)?;
            references_outcome(&answer)
        }
        Command::Alerts => print(args, &operator.call("alerts", &json!({})).await?, show::alerts),
        Command::Audit { day } => print(args, &operator.call("audit", &json!({ "day": day })).await?, show::audit),
        Command::Retention(Retention::Plan { tenant, explain }) => {
            let plan = operator.call("retention-plan", &json!({ "tenant": tenant })).await?;
            print(args, &plan, if *explain { show::retention_explained } else { show::retention })
        }
        Command::Restore(restore) => run_restore(args, &operator, restore).await,
    }
}

async fn run_vault(args: &Args, operator: &Operator, vault: &Vault) -> Result<(), Failure> {
    match vault {
        Vault::Ls { tenant, kind } => {
            print(args, &operator.call("vault-list", &json!({ "tenant": tenant, "kind": kind })).await?, show_vault::links)
        }
        Vault::Show { tenant, point } => {
            let shown = operator.call("vault-show", &json!({ "tenant": tenant, "point": point })).await?;
            print(args, &shown, show_vault::link)?;
            if shown["authentic"] == true {
                return Ok(());
            }
            Err(Failure::Damaged(format!(
                "the link of {point} is not authentic; restore from another recovery point of {tenant}"
            )))
        }
        Vault::Check { tenant, point, read_data } => {
            let body = json!({ "tenant": tenant, "point": point, "read_data": read_data });
            let mut answer = operator.call("vault-check", &body).await?;
            if read_data.is_some() {
                answer["checks"] = watch::until_checked(operator, &answer).await?;
                print(args, &answer, show_vault::read)?;
                return read_outcome(&answer);
            }
            print(args, &answer, show_vault::check)?;
            if answer["findings_count"] == 0 {
                return Ok(());
            }
            let remedy = "back the tenant up now with `holdfast run --full`, then find out who changed the vault";
            Err(Failure::Damaged(format!("{} things are wrong with {tenant}'s vault; {remedy}", answer["findings_count"])))
        }
    }
}

/// Whether everything is in a recovery point, as far as the last scan knows.
fn covered(report: &Value) -> Result<(), Failure> {
    if report["scanned_at"].is_null() {
        let message = "the databases were not scanned yet; reconcile does so with its next tick";
        return Err(Failure::NotProven(message.to_owned()));
    }
    match show_coverage::gaps(report) {
        0 => Ok(()),
        gaps => {
            Err(Failure::NotProven(format!("{gaps} places are uncovered, late or could not be looked at; each raised an alert")))
        }
    }
}

/// Whether every file that a row names was there.
fn references_outcome(answer: &Value) -> Result<(), Failure> {
    let tenant = answer["tenant"].as_str().unwrap_or_default();
    if answer["state"] != "reconciled" {
        return Err(Failure::NotProven(format!("the references of {tenant} could not be reconciled")));
    }
    match answer["dangling"].as_u64().unwrap_or(0) {
        0 => Ok(()),
        dangling => {
            Err(Failure::NotProven(format!("{dangling} rows of {tenant} name files that were not there; an alert was raised")))
        }
    }
}

/// How checks of data ended: damage outweighs what could not be checked.
fn read_outcome(answer: &Value) -> Result<(), Failure> {
    let checks = answer["checks"].as_array().map_or(&[][..], Vec::as_slice);
    let in_state = |state: &str| checks.iter().filter(|check| check["state"] == state).count();
    let (sound, damaged) = (in_state("sound"), in_state("damaged"));
    if damaged > 0 {
        let remedy = "an alert was raised; back the tenant up now with `holdfast run --full`";
        return Err(Failure::Damaged(format!("{damaged} of {} recovery points are damaged; {remedy}", checks.len())));
    }
    if sound < checks.len() {
        return Err(Failure::NotProven(format!(
            "{} of {} recovery points could not be checked",
            checks.len() - sound,
            checks.len()
        )));
    }
    Ok(())
}

async fn run_restore(args: &Args, operator: &Operator, restore: &Restore) -> Result<(), Failure> {
    match restore {
        Restore::Request { tenant, point, time, kind, reason } => {
            let body = json!({ "tenant": tenant, "point": point, "time": time, "kind": kind, "reason": reason });
            print(args, &operator.call("restore-request", &body).await?, show::request)
        }
        Restore::Preview { request } => print(args, &watch::until_previewed(operator, request).await?, show::request),
        Restore::Approve { request, digest, yes } => {
            let digest = match digest {
                Some(digest) => digest.clone(),
                None => confirmed(operator, request, *yes).await?,
            };
            let body = json!({ "request": request, "preview_digest": digest });
            print(args, &operator.call("restore-approve", &body).await?, show::request)
        }
        Restore::Watch { request } => {
            let ended = watch::until_ended(operator, request).await?;
            print(args, &ended, show::request)?;
            if ended["state"] == "proven" {
                Ok(())
            } else {
                Err(Failure::NotProven(format!("restore request {request} was not carried out")))
            }
        }
        Restore::List => print(args, &operator.call("restore-list", &json!({})).await?, show::requests),
    }
}

/// Shows the preview on standard error and asks; an approval given blindly would be none.
async fn confirmed(operator: &Operator, request: &str, yes: bool) -> Result<String, Failure> {
    let waiting = watch::until_previewed(operator, request).await?;
    eprintln!("{}", show::request(&waiting));
    let digest = waiting["preview"]["digest"].as_str().unwrap_or_default().to_owned();
    if yes {
        return Ok(digest);
    }
    if !std::io::stdin().is_terminal() {
        let message =
            "nobody to ask: standard input is not a terminal; pass --digest of the preview that was looked at, or --yes";
        return Err(Failure::Usage(message.to_owned()));
    }
    eprint!("Approve this? Type the tenant's id to agree: ");
    std::io::stderr().flush().map_err(|error| Failure::NoAnswer(error.to_string()))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::NoAnswer(error.to_string()))?;
    if Some(answer.trim()) == waiting["tenant"].as_str() {
        Ok(digest)
    } else {
        Err(Failure::NotProven("not approved".to_owned()))
    }
}

#[expect(clippy::print_stdout, reason = "this is the command's output")]
fn print(args: &Args, answer: &Value, table: fn(&Value) -> String) -> Result<(), Failure> {
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(answer).map_err(|error| Failure::NoAnswer(error.to_string()))?,
        Output::Table => table(answer),
    };
    println!("{}", text.trim_end());
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(states: &[&str], expected: u8) {
        let checks: Vec<Value> = states.iter().map(|state| json!({ "state": state })).collect();
        let status = read_outcome(&json!({ "checks": checks })).map_or_else(|failure| failure.exit_code(), |()| 0);
        assert_eq!(status, expected, "{states:?}");
    }

    #[test]
    fn damage_has_an_exit_status_of_its_own_and_outweighs_what_could_not_be_checked() {
        check(&["sound", "sound"], 0);
        check(&["sound", "failed"], 1);
        check(&["failed", "damaged", "sound"], 6);
    }
}
