use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::{
    VaultTenantId,
    forecast::Forecast,
    id::{RecoveryPointId, RunId},
    plan::Plan,
    point::{Content, Kind, Proof, ReadSpan, RecoveryPoint},
    register::{Status, Tenant},
    slot::{Slot, Subject},
    tenant::{Layout, TenantId},
};

fn person(name: &str) -> Identity {
    Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() }
}

/// An instant of one day, such as `09:30`.
fn at(time: &str) -> Timestamp {
    format!("2026-11-23T{time}:00Z").parse().unwrap()
}

fn recovery_id() -> RecoveryId {
    "rc_0192a1c0-1d2e-7f30-9a4b-5c6d7e8f9a0b".parse().unwrap()
}

fn plan() -> Plan {
    let database = |id: &str, instance: &str, more: Value| {
        let mut entry = json!({ "id": id, "instance": instance, "database": "d", "secret": "s" });
        entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        entry
    };
    let rule = |id: &str, class: &str, rpo: u32| json!({ "id": id, "kind": "export", "classes": [class], "schedule": { "daily_at": "03:15" }, "rpo_minutes": rpo });
    let plan = json!({
        "version": 1, "environment": "test", "time_zone": "Europe/Berlin",
        "register": { "database": "central", "query": "SELECT" },
        "databases": [
            database("central", "i-central", json!({ "platform": true })),
            database("pool", "i-shared", json!({ "pool": { "schema": "app", "tenant_column": "tenant_id" } })),
            database("other", "i-shared", json!({})),
        ],
        "rules": [rule("slow", "bronze", 9_000), rule("quick", "silver", 90), rule("first", "critical", 1_500)],
        "retention": { "keep_all_days": 7, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 3, "min_proven": 1, "max_expire_per_run": 100, "apply": false }
    });
    Plan::parse(&plan.to_string()).unwrap()
}

fn tenant(id: &str, class: &str, database: &str) -> Tenant {
    let layout = match database {
        "pool" => Layout::Pool { database: "d".into(), schema: "app".into(), tenant_column: "tenant_id".into() },
        _ => Layout::Database { database: id.into() },
    };
    Tenant {
        id: id.parse().unwrap(),
        database_id: database.into(),
        layout,
        criticality: class.into(),
        time_zone: "UTC".into(),
        status: Status::Active,
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn point(subject: Subject, kind: Kind, n: u128, slot: Timestamp, content: Content, proven: bool) -> RecoveryPoint {
    let slot = Slot { rule: "r".into(), scheduled_time: slot, subject, kind };
    let proof = if proven { Proof::Proven { at: slot.scheduled_time, rto_ms: 1 } } else { Proof::Unproven };
    let begun = RecoveryPoint::begin(&slot, RunId::from_uuid(Uuid::from_u128(n)), slot.scheduled_time);
    let id = RecoveryPointId::from_uuid(Uuid::from_u128(n));
    RecoveryPoint { id, proof, ..begun.publish(content, slot.scheduled_time).unwrap() }
}

/// An export of a slot at 06:00 whose source was read at `read`.
fn export(n: u128, read: &str, proven: bool) -> RecoveryPoint {
    let content = Content::Export {
        vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(9)),
        sequence: 1,
        link_sha256: format!("link {n}"),
        parent: None,
        rows: 1,
        plaintext_bytes: 1,
        stored_bytes: 1,
        read: Some(ReadSpan { from: at(read), until: at(read) }),
    };
    point(Subject::Tenant("acme".parse().unwrap()), Kind::Database, n, at("06:00"), content, proven)
}

fn snapshot(database: &str, n: u128, taken: &str) -> Taken {
    let content = Content::Snapshot { identifier: format!("s-{n}"), arn: format!("arn:{n}"), settings: json!({}), copied: None };
    Taken { point: point(Subject::Instance(database.into()), Kind::Snapshot, n, at("01:00"), content, false), as_of: at(taken) }
}

fn world(plan: &Plan, to: Option<&str>, tenants: Vec<Known>) -> Chosen {
    native_world(plan, to, tenants, &[])
}

/// The same, where RDS can restore some instances to that instant, or says why it cannot.
fn native_world(plan: &Plan, to: Option<&str>, tenants: Vec<Known>, restorable: &[(&str, Restorable)]) -> Chosen {
    world_with_settings(plan, to, tenants, restorable, &[])
}

/// The same, where settings of `pool` were recorded at some times.
fn world_with_settings(
    plan: &Plan,
    to: Option<&str>,
    tenants: Vec<Known>,
    restorable: &[(&str, Restorable)],
    recorded: &[(u128, &str)],
) -> Chosen {
    let snapshots = [
        ("central".to_owned(), vec![snapshot("central", 1, "05:00"), snapshot("central", 2, "07:00")]),
        ("pool".to_owned(), vec![snapshot("pool", 3, "06:30")]),
    ];
    let point = |n: u128| RecoveryPointId::from_uuid(Uuid::from_u128(n));
    let recorded = recorded.iter().map(|(n, time)| Recorded { point: point(*n), at: at(time) }).collect();
    let settings = [("pool".to_owned(), recorded)].into();
    let restorable = restorable.iter().map(|(subject, judged)| ((*subject).to_owned(), judged.clone())).collect();
    choose(World { plan, recovery: recovery_id(), to: to.map(at), snapshots: snapshots.into(), settings, restorable, tenants })
}

fn snapshot_of(planned: &PlannedInstance) -> &str {
    match planned.from.as_ref().unwrap() {
        MadeFrom::Snapshot(from) => &from.identifier,
        MadeFrom::Instant(from) => panic!("made of an instant: {from:?}"),
    }
}

/// What RDS can restore, now or once something has come.
fn yes(waits_for: Option<&str>) -> Restorable {
    Restorable::Yes { resource_id: "db-1".into(), waits_for: waits_for.map(str::to_owned) }
}

fn source_of(to: Option<&str>, exports: Vec<RecoveryPoint>) -> (Source, Vec<String>) {
    let plan = plan();
    let chosen = world(&plan, to, vec![Known { tenant: tenant("acme", "silver", "pool"), exports }]);
    (chosen.tenants[0].from.clone(), chosen.notes)
}

#[test]
fn a_tenant_comes_from_its_newest_export_unless_the_snapshot_is_newer() {
    let from_export = |n: u128, time: &str| Source::Export {
        point: RecoveryPointId::from_uuid(Uuid::from_u128(n)),
        content: format!("link {n}"),
        as_of: at(time),
    };
    let snapshot = Source::Snapshot { as_of: at("06:30") };
    assert_eq!(source_of(None, vec![export(5, "06:40", false), export(6, "06:50", false)]).0, from_export(6, "06:50"));
    assert_eq!(source_of(None, vec![export(5, "06:20", true)]).0, snapshot, "the slot is not the instant that counts");
    assert_eq!(source_of(None, vec![]).0, snapshot);
    let before = RecoveryPoint { rule: Slot::BEFORE_RESTORE.into(), ..export(6, "06:50", false) };
    assert_eq!(
        source_of(None, vec![export(5, "06:40", false), before]).0,
        from_export(5, "06:40"),
        "nor what a restore replaced"
    );
    let refuted = RecoveryPoint { proof: Proof::Refuted { at: at("07:00"), findings: vec![] }, ..export(6, "06:50", false) };
    assert_eq!(
        source_of(None, vec![export(5, "06:40", false), refuted]).0,
        from_export(5, "06:40"),
        "a damaged one is no source"
    );
}

#[test]
fn nothing_is_newer_than_the_instant_that_was_asked_for() {
    let exports = || vec![export(5, "06:40", false), export(6, "06:50", false)];
    assert!(matches!(source_of(Some("06:45"), exports()).0, Source::Export { as_of, .. } if as_of == at("06:40")));
    assert_eq!(source_of(Some("06:35"), exports()).0, Source::Snapshot { as_of: at("06:30") });
    let (lost, notes) = source_of(Some("06:10"), exports());
    assert_eq!(lost, Source::Nowhere, "data that is younger would come back");
    assert!(notes.iter().any(|note| note.contains("instance pool: no usable snapshot")), "{notes:?}");
    let plan = plan();
    let chosen = world(&plan, Some("06:45"), vec![]);
    assert_eq!(snapshot_of(&chosen.instances[0]), "s-1", "the older of two snapshots");
    assert_eq!(snapshot_of(&world(&plan, None, vec![]).instances[0]), "s-2");
}

#[test]
fn an_instance_is_made_of_the_very_instant_where_rds_can_and_of_its_snapshot_where_not_and_both_are_said() {
    let plan = plan();
    let no = Restorable::No { why: "RDS keeps no automated backups of i-central".into() };
    let chosen = native_world(&plan, Some("06:45"), vec![], &[("central", no.clone()), ("pool", yes(None))]);
    assert_eq!(snapshot_of(&chosen.instances[0]), "s-1");
    let instant = FromInstant { resource_id: "db-1".into(), as_of: at("06:45"), settings_of: None };
    assert_eq!(chosen.instances[1].from, Some(MadeFrom::Instant(instant)));
    let said = "instance central: RDS keeps no automated backups of i-central; it is made from its snapshot of 2026-11-23T05:00:00Z instead";
    assert_eq!(chosen.notes[0], said);
    assert_eq!(native_world(&plan, Some("06:45"), vec![], &[]), world(&plan, Some("06:45"), vec![]), "nobody asked for it");

    let lost = native_world(&plan, Some("04:00"), vec![], &[("central", no), ("pool", yes(None))]);
    assert_eq!(lost.instances[0].from, None);
    assert!(lost.instances[1].from.is_some(), "which has no snapshot from before");
    assert!(lost.notes[0].ends_with("of i-central"), "{:?}", lost.notes);
    assert!(lost.notes[1].contains("instance central: no usable snapshot"), "{:?}", lost.notes);

    let soon = native_world(&plan, Some("06:45"), vec![], &[("pool", yes(Some("RDS has the log")))]);
    assert!(soon.notes.contains(&"instance pool: it can be made only once RDS has the log".to_owned()), "{:?}", soon.notes);
}

#[test]
fn an_instance_of_an_instant_gets_the_settings_of_then_and_newer_ones_only_if_there_are_no_others_and_that_is_said() {
    let plan = plan();
    let chosen = |recorded: &[(u128, &str)]| {
        let chosen = world_with_settings(&plan, Some("06:45"), vec![], &[("pool", yes(None))], recorded);
        let said: Vec<String> = chosen.notes.into_iter().filter(|note| note.starts_with("instance pool")).collect();
        let point = chosen.instances[1].from.as_ref().unwrap().settings_of().map(|point| point.uuid().as_u128());
        (point, said.join("\n"))
    };
    for recorded in [&[(13, "07:00"), (12, "06:45"), (11, "06:00")][..], &[(11, "06:00"), (12, "06:45"), (13, "06:46")]] {
        assert_eq!(chosen(recorded), (Some(12), String::new()));
    }
    let (point, said) = chosen(&[(13, "07:00"), (14, "08:00")]);
    let named = RecoveryPointId::from_uuid(Uuid::from_u128(14));
    assert_eq!(point, Some(14));
    assert_eq!(
        said,
        format!(
            "instance pool: nobody had recorded its settings by then; it gets those of {named} of 2026-11-23T08:00:00Z, which are newer"
        )
    );
    let (point, said) = chosen(&[]);
    assert_eq!(point, None);
    assert!(said.contains("it gets RDS's defaults"), "{said}");
}

#[test]
fn tenants_of_an_instance_of_the_very_instant_stand_as_it_has_them_for_every_export_is_older() {
    let plan = plan();
    let known = |database: &str| Known {
        tenant: tenant("acme", "silver", database),
        exports: vec![export(5, "06:40", true), export(6, "06:45", false), export(7, "06:50", false)],
    };
    let from = |restorable: Restorable| {
        native_world(&plan, Some("06:45"), vec![known("pool")], &[("pool", restorable)]).tenants[0].from.clone()
    };
    assert_eq!(from(yes(None)), Source::Instant { as_of: at("06:45") });
    let fallback = from(Restorable::No { why: "w".into() });
    assert!(matches!(fallback, Source::Export { as_of, .. } if as_of == at("06:45")), "{fallback:?}");
}

#[test]
fn what_was_never_proven_is_said_with_what_was() {
    let (_, notes) = source_of(None, vec![export(5, "06:40", true), export(6, "06:50", false)]);
    assert!(notes.iter().any(|note| note.contains("never proven") && note.contains(&export(5, "06:40", true).id.to_string())));
    assert_eq!(source_of(None, vec![export(5, "06:40", false), export(6, "06:50", true)]).1, [""; 0]);
}

#[test]
fn the_platform_comes_first_then_whoever_may_lose_least_and_pools_stay_together() {
    let plan = plan();
    let known = |tenant| Known { tenant, exports: vec![] };
    let tenants = vec![
        known(tenant("z", "bronze", "other")),
        known(tenant("b", "silver", "pool")),
        known(tenant("c", "silver", "other")),
        known(tenant("a", "silver", "pool")),
        known(tenant("y", "critical", "other")),
        known(tenant("x", "unruled", "other")),
        Known {
            tenant: Tenant { id: TenantId::platform("central").unwrap(), ..tenant("c", "critical", "central") },
            exports: vec![],
        },
    ];
    let chosen = world(&plan, None, tenants);
    let order: Vec<&str> = chosen.tenants.iter().map(|tenant| tenant.tenant.as_str()).collect();
    assert_eq!(order, ["@central", "y", "c", "a", "b", "z", "x"]);
    let indexed: Vec<(u32, &PlannedTenant)> = (0..).zip(&chosen.tenants).skip(1).collect();
    assert_eq!(ranges(&indexed), [(1, 2), (2, 3), (3, 5), (5, 6), (6, 7)]);
}

#[test]
fn stretches_cover_every_tenant_once_and_are_few() {
    let plan = plan();
    let of = |n: usize, pooled: bool| PlannedTenant {
        tenant: format!("t{n}").parse().unwrap(),
        class: "silver".into(),
        database: if pooled { "pool" } else { "other" }.into(),
        pooled,
        from: Source::Nowhere,
    };
    assert!(class_rank(&plan, "silver") < class_rank(&plan, "bronze"));
    for (count, pooled) in [(0, false), (7, true), (251, false), (1_000, true), (20_000, false), (20_000, true)] {
        let tenants: Vec<PlannedTenant> = (0..count).map(|n| of(n, pooled)).collect();
        let indexed: Vec<(u32, &PlannedTenant)> = (0..).zip(&tenants).collect();
        let ranges = ranges(&indexed);
        assert!(ranges.len() <= crate::caps::RECOVERY_RANGES_MAX, "{count} {pooled}: {}", ranges.len());
        let covered: Vec<u32> = ranges.iter().flat_map(|(from, to)| *from..*to).collect();
        assert_eq!(covered.len(), count);
        assert!(covered.is_sorted());
    }
    // What is done is left out of a second round.
    let tenants = [of(0, true), of(1, true), of(2, true)];
    assert_eq!(ranges(&[(0, &tenants[0]), (2, &tenants[2])]), [(0, 1), (2, 3)]);
}

#[test]
fn a_new_instance_has_a_name_that_rds_takes_and_that_says_what_it_is() {
    assert_eq!(PlannedInstance::name_for(recovery_id(), "silo-a"), "holdfast-recovery-5c6d7e8f9a0b-silo-a");
    let strange = ["Silo_A", "silo--a", "-a-", "ü", &"x".repeat(120), "9"];
    let names: std::collections::BTreeSet<String> =
        strange.iter().map(|id| PlannedInstance::name_for(recovery_id(), id)).collect();
    assert_eq!(names.len(), strange.len());
    for name in names {
        assert!(name.len() <= 63 && !name.contains("--") && !name.ends_with('-'), "{name}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{name}");
    }
}

fn waiting() -> (Recovery, Vec<PlannedTenant>) {
    let recovery = Recovery::new(recovery_id(), None, "the region is gone".into(), person("ana"), at("08:00"));
    let of_plan = plan();
    let chosen =
        world(&of_plan, None, vec![Known { tenant: tenant("acme", "silver", "pool"), exports: vec![export(5, "06:40", false)] }]);
    let plan = RecoveryPlan {
        at: at("08:01"),
        instances: chosen.instances,
        tenants: 1,
        platform: 0,
        from_exports: 1,
        notes: chosen.notes,
        forecast: Forecast::TooFew { samples: 0, needed: 5 },
        digest: String::new(),
    };
    let plan = plan.sealed(&recovery, &chosen.tenants);
    (recovery.planned(plan).unwrap().await_approval("token".into()).unwrap(), chosen.tenants)
}

fn digest(recovery: &Recovery) -> String {
    recovery.state.plan().unwrap().digest.clone()
}

#[test]
fn another_person_agrees_to_this_very_plan() {
    let (recovery, _) = waiting();
    let digest = digest(&recovery);
    let refused = |who: &str, digest: &str, when: &str| recovery.clone().approve(person(who), digest, 1, at(when)).unwrap_err();
    assert!(matches!(refused("ana", &digest, "08:02"), RecoveryError::SamePerson { .. }));
    assert!(matches!(refused("ben", "other", "08:02"), RecoveryError::OtherPlan { .. }));
    let once = recovery.clone().approve(person("ben"), &digest, 2, at("08:02")).unwrap();
    assert_eq!(once.state.name(), "awaiting_approval");
    assert_eq!(once.approve(person("cem"), &digest, 2, at("08:03")).unwrap().state.name(), "approved");
    let late = recovery.approve(person("ben"), &digest, 1, at("08:02") + SignedDuration::from_hours(24));
    assert!(matches!(late, Err(RecoveryError::Expired { .. })));
}

#[test]
fn what_was_changed_after_the_approval_is_not_carried_out() {
    let (recovery, tenants) = waiting();
    let digest = digest(&recovery);
    let approved = recovery.approve(person("ben"), &digest, 1, at("08:02")).unwrap();
    let begin = |recovery: Recovery, tenants: &[PlannedTenant]| recovery.begin(tenants, 1, at("08:03"));
    let begun = begin(approved.clone(), &tenants).unwrap();
    assert_eq!(begin(begun.clone(), &tenants).unwrap(), begun, "a second delivery carries on");

    let other = RecoveryPointId::from_uuid(Uuid::from_u128(99));
    let mut forged = tenants.clone();
    forged[0].from = Source::Export { point: other, content: "c".into(), as_of: at("06:40") };
    for tenants in [forged, vec![], [tenants.clone(), tenants.clone()].concat()] {
        assert!(matches!(begin(approved.clone(), &tenants), Err(RecoveryError::OtherPlan { .. })));
        assert!(matches!(begun.check(&tenants, 1, at("08:03")), Err(RecoveryError::OtherPlan { .. })), "nor half-way");
    }
    let changes: [fn(&mut Recovery); 6] = [
        |recovery| recovery.to = Some(at("03:00")),
        |recovery| recovery.native = true,
        |recovery| {
            let RecoveryState::Approved { plan, .. } = &mut recovery.state else { unreachable!() };
            let instant = FromInstant { resource_id: "db-1".into(), as_of: at("05:00"), settings_of: None };
            plan.instances[0].from = Some(MadeFrom::Instant(instant));
        },
        |recovery| recovery.reason = "another".into(),
        |recovery| {
            let RecoveryState::Approved { plan, .. } = &mut recovery.state else { unreachable!() };
            let Some(MadeFrom::Snapshot(from)) = &mut plan.instances[0].from else { unreachable!() };
            from.identifier = "other".into();
        },
        |recovery| {
            let RecoveryState::Approved { plan, .. } = &mut recovery.state else { unreachable!() };
            plan.notes.clear();
            plan.tenants = 7;
        },
    ];
    for change in changes {
        let mut changed = approved.clone();
        change(&mut changed);
        assert!(matches!(begin(changed, &tenants), Err(RecoveryError::OtherPlan { .. })));
    }
    let mut alone = approved.clone();
    let RecoveryState::Approved { approvals, .. } = &mut alone.state else { unreachable!() };
    approvals[0].by = person("ana");
    assert!(matches!(begin(alone, &tenants), Err(RecoveryError::SamePerson { .. })));
    assert!(matches!(approved.begin(&tenants, 2, at("08:03")), Err(RecoveryError::MoreNeeded { .. })));
    assert!(matches!(begun.check(&tenants, 1, at("08:03") + SignedDuration::from_hours(25)), Err(RecoveryError::Expired { .. })));
}

#[test]
fn nobody_breaks_the_glass_for_a_whole_environment() {
    let (recovery, tenants) = waiting();
    let digest = digest(&recovery);
    let approved = recovery.clone().approve(person("ben"), &digest, 1, at("08:02")).unwrap();
    let begun = approved.clone().begin(&tenants, 1, at("08:03")).unwrap();
    let forged = |mut recovery: Recovery| {
        let (RecoveryState::Approved { approvals, .. } | RecoveryState::Making { approvals, .. }) = &mut recovery.state else {
            unreachable!()
        };
        approvals[0].by = person("ana");
        approvals[0].break_glass = Some("alone".into());
        recovery
    };
    assert!(matches!(forged(approved).begin(&tenants, 2, at("08:03")), Err(RecoveryError::GlassBroken { .. })));
    assert!(matches!(forged(begun).check(&tenants, 2, at("08:03")), Err(RecoveryError::GlassBroken { .. })));
    let mut waiting = recovery;
    let RecoveryState::AwaitingApproval { approvals, .. } = &mut waiting.state else { unreachable!() };
    let break_glass = Some("alone".into());
    approvals.push(Approval { by: person("ana"), at: at("08:02"), preview_digest: digest.clone(), break_glass });
    let agreed = waiting.approve(person("ben"), &digest, 2, at("08:03"));
    assert!(matches!(agreed, Err(RecoveryError::GlassBroken { .. })));
}

#[test]
fn a_recovery_that_is_done_is_still_held_against_what_was_agreed_to() {
    let (_, tenants) = waiting();
    let recovery = restoring();
    let report = Report::of(&recovery, recovery.state.work().unwrap(), &[], at("08:23"));
    assert!(matches!(recovery.check_done(&tenants), Err(RecoveryError::WrongState { .. })));
    let done = recovery.finish(report).unwrap();
    done.check_done(&tenants).unwrap();
    assert!(matches!(done.check_done(&[]), Err(RecoveryError::OtherPlan { .. })));
    let mut renamed = done.clone();
    let RecoveryState::Done { plan, .. } = &mut renamed.state else { unreachable!() };
    plan.instances[0].name = "production".into();
    assert!(matches!(renamed.check_done(&tenants), Err(RecoveryError::OtherPlan { .. })));
    let mut alone = done;
    let RecoveryState::Done { approvals, .. } = &mut alone.state else { unreachable!() };
    approvals.clear();
    assert!(matches!(alone.check_done(&tenants), Err(RecoveryError::MoreNeeded { .. })));
}

#[test]
fn only_what_was_planned_counts_as_agreed_to() {
    let (recovery, tenants) = waiting();
    let item = |index: u32, planned: bool| RecoveredTenant { index, planned, ..ended(Progress::Waiting) };
    let found = [item(0, true), item(1, true), item(2, false)];
    assert_eq!(
        recovery.planned_of(&found),
        tenants,
        "one tenant; the others are of an earlier delivery, and of the register only"
    );
}

#[test]
fn every_recovery_point_that_a_recovery_is_made_from_is_named() {
    let (recovery, _) = waiting();
    let named: Vec<u128> = recovery.points(&[ended(Progress::Waiting)]).iter().map(|point| point.uuid().as_u128()).collect();
    assert_eq!(named, [2, 3, 5], "both snapshots and the export");
}

fn restoring() -> Recovery {
    let (recovery, tenants) = waiting();
    let digest = digest(&recovery);
    let begun = recovery.approve(person("ben"), &digest, 1, at("08:02")).unwrap().begin(&tenants, 1, at("08:03")).unwrap();
    let mut instances = begun.state.work().unwrap().instances.clone();
    instances[0].stage = Stage::Ready { rto_ms: 1, at: at("08:10"), lacks: vec![] };
    let making = begun.made(instances.clone(), at("08:10")).unwrap();
    assert_eq!(making.state.name(), "making", "one is still due");
    instances[1].stage = Stage::Ready { rto_ms: 2, at: at("08:13"), lacks: vec![] };
    making.made(instances, at("08:13")).unwrap().platform_back(vec![], at("08:15")).unwrap()
}

fn ended(progress: Progress) -> RecoveredTenant {
    let (_, tenants) = waiting();
    RecoveredTenant { recovery: recovery_id(), index: 0, planned: true, plan: tenants[0].clone(), progress }
}

#[test]
fn the_report_measures_every_stage_and_calls_nothing_proven_that_is_not() {
    let recovery = restoring();
    let proven = || Progress::Proven { at: at("08:20"), rto_ms: 9, rows: 7, undo_copy: None, notes: vec![] };
    let report = |tenants: &[RecoveredTenant]| Report::of(&recovery, recovery.state.work().unwrap(), tenants, at("08:23"));
    let whole = report(&[ended(proven())]);
    assert_eq!((whole.outcome, whole.tally.proven, whole.tally.rows), (Outcome::Proven, 1, 7));
    let minutes =
        [whole.instances_ms, whole.platform_ms, whole.tenants_ms, whole.rto_ms, whole.since_request_ms].map(|ms| ms / 60_000);
    assert_eq!(minutes, [10, 2, 8, 20, 23]);
    assert_eq!(whole.rpo_ms, Some(80 * 60_000), "from 06:40 to the request at 08:00");
    let counted = Progress::AsOfInstant { at: at("08:20"), rto_ms: 9, tables: 1, rows: 5 };
    let counted = report(&[ended(proven()), ended(counted)]);
    assert_eq!((counted.outcome, counted.tally.as_of_instant, counted.tally.rows), (Outcome::Proven, 1, 12));
    for bad in [Progress::Waiting, Progress::Failed { at: at("08:20"), code: "C".into(), message: "m".into() }] {
        let part = report(&[ended(proven()), ended(bad)]);
        assert_eq!((part.outcome, part.tally.failed), (Outcome::FailedInPart, 1));
    }
    let mut work = recovery.state.work().unwrap().clone();
    work.instances[1].stage = Stage::Failed { at: at("08:13"), message: "m".into() };
    assert_eq!(Report::of(&recovery, &work, &[], at("08:23")).outcome, Outcome::FailedInPart, "an instance is missing");
}

#[test]
fn a_recovery_that_ended_stays_as_it_ended() {
    let recovery = restoring();
    let report = Report::of(&recovery, recovery.state.work().unwrap(), &[], at("08:23"));
    let done = recovery.clone().finish(report).unwrap();
    let error = ErrorReport::new(ErrorCode::SourceRefused, "m");
    assert!(done.clone().fail(&error, at("08:24")).is_err() && done.made(vec![], at("08:24")).is_err());
    let failed = recovery.fail(&error, at("08:24")).unwrap();
    assert_eq!(failed.state.work().unwrap().instances.len(), 2, "what was made stays, and is told");
}

#[test]
fn the_persisted_names_are_promises() {
    let recovery = restoring();
    let json = serde_json::to_value(&recovery).unwrap();
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("recovery", json) });
    assert_eq!(serde_json::from_value::<Recovery>(json).unwrap(), recovery);
    let point = RecoveryPointId::from_uuid(Uuid::from_u128(4));
    let instant = MadeFrom::Instant(FromInstant { resource_id: "db-1".into(), as_of: at("06:45"), settings_of: Some(point) });
    let json = serde_json::to_value(&instant).unwrap();
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("made_from_instant", json) });
    assert_eq!(serde_json::from_value::<MadeFrom>(json).unwrap(), instant);
    let tenant = ended(Progress::Proven { at: at("08:20"), rto_ms: 9, rows: 7, undo_copy: Some("u".into()), notes: vec![] });
    let json = serde_json::to_value(&tenant).unwrap();
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!("recovered_tenant", json) });
    assert_eq!(serde_json::from_value::<RecoveredTenant>(json).unwrap(), tenant);
}
