//! Data that no recovery point has: a scan of the databases once a day, and an alert for each place.

use std::{collections::BTreeMap, time::Duration};

use domain::{
    ErrorReport,
    alert::AlertClass,
    caps,
    coverage::{self, InstanceScan, Owners, Place, Report},
    order::from_the_days_start,
    plan::Plan,
    register::Tenant,
    rpo::MissedSlot,
};
use runtime::{
    Invocation,
    services::{Said, Services},
};
use sources::postgres::Endpoint;

/// The subject of the alert that tells of the places beyond [`caps::COVERAGE_ALERTS_MAX`].
const THE_REST: &str = "further places";

/// What one look at coverage came to.
pub(crate) struct Looked {
    pub(crate) report: Report,
    /// Whether the databases were scanned for it, or the last scan serves still.
    pub(crate) scanned: bool,
}

/// Scans the databases if the last scan is too old or `now_asked`, records what came of it and settles the alerts.
pub(crate) async fn look(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
    missed: &[MissedSlot],
    now_asked: bool,
    invocation: &Invocation,
) -> Result<Looked, ErrorReport> {
    let known = services.catalog.coverage().await?;
    let now = services.clock.now();
    if let Some(known) = &known
        && !now_asked
        && !known.value.0.is_due_again(now)
    {
        let mut report = known.value.0.clone();
        if report.missed != missed {
            report.missed = missed.to_vec();
            services.catalog.record_coverage(Some(known.clone()), report.clone()).await?;
        }
        return Ok(Looked { report, scanned: false });
    }
    let seen = scan(services, plan, tenants, invocation).await;
    // Read behind the scan: who signed up while it ran has nothing to be found.
    let mut all = services.register(plan).await?.tenants;
    all.extend(tenants.iter().filter(|tenant| !all.iter().any(|listed| listed.id == tenant.id)).cloned().collect::<Vec<_>>());
    let mut report = coverage::judge(plan, &Owners::of(plan, &all), seen, services.clock.now());
    report.missed = missed.to_vec();
    tracing::info!(
        findings = report.findings.len(),
        unseen = report.unseen.len(),
        deleted = report.deleted.len(),
        left_out = report.left_out.len(),
        "databases scanned"
    );
    services.catalog.record_coverage(known, report.clone()).await?;
    settle(services, plan, &report).await?;
    Ok(Looked { report, scanned: true })
}

async fn scan(services: &Services, plan: &Plan, tenants: &[Tenant], invocation: &Invocation) -> Vec<InstanceScan> {
    let owners = Owners::of(plan, tenants);
    // Whatever is begun can be finished, and recorded.
    let longest = Duration::from_millis(caps::COVERAGE_COUNT_AT_MOST_MS + caps::DEADLINE_RESERVE_MS);
    let is_time_up = || invocation.deadline.remaining() < longest;
    let mut seen = Vec::new();
    // A scan that runs out of time begins elsewhere on another day.
    for subject in from_the_days_start(plan.snapshot_subjects(), services.clock.now()) {
        let Some(first) = plan.database(subject) else { continue };
        let instance = first.instance.as_str();
        seen.push(match endpoints(services, plan, instance).await {
            Ok(endpoints) => {
                let reached_by = |database: Option<&str>| {
                    let through = database.and_then(|database| owners.through(instance, database)).unwrap_or(subject);
                    let endpoint = endpoints.get(through).unwrap_or(&endpoints[subject]);
                    database.map_or_else(|| endpoint.clone(), |database| endpoint.with_database(database))
                };
                let left = invocation.deadline.remaining().saturating_sub(Duration::from_millis(caps::DEADLINE_RESERVE_MS));
                let scanned = sources::postgres::coverage::scan(instance, &reached_by, plan, &owners, &is_time_up);
                // A server that stops answering is told of, like one that never does.
                tokio::time::timeout(left, scanned).await.unwrap_or_else(|_| {
                    let why = format!("it did not answer within the {} s that were left", left.as_secs());
                    InstanceScan { instance: instance.to_owned(), databases: Err(why) }
                })
            }
            Err(report) => InstanceScan { instance: instance.to_owned(), databases: Err(report.to_string()) },
        });
    }
    seen
}

/// How each of the plan's databases on an instance is reached.
async fn endpoints(services: &Services, plan: &Plan, instance: &str) -> Result<BTreeMap<String, Endpoint>, ErrorReport> {
    let mut endpoints = BTreeMap::new();
    for database in plan.databases.iter().filter(|database| database.instance == instance) {
        endpoints.insert(database.id.clone(), services.endpoint(database, &database.database).await?);
    }
    Ok(endpoints)
}

/// Opens an alert for each place and closes those of places where nothing is the matter any more.
async fn settle(services: &Services, plan: &Plan, report: &Report) -> Result<(), ErrorReport> {
    let troubled = by_place(report);
    let (mut told, mut open) = (0, Vec::new());
    for (place, said) in &troubled {
        open.push(place.to_string());
        if told < caps::COVERAGE_ALERTS_MAX {
            services.raise(plan, AlertClass::Uncovered, &place.to_string(), said_of(place, said)).await?;
            told += 1;
        }
    }
    if troubled.len() > told {
        open.push(THE_REST.to_owned());
        let said = Said {
            summary: format!(
                "{} more places hold data that is in no recovery point, or could not be looked at",
                troubled.len() - told
            ),
            meaning: "none of it would come back".to_owned(),
            remedy: "see `holdfast coverage`".to_owned(),
        };
        services.raise(plan, AlertClass::Uncovered, THE_REST, said).await?;
    }
    for record in services.catalog.alerts(Some(AlertClass::Uncovered), caps::ALERTS_READ_MAX).await? {
        let subject = &record.alert.subject;
        if record.closed_at.is_none() && !open.contains(subject) && !may_be_in_unseen(report, subject) {
            services.all_clear(AlertClass::Uncovered, subject).await?;
        }
    }
    Ok(())
}

/// Whether an alert's place lies in one that could not be looked at this time: then nobody knows that its trouble is over.
fn may_be_in_unseen(report: &Report, subject: &str) -> bool {
    report.unseen.iter().any(|unseen| {
        let Place { instance, database, schema, table } = &unseen.place;
        // A place's text ends in the places around it.
        let around = match (database, schema, table) {
            (None, ..) => format!(" on {instance}"),
            (Some(database), None, _) => format!("\"{}\" on {instance}", database.replace('"', "\"\"")),
            _ => unseen.place.to_string(),
        };
        subject.ends_with(&around) || subject == unseen.place.to_string()
    })
}

/// What is the matter with each place, in a line.
fn by_place(report: &Report) -> BTreeMap<&Place, Vec<String>> {
    let mut places: BTreeMap<&Place, Vec<String>> = BTreeMap::new();
    for found in report.uncovered() {
        places.entry(&found.place).or_default().push(found.gap.to_string());
    }
    for unseen in &report.unseen {
        places.entry(&unseen.place).or_default().push(format!("it could not be looked at: {}", unseen.why));
    }
    places
}

fn said_of(place: &Place, lines: &[String]) -> Said {
    Said {
        summary: format!("{place}: {}", lines.join("; ")),
        meaning: "what is there is in no recovery point of any tenant, or nobody knows whether it is".to_owned(),
        remedy: "see `holdfast coverage`; then register the tenant, give the rows their tenant, remove what is left over, or name the table in \
                 the plan's `exclusions`; a database of the platform's own wants `platform` in the plan"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use domain::coverage::{Finding, Gap, Unseen};
    use jiff::Timestamp;

    use super::*;

    fn unseen(place: Place) -> Report {
        let mut report = Report::at(Timestamp::UNIX_EPOCH);
        report.unseen.push(Unseen { place, why: "denied".into() });
        report
    }

    #[test]
    fn an_alert_is_not_closed_by_a_scan_that_could_not_look_there() {
        let database = Place::database("shared", "a\"pp");
        let table = database.table("app", "orders");
        for (seen, place, expected) in [
            (Place::instance("shared"), table.clone(), true),
            (Place::instance("shared"), Place::database("shared", "x"), true),
            (Place::instance("shared"), Place::instance("shared"), true),
            (Place::instance("red"), table.clone(), false),
            (database.clone(), table.clone(), true),
            (database.clone(), database.schema("app"), true),
            (database.clone(), Place::database("shared", "pp"), false),
            (table.clone(), table.clone(), true),
            (table.clone(), database.table("app", "other"), false),
            (database.table("app", "order"), table, false),
        ] {
            assert_eq!(may_be_in_unseen(&unseen(seen.clone()), &place.to_string()), expected, "{place} in {seen}");
        }
    }

    #[test]
    fn a_place_with_several_gaps_is_one_trouble_and_what_the_platform_has_is_none() {
        let place = Place::database("shared", "app").table("app", "orders");
        let mut report = unseen(Place::instance("silo"));
        for (gap, only_with) in [
            (Gap::NoTenant { rows: 3 }, None),
            (Gap::UnknownTenants(Default::default()), None),
            (Gap::SharedTable, Some("@central".parse().unwrap())),
        ] {
            report.findings.push(Finding { place: place.clone(), gap, only_with });
        }
        let troubled = by_place(&report);
        assert_eq!(troubled.len(), 2);
        assert_eq!(troubled[&place].len(), 2);
        assert!(
            said_of(&place, &troubled[&place])
                .summary
                .starts_with("table \"app\".\"orders\" in \"app\" on shared: 3 rows have no tenant; ")
        );
    }
}
