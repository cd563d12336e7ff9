//! The tenant register: the platform's own list of tenants, read as text and understood here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::{Coded, ErrorCode},
    plan::{PLATFORM_CLASS, Plan},
    tenant::{Layout, TenantId},
};

/// One row of the register query, as text. The field names are the query's column names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawRow {
    /// The tenant's id.
    pub tenant_id: Option<String>,
    /// `silo`, `database`, `schema` or `pool`.
    pub layout: Option<String>,
    /// The id of an entry of the plan's `databases`.
    pub database_id: Option<String>,
    /// The database's name; the plan's own when absent.
    pub database_name: Option<String>,
    /// The tenant's schema; only for layout `schema`.
    pub schema_name: Option<String>,
    /// The criticality class.
    pub criticality: Option<String>,
    /// The tenant's time zone, for people.
    pub time_zone: Option<String>,
    /// `active`, `suspended` or `deleted`.
    pub status: Option<String>,
    /// When the tenant signed up, as RFC 3339.
    pub created_at: Option<String>,
}

/// Whether a tenant is in business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// In business.
    Active,
    /// Not in use for now; still protected.
    Suspended,
    /// Gone from the platform; no longer backed up, kept by retention only.
    Deleted,
}

/// A tenant as the register describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// The plan's database it lives on.
    pub database_id: String,
    /// Where in it.
    #[serde(flatten)]
    pub layout: Layout,
    /// Its criticality class.
    pub criticality: String,
    /// Its time zone, for people.
    pub time_zone: String,
    /// Whether it is in business.
    pub status: Status,
    /// When it signed up.
    pub created_at: Timestamp,
}

impl Tenant {
    /// Whether it must have fresh recovery points.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        self.status != Status::Deleted
    }

    /// The same tenant once it is erased: what policies and snapshots go by stays, its names and its dates do not.
    #[must_use]
    pub fn redacted(self) -> Self {
        const GONE: &str = "-";
        let database = GONE.to_owned();
        let layout = match self.layout {
            Layout::Silo { .. } => Layout::Silo { database },
            Layout::Database { .. } => Layout::Database { database },
            Layout::Schema { .. } => Layout::Schema { database, schema: GONE.to_owned() },
            Layout::Pool { schema, tenant_column, .. } => Layout::Pool { database, schema, tenant_column },
        };
        Self { layout, time_zone: "UTC".to_owned(), status: Status::Deleted, created_at: Timestamp::UNIX_EPOCH, ..self }
    }
}

/// A register that cannot be used. One bad row harms only itself; see [`Register::problems`].
#[derive(Debug, thiserror::Error)]
#[error("the tenant register lists no usable tenant: {detail}; check `register.query` in the plan and the rows it returns")]
pub struct RegisterError {
    detail: String,
}

impl Coded for RegisterError {
    fn code(&self) -> ErrorCode {
        ErrorCode::RegisterInvalid
    }
}

/// The register as understood: the tenants, and every row that could not be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Register {
    /// The usable rows, the platform's own databases first.
    pub tenants: Vec<Tenant>,
    /// What is wrong with the others, one line each. An unreadable row is an unprotected tenant: it must be alerted.
    pub problems: Vec<String>,
}

impl Register {
    /// Understands the rows of the register query under a plan.
    ///
    /// # Errors
    /// If not one row is usable: an empty register is far likelier a broken query than a platform without tenants.
    pub fn parse(rows: &[RawRow], plan: &Plan, now: Timestamp) -> Result<Self, RegisterError> {
        let mut register = Self::default();
        let mut seen = BTreeSet::new();
        let mut places = Places::default();
        for (index, row) in rows.iter().enumerate() {
            match parse_row(row, plan) {
                Ok(tenant) if seen.insert(tenant.id.clone()) => match places.take(&tenant, plan) {
                    Ok(()) => register.tenants.push(tenant),
                    Err(problem) => register.problems.push(problem),
                },
                Ok(tenant) => register.problems.push(format!("tenant {} is listed twice; only its first row counts", tenant.id)),
                Err(problem) => register.problems.push(format!("row {}: {problem}", index + 1)),
            }
        }
        if register.tenants.is_empty() {
            let detail = register.problems.first().cloned().unwrap_or_else(|| "the query returned no row".to_owned());
            return Err(RegisterError { detail });
        }
        register.tenants.splice(0..0, Self::platform(plan));
        // A clock far behind would make every tenant too young to have missed a slot.
        register.problems.extend(
            register
                .tenants
                .iter()
                .filter(|tenant| tenant.created_at > now)
                .map(|tenant| format!("tenant {} is said to have signed up in the future, at {}", tenant.id, tenant.created_at)),
        );
        Ok(register)
    }

    /// The platform's own databases, which need no register.
    #[must_use]
    pub fn platform(plan: &Plan) -> Vec<Tenant> {
        let platform = plan.databases.iter().filter(|database| database.platform);
        platform
            .filter_map(|database| {
                Some(Tenant {
                    id: TenantId::platform(&database.id).ok()?,
                    database_id: database.id.clone(),
                    layout: database.platform_layout(),
                    criticality: PLATFORM_CLASS.to_owned(),
                    time_zone: plan.time_zone.clone(),
                    status: Status::Active,
                    // Older than any slot, so that they are never too young to have missed one.
                    created_at: Timestamp::UNIX_EPOCH,
                })
            })
            .collect()
    }

    /// The tenant with this id.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<&Tenant> {
        self.tenants.iter().find(|tenant| tenant.id == *id)
    }
}

/// Which databases and schemas belong to whom. Two tenants in one place would each be given the other's data at a restore.
#[derive(Default)]
struct Places {
    databases: BTreeMap<(String, String), TenantId>,
    schemas: BTreeMap<(String, String, String), TenantId>,
}

impl Places {
    fn take(&mut self, tenant: &Tenant, plan: &Plan) -> Result<(), String> {
        let instance = plan.database(&tenant.database_id).map_or_else(String::new, |database| database.instance.clone());
        let database = (instance, tenant.layout.database().to_owned());
        let shared_with = match &tenant.layout {
            // Pools are shared by design: the tenant column tells their tenants apart.
            Layout::Pool { .. } => None,
            Layout::Silo { .. } | Layout::Database { .. } => {
                let inside = self
                    .schemas
                    .iter()
                    .find(|((i, d, _), _)| (i, d) == (&database.0, &database.1))
                    .map(|(_, owner)| owner.clone());
                inside.or_else(|| self.databases.insert(database, tenant.id.clone()))
            }
            Layout::Schema { schema, .. } => {
                let around = self.databases.get(&database).cloned();
                around.or_else(|| self.schemas.insert((database.0, database.1, schema.clone()), tenant.id.clone()))
            }
        };
        match shared_with {
            None => Ok(()),
            Some(other) => {
                Err(format!("tenant {} is said to live where tenant {other} lives; only the first row counts", tenant.id))
            }
        }
    }
}

fn parse_row(row: &RawRow, plan: &Plan) -> Result<Tenant, String> {
    let need = |value: &Option<String>, column: &str| value.clone().ok_or_else(|| format!("column {column} is null"));
    let id: TenantId = need(&row.tenant_id, "tenant_id")?.parse().map_err(|error| format!("{error}"))?;
    let named = |problem: String| format!("tenant {id}: {problem}");
    if id.as_platform().is_some() {
        return Err(named("an id starting with `@` is reserved for the platform's own databases".to_owned()));
    }
    let database_id = need(&row.database_id, "database_id").map_err(named)?;
    let database = plan
        .database(&database_id)
        .ok_or_else(|| named(format!("database_id `{database_id}` is not one of the plan's databases")))?;
    let database_name = row.database_name.clone().unwrap_or_else(|| database.database.clone());
    let layout = match need(&row.layout, "layout").map_err(named)?.as_str() {
        "silo" => Layout::Silo { database: database_name },
        "database" => Layout::Database { database: database_name },
        "schema" => Layout::Schema { database: database_name, schema: need(&row.schema_name, "schema_name").map_err(named)? },
        "pool" => {
            let pool = database.pool.as_ref();
            let pool =
                pool.ok_or_else(|| named(format!("layout is pool but the plan's database `{database_id}` has no `pool`")))?;
            Layout::Pool { database: database_name, schema: pool.schema.clone(), tenant_column: pool.tenant_column.clone() }
        }
        other => return Err(named(format!("layout `{other}` is not one of silo, database, schema, pool"))),
    };
    let criticality = need(&row.criticality, "criticality").map_err(named)?;
    if plan.export_rules_of(&criticality).next().is_none() {
        return Err(named(format!("no export rule of the plan covers class `{criticality}`")));
    }
    let status = match need(&row.status, "status").map_err(named)?.as_str() {
        "active" => Status::Active,
        "suspended" => Status::Suspended,
        "deleted" => Status::Deleted,
        other => return Err(named(format!("status `{other}` is not one of active, suspended, deleted"))),
    };
    let created_at = need(&row.created_at, "created_at").map_err(named)?;
    let created_at = created_at.parse().map_err(|_| named(format!("created_at `{created_at}` is not an RFC 3339 instant")))?;
    let time_zone = row.time_zone.clone().unwrap_or_else(|| plan.time_zone.clone());
    Ok(Tenant { id, database_id, layout, criticality, time_zone, status, created_at })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [
                { "id": "central", "instance": "i-c", "database": "central", "secret": "s", "platform": true },
                { "id": "pool", "instance": "i-p", "database": "app", "secret": "s", "pool": { "schema": "app", "tenant_column": "tenant_id" } }
            ],
            "rules": [{ "id": "daily", "kind": "export", "classes": ["standard", "critical"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 }],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn row(id: &str) -> RawRow {
        RawRow {
            tenant_id: Some(id.into()),
            layout: Some("pool".into()),
            database_id: Some("pool".into()),
            criticality: Some("standard".into()),
            status: Some("active".into()),
            created_at: Some("2026-01-01T00:00:00+00:00".into()),
            ..RawRow::default()
        }
    }

    fn parse(rows: &[RawRow]) -> Result<Register, RegisterError> {
        Register::parse(rows, &plan(), "2026-11-23T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn the_platforms_own_databases_are_tenants_too() {
        let register = parse(&[row("acme")]).unwrap();
        let ids: Vec<_> = register.tenants.iter().map(|tenant| tenant.id.as_str()).collect();
        assert_eq!(ids, ["@central", "acme"]);
        assert_eq!(register.problems, Vec::<String>::new());
    }

    #[test]
    fn a_bad_row_harms_only_itself_and_is_named() {
        let bad = |change: fn(&mut RawRow), expected: &str| {
            let mut bad = row("bad");
            change(&mut bad);
            let register = parse(&[row("acme"), bad]).unwrap();
            assert_eq!(register.tenants.len(), 2, "the good row stands");
            assert!(register.problems[0].contains(expected), "{:?} does not say {expected:?}", register.problems);
        };
        bad(|row| row.tenant_id = None, "tenant_id is null");
        bad(|row| row.tenant_id = Some("@central".into()), "reserved");
        bad(|row| row.tenant_id = Some("acme".into()), "listed twice");
        bad(|row| row.layout = Some("shard".into()), "layout `shard`");
        bad(|row| row.database_id = Some("nowhere".into()), "`nowhere`");
        bad(|row| row.database_id = Some("central".into()), "has no `pool`");
        bad(|row| row.criticality = Some("bronze".into()), "no export rule of the plan covers class `bronze`");
        bad(|row| row.status = Some("gone".into()), "status `gone`");
        bad(|row| row.created_at = Some("yesterday".into()), "not an RFC 3339");
    }

    #[test]
    fn two_tenants_in_one_place_are_one_too_many() {
        let at = |id: &str, layout: &str, database: &str, schema: Option<&str>| RawRow {
            layout: Some(layout.into()),
            database_name: Some(database.into()),
            schema_name: schema.map(str::to_owned),
            ..row(id)
        };
        for (first, second, collide) in [
            (at("a", "database", "x", None), at("b", "silo", "x", None), true),
            (at("a", "schema", "x", Some("s")), at("b", "schema", "x", Some("s")), true),
            (at("a", "schema", "x", Some("s")), at("b", "database", "x", None), true),
            (at("a", "database", "x", None), at("b", "schema", "x", Some("s")), true),
            (at("a", "schema", "x", Some("s")), at("b", "schema", "x", Some("t")), false),
            (at("a", "database", "x", None), at("b", "database", "y", None), false),
            (row("a"), row("b"), false),
        ] {
            let register = parse(&[first.clone(), second.clone()]).unwrap();
            assert_eq!(!register.problems.is_empty(), collide, "{first:?} {second:?}: {:?}", register.problems);
        }
    }

    #[test]
    fn an_empty_register_is_an_error_and_not_an_empty_platform() {
        assert!(parse(&[]).unwrap_err().to_string().contains("returned no row"));
    }
}
