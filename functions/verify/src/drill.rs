//! Restore tests: a clone of an instance, made from a snapshot, which proves the snapshot by answering, and into which the exports of its tenants
//! are loaded and compared, one after the other.
//!
//! The clone takes minutes to appear, so a drill is a record that events and ticks move on: `Restoring → Comparing → TearingDown →
//! Done`, and back to `Restoring` when an invocation ends before the last test. Whatever happens, it ends with the clone deleted; one that
//! appears only after that is found by its tag and deleted too.

use std::collections::BTreeMap;

use catalog::{
    TableError, Versioned,
    drills::{Drill, DrillState, Outcome, Test},
};
use domain::{
    ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    register::Tenant,
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    Invocation,
    copies::{Source, Wanted, is_hopeless, why_hopeless},
    services::{Said, Services, first_few, known_database},
    trouble::Trouble,
};
use serde_json::{Value, json};

use crate::{clone, due, test};

/// Begins the clones that the round of a tick needs, as many as there is room for, or finds those that it began. Returns their names.
pub(crate) async fn begin_due(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
    tick: Timestamp,
    invocation: &Invocation,
    trouble: &mut Trouble,
) -> Result<Vec<String>, ErrorReport> {
    let mut open: Vec<Drill> =
        services.catalog.open_drills(caps::DRILLS_READ_MAX).await?.into_iter().map(|drill| drill.value).collect();
    // A tick that is delivered again finishes what a delivery before it may have left half begun.
    for drill in open.iter().filter(|drill| drill.tick == Some(tick)) {
        if let Err(report) = resume(services, plan, drill).await {
            trouble.note(&format!("the restore tests on {}", drill.instance), report);
        }
    }
    let mut begun: Vec<String> =
        open.iter().filter(|drill| drill.tick == Some(tick)).map(|drill| drill.instance.clone()).collect();
    let mut is_complete = true;
    for mut wanted in due::wanted(services, plan, tenants, tick, invocation, trouble).await? {
        if let Some(other) = open.iter().find(|drill| is_like(drill, &wanted, tick)) {
            // What another tick or a person began is left to end; the follower begins this one then, and what did not fit on a full one.
            is_complete &= other.tick == Some(tick) && !is_full(other);
            continue;
        }
        // What this tick began and ended is tried again by the next, but for what did not fit.
        let (mut name, mut before) = (clone::name(wanted.snapshot.id, tick), 0);
        let mut is_over = false;
        while let Some(ended) = services.catalog.drill(&name).await? {
            is_over = left_by(&ended.value, &mut wanted.tests);
            if is_over {
                break;
            }
            before += 1;
            name = clone::further_name(wanted.snapshot.id, tick, before);
        }
        if is_over {
            continue;
        }
        if open.len() >= caps::DRILLS_AT_ONCE_MAX {
            is_complete = false;
            break;
        }
        let drill = Drill {
            instance: name.clone(),
            database: Some(wanted.database),
            snapshot: Some(wanted.snapshot.id),
            ready_at: None,
            snapshot_outcome: None,
            tests: wanted.tests.into_iter().take(caps::TESTS_PER_CLONE_MAX).collect(),
            started_at: services.clock.now(),
            tick: Some(tick),
            state: DrillState::Restoring,
        };
        is_complete &= !is_full(&drill);
        match begin(services, plan, drill.clone()).await {
            Ok(()) => {
                open.push(drill);
                begun.push(name);
            }
            // One instance's trouble is its own: the others' tests are made all the same.
            Err(report) => trouble.note(&format!("the restore tests on {name}"), report),
        }
    }
    if is_complete && let Some(round) = services.catalog.round().await?.filter(|round| round.value.tick == tick) {
        let complete = catalog::checks::Round { tests_begun: true, ..round.value.clone() };
        match services.catalog.update(&round, complete).await {
            Ok(_) | Err(TableError::Conflict { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    begun.sort_unstable();
    Ok(begun)
}

/// Whether a drill under way stands for what is wanted. Of a tick's own snapshots without exports each has its clone.
fn is_like(drill: &Drill, wanted: &due::Wanted, tick: Timestamp) -> bool {
    let is_alike = drill.database.as_deref() == Some(&wanted.database) && drill.tests.is_empty() == wanted.tests.is_empty();
    let may_be_beside = drill.tests.is_empty() && drill.tick == Some(tick) && drill.snapshot != Some(wanted.snapshot.id);
    is_alike && !may_be_beside
}

/// Whether a drill may have been too small for what was due.
fn is_full(drill: &Drill) -> bool {
    drill.tests.len() >= caps::TESTS_PER_CLONE_MAX
}

/// Leaves the tests that an ended drill of the same tick and snapshot had no room for. Whether there is nothing left to begin.
fn left_by(ended: &Drill, tests: &mut Vec<Test>) -> bool {
    tests.retain(|test| ended.tests.iter().all(|made| made.point != test.point));
    !is_full(ended) || tests.is_empty()
}

/// Begins the test of one export on a clone of its own, or finds the one under way. Returns the clone's name.
pub(crate) async fn begin_one(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &RecoveryPoint,
) -> Result<String, ErrorReport> {
    let open = services.catalog.open_drills(caps::DRILLS_READ_MAX).await?;
    let is_to_come = |drill: &Drill| drill.tests.iter().any(|test| test.point == point.id && test.outcome.is_none());
    if let Some(drill) = open.iter().find(|drill| is_to_come(&drill.value)) {
        resume(services, plan, &drill.value).await?;
        return Ok(drill.value.instance.clone());
    }
    let now = services.clock.now();
    let database = plan.snapshot_subject_of(&tenant.database_id).unwrap_or(&tenant.database_id);
    let subject = Subject::Instance(database.to_owned());
    let usable = services.catalog.newest_usable(&subject, Kind::Snapshot).await?;
    let snapshot = match usable {
        Some(usable) => Some(usable),
        // One that was refuted is better than none.
        None => services.catalog.newest_available(&subject, Kind::Snapshot).await?,
    };
    let Some(snapshot) = snapshot else {
        let message = format!(
            "instance {} has no available snapshot to make an isolated clone from; wait for the next snapshot slot",
            known_database(plan, database)?.instance
        );
        let report = ErrorReport::new(ErrorCode::EnvironmentBad, message);
        raise(services, plan, &subject_of(plan, database), &report).await?;
        return Err(report);
    };
    let name = clone::name(point.id, now);
    let drill = Drill {
        instance: name.clone(),
        database: Some(database.to_owned()),
        snapshot: Some(snapshot.value.id),
        ready_at: None,
        snapshot_outcome: None,
        tests: vec![Test::of(tenant.id.clone(), point.id)],
        started_at: now,
        tick: None,
        state: DrillState::Restoring,
    };
    begin(services, plan, drill).await?;
    Ok(name)
}

async fn begin(services: &Services, plan: &Plan, drill: Drill) -> Result<(), ErrorReport> {
    let name = drill.instance.clone();
    // The record first: a clone without a record would run, and cost, until somebody looks for it.
    let drill = match services.catalog.create(drill).await {
        Ok(drill) => drill,
        // Another delivery began it at the same moment, under the same name.
        Err(TableError::Conflict { .. }) => {
            return match services.catalog.drill(&name).await? {
                Some(drill) if drill.value.is_open() => resume(services, plan, &drill.value).await,
                _ => Err(ErrorReport::new(
                    ErrorCode::Fenced,
                    format!("the restore tests on {name} are over; ask again for new ones"),
                )),
            };
        }
        Err(error) => return Err(error.into()),
    };
    if let Err(report) = make_clone(services, plan, &drill.value).await {
        end(services, plan, &drill, &report).await?;
        return Err(report);
    }
    Ok(())
}

/// Finishes a beginning that was cut off between the record and the call. A drill that is further has had its clone.
async fn resume(services: &Services, plan: &Plan, drill: &Drill) -> Result<(), ErrorReport> {
    match drill.state {
        DrillState::Restoring if drill.ready_at.is_none() => make_clone(services, plan, drill).await,
        _ => Ok(()),
    }
}

async fn make_clone(services: &Services, plan: &Plan, drill: &Drill) -> Result<(), ErrorReport> {
    // A record of before snapshots were tested has had its clone.
    let Some(snapshot) = snapshot_of(services, drill).await? else { return Ok(()) };
    let database = known_database(plan, drill.database.as_deref().unwrap_or_default())?;
    let wanted = Wanted {
        name: &drill.instance,
        of: database,
        from: Source::Snapshot(&snapshot.value),
        tag: ("holdfast:drill", snapshot.value.id.to_string()),
        actor: "verify",
        act: "drill.clone",
        subject: &database.id,
    };
    services.begin_copy(&wanted).await
}

/// The recovery point that holds a drill's snapshot.
pub(crate) async fn snapshot_of(services: &Services, drill: &Drill) -> Result<Option<Versioned<RecoveryPoint>>, ErrorReport> {
    let (Some(database), Some(id)) = (&drill.database, drill.snapshot) else { return Ok(None) };
    let subject = Subject::Instance(database.clone());
    let points = services.catalog.points(&subject, Some(Kind::Snapshot), caps::LISTED_POINTS_MAX).await?;
    Ok(points.into_iter().find(|point| point.value.id == id))
}

/// Moves every drill under way on, then deletes clones that nobody else will.
pub(crate) async fn follow_all(services: &Services, invocation: &Invocation, trouble: &mut Trouble) -> BTreeMap<String, String> {
    let mut followed = BTreeMap::new();
    let open = match services.catalog.open_drills(caps::DRILLS_READ_MAX).await {
        Ok(open) => open,
        Err(error) => {
            trouble.note("the listing of restore tests", error.into());
            Vec::new()
        }
    };
    // The oldest first: whoever has waited longest has the most of this invocation's time.
    for drill in open.into_iter().rev() {
        let instance = drill.value.instance.clone();
        match follow(services, drill, invocation).await {
            Ok(state) => {
                followed.insert(instance, state);
            }
            // One test's trouble is its own: the others go on, and their clones go.
            Err(report) => trouble.note(&format!("the restore tests on {instance}"), report),
        }
    }
    if let Err(report) = delete_orphans(services, trouble).await {
        trouble.note("the search for forgotten clones", report);
    }
    followed
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
pub(crate) async fn follow_one(services: &Services, instance: &str, invocation: &Invocation) -> Result<Value, ErrorReport> {
    match services.catalog.drill(instance).await? {
        Some(drill) => {
            let state = follow(services, drill, invocation).await?;
            Ok(json!({ "drills": { instance: state } }))
        }
        None => Ok(json!({ "drills": {} })),
    }
}

async fn follow(services: &Services, drill: Versioned<Drill>, invocation: &Invocation) -> Result<String, ErrorReport> {
    match step(services, drill, invocation).await {
        // An event and a tick saw the same; the other one moves it on.
        Err(report) if report.code == ErrorCode::Fenced => Ok("moved on by another".to_owned()),
        moved => moved,
    }
}

async fn step(services: &Services, drill: Versioned<Drill>, invocation: &Invocation) -> Result<String, ErrorReport> {
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
                Ok(instance) if instance.is_available() => work(services, &plan, drill, invocation).await,
                Ok(instance) if is_hopeless(&instance) => end(services, &plan, &drill, &why_hopeless(&instance)).await,
                Ok(_) => Ok("restoring".to_owned()),
                Err(error) if error.is_not_found() => Ok("restoring".to_owned()),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// Claims the drill and makes its tests, until the last is made or the invocation's time is up.
async fn work(services: &Services, plan: &Plan, drill: Versioned<Drill>, invocation: &Invocation) -> Result<String, ErrorReport> {
    if invocation.deadline.near() {
        return Ok("waiting for time".to_owned());
    }
    let since = services.clock.now();
    let ready_at = drill.value.ready_at.or(Some(since));
    let claimed = Drill { ready_at, state: DrillState::Comparing { since }, ..drill.value.clone() };
    let mut drill = services.catalog.update(&drill, claimed).await?;
    if drill.value.snapshot_outcome.is_none() && drill.value.snapshot.is_some() {
        let outcome = test::snapshot(services, plan, &drill.value).await?;
        drill = services.catalog.update(&drill, Drill { snapshot_outcome: Some(outcome), ..drill.value.clone() }).await?;
    }
    while let Some(n) = drill.value.tests.iter().position(|test| test.outcome.is_none()) {
        if invocation.deadline.near() {
            return pause(services, &drill).await;
        }
        let mut begun = drill.value.clone();
        begun.tests[n].attempts += 1;
        drill = services.catalog.update(&drill, begun).await?;
        let Some((outcome, measured)) = test::export(services, plan, &drill.value, n, invocation).await? else {
            return pause(services, &drill).await;
        };
        let mut tested = drill.value.clone();
        (tested.tests[n].outcome, tested.tests[n].measured) = (Some(outcome), measured);
        drill = services.catalog.update(&drill, tested).await?;
    }
    tell(services, plan, &drill.value).await?;
    let outcome = summary(&drill.value);
    begin_teardown(services, &drill, outcome).await
}

/// Leaves the tests that are left to the next invocation.
async fn pause(services: &Services, drill: &Versioned<Drill>) -> Result<String, ErrorReport> {
    let paused = Drill { state: DrillState::Restoring, ..drill.value.clone() };
    services.catalog.update(drill, paused).await?;
    let left = drill.value.tests.iter().filter(|test| test.outcome.is_none()).count();
    Ok(format!("{left} tests left"))
}

/// Tells of tests that could not be made, all of a clone's in one alert, or that there are none any more.
async fn tell(services: &Services, plan: &Plan, drill: &Drill) -> Result<(), ErrorReport> {
    let subject = drill.database.as_deref().map_or_else(|| drill.instance.clone(), |database| subject_of(plan, database));
    let untested: Vec<String> = drill
        .tests
        .iter()
        .filter_map(|test| match &test.outcome {
            Some(Outcome::Untested(why)) => Some(format!("tenant {}: {why}", test.tenant)),
            _ => None,
        })
        .chain(drill.snapshot_outcome.iter().filter(|outcome| outcome.starts_with(test::UNTESTED)).cloned())
        .collect();
    match untested.is_empty() {
        true => services.all_clear(AlertClass::EnvironmentBad, &subject).await,
        false => {
            let message = format!("{} tests could not be made: {}", untested.len(), first_few(&untested));
            raise(services, plan, &subject, &ErrorReport::new(ErrorCode::EnvironmentBad, message)).await
        }
    }
}

/// What came of a drill, in few words.
fn summary(drill: &Drill) -> String {
    let count = |is: fn(&Outcome) -> bool| drill.tests.iter().filter(|test| test.outcome.as_ref().is_some_and(is)).count();
    let snapshot = drill.snapshot_outcome.as_deref().unwrap_or("unknown");
    format!(
        "snapshot {snapshot}; {} proven, {} bad, {} untested, {} void",
        count(|outcome| *outcome == Outcome::Proven),
        count(|outcome| matches!(outcome, Outcome::Bad(_))),
        count(|outcome| matches!(outcome, Outcome::Untested(_))),
        count(|outcome| matches!(outcome, Outcome::Void(_))),
    )
}

/// Ends a drill whose clone cannot be had. RDS may say that it is the snapshot that is bad; otherwise it says nothing about any recovery point.
async fn end(services: &Services, plan: &Plan, drill: &Versioned<Drill>, report: &ErrorReport) -> Result<String, ErrorReport> {
    let told = match test::unusable(services, &drill.value).await {
        Some((snapshot, why)) => services.refute_snapshot(plan, &snapshot, vec![why]).await,
        None => {
            let database = drill.value.database.as_deref();
            let subject = database.map_or_else(|| drill.value.instance.clone(), |database| subject_of(plan, database));
            raise(services, plan, &subject, report).await
        }
    };
    note_tries(services, &drill.value).await;
    // The clone goes even if nobody could be told.
    let outcome = begin_teardown(services, drill, format!("environment bad: {report}")).await?;
    told.map(|()| outcome)
}

/// Remembers that tests were tried. It only decides about turns, so a failure is no more than a line in the log.
async fn note_tries(services: &Services, drill: &Drill) {
    let tried_at = services.clock.now();
    let mut points = Vec::new();
    for test in &drill.tests {
        points.extend(services.catalog.point(&test.tenant, test.point).await.ok());
    }
    points.extend(snapshot_of(services, drill).await.ok().flatten());
    for point in points {
        if let Err(error) = services.catalog.record_checked(&point.value, |checked| checked.tried_at = Some(tried_at)).await {
            tracing::warn!(%error, recovery_point.id = %point.value.id, "that it was tried could not be noted");
        }
    }
}

/// What the alert of an instance's restore tests is about.
pub(crate) fn subject_of(plan: &Plan, database: &str) -> String {
    let instance = plan.database(database).map_or(database, |database| &database.instance);
    format!("restore tests of instance {instance}")
}

/// Tells that restore tests could not be made.
pub(crate) async fn raise(services: &Services, plan: &Plan, subject: &str, report: &ErrorReport) -> Result<(), ErrorReport> {
    let said = Said {
        summary: format!("{subject} could not be carried out: {report}"),
        meaning: "the recovery points concerned are neither proven nor refuted by it".to_owned(),
        remedy: "mend the cause; the next verify slot tries again".to_owned(),
    };
    services.raise(plan, AlertClass::EnvironmentBad, subject, said).await
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
    let subject = drill.value.database.as_deref().unwrap_or(&drill.value.instance);
    services.delete_copy(&drill.value.instance, "verify", "drill.delete", subject).await?;
    let done = Drill { state: DrillState::Done { at: services.clock.now(), outcome: outcome.clone() }, ..drill.value.clone() };
    services.catalog.update(drill, done).await?;
    Ok(outcome.clone())
}

#[cfg(test)]
#[path = "drill/tests.rs"]
mod tests;
