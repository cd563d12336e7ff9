//! Verification: everything in the vault is looked for every day and read again within a week, the end of every tenant's chain is followed,
//! and recovery points are really restored, in isolation.
//!
//! The first two say whether what is stored is authentic and whole, and whether something was taken out. Only the last proves a
//! recovery point. When what is due, `domain::verification` says. Snapshots are not in the vault: that RDS still has them, the function
//! `snapshot` sees, and what is in them only a restore test.

use std::time::Duration;

use catalog::{Versioned, tenants::TenantRecord};
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, TenantId, caps,
    order::from_the_days_start,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    register::Tenant,
};
use jiff::Timestamp;
use runtime::{
    Event, Invocation,
    event::{MalformedEvent, RdsSource},
    services::{Services, first_few},
    trouble::Trouble,
};
use serde::Deserialize;
use serde_json::{Value, json};
use vault::{CheckReport, Share};

use crate::{authentic, chain, drill, environment::Unchecked, rebuild, references, rounds};

/// The rule whose tick begins the day's round and its restore tests.
const DAILY: &str = "verify-daily";
/// The rule whose tick goes on with both.
const FOLLOW: &str = "verify-follow";

/// What an operator or a runbook names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    tenant: TenantId,
    recovery_point: RecoveryPointId,
    /// Which share of the chunks is read, as `n/t`; all of them if left out.
    read_data: Option<String>,
    /// Whether a restore test is begun if nothing is wrong.
    #[serde(default = "Item::by_default_tested")]
    restore_test: bool,
}

impl Item {
    fn by_default_tested() -> bool {
        true
    }

    fn share(&self) -> Result<Share, MalformedEvent> {
        let share = self.read_data.as_deref().map_or(Ok(Share::ALL), str::parse);
        share.map_err(|problem| MalformedEvent::new(format!("item: read_data: {problem}")))
    }
}

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    match event {
        Event::Tick { rule, .. } if rule == FOLLOW => follow(services, invocation).await,
        Event::Tick { rule, scheduled_time } if rule == DAILY => daily(services, scheduled_time, invocation).await,
        Event::Tick { rule, .. } => {
            let message = format!("verify has no rule `{rule}`; its schedules' ticks name `{DAILY}` and `{FOLLOW}`");
            Err(ErrorReport::new(ErrorCode::UnknownRule, message))
        }
        Event::Rds(event) if event.source_type == RdsSource::Instance => {
            drill::follow_one(services, &event.source_identifier, invocation).await
        }
        Event::Item(item) if item.get("rebuild").is_some() => {
            Box::pin(rebuild::rebuild(services, Event::item(item)?, invocation)).await
        }
        Event::Item(item) if item.get("references").is_some() => references::one(services, Event::item(item)?, invocation).await,
        Event::Item(item) => one(services, Event::item(item)?, invocation).await,
        other => Err(other.refused("verify", "a tick, an item or an RDS instance event").into()),
    }
}

/// Begins the restore tests that are due, checks the end of every tenant's chain, reads again what is due of everything that is stored, and
/// reconciles rows with files.
async fn daily(services: &Services, tick: Timestamp, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let (records, tenants) = protected(services).await?;
    let mut trouble = Trouble::default();
    rounds::begin(services, tick).await?;
    // The tests first: their clones take minutes to appear.
    let begun = match drill::begin_due(services, &plan, &tenants, tick, invocation, &mut trouble).await {
        Ok(begun) => begun,
        Err(report) => {
            trouble.note("the day's restore tests", report);
            Vec::new()
        }
    };
    let records = from_the_days_start(records, tick);
    let mut unchecked = Unchecked::default();
    let chains = check_chains(services, &plan, &records, invocation, &mut unchecked, &mut trouble).await;
    if let Err(report) = rebuild::unknown::tell(services, &plan).await {
        trouble.note("the search for chains that the catalog does not know", report);
    }
    // It may take all the time there is; the follower goes on with it then.
    let read = rounds::go_on(services, &plan, &records, &mut unchecked, invocation).await.unwrap_or_else(|report| {
        trouble.note("the round over what is stored", report);
        rounds::Done::default()
    });
    unchecked.tell(services, &plan, read.whole, &mut trouble).await;
    let references = reconcile_references(services, &plan, &records, &read, invocation, &mut trouble).await;
    trouble.into_result()?;
    Ok(json!({
        "checked": read.checked, "bad": read.bad, "chunks_read": read.chunks_read, "paused": read.paused, "chains": chains.followed,
        "chains_broken": chains.broken, "drills": begun, "references": references,
    }))
}

/// Moves restore tests on, begins those that there was no room for, and goes on with the day's round.
async fn follow(services: &Services, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let mut trouble = Trouble::default();
    let followed = drill::follow_all(services, invocation, &mut trouble).await;
    let round = services.catalog.round().await?;
    let now = services.clock.now();
    let mut read = rounds::Done::default();
    if let Some(round) = round.filter(|round| rounds::is_open(&round.value, now) || !round.value.tests_begun) {
        let plan = services.plan().await?;
        let (records, tenants) = protected(services).await?;
        if !round.value.tests_begun
            && let Err(report) = drill::begin_due(services, &plan, &tenants, round.value.tick, invocation, &mut trouble).await
        {
            trouble.note("the restore tests that are left", report);
        }
        let mut unchecked = Unchecked::default();
        if round.value.failed_at.is_some() && rounds::is_open(&round.value, now) {
            // What failed may have been that.
            check_chains(services, &plan, &records, invocation, &mut unchecked, &mut trouble).await;
        }
        match rounds::go_on(services, &plan, &records, &mut unchecked, invocation).await {
            Ok(done) => read = done,
            Err(report) => trouble.note("the round over what is stored", report),
        }
        unchecked.tell(services, &plan, read.whole, &mut trouble).await;
        reconcile_references(services, &plan, &records, &read, invocation, &mut trouble).await;
    }
    trouble.into_result()?;
    Ok(json!({ "drills": followed, "checked": read.checked, "bad": read.bad }))
}

/// Reconciles rows with files once the round is through: what is stored has to be right before it is worth comparing.
async fn reconcile_references(
    services: &Services,
    plan: &Plan,
    records: &[TenantRecord],
    read: &rounds::Done,
    invocation: &Invocation,
    trouble: &mut Trouble,
) -> Option<references::Round> {
    match read.whole {
        true => Some(references::all(services, plan, records, invocation, trouble).await),
        false => None,
    }
}

async fn protected(services: &Services) -> Result<(Vec<TenantRecord>, Vec<Tenant>), ErrorReport> {
    let mut records = services.catalog.tenants().await?;
    records.retain(|record| record.tenant.is_protected());
    let tenants = records.iter().map(|record| record.tenant.clone()).collect();
    Ok((records, tenants))
}

/// What following the chains came to.
#[derive(Default)]
struct Chains {
    followed: usize,
    broken: usize,
}

/// Goes round the tenants until time runs out; tomorrow's round begins elsewhere.
async fn check_chains(
    services: &Services,
    plan: &Plan,
    records: &[TenantRecord],
    invocation: &Invocation,
    unchecked: &mut Unchecked,
    trouble: &mut Trouble,
) -> Chains {
    let (mut chains, mut perhaps_mended) = (Chains::default(), Vec::new());
    for record in records {
        let id = &record.tenant.id;
        if let Err(near) = invocation.deadline.check("the next tenant's chain") {
            trouble.note(&format!("the round, at tenant {id},"), near);
            return chains;
        }
        match chain::check_end(services, plan, record).await {
            Ok(sound) => {
                chains.followed += 1;
                chains.broken += usize::from(!sound);
                perhaps_mended.extend(sound.then_some(record));
            }
            Err(report) => unchecked.note(format!("the chain of tenant {id}"), report),
        }
    }
    // Last, because a chain that was found broken is followed from its start.
    chain::take_back(services, &perhaps_mended, invocation, trouble).await;
    chains
}

/// Checks one recovery point and begins its restore test, unless only the check is wanted.
async fn one(services: &Services, item: Item, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let share = item.share()?;
    let plan = services.plan().await?;
    let tenant = services.tenant(&item.tenant).await?.tenant;
    let point = services.catalog.point(&item.tenant, item.recovery_point).await?;
    if point.value.content().is_none() || point.value.kind == Kind::Snapshot {
        let message = format!(
            "recovery point {} is {}; only an available export can be verified",
            item.recovery_point,
            point.value.state.name()
        );
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    let report = check_in_time(services, &plan, &tenant, &point, share, invocation).await?;
    if !report.is_clean() {
        let findings = first_few(&authentic::lines(&report));
        let (id, tenant) = (item.recovery_point, item.tenant);
        let message = format!(
            "recovery point {id} of tenant {tenant} is damaged: {findings}; restore from another one, and back the tenant up now"
        );
        return Err(ErrorReport::new(ErrorCode::NotAuthentic, message));
    }
    let begun = match point.value.kind {
        Kind::Database if item.restore_test => Some(drill::begin_one(services, &plan, &tenant, &point.value).await?),
        _ => None,
    };
    let read = json!({
        "share": share.to_string(), "streams": report.streams, "rows": report.rows, "chunks": report.chunks,
        "chunks_read": report.chunks_read, "plaintext_bytes": report.plaintext_bytes,
    });
    Ok(json!({ "checked": 1, "bad": 0, "read": read, "drill": begun }))
}

/// A check that says so if one invocation is too short for it. Another would be no longer, so it is no use to try again.
async fn check_in_time(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    point: &Versioned<RecoveryPoint>,
    share: Share,
    invocation: &Invocation,
) -> Result<CheckReport, ErrorReport> {
    let reserve = Duration::from_millis(caps::DEADLINE_RESERVE_MS);
    let budget = invocation.deadline.remaining().saturating_sub(reserve);
    let check = Box::pin(authentic::check(services, plan, tenant, point, share));
    tokio::time::timeout(budget, check).await.unwrap_or_else(|_| {
        let message = format!(
            "share {share} of recovery point {} could not be read within {} s; check it in smaller ones, such as `1/8`, then `2/8` and so on",
            point.value.id,
            budget.as_secs()
        );
        Err(ErrorReport::new(ErrorCode::MalformedEvent, message))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(text: &str) -> Item {
        let Event::Item(item) = Event::parse(serde_json::from_str(text).unwrap()).unwrap() else { panic!("{text} is no item") };
        Event::item(item).unwrap()
    }

    #[test]
    fn an_item_asks_for_everything_unless_it_says_less() {
        let whole = item(include_str!("../../../events/item-verify.json"));
        assert!(whole.restore_test);
        assert_eq!(whole.share().unwrap(), Share::ALL);

        let share = item(include_str!("../../../events/item-verify-read-data.json"));
        assert!(!share.restore_test);
        assert_eq!(share.share().unwrap().to_string(), "1/7");
    }

    #[test]
    fn a_share_that_there_is_not_is_refused_by_what_was_said() {
        for wrong in ["", "0/7", "8/7", "1", "1/", "all", "1/7/7"] {
            let item = Item { read_data: Some(wrong.to_owned()), ..item(include_str!("../../../events/item-verify.json")) };
            let message = item.share().unwrap_err().to_string();
            assert!(message.contains(&format!("`{wrong}`")) && message.contains("1/7"), "{message}");
        }
    }
}
