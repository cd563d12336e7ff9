//! A copy of a tenant's scope under a name of its own, on which nobody works: what a restore replaced, or what one put beside the live
//! data. Its rows are read under the names of the live tables, so that digests compare.

use serde::Deserialize;
use vault::{Digester, StreamSummary};

use super::{
    super::{
        catalog, chosen, consistent, copy_out::Placement, endpoint::Endpoint, facts::TableFacts, ident::Ident, readers,
        scope::Scope, session::Session, structure,
    },
    Job,
    check::summarise,
    names,
};
use crate::error::{Phase, SourceError};

/// How a copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The whole database or schema, with its definitions.
    Whole,
    /// The tenant's rows alone, in bare tables of a schema.
    Rows,
}

impl Form {
    /// That of whatever this job keeps, or puts beside the live data.
    pub(super) fn of(job: &Job<'_>) -> Self {
        if job.is_difference() { Self::Rows } else { Self::Whole }
    }
}

/// Where a copy is, if it is there.
pub(super) struct Copy<'a> {
    job: &'a Job<'a>,
    pub(super) name: &'a Ident,
    pub(super) form: Form,
    /// The tables as whoever made bare ones described them; otherwise the live ones describe them.
    described: Option<&'a [TableFacts]>,
}

/// A copy that is there, in one consistent view.
pub(super) struct OpenCopy<'a> {
    pub(super) session: Session,
    endpoint: Endpoint,
    /// The schema that stands in for the tables' own, if one does.
    pub(super) schema: Option<&'a Ident>,
    /// Its tables, under the names of the live ones.
    pub(super) tables: Vec<TableFacts>,
    /// Tables whose rows no digest counts: the live one's name, and its own.
    pub(super) left_out: Vec<(String, String)>,
}

impl<'a> Copy<'a> {
    /// What a restore of the job's form kept.
    pub(super) fn kept(job: &'a Job<'a>, name: &'a Ident) -> Self {
        Self { job, name, form: Form::of(job), described: None }
    }

    /// What the job puts beside the live data: as the recovery point has it, whatever the live tables look like.
    pub(super) fn of_point(job: &'a Job<'a>, name: &'a Ident) -> Self {
        Self { described: Some(&job.facts.tables), ..Self::kept(job, name) }
    }

    /// The copy as a schema of the live database; none if it is a database.
    pub(super) fn schema(&self) -> Option<&'a Ident> {
        (self.form == Form::Rows || self.job.scope.schema.is_some()).then_some(self.name)
    }

    pub(super) async fn is_there(&self) -> Result<bool, SourceError> {
        if self.schema().is_none() {
            let session = Session::open(&self.job.maintenance(), Phase::Restoring).await?;
            return names::has_database(&session, self.name).await;
        }
        match Session::open_if_there(&self.job.live(), Phase::Restoring).await? {
            Some(session) => catalog::has_schema(&session, self.name).await,
            None => Ok(false),
        }
    }

    /// Its tables as they are listed there.
    fn scope(&self) -> Scope {
        let scope = self.job.scope.clone();
        match (self.form, self.schema()) {
            // Bare tables have no definitions by which any could be left out.
            (Form::Rows, _) => Scope { schema: Some(self.name.clone()), tenant_column: None, exclusions: Vec::new(), ..scope },
            (Form::Whole, Some(schema)) => Scope { schema: Some(schema.clone()), ..scope },
            (Form::Whole, None) => Scope { database: self.name.clone(), ..scope },
        }
    }

    /// Opens it; `None` if it is not there.
    pub(super) async fn open(&self, phase: Phase) -> Result<Option<OpenCopy<'a>>, SourceError> {
        let scope = self.scope();
        let endpoint = self.job.endpoint.with_database(scope.database.as_str());
        let Some(session) = Session::open_if_there(&endpoint, phase).await? else { return Ok(None) };
        if !catalog::is_there(&session, &scope).await? {
            return Ok(None);
        }
        consistent::begin(&session, &scope).await?;
        let (mut tables, left_out) = catalog::read_tables(&session, &scope).await?;
        let mut left_out: Vec<_> = left_out.into_iter().map(|left| (left.name.clone(), left.name)).collect();
        if self.form == Form::Whole
            && let (Some(_), Some(live)) = (self.schema(), &self.job.scope.schema)
        {
            for table in &mut tables {
                table.name = table.name.in_schema(live);
            }
            for (name, _) in &mut left_out {
                *name = name.replacen(&self.name.to_string(), &live.to_string(), 1);
            }
        }
        if self.form == Form::Rows {
            tables = match self.described {
                Some(described) => described.to_vec(),
                None => as_live(self.job, &session, tables).await?,
            };
        }
        Ok(Some(OpenCopy { session, endpoint, schema: self.schema(), tables, left_out }))
    }

    /// What it holds, in hashes; `None` if it is not there.
    pub(super) async fn digest(&self) -> Result<Option<Vec<StreamSummary>>, SourceError> {
        let Some(copy) = self.open(Phase::Restoring).await? else { return Ok(None) };
        let digester = Digester::against(self.job.point).await?;
        let read = copy.digest(&digester).await;
        copy.session.close().await;
        read.map(Some)
    }
}

impl OpenCopy<'_> {
    /// What it holds, in hashes.
    pub(super) async fn digest(&self, digester: &Digester) -> Result<Vec<StreamSummary>, SourceError> {
        readers::read_together(&self.session, &self.endpoint, &self.tables, Placement::staged(self.schema), digester).await
    }
}

/// Bare tables as the live ones describe them: with their keys and the order of their columns. Rows of tables that look different by now
/// cannot be put back without guessing.
async fn as_live(job: &Job<'_>, session: &Session, bare: Vec<TableFacts>) -> Result<Vec<TableFacts>, SourceError> {
    let (mut live, _) = catalog::read_tables(session, job.scope).await?;
    // A table of another schema may have the same name; of those that the copy is of, no two do.
    let of_copy = chosen::narrow(session.place(), &job.facts, &job.selection)?;
    live.retain(|live| of_copy.tables.iter().any(|table| table.name == live.name));
    let columns = |table: &TableFacts| {
        let mut columns: Vec<_> = table.stored_columns().map(|column| (column.name.clone(), column.type_name.clone())).collect();
        columns.sort();
        columns
    };
    let mut tables = Vec::with_capacity(bare.len());
    for bare in bare {
        match live.iter().find(|live| live.name.name == bare.name.name) {
            Some(live) if columns(live) == columns(&bare) => tables.push(live.clone()),
            other => {
                let live: Vec<_> = other.into_iter().cloned().collect();
                let name = live.first().map_or(&bare.name, |live| &live.name).clone();
                let lines = structure::differences(&[TableFacts { name, ..bare }], &live);
                let lines: Vec<_> = lines.into_iter().filter(|line| !line.ends_with("changed its constraints")).collect();
                let what = format!("the live tables changed since the copy was made: {}", summarise(&lines));
                return Err(SourceError::restore_refused(
                    session.place(),
                    what,
                    "bring the tables back to that shape, or take the rows from the copy by hand",
                ));
            }
        }
    }
    Ok(tables)
}

/// Rows of a table whose rows no digest counts.
pub(super) async fn count(session: &Session, name: &str) -> Result<u64, SourceError> {
    #[derive(Deserialize)]
    struct Count {
        rows: u64,
    }
    let sql = format!("SELECT count(*) AS rows FROM ONLY {name}");
    Ok(session.select_one::<Count>(format!("counting {name}"), &sql).await?.rows)
}

/// How tables that were found differ from those that were kept, one line a table. Tables that were not kept are not looked at.
pub(super) fn differences(found: &[StreamSummary], kept: &[StreamSummary]) -> Vec<String> {
    let mut lines = Vec::new();
    for kept in kept {
        match found.iter().find(|found| found.name == kept.name) {
            None => lines.push(format!("{} is missing", kept.name)),
            Some(found) if (found.rows, &found.digest) != (kept.rows, &kept.digest) => {
                lines.push(format!("{} has other rows than the copy", kept.name));
            }
            Some(_) => {}
        }
    }
    lines
}
