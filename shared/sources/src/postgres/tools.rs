//! `pg_dump` and `pg_restore`, run with nothing in their environment but what they need.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command};

use super::{endpoint::Endpoint, ident::Ident, random};
use crate::error::{Phase, SourceError};

/// Definitions only: minutes at the very most.
const TIMEOUT: Duration = Duration::from_secs(600);
/// What the server is told about every session of a tool.
const OPTIONS: &str = "-c role=none -c lock_timeout=30s -c statement_timeout=600s -c search_path=pg_catalog \
    -c default_transaction_read_only=off";
/// What it is told besides when a staging copy is made. Its commits need not be durable before the cutover's is; and nobody else is
/// there: who waits for a lock waits for the other session of the same tool, as long as an index of the same table takes.
const STAGING_OPTIONS: &str = "-c synchronous_commit=off -c lock_timeout=0";

/// How much of what a tool said goes into an error.
const SAID_CHARACTERS_MAX: usize = 800;

/// The first release of each major version whose `pg_dump` and `pg_restore` have no hole that is publicly known.
const WITHOUT_HOLES: [(u32, u32); 5] = [(14, 24), (15, 19), (16, 15), (17, 11), (18, 6)];

/// Why a version cannot be relied on.
#[derive(Debug, PartialEq, Eq)]
enum Unsafe {
    Old,
    Unknown,
}

/// The major number of a version without known holes. A major version that came later than all of these has none of theirs.
fn without_holes(version: &str) -> Result<u32, Unsafe> {
    let (major, minor) = version.split_once('.').unwrap_or((version, ""));
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u32>();
    // `19beta1` has no minor number yet.
    let (major, minor) = (digits(major).map_err(|_| Unsafe::Unknown)?, digits(minor).unwrap_or(0));
    let newest = WITHOUT_HOLES.iter().map(|(major, _)| *major).max();
    let is_safe = Some(major) > newest || WITHOUT_HOLES.iter().any(|(known, least)| *known == major && minor >= *least);
    if is_safe { Ok(major) } else { Err(Unsafe::Old) }
}

/// The folder with `pg_dump` and `pg_restore`.
#[derive(Debug, Clone)]
pub struct Tools {
    bin_dir: PathBuf,
}

/// A section of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    PreData,
    PostData,
}

impl Section {
    /// The section's document in a recovery point.
    pub(crate) fn blob_name(self) -> &'static str {
        match self {
            Self::PreData => "ddl/pre-data",
            Self::PostData => "ddl/post-data",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Self::PreData => "--section=pre-data",
            Self::PostData => "--section=post-data",
        }
    }
}

impl Tools {
    /// Uses the programs in this folder.
    #[must_use]
    pub fn new(bin_dir: impl Into<PathBuf>) -> Self {
        Self { bin_dir: bin_dir.into() }
    }

    /// Returns the version of `pg_dump`, refusing programs with known holes, and a `pg_dump` that is older than the server: it cannot
    /// know what it would leave out.
    pub(crate) async fn check_version(&self, server_version_num: u32) -> Result<String, SourceError> {
        let (version, major) = self.check_program("pg_dump").await?;
        if major < server_version_num / 10_000 {
            let what = format!("it is version {version}, older than the server's {}", server_version_num / 10_000);
            return Err(SourceError::ToolUnusable { tool: self.path("pg_dump").display().to_string(), what });
        }
        self.check_restorer().await?;
        Ok(version)
    }

    /// Refuses a `pg_restore` with known holes.
    pub(crate) async fn check_restorer(&self) -> Result<(), SourceError> {
        self.check_program("pg_restore").await.map(drop)
    }

    /// A program's version and its major number, if it has no known holes.
    async fn check_program(&self, program: &str) -> Result<(String, u32), SourceError> {
        let tool = self.path(program);
        let unusable = |what: String| SourceError::ToolUnusable { tool: tool.display().to_string(), what };
        let output = bare(&tool, &self.bin_dir).arg("--version").output().await;
        let output = output.map_err(|error| unusable(error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text.split_whitespace().nth(2).unwrap_or_default().to_owned();
        match without_holes(&version) {
            Ok(major) => Ok((version, major)),
            Err(Unsafe::Unknown) => Err(unusable(format!("it does not say its version but `{}`", text.trim().escape_debug()))),
            Err(Unsafe::Old) => {
                let least: Vec<_> = WITHOUT_HOLES.iter().map(|(major, minor)| format!("{major}.{minor}")).collect();
                Err(unusable(format!(
                    "it is version {version}, which has known security holes; the first releases without them are {}",
                    least.join(", ")
                )))
            }
        }
    }

    /// Writes one section of definitions as an archive.
    pub(crate) async fn dump(
        &self,
        endpoint: &Endpoint,
        section: Section,
        snapshot: Option<&str>,
        schema: Option<&Ident>,
        phase: Phase,
    ) -> Result<Vec<u8>, SourceError> {
        let mut arguments = vec![
            "--format=custom".to_owned(),
            "--compress=0".to_owned(),
            "--schema-only".to_owned(),
            section.option().to_owned(),
            "--no-publications".to_owned(),
            "--no-subscriptions".to_owned(),
            "--lock-wait-timeout=30s".to_owned(),
        ];
        arguments.extend(snapshot.map(|id| format!("--snapshot={id}")));
        // In double quotes the pattern is the name itself.
        arguments.extend(schema.map(|schema| format!("--schema={schema}")));
        if schema.is_none() {
            // What restores made beside the live tables, see `Scope::schema_condition`.
            arguments.push("--exclude-schema=hf_(stage|undo|side)_[0-9a-f]{16}".to_owned());
        }
        self.run("pg_dump", &arguments, endpoint, &[], phase, "dumping definitions").await
    }

    /// Lists an archive's entries, as `pg_restore --list` prints them.
    pub(crate) async fn list(&self, endpoint: &Endpoint, archive: &[u8], phase: Phase) -> Result<String, SourceError> {
        let listing = self.run("pg_restore", &["--list".to_owned()], endpoint, archive, phase, "listing an archive").await?;
        String::from_utf8(listing).map_err(|error| SourceError::answer(&endpoint.place(), "listing an archive", error))
    }

    /// Replays those entries of an archive that the list names, as the endpoint's user and with this many sessions, stopping at the
    /// first error.
    pub(crate) async fn restore(
        &self,
        endpoint: &Endpoint,
        archive: &[u8],
        list: &str,
        sessions: usize,
        doing: &str,
    ) -> Result<(), SourceError> {
        let unusable = |error| {
            let what = format!("its input cannot be written to the temporary folder: {error}");
            SourceError::ToolUnusable { tool: self.path("pg_restore").display().to_string(), what }
        };
        let list_file = TemporaryFile::write(list.as_bytes()).await.map_err(unusable)?;
        // Only a file can be read by several.
        let archive_file = TemporaryFile::write(archive).await.map_err(unusable)?;
        let arguments = [
            format!("--dbname={}", connection_string(&endpoint.database)),
            "--exit-on-error".to_owned(),
            "--no-owner".to_owned(),
            "--no-tablespaces".to_owned(),
            format!("--use-list={}", list_file.0.display()),
            format!("--jobs={sessions}"),
            archive_file.0.display().to_string(),
        ];
        self.run("pg_restore", &arguments, endpoint, &[], Phase::Restoring, doing).await.map(drop)
    }

    fn path(&self, tool: &str) -> PathBuf {
        self.bin_dir.join(tool)
    }

    async fn run(
        &self,
        tool: &'static str,
        arguments: &[String],
        endpoint: &Endpoint,
        input: &[u8],
        phase: Phase,
        doing: &str,
    ) -> Result<Vec<u8>, SourceError> {
        let path = self.path(tool);
        let unusable = |what: String| SourceError::ToolUnusable { tool: path.display().to_string(), what };
        let mut child =
            command(&path, arguments, endpoint, &self.bin_dir, phase).spawn().map_err(|error| unusable(error.to_string()))?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // A tool that stops reading says why on its own; the broken pipe adds nothing.
                let _ = stdin.write_all(input).await;
            }
        };
        let both = async { tokio::join!(feed, child.wait_with_output()).1 };
        let timed_out = |_| SourceError::Tool {
            place: endpoint.place(),
            tool,
            doing: doing.to_owned(),
            phase,
            said: format!("it did not end within {} s", TIMEOUT.as_secs()),
        };
        let output =
            tokio::time::timeout(TIMEOUT, both).await.map_err(timed_out)?.map_err(|error| unusable(error.to_string()))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = essence(&String::from_utf8_lossy(&output.stderr));
        let place = endpoint.place();
        if tells_of_a_lost_session(&said) {
            return Err(SourceError::Unreachable { place, doing: format!("{tool} was {doing}"), source: said.into() });
        }
        Err(SourceError::Tool { place, tool, doing: doing.to_owned(), phase, said })
    }
}

/// Whether a tool failed because its own session could not begin or was ended, or because the session whose view it was to share was.
/// Another export has a view of its own.
fn tells_of_a_lost_session(said: &str) -> bool {
    [
        "connection to server",
        "connection to the server",
        "server closed the connection",
        "terminating connection",
        "invalid snapshot identifier",
        "could not import the requested snapshot",
    ]
    .iter()
    .any(|sign| said.contains(sign))
}

fn command(path: &Path, arguments: &[String], endpoint: &Endpoint, bin_dir: &Path, phase: Phase) -> Command {
    let options = match phase {
        Phase::Reading => OPTIONS.to_owned(),
        Phase::Restoring => format!("{OPTIONS} {STAGING_OPTIONS}"),
    };
    let mut command = bare(path, bin_dir);
    command
        .args(arguments)
        .env("PGHOST", &endpoint.host)
        .env("PGPORT", endpoint.port.to_string())
        .env("PGDATABASE", &endpoint.database)
        .env("PGUSER", &endpoint.user)
        .env("PGPASSWORD", endpoint.password.expose())
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &endpoint.ca_file)
        .env("PGCONNECT_TIMEOUT", "10")
        .env("PGAPPNAME", "holdfast")
        .env("PGOPTIONS", options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A program with the least it needs to start.
fn bare(path: &Path, bin_dir: &Path) -> Command {
    let mut command = Command::new(path);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C")
        // Where a Lambda layer keeps the programs' libraries.
        .env("LD_LIBRARY_PATH", bin_dir.join("../lib"))
        .kill_on_drop(true);
    command
}

/// A connection string that names a database, whatever is in the name.
fn connection_string(database: &str) -> String {
    format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// The lines in which a tool says what went wrong and at which entry, without statements and details.
fn essence(stderr: &str) -> String {
    let telling = |line: &&str| line.contains("error:") || line.contains("from TOC entry") || line.contains("ERROR:");
    let lines: Vec<_> = stderr.lines().filter(telling).take(4).map(|line| line.escape_debug().to_string()).collect();
    let text = if lines.is_empty() { "it gave no reason".to_owned() } else { lines.join("; ") };
    text.chars().take(SAID_CHARACTERS_MAX).collect()
}

/// A file that only we can read, gone when dropped.
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    async fn write(content: &[u8]) -> std::io::Result<Self> {
        // Random, because the file of a process that was killed stays behind and process ids come again.
        let path = std::env::temp_dir().join(format!("holdfast-{}", random::hex(8)?));
        let mut file = tokio::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).await?;
        let written = Self(path);
        file.write_all(content).await?;
        file.flush().await?;
        Ok(written)
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_with_known_holes_are_refused() {
        for (version, expected) in [
            ("18.6", Ok(18)),
            ("18.5", Err(Unsafe::Old)),
            ("17.11", Ok(17)),
            ("17.9", Err(Unsafe::Old)),
            ("16.15", Ok(16)),
            ("16.14", Err(Unsafe::Old)),
            ("15.19", Ok(15)),
            ("15.18", Err(Unsafe::Old)),
            ("15.100", Ok(15)),
            ("14.24", Ok(14)),
            ("14.23", Err(Unsafe::Old)),
            ("13.99", Err(Unsafe::Old)),
            ("18beta1", Err(Unsafe::Old)),
            ("19beta1", Ok(19)),
            ("", Err(Unsafe::Unknown)),
            ("devel", Err(Unsafe::Unknown)),
        ] {
            assert_eq!(without_holes(version), expected, "{version}");
        }
    }

    #[test]
    fn a_database_name_stays_a_name_in_a_connection_string() {
        assert_eq!(connection_string(r"a' host='evil \"), r"dbname='a\' host=\'evil \\'");
    }

    #[test]
    fn a_tool_that_lost_a_session_is_told_from_one_that_was_refused() {
        for lost in [
            r#"connection to server at "db" (10.0.0.1), port 5432 failed: timeout expired"#,
            "query failed: server closed the connection unexpectedly",
            "query failed: FATAL:  terminating connection due to administrator command",
            "query failed: no connection to the server",
            r#"query failed: ERROR:  invalid snapshot identifier: "00000003-0000001F-1""#,
            "query failed: ERROR:  could not import the requested snapshot",
        ] {
            assert!(tells_of_a_lost_session(&format!("pg_dump: error: {lost}")), "{lost}");
        }
        for refused in ["permission denied for table bookings", "canceling statement due to lock timeout"] {
            assert!(!tells_of_a_lost_session(&format!("pg_dump: error: query failed: ERROR:  {refused}")), "{refused}");
        }
    }

    #[test]
    fn what_a_tool_says_is_cut_to_its_essence() {
        let stderr = "pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 215; 1259 16400 TABLE app t owner\n\
            pg_restore: error: could not execute query: ERROR:  schema \"x\" does not exist\nCommand was: CREATE TABLE secret\nDETAIL: Key (email)=(a@b)";
        let said = essence(stderr);
        assert!(said.contains("TABLE app t") && said.contains("does not exist"), "{said}");
        assert!(!said.contains("CREATE TABLE") && !said.contains("a@b"), "{said}");
    }
}
