//! `holdfast recover`: the environment, on new instances.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::json;

use crate::{
    args::{Args, Recover},
    call::{Failure, Operator, print},
    show_recovery, watch,
};

/// Carries out one command about recoveries.
pub(crate) async fn run(args: &Args, operator: &Operator, recover: &Recover) -> Result<(), Failure> {
    let of = |recovery: &str| json!({ "recovery": recovery });
    match recover {
        Recover::Request { time, native, reason } => {
            let body = json!({ "time": time, "native": native, "reason": reason });
            print(args, &operator.call("recover-request", &body).await?, show_recovery::recovery)
        }
        Recover::Preview { recovery } => print(args, &watch::until_planned(operator, recovery).await?, show_recovery::recovery),
        Recover::Approve { recovery, digest, yes } => {
            let digest = match digest {
                Some(digest) => digest.clone(),
                None => confirmed(operator, recovery, *yes).await?,
            };
            let body = json!({ "recovery": recovery, "preview_digest": digest });
            print(args, &operator.call("recover-approve", &body).await?, show_recovery::recovery)
        }
        Recover::Run { recovery } => print(args, &operator.call("recover-run", &of(recovery)).await?, show_recovery::recovery),
        Recover::Watch { recovery } => {
            let ended = watch::until_recovered(operator, recovery).await?;
            print(args, &ended, show_recovery::recovery)?;
            if ended["outcome"] == "proven" {
                return Ok(());
            }
            let how = ended["outcome"].as_str().unwrap_or("failed");
            Err(Failure::NotProven(format!("recovery {recovery} {how}; what is not back is listed above")))
        }
        Recover::List => print(args, &operator.call("recover-list", &json!({})).await?, show_recovery::recoveries),
    }
}

/// Shows the plan on standard error and asks; an approval given blindly would be none.
async fn confirmed(operator: &Operator, recovery: &str, yes: bool) -> Result<String, Failure> {
    let waiting = watch::until_planned(operator, recovery).await?;
    eprintln!("{}", show_recovery::recovery(&waiting));
    let digest = waiting["preview"]["digest"].as_str().unwrap_or_default().to_owned();
    if yes {
        return Ok(digest);
    }
    if !std::io::stdin().is_terminal() {
        let message = "nobody to ask: standard input is not a terminal; pass --digest of the plan that was looked at, or --yes";
        return Err(Failure::Usage(message.to_owned()));
    }
    eprint!("Approve this? Type the word recover to agree: ");
    std::io::stderr().flush().map_err(|error| Failure::NoAnswer(error.to_string()))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::NoAnswer(error.to_string()))?;
    if answer.trim() == "recover" { Ok(digest) } else { Err(Failure::NotProven("not approved".to_owned())) }
}
