//! What a scan came to.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::scan::Values;
use crate::{
    caps::{COVERAGE_AGAIN_S, COVERAGE_BYTES_MAX, COVERAGE_EVERY_S},
    rpo::MissedSlot,
    tenant::TenantId,
};

/// Where data lies. Displays as PostgreSQL would quote it, so that no name can pass for another place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The RDS instance identifier.
    pub instance: String,
    /// The database; absent when the instance as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The schema; absent when the database as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The table; absent when the schema as a whole is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

impl Place {
    /// An instance.
    #[must_use]
    pub fn instance(instance: &str) -> Self {
        Self { instance: instance.to_owned(), database: None, schema: None, table: None }
    }

    /// A database.
    #[must_use]
    pub fn database(instance: &str, database: &str) -> Self {
        Self { database: Some(database.to_owned()), ..Self::instance(instance) }
    }

    /// A schema of this database.
    #[must_use]
    pub fn schema(&self, schema: &str) -> Self {
        Self { schema: Some(schema.to_owned()), ..self.clone() }
    }

    /// A table of this database.
    #[must_use]
    pub fn table(&self, schema: &str, table: &str) -> Self {
        Self { table: Some(table.to_owned()), ..self.schema(schema) }
    }

    /// Whether the other place is this one or in it.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        let at = |mine: &Option<String>, others: &Option<String>| mine.is_none() || mine == others;
        self.instance == other.instance
            && at(&self.database, &other.database)
            && at(&self.schema, &other.schema)
            && at(&self.table, &other.table)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |name: &String| format!("\"{}\"", name.replace('"', "\"\""));
        match (&self.database, &self.schema, &self.table) {
            (None, ..) => write!(f, "instance {}", self.instance),
            (Some(database), None, _) => write!(f, "database {} on {}", quoted(database), self.instance),
            (Some(database), Some(schema), None) => {
                write!(f, "schema {} in {} on {}", quoted(schema), quoted(database), self.instance)
            }
            (Some(database), Some(schema), Some(table)) => {
                write!(f, "table {}.{} in {} on {}", quoted(schema), quoted(table), quoted(database), self.instance)
            }
        }
    }
}

/// Data that belongs to nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "gap", rename_all = "snake_case")]
pub enum Gap {
    /// Rows of a pooled table whose tenant is null.
    NoTenant {
        /// How many.
        rows: u64,
    },
    /// Rows of a pooled table whose tenants the register does not list there.
    UnknownTenants(Values),
    /// A table in a pool's schema that has no tenant column.
    SharedTable,
    /// A schema, beside tenants' own or a pool's.
    Schema {
        /// Its tables.
        tables: u64,
    },
    /// A database.
    Database {
        /// Its tables; absent if it could not be looked into.
        tables: Option<u64>,
    },
    /// Large objects, which have no schema that could say whose they are.
    LargeObjects {
        /// How many.
        objects: u64,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTenant { rows } => write!(f, "{rows} rows have no tenant"),
            Self::UnknownTenants(values) => {
                write!(f, "{} rows are of {} tenants that the register does not list there", values.rows, values.tenants)
            }
            Self::SharedTable => f.write_str("it is in a pool's schema and has no tenant column"),
            Self::Schema { tables } => write!(f, "it has {tables} tables and is no tenant's"),
            Self::Database { tables: Some(tables) } => write!(f, "it has {tables} tables and is no tenant's"),
            Self::Database { tables: None } => f.write_str("it is no tenant's and could not be looked into"),
            Self::LargeObjects { objects } => write!(f, "it holds {objects} large objects, which are no tenant's"),
        }
    }
}

/// Data that belongs to nobody, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What.
    #[serde(flatten)]
    pub gap: Gap,
    /// Whose recovery points hold it all the same, because they hold the whole database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_with: Option<TenantId>,
}

/// Data of tenants that the register lists as deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Where.
    pub place: Place,
    /// The tenant, of a place that is its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Tenants and rows, of a pooled table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Values>,
}

/// Something left out by design.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Where.
    pub place: Place,
    /// The tenant whose recovery points do not hold it; absent for a pool's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// Why.
    pub reason: String,
}

/// A place that could not be looked at. What is in it is unknown, which is not the same as nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Where.
    pub place: Place,
    /// Why not.
    pub why: String,
}

/// What a scan came to. Lists are in the order of places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// When the scan ended.
    pub scanned_at: Timestamp,
    /// What belongs to nobody.
    pub findings: Vec<Finding>,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
    /// What is left of deleted tenants.
    pub deleted: Vec<Deleted>,
    /// What is left out by design.
    pub left_out: Vec<LeftOut>,
    /// Live tenants and instances without a fresh recovery point, as of the last reconciliation.
    #[serde(default)]
    pub missed: Vec<MissedSlot>,
    /// Entries of these lists that did not fit into one record.
    #[serde(default)]
    pub left_off: u64,
}

impl Report {
    /// A report of nothing yet.
    #[must_use]
    pub fn at(scanned_at: Timestamp) -> Self {
        let (findings, unseen, deleted, left_out, missed) = Default::default();
        Self { scanned_at, findings, unseen, deleted, left_out, missed, left_off: 0 }
    }

    pub(super) fn sort(&mut self) {
        self.findings.sort_by(|a, b| a.place.cmp(&b.place));
        self.unseen.sort_by(|a, b| a.place.cmp(&b.place));
        self.deleted.sort_by(|a, b| a.place.cmp(&b.place));
        self.left_out.sort_by(|a, b| a.place.cmp(&b.place));
    }

    /// Whether it is time for the next scan: it looks again soon at what it could not look at.
    #[must_use]
    pub fn is_due_again(&self, now: Timestamp) -> bool {
        let after_s = if self.unseen.is_empty() { COVERAGE_EVERY_S } else { COVERAGE_AGAIN_S };
        now.duration_since(self.scanned_at) >= SignedDuration::from_secs(after_s)
    }

    /// What no recovery point has.
    pub fn uncovered(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.only_with.is_none())
    }

    /// Cuts the lists until the report fits one record of the catalog: what is least urgent goes first, and is counted.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        let bytes = |report: &Self| serde_json::to_string(report).map_or(usize::MAX, |text| text.len());
        while bytes(&self) > COVERAGE_BYTES_MAX {
            let lists = [self.left_out.len(), self.deleted.len(), self.missed.len(), self.unseen.len(), self.findings.len()];
            let Some(which) = lists.iter().position(|entries| *entries > 0) else { break };
            // A half at a time, so that a report of any length is cut in few passes.
            let kept = lists[which] / 2;
            self.left_off += (lists[which] - kept) as u64;
            match which {
                0 => self.left_out.truncate(kept),
                1 => self.deleted.truncate(kept),
                2 => self.missed.truncate(kept),
                3 => self.unseen.truncate(kept),
                _ => self.findings.truncate(kept),
            }
        }
        self
    }
}
