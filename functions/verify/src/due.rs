//! Which clones a round needs: for each instance one, on which its snapshot and the exports of its tenants are tested, and one more for the
//! older snapshot that waits longest.

use std::{cmp::Reverse, collections::BTreeMap};

use catalog::{Catalog, Versioned, drills::Test};
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, caps,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    register::Tenant,
    slot::Subject,
    verification::{Checked, DueTest, Urgency, tests_due},
};
use jiff::Timestamp;
use runtime::{Invocation, services::Services, trouble::Trouble};

use crate::drill;

/// A clone that the round needs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    /// The database that stands for the instance.
    pub(crate) database: String,
    /// The snapshot it is made from.
    pub(crate) snapshot: RecoveryPoint,
    /// The exports that are due, the most urgent first; perhaps more than one clone takes.
    pub(crate) tests: Vec<Test>,
    /// How urgent the most urgent test is.
    urgency: Urgency,
}

#[cfg(test)]
impl Wanted {
    /// A snapshot by itself.
    pub(crate) fn alone(database: &str, snapshot: RecoveryPoint) -> Self {
        let urgency = (Reverse(domain::verification::Reason::Old), 0);
        Self { database: database.to_owned(), snapshot, tests: Vec::new(), urgency }
    }
}

/// Everything that the round of `tick` has to restore, the most urgent clone first.
///
/// # Errors
/// If time runs out before everything was looked through. One subject's trouble is noted, and the others are looked at.
pub(crate) async fn wanted(
    services: &Services,
    plan: &Plan,
    tenants: &[Tenant],
    tick: Timestamp,
    invocation: &Invocation,
    trouble: &mut Trouble,
) -> Result<Vec<Wanted>, ErrorReport> {
    let mut exports: BTreeMap<String, Vec<(DueTest, Test)>> = BTreeMap::new();
    for tenant in tenants {
        invocation.deadline.check("the search for due restore tests")?;
        match of_subject(services, plan, Subject::Tenant(tenant.id.clone()), Kind::Database, tick).await {
            Ok((due, _)) => {
                let instance = plan.snapshot_subject_of(&tenant.database_id).unwrap_or(&tenant.database_id);
                let tests = due.into_iter().map(|due| (due.clone(), Test::of(tenant.id.clone(), due.point)));
                exports.entry(instance.to_owned()).or_default().extend(tests);
            }
            Err(report) => trouble.note(&format!("the search for due restore tests of tenant {}", tenant.id), report),
        }
    }
    let mut wanted = Vec::new();
    for database in plan.snapshot_subjects() {
        let tests = exports.remove(database).unwrap_or_default();
        let made = match of_subject(services, plan, Subject::Instance(database.to_owned()), Kind::Snapshot, tick).await {
            Ok((due, snapshots)) => of_instance(database, tests, &due, &snapshots),
            Err(report) => Err(report),
        };
        match made {
            Ok(clones) => wanted.extend(clones),
            Err(report) => {
                let told = drill::raise(services, plan, &drill::subject_of(plan, database), &report).await;
                trouble.note(&format!("the restore tests of database {database}'s instance"), report);
                told.unwrap_or_else(|report| trouble.note("telling of that", report));
            }
        }
    }
    wanted.sort_by(|one, other| (other.urgency, &one.database).cmp(&(one.urgency, &other.database)));
    Ok(wanted)
}

/// What is due of a subject, and its available recovery points, the newest first.
async fn of_subject(
    services: &Services,
    plan: &Plan,
    subject: Subject,
    kind: Kind,
    tick: Timestamp,
) -> Result<(Vec<DueTest>, Vec<RecoveryPoint>), ErrorReport> {
    let points = points(&services.catalog, &subject, &[kind], caps::POINTS_OF_A_KIND_MAX).await?;
    let available: Vec<RecoveryPoint> =
        points.into_iter().map(|point| point.value).filter(|point| point.content().is_some()).collect();
    let checked = checked(&services.catalog, &subject, &[kind], caps::POINTS_OF_A_KIND_MAX).await?;
    let none = Checked::default();
    let known = available.iter().map(|point| (point, checked.get(&point.id).unwrap_or(&none)));
    Ok((tests_due(known, &plan.verification, tick), available))
}

/// Every record of a subject's recovery points of these kinds, the newest of each first.
///
/// # Errors
/// If the catalog cannot be read, or there are `most` of a kind.
pub(crate) async fn points(
    catalog: &Catalog,
    subject: &Subject,
    kinds: &[Kind],
    most: usize,
) -> Result<Vec<Versioned<RecoveryPoint>>, ErrorReport> {
    let mut points = Vec::new();
    for kind in kinds {
        points.extend(all(catalog.points(subject, Some(*kind), most).await?, *kind, most)?);
    }
    Ok(points)
}

/// What was done about a subject's recovery points of these kinds.
///
/// # Errors
/// As [`points`].
pub(crate) async fn checked(
    catalog: &Catalog,
    subject: &Subject,
    kinds: &[Kind],
    most: usize,
) -> Result<BTreeMap<RecoveryPointId, Checked>, ErrorReport> {
    let mut checked = BTreeMap::new();
    for kind in kinds {
        let records = all(catalog.checked(subject, *kind, most).await?, *kind, most)?;
        checked.extend(records.into_iter().map(|record| (record.value.point, record.value.checked)));
    }
    Ok(checked)
}

/// Refuses a listing that may have left something out: nobody would hear that it is checked no more.
fn all<T>(listed: Vec<T>, kind: Kind, most: usize) -> Result<Vec<T>, ErrorReport> {
    if listed.len() >= most {
        let message = format!("there are {most} records of its {} recovery points, or more, too many to check by", kind.name());
        return Err(ErrorReport::new(ErrorCode::SourceRefused, message));
    }
    Ok(listed)
}

/// The clones of one instance.
fn of_instance(
    database: &str,
    mut tests: Vec<(DueTest, Test)>,
    due: &[DueTest],
    snapshots: &[RecoveryPoint],
) -> Result<Vec<Wanted>, ErrorReport> {
    tests.sort_by(|(one, _), (other, _)| other.urgency().cmp(&one.urgency()).then_with(|| one.point.cmp(&other.point)));
    let mut clones = Vec::new();
    // One that was refuted is better than none: it may have been mended, and its clone would serve the exports all the same.
    let newest = snapshots.iter().find(|snapshot| snapshot.is_usable()).or(snapshots.first());
    let urgency_of = |snapshot: &RecoveryPoint| due.iter().find(|due| due.point == snapshot.id).map(DueTest::urgency);
    match newest {
        Some(newest) => {
            let most = tests.first().map(|(due, _)| due.urgency()).max(urgency_of(newest));
            if let Some(urgency) = most {
                let tests = tests.into_iter().map(|(_, test)| test).collect();
                clones.push(Wanted { database: database.to_owned(), snapshot: newest.clone(), tests, urgency });
            }
        }
        None if tests.is_empty() => {}
        None => {
            let message = format!(
                "{} exports are due for a restore test, but the instance of database {database} has no available snapshot to make an isolated clone \
                 from; wait for the next snapshot slot",
                tests.len()
            );
            return Err(ErrorReport::new(ErrorCode::EnvironmentBad, message));
        }
    }
    // Whichever waits longest, whatever for: one that was refuted is due every day, and would leave the others no turn.
    let older = due.iter().filter(|due| newest.is_none_or(|newest| newest.id != due.point));
    let older = older.filter_map(|due| Some((due, snapshots.iter().find(|snapshot| snapshot.id == due.point)?)));
    let older = older.min_by_key(|(due, _)| Reverse(due.lateness));
    clones.extend(older.map(|(due, snapshot)| Wanted {
        database: database.to_owned(),
        snapshot: snapshot.clone(),
        tests: Vec::new(),
        urgency: due.urgency(),
    }));
    Ok(clones)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use catalog::{MemoryTable, Taken};
    use domain::{
        point::{Content, Proof},
        slot::Slot,
        verification::Reason,
    };

    use super::*;

    fn snapshot(day: u32, proof: Proof) -> RecoveryPoint {
        let at: Timestamp = format!("2026-11-{day:02}T01:15:00Z").parse().unwrap();
        let slot =
            Slot { rule: "daily".into(), scheduled_time: at, subject: Subject::Instance("pool".into()), kind: Kind::Snapshot };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let content =
            Content::Snapshot { identifier: "s".into(), arn: "a".into(), settings: serde_json::Value::Null, copied: None };
        RecoveryPoint { proof, ..RecoveryPoint::begin(&slot, run, at).publish(content, at).unwrap() }
    }

    fn due(point: RecoveryPointId, lateness: i64) -> DueTest {
        DueTest { subject: Subject::Instance("pool".into()), point, reason: Reason::Newest, lateness }
    }

    fn export(tenant: &str, n: u8, lateness: i64) -> (DueTest, Test) {
        let point = format!("rp_00000000-0000-8000-8000-0000000000{n:02}").parse().unwrap();
        (due(point, lateness), Test::of(tenant.parse().unwrap(), point))
    }

    #[test]
    fn all_due_exports_of_an_instance_are_tested_on_one_clone_of_its_newest_good_snapshot() {
        let refuted = Proof::Refuted { at: Timestamp::UNIX_EPOCH, findings: vec!["f".into()] };
        let snapshots = [snapshot(3, refuted), snapshot(2, Proof::Unproven), snapshot(1, Proof::Unproven)];
        let due = [due(snapshots[2].id, 900), due(snapshots[0].id, 10)];
        let clones = of_instance("pool", vec![export("a", 1, 5), export("b", 2, 7)], &due, &snapshots).unwrap();
        let told: Vec<_> = clones
            .iter()
            .map(|clone| {
                (clone.snapshot.id, clone.tests.iter().map(|test| test.tenant.as_str()).collect::<Vec<_>>(), clone.urgency.1)
            })
            .collect();
        assert_eq!(
            told,
            [(snapshots[1].id, vec!["b", "a"], 7), (snapshots[2].id, vec![], 900)],
            "and one older snapshot by itself"
        );
    }

    #[test]
    fn newest_exports_come_before_old_ones_and_a_refuted_snapshot_takes_no_older_ones_turn() {
        let snapshots = [snapshot(3, Proof::Unproven), snapshot(2, Proof::Unproven), snapshot(1, Proof::Unproven)];
        let as_of = |reason, due: DueTest| DueTest { reason, ..due };
        let old = export("a", 1, 1_000);
        let tests = vec![(as_of(Reason::Old, old.0), old.1), export("b", 2, 7)];
        let due = [as_of(Reason::Refuted, due(snapshots[1].id, 30)), as_of(Reason::Old, due(snapshots[2].id, 900))];
        let clones = of_instance("pool", tests, &due, &snapshots).unwrap();
        assert_eq!(clones[0].tests.iter().map(|test| test.tenant.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!(clones.iter().map(|clone| clone.snapshot.id).collect::<Vec<_>>(), [snapshots[0].id, snapshots[2].id]);
        assert!(clones[0].urgency > clones[1].urgency, "{clones:?}");
    }

    #[tokio::test]
    async fn many_records_of_one_kind_leave_none_of_another_out_and_more_than_can_be_listed_are_told() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let subject = Subject::Tenant("acme".parse().unwrap());
        let kinds = [Kind::Database, Kind::Configuration];
        for (kind, hour) in [(Kind::Configuration, 1), (Kind::Database, 2), (Kind::Database, 3), (Kind::Database, 4)] {
            let at: Timestamp = format!("2026-11-23T{hour:02}:15:00Z").parse().unwrap();
            let slot = Slot { rule: "hourly".into(), scheduled_time: at, subject: subject.clone(), kind };
            let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
            let Taken::Held(held) = catalog.take_slot(&slot, run, at).await.unwrap() else { panic!("done") };
            catalog.record_checked(&held.value, |checked| checked.present_at = Some(at)).await.unwrap();
        }
        let listed = points(&catalog, &subject, &kinds, 4).await.unwrap();
        let oldest = &listed.last().unwrap().value;
        assert_eq!((listed.len(), oldest.kind), (4, Kind::Configuration));
        let done = checked(&catalog, &subject, &kinds, 4).await.unwrap();
        assert_eq!((done.len(), done.contains_key(&oldest.id)), (4, true));
        for cut in [points(&catalog, &subject, &kinds, 3).await.err(), checked(&catalog, &subject, &kinds, 3).await.err()] {
            let report = cut.unwrap();
            assert_eq!(report.code, ErrorCode::SourceRefused);
            assert!(report.message.contains("3 records of its database recovery points"), "{report}");
        }
    }

    #[test]
    fn nothing_due_needs_no_clone_and_exports_without_any_snapshot_are_told_of() {
        assert_eq!(of_instance("pool", vec![], &[], &[snapshot(1, Proof::Unproven)]).unwrap(), []);
        assert_eq!(of_instance("pool", vec![], &[], &[]).unwrap(), []);
        let error = of_instance("pool", vec![export("a", 1, 5)], &[], &[]).unwrap_err();
        assert_eq!(error.code, ErrorCode::EnvironmentBad);
        assert!(error.message.contains("no available snapshot"), "{error}");
        let refuted = snapshot(1, Proof::Refuted { at: Timestamp::UNIX_EPOCH, findings: vec!["f".into()] });
        let clones =
            of_instance("pool", vec![export("a", 1, 5)], &[due(refuted.id, 10)], std::slice::from_ref(&refuted)).unwrap();
        assert_eq!(clones.iter().map(|clone| clone.snapshot.id).collect::<Vec<_>>(), [refuted.id], "better than none");
    }
}
