//! `holdfast restore`: asking, looking, agreeing, going ahead, reviewing, taking back.

use std::io::{BufRead, IsTerminal, Write};

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::{
    args::Args,
    call::{Failure, Operator, print},
    show_restore, watch,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Restore {
    /// Asks for a restore and starts its preview. Nothing changes until other people agree.
    Request(Box<Wish>),
    /// Shows what the restore would do, once it is known.
    Preview {
        /// The request.
        request: String,
    },
    /// Agrees to exactly what the preview shows; says how many people are still needed.
    Approve {
        /// The request.
        request: String,
        /// The digest of the preview that was looked at; without it the preview is shown and confirmed here.
        #[arg(long)]
        digest: Option<String>,
        /// Shows the preview and agrees to it without asking.
        #[arg(long, conflicts_with = "digest")]
        yes: bool,
    },
    /// Lets an approved restore go on whose start was lost. With --break-glass: goes ahead alone, when nobody else can be reached.
    Run {
        /// The request.
        request: String,
        /// Goes ahead without another person's approval. Every subscriber is paged first, and another person must review it.
        #[arg(long, requires = "reason")]
        break_glass: bool,
        /// Why one person goes ahead alone.
        #[arg(long, requires = "break_glass")]
        reason: Option<String>,
        /// The digest of the preview that was looked at; without it the preview is shown and confirmed here.
        #[arg(long, requires = "break_glass")]
        digest: Option<String>,
        /// Shows the preview and goes ahead without asking.
        #[arg(long, requires = "break_glass", conflicts_with = "digest")]
        yes: bool,
    },
    /// Records what another person found about a restore that one carried out alone.
    Review {
        /// The request.
        request: String,
        /// What was found.
        #[arg(long)]
        finding: String,
    },
    /// Asks for what a proven restore in place did to be taken back. It is previewed, approved and proven like any other.
    Undo {
        /// The request whose effect is to be taken back.
        request: String,
        /// Why, for those who approve it.
        #[arg(long)]
        reason: String,
    },
    /// Follows a request until it has ended. Succeeds only if the restore was proven.
    Watch {
        /// The request.
        request: String,
    },
    /// Requests, open ones first.
    List,
}

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Wish {
    /// The tenant, which is also the only place the data can go.
    #[arg(long)]
    tenant: String,
    /// The recovery point; the newest usable one if neither this nor --time is given.
    #[arg(long, conflicts_with = "time")]
    point: Option<String>,
    /// The newest usable recovery point at or before this instant, such as 2026-11-23T03:00:00Z.
    #[arg(long)]
    time: Option<String>,
    /// With --time: the very instant, by the engine's own point-in-time recovery.
    #[arg(long, requires = "time")]
    native: bool,
    /// What to restore: database, media or configuration; what a named recovery point holds, otherwise the database, if left out.
    #[arg(long)]
    kind: Option<String>,
    /// Where to write.
    #[arg(long, value_enum, default_value_t = Mode::InPlace)]
    mode: Mode,
    /// With --mode new-environment: the recovery that made the new instances.
    #[arg(long)]
    recovery: Option<String>,
    /// Only these tables, as `table` or `schema.table`; all of them if left out.
    #[arg(long, value_delimiter = ',')]
    tables: Vec<String>,
    /// What became of a recorded column that the table no longer has: `table.old=new`, or `table.old=` to leave its values behind.
    #[arg(long = "column", value_name = "TABLE.OLD=NEW", value_parser = column)]
    columns: Vec<Value>,
    /// Why, for those who approve it.
    #[arg(long)]
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Over the live data; what is replaced is kept.
    InPlace,
    /// Beside the live data, for a person to look at or take from.
    SideBySide,
    /// On the new instances of an environment recovery.
    NewEnvironment,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::SideBySide => "side-by-side",
            Self::NewEnvironment => "new-environment",
        }
    }
}

impl Wish {
    fn body(&self) -> Value {
        json!({
            "tenant": self.tenant, "point": self.point, "time": self.time, "native": self.native, "kind": self.kind,
            "mode": self.mode.name(), "recovery": self.recovery, "tables": self.tables, "columns": self.columns, "reason": self.reason,
        })
    }
}

/// A column and what became of it. The table may have its schema before it; a name with a dot or `=` in it needs the function's own call.
fn column(text: &str) -> Result<Value, String> {
    let named = text.split_once('=').and_then(|(old, now)| old.rsplit_once('.').map(|(table, column)| (table, column, now)));
    match named {
        Some((table, column, now)) if !table.is_empty() && !column.is_empty() => {
            let now = Some(now).filter(|now| !now.is_empty());
            Ok(json!({ "table": table, "column": column, "now": now }))
        }
        _ => Err("expected `table.old=new`, or `table.old=` to leave the values behind".to_owned()),
    }
}

/// Carries out one of the commands.
pub(crate) async fn run(args: &Args, operator: &Operator, restore: &Restore) -> Result<(), Failure> {
    match restore {
        Restore::Request(wish) => print(args, &operator.call("restore-request", &wish.body()).await?, show_restore::request),
        Restore::Preview { request } => print(args, &watch::until_previewed(operator, request).await?, show_restore::request),
        Restore::Approve { request, digest, yes } => {
            let digest = match digest {
                Some(digest) => digest.clone(),
                None => confirmed(operator, request, *yes, "Approve this?").await?,
            };
            let body = json!({ "request": request, "preview_digest": digest });
            print(args, &operator.call("restore-approve", &body).await?, show_restore::request)
        }
        Restore::Run { request, reason: None, .. } => {
            let body = json!({ "request": request });
            print(args, &operator.call("restore-run", &body).await?, show_restore::request)
        }
        Restore::Run { request, reason: Some(reason), digest, yes, .. } => {
            let digest = match digest {
                Some(digest) => digest.clone(),
                None => confirmed(operator, request, *yes, "Carry this out alone, paging everybody?").await?,
            };
            let body = json!({ "request": request, "break_glass": { "reason": reason, "preview_digest": digest } });
            print(args, &operator.call("restore-run", &body).await?, show_restore::request)
        }
        Restore::Review { request, finding } => {
            let body = json!({ "request": request, "finding": finding });
            print(args, &operator.call("restore-review", &body).await?, show_restore::request)
        }
        Restore::Undo { request, reason } => {
            let body = json!({ "request": request, "reason": reason });
            print(args, &operator.call("restore-undo", &body).await?, show_restore::request)
        }
        Restore::Watch { request } => {
            let ended = watch::until_ended(operator, request).await?;
            print(args, &ended, show_restore::request)?;
            if ended["state"] == "proven" {
                Ok(())
            } else {
                Err(Failure::NotProven(format!("restore request {request} was not carried out")))
            }
        }
        Restore::List => print(args, &operator.call("restore-list", &json!({})).await?, show_restore::requests),
    }
}

/// Shows the preview on standard error and asks; agreement given blindly would be none.
async fn confirmed(operator: &Operator, request: &str, yes: bool, question: &str) -> Result<String, Failure> {
    let waiting = watch::until_previewed(operator, request).await?;
    eprintln!("{}", show_restore::request(&waiting));
    let digest = waiting["preview"]["digest"].as_str().unwrap_or_default().to_owned();
    if yes {
        return Ok(digest);
    }
    if !std::io::stdin().is_terminal() {
        let message =
            "nobody to ask: standard input is not a terminal; pass --digest of the preview that was looked at, or --yes";
        return Err(Failure::Usage(message.to_owned()));
    }
    eprint!("{question} Type the tenant's id to agree: ");
    std::io::stderr().flush().map_err(|error| Failure::NoAnswer(error.to_string()))?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::NoAnswer(error.to_string()))?;
    if Some(answer.trim()) == waiting["tenant"].as_str() {
        Ok(digest)
    } else {
        Err(Failure::NotProven("nothing was done".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Command;

    fn parsed(line: &str) -> Result<Restore, String> {
        let words = ["holdfast", "restore"].into_iter().chain(line.split_whitespace());
        match Args::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Restore(restore) => Ok(restore),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_request_is_sent_as_it_was_typed() {
        let typed = "request --tenant acme --time 2026-11-23T03:00:00Z --native --mode side-by-side --tables app.orders,notes \
                     --column app.orders.note=remark --column notes.mood= --reason gone";
        let Ok(Restore::Request(wish)) = parsed(typed) else { panic!("{:?}", parsed(typed)) };
        let columns = json!([
            { "table": "app.orders", "column": "note", "now": "remark" },
            { "table": "notes", "column": "mood", "now": null },
        ]);
        let expected = json!({
            "tenant": "acme", "point": null, "time": "2026-11-23T03:00:00Z", "native": true, "kind": null, "mode": "side-by-side",
            "recovery": null, "tables": ["app.orders", "notes"], "columns": columns, "reason": "gone",
        });
        assert_eq!(wish.body(), expected);
    }

    #[test]
    fn half_a_command_is_wrong_usage() {
        for line in [
            "request --tenant acme",
            "request --tenant acme --reason r --native",
            "request --tenant acme --reason r --mode elsewhere",
            "request --tenant acme --reason r --column note=remark",
            "run rq_1 --break-glass",
            "run rq_1 --reason r",
            "run rq_1 --break-glass --reason r --digest d --yes",
            "review rq_1",
            "undo rq_1",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert!(matches!(parsed("run rq_1"), Ok(Restore::Run { break_glass: false, reason: None, .. })));
        assert!(matches!(
            parsed("run rq_1 --break-glass --reason r --yes"),
            Ok(Restore::Run { break_glass: true, yes: true, .. })
        ));
    }
}
