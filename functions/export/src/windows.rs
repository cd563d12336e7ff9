//! Ticks of rules with an off-peak window: each tenant begins in its own minute, the same one every night.
//!
//! The slot is that of the rule's scheduled time, so spreading changes nothing about which recovery points there are. The rule's own tick
//! begins whoever is first; ticks of [`crate::quiet::FOLLOW`] begin the others, and go on with whoever could not be finished, with those
//! for some time after the window too. Ticks overlap, so each leaves alone what another invocation is at work on.

use std::{collections::BTreeSet, slice};

use domain::{
    ErrorReport,
    alert::AlertClass,
    plan::{Plan, ReadFrom, Rule, RuleKind},
    register::Tenant,
    tenant::Layout,
    turns::{OpenSlot, Turns, open_slot, turns},
};
use jiff::Timestamp;
use runtime::{
    Invocation,
    services::{Said, Services},
    trouble::Trouble,
};
use serde_json::{Value, json};

use crate::{
    clones::{Left, left_to_do},
    handler::{Done, report, run_sets},
    plan_items::{self, Set},
};

/// Serves a rule's own tick, however late it comes.
pub(crate) async fn run(
    services: &Services,
    plan: &Plan,
    rule: &Rule,
    scheduled_time: Timestamp,
    tenants: &[Tenant],
    invocation: &Invocation,
) -> Result<Value, ErrorReport> {
    let open = OpenSlot { slot: scheduled_time, may_begin: true };
    let done = begin(services, plan, rule, open, tenants, invocation).await?;
    report(done.len(), done, false)
}

/// Goes on with every window that is open.
pub(crate) async fn follow(services: &Services, plan: &Plan, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let (zone, now) = (plan.zone()?, services.clock.now());
    let rules = plan.rules.iter().filter(|rule| rule.kind == RuleKind::Export && rule.read_from != ReadFrom::Clone);
    let open: Vec<_> = rules.filter_map(|rule| Some((rule, open_slot(rule, &zone, now)?))).collect();
    if open.is_empty() {
        return Ok(json!({ "items": 0 }));
    }
    let register = services.register(plan).await?;
    let (mut done, mut trouble) = (Vec::new(), Trouble::default());
    for (rule, open) in open {
        match begin(services, plan, rule, open, &register.tenants, invocation).await {
            Ok(more) => done.extend(more),
            // One rule's trouble is its own.
            Err(report) => trouble.note(&format!("the window of rule {}", rule.id), report),
        }
    }
    let told = report(done.len(), done, false);
    trouble.into_result()?;
    told
}

/// Exports whoever's minute has come and who has no recovery point of the slot yet.
async fn begin(
    services: &Services,
    plan: &Plan,
    rule: &Rule,
    OpenSlot { slot, may_begin }: OpenSlot,
    tenants: &[Tenant],
    invocation: &Invocation,
) -> Result<Vec<Done>, ErrorReport> {
    let due = plan_items::due(plan, rule, tenants, slot);
    let turns = turns(rule, due.iter().filter_map(|set| set.first()).map(|item| &item.tenant));
    tell(services, plan, rule, &turns).await?;
    let left = left_to_do(services, &begun(due, &turns, slot, services.clock.now())).await?;
    Ok(run_sets(services, plan, to_run(left, may_begin), invocation).await)
}

/// What may be run of what is left. A pool that another invocation reads is left to it whole: its sweep comes to the others in their turn.
fn to_run(left: Left, may_begin: bool) -> Vec<Set> {
    let pools: BTreeSet<String> = left.at_work.iter().filter_map(|set| pool(set).map(str::to_owned)).collect();
    let mut sets = if may_begin { left.all_due() } else { left.unfinished };
    sets.retain(|set| pool(set).is_none_or(|pool| !pools.contains(pool)));
    sets
}

/// The database whose tables a set's tenant shares with others.
fn pool(set: &Set) -> Option<&str> {
    let tenant = &set.first()?.tenant;
    matches!(tenant.layout, Layout::Pool { .. }).then_some(tenant.database_id.as_str())
}

/// Whether another invocation has begun a window's set since it was found due: its slots are not taken from it.
pub(crate) async fn is_begun_elsewhere(services: &Services, plan: &Plan, set: &Set) -> Result<bool, ErrorReport> {
    let rule = set.first().and_then(|item| plan.rule(&item.rule));
    if rule.is_none_or(|rule| rule.window.is_none()) {
        return Ok(false);
    }
    Ok(left_to_do(services, slice::from_ref(set)).await?.is_at_work())
}

/// The sets whose minute has come.
fn begun(due: Vec<Set>, turns: &Turns, slot: Timestamp, now: Timestamp) -> Vec<Set> {
    let has_begun = |set: &Set| set.first().is_some_and(|item| turns.begins(&item.tenant.id, slot) <= now);
    due.into_iter().filter(has_begun).collect()
}

/// Tells of a window that is too small, or that it no longer is.
async fn tell(services: &Services, plan: &Plan, rule: &Rule, turns: &Turns) -> Result<(), ErrorReport> {
    let subject = format!("window of rule {}", rule.id);
    let Some(too_small) = &turns.too_small else {
        return services.all_clear(AlertClass::RunFailed, &subject).await;
    };
    let said = Said {
        summary: format!("the window of rule {} is too small: {too_small}", rule.id),
        meaning: "everything is exported all the same, with more under way at once than the plan wishes".to_owned(),
        remedy: format!("lengthen `window.minutes` of rule {} in the plan, or raise `at_once`", rule.id),
    };
    services.raise(plan, AlertClass::RunFailed, &subject, said).await
}

#[cfg(test)]
mod tests {
    use domain::{plan::ReadFrom as From, point::Kind, register::Status};

    use super::*;
    use crate::item::Item;

    fn set(tenant: &str, pool: Option<&str>) -> Set {
        let layout = match pool {
            Some(_) => Layout::Pool { database: "app".into(), schema: "app".into(), tenant_column: "tenant_id".into() },
            None => Layout::Silo { database: "app".into() },
        };
        let tenant = Tenant {
            id: tenant.parse().unwrap(),
            database_id: pool.unwrap_or(tenant).into(),
            layout,
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let (rule, scheduled_time) = ("nightly".to_owned(), Timestamp::UNIX_EPOCH);
        vec![Item { tenant, kind: Kind::Database, rule, scheduled_time, full: false, read_from: From::Primary, quiet: None }]
    }

    fn run(left: Left, may_begin: bool) -> Vec<String> {
        to_run(left, may_begin).iter().map(|set| set[0].tenant.id.to_string()).collect()
    }

    #[test]
    fn a_pool_that_another_invocation_reads_is_left_to_it_whole_and_nobody_else_is() {
        let left = || Left {
            due: vec![set("a", Some("pool")), set("b", Some("other")), set("c", None)],
            unfinished: vec![set("d", Some("pool")), set("e", None)],
            at_work: vec![set("f", Some("pool")), set("g", None)],
        };
        assert_eq!(run(left(), true), ["e", "b", "c"]);
        assert_eq!(run(Left { at_work: vec![set("g", None)], ..left() }, true), ["d", "e", "a", "b", "c"]);
    }

    #[test]
    fn after_the_window_only_what_was_begun_is_gone_on_with() {
        let left = Left { due: vec![set("a", None)], unfinished: vec![set("b", None)], at_work: Vec::new() };
        assert_eq!(run(left, false), ["b"]);
    }
}
