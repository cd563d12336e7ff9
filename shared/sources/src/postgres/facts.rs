//! What an export records about the database it read: enough to restore it elsewhere, and to see what changed since.

use domain::{point::ReadSpan, tenant::Layout};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ident::{Ident, QualifiedName};
use crate::error::SourceError;

/// The facts of one export. They are the `facts` of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    /// Version of this record; 1.
    pub version: u32,
    /// The server's version as it prints itself.
    pub server_version: String,
    /// The server's version as a number, such as 150018.
    pub server_version_num: u32,
    /// Version of the `pg_dump` that wrote the definitions; none for a pool, whose definitions are not the tenant's.
    pub pg_dump_version: Option<String>,
    /// Position in the write-ahead log when the consistent view was taken.
    pub lsn: String,
    /// When the consistent view was taken, by the server's clock, RFC 3339.
    pub read_at: String,
    /// What a standby says of itself; none of a primary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<StandbyFacts>,
    /// Where the tenant's rows lived.
    #[serde(flatten)]
    pub layout: Layout,
    /// The database itself.
    pub properties: DatabaseProperties,
    /// The schema's owner, in the layouts that have one schema.
    pub schema_owner: Option<String>,
    /// Every table whose rows were read, in name order.
    pub tables: Vec<TableFacts>,
    /// The scope's sequences.
    pub sequences: Vec<SequenceFacts>,
    /// Foreign keys from or to the scope's tables.
    pub foreign_keys: Vec<ForeignKeyFacts>,
    /// Materialised views, which a restore fills again from the restored tables.
    pub materialised_views: Vec<MaterialisedView>,
    /// Extensions of the database.
    pub extensions: Vec<ExtensionFacts>,
    /// Default privileges in the scope; they belong to roles, so a restore sets them apart from the archive.
    pub default_grants: Vec<DefaultGrant>,
    /// What was left out, each with the reason.
    pub left_out: Vec<LeftOut>,
    /// Every object of the scope with its owner and grants; empty for a pool.
    pub inventory: Vec<InventoryEntry>,
    /// Hash over the names, types and keys of all tables.
    pub fingerprint: String,
}

/// How far a standby had come before the consistent view was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyFacts {
    /// Position in the write-ahead log up to which it had replayed.
    pub replayed_lsn: Option<String>,
    /// When the last transaction that it had replayed was committed, by the primary's clock, RFC 3339; none since it started. The view
    /// shows that transaction, and whatever was replayed while it was being taken.
    pub replayed_at: Option<String>,
    /// How long before the view that was, in milliseconds. On a primary where nothing happens it grows, though nothing is amiss.
    pub lag_ms: Option<i64>,
}

/// The database around the scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseProperties {
    /// Its owner.
    pub owner: String,
    /// Its encoding's name.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// `c` for the C library, `i` for ICU, `b` for PostgreSQL's own.
    pub locale_provider: String,
    /// The ICU or built-in locale.
    pub locale: Option<String>,
    /// Most connections at once; -1 for no limit.
    pub connection_limit: i32,
    /// Comment on the database.
    pub comment: Option<String>,
    /// Privileges on the database, when they are not the default ones.
    pub grants: Option<Vec<Grant>>,
    /// Settings of the database (`ALTER DATABASE … SET`), as `name=value`, with the role when it is for one role only.
    pub settings: Vec<(Option<String>, String)>,
}

/// One privilege.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// To whom; none for everybody.
    pub grantee: Option<String>,
    /// Which, as `GRANT` spells it.
    pub privilege: String,
    /// Whether it may be passed on.
    pub grantable: bool,
}

/// One privilege that future objects get.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DefaultGrant {
    /// The role whose future objects get it.
    pub role: String,
    /// The schema it is limited to.
    pub schema: Option<String>,
    /// `TABLES`, `SEQUENCES`, `FUNCTIONS`, `TYPES` or `SCHEMAS`.
    pub objects: String,
    /// The privilege; of an empty name if nobody has any, not even the role itself.
    #[serde(flatten)]
    pub grant: Grant,
}

/// A table of the scope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Its name.
    #[serde(flatten)]
    pub name: QualifiedName,
    /// Whether it is partitioned; its rows are then read through it once, and its partitions are not streams of their own.
    pub partitioned: bool,
    /// Its owner.
    pub owner: String,
    /// Its columns in order.
    pub columns: Vec<ColumnFacts>,
    /// The primary key's columns; empty without one.
    pub key: Vec<Ident>,
    /// Rows that were read.
    #[serde(default)]
    pub rows: u64,
}

/// How a column gets its value when none is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Not an identity column.
    #[serde(rename = "")]
    No,
    /// `GENERATED ALWAYS AS IDENTITY`.
    #[serde(rename = "a")]
    Always,
    /// `GENERATED BY DEFAULT AS IDENTITY`.
    #[serde(rename = "d")]
    ByDefault,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnFacts {
    /// Its name.
    pub name: Ident,
    /// Its type with modifiers, qualified.
    pub type_name: String,
    /// Whether it may not be null.
    pub not_null: bool,
    /// Whether it is computed from others; such a column is neither read nor written.
    pub generated: bool,
    /// Whether and how it is an identity column.
    pub identity: Identity,
}

impl TableFacts {
    /// The columns whose values are read and written.
    pub fn stored_columns(&self) -> impl Iterator<Item = &ColumnFacts> {
        self.columns.iter().filter(|column| !column.generated)
    }
}

/// A sequence and where it stood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceFacts {
    /// Its name.
    #[serde(flatten)]
    pub name: QualifiedName,
    /// Its step, negative when it counts down.
    pub increment: i64,
    /// The table and column that own it.
    pub owned_by: Option<(QualifiedName, Ident)>,
    /// Its last value.
    #[serde(default)]
    pub last_value: i64,
    /// Whether that value was already given out.
    #[serde(default)]
    pub is_called: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForeignKeyFacts {
    /// Its name.
    pub name: Ident,
    /// The referencing table.
    pub table: QualifiedName,
    /// The referencing columns.
    pub columns: Vec<Ident>,
    /// The referenced table.
    pub referenced: QualifiedName,
    /// The referenced columns, in the same order.
    pub referenced_columns: Vec<Ident>,
    /// Whether its check can wait for the end of a transaction.
    pub deferrable: bool,
}

/// A materialised view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaterialisedView {
    /// Its name.
    #[serde(flatten)]
    pub name: QualifiedName,
    /// Whether it held data.
    pub populated: bool,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionFacts {
    /// Its name.
    pub name: Ident,
    /// Its version.
    pub version: String,
    /// The schema its objects are in.
    pub schema: Ident,
}

/// Something of the scope that the recovery point does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LeftOut {
    /// What kind of thing, such as `table`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// One object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InventoryEntry {
    /// What kind of object, as PostgreSQL calls it.
    pub kind: String,
    /// Its identity, qualified and quoted.
    pub identity: String,
    /// The schema it is in, or is.
    pub schema: Ident,
    /// Its owner, for kinds that have one of their own.
    pub owner: Option<String>,
    /// Its grants as `grantee:privilege`, sorted; none when they are the default ones.
    pub grants: Option<Vec<String>>,
    /// Which of these another than the owner granted, who had been given the right to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_on: Vec<PassedOn>,
}

/// A grant that somebody else than the owner made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PassedOn {
    /// Who granted it.
    pub grantor: String,
    /// What, as in [`InventoryEntry::grants`].
    pub grant: String,
}

impl DatabaseFacts {
    /// The version of this record.
    pub const VERSION: u32 = 1;

    /// The facts as a manifest holds them.
    ///
    /// # Errors
    /// If they cannot be written as JSON.
    pub fn encode(&self) -> Result<serde_json::Value, SourceError> {
        serde_json::to_value(self).map_err(|source| SourceError::Record { what: "the facts of an export".to_owned(), source })
    }

    /// Reads the facts from a manifest.
    ///
    /// # Errors
    /// If they are not the facts of a database export, or of a newer version.
    pub fn decode(value: &serde_json::Value) -> Result<Self, SourceError> {
        let unreadable = |source| SourceError::Record { what: "the recovery point's facts".to_owned(), source };
        let facts: Self = serde::Deserialize::deserialize(value).map_err(unreadable)?;
        if facts.version == Self::VERSION {
            Ok(facts)
        } else {
            Err(unreadable(serde::de::Error::custom(format!("version {} is not known, {} is", facts.version, Self::VERSION))))
        }
    }

    /// When the database was read: the instant of its view, or of a standby the time since the last commit that the view shows for certain.
    /// None if the standby has replayed nothing by which to tell.
    ///
    /// # Errors
    /// If the server's times are not instants.
    pub fn read(&self) -> Result<Option<ReadSpan>, SourceError> {
        let instant = |text: &str| {
            text.parse::<Timestamp>().map_err(|error| SourceError::Record {
                what: format!("the server's time `{text}`"),
                source: serde::de::Error::custom(error),
            })
        };
        let until = instant(&self.read_at)?;
        let from = match &self.standby {
            None => Some(until),
            Some(standby) => standby.replayed_at.as_deref().map(instant).transpose()?,
        };
        Ok(from.map(|from| ReadSpan { from, until }))
    }

    /// The table with this stream name.
    #[must_use]
    pub fn table(&self, stream: &str) -> Option<&TableFacts> {
        self.tables.iter().find(|table| table.name.to_string() == stream)
    }

    /// Every role that owns something or was granted something: a target without them could not hold the restored data.
    #[must_use]
    pub fn roles(&self) -> std::collections::BTreeSet<&str> {
        let grants = self.properties.grants.iter().flatten().filter_map(|grant| grant.grantee.as_deref());
        let settings = self.properties.settings.iter().filter_map(|(role, _)| role.as_deref());
        let defaults =
            self.default_grants.iter().flat_map(|default| [Some(default.role.as_str()), default.grant.grantee.as_deref()]);
        let owners = self.inventory.iter().filter_map(|entry| entry.owner.as_deref());
        let inventory = self.inventory.iter().flat_map(|entry| entry.grants.iter().flatten());
        let granted =
            inventory.filter_map(|grant| grant.rsplit_once(':').map(|(grantee, _)| grantee)).filter(|name| !name.is_empty());
        std::iter::once(self.properties.owner.as_str())
            .chain(self.schema_owner.as_deref())
            .chain(grants)
            .chain(settings)
            .chain(defaults.flatten())
            .chain(owners)
            .chain(granted)
            .chain(self.inventory.iter().flat_map(|entry| &entry.passed_on).map(|passed| passed.grantor.as_str()))
            .collect()
    }
}
