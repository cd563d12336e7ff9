//! The command line.

use clap::{Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::{erase::Erase, help, holds::Hold};

use crate::restore::Restore;

/// Looks after the backups of a multi-tenant platform: what there is, whether it would come back, and bringing it back.
///
/// Credentials, profile and region are found as the AWS CLI finds them: a flag, then the environment, then AWS's config files.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 110, after_help = help::COMMAND)]
pub(crate) struct Args {
    /// The operator function's URL (the stack's output `OperatorUrl`).
    #[arg(long, visible_alias = "endpoint-url", env = "HOLDFAST_OPERATOR_URL", global = true, default_value = "")]
    pub(crate) url: String,
    /// The profile of AWS's config files whose credentials sign the calls; otherwise AWS_PROFILE, unless AWS_ACCESS_KEY_ID is set.
    #[arg(long, global = true)]
    pub(crate) profile: Option<String>,
    /// The region, if the URL does not say it (`….lambda-url.eu-central-1.on.aws` does); otherwise AWS_REGION, AWS_DEFAULT_REGION or the
    /// profile's.
    #[arg(long, global = true)]
    pub(crate) region: Option<String>,
    /// Tables for people or JSON for machines.
    #[arg(long, short, value_enum, default_value_t = Output::Table, global = true)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Table,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The posture in one page.
    Status,
    /// Every tenant with its newest recovery point.
    Tenants,
    /// Recovery points of one tenant, or the newest few of all.
    Points {
        /// Only this tenant's, and all of them.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Recovery sets: what was taken together of one tenant, or of all the newest few, and how far apart in time it was read.
    Sets {
        /// Only this tenant's, and all of them.
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Backs one tenant up now.
    Run {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// Stores everything anew, instead of sharing what the last recovery point has stored.
        #[arg(long)]
        full: bool,
    },
    /// What the vault itself holds: the signed links of recovery points, and whether everything they need is there.
    #[command(subcommand, after_help = help::VAULT)]
    Vault(Vault),
    /// Keeps recovery points whatever the policy says, for a reason and until it is over.
    #[command(subcommand, after_help = help::HOLD)]
    Hold(Hold),
    /// Erases a tenant that has left, with another person's approval, and shows the evidence.
    #[command(subcommand, after_help = help::ERASE)]
    Erase(Erase),
    /// Brings one tenant back, with another person's approval.
    #[command(subcommand, after_help = help::RESTORE)]
    Restore(Restore),
    /// Brings the whole environment back on new instances, with another person's approval.
    #[command(subcommand)]
    Recover(Recover),
    /// Data in the databases that no recovery point has, as the last daily scan found it. Succeeds only if there is none.
    Coverage,
    /// Compares a tenant's rows with its files, from its recovery points, and waits for the outcome. Succeeds only if every file that a row
    /// names was there.
    References {
        /// The tenant.
        #[arg(long)]
        tenant: String,
    },
    /// What Holdfast knows of what it has stored.
    #[command(subcommand)]
    Catalog(Catalog),
    /// What is kept and why.
    #[command(subcommand)]
    Retention(Retention),
    /// Alerts, open ones first.
    Alerts,
    /// The audit trail: today's, another day's, a span's, or all that concerns one request.
    #[command(after_help = help::AUDIT)]
    Audit(Audit),
    /// The script that completes this command in a shell, to be sourced or stored where that shell looks.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, clap::Args, serde::Serialize)]
pub(crate) struct Audit {
    /// An instant of a UTC day, such as 2026-11-23T00:00:00Z; today if left out.
    #[arg(long, conflicts_with_all = ["since", "until"])]
    day: Option<String>,
    /// Nothing before this instant.
    #[arg(long)]
    since: Option<String>,
    /// Nothing after this instant; at most 30 days after the first.
    #[arg(long)]
    until: Option<String>,
    /// Only what names this: a tenant, an instance, a recovery point.
    #[arg(long)]
    about: Option<String>,
    /// Only what was done by whoever has this in their ARN.
    #[arg(long)]
    actor: Option<String>,
    /// Only this act, such as `restore.execute`, or all of a kind, such as `restore`.
    #[arg(long)]
    act: Option<String>,
    /// Only what concerns this request (rq_…), recovery (rc_…), erasure (er_…) or run (run_…), from when it was made.
    #[arg(long)]
    #[serde(rename = "story")]
    request: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Vault {
    /// The links of one tenant's chain, or the newest few of all.
    Ls {
        /// Only this tenant's, and all of them, the newest with their packs.
        #[arg(long)]
        tenant: Option<String>,
        /// Only this kind: database, media or configuration.
        #[arg(long)]
        kind: Option<String>,
    },
    /// One recovery point's link: what it needs, and whether its signature is the vault's. Succeeds only if it is.
    Show {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// The recovery point.
        #[arg(long)]
        point: String,
    },
    /// Follows the chain and looks for everything that recovery points need. Succeeds only if nothing is wrong.
    Check {
        /// The tenant.
        #[arg(long)]
        tenant: String,
        /// Only this recovery point; otherwise the newest hundred, or with --read-data the newest of each kind.
        #[arg(long)]
        point: Option<String>,
        /// Reads the data too, and waits for the outcome: of all of it `1/1`, of a seventh `1/7`, of the next `2/7` and so on.
        #[arg(long, value_name = "N/T")]
        read_data: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    /// Records again what the vault holds and a lost catalog does not know, and waits for the outcome. Changes no record that is there.
    /// Succeeds only if everything that was found is recorded and whole.
    Rebuild {
        /// Only tells what would be recorded.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Recover {
    /// Asks for the recovery of the environment and starts its plan. Nothing that is there is touched.
    Request {
        /// Nothing newer than this instant comes back; the newest of everything if left out.
        #[arg(long)]
        time: Option<String>,
        /// With --time: every instance that RDS can restore to that very instant, by the engine's own log, is made so. The others come from
        /// their newest snapshots before it; the plan says which.
        #[arg(long, requires = "time")]
        native: bool,
        /// Why, for the people who approve it.
        #[arg(long)]
        reason: String,
    },
    /// Shows what the recovery would do, once it is known.
    Preview {
        /// The recovery.
        recovery: String,
    },
    /// Agrees to exactly what the preview shows.
    Approve {
        /// The recovery.
        recovery: String,
        /// The digest of the plan that was looked at; without it the plan is shown and confirmed here.
        #[arg(long)]
        digest: Option<String>,
        /// Shows the plan and agrees to it without asking.
        #[arg(long, conflicts_with = "digest")]
        yes: bool,
    },
    /// Wakes the runbook of an approved recovery again, should its first call have been lost.
    Run {
        /// The recovery.
        recovery: String,
    },
    /// Follows a recovery until it has ended, and shows its report. Succeeds only if everything is back.
    Watch {
        /// The recovery.
        recovery: String,
    },
    /// Recoveries, open ones first.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// What retention would decide now, beside what it last did.
    Plan {
        /// Only this tenant's.
        #[arg(long)]
        tenant: Option<String>,
        /// Every recovery point with every reason.
        #[arg(long)]
        explain: bool,
    },
    /// Agrees to a policy that lets more go than the one in force. It takes two people.
    Approve {
        /// The version that waits, as `holdfast retention plan` shows it.
        version: String,
    },
}
