//! Ticks of rules that read clones: a clone of each instance is made, read when it is there, and deleted when nothing is left to read.

use std::collections::BTreeMap;

use aws::Instance;
use domain::{
    Class, ErrorCode, ErrorReport,
    alert::AlertClass,
    caps,
    plan::{Plan, Rule},
    point::{RecoveryPoint, State},
    register::Tenant,
};
use futures::{StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use runtime::{
    Invocation,
    copies::VAULT_TAG,
    services::{Said, Services, known_database},
    trouble::Trouble,
};
use serde_json::{Value, json};

use crate::{
    handler::{Done, report, run_sets},
    item::Item,
    plan_items::{self, Set},
    point_in_time,
    quiet::{PREFIX, Progress, Purpose, Quiet, delete},
};

/// How far an item has come, as its slot tells.
#[derive(Debug, PartialEq)]
enum Standing {
    /// Nobody has begun it.
    Due,
    /// A run began it and has ended without its recovery point.
    Unfinished,
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
    let (mut turns, mut trouble) = (Vec::new(), Trouble::default());
    for (database, sets) in by_instance(plan, sets)? {
        invocation.deadline.check(&format!("the clone of database {database}"))?;
        let purpose = Purpose { rule, scheduled_time, database: known_database(plan, &database)? };
        // One instance's trouble is its own: the others' clones are begun all the same.
        match take_turn(services, plan, &purpose, sets, None, invocation).await {
            Ok(turn) => turns.push(turn),
            Err(report) => trouble.note(&format!("the clone of instance {}", purpose.database.instance), report),
        }
    }
    tell(turns, trouble)
}

/// Goes on with every clone there is.
pub(crate) async fn follow(services: &Services, plan: &Plan, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let (mut turns, mut trouble) = (Vec::new(), Trouble::default());
    let clones = services.clients.instances().list(PREFIX).await?;
    let clones: Vec<&Instance> = clones.iter().filter(|clone| clone.status != "deleting").collect();
    if clones.is_empty() {
        return tell(turns, trouble);
    }
    let register = services.register(plan).await?;
    for clone in clones {
        invocation.deadline.check(&format!("clone {}", clone.name))?;
        match follow_one(services, plan, &register.tenants, clone, invocation).await {
            Ok(turn) => turns.push(turn),
            Err(report) => trouble.note(&format!("clone {}", clone.name), report),
        }
    }
    tell(turns, trouble)
}

async fn follow_one(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
    clone: &Instance,
    invocation: &Invocation,
) -> Result<Turn, ErrorReport> {
    if point_in_time::is_one(clone) {
        point_in_time::follow(services, clone).await?;
        return Ok(Turn::default());
    }
    let Some(purpose) = Purpose::of(&clone.name, plan, services.config.vault_id.as_str()) else {
        // No rule wants it any more. By its tag it is ours, or it is not; by its age nobody reads it any more.
        let is_ours = clone.tags.get(VAULT_TAG).is_some_and(|vault| vault == services.config.vault_id.as_str());
        let age = clone.created_at.map(|created| services.clock.now().duration_since(created));
        if is_ours && age.is_some_and(|age| age > SignedDuration::from_secs(caps::UNRECORDED_CLONE_AT_MOST_S)) {
            delete(services, &clone.name, "unwanted clone").await?;
        }
        return Ok(Turn::default());
    };
    let sets = plan_items::due(plan, purpose.rule, tenants, purpose.scheduled_time);
    let sets = by_instance(plan, sets)?.remove(&purpose.database.id).unwrap_or_default();
    take_turn(services, plan, &purpose, sets, Some(clone), invocation).await
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
    let progress = match found {
        Some(clone) if purpose.is_over(services.clock.now()) => return give_up(services, plan, purpose, sets, clone).await,
        Some(clone) => purpose.progress(services, plan, clone).await,
        // A tick that comes again when everything is done makes no clone.
        None if !left_to_do(services, &sets).await?.is_due() => return Ok(Turn::default()),
        None => purpose.find_or_begin(services, plan).await,
    };
    if let Err(report) = &progress {
        raise(services, plan, purpose, report).await?;
    }
    let quiet = match progress? {
        Progress::Coming(name) => return Ok(Turn { waits_for: Some(name), ..Turn::default() }),
        Progress::Ready(quiet) => quiet,
    };
    services.all_clear(AlertClass::EnvironmentBad, &alert_subject(purpose)).await?;
    let sets = on_clone(sets, &quiet);
    let left = left_to_do(services, &sets).await?;
    // Two invocations would take slots from one another, and the one that ends first would delete what the other reads.
    if left.is_at_work() {
        return Ok(Turn { waits_for: Some(quiet.instance), ..Turn::default() });
    }
    let done = match left.is_due() {
        true => run_sets(services, plan, left.all_due(), invocation).await,
        false => Vec::new(),
    };
    let left = left_to_do(services, &sets).await?;
    if !left.is_due() && !left.is_at_work() {
        delete(services, &quiet.instance, &purpose.database.id).await?;
    }
    Ok(Turn { done, waits_for: None })
}

/// The sets as they are read from a clone. Who signed up after its snapshot is not in it: the next slot is theirs.
fn on_clone(sets: Vec<Set>, quiet: &Quiet) -> Vec<Set> {
    let is_in_it = |set: &Set| set.iter().all(|item| item.tenant.created_at <= quiet.as_of);
    let read = |set: Set| set.into_iter().map(|item| Item { quiet: Some(quiet.clone()), ..item }).collect();
    sets.into_iter().filter(is_in_it).map(read).collect()
}

/// Deletes a clone whose time is over, and tells of what it leaves undone.
async fn give_up(
    services: &Services,
    plan: &Plan,
    purpose: &Purpose<'_>,
    sets: Vec<Set>,
    clone: &Instance,
) -> Result<Turn, ErrorReport> {
    let left = left_to_do(services, &sets).await?;
    if left.is_at_work() {
        return Ok(Turn { waits_for: Some(clone.name.clone()), ..Turn::default() });
    }
    if left.is_due() {
        let hours = caps::DRILL_AT_MOST_S / 3600;
        let message = format!("{} tenants were not read from clone {} within {hours} hours", left.all_due().len(), clone.name);
        raise(services, plan, purpose, &ErrorReport::new(ErrorCode::EnvironmentBad, message)).await?;
    }
    delete(services, &clone.name, &purpose.database.id).await?;
    Ok(Turn::default())
}

/// What is left of some sets.
#[derive(Default)]
pub(crate) struct Left {
    /// Those that nobody has begun.
    pub(crate) due: Vec<Set>,
    /// Those that were begun, in which something is due and nobody is at work.
    pub(crate) unfinished: Vec<Set>,
    /// Those that another invocation is at work on.
    pub(crate) at_work: Vec<Set>,
}

impl Left {
    fn is_due(&self) -> bool {
        !self.due.is_empty() || !self.unfinished.is_empty()
    }

    pub(crate) fn is_at_work(&self) -> bool {
        !self.at_work.is_empty()
    }

    fn sort(&mut self, set: &Set, standings: &[Standing]) {
        let of = |standing| standings.contains(&standing);
        if of(Standing::AtWork) {
            self.at_work.push(set.clone());
        } else if of(Standing::Due) || of(Standing::Unfinished) {
            let is_begun = standings.iter().any(|standing| *standing != Standing::Due);
            if is_begun { &mut self.unfinished } else { &mut self.due }.push(set.clone());
        }
    }

    /// Whatever is due: first what was begun.
    pub(crate) fn all_due(self) -> Vec<Set> {
        let mut all = self.unfinished;
        all.extend(self.due);
        all
    }
}

/// Looks up what is left to do of some sets, as their slots tell.
pub(crate) async fn left_to_do(services: &Services, sets: &[Set]) -> Result<Left, ErrorReport> {
    let looked_up = futures::stream::iter(sets).map(|set| async move {
        let mut standings = Vec::new();
        for item in set {
            standings.push(standing(services, item).await?);
        }
        Ok::<_, ErrorReport>((set, standings))
    });
    let looked_up: Vec<(&Set, Vec<Standing>)> = looked_up.buffered(caps::LOOKED_AT_ONCE).try_collect().await?;
    let mut left = Left::default();
    for (set, standings) in looked_up {
        left.sort(set, &standings);
    }
    Ok(left)
}

async fn standing(services: &Services, item: &Item) -> Result<Standing, ErrorReport> {
    let point = services.catalog.slot(&item.slot()).await?;
    Ok(point.map_or(Standing::Due, |point| standing_of(&point.value, services.clock.now())))
}

fn standing_of(point: &RecoveryPoint, now: Timestamp) -> Standing {
    match &point.state {
        State::Available { .. } | State::Expired { .. } | State::Swept { .. } => Standing::Settled,
        State::Failed { code, .. } if is_final(code) => Standing::Settled,
        State::Failed { .. } => Standing::Unfinished,
        State::Running => {
            let is_fresh = now.duration_since(point.started_at) < SignedDuration::from_secs(caps::COMPARE_AT_MOST_S);
            if is_fresh { Standing::AtWork } else { Standing::Unfinished }
        }
    }
}

/// Whether the same run would fail again until a person changes something.
fn is_final(code: &str) -> bool {
    let known = ErrorCode::ALL.iter().find(|known| known.name() == code);
    known.is_some_and(|code| !matches!(code.class(), Class::Transient | Class::Throttled | Class::Conflict))
}

fn alert_subject(purpose: &Purpose<'_>) -> String {
    format!("clone of instance {} for rule {}", purpose.database.instance, purpose.rule.id)
}

/// Tells the subscribers of a clone that cannot be had.
async fn raise(services: &Services, plan: &Plan, purpose: &Purpose<'_>, report: &ErrorReport) -> Result<(), ErrorReport> {
    let said = Said {
        summary: format!("rule {} cannot read its clone: {report}", purpose.rule.id),
        meaning: "the tenants of this rule on that instance get no recovery points meanwhile; older ones still serve".to_owned(),
        remedy: "mend the cause, or let the rule read from the primary; the rule's next tick tries again".to_owned(),
    };
    services.raise(plan, AlertClass::EnvironmentBad, &alert_subject(purpose), said).await
}

fn tell(turns: Vec<Turn>, trouble: Trouble) -> Result<Value, ErrorReport> {
    let (mut done, mut waiting) = (Vec::new(), Vec::new());
    for turn in turns {
        done.extend(turn.done);
        waiting.extend(turn.waits_for);
    }
    let told = report(done.len(), done, false);
    trouble.into_result()?;
    let mut told = told?;
    told["waiting_for"] = json!(waiting);
    Ok(told)
}

#[cfg(test)]
mod tests {
    use domain::{plan::ReadFrom, point::Kind, register::Status, tenant::Layout};

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn item(tenant: &str, created_at: &str) -> Item {
        let tenant = Tenant {
            id: tenant.parse().unwrap(),
            database_id: "pool".into(),
            layout: Layout::Database { database: tenant.into() },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: at(created_at),
        };
        let (rule, read_from) = ("nightly".to_owned(), ReadFrom::Clone);
        Item { tenant, kind: Kind::Database, rule, scheduled_time: at("03:15:00"), full: false, read_from, quiet: None }
    }

    #[test]
    fn a_slot_that_another_run_holds_is_left_to_it_until_no_run_can_last_that_long() {
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let running = RecoveryPoint::begin(&item("a", "00:00:00").slot(), run, at("03:20:00"));
        assert_eq!(standing_of(&running, at("03:35:59")), Standing::AtWork);
        assert_eq!(standing_of(&running, at("03:36:00")), Standing::Unfinished);
        for (code, expected) in [
            (ErrorCode::SourceRefused, Standing::Settled),
            (ErrorCode::SourceUnreachable, Standing::Unfinished),
            (ErrorCode::DeadlineNear, Standing::Unfinished),
            (ErrorCode::EnvironmentBad, Standing::Unfinished),
        ] {
            let failed = running.clone().fail(&ErrorReport::new(code, "m"), at("03:21:00")).unwrap();
            assert_eq!(standing_of(&failed, at("03:21:01")), expected, "{code}");
        }
    }

    #[test]
    fn a_set_is_begun_once_one_of_its_slots_is_and_whoever_is_at_work_on_one_has_them_all() {
        use Standing::{AtWork, Due, Settled, Unfinished};
        let sorted = |standings: &[Standing]| {
            let mut left = Left::default();
            left.sort(&vec![item("a", "00:00:00")], standings);
            [left.due.len(), left.unfinished.len(), left.at_work.len()]
        };
        assert_eq!(sorted(&[Due, Due]), [1, 0, 0]);
        for begun in [[Settled, Due], [Unfinished, Due], [Settled, Unfinished]] {
            assert_eq!(sorted(&begun), [0, 1, 0], "{begun:?}");
        }
        assert_eq!(sorted(&[Settled, AtWork]), [0, 0, 1]);
        assert_eq!(sorted(&[Unfinished, AtWork]), [0, 0, 1]);
        assert_eq!(sorted(&[Settled, Settled]), [0, 0, 0]);
    }

    #[test]
    fn who_signed_up_after_the_snapshot_is_not_read_from_its_clone() {
        let quiet = Quiet { instance: "holdfast-export-x".into(), as_of: at("01:15:00") };
        let sets = vec![vec![item("old", "01:15:00")], vec![item("new", "01:15:01")]];
        let read = on_clone(sets, &quiet);
        let read: Vec<_> = read.iter().flatten().map(|item| (item.tenant.id.as_str(), item.quiet.as_ref())).collect();
        assert_eq!(read, [("old", Some(&quiet))]);
    }
}
