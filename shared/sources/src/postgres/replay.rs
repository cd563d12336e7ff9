//! How far a standby has come, asked before a view is taken: whatever it says then, the view shows that much or more.

use serde::Deserialize;

use super::{facts::StandbyFacts, session::Session};
use crate::error::SourceError;

#[derive(Deserialize)]
struct Found {
    is_standby: bool,
    replayed_lsn: Option<String>,
    replayed_at: Option<String>,
    lag_ms: Option<i64>,
}

/// None on a primary.
pub(crate) async fn of(session: &Session) -> Result<Option<StandbyFacts>, SourceError> {
    // Each is null on a primary that never was a standby; one that was promoted remembers, so it is asked which it is.
    let sql = "SELECT pg_is_in_recovery() AS is_standby, pg_last_wal_replay_lsn()::text AS replayed_lsn, pg_last_xact_replay_timestamp() AS replayed_at,
        (extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) * 1000)::bigint AS lag_ms";
    let Found { is_standby, replayed_lsn, replayed_at, lag_ms } =
        session.select_one("asking how far the standby has come", sql).await?;
    if is_standby && replayed_at.is_none() {
        return Err(SourceError::Unreachable {
            place: session.place().clone(),
            doing: "it was asked how old its data is".to_owned(),
            source: "it has replayed no commit since it was started, so it cannot tell".into(),
        });
    }
    Ok(is_standby.then_some(StandbyFacts { replayed_lsn, replayed_at, lag_ms }))
}
