//! The command line.

use clap::{Parser, Subcommand, ValueEnum};

/// Looks after the backups of a multi-tenant platform: what there is, whether it would come back, and bringing it back.
///
/// Credentials, profile and region are found as the AWS CLI finds them. Exit status: 0 done; 1 not done, the message says why;
/// 2 wrong usage; 3 refused; 4 not found; 5 try again later; 6 something in the vault is damaged.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, max_term_width = 110)]
pub(crate) struct Args {
    /// The operator function's URL (the stack's output `OperatorUrl`).
    #[arg(long, env = "HOLDFAST_OPERATOR_URL", global = true, default_value = "")]
    pub(crate) url: String,
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
    #[command(subcommand)]
    Vault(Vault),
    /// Brings one tenant back, with another person's approval.
    #[command(subcommand)]
    Restore(Restore),
    /// Data in the databases that no recovery point has, as the last daily scan found it. Succeeds only if there is none.
    Coverage,
    /// Compares a tenant's rows with its files, from its recovery points, and waits for the outcome. Succeeds only if every file that a row
    /// names was there.
    References {
        /// The tenant.
        #[arg(long)]
        tenant: String,
    },
    /// What is kept and why.
    #[command(subcommand)]
    Retention(Retention),
    /// Alerts, open ones first.
    Alerts,
    /// The audit trail of one UTC day.
    Audit {
        /// An instant of that day, such as 2026-11-23T00:00:00Z; today if left out.
        #[arg(long)]
        day: Option<String>,
    },
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
pub(crate) enum Restore {
    /// Asks for a restore and starts its preview.
    Request {
        /// The tenant, which is also the only place the data can go.
        #[arg(long)]
        tenant: String,
        /// The recovery point; the newest usable one if neither this nor --time is given.
        #[arg(long, conflicts_with = "time")]
        point: Option<String>,
        /// The newest usable recovery point at or before this instant.
        #[arg(long)]
        time: Option<String>,
        /// What to restore: database, media or configuration; what a named recovery point holds, otherwise the database, if left out.
        #[arg(long)]
        kind: Option<String>,
        /// Why, for the person who approves it.
        #[arg(long)]
        reason: String,
    },
    /// Shows what the restore would do, once it is known.
    Preview {
        /// The request.
        request: String,
    },
    /// Agrees to exactly what the preview shows.
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
    /// Follows a request until it has ended. Succeeds only if the restore was proven.
    Watch {
        /// The request.
        request: String,
    },
    /// Requests, open ones first.
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
}
