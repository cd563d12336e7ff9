//! The names of everything a restore makes, derived from its id.

use std::{fmt, str::FromStr};

use serde::Deserialize;
use uuid::Uuid;

use super::super::{
    ident::{Ident, InvalidIdent, literal},
    session::Session,
};
use crate::error::SourceError;

/// Prefixes of what a restore makes. The undo copy stays, and so does what was put beside the live data; all else goes with the restore.
pub(super) const STAGE: &str = "hf_stage_";
pub(super) const SCRATCH: &str = "hf_scratch_";
pub(super) const UNDO: &str = "hf_undo_";
pub(super) const SIDE: &str = "hf_side_";
pub(super) const ROLE: &str = "hf_restore_";

/// A restore's short id: 16 hexadecimal digits, the random half of the request's or run's UUID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreId(String);

impl RestoreId {
    /// The id of the restore that belongs to a request or a run.
    #[must_use]
    pub fn of(uuid: Uuid) -> Self {
        // The first half of a version 7 UUID is the time; two requests of one moment differ in the second.
        Self(hex::encode(&uuid.as_bytes()[8..]))
    }
}

impl FromStr for RestoreId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("`{text}` is not a restore id: expected 16 hexadecimal digits"))
        }
    }
}

impl fmt::Display for RestoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a restore made the database or schema of this name.
pub(crate) fn made_by_restore(name: &str) -> bool {
    let id = [STAGE, SCRATCH, UNDO, SIDE].iter().find_map(|prefix| name.strip_prefix(prefix));
    id.is_some_and(|id| id.parse::<RestoreId>().is_ok())
}

/// The names of one restore.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// Staging database or schema.
    pub(super) stage: Ident,
    /// Database in which a schema's definitions are given the staging schema's name.
    pub(super) scratch: Ident,
    /// What the live database or schema is called afterwards, or the schema with a pool's replaced rows.
    pub(super) undo: Ident,
    /// The database or schema beside the live data that a person asked for.
    pub(super) side: Ident,
    /// The login role.
    pub(super) role: Ident,
}

impl Names {
    pub(super) fn of(id: &RestoreId) -> Result<Self, InvalidIdent> {
        let name = |prefix: &str| Ident::new(format!("{prefix}{id}"));
        Ok(Self { stage: name(STAGE)?, scratch: name(SCRATCH)?, undo: name(UNDO)?, side: name(SIDE)?, role: name(ROLE)? })
    }
}

/// Whether the server has a database of this name.
pub(super) async fn has_database(session: &Session, name: &Ident) -> Result<bool, SourceError> {
    exists(session, &format!("SELECT datname AS name FROM pg_database WHERE datname = {}", literal(name.as_str()))).await
}

/// Whether the server has a role of this name.
pub(super) async fn has_role(session: &Session, name: &Ident) -> Result<bool, SourceError> {
    exists(session, &format!("SELECT rolname AS name FROM pg_roles WHERE rolname = {}", literal(name.as_str()))).await
}

async fn exists(session: &Session, sql: &str) -> Result<bool, SourceError> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(rename = "name")]
        _name: String,
    }
    let found: Vec<Found> = session.select("looking for what an earlier attempt left", sql).await?;
    Ok(!found.is_empty())
}
