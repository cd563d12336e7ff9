//! What a scan of the databases saw.

/// What was seen on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceScan {
    /// The RDS instance identifier.
    pub instance: String,
    /// Its databases but for templates and the provider's own, or why they could not be listed.
    pub databases: Result<Vec<DatabaseScan>, String>,
}

/// What was seen of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseScan {
    /// Its name.
    pub name: String,
    /// Whether a restore made it.
    pub made_by_restore: bool,
    /// What is in it, or why it could not be looked at.
    pub content: Result<Content, String>,
}

/// What a database holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Every table that is not the system's, an extension's or a partition of another.
    pub tables: Vec<TableScan>,
    /// How many large objects it holds.
    pub large_objects: u64,
    /// The rows of pooled tables, counted by tenant.
    pub pooled: Vec<PooledTable>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableScan {
    /// Its schema.
    pub schema: String,
    /// Whether a restore made that schema.
    pub made_by_restore: bool,
    /// Its name.
    pub name: String,
    /// What kind of table it is.
    pub kind: TableKind,
    /// Whether it has the tenant column of the pool that its schema holds.
    pub has_tenant_column: bool,
}

/// Where a table's rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableKind {
    /// In it, to stay.
    Stored,
    /// In it, until the server crashes.
    Unlogged,
    /// On another server.
    Foreign,
}

/// A pooled table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PooledTable {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The rows that are no live tenant's, or why they could not be counted.
    pub rows: Result<PooledRows, String>,
}

/// Rows of a pooled table that are no live tenant's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PooledRows {
    /// Rows whose tenant is null.
    pub no_tenant: u64,
    /// Rows of tenants that are not in the register, not there.
    pub unknown: Values,
    /// Rows of tenants that the register lists as deleted.
    pub deleted: Values,
}

/// Tenants by the tenant column's values, as text.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Values {
    /// How many different ones there are.
    pub tenants: u64,
    /// How many rows they have together.
    pub rows: u64,
    /// The first of them in byte order.
    pub first: Vec<TenantRows>,
}

/// One value of a tenant column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TenantRows {
    /// The value; of a long one the beginning, which is still too long to be a tenant id.
    pub tenant: String,
    /// Its rows.
    pub rows: u64,
}

impl Values {
    /// Takes out the values that `is_known` after all.
    pub(super) fn forget(&mut self, is_known: impl Fn(&str) -> bool) {
        let (known, first): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.first).into_iter().partition(|value| is_known(&value.tenant));
        self.first = first;
        for value in known {
            self.tenants = self.tenants.saturating_sub(1);
            self.rows = self.rows.saturating_sub(value.rows);
        }
    }
}
