//! What can go wrong at a source, each with the place it happened at and what to do about it.
//!
//! Messages leave the process, so they never hold a password, and of what the server says they hold only what cannot be
//! a tenant's data: a failing row's values are in the server's own log.

use std::fmt;

use domain::{Coded, ErrorCode};
use tokio_postgres::error::SqlState;
use vault::VaultError;

use crate::postgres::ident::InvalidIdent;

/// A database on a host, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The host name.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The database.
    pub database: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database `{}` on {}:{}", self.database.escape_debug(), self.host, self.port)
    }
}

/// Whether data is being read or brought back, which decides the code of an error that could happen in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// An export, a digest, a preview.
    Reading,
    /// Anything of a restore.
    Restoring,
}

/// What the server said, without what could be tenant data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary} (SQLSTATE {code})")]
pub struct PgFailure {
    /// The five characters that name the condition.
    pub code: String,
    summary: String,
}

impl PgFailure {
    pub(crate) fn of(error: &tokio_postgres::error::DbError) -> Self {
        let code = error.code().code().to_owned();
        // Class 22 and 23 messages quote values, and so may messages that tenant code raises (P0001).
        let quotes_data = code.starts_with("22") || code.starts_with("23") || code == "P0001";
        let summary = if quotes_data { named_parts(error) } else { error.message().to_owned() };
        Self { code, summary }
    }

    fn is_one_of(&self, states: &[SqlState]) -> bool {
        states.iter().any(|state| state.code() == self.code)
    }
}

fn named_parts(error: &tokio_postgres::error::DbError) -> String {
    let parts = [
        ("schema", error.schema()),
        ("table", error.table()),
        ("column", error.column()),
        ("type", error.datatype()),
        ("constraint", error.constraint()),
    ];
    let named: Vec<_> = parts.iter().filter_map(|(what, name)| name.map(|name| format!("{what} `{name}`"))).collect();
    let kind = match error.code().code() {
        "23505" => "a unique constraint is violated",
        "23503" => "a foreign key is violated",
        "23514" => "a check constraint is violated",
        "23502" => "a column that may not be null is null",
        "23P01" => "an exclusion constraint is violated",
        "P0001" => "code of the database raised an exception",
        _ => "a value does not fit; the server's log shows it",
    };
    if named.is_empty() { kind.to_owned() } else { format!("{kind}: {}", named.join(", ")) }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A failure at a source. Every variant names the place and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No connection, or it broke.
    #[error(
        "{place} did not answer while {doing}; check that the instance is available and reachable from this function's network"
    )]
    Unreachable {
        /// Where.
        place: Place,
        /// What was being done.
        doing: String,
        /// Why, as far as known.
        #[source]
        source: Cause,
    },
    /// The server is out of connections or memory, or a lock or time limit was reached.
    #[error("{place} is too busy for {doing}; try again when its load or the lock has gone")]
    Busy {
        /// Where.
        place: Place,
        /// What was being done.
        doing: String,
        /// What the server said.
        #[source]
        source: PgFailure,
    },
    /// A standby ended what read it, because what it replays would have taken away what was being read.
    #[error(
        "the replica {place} ended {doing} to go on replaying; the next delivery reads it again. If that happens often, turn `hot_standby_feedback` on \
         or raise `max_standby_streaming_delay` on the replica, or let the rule read the primary"
    )]
    ReplayConflict {
        /// Where.
        place: Place,
        /// What was being done.
        doing: String,
        /// What the server said.
        #[source]
        source: PgFailure,
    },
    /// Another restore holds the target.
    #[error(
        "another restore of {target} is at work in {place}; wait until it has ended, then try again: the lock goes with its session"
    )]
    RestoreAtWork {
        /// Where.
        place: Place,
        /// The database or schema, quoted.
        target: String,
    },
    /// The server's certificate does not hold.
    #[error(
        "{place} does not prove its identity; check that {ca_file} is the CA bundle of its instance class and that the host name is the endpoint's"
    )]
    Certificate {
        /// Where.
        place: Place,
        /// The CA bundle that was used.
        ca_file: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
    /// The CA bundle cannot be used.
    #[error("the CA bundle {ca_file} cannot be used; set HOLDFAST_DB_CA to a PEM file with the roots of the database instances")]
    CaBundle {
        /// Its path.
        ca_file: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The login was refused.
    #[error("{place} refuses user `{user}`; check the secret's username and password and the instance's access rules")]
    Login {
        /// Where.
        place: Place,
        /// Who.
        user: String,
        /// What the server said.
        #[source]
        source: PgFailure,
    },
    /// The database does not exist.
    #[error("{place} does not exist; check the tenant register, or restore it")]
    NoDatabase {
        /// Where.
        place: Place,
    },
    /// A name that PostgreSQL would cut or that could not be quoted.
    #[error(transparent)]
    Name(#[from] InvalidIdent),
    /// The source cannot be read completely, so it is not read at all.
    #[error("{place} cannot be exported completely: {what}; {remedy}")]
    Refused {
        /// Where.
        place: Place,
        /// What cannot be carried, by name.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The restore would lose data or leave its scope, so nothing was changed.
    #[error("the restore into {place} is refused and changed nothing: {what}; {remedy}")]
    RestoreRefused {
        /// Where.
        place: Place,
        /// Why.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The live data is not what was previewed.
    #[error(
        "the tenant's live data in {place} changed since the preview; make a new request, so that what is approved is what happens"
    )]
    Drifted {
        /// Where.
        place: Place,
    },
    /// What was restored is not what the recovery point recorded.
    #[error(
        "what was restored in {place} differs from the recovery point: {what}; the live data is as it was unless this says otherwise: {state}"
    )]
    Mismatch {
        /// Where.
        place: Place,
        /// Tables and what differs.
        what: String,
        /// What the live data now is.
        state: String,
    },
    /// Restored data does not answer as the plan expects.
    #[error(
        "what was restored in {place} is not what the plan expects: {what}; compare with production before anybody restores from it"
    )]
    Asserted {
        /// Where.
        place: Place,
        /// The assertions that failed, each with what was expected and found.
        what: String,
    },
    /// An assertion could not be asked, which says nothing about the data.
    #[error(
        "assertion `{assertion}` could not be asked in {place}; correct its SQL in the plan, or the right it lacks: of a \
         table under row-level security, a database's assertion can ask nothing"
    )]
    Unasked {
        /// Where.
        place: Place,
        /// Its name.
        assertion: String,
        /// What the server said.
        #[source]
        source: Box<SourceError>,
    },
    /// A statement failed.
    #[error("{place} failed while {doing}")]
    Statement {
        /// Where.
        place: Place,
        /// What was being done.
        doing: String,
        /// Reading or restoring.
        phase: Phase,
        /// What the server said.
        #[source]
        source: PgFailure,
    },
    /// `pg_dump` or `pg_restore` failed.
    #[error("{tool} failed on {place} while {doing}: {said}")]
    Tool {
        /// Where.
        place: Place,
        /// Which.
        tool: &'static str,
        /// What was being done.
        doing: String,
        /// Reading or restoring.
        phase: Phase,
        /// The last lines of what it said.
        said: String,
    },
    /// `pg_dump` or `pg_restore` cannot be used at all.
    #[error(
        "{tool} cannot be used: {what}; set HOLDFAST_PG_BIN to the folder of PostgreSQL client programs no older than the server"
    )]
    ToolUnusable {
        /// Its path.
        tool: String,
        /// Why.
        what: String,
    },
    /// The server answered with something that cannot be understood.
    #[error("{place} gave an answer that cannot be understood while {doing}; report it with the server's version")]
    Answer {
        /// Where.
        place: Place,
        /// What was being done.
        doing: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A record that cannot be written or read back.
    #[error("{what} cannot be understood; the recovery point may be of a newer version of Holdfast")]
    Record {
        /// Which record.
        what: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// Records that must come sorted did not: what is missing, or there twice, could not be told from them.
    #[error("{what} is out of order; nothing that was read from it can be relied on: try again, and report it if it stays so")]
    Unordered {
        /// Which record of what.
        what: String,
    },
    /// The register query does not give a register.
    #[error(
        "the register query does not work on {place}; it must return tenant_id, layout, database_id, database_name, schema_name, criticality, time_zone, status and created_at"
    )]
    Register {
        /// Where.
        place: Place,
        /// What the server said.
        #[source]
        source: PgFailure,
    },
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl SourceError {
    /// Gives an error of the driver its place and its meaning.
    pub(crate) fn from_pg(place: &Place, phase: Phase, doing: impl fmt::Display, error: tokio_postgres::Error) -> Self {
        let (place, doing) = (place.clone(), doing.to_string());
        let Some(said) = error.as_db_error().map(PgFailure::of) else {
            return Self::Unreachable { place, doing, source: Box::new(error) };
        };
        let state = said.code.clone();
        match state.as_str() {
            "57P01" | "57P02" | "57P03" | "57P05" | "25P03" => Self::Unreachable { place, doing, source: Box::new(said) },
            _ if state.starts_with("08") || state.starts_with("58") => Self::Unreachable { place, doing, source: Box::new(said) },
            // What only reads, and one moment of it, never fails to be serialised with others on a primary.
            _ if phase == Phase::Reading && said.is_one_of(&[SqlState::T_R_SERIALIZATION_FAILURE]) => {
                Self::ReplayConflict { place, doing, source: said }
            }
            _ if said.is_one_of(&BUSY) => Self::Busy { place, doing, source: said },
            "42501" if said.summary.contains("row-level security") => Self::Refused {
                place,
                what: format!("{doing}: {}", said.summary),
                remedy: "make Holdfast's account a member of the table's owner, and where row-level security is forced on the owner, give it BYPASSRLS"
                    .to_owned(),
            },
            _ => Self::Statement { place, doing, phase, source: said },
        }
    }

    /// `pg_dump` passes on as text what a standby said to it.
    pub(crate) fn or_replay_conflict(self) -> Self {
        match self {
            Self::Tool { place, doing, said, .. } if said.contains("conflict with recovery") => {
                let code = SqlState::T_R_SERIALIZATION_FAILURE.code().to_owned();
                Self::ReplayConflict { place, doing, source: PgFailure { code, summary: said } }
            }
            other => other,
        }
    }

    pub(crate) fn answer(place: &Place, doing: impl fmt::Display, source: impl Into<Cause>) -> Self {
        Self::Answer { place: place.clone(), doing: doing.to_string(), source: source.into() }
    }

    pub(crate) fn refused(place: &Place, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { place: place.clone(), what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn restore_refused(place: &Place, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::RestoreRefused { place: place.clone(), what: what.into(), remedy: remedy.into() }
    }
}

/// Conditions that pass by themselves.
const BUSY: [SqlState; 7] = [
    SqlState::TOO_MANY_CONNECTIONS,
    SqlState::OUT_OF_MEMORY,
    SqlState::LOCK_NOT_AVAILABLE,
    SqlState::T_R_DEADLOCK_DETECTED,
    SqlState::T_R_SERIALIZATION_FAILURE,
    SqlState::QUERY_CANCELED,
    SqlState::OBJECT_IN_USE,
];

impl Coded for SourceError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable { .. } | Self::ReplayConflict { .. } => ErrorCode::SourceUnreachable,
            Self::Busy { .. } | Self::RestoreAtWork { .. } => ErrorCode::Throttled,
            Self::CaBundle { .. } | Self::ToolUnusable { .. } => ErrorCode::NotConfigured,
            Self::Certificate { .. } | Self::Login { .. } | Self::NoDatabase { .. } | Self::Name(_) | Self::Refused { .. } => {
                ErrorCode::SourceRefused
            }
            Self::Answer { .. } | Self::Record { .. } | Self::Unordered { .. } => ErrorCode::SourceRefused,
            Self::RestoreRefused { .. } => ErrorCode::RestoreRefused,
            Self::Drifted { .. } => ErrorCode::TargetDrifted,
            Self::Mismatch { .. } | Self::Asserted { .. } => ErrorCode::ContentMismatch,
            Self::Unasked { .. } => ErrorCode::EnvironmentBad,
            Self::Statement { phase, .. } | Self::Tool { phase, .. } => match phase {
                Phase::Reading => ErrorCode::SourceRefused,
                Phase::Restoring => ErrorCode::RestoreRefused,
            },
            Self::Register { .. } => ErrorCode::RegisterInvalid,
            Self::Vault(error) => error.code(),
        }
    }
}
