//! What a consistent view is told apart by: two transactions with equal views read the same rows.

use domain::tenant::Layout;
use serde::{Deserialize, Serialize};

use super::{facts::DatabaseFacts, scope::Scope, session::Session};
use crate::error::SourceError;

/// The first version that says whether replay has really stopped, not only whether it was asked to.
const PAUSE_STATE_SINCE: u32 = 14;

/// Identifies a view.
///
/// On a primary, the snapshot decides. Within the life of one server process transaction ids only grow, so two snapshots with the same
/// text see the same transactions. Whatever changes rows, moves them or alters their tables has such an id; setting hint bits,
/// pruning and vacuuming have none and change no row's content or place. The position in the write-ahead log is not asked: reading
/// alone moves it.
///
/// A standby's snapshot does not name the transactions under way, so equal texts prove nothing. There it is the position, with replay
/// paused before and after the snapshot was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct View {
    /// The server process: its address and when it started. A restored clone or a promoted neighbour is another one.
    server: String,
    database: String,
    snapshot: String,
    /// How far a standby had replayed.
    replayed: Option<String>,
    /// What is read of it: the register may have moved the tenant.
    layout: Layout,
    /// The tables, their columns and keys.
    fingerprint: String,
}

#[derive(Deserialize)]
struct Found {
    server: String,
    database: String,
    snapshot: String,
}

/// Whether a server may change between two statements.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// A primary; its snapshots tell.
    Primary,
    /// A standby that has stopped there.
    Paused(String),
    /// A standby that goes on replaying, or cannot tell.
    Moving,
}

impl Standing {
    /// Asks the server. To be asked before a view is begun, and given to [`View::of`].
    pub(crate) async fn of(session: &Session) -> Result<Self, SourceError> {
        #[derive(Deserialize)]
        struct Server {
            is_standby: bool,
            version_num: u32,
        }
        #[derive(Deserialize)]
        struct Replay {
            is_paused: bool,
            at: Option<String>,
        }
        let sql = "SELECT pg_is_in_recovery() AS is_standby, current_setting('server_version_num')::int AS version_num";
        let server: Server = session.select_one("asking whether the server is a standby", sql).await?;
        if !server.is_standby {
            return Ok(Self::Primary);
        }
        if server.version_num / 10_000 < PAUSE_STATE_SINCE {
            return Ok(Self::Moving);
        }
        let sql = "SELECT pg_get_wal_replay_pause_state() = 'paused' AS is_paused, pg_last_wal_replay_lsn()::text AS at";
        let replay: Replay = session.select_one("asking how far the standby is", sql).await?;
        Ok(replay.at.filter(|_| replay.is_paused).map_or(Self::Moving, Self::Paused))
    }
}

impl View {
    /// The view of the session's transaction; none if it could not be told from another. `before` was asked before it was begun.
    pub(crate) async fn of(
        session: &Session,
        scope: &Scope,
        facts: &DatabaseFacts,
        before: Standing,
    ) -> Result<Option<Self>, SourceError> {
        let now = Standing::of(session).await?;
        let replayed = match now {
            _ if now != before => return Ok(None),
            Standing::Moving => return Ok(None),
            Standing::Primary => None,
            Standing::Paused(at) => Some(at),
        };
        let sql = "SELECT concat_ws(' ', inet_server_addr(), inet_server_port(), pg_postmaster_start_time()) AS server,
            (SELECT oid::text FROM pg_database WHERE datname = current_database()) AS database, pg_current_snapshot()::text AS snapshot";
        let sql = if facts.server_version_num >= 130_000 {
            sql.to_owned()
        } else {
            sql.replace("pg_current_snapshot", "txid_current_snapshot")
        };
        let Found { server, database, snapshot } = session.select_one("identifying the consistent view", &sql).await?;
        let (layout, fingerprint) = (scope.layout.clone(), facts.fingerprint.clone());
        Ok(Some(Self { server, database, snapshot, replayed, layout, fingerprint }))
    }
}
