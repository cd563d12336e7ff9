//! Coverage of data: what lies in the databases and in no recovery point.
//!
//! The register says who there is, the plan where to look, a scan what is there. Whatever is there and belongs to nobody is named, and
//! so is every place that could not be looked at: a scan that sees less must not find less.

mod owners;
mod report;
mod scan;

use jiff::Timestamp;
use owners::Owner;
pub use owners::{Owners, PoolOwners};
pub use report::{Deleted, Finding, Gap, LeftOut, Place, Report, Unseen};
pub use scan::{Content, DatabaseScan, InstanceScan, PooledRows, PooledTable, TableKind, TableScan, TenantRows, Values};

use crate::{TenantId, caps::COVERAGE_VALUES_MAX, plan::Plan};

/// The database that every server has for maintenance.
const MAINTENANCE: &str = "postgres";

/// Judges a scan: all of it is a live tenant's or the platform's, or is in the report.
///
/// `owners` may know more than the scan was told of: whoever signed up while it ran has nothing to be found.
#[must_use]
pub fn judge(plan: &Plan, owners: &Owners, scan: Vec<InstanceScan>, scanned_at: Timestamp) -> Report {
    let mut judge = Judge { plan, owners, report: Report::at(scanned_at) };
    for InstanceScan { instance, databases } in scan {
        match databases {
            Ok(databases) => databases.into_iter().for_each(|database| judge.database(&instance, database)),
            Err(why) => judge.report.unseen.push(Unseen { place: Place::instance(&instance), why }),
        }
    }
    judge.report.sort();
    judge.report
}

struct Judge<'a> {
    plan: &'a Plan,
    owners: &'a Owners,
    report: Report,
}

impl Judge<'_> {
    fn database(&mut self, instance: &str, database: DatabaseScan) {
        let DatabaseScan { name, made_by_restore, content } = database;
        let place = Place::database(instance, &name);
        if made_by_restore {
            return self.leave_out(place, None, MADE_BY_RESTORE);
        }
        let owner = self.owners.database(instance, &name);
        if let Owner::Deleted(tenant) = owner {
            return self.report.deleted.push(Deleted { place, tenant: Some(tenant.clone()), values: None });
        }
        match content {
            Ok(mut content) => match owner {
                Owner::Whole(tenant) => self.whole(&place, tenant, content),
                Owner::Shared => {
                    content.tables.sort_by(|a, b| (&a.schema, &a.name).cmp(&(&b.schema, &b.name)));
                    self.shared(instance, &name, content);
                }
                Owner::Nobody | Owner::Deleted(_) => self.nobodys(&place, &content),
            },
            Err(why) => {
                // That it is nobody's is known all the same.
                if owner == Owner::Nobody && name != MAINTENANCE {
                    self.find(place.clone(), Gap::Database { tables: None }, None);
                }
                self.report.unseen.push(Unseen { place, why });
            }
        }
    }

    /// A database of which everything is in one's recovery points. It may hold a pool: rows that are nobody's come back with it only.
    fn whole(&mut self, place: &Place, tenant: &TenantId, content: Content) {
        for table in &content.tables {
            if let Some(reason) = self.reason(table) {
                self.leave_out(place.table(&table.schema, &table.name), Some(tenant), &reason);
            }
        }
        for table in content.pooled {
            self.pooled(place, table, Some(tenant));
        }
    }

    fn shared(&mut self, instance: &str, database: &str, content: Content) {
        let place = Place::database(instance, database);
        let owners = self.owners;
        for tables in content.tables.chunk_by(|a, b| a.schema == b.schema) {
            let schema = tables[0].schema.as_str();
            let owner = owners.schema(instance, database, schema);
            match owner {
                Owner::Deleted(tenant) => {
                    self.report.deleted.push(Deleted { place: place.schema(schema), tenant: Some(tenant.clone()), values: None });
                    continue;
                }
                Owner::Nobody if tables[0].made_by_restore => {
                    self.leave_out(place.schema(schema), None, MADE_BY_RESTORE);
                    continue;
                }
                _ => {}
            }
            let mut kept = 0;
            for table in tables {
                let at = place.table(schema, &table.name);
                match (self.reason(table), &owner) {
                    (Some(reason), Owner::Whole(tenant)) => self.leave_out(at, Some(tenant), &reason),
                    (Some(reason), _) => self.leave_out(at, None, &reason),
                    (None, Owner::Shared) if !table.has_tenant_column => self.find(at, Gap::SharedTable, None),
                    (None, _) => kept += 1,
                }
            }
            if owner == Owner::Nobody && kept > 0 {
                self.find(place.schema(schema), Gap::Schema { tables: kept }, None);
            }
        }
        for table in content.pooled {
            self.pooled(&place, table, None);
        }
        if content.large_objects > 0 {
            self.find(place, Gap::LargeObjects { objects: content.large_objects }, None);
        }
    }

    fn nobodys(&mut self, place: &Place, content: &Content) {
        let mut kept = 0;
        for table in &content.tables {
            match self.reason(table) {
                Some(reason) => self.leave_out(place.table(&table.schema, &table.name), None, &reason),
                None => kept += 1,
            }
        }
        // Without tables there is nothing that could be lost: the maintenance database, or one that is only connected to.
        if kept > 0 || content.large_objects > 0 {
            self.find(place.clone(), Gap::Database { tables: Some(kept) }, None);
        }
    }

    fn pooled(&mut self, place: &Place, table: PooledTable, only_with: Option<&TenantId>) {
        let at = place.table(&table.schema, &table.name);
        let rows = match table.rows {
            Ok(rows) => rows,
            Err(why) => return self.report.unseen.push(Unseen { place: at, why }),
        };
        let PooledRows { no_tenant, mut unknown, mut deleted } = rows;
        let database = place.database.as_deref().unwrap_or_default();
        let pool = self.owners.pools(&place.instance, database).find(|pool| pool.schema == table.schema);
        unknown.forget(|value| {
            let id: Option<TenantId> = value.parse().ok();
            id.is_some_and(|id| pool.is_some_and(|pool| pool.live.contains(&id) || pool.deleted.contains(&id)))
        });
        unknown.first.truncate(COVERAGE_VALUES_MAX);
        deleted.first.truncate(COVERAGE_VALUES_MAX);
        if no_tenant > 0 {
            self.find(at.clone(), Gap::NoTenant { rows: no_tenant }, only_with);
        }
        if unknown.tenants > 0 {
            self.find(at.clone(), Gap::UnknownTenants(unknown), only_with);
        }
        if deleted.tenants > 0 {
            self.report.deleted.push(Deleted { place: at, tenant: None, values: Some(deleted) });
        }
    }

    /// Why an export leaves a table out, if it does.
    fn reason(&self, table: &TableScan) -> Option<String> {
        let by_plan = self.plan.exclusions.iter().find(|exclusion| exclusion.table == table.name);
        let by_kind = match table.kind {
            TableKind::Stored => None,
            TableKind::Unlogged => Some("it is unlogged: its rows do not survive a crash either"),
            TableKind::Foreign => Some("it is a foreign table: its rows live elsewhere"),
        };
        by_plan.map(|exclusion| exclusion.reason.as_str()).or(by_kind).map(str::to_owned)
    }

    fn find(&mut self, place: Place, gap: Gap, only_with: Option<&TenantId>) {
        self.report.findings.push(Finding { place, gap, only_with: only_with.cloned() });
    }

    fn leave_out(&mut self, place: Place, tenant: Option<&TenantId>, reason: &str) {
        self.report.left_out.push(LeftOut { place, tenant: tenant.cloned(), reason: reason.to_owned() });
    }
}

const MADE_BY_RESTORE: &str =
    "a restore made it: an undo copy or one beside the live data, which wait to be removed, or a restore under way";

#[cfg(test)]
mod tests;
