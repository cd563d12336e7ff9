//! Legal holds: the arguments, the calls, and what is printed.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::{
    args::Args,
    call::{Failure, Operator, print},
    show::{cell, items, listing},
    table::table,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Hold {
    /// Keeps a recovery point, or all that a tenant has, whatever the policy says.
    Place {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// Only this recovery point; otherwise every available one that the tenant has now.
        #[arg(long)]
        point: Option<String>,
        /// Why: the hold's name, by which it is listed and released.
        #[arg(long)]
        reason: String,
        /// When the hold ends by itself, such as 2027-12-31T00:00:00Z; only by a release if left out.
        #[arg(long)]
        until: Option<String>,
    },
    /// Ends a hold.
    Release {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// Only on this recovery point; otherwise on every one of the tenant that has it.
        #[arg(long)]
        point: Option<String>,
        /// The reason it was placed for; may be left out for a recovery point with one hold.
        #[arg(long, required_unless_present = "point")]
        hold: Option<String>,
        /// Why it ends.
        #[arg(long)]
        reason: String,
    },
    /// Every hold, who placed it and what it holds.
    List {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
    },
}

pub(crate) async fn run(args: &Args, operator: &Operator, hold: &Hold) -> Result<(), Failure> {
    match hold {
        Hold::Place { tenant, point, reason, until } => {
            let body = json!({ "tenant": tenant, "point": point, "reason": reason, "until": until });
            let answer = operator.call("hold-place", &body).await?;
            print(args, &answer, placed)?;
            outcome(&answer)
        }
        Hold::Release { tenant, point, hold, reason } => {
            let body = json!({ "tenant": tenant, "point": point, "hold": hold, "reason": reason });
            let answer = operator.call("hold-release", &body).await?;
            print(args, &answer, released)?;
            outcome(&answer)
        }
        Hold::List { tenant } => print(args, &operator.call("hold-list", &json!({ "tenant": tenant })).await?, listed),
    }
}

/// Whether everything was done: what was refused or left over must not pass for held.
fn outcome(answer: &Value) -> Result<(), Failure> {
    let (refused, left) = (answer["refused"].as_u64().unwrap_or(0), answer["left"].as_u64().unwrap_or(0));
    match (refused, left) {
        (0, 0) => Ok(()),
        (0, left) => Err(Failure::NotProven(format!("{left} recovery points are left: repeat the command, it goes on"))),
        (refused, _) => Err(Failure::NotProven(format!("{refused} recovery points were refused, the others are done"))),
    }
}

fn placed(answer: &Value) -> String {
    let until = match &answer["hold"]["until"] {
        Value::Null => "until it is released".to_owned(),
        until => format!("until {}", cell(until)),
    };
    done(answer, &format!("held for `{}` {until}", cell(&answer["hold"]["reason"])), "were held so already")
}

fn released(answer: &Value) -> String {
    done(answer, "released", "had no such hold any more")
}

fn done(answer: &Value, what: &str, already: &str) -> String {
    let changed = answer["changed"].as_u64().unwrap_or(0);
    let points: Vec<String> = items(answer, "points").iter().map(cell).collect();
    let mut lines = vec![format!("{changed} recovery points of tenant {} {what}", cell(&answer["tenant"]))];
    lines.extend(points.iter().map(|point| format!("  {point}")));
    let more = changed.saturating_sub(u64::try_from(points.len()).unwrap_or(u64::MAX));
    if more > 0 {
        lines.push(format!("  and {more} more"));
    }
    if answer["already"].as_u64().unwrap_or(0) > 0 {
        lines.push(format!("{} {already}", cell(&answer["already"])));
    }
    let refusal = |refusal: &Value| format!("refused: {}: {}", cell(&refusal["point"]), cell(&refusal["message"]));
    lines.extend(items(answer, "refusals").iter().map(refusal));
    lines.join("\n")
}

fn listed(answer: &Value) -> String {
    let row = |hold: &Value| {
        let until = match (&hold["until"], &hold["over"]) {
            (Value::Null, _) => "by its release".to_owned(),
            (until, Value::Bool(true)) => format!("{} (over)", cell(until)),
            (until, _) => cell(until),
        };
        let first = items(hold, "points").first().map_or_else(|| "-".to_owned(), cell);
        let points = match hold["points_count"].as_u64().unwrap_or(0) {
            0 | 1 => first,
            count => format!("{first} and {} more", count - 1),
        };
        let [tenant, reason, owner, at] = ["tenant", "reason", "owner", "placed_at"].map(|field| cell(&hold[field]));
        vec![tenant, reason, owner, at, until, points]
    };
    let rows: Vec<Vec<String>> = items(answer, "holds").iter().map(row).collect();
    let headings = ["tenant", "reason", "placed by", "at", "ends", "recovery points"];
    listing(answer, table(&headings, &rows), "ask for one tenant with --tenant")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hold_that_is_not_on_everything_is_no_success() {
        let answer = |refused: u64, left: u64| outcome(&json!({ "refused": refused, "left": left }));
        assert!(answer(0, 0).is_ok());
        assert!(answer(0, 3).unwrap_err().to_string().contains("repeat"));
        assert_eq!(answer(2, 3).unwrap_err().exit_code(), 1);
    }

    #[test]
    fn a_listing_says_who_holds_what_and_until_when() {
        let hold = |until: Value, over: bool, count: u64| {
            json!({ "tenant": "acme", "reason": "case\u{1b}[2J", "owner": "ana", "placed_at": "t1", "until": until, "over": over,
                    "points_count": count, "points": ["rp_1"] })
        };
        let text = listed(&json!({ "holds": [hold(Value::Null, false, 3), hold(json!("t9"), true, 1)] }));
        assert!(
            text.contains("by its release  rp_1 and 2 more") && text.contains("t9 (over)") && !text.contains('\u{1b}'),
            "{text}"
        );
        let hold = json!({ "reason": "case 4711", "until": null });
        let text = placed(&json!({ "tenant": "acme", "hold": hold, "changed": 3, "points": ["rp_1"], "already": 1,
                                   "refusals": [{ "point": "rp_2", "message": "full" }] }));
        assert!(text.contains("3 recovery points of tenant acme held for `case 4711` until it is released"), "{text}");
        assert!(text.contains("and 2 more\n1 were held so already\nrefused: rp_2: full"), "{text}");
    }
}
