//! Tenants: who they are and where their data lives.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::text::is_hidden;

/// A tenant's id as the platform's register spells it, or `@` and a database id for the platform's own databases.
///
/// At most [`TenantId::BYTES_MAX`] bytes of printable text without `#`, `/`, white space or a leading `@`: it is a part of
/// catalog keys and object prefixes, and it is shown to people in alerts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

/// A text that cannot be a tenant id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot be a tenant id: use 1 to 128 bytes of printable text without `#`, `/` or white space, not starting with `@`"
)]
pub struct InvalidTenantId {
    text: String,
}

impl TenantId {
    /// The longest id taken, in bytes.
    pub const BYTES_MAX: usize = 128;

    /// The pseudo-tenant under which one of the platform's own databases is protected.
    ///
    /// # Errors
    /// If the database id could not be part of a tenant id.
    pub fn platform(database_id: &str) -> Result<Self, InvalidTenantId> {
        Self::checked(database_id).map(|id| Self(format!("@{}", id.0)))
    }

    /// The platform database this stands for, if it is one.
    #[must_use]
    pub fn as_platform(&self) -> Option<&str> {
        self.0.strip_prefix('@')
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn checked(text: &str) -> Result<Self, InvalidTenantId> {
        let fits = (1..=Self::BYTES_MAX).contains(&text.len())
            && !text.starts_with('@')
            && !text.chars().any(|c| is_hidden(c) || c.is_whitespace() || matches!(c, '#' | '/'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidTenantId { text: text.to_owned() }) }
    }
}

impl FromStr for TenantId {
    type Err = InvalidTenantId;
    fn from_str(text: &str) -> Result<Self, InvalidTenantId> {
        match text.strip_prefix('@') {
            Some(database_id) => Self::platform(database_id),
            None => Self::checked(text),
        }
    }
}

impl TryFrom<String> for TenantId {
    type Error = InvalidTenantId;
    fn try_from(text: String) -> Result<Self, InvalidTenantId> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a tenant's rows live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "layout", rename_all = "snake_case")]
pub enum Layout {
    /// An instance of its own.
    Silo {
        /// The database on that instance.
        database: String,
    },
    /// A database of its own on a shared instance.
    Database {
        /// The database.
        database: String,
    },
    /// A schema of its own in a shared database.
    Schema {
        /// The shared database.
        database: String,
        /// The tenant's schema.
        schema: String,
    },
    /// Rows of shared tables, told apart by a column.
    Pool {
        /// The shared database.
        database: String,
        /// The schema of the shared tables.
        schema: String,
        /// The column that holds the tenant id, in every table that has tenants' rows.
        tenant_column: String,
    },
}

impl Layout {
    /// The database to connect to.
    #[must_use]
    pub fn database(&self) -> &str {
        match self {
            Self::Silo { database }
            | Self::Database { database }
            | Self::Schema { database, .. }
            | Self::Pool { database, .. } => database,
        }
    }

    /// The layout's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Silo { .. } => "silo",
            Self::Database { .. } => "database",
            Self::Schema { .. } => "schema",
            Self::Pool { .. } => "pool",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_tenant_ids_are_refused() {
        for text in ["", "a b", "a#b", "a/b", "a\nb", "@", "@@x", "a\u{2028}b", "acme\u{202E}", "ac\u{200B}me", &"x".repeat(129)]
        {
            assert!(text.parse::<TenantId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_register_row_cannot_pose_as_a_platform_database() {
        assert!(TenantId::checked("@central").is_err());
        assert_eq!("@central".parse::<TenantId>().unwrap().as_platform(), Some("central"));
    }
}
