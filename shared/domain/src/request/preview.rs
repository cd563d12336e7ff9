//! What a restore would do, as the person who approves it sees it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::RestoreRequest;
use crate::forecast::Forecast;

/// What a restore would do to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEffect {
    /// The table.
    pub table: String,
    /// Rows that come back.
    pub returned: u64,
    /// Rows whose present values are replaced.
    pub overwritten: u64,
    /// Rows that exist now and will not.
    pub destroyed: u64,
    /// Rows that stay as they are.
    pub unchanged: u64,
}

/// What a restore would do, as shown to the person who approves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// When it was made.
    pub at: Timestamp,
    /// Table by table.
    pub tables: Vec<TableEffect>,
    /// What the counts do not say, such as structures that changed since.
    pub notes: Vec<String>,
    /// Digest of the tenant's live data when it was made.
    pub live_digest: String,
    /// How long it may take; none where nobody asked what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<Forecast>,
    /// Digest over all that was asked for, the recovery point's content and all of the above: what an approval is bound to.
    pub digest: String,
}

/// What a comparison of a recovery point with the live data found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Table by table.
    pub tables: Vec<TableEffect>,
    /// What the counts do not say.
    pub notes: Vec<String>,
    /// Digest of the tenant's live data.
    pub live_digest: String,
}

impl Findings {
    /// Rows, or records, that the restore has to bring: what its duration is measured by.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let all = totals(&self.tables);
        all.returned.saturating_add(all.overwritten).saturating_add(all.unchanged)
    }
}

fn totals(tables: &[TableEffect]) -> TableEffect {
    let mut all = TableEffect { table: "all".to_owned(), returned: 0, overwritten: 0, destroyed: 0, unchanged: 0 };
    for table in tables {
        all.returned = all.returned.saturating_add(table.returned);
        all.overwritten = all.overwritten.saturating_add(table.overwritten);
        all.destroyed = all.destroyed.saturating_add(table.destroyed);
        all.unchanged = all.unchanged.saturating_add(table.unchanged);
    }
    all
}

impl Preview {
    /// Makes a preview of what was found, with its digest. `content` names the recovery point's content: its manifest's hash.
    #[must_use]
    pub fn new(request: &RestoreRequest, content: &str, found: Findings, forecast: Option<Forecast>, at: Timestamp) -> Self {
        let unsealed = Self {
            at,
            tables: found.tables,
            notes: found.notes,
            live_digest: found.live_digest,
            forecast,
            digest: String::new(),
        };
        Self { digest: unsealed.seal(request, content), ..unsealed }
    }

    /// All tables together.
    #[must_use]
    pub fn totals(&self) -> TableEffect {
        totals(&self.tables)
    }

    /// The digest that this preview must have, for this request and this content.
    pub(super) fn seal(&self, request: &RestoreRequest, content: &str) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast preview v2");
        let RestoreRequest { id, tenant, point, kind, mode, selection, undoes, point_in_time, reason, requested_by, .. } =
            request;
        let Self { at, tables, notes, live_digest, forecast, .. } = self;
        let asked = (id, tenant, point, kind, mode, selection, undoes, point_in_time, reason, requested_by);
        let shown = (at, tables, notes, live_digest, forecast);
        // Plain structs of text and numbers always have their JSON, and JSON keeps its parts apart.
        for part in [serde_json::to_string(&asked).unwrap_or_default(), serde_json::to_string(&shown).unwrap_or_default()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hasher.update(content.as_bytes());
        hasher.finalize().to_hex().to_string()
    }
}
