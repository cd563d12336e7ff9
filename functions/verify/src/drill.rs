//! Restore tests: a clone of the tenant's instance, made from its newest snapshot, into which the export is loaded and compared.
//!
//! The clone takes minutes to appear, so a drill is a record that events and ticks move on: `Restoring → Comparing → TearingDown →
//! Done`. Whatever happens, it ends with the clone deleted; one that appears only after that is found by its tag and deleted too.

use std::collections::BTreeMap;

use catalog::{
    TableError, Versioned,
    drills::{Drill, DrillState},
};
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Kind, Proof, RecoveryPoint},
    register::Tenant,
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    Invocation,
    copies::Wanted,
    services::{Said, Services, known_database},
    trouble::Trouble,
};
use serde_json::{Value, json};

use crate::{authentic, clone, compare, rotation, verdict::Verdict};

/// Begins the restore test that is most due, or finds the one that this tick began. Returns the clone's name, if any tenant has
/// a recovery point.
pub(crate) async fn begin_due(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
    tick: Timestamp,
) -> Result<Option<String>, ErrorReport> {
    let drills: Vec<Drill> = services.catalog.drills(caps::DRILLS_READ_MAX).await?.into_iter().map(|drill| drill.value).collect();
    // One tick begins one test, however often it is delivered: it would be the next tenant's turn now.
    if let Some(drill) = drills.iter().find(|drill| drill.tick == Some(tick)) {
        let tenant = services.tenant(&drill.tenant).await?.tenant;
        return resume(services, plan, &tenant, drill).await.map(Some);
    }
    for tenant in rotation::by_turn(tenants, &drills) {
        let newest = services.catalog.newest_available(&Subject::Tenant(tenant.id.clone()), Kind::Database).await?;
        if let Some(point) = newest {
            return begin(services, plan, tenant, &point.value, Some(tick)).await.map(Some);
        }
    }
    Ok(None)
}

/// Begins a drill of a recovery point, or finds the one under way. Returns the clone's name.
pub(crate) async fn begin(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &RecoveryPoint,
    tick: Option<Timestamp>,
) -> Result<String, ErrorReport> {
    let open = services.catalog.open_drills(caps::DRILLS_READ_MAX).await?;
    if let Some(drill) = open.iter().find(|drill| drill.value.point == point.id) {
        return resume(services, plan, tenant, &drill.value).await;
    }
    let now = services.clock.now();
    let drill = Drill {
        instance: clone::name(point.id, tick.unwrap_or(now)),
        tenant: tenant.id.clone(),
        point: point.id,
        started_at: now,
        tick,
        state: DrillState::Restoring,
    };
    let instance = drill.instance.clone();
    // The record first: a clone without a record would run, and cost, until somebody looks for it.
    let drill = match services.catalog.create(drill).await {
        Ok(drill) => drill,
        // Another delivery began it at the same moment, under the same name.
        Err(TableError::Conflict { .. }) => {
            return match services.catalog.drill(&instance).await? {
                Some(drill) => resume(services, plan, tenant, &drill.value).await,
                None => Ok(instance),
            };
        }
        Err(error) => return Err(error.into()),
    };
    if let Err(report) = make_clone(services, plan, tenant, &drill.value).await {
        end(services, plan, &drill, &report).await?;
        return Err(report);
    }
    Ok(instance)
}

/// Finishes a beginning that was cut off between the record and the call. A drill that is further has had its clone.
async fn resume(services: &Services, plan: &Plan, tenant: &Tenant, drill: &Drill) -> Result<String, ErrorReport> {
    if drill.state == DrillState::Restoring {
        make_clone(services, plan, tenant, drill).await?;
    }
    Ok(drill.instance.clone())
}

async fn make_clone(services: &Services, plan: &Plan, tenant: &Tenant, drill: &Drill) -> Result<(), ErrorReport> {
    let subject = plan.snapshot_subject_of(&tenant.database_id).unwrap_or(&tenant.database_id);
    let database = known_database(plan, &tenant.database_id)?;
    let newest = services.catalog.newest_available(&Subject::Instance(subject.to_owned()), Kind::Snapshot).await?;
    let Some(newest) = newest else {
        let message = format!(
            "instance {} has no available snapshot to make an isolated clone from; wait for the next snapshot slot",
            database.instance
        );
        return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
    };
    let wanted = Wanted {
        name: &drill.instance,
        of: database,
        from: &newest.value,
        tag: ("holdfast:drill", drill.point.to_string()),
        actor: "verify",
        act: "drill.clone",
        subject: tenant.id.as_str(),
    };
    services.begin_copy(&wanted).await
}

/// Moves every drill under way on, then deletes clones that nobody else will.
pub(crate) async fn follow_all(services: &Services, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let mut trouble = Trouble::default();
    let mut followed = BTreeMap::new();
    for drill in services.catalog.open_drills(caps::DRILLS_READ_MAX).await? {
        invocation.deadline.check("the next restore test")?;
        let instance = drill.value.instance.clone();
        match follow(services, drill).await {
            Ok(state) => {
                followed.insert(instance, state);
            }
            // One test's trouble is its own: the others go on, and their clones go.
            Err(report) => trouble.note(&format!("the restore test on {instance}"), report),
        }
    }
    invocation.deadline.check("the search for forgotten clones")?;
    if let Err(report) = delete_orphans(services, &mut trouble).await {
        trouble.note("the search for forgotten clones", report);
    }
    trouble.into_result()?;
    Ok(json!({ "drills": followed }))
}

/// Deletes this vault's clones whose drill is over or unknown.
async fn delete_orphans(services: &Services, trouble: &mut Trouble) -> Result<(), ErrorReport> {
    for instance in services.clients.instances().list(clone::PREFIX).await? {
        let drill = services.catalog.drill(&instance.name).await?;
        let state = drill.as_ref().map(|drill| &drill.value.state);
        if !clone::is_orphan(&instance, state, services.config.vault_id.as_str(), services.clock.now()) {
            continue;
        }
        tracing::warn!(instance = instance.name, "no restore test needs this clone any more");
        if let Err(report) = services.delete_copy(&instance.name, "verify", "drill.delete", "forgotten clone").await {
            trouble.note(&format!("the deletion of {}", instance.name), report);
        }
    }
    Ok(())
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
    match step(services, drill).await {
        // An event and a tick saw the same; the other one moves it on.
        Err(report) if report.code == ErrorCode::Fenced => Ok("moved on by another".to_owned()),
        moved => moved,
    }
}

async fn step(services: &Services, drill: Versioned<Drill>) -> Result<String, ErrorReport> {
    let plan = services.plan().await?;
    let now = services.clock.now();
    match &drill.value.state {
        DrillState::Done { outcome, .. } => Ok(outcome.clone()),
        DrillState::TearingDown { .. } => tear_down(services, &drill).await,
        DrillState::Comparing { since } if now.duration_since(*since).as_secs() < caps::COMPARE_AT_MOST_S => {
            Ok("comparing".to_owned())
        }
        DrillState::Restoring | DrillState::Comparing { .. }
            if now.duration_since(drill.value.started_at).as_secs() > caps::DRILL_AT_MOST_S =>
        {
            let message =
                format!("the drill on {} has not ended within {} hours", drill.value.instance, caps::DRILL_AT_MOST_S / 3600);
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
    let drill = services.catalog.update(&drill, claimed).await?;
    let tenant = services.tenant(&drill.value.tenant).await?.tenant;
    let compared = Box::pin(compare::on_clone(services, plan, &tenant, &drill.value)).await;
    let point = services.catalog.point(&tenant.id, drill.value.point).await?;
    let proven = compared.is_ok();
    let judged = match compared {
        Ok(()) => {
            let proof = Proof::Proven { at: services.clock.now(), rto_ms: services.ms_since(drill.value.started_at) };
            services.catalog.judge(&point, proof).await.map_err(ErrorReport::from).map(|()| "proven".to_owned())
        }
        Err(report) => match Verdict::of(report.code) {
            Verdict::Refuted => authentic::refute(services, plan, &tenant, &point, vec![report.to_string()])
                .await
                .map(|()| format!("refuted: {report}")),
            Verdict::DidNotLoad => {
                authentic::doubt(services, plan, &tenant, &point.value, &report).await.map(|()| format!("did not load: {report}"))
            }
            Verdict::EnvironmentBad => return end(services, plan, &drill, &report).await,
        },
    };
    match judged {
        Ok(outcome) => {
            services.all_clear(AlertClass::EnvironmentBad, &alert_subject(&drill.value)).await?;
            if proven {
                // An earlier test may have refuted it.
                services.all_clear(AlertClass::BackupBad, &point.value.id.to_string()).await?;
            }
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
    let raised = services.raise(plan, AlertClass::EnvironmentBad, &alert_subject(&drill.value), said).await;
    // The clone goes even if nobody could be told.
    let outcome = begin_teardown(services, drill, format!("environment bad: {report}")).await?;
    raised.map(|()| outcome)
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
    services.delete_copy(&drill.value.instance, "verify", "drill.delete", drill.value.tenant.as_str()).await?;
    let done = Drill { state: DrillState::Done { at: services.clock.now(), outcome: outcome.clone() }, ..drill.value.clone() };
    services.catalog.update(drill, done).await?;
    Ok(outcome.clone())
}
