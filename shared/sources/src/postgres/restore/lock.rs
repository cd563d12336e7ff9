//! The lock of one target: while a restore is at work on it, no other begins there.
//!
//! A staging copy is named after its request alone, so a second run of the same request, started while the first is still
//! alive, would clear what the first has checked and load it anew, and the first would then make a half-loaded copy live. Two
//! requests for one target would undo one another. So whoever stages, cuts over or clears holds an advisory lock on the target, on
//! a session of its own.
//!
//! The lock is the session's: it cannot be lost while the session lives, and goes when the session does, however that ends. A
//! session that answers right before a commit is therefore the proof that nobody else touched the staging copy until then.

use serde::Deserialize;

use super::{
    super::{ident::literal, session::Session},
    Job,
};
use crate::error::{Phase, SourceError};

/// The session is idle while the restore works, and must stay; but one whose other end vanished (a frozen or killed function says
/// no goodbye) must go within a minute, or its lock would keep out the retry. Servers before 14 have no `idle_session_timeout`.
const SETTINGS: &str = "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3; \
    SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'";

/// A held lock.
#[derive(Debug)]
pub(super) struct RestoreLock {
    session: Session,
}

impl RestoreLock {
    /// Takes the lock of the job's target, without waiting: a restore takes minutes, and its retry comes back by itself.
    pub(super) async fn take(job: &Job<'_>) -> Result<Self, SourceError> {
        #[derive(Deserialize)]
        struct Answer {
            mine: bool,
        }
        // Advisory locks belong to one database. This one is always there, and is never itself renamed or dropped.
        let session = Session::open(&job.maintenance(), Phase::Restoring).await?;
        session.batch("preparing the restore's lock", SETTINGS).await?;
        let key = literal(&format!("holdfast restore {}", target(job)));
        let sql = format!("SELECT pg_try_advisory_lock(hashtextextended({key}, 0)) AS mine");
        let answer: Answer = session.select_one("taking the restore's lock", &sql).await?;
        if answer.mine {
            return Ok(Self { session });
        }
        session.close().await;
        Err(SourceError::RestoreAtWork { place: job.live_place(), target: target(job) })
    }

    /// Fails unless the lock is still held.
    pub(super) async fn still_held(&self) -> Result<(), SourceError> {
        self.session.batch("making sure that the restore's lock is still held", "SELECT 1").await
    }

    /// The session that holds it. What commits on it commits only while the lock is held.
    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    /// Gives the lock back before returning.
    pub(super) async fn release(self) {
        self.session.close().await;
    }
}

/// The database, or the schema in it. For a pool the whole schema: two tenants' cutovers would wait for one another's tables.
fn target(job: &Job<'_>) -> String {
    match &job.scope.schema {
        Some(schema) => format!("{}.{schema}", job.scope.database),
        None => job.scope.database.to_string(),
    }
}
