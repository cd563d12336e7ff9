//! Exports of tenants: rows and definitions, media metadata, configuration metadata.
//!
//! A tick plans one set per due tenant: an item for each kind, read one after the other around one barrier (`plan_items`). Each item is
//! its own slot with its own recovery point, so a tenant that fails harms no other, and a second delivery finds what the first one made.

use domain::{
    ErrorCode, ErrorReport, TenantId,
    alert::AlertClass,
    caps,
    plan::{Plan, ReadFrom, RuleKind},
    slot::Slot,
};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use runtime::{
    Event, Invocation,
    services::{Said, Services},
};
use serde::Deserialize;
use serde_json::{Value, json};
use sources::postgres::{Standing, Sweep};

use crate::{
    arrange::{Work, arrange},
    before, clones,
    item::{Item, Made},
    plan_items::{self, Set},
    point_in_time, quiet,
    sweeps::run_sweep,
    windows,
};

/// What an operator's run names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ManualRun {
    tenant: TenantId,
    requested_at: Timestamp,
    /// Whether to store everything anew.
    #[serde(default)]
    full: bool,
}

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let (sets, manual) = match event {
        Event::Tick { rule, .. } if rule == quiet::FOLLOW => return follow(services, &plan, invocation).await,
        Event::Tick { rule, scheduled_time } => {
            let rule = plan.rule(&rule).filter(|found| found.kind == RuleKind::Export).ok_or_else(|| {
                let message =
                    format!("the backup plan has no export rule `{rule}`; schedules and rules must have the same names");
                ErrorReport::new(ErrorCode::UnknownRule, message)
            })?;
            let register = services.register(&plan).await?;
            if rule.window.is_some() {
                return Box::pin(windows::run(services, &plan, rule, scheduled_time, &register.tenants, invocation)).await;
            }
            let due = plan_items::due(&plan, rule, &register.tenants, scheduled_time);
            if rule.read_from == ReadFrom::Clone {
                return Box::pin(clones::run(services, &plan, rule, scheduled_time, due, invocation)).await;
            }
            (due, false)
        }
        Event::Item(item) if item.get("point_in_time").is_some() => {
            return Box::pin(point_in_time::make(services, &plan, &Event::item(item)?, invocation)).await;
        }
        Event::Item(item) if item.get("before").is_some() => {
            return Box::pin(before::keep(services, &plan, &Event::item(item)?, invocation)).await;
        }
        Event::Item(item) => {
            let run: ManualRun = Event::item(item)?;
            if run.requested_at.duration_since(services.clock.now()) > SignedDuration::from_secs(caps::AHEAD_AT_MOST_S) {
                let message = format!("requested_at {} lies in the future; check the caller's clock", run.requested_at);
                return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
            }
            let register = services.register(&plan).await?;
            let tenant = register.tenant(&run.tenant).ok_or_else(|| unknown(&run.tenant))?;
            (vec![plan_items::of_tenant(&plan, tenant, Slot::MANUAL, run.requested_at, run.full)], true)
        }
        other => return Err(other.refused("export", "a tick or an item").into()),
    };
    let total = sets.iter().map(Vec::len).sum();
    report(total, run_sets(services, &plan, sets, invocation).await, manual)
}

/// Goes on with clones that are there, and with windows that are open. What one of them fails at does not keep the other from going on.
async fn follow(services: &Services, plan: &Plan, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let clones = Box::pin(clones::follow(services, plan, invocation)).await;
    let windows = Box::pin(windows::follow(services, plan, invocation)).await;
    let mut followed = clones?;
    followed["windows"] = windows?;
    Ok(followed)
}

/// Runs sets, pooled ones in sweeps, a few at once.
pub(crate) async fn run_sets(services: &Services, plan: &Plan, sets: Vec<Set>, invocation: &Invocation) -> Vec<Done> {
    let done: Vec<Vec<Done>> = futures::stream::iter(arrange(&services.catalog, sets).await)
        .map(|work| run_work(services, plan, work, invocation))
        .buffer_unordered(caps::EXPORTS_AT_ONCE)
        .collect()
        .await;
    done.concat()
}

async fn run_work(services: &Services, plan: &Plan, work: Work, invocation: &Invocation) -> Vec<Done> {
    match work {
        Work::Set(set) => run_set(services, plan, set, invocation).await,
        Work::Sweep(sets) => Box::pin(run_sweep(services, plan, sets, invocation)).await,
    }
}

/// An item and what came of it.
pub(crate) type Done = (Item, Result<Made, ErrorReport>);

/// Runs a tenant's items in their order. One that fails does not keep the next from being made: each is a recovery point of its own.
pub(crate) async fn run_set(services: &Services, plan: &Plan, set: Set, invocation: &Invocation) -> Vec<Done> {
    let set = match to_begin(services, plan, set).await {
        Ok(set) => set,
        Err(done) => return done,
    };
    let mut done = Vec::new();
    for item in set {
        done.push(run_item(services, plan, item, None, invocation).await);
    }
    done
}

/// The set, if it may be begun now that its turn has come; otherwise what there is to tell of it: nothing, if another invocation tells it.
pub(crate) async fn to_begin(services: &Services, plan: &Plan, set: Set) -> Result<Set, Vec<Done>> {
    match windows::is_begun_elsewhere(services, plan, &set).await {
        Ok(false) => Ok(set),
        Ok(true) => {
            tracing::info!(set = set.first().map(ToString::to_string), "another invocation is at work on it");
            Err(Vec::new())
        }
        Err(report) => Err(set.into_iter().map(|item| (item, Err(report.clone()))).collect()),
    }
}

/// Runs an item: from a sweep that has come to its tenant, or by itself.
pub(crate) async fn run_item(
    services: &Services,
    plan: &Plan,
    item: Item,
    mut sweep: Option<&mut Sweep<'_>>,
    invocation: &Invocation,
) -> Done {
    let mut result = attempt(services, plan, &item, sweep.as_deref_mut(), invocation).await;
    if let Err(report) = &result
        && sweep.is_some_and(|sweep| sweep.standing() == Standing::Broken)
    {
        // A statement of the sweep failed, which need not be this tenant's fault.
        tracing::warn!(error.code = report.code.name(), "the {item} is tried by itself: {}", report.message);
        result = attempt(services, plan, &item, None, invocation).await;
    }
    // Told one by one: an invocation that is cut off has told of what it finished.
    if let Err(untold) = tell(services, plan, &item, &result).await {
        tracing::error!(error.code = untold.code.name(), "the outcome of the {item} could not be told: {}", untold.message);
    }
    (item, result)
}

async fn attempt(
    services: &Services,
    plan: &Plan,
    item: &Item,
    sweep: Option<&mut Sweep<'_>>,
    invocation: &Invocation,
) -> Result<Made, ErrorReport> {
    invocation.deadline.check(&format!("the {item}"))?;
    Box::pin(item.run(services, plan, &invocation.deadline, sweep)).await
}

/// Tells the subscribers of an item that failed, or that one is well again.
async fn tell(services: &Services, plan: &Plan, item: &Item, result: &Result<Made, ErrorReport>) -> Result<(), ErrorReport> {
    match result {
        Ok(_) => services.all_clear(AlertClass::RunFailed, &item.to_string()).await,
        // Another run has the slot, or the next invocation does: nothing is wrong yet.
        Err(report) if matches!(report.code, ErrorCode::Fenced | ErrorCode::DeadlineNear) => Ok(()),
        Err(report) => {
            let said = Said {
                summary: format!("the {item} failed: {report}"),
                meaning: format!(
                    "tenant {} has no recovery point of {}; older ones still serve",
                    item.tenant.id, item.scheduled_time
                ),
                remedy: format!("mend the cause, then `holdfast run --tenant {}`", item.tenant.id),
            };
            services.raise(plan, AlertClass::RunFailed, &item.to_string(), said).await
        }
    }
}

/// Tells the caller what was made, and what a retry could still mend.
pub(crate) fn report(total: usize, results: Vec<Done>, manual: bool) -> Result<Value, ErrorReport> {
    let mut made = Vec::new();
    let mut already = 0;
    let mut failed: Vec<(Item, ErrorReport)> = Vec::new();
    for (item, result) in results {
        match result {
            Ok(Made::New(point)) => made.push(point.to_string()),
            Ok(Made::Already) => already += 1,
            Err(report) => failed.push((item, report)),
        }
    }
    tracing::info!(items = total, made = made.len(), already, failed = failed.len(), "exports done");
    // A retry of the tick finds the finished slots taken and works on the rest only.
    let retryable = |report: &ErrorReport| {
        use domain::Class::{Conflict, Throttled, Transient};
        matches!(report.code.class(), Transient | Throttled | Conflict)
    };
    if let Some((item, first)) = failed.iter().find(|(_, report)| manual || retryable(report)) {
        let message = format!("{} of {total} exports are not done; the first, the {item}: {}", failed.len(), first.message);
        return Err(ErrorReport::new(first.code, message));
    }
    let failures: Vec<Value> = failed
        .iter()
        .map(|(item, report)| json!({ "item": item.to_string(), "code": report.code.name(), "message": report.message }))
        .collect();
    Ok(json!({ "items": total, "made": made, "already": already, "failed": failures }))
}

fn unknown(tenant: &TenantId) -> ErrorReport {
    ErrorReport::new(ErrorCode::UnknownTenant, format!("tenant {tenant} is not in the tenant register; see `holdfast tenants`"))
}
