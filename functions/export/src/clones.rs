//! Ticks of rules that read clones: a clone of each instance is made, read when it is there, and deleted when nothing is left to read.

use std::collections::BTreeMap;

use aws::Instance;
use domain::{
    Class, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::{Plan, Rule},
    point::State,
};
use jiff::{SignedDuration, Timestamp};
use runtime::{
    Invocation,
    copies::VAULT_TAG,
    services::{Said, Services, known_database},
};
use serde_json::Value;

use crate::{
    handler::{Done, report, run_sets},
    item::Item,
    plan_items::{self, Set},
    quiet::{PREFIX, Progress, Purpose, delete},
};

/// How far an item has come, as its slot tells.
enum Standing {
    /// Nobody works on it.
    Due,
    /// A run that has not ended, in another invocation.
    AtWork,
    /// It has its recovery point, or only a person can do something about it.
    Settled,
}

/// What came of a clone's turn.
#[derive(Default)]
struct Turn {
    done: Vec<Done>,
    /// The clone that is not there yet.
    waits_for: Option<String>,
}

/// Serves a tick: begins a clone of each instance that due tenants live on, and reads those that are there already.
pub(crate) async fn run(
    services: &Services,
    plan: &Plan,
    rule: &Rule,
    scheduled_time: Timestamp,
    sets: Vec<Set>,
    invocation: &Invocation,
) -> Result<Value, ErrorReport> {
    let mut turns = Vec::new();
    for (database, sets) in by_instance(plan, sets)? {
        let purpose = Purpose { rule, scheduled_time, database: known_database(plan, &database)? };
        turns.push(take_turn(services, plan, &purpose, sets, None, invocation).await?);
    }
    tell(turns)
}

/// Goes on with every clone there is.
pub(crate) async fn follow(services: &Services, plan: &Plan, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let mut turns = Vec::new();
    let clones = services.clients.instances().list(PREFIX).await?;
    let clones: Vec<&Instance> = clones.iter().filter(|clone| clone.status != "deleting").collect();
    if clones.is_empty() {
        return tell(turns);
    }
    let register = services.register(plan).await?;
    for clone in clones {
        invocation.deadline.check(&format!("clone {}", clone.name))?;
        let Some(purpose) = Purpose::of(&clone.name, plan, services.config.vault_id.as_str()) else {
            // No rule wants it any more. By its tag it is ours, or it is not.
            if clone.tags.get(VAULT_TAG).is_some_and(|vault| vault == services.config.vault_id.as_str()) {
                delete(services, &clone.name, "unwanted clone").await?;
            }
            continue;
        };
        let sets = plan_items::due(plan, purpose.rule, &register.tenants, purpose.scheduled_time);
        let sets = by_instance(plan, sets)?.remove(&purpose.database.id).unwrap_or_default();
        turns.push(take_turn(services, plan, &purpose, sets, Some(clone), invocation).await?);
    }
    tell(turns)
}

/// The sets by the database that stands for their instance.
fn by_instance(plan: &Plan, sets: Vec<Set>) -> Result<BTreeMap<String, Vec<Set>>, ErrorReport> {
    let mut found: BTreeMap<String, Vec<Set>> = BTreeMap::new();
    for set in sets {
        let Some(item) = set.first() else { continue };
        let database = known_database(plan, &item.tenant.database_id)?;
        let stands = plan.snapshot_subject_of(&database.id).unwrap_or(&database.id).to_owned();
        found.entry(stands).or_default().push(set);
    }
    Ok(found)
}

async fn take_turn(
    services: &Services,
    plan: &Plan,
    purpose: &Purpose<'_>,
    sets: Vec<Set>,
    found: Option<&Instance>,
    invocation: &Invocation,
) -> Result<Turn, ErrorReport> {
    let (due, at_work) = left_to_do(services, sets).await?;
    if due.is_empty() || purpose.is_over(services.clock.now()) {
        if let Some(clone) = found.filter(|_| !at_work) {
            delete(services, &clone.name, &purpose.database.id).await?;
        }
        return Ok(Turn::default());
    }
    let progress = match found {
        Some(clone) => purpose.progress(services, clone).await,
        None => purpose.find_or_begin(services).await,
    };
    let quiet = match tell_of(services, plan, purpose, progress).await? {
        Progress::Coming(name) => return Ok(Turn { waits_for: Some(name), ..Turn::default() }),
        Progress::Ready(quiet) => quiet,
    };
    let on_clone = |set: Set| set.into_iter().map(|item| Item { quiet: Some(quiet.clone()), ..item }).collect();
    let items: Vec<Set> = due.into_iter().map(on_clone).collect();
    let done = run_sets(services, plan, items.clone(), invocation).await;
    let (left, at_work_now) = left_to_do(services, items).await?;
    if left.is_empty() && !at_work && !at_work_now {
        delete(services, &quiet.instance, &purpose.database.id).await?;
    }
    Ok(Turn { done, waits_for: None })
}

/// The sets in which something is due, and whether another invocation is at work on any.
async fn left_to_do(services: &Services, sets: Vec<Set>) -> Result<(Vec<Set>, bool), ErrorReport> {
    let (mut due, mut at_work) = (Vec::new(), false);
    for set in sets {
        let (mut is_due, mut is_at_work) = (false, false);
        for item in &set {
            match standing(services, item).await? {
                Standing::Due => is_due = true,
                Standing::AtWork => is_at_work = true,
                Standing::Settled => {}
            }
        }
        at_work |= is_at_work;
        // What is at work in another invocation goes through its set in order.
        if is_due && !is_at_work {
            due.push(set);
        }
    }
    Ok((due, at_work))
}

async fn standing(services: &Services, item: &Item) -> Result<Standing, ErrorReport> {
    let Some(point) = services.catalog.slot(&item.slot()).await? else { return Ok(Standing::Due) };
    Ok(match &point.value.state {
        State::Available { .. } | State::Expired { .. } => Standing::Settled,
        State::Failed { code, .. } if is_final(code) => Standing::Settled,
        State::Failed { .. } => Standing::Due,
        State::Running => {
            let age = services.clock.now().duration_since(point.value.started_at);
            let is_fresh = age < SignedDuration::from_secs(caps::COMPARE_AT_MOST_S);
            if is_fresh { Standing::AtWork } else { Standing::Due }
        }
    })
}

/// Whether the same run would fail again until a person changes something.
fn is_final(code: &str) -> bool {
    let known = ErrorCode::ALL.iter().find(|known| known.name() == code);
    known.is_some_and(|code| !matches!(code.class(), Class::Transient | Class::Throttled | Class::Conflict))
}

/// Tells the subscribers of a clone that cannot be had.
async fn tell_of(
    services: &Services,
    plan: &Plan,
    purpose: &Purpose<'_>,
    progress: Result<Progress, ErrorReport>,
) -> Result<Progress, ErrorReport> {
    let subject = format!("clone of instance {} for rule {}", purpose.database.instance, purpose.rule.id);
    match &progress {
        Ok(_) => services.all_clear(AlertClass::EnvironmentBad, &subject).await?,
        Err(report) => {
            let said = Said {
                summary: format!("rule {} cannot read its clone: {report}", purpose.rule.id),
                meaning: "the tenants of this rule on that instance get no recovery points meanwhile; older ones still serve"
                    .to_owned(),
                remedy: "mend the cause, or let the rule read from the primary; the next tick tries again".to_owned(),
            };
            services.raise(plan, AlertClass::EnvironmentBad, &subject, said).await?;
        }
    }
    progress
}

fn tell(turns: Vec<Turn>) -> Result<Value, ErrorReport> {
    let (mut done, mut waiting) = (Vec::new(), Vec::new());
    for turn in turns {
        done.extend(turn.done);
        waiting.extend(turn.waits_for);
    }
    let mut told = report(done.len(), done, false)?;
    told["waiting_for"] = serde_json::json!(waiting);
    Ok(told)
}
