//! What belongs to a tenant in a database.

use domain::{TenantId, plan::Exclusion, tenant::Layout};

use super::ident::{Ident, literal};
use crate::error::SourceError;

/// A tenant's scope: everything of it, and nothing else.
///
/// | layout | the scope |
/// |---|---|
/// | silo, database | every table of every schema that is not the system's |
/// | schema | every table of the tenant's schema |
/// | pool | of every table of the pool's schema that has the tenant column, the tenant's rows |
#[derive(Debug, Clone)]
pub struct Scope {
    pub(crate) tenant: TenantId,
    pub(crate) layout: Layout,
    pub(crate) exclusions: Vec<Exclusion>,
    pub(crate) database: Ident,
    /// The one schema of the layouts that have one.
    pub(crate) schema: Option<Ident>,
    pub(crate) tenant_column: Option<Ident>,
}

impl Scope {
    /// Makes the scope of a tenant.
    ///
    /// # Errors
    /// If the database, the schema or the tenant column is not a name that PostgreSQL keeps whole.
    pub fn new(tenant: TenantId, layout: Layout, exclusions: Vec<Exclusion>) -> Result<Self, SourceError> {
        let database = Ident::new(layout.database())?;
        let (schema, tenant_column) = match &layout {
            Layout::Silo { .. } | Layout::Database { .. } => (None, None),
            Layout::Schema { schema, .. } => (Some(Ident::new(schema)?), None),
            Layout::Pool { schema, tenant_column, .. } => (Some(Ident::new(schema)?), Some(Ident::new(tenant_column)?)),
        };
        Ok(Self { tenant, layout, exclusions, database, schema, tenant_column })
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Where its rows live.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn is_pool(&self) -> bool {
        self.tenant_column.is_some()
    }

    /// A condition on a schema's name: whether the schema is in the scope. What restores made beside the live tables is not: it would be
    /// backed up with them, and restored over them.
    pub(crate) fn schema_condition(&self, column: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{column} = {}", literal(schema.as_str())),
            None => format!("({column} !~ '^(pg_|hf_(stage|undo|side)_[0-9a-f]{{16}}$)' AND {column} <> 'information_schema')"),
        }
    }

    /// The plan's reason for leaving a table out, if it does.
    pub(crate) fn exclusion_of(&self, table: &str) -> Option<&str> {
        self.exclusions.iter().find(|exclusion| exclusion.table == table).map(|exclusion| exclusion.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_64_bytes_is_refused_in_every_layout() {
        let long = "x".repeat(64);
        let layouts = [
            Layout::Silo { database: long.clone() },
            Layout::Database { database: long.clone() },
            Layout::Schema { database: "app".into(), schema: long.clone() },
            Layout::Pool { database: "app".into(), schema: "app".into(), tenant_column: long },
        ];
        for layout in layouts {
            let error = Scope::new("acme".parse().unwrap(), layout.clone(), Vec::new()).expect_err("too long a name");
            assert!(error.to_string().contains("63 bytes"), "{layout:?}: {error}");
        }
    }
}
