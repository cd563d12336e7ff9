//! Reads tables into a sink, by one session or by several that share its view.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use vault::{StreamSink, StreamSummary};

use super::{
    consistent,
    copy_out::{self, Lines, Placement},
    endpoint::Endpoint,
    facts::TableFacts,
    ident::QualifiedName,
    queue::Queue,
    session::Session,
    slices::{self, SlicedTable},
    turn::Turn,
};
use crate::{caps::SESSIONS_AT_ONCE, error::SourceError};

/// Below this a scope is read sooner than another session is open.
const ALONE_BYTES_MAX: u64 = 8 << 20;
/// How long to wait for rows before asking whether it is time to stop.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// Reads the tables one after the other in the session's present transaction, and sums each up.
pub(crate) async fn read_alone(
    session: &Session,
    tables: &[TableFacts],
    at: Placement<'_>,
    sink: &dyn StreamSink,
) -> Result<Vec<StreamSummary>, SourceError> {
    let tables: Vec<_> = tables.iter().map(SlicedTable::whole).collect();
    let queue = Queue::new(&tables, sink);
    work(session, at, &queue, Turn::WHOLE).await?;
    Ok(queue.summaries().expect("nothing told it to stop"))
}

/// Like [`read_alone`], with further sessions beside this one if there is much to read. Its transaction must be one of
/// [`consistent::BEGIN`]; the others see exactly what it sees.
pub(crate) async fn read_together(
    session: &Session,
    endpoint: &Endpoint,
    tables: &[TableFacts],
    at: Placement<'_>,
    sink: &dyn StreamSink,
) -> Result<Vec<StreamSummary>, SourceError> {
    let sliced = slices::cut(session, tables, at).await?;
    let queue = read_for(session, endpoint, &sliced, at, sink, Turn::WHOLE).await?;
    Ok(queue.summaries().expect("nothing told it to stop"))
}

/// Like [`read_together`], for one turn. The queue says how far it came.
///
/// The first error ends all sessions: rows of another session cannot stand in for those of one that is lost, as nothing brings its
/// view back.
pub(crate) async fn read_for<'a>(
    session: &Session,
    endpoint: &Endpoint,
    sliced: &'a [SlicedTable<'a>],
    at: Placement<'_>,
    sink: &'a dyn StreamSink,
    turn: Turn<'_>,
) -> Result<Queue<'a>, SourceError> {
    let mut queue = Queue::new(sliced, sink);
    if let Some(earlier) = turn.earlier {
        queue.take_over(earlier).await?;
    }
    let bytes: u64 = sliced.iter().map(|table| table.bytes).sum();
    let others = if bytes > ALONE_BYTES_MAX { open_others(session, endpoint, sliced, at).await? } else { Vec::new() };
    let done = try_join_all(std::iter::once(session).chain(&others).map(|session| work(session, at, &queue, turn))).await;
    join_all(others.into_iter().map(Session::close)).await;
    done?;
    queue.stop().await?;
    Ok(queue)
}

async fn work(session: &Session, at: Placement<'_>, queue: &Queue<'_>, turn: Turn<'_>) -> Result<(), SourceError> {
    while !(turn.until)() {
        let Some(mut taken) = queue.take()? else { return Ok(()) };
        let mut lines = Lines::of(session, taken.table, at, taken.condition.as_deref()).await?;
        let mut last = None;
        loop {
            // A server that sorts first gives no row for long; it is time to stop all the same.
            match tokio::time::timeout(ASK_EVERY, lines.next()).await {
                Ok(batch) => {
                    let Some(batch) = batch? else { break };
                    last = copy_out::last_key(&taken.header, &batch);
                    taken.sink.rows(batch).await?;
                }
                Err(_elapsed) => {}
            }
            if (turn.until)() {
                // The rest of the rows is still on its way: this session is of no use any more.
                return queue.interrupt(taken, last).await;
            }
        }
        queue.end(taken).await?;
    }
    Ok(())
}

/// Opens the other sessions. A server that has none to spare, or a lock that cannot be had at once, means fewer, not failure: the
/// first session can do without.
async fn open_others(
    session: &Session,
    endpoint: &Endpoint,
    sliced: &[SlicedTable<'_>],
    at: Placement<'_>,
) -> Result<Vec<Session>, SourceError> {
    let snapshot = consistent::share(session).await?;
    let names: Vec<_> = sliced.iter().map(|sliced| at.name(sliced.table)).collect();
    let mut others = Vec::new();
    while others.len() + 1 < SESSIONS_AT_ONCE {
        match open_other(session, endpoint, &snapshot, &names).await {
            Ok(other) => others.push(other),
            Err(error @ SourceError::Busy { .. }) => {
                tracing::info!(%error, "reading with fewer sessions");
                break;
            }
            Err(error) => {
                join_all(others.into_iter().map(Session::close)).await;
                return Err(error);
            }
        }
    }
    Ok(others)
}

async fn open_other(
    session: &Session,
    endpoint: &Endpoint,
    snapshot: &str,
    tables: &[QualifiedName],
) -> Result<Session, SourceError> {
    let other = Session::open(endpoint, session.phase()).await?;
    match consistent::join(&other, snapshot, tables).await {
        Ok(()) => Ok(other),
        Err(error) => {
            other.close().await;
            Err(error)
        }
    }
}
