//! Rows that name media objects, against the objects there were: from two recovery points of one tenant, without asking the platform.
//!
//! A row is judged by the objects as they were when the database was read. That follows from the history that the media recovery point
//! records, if its listing began no earlier. Clocks of a database and of a bucket differ a little, so what was written or deleted about
//! that instant is *undecided* and never an alarm. Nor is a file that came just after its row, or went just after it.

mod histories;
mod objects;
mod rows;

use domain::{TenantId, plan::Reference};
use jiff::Timestamp;
use serde::Serialize;
use vault::PointReader;

use self::{
    objects::{Objects, Standing},
    rows::{Column, Value},
};
use crate::{error::SourceError, media, postgres::DatabaseFacts};

/// How far the clocks of a database and of a bucket may differ, in seconds; times of objects are whole seconds besides.
pub const CLOCKS_DIFFER_AT_MOST_S: i64 = 5;
/// Objects that are held at once, at 16 bytes each. With more the recovery points are read again for each part of them.
const OBJECTS_AT_ONCE: u64 = 2 << 20;
/// How often the recovery points may be read for that.
const PASSES_MAX: u64 = 64;

/// What is to be reconciled.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// Its rows.
    pub database: &'a PointReader,
    /// Of when its rows are. None: of when the database was read.
    pub as_of: Option<Timestamp>,
    /// Its objects, listed from after the database was read.
    pub media: &'a PointReader,
    /// The columns that name objects.
    pub references: &'a [Reference],
    /// How many dangling references and orphans are told by their keys, which are the tenant's data; the others are only counted.
    pub keys_max: usize,
}

impl std::fmt::Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("tenant", self.tenant).field("references", &self.references).finish_non_exhaustive()
    }
}

/// What one column's values came to. Rows are counted, not different keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ColumnCounts {
    /// The table, quoted.
    pub table: String,
    /// The column.
    pub column: String,
    /// Values that name an object.
    pub references: u64,
    /// Those that name one that was not there, nor came since.
    pub dangling: u64,
    /// Of these, those that lead out of the tenant's prefix.
    pub foreign: u64,
    /// Those that name one that came after the row.
    pub early: u64,
    /// Those of which clocks do not allow to say.
    pub undecided: u64,
}

/// What the objects came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ObjectCounts {
    /// Objects that were there when the database was read.
    pub objects: u64,
    /// Those that no row names, and that are still there.
    pub orphans: u64,
    /// Those that no row names, and that were deleted since.
    pub leaving: u64,
    /// Objects that came only after the database was read, and that no row names.
    pub newer: u64,
    /// Objects that no row names and of which clocks do not allow to say whether they were there.
    pub undecided: u64,
}

/// What reconciling came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reconciled {
    /// By column, in the order of the tables.
    pub columns: Vec<ColumnCounts>,
    /// The objects.
    pub objects: ObjectCounts,
    /// Places in the list of references of those that this tenant has no column for.
    pub without_column: Vec<usize>,
    /// The first dangling references: table, column and value.
    #[serde(skip)]
    pub first_dangling: Vec<(String, String, String)>,
    /// The first orphans, by key.
    #[serde(skip)]
    pub first_orphans: Vec<String>,
}

impl Reconciled {
    /// Rows that name what is not there.
    #[must_use]
    pub fn dangling(&self) -> u64 {
        self.columns.iter().map(|column| column.dangling).sum()
    }
}

/// When the database of a recovery point was read.
///
/// # Errors
/// If the point is not a database's.
pub fn read_at(database: &PointReader) -> Result<Timestamp, SourceError> {
    let facts = DatabaseFacts::decode(&database.manifest().facts)?;
    facts.read_at.parse().map_err(|error| not_understood("when the database was read", error))
}

fn not_understood(what: &str, error: impl std::fmt::Display) -> SourceError {
    SourceError::Record { what: what.to_owned(), source: serde::de::Error::custom(error) }
}

/// Reconciles a tenant's rows with its objects.
///
/// Memory is bounded by the number of objects held at once, whatever the number of rows.
///
/// # Errors
/// If a recovery point cannot be read, or holds more than can be reconciled.
pub async fn reconcile(asked: Asked<'_>) -> Result<Reconciled, SourceError> {
    reconcile_by(asked, OBJECTS_AT_ONCE).await
}

/// [`reconcile`], holding about so many objects at once.
///
/// # Errors
/// As [`reconcile`].
#[doc(hidden)]
pub async fn reconcile_by(asked: Asked<'_>, objects_at_once: u64) -> Result<Reconciled, SourceError> {
    let facts = DatabaseFacts::decode(&asked.database.manifest().facts)?;
    let view = asked.as_of.map_or_else(|| read_at(asked.database), Ok)?;
    let versions =
        asked.media.manifest().streams.iter().find(|stream| stream.header.name == media::STREAM).map_or(0, |stream| stream.rows);
    let passes = versions.div_ceil(objects_at_once.max(1)).max(1);
    if passes > PASSES_MAX {
        let problem = format!("{versions} versions of objects are more than can be reconciled");
        return Err(not_understood("the record of the tenant's media", problem));
    }
    let columns = rows::columns(&asked, &facts);
    let mut found = Reconciled {
        columns: columns.iter().map(|column| column.counts()).collect(),
        without_column: (0..asked.references.len()).filter(|at| !columns.iter().any(|column| column.reference == *at)).collect(),
        ..Reconciled::default()
    };
    for pass in 0..passes {
        let mut objects = Objects::read(asked.media, view, (pass, passes)).await?;
        read_rows(&asked, &columns, &mut objects, pass == 0, &mut found).await?;
        objects.count(&mut found.objects);
        if asked.keys_max > found.first_orphans.len() {
            objects.name_orphans(asked.media, asked.keys_max, &mut found.first_orphans).await?;
        }
    }
    Ok(found)
}

/// Looks up every value of the columns. What needs no object is counted in the first pass.
async fn read_rows(
    asked: &Asked<'_>,
    columns: &[Column],
    objects: &mut Objects,
    is_first: bool,
    found: &mut Reconciled,
) -> Result<(), SourceError> {
    for (of_table, range) in rows::by_table(columns) {
        let counts = &mut found.columns[range];
        let first = &mut found.first_dangling;
        rows::read(asked.database, of_table, &mut |at, value| {
            let (column, count) = (&of_table[at], &mut counts[at]);
            let mut dangle = |count: &mut ColumnCounts, value: &str| {
                count.dangling += 1;
                if first.len() < asked.keys_max {
                    first.push((column.table.clone(), column.name.clone(), value.to_owned()));
                }
            };
            let (key, whole) = match &value {
                Value::Key { key, whole } => (*key, *whole),
                Value::Foreign(whole) => {
                    if is_first {
                        count.references += 1;
                        count.foreign += 1;
                        dangle(count, whole);
                    }
                    return;
                }
            };
            let Some(standing) = objects.referenced(key) else { return };
            count.references += 1;
            match standing {
                Standing::There | Standing::Leaving => {}
                Standing::Later => count.early += 1,
                Standing::Undecided => count.undecided += 1,
                Standing::Nowhere => dangle(count, whole),
            }
        })
        .await?;
    }
    Ok(())
}
