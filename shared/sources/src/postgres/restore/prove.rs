//! The look from outside, after a restore: the live scope is read again and held against the recovery point.

use domain::request::Selection;
use vault::{Digester, PointReader};

use super::{
    super::{chosen, digest, endpoint::Endpoint, facts::DatabaseFacts, fit::Fit, scope::Scope, standing},
    check::summarise,
};
use crate::error::SourceError;

/// A live scope that holds exactly a recovery point's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Rows compared.
    pub rows: u64,
    /// [`digest::LiveDigest::identity`] of the live scope.
    pub live_digest: String,
    /// Objects, owners and grants that differ from the recorded ones, one line each. For a person to judge: another major
    /// version of the server may name or grant things differently. Where rows were put into live tables: what became of columns, and
    /// which were not compared.
    pub notes: Vec<String>,
}

/// Proves that the live scope, or the selected tables of it, hold exactly the recovery point's rows.
///
/// An application that already writes again makes a difference, too: prove before it is let in, or read the difference so.
///
/// # Errors
/// [`SourceError::Mismatch`] naming the tables that differ.
pub async fn prove(endpoint: &Endpoint, scope: &Scope, point: &PointReader, selection: &Selection) -> Result<Proof, SourceError> {
    let place = endpoint.with_database(scope.database.as_str()).place();
    let facts = chosen::narrow(&place, &DatabaseFacts::decode(&point.manifest().facts)?, selection)?;
    let digester = Digester::against(point).await?;
    let mismatch = |what: String| SourceError::Mismatch { place, what, state: "it is live as described".to_owned() };
    let missing = "the live scope is not there";
    let (rows, live_digest, differences, notes) = if chosen::is_difference(scope, selection) {
        let Some(live) = standing::read(endpoint, scope, point, &facts, selection, &digester).await? else {
            return Err(mismatch(missing.to_owned()));
        };
        (live.rows, live.identity, live.differences, live.fits.iter().flat_map(Fit::notes).collect())
    } else {
        let Some(live) = digest::digest(endpoint, scope, &digester).await? else { return Err(mismatch(missing.to_owned())) };
        (live.rows(), live.identity(), live.differences(point.manifest()), live.object_differences(&facts))
    };
    if differences.is_empty() { Ok(Proof { rows, live_digest, notes }) } else { Err(mismatch(summarise(&differences))) }
}
