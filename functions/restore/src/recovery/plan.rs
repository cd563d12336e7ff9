//! What a recovery would do, worked out from the catalog and RDS without writing anything anywhere else.

use std::collections::BTreeMap;

use aws::{AutomatedBackup, SnapshotOf, SnapshotState};
use domain::{
    ErrorCode, ErrorReport, RecoveryId, caps,
    plan::{Database, Plan},
    point::{Content, Kind, RecoveryPoint},
    recovery::{
        Chosen, Known, PlannedTenant, Progress, Recorded, RecoveredTenant, Recovery, RecoveryPlan, RecoveryState, Restorable,
        Source, Taken, World, choose,
    },
    register::{Register, Tenant},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    instants::{Reach, source_of},
    services::Services,
};

use super::forecast::forecast;

/// Newest recovery points of a tenant that are looked at first.
const LOOKED_AT_FIRST: usize = 50;

/// Makes and records the plan of a recovery.
pub(super) async fn plan(services: &Services, id: RecoveryId) -> Result<&'static str, ErrorReport> {
    let recovery = services.catalog.recovery(id).await?.value;
    if !matches!(recovery.state, RecoveryState::Requested | RecoveryState::Planned { .. }) {
        // A late delivery: what people have seen stays as they saw it.
        return Ok(recovery.state.name());
    }
    let plan = services.plan().await?;
    let (mut snapshots, mut settings, mut missing) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for subject in plan.snapshot_subjects() {
        let points = usable(services, &Subject::Instance(subject.to_owned()), Kind::Snapshot, None).await?;
        settings.insert(subject.to_owned(), recorded_settings(&points));
        snapshots.insert(subject.to_owned(), taken(services, points, recovery.to, &mut missing).await?);
    }
    let restorable = restorable(services, &plan, &recovery).await?;
    let mut tenants = Vec::new();
    for tenant in known_tenants(services, &plan).await? {
        let subject = Subject::Tenant(tenant.id.clone());
        let exports = usable(services, &subject, Kind::Database, Some(recovery.to.unwrap_or(Timestamp::MAX))).await?;
        tenants.push(Known { tenant, exports });
    }
    let forecast = forecast(&tenants);
    let Chosen { instances, tenants, mut notes } =
        choose(World { plan: &plan, recovery: id, to: recovery.to, snapshots, settings, restorable, tenants });
    refuse_hopeless(
        &plan,
        &recovery,
        &instances.iter().filter(|made| made.from.is_some()).map(|made| made.database.as_str()).collect::<Vec<_>>(),
    )?;
    notes.splice(0..0, missing);
    let count = |wanted: &dyn Fn(&PlannedTenant) -> bool| {
        u32::try_from(tenants.iter().filter(|tenant| wanted(tenant)).count()).unwrap_or(u32::MAX)
    };
    let planned = RecoveryPlan {
        at: services.clock.now(),
        instances,
        tenants: count(&|_| true),
        platform: count(&|tenant| tenant.tenant.as_platform().is_some()),
        from_exports: count(&|tenant| matches!(tenant.from, Source::Export { .. })),
        notes,
        forecast,
        digest: String::new(),
    };
    let planned = planned.sealed(&recovery, &tenants);
    for (index, plan) in (0..).zip(tenants) {
        let item = RecoveredTenant { recovery: id, index, planned: true, plan, progress: Progress::Waiting };
        services.catalog.put_recovered_tenant(item).await?;
    }
    let recovery = services.catalog.advance_recovery(id, |recovery| recovery.planned(planned)).await?.value;
    Ok(recovery.state.name())
}

/// Of each instance, whether RDS can restore it to the instant, if that was asked for.
async fn restorable(services: &Services, plan: &Plan, recovery: &Recovery) -> Result<BTreeMap<String, Restorable>, ErrorReport> {
    let Some(to) = recovery.to.filter(|_| recovery.native) else { return Ok(BTreeMap::new()) };
    let backups = services.clients.instances().automated_backups().await?;
    let now = services.clock.now();
    let subjects = plan.snapshot_subjects().into_iter().filter_map(|subject| plan.database(subject));
    Ok(subjects.map(|database| (database.id.clone(), judged(database, &backups, to, now))).collect())
}

fn judged(database: &Database, backups: &[AutomatedBackup], to: Timestamp, now: Timestamp) -> Restorable {
    if let Some(cluster) = &database.cluster {
        let why = format!("it is in the Aurora cluster {cluster}, which is restored by hand (docs/unproven.md)");
        return Restorable::No { why };
    }
    match source_of(backups, &database.instance, to, now) {
        Ok((backup, reach)) => {
            let waits_for = (reach == Reach::Soon).then(|| {
                format!("RDS has its log of then, which takes it some minutes; it has it up to {}", backup.window.latest)
            });
            Restorable::Yes { resource_id: backup.resource_id.clone(), waits_for }
        }
        Err(why) => Restorable::No { why },
    }
}

/// Without the register nobody can say where a tenant lives.
fn refuse_hopeless(plan: &Plan, recovery: &Recovery, instances: &[&str]) -> Result<(), ErrorReport> {
    let register = &plan.register.database;
    let subject = plan.snapshot_subject_of(register).unwrap_or(register);
    if instances.contains(&subject) {
        return Ok(());
    }
    let when = recovery.to.map_or_else(String::new, |to| format!(" at or before {to}"));
    let message = format!(
        "the instance of the register's database {register} has nothing to make it from{when}, so nobody could say where the tenants live; \
         choose another time, or restore that instance by hand and tenants by `holdfast restore request`"
    );
    Err(ErrorReport::new(ErrorCode::RestoreRefused, message))
}

/// Everybody who has to come back: the tenants as the register was last read, because production is gone, and the platform's own databases.
async fn known_tenants(services: &Services, plan: &Plan) -> Result<Vec<Tenant>, ErrorReport> {
    let mut tenants = Register::platform(plan);
    let records = services.catalog.tenants().await?.into_iter().map(|record| record.tenant);
    tenants.extend(records.filter(|tenant| tenant.id.as_platform().is_none() && tenant.is_protected()));
    if tenants.len() > caps::RECOVERY_TENANTS_MAX {
        let message = format!("there are {} tenants; one recovery takes {}", tenants.len(), caps::RECOVERY_TENANTS_MAX);
        return Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
    }
    Ok(tenants)
}

/// The usable recovery points of a subject, newest first. With an `until`, no further back than it takes to find one of before it.
async fn usable(
    services: &Services,
    subject: &Subject,
    kind: Kind,
    until: Option<Timestamp>,
) -> Result<Vec<RecoveryPoint>, ErrorReport> {
    let limits = if until.is_some() { &[LOOKED_AT_FIRST, caps::LISTED_POINTS_MAX][..] } else { &[caps::LISTED_POINTS_MAX] };
    let mut usable = Vec::new();
    for limit in limits {
        let listed = services.catalog.points(subject, Some(kind), *limit).await?;
        let all = listed.len() < *limit;
        usable = listed.into_iter().map(|point| point.value).filter(RecoveryPoint::is_usable).collect();
        // What was read from a clone is older than its slot, never younger.
        let enough = usable.iter().any(|point: &RecoveryPoint| until.is_some_and(|until| point.scheduled_time <= until));
        if all || enough {
            break;
        }
    }
    Ok(usable)
}

fn recorded_settings(points: &[RecoveryPoint]) -> Vec<Recorded> {
    let has = |point: &&RecoveryPoint| matches!(point.content(), Some(Content::Snapshot { settings, .. }) if !settings.is_null());
    points.iter().filter(has).map(|point| Recorded { point: point.id, at: point.scheduled_time }).collect()
}

/// The snapshots that RDS still has, until one is old enough. What the catalog believes in and RDS does not know is told.
async fn taken(
    services: &Services,
    points: Vec<RecoveryPoint>,
    to: Option<Timestamp>,
    missing: &mut Vec<String>,
) -> Result<Vec<Taken>, ErrorReport> {
    let until = to.unwrap_or(Timestamp::MAX);
    let mut found = Vec::new();
    // Nothing is taken before its slot.
    for point in points.into_iter().filter(|point| point.scheduled_time <= until).take(caps::RECOVERY_SNAPSHOTS_ASKED_MAX) {
        let Some(Content::Snapshot { identifier, arn, .. }) = point.content() else { continue };
        if SnapshotOf::of_arn(arn) == SnapshotOf::Cluster {
            missing.push(format!("snapshot {identifier} is of an Aurora cluster: restore it by hand (docs/unproven.md)"));
            continue;
        }
        match services.clients.snapshots(SnapshotOf::Instance).describe(identifier).await {
            Ok(snapshot) if snapshot.state == SnapshotState::Available => {
                let as_of = snapshot.created_at.unwrap_or(point.scheduled_time);
                found.push(Taken { as_of, point });
                if as_of <= until {
                    break;
                }
            }
            Ok(snapshot) => missing.push(format!("snapshot {identifier} is {:?} and cannot be used", snapshot.state)),
            Err(error) if error.is_not_found() => {
                missing.push(format!("snapshot {identifier} is recorded, but RDS has none of that name"))
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use aws::RestoreWindow;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_database_in_an_aurora_cluster_is_restored_by_hand_and_that_is_said() {
        let at = |time: &str| -> Timestamp { format!("2026-11-23T{time}:00Z").parse().unwrap() };
        let window = RestoreWindow { earliest: at("02:00"), latest: at("10:00") };
        let backups = [AutomatedBackup { instance: "one".into(), resource_id: "db-1".into(), is_kept: false, window }];
        let of =
            |database: serde_json::Value| judged(&serde_json::from_value(database).unwrap(), &backups, at("09:00"), at("10:00"));
        let database = json!({ "id": "d", "instance": "one", "database": "d", "secret": "s" });
        assert!(matches!(of(database.clone()), Restorable::Yes { resource_id, waits_for: None } if resource_id == "db-1"));
        let mut clustered = database;
        clustered["cluster"] = json!("trio");
        let Restorable::No { why } = of(clustered) else { panic!("made from the log of one of its instances") };
        assert!(why.contains("in the Aurora cluster trio, which is restored by hand"), "{why}");
    }
}
