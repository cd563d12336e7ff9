//! One consistent view of a pool, shared by a session for each table that is worth one.
//!
//! A table is read by one statement for all tenants, ordered by tenant and key. So all tables must name tenants by values of one type and
//! collation; tables that do not, and the small ones beyond the sessions there are, are read tenant by tenant in the same view.
//!
//! Without an index that gives that order the server sorts, in temporary files if need be: as much as the tenants' rows, once. Definitions
//! cannot change until the pool is closed.

use domain::TenantId;
use futures::future::join_all;
use serde::Deserialize;

use super::{
    catalog, consistent,
    copy_out::{self, Lines},
    endpoint::Endpoint,
    facts::{DatabaseFacts, TableFacts},
    ident::{list, literal},
    names_in_rows, refusals, replay,
    runs::{Places, Runs},
    scope::Scope,
    session::Session,
    sweep::Sweep,
};
use crate::{
    caps::SWEEP_SESSIONS_MAX,
    error::{Phase, SourceError},
};

/// A pool's tables at one moment, for several of its tenants.
#[derive(Debug)]
pub struct Pool {
    pub(crate) session: Session,
    /// The tenants, in the order in which their rows come.
    pub(crate) order: Vec<Scope>,
    /// What all of them have in common.
    pub(crate) facts: DatabaseFacts,
    swept: Vec<Swept>,
}

/// A table that is read by a session of its own.
#[derive(Debug)]
struct Swept {
    /// Its place among the facts' tables.
    table: usize,
    session: Session,
}

/// By what a table names its tenants.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct TenantKey {
    type_name: String,
    collation: String,
}

#[derive(Deserialize)]
struct Found {
    place: usize,
    bytes: u64,
    collation: String,
}

#[derive(Deserialize)]
struct Placed {
    id: String,
    place: u64,
}

impl Pool {
    /// Takes a view of the pool that these scopes are of.
    ///
    /// # Errors
    /// If the pool cannot be read, or not completely. Its tenants may be exported one by one then: what is wrong with one is told of it.
    pub async fn open(endpoint: &Endpoint, scopes: &[Scope]) -> Result<Self, SourceError> {
        let Some(first) = scopes.first() else {
            return Err(SourceError::refused(&endpoint.place(), "no tenant of it is named", "name those that are due"));
        };
        let endpoint = endpoint.with_database(first.database.as_str());
        let session = Session::open(&endpoint, Phase::Reading).await?;
        match Self::look(&session, first, scopes).await {
            Ok((order, facts, tables)) => {
                let mut pool = Self { session, order, facts, swept: Vec::new() };
                match pool.add_sessions(&endpoint, tables).await {
                    Ok(()) => Ok(pool),
                    Err(error) => {
                        pool.close().await;
                        Err(error)
                    }
                }
            }
            Err(error) => {
                session.close().await;
                Err(error)
            }
        }
    }

    /// The tenants that it can be swept for, in the order in which their rows come. The others are to be exported one by one.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.order.iter().map(Scope::tenant)
    }

    /// Starts to read: one statement for each table that has a session.
    ///
    /// # Errors
    /// If a statement cannot be started.
    pub async fn sweep(&self) -> Result<Sweep<'_>, SourceError> {
        let mut runs: Vec<Option<Runs<'_>>> = self.facts.tables.iter().map(|_| None).collect();
        for swept in &self.swept {
            let table = &self.facts.tables[swept.table];
            let lines = Lines::start(&swept.session, table, self.query(table)?).await?;
            let field = tenant_field(self.order.first(), table).unwrap_or_default();
            runs[swept.table] = Some(Runs::new(lines, table.name.to_string(), field, swept.session.place()));
        }
        let places: Places = self.order.iter().enumerate().map(|(place, scope)| (scope.tenant.to_string(), place)).collect();
        Ok(Sweep::new(self, runs, places))
    }

    /// Ends every session before returning.
    pub async fn close(self) {
        join_all(std::iter::once(self.session).chain(self.swept.into_iter().map(|swept| swept.session)).map(Session::close))
            .await;
    }

    /// Begins the view, and finds which tenants and tables can be swept.
    async fn look(
        session: &Session,
        first: &Scope,
        scopes: &[Scope],
    ) -> Result<(Vec<Scope>, DatabaseFacts, Vec<usize>), SourceError> {
        if !catalog::is_there(session, first).await? {
            return Err(SourceError::refused(session.place(), "its pool's schema does not exist", "check the backup plan"));
        }
        let standby = replay::of(session).await?;
        consistent::begin(session, first).await?;
        let mut facts = catalog::read_facts(session, first).await?;
        facts.standby = standby;
        // A tenant id that is no value of its column would end the view for all.
        let is_spelt = |scope: &&Scope| {
            scope.layout == first.layout
                && facts
                    .tables
                    .iter()
                    .all(|table| tenant_type(scope, table).is_some_and(|type_name| is_spelt_as(scope.tenant.as_str(), type_name)))
        };
        let scopes: Vec<Scope> = scopes.iter().filter(is_spelt).cloned().collect();
        let Some(first) = scopes.first() else { return Ok((Vec::new(), facts, Vec::new())) };
        refusals::check_structure(session, first, &facts).await?;
        let scopes = names_in_rows::passing(session, scopes.clone(), &facts).await?;
        let Some(first) = scopes.first() else { return Ok((Vec::new(), facts, Vec::new())) };
        let (key, tables) = worth_sweeping(session, first, &facts).await?;
        let order = match &key {
            Some(key) => in_order(session, scopes, key).await?,
            None => scopes,
        };
        Ok((order, facts, tables))
    }

    /// Opens the tables' sessions. A server that has none to spare, or a lock that cannot be had at once, means fewer, not failure.
    async fn add_sessions(&mut self, endpoint: &Endpoint, tables: Vec<usize>) -> Result<(), SourceError> {
        if tables.is_empty() {
            return Ok(());
        }
        let snapshot = consistent::share(&self.session).await?;
        for table in tables {
            let joined = async {
                let session = Session::open(endpoint, Phase::Reading).await?;
                match consistent::join(&session, &snapshot, &[self.facts.tables[table].name.clone()]).await {
                    Ok(()) => Ok(session),
                    Err(error) => {
                        session.close().await;
                        Err(error)
                    }
                }
            };
            match joined.await {
                Ok(session) => self.swept.push(Swept { table, session }),
                Err(error @ SourceError::Busy { .. }) => {
                    tracing::info!(%error, "sweeping fewer tables of the pool at once");
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// All due tenants' rows of a table, tenant by tenant, each one's in the order in which they would come alone.
    fn query(&self, table: &TableFacts) -> Result<String, SourceError> {
        let place = self.session.place();
        let values: Result<Vec<_>, _> = self.order.iter().map(|scope| copy_out::tenant_value(place, scope, table)).collect();
        let values: Vec<_> = values?.into_iter().map(|(value, _)| value).collect();
        let columns = list(table.stored_columns().map(|column| &column.name));
        let only = if table.partitioned { "" } else { "ONLY " };
        let tenant = list(self.order.first().and_then(|scope| scope.tenant_column.as_ref()));
        let order = list(&table.key);
        let (name, values) = (&table.name, values.join(", "));
        Ok(format!("SELECT {columns} FROM {only}{name} WHERE {tenant} IN ({values}) ORDER BY {tenant}, {order}"))
    }
}

/// The place of the tenant column among the stored ones.
fn tenant_field(scope: Option<&Scope>, table: &TableFacts) -> Option<usize> {
    let tenant = scope?.tenant_column.as_ref()?;
    table.stored_columns().position(|column| column.name == *tenant)
}

/// The type of a table's tenant column, without length.
fn tenant_type<'a>(scope: &Scope, table: &'a TableFacts) -> Option<&'a str> {
    let tenant = scope.tenant_column.as_ref()?;
    let column = table.columns.iter().find(|column| column.name == *tenant)?;
    column.type_name.split('(').next()
}

/// Whether a tenant id is exactly how the type prints one value. What is not, is for the server to say: in an export of its own.
fn is_spelt_as(id: &str, type_name: &str) -> bool {
    match type_name {
        "text" | "character varying" => true,
        "character" | "bpchar" => !id.ends_with(' '),
        "smallint" => id.parse::<i16>().is_ok_and(|value| value.to_string() == id),
        "integer" => id.parse::<i32>().is_ok_and(|value| value.to_string() == id),
        "bigint" => id.parse::<i64>().is_ok_and(|value| value.to_string() == id),
        "uuid" => uuid::Uuid::parse_str(id).is_ok_and(|value| value.to_string() == id),
        _ => false,
    }
}

/// The tables to read by a session each, the largest first, and by what they name tenants.
async fn worth_sweeping(
    session: &Session,
    scope: &Scope,
    facts: &DatabaseFacts,
) -> Result<(Option<TenantKey>, Vec<usize>), SourceError> {
    let names: Vec<_> = facts.tables.iter().map(|table| table.name.to_string()).collect();
    let tenant = scope.tenant_column.as_ref().map_or("''".to_owned(), |column| literal(column.as_str()));
    let sql = format!(
        "SELECT wanted.place, CASE WHEN a.attcollation = 0 THEN '' ELSE format(' COLLATE %I.%I', n.nspname, l.collname) END AS collation,
            coalesce(CASE WHEN c.relkind = 'p' THEN (SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(c.oid)) ELSE pg_table_size(c.oid) END, 0) AS bytes
         FROM unnest($1::text[]) WITH ORDINALITY AS wanted(name, place) JOIN pg_class c ON c.oid = to_regclass(wanted.name)
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = {tenant}
         LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace n ON n.oid = l.collnamespace"
    );
    let found: Vec<Found> = session.select_with("asking for the pool's tables' sizes", &sql, &[&names]).await?;
    let mut candidates: Vec<(TenantKey, u64, usize)> = Vec::new();
    for Found { place, bytes, collation } in found {
        let Some(table) = place.checked_sub(1).filter(|table| *table < facts.tables.len()) else { continue };
        let Some(type_name) = tenant_type(scope, &facts.tables[table]) else { continue };
        // A computed column is not among what is read, and a padded one is not read as the id.
        if tenant_field(Some(scope), &facts.tables[table]).is_some() && !matches!(type_name, "character" | "bpchar") {
            candidates.push((TenantKey { type_name: type_name.to_owned(), collation }, bytes, table));
        }
    }
    let weight =
        |key: &TenantKey| candidates.iter().filter(|(other, ..)| other == key).map(|(_, bytes, _)| bytes + 1).sum::<u64>();
    let Some(key) = candidates.iter().map(|(key, ..)| key).max_by_key(|key| (weight(key), *key)).cloned() else {
        return Ok((None, Vec::new()));
    };
    candidates.retain(|(other, ..)| *other == key);
    candidates.sort_by_key(|(_, bytes, table)| (std::cmp::Reverse(*bytes), *table));
    let tables = candidates.into_iter().map(|(.., table)| table).take(SWEEP_SESSIONS_MAX).collect();
    Ok((Some(key), tables))
}

/// The scopes as the server sorts their tenants.
async fn in_order(session: &Session, scopes: Vec<Scope>, key: &TenantKey) -> Result<Vec<Scope>, SourceError> {
    let ids: Vec<_> = scopes.iter().map(|scope| scope.tenant.to_string()).collect();
    let TenantKey { type_name, collation } = key;
    let sql =
        format!("SELECT id, row_number() OVER (ORDER BY id::{type_name}{collation}) AS place FROM unnest($1::text[]) AS due(id)");
    let placed: Vec<Placed> = session.select_with("asking for the order of the pool's tenants", &sql, &[&ids]).await?;
    let places: std::collections::HashMap<String, u64> = placed.into_iter().map(|placed| (placed.id, placed.place)).collect();
    let mut scopes = scopes;
    scopes.sort_by_key(|scope| places.get(scope.tenant.as_str()).copied());
    Ok(scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_not_how_its_type_prints_it_is_no_reason_to_end_the_view() {
        let check = |type_name: &str, spelt: &[&str], not: &[&str]| {
            assert!(spelt.iter().all(|id| is_spelt_as(id, type_name)), "{type_name} {spelt:?}");
            assert!(!not.iter().any(|id| is_spelt_as(id, type_name)), "{type_name} {not:?}");
        };
        check("text", &["acme", "007"], &[]);
        check("smallint", &["7", "-7"], &["007", "+7", "-0", "40000", "acme", ""]);
        check("integer", &["40000"], &["3000000000"]);
        check("bigint", &["3000000000"], &["1e3"]);
        check(
            "uuid",
            &["0188f7a2-0000-7000-8000-00000000000a"],
            &["0188F7A2-0000-7000-8000-00000000000A", "0188f7a2000070008000000000000000", "x"],
        );
        check("numeric", &[], &["1"]);
    }
}
