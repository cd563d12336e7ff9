//! `holdfast erase`: the arguments, the calls, and what is printed.

use std::io::{BufRead, IsTerminal, Write};

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    args::Args,
    call::{Failure, Operator, print},
    show::{cell, items, listing},
    table::table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Erase {
    /// Asks for the erasure of a tenant that the platform lists as deleted. Nothing happens yet.
    Request {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// Why, for the people who approve it and for the evidence.
        #[arg(long)]
        reason: String,
    },
    /// Agrees to exactly what would go. If that is enough, it goes at once.
    Approve {
        /// The erasure.
        erasure: String,
        /// The digest of what was looked at; without it what would go is shown and confirmed here.
        #[arg(long)]
        digest: Option<String>,
        /// Shows what would go and agrees to it without asking.
        #[arg(long, conflicts_with = "digest")]
        yes: bool,
    },
    /// Has an approved erasure go on, after what stopped it was seen to.
    Run {
        /// The erasure.
        erasure: String,
    },
    /// Takes a request back before anything was done.
    Cancel {
        /// The erasure.
        erasure: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// An erasure as it stands; once it is done, the evidence, looked at now.
    Show {
        /// The erasure.
        erasure: String,
    },
    /// Erasures, open ones first.
    List,
}

/// Carries out one command about erasures.
pub(crate) async fn run(args: &Args, operator: &Operator, command: &Erase) -> Result<(), Failure> {
    let of = |erasure: &str| json!({ "erasure": erasure });
    match command {
        Erase::Request { tenant, reason } => {
            let body = json!({ "tenant": tenant, "reason": reason });
            print(args, &operator.call("erase-request", &body).await?, shown)
        }
        Erase::Approve { erasure, digest, yes } => {
            let digest = match digest {
                Some(digest) => digest.clone(),
                None => confirmed(operator, erasure, *yes).await?,
            };
            let body = json!({ "erasure": erasure, "digest": digest });
            print(args, &operator.call("erase-approve", &body).await?, shown)
        }
        Erase::Run { erasure } => print(args, &operator.call("erase-run", &of(erasure)).await?, shown),
        Erase::Cancel { erasure, reason } => {
            let body = json!({ "erasure": erasure, "reason": reason });
            print(args, &operator.call("erase-cancel", &body).await?, shown)
        }
        Erase::Show { erasure } => {
            let answer = operator.call("erase-show", &of(erasure)).await?;
            print(args, &answer, shown)?;
            match answer["state"].as_str() {
                Some("key_taken_back") => {
                    Err(Failure::NotProven(format!("the deletion of a key was taken back: {erasure} does not stand")))
                }
                _ => Ok(()),
            }
        }
        Erase::List => print(args, &operator.call("erase-list", &json!({})).await?, listed),
    }
}

/// Shows what would go on standard error and asks; an approval given blindly would be none.
async fn confirmed(operator: &Operator, erasure: &str, yes: bool) -> Result<String, Failure> {
    let waiting = operator.call("erase-show", &json!({ "erasure": erasure })).await?;
    eprintln!("{}", shown(&waiting));
    let digest = waiting["going"]["digest"].as_str().unwrap_or_default().to_owned();
    if yes {
        return Ok(digest);
    }
    if !std::io::stdin().is_terminal() {
        let message = "nobody to ask: standard input is not a terminal; pass --digest of what was looked at, or --yes";
        return Err(Failure::Usage(message.to_owned()));
    }
    let tenant = waiting["tenant"].as_str().unwrap_or_default();
    eprint!("Nothing brings this back. Type the tenant's id to agree: ");
    std::io::stderr().flush().map_err(|error| Failure::NoAnswer(error.to_string()))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::NoAnswer(error.to_string()))?;
    if answer.trim() == tenant { Ok(digest) } else { Err(Failure::NotProven("not approved".to_owned())) }
}

fn shown(answer: &Value) -> String {
    let id = cell(&answer["erasure"]);
    let lapsed = if answer["lapsed"] == true { " (lapsed: nobody approved it in time)" } else { "" };
    let mut lines = vec![
        format!("erasure          {id}"),
        format!("tenant           {}", cell(&answer["tenant"])),
        format!("state            {}{lapsed}", cell(&answer["state"]).replace('_', " ")),
        format!("requested by     {} at {}", cell(&answer["requested_by"]), cell(&answer["requested_at"])),
        format!("reason           {}", cell(&answer["reason"])),
    ];
    for approval in items(answer, "approvals") {
        lines.push(format!("approved by      {} at {}", cell(&approval["by"]), cell(&approval["at"])));
    }
    if let Some(missing) = answer["approvals_missing"].as_u64() {
        lines.push(format!("still needed     {missing} of {} other people", cell(&answer["approvals_needed"])));
    }
    if answer["not_to_be_approved"].is_string() {
        lines.push(format!("cannot be agreed to: {}", cell(&answer["not_to_be_approved"])));
    }
    if answer["cancelled"].is_object() {
        let [by, at, because] = ["by", "at", "because"].map(|field| cell(&answer["cancelled"][field]));
        lines.push(format!("cancelled by     {by} at {at}: {because}"));
    }
    lines.push(String::new());
    lines.push(match answer.get("evidence") {
        Some(evidence) => proof(evidence, &cell(&answer["digest"])),
        None => going(&answer["going"]),
    });
    let next = match answer["state"].as_str() {
        Some("requested") if lapsed.is_empty() => format!("next, by another person: holdfast erase approve {id}"),
        Some("approved" | "executing") => format!("next: holdfast erase show {id}; if it stopped, holdfast erase run {id}"),
        Some("logically_erased" | "key_pending_deletion") => format!("keep: holdfast erase show {id} --output json"),
        _ => String::new(),
    };
    lines.push(next);
    lines.join("\n")
}

fn going(going: &Value) -> String {
    let fields = ["kind", "points", "plaintext_bytes", "stored_bytes"];
    let rows = crate::show::rows(items(going, "amounts"), &fields);
    let mut lines = vec!["would go, for good:".to_owned(), table(&["kind", "recovery points", "bytes", "stored bytes"], &rows)];
    lines.extend(items(going, "keys").iter().map(|key| format!("and the key {}", cell(key))));
    if going["under_vault_key"].as_u64().unwrap_or(0) > 0 {
        lines.push(format!(
            "note: the vault's key opens {} of its recovery points: of them it is a logical erasure only",
            cell(&going["under_vault_key"])
        ));
    }
    lines.push(format!("digest           {}", cell(&going["digest"])));
    lines.join("\n")
}

fn proof(evidence: &Value, digest: &str) -> String {
    let mut lines = vec![
        format!("done at          {}", cell(&evidence["done_at"])),
        format!(
            "recovery points  {}, of which available {}",
            cell(&evidence["points_count"]),
            cell(&evidence["points_available"])
        ),
        format!(
            "objects stored   {} of {} bytes",
            cell(&evidence["stored_now"]["objects"]),
            cell(&evidence["stored_now"]["bytes"])
        ),
        format!("locked until     {}", cell(&evidence["stored_then"]["locked_until"])),
    ];
    for key in items(evidence, "keys") {
        let (state, at) = (cell(&key["now"]["state"]), cell(&key["deletion_at"]));
        lines.push(format!("key              {}: {state}, to be deleted at {at}", cell(&key["arn"])));
    }
    lines.push(String::new());
    lines.extend(items(evidence, "means").iter().map(cell));
    lines.push("\nnot reached by it:".to_owned());
    lines.extend(items(evidence, "not_reached").iter().map(|line| format!("  {}", cell(line))));
    lines.push(format!("\nlooked at        {}\nevidence digest  {digest}", cell(&evidence["looked_at"])));
    lines.join("\n")
}

fn listed(answer: &Value) -> String {
    let row = |erasure: &Value| {
        let state = if erasure["lapsed"] == true { "lapsed".to_owned() } else { cell(&erasure["state"]) };
        let [id, tenant, by, at] = ["erasure", "tenant", "requested_by", "requested_at"].map(|field| cell(&erasure[field]));
        vec![id, tenant, state, by, at, cell(&erasure["reason"])]
    };
    let rows: Vec<Vec<String>> = items(answer, "erasures").iter().map(row).collect();
    let headings = ["erasure", "tenant", "state", "requested by", "at", "reason"];
    listing(answer, table(&headings, &rows), "the oldest that ended are left out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_approves_sees_what_would_go_and_who_asks_for_proof_sees_what_it_is_worth() {
        let amounts = json!([{ "kind": "database", "points": 3, "plaintext_bytes": 20, "stored_bytes": 9 }]);
        let going = json!({ "amounts": amounts, "keys": ["arn:key"], "under_vault_key": 1, "digest": "d1" });
        let asked = json!({ "erasure": "er_1", "tenant": "acme\u{1b}[2J", "state": "requested", "going": going, "approvals_missing": 1,
                            "approvals_needed": 1 });
        let text = shown(&asked);
        assert!(text.contains("and the key arn:key") && text.contains("opens 1 of its recovery points"), "{text}");
        assert!(text.contains("holdfast erase approve er_1") && !text.contains('\u{1b}'), "{text}");

        let evidence = json!({
            "points_count": 3, "points_available": 0, "stored_now": { "objects": 5, "bytes": 70 }, "stored_then": { "locked_until": "t9" },
            "keys": [{ "arn": "arn:key", "deletion_at": "t8", "now": { "state": "PendingDeletion" } }], "means": ["It is so."],
            "not_reached": ["snapshots"], "looked_at": "t3",
        });
        let text = shown(&json!({ "erasure": "er_1", "state": "key_pending_deletion", "evidence": evidence, "digest": "e1" }));
        assert!(text.contains("arn:key: PendingDeletion, to be deleted at t8") && text.contains("It is so."), "{text}");
        assert!(text.contains("  snapshots") && text.contains("evidence digest  e1"), "{text}");
    }
}
