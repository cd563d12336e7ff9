//! Whole jobs of Holdfast as one program each, for measuring: the functions' own code, without Lambda and without a catalog.
//!
//! Where the database and the store are is in the environment, what one job leaves for the next in the file `--state`. Each job
//! prints one JSON object. The keys lie in that file too: they protect nothing but the benchmark's own made-up rows.

mod counted;
mod job;
mod phases;
mod state;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Whole jobs of Holdfast, for measuring")]
struct Arguments {
    #[command(subcommand)]
    job: Job,
}

#[derive(Subcommand)]
enum Job {
    /// Backs a database up.
    Export {
        #[arg(long)]
        database: String,
        #[arg(long)]
        state: PathBuf,
        /// Stores everything anew.
        #[arg(long)]
        full: bool,
    },
    /// Loads the newest recovery point into a new database.
    Restore {
        #[arg(long)]
        database: String,
        #[arg(long)]
        into: String,
        #[arg(long)]
        state: PathBuf,
    },
    /// Compares the live database with the newest recovery point by its digests.
    Digest {
        #[arg(long)]
        database: String,
        #[arg(long)]
        state: PathBuf,
    },
    /// Uploads a folder, two files at a time.
    Upload {
        folder: PathBuf,
        #[arg(long)]
        prefix: String,
        #[arg(long)]
        state: PathBuf,
    },
}

// As the functions that move data.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let phases = phases::measure();
    let done = match Arguments::parse().job {
        Job::Export { database, state, full } => job::export(&database, &state, full).await,
        Job::Restore { database, into, state } => job::restore(&database, &into, &state).await,
        Job::Digest { database, state } => job::digest(&database, &state).await,
        Job::Upload { folder, prefix, state: _ } => job::upload(&folder, &prefix).await,
    };
    match done {
        Ok(mut answer) => {
            answer["phases"] = phases.seconds();
            #[expect(clippy::print_stdout, reason = "the answer is this program's output")]
            {
                println!("{answer}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("holdfast-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
