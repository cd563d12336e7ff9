//! What the live tables of a restore by difference hold, read in one consistent view.

use domain::request::Selection;
use vault::{Digester, PointReader};

use super::{
    catalog, chosen, consistent, copy_out::Placement, digest, endpoint::Endpoint, facts::DatabaseFacts, fit::Fit, projected,
    readers, scope::Scope, session::Session,
};
use crate::error::{Phase, SourceError};

/// The live tables that recorded rows go into, held against the recovery point.
pub(crate) struct Standing {
    /// As [`digest::LiveDigest::identity`], of these tables alone.
    pub(crate) identity: String,
    pub(crate) rows: u64,
    /// How they differ from the recovery point, one line a table.
    pub(crate) differences: Vec<String>,
    pub(crate) fits: Vec<Fit>,
}

/// Reads the live tables; `None` if the scope is not there.
pub(crate) async fn read(
    endpoint: &Endpoint,
    scope: &Scope,
    point: &PointReader,
    recorded: &DatabaseFacts,
    selection: &Selection,
    digester: &Digester,
) -> Result<Option<Standing>, SourceError> {
    let endpoint = endpoint.with_database(scope.database.as_str());
    let Some(session) = Session::open_if_there(&endpoint, Phase::Reading).await? else { return Ok(None) };
    let work = Work { session: &session, endpoint: &endpoint, scope, point };
    let read = work.read(recorded, selection, digester).await;
    session.close().await;
    read
}

struct Work<'a> {
    session: &'a Session,
    endpoint: &'a Endpoint,
    scope: &'a Scope,
    point: &'a PointReader,
}

impl Work<'_> {
    async fn read(
        &self,
        recorded: &DatabaseFacts,
        selection: &Selection,
        digester: &Digester,
    ) -> Result<Option<Standing>, SourceError> {
        if !catalog::is_there(self.session, self.scope).await? {
            return Ok(None);
        }
        consistent::begin(self.session, self.scope).await?;
        let fits = chosen::read_fits(self.session, self.scope, recorded, selection).await?;
        let (live, at) = (fits.iter().map(|fit| fit.live.clone()).collect::<Vec<_>>(), Placement::live(self.scope));
        let tables = readers::read_together(self.session, self.endpoint, &live, at, digester).await?;
        let differences = projected::differences(self.session, at, &fits, &tables, self.point, digester).await?;
        self.session.batch("ending the consistent view", "COMMIT").await?;
        let rows = tables.iter().map(|table| table.rows).sum();
        Ok(Some(Standing { identity: digest::identity(&tables), rows, differences, fits }))
    }
}
