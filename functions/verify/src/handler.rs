//! Verification: every stored byte of the newest recovery points is read again, the end of every tenant's chain is followed, and one
//! tenant is really restored, in isolation.
//!
//! The first two say whether what is stored is authentic and whole, and whether something was taken out. Only the last proves a
//! recovery point.

use std::time::Duration;

use catalog::{Versioned, tenants::TenantRecord};
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, TenantId, caps,
    order::from_the_days_start,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    register::Tenant,
    slot::Subject,
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

use crate::{authentic, chain, drill, references};

/// The rule whose tick checks everything and begins a restore test.
const DAILY: &str = "verify-daily";
/// The rule whose tick only follows restore tests under way.
const FOLLOW: &str = "verify-follow";

/// What is read again of every tenant.
const CHECKED: [Kind; 3] = [Kind::Database, Kind::Media, Kind::Configuration];

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
        Event::Tick { rule, .. } if rule == FOLLOW => drill::follow_all(services, invocation).await,
        Event::Tick { rule, scheduled_time } if rule == DAILY => daily(services, scheduled_time, invocation).await,
        Event::Tick { rule, .. } => {
            let message = format!("verify has no rule `{rule}`; its schedules' ticks name `{DAILY}` and `{FOLLOW}`");
            Err(ErrorReport::new(ErrorCode::UnknownRule, message))
        }
        Event::Rds(event) if event.source_type == RdsSource::Instance => {
            drill::follow_one(services, &event.source_identifier).await
        }
        Event::Item(item) if item.get("references").is_some() => references::one(services, Event::item(item)?, invocation).await,
        Event::Item(item) => one(services, Event::item(item)?, invocation).await,
        other => Err(other.refused("verify", "a tick, an item or an RDS instance event").into()),
    }
}

/// Begins the restore test that is most due, checks the newest recovery points of every tenant and the end of its chain, then reconciles
/// rows with files.
async fn daily(services: &Services, tick: Timestamp, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let mut records = services.catalog.tenants().await?;
    records.retain(|record| record.tenant.is_protected());
    let tenants: Vec<Tenant> = records.iter().map(|record| record.tenant.clone()).collect();
    let mut trouble = Trouble::default();
    // The test first: a round that runs out of time would never come to it.
    let begun = match drill::begin_due(services, &plan, &tenants, tick).await {
        Ok(begun) => begun,
        Err(report) => {
            trouble.note("the day's restore test", report);
            None
        }
    };
    let mut round = Round::default();
    let records = from_the_days_start(records, tick);
    check_all(services, &plan, &records, invocation, &mut round, &mut trouble).await;
    // Last: what is stored has to be right before it is worth comparing.
    let references = references::all(services, &plan, &records, invocation, &mut trouble).await;
    trouble.into_result()?;
    Ok(json!({
        "checked": round.checked, "bad": round.bad, "chains": round.chains, "chains_broken": round.chains_broken, "drill": begun,
        "references": references,
    }))
}

/// What a round has found.
#[derive(Default)]
struct Round {
    checked: usize,
    bad: usize,
    chains: usize,
    chains_broken: usize,
}

/// Goes round the tenants until time runs out; tomorrow's round begins elsewhere.
async fn check_all(
    services: &Services,
    plan: &Plan,
    records: &[TenantRecord],
    invocation: &Invocation,
    round: &mut Round,
    trouble: &mut Trouble,
) {
    let mut perhaps_mended = Vec::new();
    for record in records {
        let id = &record.tenant.id;
        for kind in CHECKED {
            if let Err(near) = invocation.deadline.check("the next recovery point's check") {
                return trouble.note(&format!("the round, at tenant {id},"), near);
            }
            if let Err(report) = check_newest(services, plan, &record.tenant, kind, round).await {
                trouble.note(&format!("the check of the newest {} of tenant {id}", kind.name()), report);
            }
        }
        match chain::check_end(services, plan, record).await {
            Ok(sound) => {
                round.chains += 1;
                round.chains_broken += usize::from(!sound);
                perhaps_mended.extend(sound.then_some(record));
            }
            Err(report) => trouble.note(&format!("the check of the chain of tenant {id}"), report),
        }
    }
    // Last, because a chain that was found broken is followed from its start.
    chain::take_back(services, &perhaps_mended, invocation, trouble).await;
}

async fn check_newest(
    services: &Services,
    plan: &Plan,
    tenant: &Tenant,
    kind: Kind,
    round: &mut Round,
) -> Result<(), ErrorReport> {
    if let Some(point) = services.catalog.newest_available(&Subject::Tenant(tenant.id.clone()), kind).await? {
        let report = authentic::check(services, plan, tenant, &point, Share::ALL).await?;
        round.checked += 1;
        round.bad += usize::from(!report.is_clean());
    }
    Ok(())
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
        Kind::Database if item.restore_test => Some(drill::begin(services, &plan, &tenant, &point.value, None).await?),
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
