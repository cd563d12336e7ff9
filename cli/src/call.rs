//! From a command to calls, and from answers to what is printed.

use std::fmt;

use aws::{AwsError, SignedHttp};
use clap::CommandFactory;
use serde_json::{Value, json};

use crate::{
    args::{Args, Catalog, Command, Output, Retention, Vault},
    catalog,
    connect::connect,
    erase, holds, recover, restore, show, show_coverage, show_policy, show_references, show_vault, watch,
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
            Self::Answered { code, .. } if code == "NotAuthentic" => 6,
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
    pub(crate) fn new(http: SignedHttp) -> Self {
        Self { http }
    }

    /// Makes one call.
    pub(crate) async fn call(&self, verb: &str, body: &Value) -> Result<Value, Failure> {
        let path = format!("/v1/{verb}");
        let reply = self.http.post(&path, body).await.map_err(|error| match &error {
            // Only signing is refused before an answer; its message says what to do.
            AwsError::Denied { answer, .. } => Failure::NotSigned(answer.message.clone()),
            _ => Failure::NoAnswer(chain(&error)),
        })?;
        let value: Value = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        if reply.status == 200 && value.is_object() {
            return Ok(value);
        }
        let error = &value["error"];
        let code = error["code"].as_str().unwrap_or(if reply.status == 403 { "NotPermitted" } else { "StoreUnavailable" });
        let hint = match (reply.status, value["Message"].as_str()) {
            (403, said) => format!(
                "AWS refused the signed call ({}); check with `aws sts get-caller-identity` who you are, and that this identity may \
                 invoke the operator function's URL",
                said.unwrap_or("it does not say why")
            ),
            _ => {
                format!("{} gave no readable answer; is it the operator function's URL? If so, see its log", self.http.base_url())
            }
        };
        let message = error["message"].as_str().map_or(hint, str::to_owned);
        Err(Failure::Answered { status: reply.status, code: code.to_owned(), message })
    }
}

/// Carries out one command.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    if let Command::Completions { shell } = &args.command {
        clap_complete::generate(*shell, &mut Args::command(), "holdfast", &mut std::io::stdout());
        return Ok(());
    }
    let operator = connect(args).await?;
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
        Command::Catalog(Catalog::Rebuild { dry_run }) => catalog::rebuild(args, &operator, *dry_run).await,
        Command::Alerts => print(args, &operator.call("alerts", &json!({})).await?, show::alerts),
        Command::Audit(asked) => print(args, &operator.call("audit", &json!(asked)).await?, show::audit),
        Command::Completions { .. } => Ok(()),
        Command::Erase(command) => erase::run(args, &operator, command).await,
        Command::Hold(hold) => holds::run(args, &operator, hold).await,
        Command::Retention(Retention::Plan { tenant, explain }) => {
            let plan = operator.call("retention-plan", &json!({ "tenant": tenant })).await?;
            print(args, &plan, if *explain { show::retention_explained } else { show::retention })
        }
        Command::Retention(Retention::Approve { version }) => {
            let agreed = operator.call("retention-approve", &json!({ "version": version })).await?;
            print(args, &agreed, show_policy::policy)
        }
        Command::Recover(recover) => recover::run(args, &operator, recover).await,
        Command::Restore(command) => restore::run(args, &operator, command).await,
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
            let remedy =
                format!("back it up now with `holdfast run --tenant {tenant} --full`, then find out who changed the vault");
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
        let tenant = answer["tenant"].as_str().unwrap_or("…");
        let remedy = format!("an alert was raised; back the tenant up now with `holdfast run --tenant {tenant} --full`");
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

#[expect(clippy::print_stdout, reason = "this is the command's output")]
pub(crate) fn print(args: &Args, answer: &Value, table: fn(&Value) -> String) -> Result<(), Failure> {
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
