//! Loads a staging copy's rows straight from the vault, by several sessions of the restore's role.

use std::{
    cmp::Reverse,
    sync::{Mutex, PoisonError},
};

use futures::future::{join_all, try_join_all};
use vault::{SliceReader, StreamEntry};

use super::{
    super::{facts::TableFacts, ident::list, session::Session},
    Job, Staged,
    load::placed,
};
use crate::{caps::SESSIONS_AT_ONCE, error::SourceError};

/// Rows that one session loads in one piece.
struct Load<'a> {
    table: &'a TableFacts,
    rows: SliceReader,
}

/// Loads every table's rows. The first error ends all sessions but the given one.
pub(super) async fn rows(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<(), SourceError> {
    let loads = lined_up(job)?;
    let mut others = Vec::new();
    while others.len() + 1 < SESSIONS_AT_ONCE.min(loads.len()) {
        others.push(staged.session().await?);
    }
    let loads = Mutex::new(loads.into_iter());
    let done = try_join_all(std::iter::once(session).chain(&others).map(|session| work(staged, session, &loads))).await;
    join_all(others.into_iter().map(Session::close)).await;
    done.map(drop)
}

/// What there is to load, big tables first, so that the others even out when the sessions end.
fn lined_up<'a>(job: &'a Job<'_>) -> Result<Vec<Load<'a>>, SourceError> {
    let mut tables = Vec::with_capacity(job.facts.tables.len());
    for table in &job.facts.tables {
        let name = table.name.to_string();
        tables.push((table, job.point.manifest().stream(&name).map_or(0, chunks), job.point.stream(&name)?));
    }
    tables.sort_by_key(|(_, chunks, _)| Reverse(*chunks));
    let loads = tables.into_iter().flat_map(|(table, _, stream)| {
        let slices: Vec<_> = if table.key.is_empty() {
            // Without a key the order on disk is the order of the next backup. Loaded in that order, it finds its chunks again.
            vec![stream.all()]
        } else {
            (0..stream.slices()).map(|slice| stream.slice(slice)).collect()
        };
        slices.into_iter().map(move |rows| Load { table, rows })
    });
    Ok(loads.collect())
}

/// A stream's chunks, which are of about equal size whatever the rows are.
fn chunks(stream: &StreamEntry) -> u64 {
    stream.slices.iter().flat_map(|slice| &slice.segments).map(|segment| u64::from(segment.chunks)).sum()
}

async fn work(staged: &Staged, session: &Session, loads: &Mutex<std::vec::IntoIter<Load<'_>>>) -> Result<(), SourceError> {
    let next = || loads.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(Load { table, mut rows }) = next() {
        let name = placed(staged, &table.name);
        let columns = list(table.stored_columns().map(|column| &column.name));
        // A table may have no column to name; COPY then takes empty lines.
        let columns = if columns.is_empty() { columns } else { format!(" ({columns})") };
        let mut copy = session.copy_in(format!("loading {}", table.name), &format!("COPY {name}{columns} FROM STDIN")).await?;
        while let Some(lines) = rows.next().await? {
            copy.send(lines).await?;
        }
        copy.finish().await?;
    }
    Ok(())
}
