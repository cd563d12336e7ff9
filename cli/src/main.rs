//! `holdfast`, the operator's command: a thin, signed client of the operator function.
//!
//! It decides nothing. Who calls, what they may do and what is true is the function's to say.

mod args;
mod call;
mod catalog;
mod connect;
#[cfg(test)]
mod documents;
mod erase;
mod failure;
mod help;
mod holds;
mod progress;
mod recover;
mod restore;
mod show;
mod show_coverage;
mod show_policy;
mod show_recovery;
mod show_references;
mod show_restore;
mod show_vault;
mod table;
mod watch;

use std::process::ExitCode;

use args::{Args, Output};
use clap::Parser;
use domain::text::plain;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    match Box::pin(call::run(&args)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match args.output {
                Output::Json => eprintln!("{}", failure.to_json()),
                // It repeats what the function said, which may repeat names from anywhere.
                Output::Table => eprintln!("holdfast: {}", plain(&failure.to_string())),
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
