//! Reconcile: compares what should be with what is, on a timer, and says so once. Silence is a failure.
//!
//! Each look is on its own: one that fails does not keep the others from looking.

use std::collections::BTreeSet;

use domain::{ErrorReport, alert::AlertClass, plan::Plan, register::Tenant};
use runtime::{
    Event, Invocation,
    services::{Said, Services},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{coverage, erasures, leftovers, missed, objectives, reviews, stuck};

/// What an operator or a runbook asks for: a scan of the databases now, whenever the last one was.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    coverage: bool,
}

/// Serves one event. A tick's content does not matter: reconcile looks at the world, not at its event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let scan_now = match event {
        Event::Tick { .. } => false,
        Event::Item(item) => Event::item::<Item>(item)?.coverage,
        other => return Err(other.refused("reconcile", "a tick or an item").into()),
    };
    let plan = services.plan().await?;
    let remembered: Vec<Tenant> = services.catalog.tenants().await?.into_iter().map(|record| record.tenant).collect();
    // An unreadable register has raised its own alert; what the catalog remembers of it must still be judged.
    let (tenants, register) = match services.register(&plan).await {
        Ok(register) => {
            let vanished = vanished(services, &plan, &remembered, &register.tenants).await;
            (register.tenants, vanished)
        }
        Err(report) => (remembered, Err(report)),
    };
    let missed = missed::alert(services, &plan, &tenants).await;
    let unkept = objectives::look(services, &plan, &tenants).await;
    let looks = [
        stuck::runs(services, &plan).await,
        stuck::requests(services, &plan).await,
        stuck::recoveries(services, &plan).await,
        reviews::look(services, &plan).await,
        erasures::look(services, &plan).await,
        untold(services, &plan).await,
    ];
    let (missed, unkept) = (missed?, unkept?);
    tracing::info!(tenants = tenants.len(), missed = missed.len(), unkept, "reconciled");
    // Last, because it takes the longest. Without the register nobody could say whose anything is.
    register?;
    let coverage = Box::pin(coverage::look(services, &plan, &tenants, &missed, scan_now, invocation)).await;
    looks.into_iter().collect::<Result<(), ErrorReport>>()?;
    let coverage::Looked { report, scanned } = coverage?;
    if scanned {
        leftovers::look(services, &plan, invocation).await?;
    }
    let missed: BTreeSet<String> = missed.iter().map(missed::alert_subject).collect();
    let coverage = json!({
        "scanned": scanned, "scanned_at": report.scanned_at, "uncovered": report.uncovered().count(), "unseen": report.unseen.len(),
    });
    Ok(json!({ "tenants": tenants.len(), "missed": missed, "unkept": unkept, "coverage": coverage }))
}

/// A tenant that is gone from the register is no longer backed up, and a slip in the query looks just the same.
async fn vanished(services: &Services, plan: &Plan, remembered: &[Tenant], listed: &[Tenant]) -> Result<(), ErrorReport> {
    let listed: BTreeSet<_> = listed.iter().map(|tenant| &tenant.id).collect();
    for tenant in remembered.iter().filter(|tenant| tenant.is_protected()) {
        let subject = format!("tenant {}", tenant.id);
        if listed.contains(&tenant.id) {
            services.all_clear(AlertClass::RegisterBad, &subject).await?;
            continue;
        }
        let said = Said {
            summary: format!("tenant {} is not in the tenant register any more, or its row cannot be understood", tenant.id),
            meaning: "it is no longer backed up; its recovery points are kept by retention only".to_owned(),
            remedy: "if it left, list it with status `deleted`; if not, mend its row or the register query".to_owned(),
        };
        services.raise(plan, AlertClass::RegisterBad, &subject, said).await?;
    }
    Ok(())
}

/// Alerts that were opened but that no subscriber could be told of at that time.
async fn untold(services: &Services, plan: &Plan) -> Result<(), ErrorReport> {
    for record in services.catalog.open_alerts(domain::caps::LISTED_POINTS_MAX).await? {
        if record.sent_at.is_none() {
            services.tell(plan, record.alert).await?;
        }
    }
    Ok(())
}
