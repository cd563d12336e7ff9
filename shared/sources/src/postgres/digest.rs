//! The digest of a live scope: the same read as an export, keeping nothing but hashes.

use vault::{Manifest, RowsDigest, StreamSink, StreamSummary};

use super::{
    catalog, consistent, copy_out::Placement, endpoint::Endpoint, facts::DatabaseFacts, inventory, readers, scope::Scope,
    session::Session,
};
use crate::error::{Phase, SourceError};

/// What a live scope holds, in hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDigest {
    /// Every table's rows and digest.
    pub tables: Vec<StreamSummary>,
    /// The scope's facts at that moment.
    pub facts: DatabaseFacts,
}

impl LiveDigest {
    /// What stands for a scope that is not there.
    pub const ABSENT: &str = "absent";

    /// One value that is equal for equal content, to bind an approval to.
    #[must_use]
    pub fn identity(&self) -> String {
        identity(&self.tables)
    }

    /// Rows in the scope.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// How the scope's rows differ from a recovery point's, one line a table; empty when they match.
    #[must_use]
    pub fn differences(&self, manifest: &Manifest) -> Vec<String> {
        differences(&self.tables, manifest)
    }

    /// How the scope's objects, owners and grants differ from the recorded ones, one line an object.
    #[must_use]
    pub fn object_differences(&self, recorded: &DatabaseFacts) -> Vec<String> {
        inventory::differences(&recorded.inventory, &self.facts.inventory)
    }
}

/// Digests a live scope; `None` when its database or schema is not there.
///
/// The endpoint names server and login; the database comes from the scope.
///
/// # Errors
/// If the scope cannot be read completely.
pub async fn digest(endpoint: &Endpoint, scope: &Scope, sink: &dyn StreamSink) -> Result<Option<LiveDigest>, SourceError> {
    let endpoint = endpoint.with_database(scope.database.as_str());
    let Some(session) = Session::open_if_there(&endpoint, Phase::Reading).await? else { return Ok(None) };
    let digested = digest_in(&session, &endpoint, scope, sink).await;
    session.close().await;
    digested
}

async fn digest_in(
    session: &Session,
    endpoint: &Endpoint,
    scope: &Scope,
    sink: &dyn StreamSink,
) -> Result<Option<LiveDigest>, SourceError> {
    if !catalog::is_there(session, scope).await? {
        return Ok(None);
    }
    consistent::begin(session, scope).await?;
    let facts = catalog::read_facts(session, scope).await?;
    let tables = readers::read_together(session, endpoint, &facts.tables, Placement::live(scope), sink).await?;
    session.batch("ending the consistent view", "COMMIT").await?;
    Ok(Some(LiveDigest { tables, facts }))
}

/// How digested tables differ from a manifest's streams, one line a table.
pub(crate) fn differences(found: &[StreamSummary], manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    for stream in &manifest.streams {
        let name = &stream.header.name;
        match found.iter().find(|table| table.name == *name) {
            None => lines.push(format!("{name} is missing")),
            Some(table) => lines.extend(difference(name, (table.rows, table.digest), Some((stream.rows, stream.digest)))),
        }
    }
    lines.extend(surplus(found, manifest));
    lines
}

/// How the digested tables differ from the manifest's streams of the same names, whatever other streams there are.
pub(crate) fn differences_of(found: &[StreamSummary], manifest: &Manifest) -> Vec<String> {
    let line = |table: &StreamSummary| {
        let stream = manifest.stream(&table.name)?;
        difference(&table.name, (table.rows, table.digest), Some((stream.rows, stream.digest)))
    };
    found.iter().filter_map(line).chain(surplus(found, manifest)).collect()
}

fn surplus(found: &[StreamSummary], manifest: &Manifest) -> impl Iterator<Item = String> {
    let is_surplus = |table: &&StreamSummary| !manifest.streams.iter().any(|stream| stream.header.name == table.name);
    found.iter().filter(is_surplus).map(|table| format!("{} is not in the recovery point", table.name))
}

/// How one table's rows and digest differ from the recorded ones.
pub(crate) fn difference(name: &str, found: (u64, RowsDigest), recorded: Option<(u64, RowsDigest)>) -> Option<String> {
    match recorded {
        None => Some(format!("{name} is not in the recovery point")),
        Some((rows, _)) if found.0 != rows => Some(format!("{name} has {} rows instead of {rows}", found.0)),
        Some((_, digest)) if found.1 != digest => Some(format!("{name} has other content in its {} rows", found.0)),
        Some(_) => None,
    }
}

pub(crate) fn identity(tables: &[StreamSummary]) -> String {
    let mut sorted: Vec<_> = tables.iter().map(|table| (table.name.as_str(), table.rows, table.digest.to_string())).collect();
    sorted.sort();
    let mut hasher = blake3::Hasher::new_derive_key("holdfast live digest v1");
    for (name, rows, digest) in sorted {
        hasher.update(&(name.len() as u64).to_be_bytes());
        hasher.update(name.as_bytes());
        hasher.update(&rows.to_be_bytes());
        hasher.update(digest.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}
