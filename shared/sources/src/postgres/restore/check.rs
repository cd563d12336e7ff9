//! Compares a staging copy with the recovery point, as the restore's role: reading it runs nothing of the tenant's with more
//! rights than that.

use serde::Deserialize;
use vault::{Digester, StreamSummary};

use super::{
    super::{
        catalog, consistent,
        copy_out::{self, Placement},
        digest,
        fit::Fit,
        readers,
        session::Session,
    },
    Job, Staged,
    load::placed,
};
use crate::error::{Phase, SourceError};

/// Tables named in one error; the rest are counted.
const NAMED_MAX: usize = 5;

/// Checks counts and digests of every table, where every sequence stands, and in a pool that no row is another tenant's.
pub(super) async fn check(job: &Job<'_>, staged: &Staged) -> Result<Vec<StreamSummary>, SourceError> {
    let session = Session::open(&staged.endpoint, Phase::Restoring).await?;
    let checked = check_in(job, staged, &session).await;
    // What comes next changes the tables' definitions, and would wait for this session's locks.
    session.close().await;
    checked
}

async fn check_in(job: &Job<'_>, staged: &Staged, session: &Session) -> Result<Vec<StreamSummary>, SourceError> {
    session.batch("starting a consistent view of the staging copy", consistent::BEGIN).await?;
    if job.scope.is_pool() {
        refuse_foreign_rows(job, staged, session, "the recovery point").await?;
    }
    let (at, digester) = (Placement::staged(staged.schema.as_ref()), Digester::against(job.point).await?);
    let tables = readers::read_together(session, &staged.endpoint, &job.facts.tables, at, &digester).await?;
    let mut lines = digest::differences_of(&tables, job.point.manifest());
    refuse_retyped(staged, session, &lines)?;
    if !job.is_difference() {
        for sequence in &job.facts.sequences {
            let found = catalog::read_sequence_value(session, &placed(staged, &sequence.name)).await?;
            if found != (sequence.last_value, sequence.is_called) {
                lines.push(format!("sequence {} stands at {} instead of {}", sequence.name, found.0, sequence.last_value));
            }
        }
    }
    if lines.is_empty() {
        return Ok(tables);
    }
    Err(SourceError::Mismatch {
        place: session.place().clone(),
        what: summarise(&lines),
        state: "nothing was cut over".to_owned(),
    })
}

/// Values that read otherwise as a column's new type are no damage: they have no place there.
fn refuse_retyped(staged: &Staged, session: &Session, differences: &[String]) -> Result<(), SourceError> {
    let differs = |fit: &&Fit| differences.iter().any(|line| line.starts_with(&format!("{} ", fit.recorded.name)));
    let retyped: Vec<_> = staged.fits.iter().filter(differs).flat_map(Fit::retyped).collect();
    if retyped.is_empty() {
        return Ok(());
    }
    let what = format!("recorded values read otherwise as what their columns are now: {}", summarise(&retyped));
    let remedy = "bring the type back, leave the column behind, or restore side by side";
    Err(SourceError::restore_refused(session.place(), what, remedy))
}

/// Refuses a staging copy that was made of `whose` rows and holds others'.
pub(super) async fn refuse_foreign_rows(
    job: &Job<'_>,
    staged: &Staged,
    session: &Session,
    whose: &str,
) -> Result<(), SourceError> {
    #[derive(Deserialize)]
    struct Count {
        rows: u64,
    }
    for table in &job.facts.tables {
        let (_, condition) = copy_out::tenant_value(session.place(), job.scope, table)?;
        let sql = format!("SELECT count(*) AS rows FROM {} WHERE ({condition}) IS NOT TRUE", placed(staged, &table.name));
        let count: Count = session.select_one(format!("looking for rows of other tenants in {}", table.name), &sql).await?;
        if count.rows > 0 {
            let what = format!("{whose} holds {} rows of {} that are not tenant {}'s", count.rows, table.name, job.scope.tenant);
            return Err(SourceError::restore_refused(session.place(), what, "choose another recovery point and report this one"));
        }
    }
    Ok(())
}

/// The first differences, and how many more.
pub(super) fn summarise(lines: &[String]) -> String {
    let named = lines.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
    match lines.len().saturating_sub(NAMED_MAX) {
        0 => named,
        more => format!("{named}; and {more} more"),
    }
}
