//! Restore tests: a clone of the tenant's instance, made from its newest snapshot, into which the export is loaded and compared.
//!
//! The clone takes minutes to appear, so a drill is a record that events and ticks move on: `Restoring → Comparing → TearingDown →
//! Done`. Whatever happens, it ends with the clone deleted.

use std::collections::BTreeMap;

use catalog::{
    TableError, Versioned,
    audit::Phase,
    drills::{Drill, DrillState},
};
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    error::Class,
    plan::Plan,
    point::{Content, Kind, Proof, RecoveryPoint},
    register::Tenant,
    slot::Subject,
};
use jiff::SignedDuration;
use runtime::{
    Invocation,
    services::{Said, Services, known_database, short_name},
};
use serde_json::{Value, json};

use crate::{authentic, compare};

/// How long one invocation may compare before another takes over: a function's own limit, and a little.
const COMPARING_AT_MOST: SignedDuration = SignedDuration::from_mins(16);
/// How long a drill may take altogether, whatever it waits for or fails at. A clone costs as long as it lives.
const DRILL_AT_MOST: SignedDuration = SignedDuration::from_hours(6);

/// Begins a drill of a recovery point, or finds the one under way. Returns the clone's name.
pub(crate) async fn begin(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &RecoveryPoint,
) -> Result<String, ErrorReport> {
    let open = services.catalog.open_drills(caps::LISTED_POINTS_MAX).await?;
    if let Some(drill) = open.iter().find(|drill| drill.value.point == point.id) {
        // A beginning that was cut off between the record and the call is finished here.
        make_clone(services, plan, tenant, &drill.value).await?;
        return Ok(drill.value.instance.clone());
    }
    let instance = format!("holdfast-drill-{}", short_name(services.fresh.random()));
    let drill = Drill {
        instance,
        tenant: tenant.id.clone(),
        point: point.id,
        started_at: services.clock.now(),
        state: DrillState::Restoring,
    };
    // The record first: a clone without a record would run, and cost, for ever.
    let drill = services.catalog.create(drill).await?;
    if let Err(report) = make_clone(services, plan, tenant, &drill.value).await {
        end(services, plan, &drill, &report).await?;
        return Err(report);
    }
    Ok(drill.value.instance)
}

async fn make_clone(services: &Services, plan: &Plan, tenant: &Tenant, drill: &Drill) -> Result<(), ErrorReport> {
    let subject = plan.snapshot_subject_of(&tenant.database_id).unwrap_or(&tenant.database_id);
    let database = known_database(plan, &tenant.database_id)?;
    let newest = services.catalog.newest_available(&Subject::Instance(subject.to_owned()), Kind::Snapshot).await?;
    let Some(Content::Snapshot { identifier, .. }) = newest.as_ref().and_then(|point| point.value.content()) else {
        let message = format!(
            "instance {} has no available snapshot to make an isolated clone from; wait for the next snapshot slot",
            database.instance
        );
        return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
    };
    let settings = services.clients.instances().describe(&database.instance).await?.settings;
    let tags = BTreeMap::from([
        ("holdfast:drill".to_owned(), drill.point.to_string()),
        ("holdfast:vault".to_owned(), services.config.vault_id.to_string()),
    ]);
    let wanted = aws::Restoration { name: &drill.instance, snapshot: identifier, settings: &settings, tags: &tags };
    services
        .audit(Phase::Intent, "verify", "drill.clone", tenant.id.as_str(), &format!("{} from {identifier}", drill.instance))
        .await?;
    let asked = services.clients.instances().restore(&wanted).await;
    let outcome = asked.as_ref().map_or_else(ToString::to_string, |_| "accepted".to_owned());
    services.audit(Phase::Outcome, "verify", "drill.clone", tenant.id.as_str(), &outcome).await?;
    asked?;
    Ok(())
}

/// Moves every drill under way on.
pub(crate) async fn follow_all(services: &Services, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let mut followed = BTreeMap::new();
    for drill in services.catalog.open_drills(caps::LISTED_POINTS_MAX).await? {
        invocation.deadline.check("the next restore test")?;
        followed.insert(drill.value.instance.clone(), follow(services, drill).await?);
    }
    Ok(json!({ "drills": followed }))
}

/// Moves the drill on this instance on, if it is one of ours.
pub(crate) async fn follow_one(services: &Services, instance: &str) -> Result<Value, ErrorReport> {
    match services.catalog.drill(instance).await? {
        Some(drill) => {
            let state = follow(services, drill).await?;
            Ok(json!({ "drills": { instance: state } }))
        }
        None => Ok(json!({ "drills": {} })),
    }
}

async fn follow(services: &Services, drill: Versioned<Drill>) -> Result<String, ErrorReport> {
    let plan = services.plan().await?;
    let now = services.clock.now();
    match &drill.value.state {
        DrillState::Done { outcome, .. } => Ok(outcome.clone()),
        DrillState::TearingDown { .. } => tear_down(services, &drill).await,
        DrillState::Comparing { since } if now.duration_since(*since) < COMPARING_AT_MOST => Ok("comparing".to_owned()),
        DrillState::Restoring | DrillState::Comparing { .. } if now.duration_since(drill.value.started_at) > DRILL_AT_MOST => {
            let message =
                format!("the drill on {} has not ended within {} hours", drill.value.instance, DRILL_AT_MOST.as_hours());
            end(services, &plan, &drill, &ErrorReport::new(ErrorCode::EnvironmentBad, message)).await
        }
        DrillState::Restoring | DrillState::Comparing { .. } => {
            match services.clients.instances().describe(&drill.value.instance).await {
                Ok(instance) if instance.is_available() => compare_claimed(services, &plan, drill).await,
                Ok(_) => Ok("restoring".to_owned()),
                Err(error) if error.is_not_found() => Ok("restoring".to_owned()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Claims the drill, compares, and tears down whatever came of it.
async fn compare_claimed(services: &Services, plan: &Plan, drill: Versioned<Drill>) -> Result<String, ErrorReport> {
    let claimed = Drill { state: DrillState::Comparing { since: services.clock.now() }, ..drill.value.clone() };
    let drill = match services.catalog.update(&drill, claimed).await {
        Ok(drill) => drill,
        // An event and a tick saw the clone at the same moment; the other one compares.
        Err(TableError::Conflict { .. }) => return Ok("comparing".to_owned()),
        Err(error) => return Err(error.into()),
    };
    let tenant = services.tenant(&drill.value.tenant).await?.tenant;
    let compared = Box::pin(compare::on_clone(services, plan, &tenant, &drill.value)).await;
    let point = services.catalog.point(&tenant.id, drill.value.point).await?;
    let judged = match compared {
        Ok(()) => {
            let proof = Proof::Proven { at: services.clock.now(), rto_ms: services.ms_since(drill.value.started_at) };
            services.catalog.judge(&point, proof).await.map_err(ErrorReport::from).map(|()| "proven".to_owned())
        }
        Err(report) if report.code.class() == Class::Integrity => {
            authentic::refute(services, plan, &tenant, &point, vec![report.to_string()])
                .await
                .map(|()| format!("refuted: {report}"))
        }
        Err(report) => return end(services, plan, &drill, &report).await,
    };
    match judged {
        Ok(outcome) => {
            services.all_clear(AlertClass::EnvironmentBad, &alert_subject(&drill.value)).await?;
            begin_teardown(services, &drill, outcome).await
        }
        // The record changed while it was compared, perhaps expired: this verdict is void, and the clone goes all the same.
        Err(report) if report.code == ErrorCode::Fenced => begin_teardown(services, &drill, format!("void: {report}")).await,
        Err(report) => Err(report),
    }
}

/// Ends a drill that says nothing about its recovery point.
async fn end(services: &Services, plan: &Plan, drill: &Versioned<Drill>, report: &ErrorReport) -> Result<String, ErrorReport> {
    let said = Said {
        summary: format!("the restore test of tenant {} could not be carried out: {report}", drill.value.tenant),
        meaning: "the recovery point is neither proven nor refuted by it".to_owned(),
        remedy: "mend the cause; the next verify slot tries again".to_owned(),
    };
    services.raise(plan, AlertClass::EnvironmentBad, &alert_subject(&drill.value), said).await?;
    begin_teardown(services, drill, format!("environment bad: {report}")).await
}

fn alert_subject(drill: &Drill) -> String {
    format!("restore test of tenant {}", drill.tenant)
}

async fn begin_teardown(services: &Services, drill: &Versioned<Drill>, outcome: String) -> Result<String, ErrorReport> {
    let going = Drill { state: DrillState::TearingDown { outcome }, ..drill.value.clone() };
    let going = services.catalog.update(drill, going).await?;
    tear_down(services, &going).await
}

async fn tear_down(services: &Services, drill: &Versioned<Drill>) -> Result<String, ErrorReport> {
    let DrillState::TearingDown { outcome } = &drill.value.state else {
        return Ok("not tearing down".to_owned());
    };
    // Deleting what is gone or going is fine, so this step can be repeated.
    services.clients.instances().delete(&drill.value.instance).await?;
    let done = Drill { state: DrillState::Done { at: services.clock.now(), outcome: outcome.clone() }, ..drill.value.clone() };
    services.catalog.update(drill, done).await?;
    Ok(outcome.clone())
}
