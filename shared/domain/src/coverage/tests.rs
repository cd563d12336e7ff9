use super::*;
use crate::register::{Status, Tenant};
use crate::tenant::Layout;
use serde_json::json;

fn plan() -> Plan {
    let plan = json!({
        "version": 1, "environment": "test", "time_zone": "UTC",
        "register": { "database": "central", "query": "SELECT" },
        "databases": [
            { "id": "central", "instance": "c", "database": "central", "secret": "s", "platform": true, "pool": { "schema": "app", "tenant_column": "t" } },
            { "id": "shared", "instance": "s", "database": "app", "secret": "s", "pool": { "schema": "pool", "tenant_column": "t" } },
        ],
        "exclusions": [{ "table": "sessions", "reason": "transient" }],
        "rules": [{ "id": "daily", "kind": "export", "classes": ["critical"], "schedule": { "daily_at": "02:15" }, "rpo_minutes": 1500 }],
        "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
    });
    Plan::parse(&plan.to_string()).unwrap()
}

fn tenant(id: &str, layout: Layout, status: Status) -> Tenant {
    Tenant {
        id: id.parse().unwrap(),
        database_id: "shared".into(),
        layout,
        criticality: "critical".into(),
        time_zone: "UTC".into(),
        status,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn pooled_tenant(id: &str, status: Status) -> Tenant {
    tenant(id, Layout::Pool { database: "app".into(), schema: "pool".into(), tenant_column: "t".into() }, status)
}

fn tenants() -> Vec<Tenant> {
    let schema = |name: &str| Layout::Schema { database: "app".into(), schema: name.into() };
    let database = |name: &str| Layout::Database { database: name.into() };
    vec![
        tenant("schema-live", schema("live"), Status::Suspended),
        tenant("schema-gone", schema("gone"), Status::Deleted),
        tenant("own-live", database("own"), Status::Active),
        tenant("own-gone", database("gone"), Status::Deleted),
        pooled_tenant("acme", Status::Active),
    ]
}

fn table(schema: &str, name: &str) -> TableScan {
    TableScan {
        schema: schema.into(),
        made_by_restore: false,
        name: name.into(),
        kind: TableKind::Stored,
        has_tenant_column: false,
    }
}

fn database(name: &str, tables: &[TableScan]) -> DatabaseScan {
    let content = Content { tables: tables.to_vec(), ..Content::default() };
    DatabaseScan { name: name.into(), made_by_restore: false, content: Ok(content) }
}

fn judged(instance: &str, databases: Vec<DatabaseScan>) -> Report {
    let (plan, tenants) = (plan(), tenants());
    let scan = vec![InstanceScan { instance: instance.into(), databases: Ok(databases) }];
    judge(&plan, &Owners::of(&plan, &tenants), scan, Timestamp::UNIX_EPOCH)
}

fn lines(report: &Report) -> Vec<String> {
    report.findings.iter().map(|finding| format!("{}: {}", finding.place, finding.gap)).collect()
}

fn rows(values: &[(&str, u64)]) -> Values {
    let first: Vec<TenantRows> =
        values.iter().map(|(tenant, rows)| TenantRows { tenant: (*tenant).to_owned(), rows: *rows }).collect();
    Values { tenants: first.len() as u64, rows: first.iter().map(|value| value.rows).sum(), first }
}

#[test]
fn a_clean_platform_has_nothing_to_be_found() {
    let pool = TableScan { has_tenant_column: true, ..table("pool", "orders") };
    let mut app = database("app", &[table("live", "orders"), pool, table("live", "sessions"), table("pool", "sessions")]);
    let rows = PooledTable { schema: "pool".into(), name: "orders".into(), rows: Ok(PooledRows::default()) };
    app.content.as_mut().unwrap().pooled.push(rows);
    let report = judged("s", vec![app, database("own", &[table("any", "t")]), database("postgres", &[]), database("empty", &[])]);
    assert_eq!((lines(&report), report.unseen.len(), report.deleted.len()), (vec![], 0, 0));
    let left: Vec<_> =
        report.left_out.iter().map(|left| format!("{} {:?}", left.place, left.tenant.as_ref().map(TenantId::as_str))).collect();
    assert_eq!(
        left,
        ["table \"live\".\"sessions\" in \"app\" on s Some(\"schema-live\")", "table \"pool\".\"sessions\" in \"app\" on s None",]
    );
}

#[test]
fn what_is_nobodys_is_named_and_what_is_a_gone_tenants_is_told_apart() {
    let mut app = database(
        "app",
        &[
            table("gone", "orders"),
            table("left_over", "a"),
            table("left_over", "b"),
            table("pool", "countries"),
            table("public", "migrations"),
            TableScan { kind: TableKind::Foreign, ..table("elsewhere", "f") },
            TableScan { made_by_restore: true, ..table("hf_undo_1", "t") },
        ],
    );
    app.content.as_mut().unwrap().large_objects = 3;
    let unseen = DatabaseScan { name: "secret".into(), made_by_restore: false, content: Err("denied".into()) };
    let undo = DatabaseScan { made_by_restore: true, ..database("hf_undo_0123456789abcdef", &[table("public", "t")]) };
    let report = judged(
        "s",
        vec![
            app,
            database("forgotten", &[table("public", "t")]),
            database("postgres", &[table("public", "t")]),
            database("gone", &[]),
            unseen,
            undo,
        ],
    );
    assert_eq!(
        lines(&report),
        [
            "database \"app\" on s: it holds 3 large objects, which are no tenant's",
            "schema \"left_over\" in \"app\" on s: it has 2 tables and is no tenant's",
            "table \"pool\".\"countries\" in \"app\" on s: it is in a pool's schema and has no tenant column",
            "schema \"public\" in \"app\" on s: it has 1 tables and is no tenant's",
            "database \"forgotten\" on s: it has 1 tables and is no tenant's",
            "database \"postgres\" on s: it has 1 tables and is no tenant's",
            "database \"secret\" on s: it is no tenant's and could not be looked into",
        ]
    );
    assert_eq!(
        report.deleted.iter().map(|gone| gone.place.to_string()).collect::<Vec<_>>(),
        ["schema \"gone\" in \"app\" on s", "database \"gone\" on s"]
    );
    assert_eq!(report.unseen.iter().map(|unseen| unseen.why.as_str()).collect::<Vec<_>>(), ["denied"]);
    assert_eq!(report.left_out.len(), 3, "{:?}", report.left_out);
}

#[test]
fn rows_of_a_pool_are_judged_by_who_is_registered_by_now() {
    let strangers = rows(&[("ACME", 2), ("acme", 5), ("nobody", 1)]);
    let counted = PooledRows { no_tenant: 4, unknown: strangers, deleted: rows(&[("gone", 9)]) };
    let pooled = |schema: &str| PooledTable { schema: schema.into(), name: "orders".into(), rows: Ok(counted.clone()) };
    let mut app = database("app", &[]);
    app.content.as_mut().unwrap().pooled.push(pooled("pool"));
    let report = judged("s", vec![app]);
    assert_eq!(
        lines(&report),
        [
            "table \"pool\".\"orders\" in \"app\" on s: 4 rows have no tenant",
            "table \"pool\".\"orders\" in \"app\" on s: 3 rows are of 2 tenants that the register does not list there",
        ],
        "acme signed up while the scan ran"
    );
    assert_eq!(report.uncovered().count(), 2);
    assert_eq!(report.deleted[0].values, Some(rows(&[("gone", 9)])));

    let mut central = database("central", &[table("app", "countries")]);
    central.content.as_mut().unwrap().pooled.push(pooled("app"));
    let report = judged("c", vec![central]);
    assert_eq!((report.findings.len(), report.uncovered().count()), (2, 0), "they are in the platform's own recovery points");
}

#[test]
fn an_instance_that_does_not_answer_is_not_empty() {
    let scan = vec![InstanceScan { instance: "s".into(), databases: Err("it did not answer".into()) }];
    let report = judge(&plan(), &Owners::default(), scan, Timestamp::UNIX_EPOCH);
    assert_eq!(report.unseen, [Unseen { place: Place::instance("s"), why: "it did not answer".into() }]);
    assert!(report.unseen[0].place.holds(&Place::database("s", "app").table("a", "b")));
    assert!(!Place::database("s", "app").holds(&Place::instance("s")));
}

#[test]
fn a_report_of_any_length_fits_one_record_and_counts_what_it_leaves_off() {
    let forgotten: Vec<_> =
        (0..5_000).map(|n| database(&format!("{n:060}"), &[table("public", "t"), table("public", "sessions")])).collect();
    let whole = judged("s", forgotten);
    let fitted = whole.clone().fitted();
    assert!(serde_json::to_string(&fitted).unwrap().len() <= crate::caps::COVERAGE_BYTES_MAX);
    let kept = (fitted.findings.len() + fitted.left_out.len()) as u64;
    assert_eq!((kept + fitted.left_off, fitted.findings.len() > 100), (10_000, true));
}
