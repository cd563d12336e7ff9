//! What a recovery is made of: a pure choice from what there is.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    PlannedInstance, PlannedTenant, Source,
    plan::{FromInstant, FromSnapshot, MadeFrom},
};
use crate::{
    caps::{RECOVERY_POOLED_RANGE_MAX, RECOVERY_RANGES_MAX},
    id::{RecoveryId, RecoveryPointId},
    plan::{PLATFORM_CLASS, Plan},
    point::{Content, Proof, RecoveryPoint},
    register::Tenant,
    slot::Slot,
    tenant::Layout,
};

/// A snapshot that RDS has.
#[derive(Debug, Clone)]
pub struct Taken {
    /// Its recovery point.
    pub point: RecoveryPoint,
    /// The instant whose data it holds.
    pub as_of: Timestamp,
}

/// Settings of an instance that somebody recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The recovery point whose record has them.
    pub point: RecoveryPointId,
    /// The time of its slot: they were read once its snapshot was stored, which is minutes later, or an hour.
    pub at: Timestamp,
}

/// Whether RDS can restore an instance to the instant that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restorable {
    /// It can, or will be able to once it has the log of then.
    Yes {
        /// RDS's immutable id of the instance whose backups these are.
        resource_id: String,
        /// What it waits for, if it cannot yet.
        waits_for: Option<String>,
    },
    /// It cannot.
    No {
        /// Why.
        why: String,
    },
}

/// A tenant that the register listed when it was last read, with its exports.
#[derive(Debug, Clone)]
pub struct Known {
    /// The tenant.
    pub tenant: Tenant,
    /// Its recovery points of its database.
    pub exports: Vec<RecoveryPoint>,
}

/// What there is to recover from.
pub struct World<'a> {
    /// The backup plan.
    pub plan: &'a Plan,
    /// The recovery.
    pub recovery: RecoveryId,
    /// The instant that nothing may be newer than.
    pub to: Option<Timestamp>,
    /// By the database that stands for an instance: its snapshots.
    pub snapshots: BTreeMap<String, Vec<Taken>>,
    /// By the same, its recorded settings.
    pub settings: BTreeMap<String, Vec<Recorded>>,
    /// By the same, whether RDS can restore it to that instant; empty if nobody asked for that.
    pub restorable: BTreeMap<String, Restorable>,
    /// The protected tenants, the platform's own databases included.
    pub tenants: Vec<Known>,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Chosen {
    /// The instances.
    pub instances: Vec<PlannedInstance>,
    /// The tenants, in order of priority.
    pub tenants: Vec<PlannedTenant>,
    /// What people should know before they agree.
    pub notes: Vec<String>,
}

/// Chooses the newest of everything at or before the instant that was asked for: an instance of that very instant where RDS can make it,
/// and was asked to, its newest snapshot otherwise; for each tenant an export, if there is one that is newer than its instance. Nothing that
/// may come back is newer than an instance of the very instant, so its tenants stand as it has them.
///
/// Older data is never preferred because it was proven: what is lost then is certain, and what proof guards against is not. What was never
/// proven is noted, with the newest that was.
#[must_use]
pub fn choose(world: World<'_>) -> Chosen {
    let World { plan, recovery, to, snapshots, settings, restorable, tenants } = world;
    let until = to.unwrap_or(Timestamp::MAX);
    let mut notes = Vec::new();
    let mut instances = Vec::new();
    let mut made_from = BTreeMap::new();
    for subject in plan.snapshot_subjects() {
        let Some(database) = plan.database(subject) else { continue };
        let taken = snapshots.get(subject).map_or(&[][..], Vec::as_slice);
        let newest = taken.iter().filter(|taken| taken.point.is_usable() && taken.as_of <= until).max_by_key(|taken| taken.as_of);
        let recorded = settings_as_of(settings.get(subject).map_or(&[][..], Vec::as_slice), until);
        let settings_of = recorded.map(|recorded| recorded.point);
        let snapshot = newest.and_then(|taken| from_snapshot(taken, settings_of)).map(MadeFrom::Snapshot);
        let from = match (restorable.get(subject), to) {
            (Some(Restorable::Yes { resource_id, waits_for }), Some(as_of)) => {
                notes.extend(waits_for.iter().map(|what| format!("instance {subject}: it can be made only once {what}")));
                Some(MadeFrom::Instant(FromInstant { resource_id: resource_id.clone(), as_of, settings_of }))
            }
            (Some(Restorable::No { why }), Some(_)) => {
                let instead = snapshot.as_ref().map(|from| format!("; it is made from its snapshot of {} instead", from.as_of()));
                notes.push(format!("instance {subject}: {why}{}", instead.unwrap_or_default()));
                snapshot
            }
            _ => snapshot,
        };
        match &from {
            Some(from) => {
                match recorded.filter(|recorded| from.settings_of() == Some(recorded.point)) {
                    _ if from.settings_of().is_none() => {
                        notes.push(format!("instance {subject}: nobody recorded its settings, so it gets RDS's defaults"));
                    }
                    Some(Recorded { point, at }) if from.point().is_some_and(|own| own != point) => {
                        notes.push(format!("instance {subject}: its snapshot has no settings; it gets those of {point} of {at}"));
                    }
                    Some(Recorded { point, at }) if at > until => notes.push(format!(
                        "instance {subject}: nobody had recorded its settings by then; it gets those of {point} of {at}, which are newer"
                    )),
                    _ => {}
                }
                made_from.insert(subject.to_owned(), from.clone());
            }
            None => notes.push(format!("instance {subject}: no usable snapshot at or before that time; its tenants stay lost")),
        }
        let name = PlannedInstance::name_for(recovery, subject);
        instances.push(PlannedInstance { database: subject.to_owned(), replaces: database.instance.clone(), name, from });
    }
    let mut planned: Vec<PlannedTenant> = Vec::new();
    for Known { tenant, exports } in tenants {
        let instance = plan.snapshot_subject_of(&tenant.database_id).and_then(|subject| made_from.get(subject));
        let from = source(instance, &exports, until);
        notes.extend(doubt(&tenant, &from, &exports, until));
        planned.push(PlannedTenant {
            pooled: matches!(tenant.layout, Layout::Pool { .. }),
            tenant: tenant.id,
            class: tenant.criticality,
            database: tenant.database_id,
            from,
        });
    }
    planned.sort_by_cached_key(|tenant| priority(plan, tenant));
    Chosen { instances, tenants: planned, notes }
}

/// The newest settings that were recorded at or before `until`; if there are none, the newest of all.
fn settings_as_of(recorded: &[Recorded], until: Timestamp) -> Option<Recorded> {
    let newest = |all: &mut dyn Iterator<Item = &Recorded>| all.max_by_key(|recorded| recorded.at).copied();
    newest(&mut recorded.iter().filter(|recorded| recorded.at <= until)).or_else(|| newest(&mut recorded.iter()))
}

fn from_snapshot(taken: &Taken, settings_of: Option<RecoveryPointId>) -> Option<FromSnapshot> {
    let Some(Content::Snapshot { identifier, arn, settings, .. }) = taken.point.content() else { return None };
    let settings_of = if settings.is_null() { settings_of } else { Some(taken.point.id) };
    let (identifier, arn) = (identifier.clone(), arn.clone());
    Some(FromSnapshot { point: taken.point.id, identifier, arn, as_of: taken.as_of, settings_of })
}

/// The instant that an export holds, if it may be restored from: no younger than the first, no older than the second.
///
/// What was saved before a restore is what somebody wanted to be rid of: it serves only who names it.
fn held(point: &RecoveryPoint) -> Option<(Timestamp, Timestamp)> {
    match point.content().filter(|_| point.rule != Slot::BEFORE_RESTORE) {
        Some(Content::Export { read: Some(read), .. }) if point.is_usable() => Some((read.until, read.from)),
        // Older records do not say when they were read: nothing older than the slot.
        Some(Content::Export { read: None, .. }) if point.is_usable() => Some((point.scheduled_time, point.scheduled_time)),
        _ => None,
    }
}

/// The newest export at or before `until` that is newer than the instance, or what that has.
fn source(instance: Option<&MadeFrom>, exports: &[RecoveryPoint], until: Timestamp) -> Source {
    let Some(instance) = instance else { return Source::Nowhere };
    let newer = exports.iter().filter_map(|point| {
        let (youngest, oldest) = held(point)?;
        let Some(Content::Export { link_sha256, .. }) = point.content() else { return None };
        (youngest <= until && oldest > instance.as_of()).then_some((
            oldest,
            matches!(point.proof, Proof::Proven { .. }),
            point.id,
            link_sha256,
        ))
    });
    match newer.max_by_key(|(oldest, proven, id, _)| (*oldest, *proven, *id)) {
        Some((as_of, _, point, content)) => Source::Export { point, content: content.clone(), as_of },
        None => instance.source(),
    }
}

/// What to say of a chosen export that nobody has proven, while an older one was.
fn doubt(tenant: &Tenant, from: &Source, exports: &[RecoveryPoint], until: Timestamp) -> Option<String> {
    let Source::Export { point: chosen, .. } = from else { return None };
    let is_proven = |point: &&RecoveryPoint| matches!(point.proof, Proof::Proven { .. });
    if exports.iter().find(|point| point.id == *chosen).is_some_and(|point| is_proven(&point)) {
        return None;
    }
    let proven = exports.iter().filter(is_proven).filter_map(|point| Some((held(point)?, point.id)));
    let newest = proven.filter(|((youngest, _), _)| *youngest <= until).max_by_key(|((_, oldest), _)| *oldest)?;
    Some(format!("tenant {}: {chosen} was never proven; the newest that was is {} of {}", tenant.id, newest.1, newest.0.1))
}

/// Where a criticality class stands: the platform's own first, then by how little of it may be lost.
#[must_use]
pub fn class_rank(plan: &Plan, class: &str) -> (bool, u32, String) {
    let rpo = plan.export_rules_of(class).map(|rule| rule.rpo_minutes).min().unwrap_or(u32::MAX);
    (class != PLATFORM_CLASS, rpo, class.to_owned())
}

/// The platform's own databases, then class by class; in a class the tenants of one pool together, as they must be restored one after the
/// other anyhow.
fn priority(plan: &Plan, tenant: &PlannedTenant) -> impl Ord + use<> {
    let pool = tenant.pooled.then(|| tenant.database.clone());
    (tenant.tenant.as_platform().is_none(), class_rank(plan, &tenant.class), pool, tenant.tenant.clone())
}

/// Cuts tenants into the stretches that one step restores: a few at a time if there are very many, and neighbours of one pool together,
/// because they would only wait for one another. Each is the first index and the one behind the last.
#[must_use]
pub fn ranges(tenants: &[(u32, &PlannedTenant)]) -> Vec<(u32, u32)> {
    let least = tenants.len().div_ceil(RECOVERY_RANGES_MAX).max(1);
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    let mut before: Option<&PlannedTenant> = None;
    let mut length = 0;
    for (index, tenant) in tenants {
        let same_pool = before.is_some_and(|before| before.pooled && tenant.pooled && before.database == tenant.database);
        let follows = ranges.last().is_some_and(|range| range.1 == *index);
        let joins = follows && (length < least || (same_pool && length < RECOVERY_POOLED_RANGE_MAX));
        match ranges.last_mut().filter(|_| joins) {
            Some(range) => (range.1, length) = (index + 1, length + 1),
            None => {
                ranges.push((*index, index + 1));
                length = 1;
            }
        }
        before = Some(tenant);
    }
    ranges
}
