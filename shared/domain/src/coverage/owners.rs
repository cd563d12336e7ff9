//! Which places of the databases belong to whom.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    plan::{Plan, Pool},
    register::{Register, Tenant},
    tenant::{Layout, TenantId},
};

/// Who owns a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner<'a> {
    /// A live tenant, or the platform: all of it is in that one's recovery points.
    Whole(&'a TenantId),
    /// A tenant that is gone from the platform.
    Deleted(&'a TenantId),
    /// Tenants own schemas or rows in it.
    Shared,
    /// Nobody.
    Nobody,
}

/// The places that live and deleted tenants own, by instance and database.
#[derive(Debug, Clone, Default)]
pub struct Owners {
    databases: BTreeMap<(String, String), Holding>,
    schemas: BTreeMap<(String, String), BTreeMap<String, Holding>>,
    pools: BTreeMap<(String, String), BTreeMap<String, PoolOwners>>,
    /// The plan's database through which a database is reached.
    through: BTreeMap<(String, String), String>,
}

#[derive(Debug, Clone)]
struct Holding {
    tenant: TenantId,
    is_live: bool,
}

/// The tenants of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOwners {
    /// The pool's schema.
    pub schema: String,
    /// Its tenant column.
    pub tenant_column: String,
    /// Tenants in business, whose rows are backed up.
    pub live: BTreeSet<TenantId>,
    /// Tenants that the register lists as deleted.
    pub deleted: BTreeSet<TenantId>,
}

impl Owners {
    /// Who owns what, by the plan and the register's tenants.
    #[must_use]
    pub fn of(plan: &Plan, tenants: &[Tenant]) -> Self {
        let mut owners = Self::default();
        for database in &plan.databases {
            let place = (database.instance.clone(), database.database.clone());
            owners.through.entry(place.clone()).or_insert_with(|| database.id.clone());
            if let Some(pool) = &database.pool {
                owners.pool(place, pool);
            }
        }
        // The plan alone says which databases are the platform's, whoever was given as tenants.
        for tenant in Register::platform(plan).iter().chain(tenants) {
            let Some(database) = plan.database(&tenant.database_id) else { continue };
            let place = (database.instance.clone(), tenant.layout.database().to_owned());
            owners.through.entry(place.clone()).or_insert_with(|| database.id.clone());
            let holding = Holding { tenant: tenant.id.clone(), is_live: tenant.is_protected() };
            match &tenant.layout {
                Layout::Silo { .. } | Layout::Database { .. } => hold(&mut owners.databases, place, holding),
                Layout::Schema { schema, .. } => hold(owners.schemas.entry(place).or_default(), schema.clone(), holding),
                Layout::Pool { schema, tenant_column, .. } => {
                    let pool = Pool { schema: schema.clone(), tenant_column: tenant_column.clone() };
                    let pool = owners.pool(place, &pool);
                    if holding.is_live { &mut pool.live } else { &mut pool.deleted }.insert(holding.tenant);
                }
            }
        }
        owners
    }

    fn pool(&mut self, place: (String, String), pool: &Pool) -> &mut PoolOwners {
        self.pools.entry(place).or_default().entry(pool.schema.clone()).or_insert_with(|| PoolOwners {
            schema: pool.schema.clone(),
            tenant_column: pool.tenant_column.clone(),
            live: BTreeSet::new(),
            deleted: BTreeSet::new(),
        })
    }

    /// The pools in a database.
    pub fn pools(&self, instance: &str, database: &str) -> impl Iterator<Item = &PoolOwners> {
        self.pools.get(&place(instance, database)).into_iter().flat_map(BTreeMap::values)
    }

    /// The id of the plan's database whose login reaches a database, if the plan or a tenant names one.
    #[must_use]
    pub fn through(&self, instance: &str, database: &str) -> Option<&str> {
        self.through.get(&place(instance, database)).map(String::as_str)
    }

    pub(super) fn database(&self, instance: &str, database: &str) -> Owner<'_> {
        let place = place(instance, database);
        match self.databases.get(&place) {
            Some(holding) if holding.is_live => Owner::Whole(&holding.tenant),
            // Somebody may have moved in since.
            _ if self.schemas.contains_key(&place) || self.pools.contains_key(&place) => Owner::Shared,
            Some(holding) => Owner::Deleted(&holding.tenant),
            None => Owner::Nobody,
        }
    }

    pub(super) fn schema(&self, instance: &str, database: &str, schema: &str) -> Owner<'_> {
        match self.schemas.get(&place(instance, database)).and_then(|schemas| schemas.get(schema)) {
            Some(holding) if holding.is_live => Owner::Whole(&holding.tenant),
            _ if self.pools(instance, database).any(|pool| pool.schema == schema) => Owner::Shared,
            Some(holding) => Owner::Deleted(&holding.tenant),
            None => Owner::Nobody,
        }
    }
}

fn place(instance: &str, database: &str) -> (String, String) {
    (instance.to_owned(), database.to_owned())
}

/// A live tenant's claim to a place outweighs a deleted one's.
fn hold<K: Ord>(places: &mut BTreeMap<K, Holding>, place: K, holding: Holding) {
    let known = places.entry(place).or_insert_with(|| holding.clone());
    if holding.is_live && !known.is_live {
        *known = holding;
    }
}
