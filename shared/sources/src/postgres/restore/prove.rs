//! The look from outside, after a restore: the live scope is read again and held against the recovery point.

use vault::{Digester, PointReader};

use super::{
    super::{digest, endpoint::Endpoint, facts::DatabaseFacts, scope::Scope},
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
    /// version of the server may name or grant things differently.
    pub notes: Vec<String>,
}

/// Proves that the live scope holds exactly the recovery point's rows.
///
/// An application that already writes again makes a difference, too: prove before it is let in, or read the difference so.
///
/// # Errors
/// [`SourceError::Mismatch`] naming the tables that differ.
pub async fn prove(endpoint: &Endpoint, scope: &Scope, point: &PointReader) -> Result<Proof, SourceError> {
    let facts = DatabaseFacts::decode(&point.manifest().facts)?;
    let place = endpoint.with_database(scope.database.as_str()).place();
    let mismatch = |what: String| SourceError::Mismatch { place, what, state: "it is live as described".to_owned() };
    let Some(live) = digest::digest(endpoint, scope, &Digester::against(point).await?).await? else {
        return Err(mismatch("the live scope is not there".to_owned()));
    };
    let differences = live.differences(point.manifest());
    if !differences.is_empty() {
        return Err(mismatch(summarise(&differences)));
    }
    Ok(Proof { rows: live.rows(), live_digest: live.identity(), notes: live.object_differences(&facts) })
}
