//! Reads a pool once for all tenants that are due: tenant by tenant, from one statement for each table.
//!
//! Read tenant by tenant alone, a table without an index on the tenant column is read whole for each. Here it is read whole once. What
//! comes of a tenant is what [`super::export`] would have made of it in the same view, to the last chunk. A sweep that is stopped cannot
//! be gone on from, so tenants with much data are not for it.

use domain::TenantId;
use vault::{StreamSink, StreamSummary};

use super::{
    copy_out::{self, Placement},
    facts::DatabaseFacts,
    pool::Pool,
    readers,
    runs::{Places, Runs},
};
use crate::error::SourceError;

/// A pool that is being read.
pub struct Sweep<'a> {
    pool: &'a Pool,
    /// Of each table, its rows; none for those that are read tenant by tenant.
    runs: Vec<Option<Runs<'a>>>,
    places: Places,
    /// The first tenant whose rows are still to come.
    next: usize,
    standing: Standing,
}

/// Whether a sweep can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Tenants whose turn is to come can be exported.
    Going,
    /// A statement failed. What is left can be exported one by one, which shows whose fault it was.
    Broken,
    /// A connection broke. What is left is for the next delivery.
    Lost,
}

impl<'a> Sweep<'a> {
    pub(crate) fn new(pool: &'a Pool, runs: Vec<Option<Runs<'a>>>, places: Places) -> Self {
        Self { pool, runs, places, next: 0, standing: Standing::Going }
    }

    /// Whether it can go on.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Exports one tenant into the sink, past whatever is left of those before it, and returns its facts. Tenants must come in the order of
    /// [`Pool::tenants`]; some may be left out.
    ///
    /// # Errors
    /// If its rows cannot be read or taken. Only [`Sweep::standing`] says whether that ends the sweep.
    pub async fn export(&mut self, tenant: &TenantId, sink: &dyn StreamSink) -> Result<DatabaseFacts, SourceError> {
        let at = self.pool.session.place();
        if self.standing != Standing::Going {
            let why = "the sweep of its pool had ended before";
            return Err(SourceError::Unreachable {
                place: at.clone(),
                doing: format!("reading tenant {tenant}"),
                source: why.into(),
            });
        }
        let place = self.places.get(tenant.as_str()).copied().filter(|place| *place >= self.next);
        let Some(place) = place else {
            // Its rows went by: what would be left is an empty recovery point.
            let what = format!("the sweep is past tenant {tenant}, or was not begun for it");
            return Err(SourceError::refused(at, what, "export it by itself"));
        };
        self.next = place + 1;
        let exported = self.export_at(place, sink).await;
        if let Err(error) = &exported {
            self.standing = standing_after(error);
        }
        exported
    }

    async fn export_at(&mut self, place: usize, sink: &dyn StreamSink) -> Result<DatabaseFacts, SourceError> {
        let (pool, scope) = (self.pool, &self.pool.order[place]);
        let mut facts = pool.facts.clone();
        for (table, runs) in facts.tables.iter_mut().zip(&mut self.runs) {
            let summary = match runs {
                Some(runs) => {
                    let open = sink.open(copy_out::header(table))?;
                    let mut slice = open.slice()?;
                    while let Some(rows) = runs.next(place, &self.places).await? {
                        slice.rows(rows).await?;
                    }
                    slice.end().await?;
                    Some(open.end().await?)
                }
                None => {
                    let alone = std::slice::from_ref(&*table);
                    readers::read_alone(&pool.session, alone, Placement::live(scope), sink).await?.pop()
                }
            };
            table.rows = summary.map_or(0, |StreamSummary { rows, .. }| rows);
        }
        Ok(facts)
    }
}

/// What could not be stored is that tenant's matter; the source went on.
fn standing_after(error: &SourceError) -> Standing {
    match error {
        SourceError::Vault(_) => Standing::Going,
        SourceError::Unreachable { .. } => Standing::Lost,
        _ => Standing::Broken,
    }
}
