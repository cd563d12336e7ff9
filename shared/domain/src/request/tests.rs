use uuid::Uuid;

use super::*;

fn person(arn: &str) -> Identity {
    Identity { arn: format!("arn:aws:{arn}"), principal: format!("id-of-{arn}"), account: "1".into() }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn waiting() -> (RestoreRequest, String) {
    let id = RequestId::from_uuid(Uuid::from_u128(1));
    let tenant: TenantId = "acme".parse().unwrap();
    let point = (RecoveryPointId::from_uuid(Uuid::from_u128(2)), Kind::Database);
    let ana = person("iam::1:user/ana");
    let request = RestoreRequest::new(id, tenant, point, "rows gone".into(), ana, time("2026-11-23T09:59:00Z"));
    let found = Findings { tables: vec![], notes: vec![], live_digest: "live".into() };
    let preview = Preview::new(&request, "sha", found, None, time("2026-11-23T10:00:00Z"));
    let digest = preview.digest.clone();
    (request.preview(preview).unwrap().await_approval("token".into()).unwrap(), digest)
}

#[test]
fn another_person_may_approve_what_was_shown() {
    let (request, digest) = waiting();
    let approved = request.approve(person("iam::1:user/ben"), &digest, 1, time("2026-11-23T11:00:00Z")).unwrap();
    let executing = approved.execute("sha", 1, time("2026-11-23T11:01:00Z")).unwrap();
    assert_eq!(
        executing.clone().execute("sha", 1, time("2026-11-23T11:02:00Z")).unwrap(),
        executing,
        "a second delivery carries on"
    );
    let late = executing.execute("sha", 1, time("2026-11-23T17:01:01Z"));
    assert!(matches!(late, Err(RequestError::Expired { .. })), "but not weeks later: {late:?}");
}

#[test]
fn the_same_person_may_not_approve_under_any_name() {
    let others = ["sts::1:assumed-role/AWSReservedSSO_Ops_1/ana", "sts::1:assumed-role/Admin/ben", "iam::1:root"];
    for approver in ["iam::1:user/ana", "iam::1:user/ops/Ana"].into_iter().chain(others) {
        let (request, digest) = waiting();
        let refused = request.approve(person(approver), &digest, 1, time("2026-11-23T11:00:00Z"));
        assert!(matches!(refused, Err(RequestError::SamePerson { .. })), "{approver}: {refused:?}");
    }
}

#[test]
fn an_approval_holds_for_one_preview_and_one_day() {
    let ben = || person("iam::1:user/ben");
    let (request, digest) = waiting();
    assert!(matches!(
        request.clone().approve(ben(), "other", 1, time("2026-11-23T11:00:00Z")),
        Err(RequestError::OtherPreview { .. })
    ));
    assert!(matches!(
        request.clone().approve(ben(), &digest, 1, time("2026-11-24T10:00:01Z")),
        Err(RequestError::Expired { .. })
    ));
    let approved = request.approve(ben(), &digest, 1, time("2026-11-24T09:00:00Z")).unwrap();
    assert!(matches!(approved.clone().execute("other", 1, time("2026-11-24T09:00:01Z")), Err(RequestError::OtherPreview { .. })));
    assert!(approved.clone().execute("sha", 1, time("2026-11-24T11:00:00Z")).is_ok(), "the state before was kept first");
    assert!(matches!(approved.clone().execute("sha", 1, time("2026-11-24T11:00:01Z")), Err(RequestError::Expired { .. })));
    assert!(matches!(approved.approve(ben(), &digest, 1, time("2026-11-24T09:00:00Z")), Err(RequestError::WrongState { .. })));
}

#[test]
fn a_forged_approval_in_the_catalog_is_not_carried_out() {
    let now = time("2026-11-23T11:00:00Z");
    let (request, digest) = waiting();
    let approved = request.approve(person("iam::1:user/ben"), &digest, 1, now).unwrap();
    for genuine in [approved.clone(), approved.execute("sha", 1, now).unwrap()] {
        let forge = |change: fn(&mut Preview, &mut Vec<Approval>)| {
            let mut forged = genuine.clone();
            let (RequestState::Approved { preview, approvals, .. } | RequestState::Executing { preview, approvals, .. }) =
                &mut forged.state
            else {
                unreachable!()
            };
            change(preview, approvals);
            forged.execute("sha", 1, now)
        };
        assert!(forge(|_, _| {}).is_ok());
        assert!(matches!(
            forge(|_, approvals| approvals[0].by = person("iam::1:user/ana")),
            Err(RequestError::SamePerson { .. })
        ));
        assert!(matches!(forge(|preview, _| preview.live_digest = "other".into()), Err(RequestError::OtherPreview { .. })));
        assert!(matches!(forge(|preview, _| preview.digest = "other".into()), Err(RequestError::OtherPreview { .. })));
    }
}

#[test]
fn a_request_that_ended_stays_as_it_ended() {
    let (request, _) = waiting();
    let failed = request.fail(&ErrorReport::new(ErrorCode::RestoreRefused, "m"), time("2026-11-23T11:00:00Z")).unwrap();
    assert!(failed.clone().execute("sha", 1, time("2026-11-23T11:00:00Z")).is_err());
    assert!(failed.fail(&ErrorReport::new(ErrorCode::Throttled, "m"), time("2026-11-23T11:00:00Z")).is_err());
}

#[test]
fn what_failed_in_the_middle_of_its_work_keeps_what_an_undo_leads_back_to() {
    let now = time("2026-11-23T11:00:00Z");
    let report = ErrorReport::new(ErrorCode::ContentMismatch, "m");
    let (request, digest) = waiting();
    assert_eq!(request.clone().fail(&report, now).unwrap().state.preview(), None, "nothing was done");
    let approved = request.approve(person("iam::1:user/ben"), &digest, 1, now).unwrap();
    assert_eq!(approved.clone().fail(&report, now).unwrap().state.preview(), None, "nothing was done");
    let failed = approved.execute("sha", 1, now).unwrap().fail(&report, now).unwrap();
    assert_eq!(failed.state.preview().map(|preview| preview.live_digest.as_str()), Some("live"));
    let mut json = serde_json::to_value(&failed).unwrap();
    assert_eq!(serde_json::from_value::<RestoreRequest>(json.clone()).unwrap(), failed);
    json.as_object_mut().unwrap().remove("preview");
    assert_eq!(serde_json::from_value::<RestoreRequest>(json).unwrap().state.preview(), None, "older records have none");
}

#[test]
fn the_persisted_names_are_promises() {
    let (request, digest) = waiting();
    let request = request.approve(person("iam::1:user/ben"), &digest, 1, time("2026-11-23T11:00:00Z")).unwrap();
    let json = serde_json::to_value(&request).unwrap();
    insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(json) });
    assert_eq!(serde_json::from_value::<RestoreRequest>(json.clone()).unwrap(), request);
    let mut older = json;
    let fields = older.as_object_mut().unwrap();
    fields.remove("kind");
    fields.remove("mode");
    let approvals = fields.remove("approvals").unwrap();
    fields.insert("approval".into(), approvals[0].clone());
    assert_eq!(serde_json::from_value::<RestoreRequest>(older).unwrap(), request, "when there was one kind, mode and approval");
}

#[test]
fn a_request_that_was_changed_after_its_preview_is_not_carried_out() {
    let now = time("2026-11-23T11:00:00Z");
    let (request, digest) = waiting();
    let approved = request.approve(person("iam::1:user/ben"), &digest, 1, now).unwrap();
    let changes: [fn(&mut RestoreRequest); 8] = [
        |request| request.tenant = "other".parse().unwrap(),
        |request| request.point = RecoveryPointId::from_uuid(Uuid::from_u128(3)),
        |request| request.kind = Kind::Media,
        |request| request.mode = Mode::SideBySide,
        |request| request.selection.tables.push("orders".into()),
        |request| request.undoes = Some(request.id),
        |request| request.point_in_time = Some(request.requested_at),
        |request| request.reason = "another".into(),
    ];
    for change in changes {
        let mut changed = approved.clone();
        change(&mut changed);
        assert!(matches!(changed.execute("sha", 1, now), Err(RequestError::OtherPreview { .. })));
    }
}

#[test]
fn where_two_must_agree_one_is_not_enough_and_none_counts_twice() {
    let now = time("2026-11-23T11:00:00Z");
    let (request, digest) = waiting();
    let once = request.approve(person("iam::1:user/ben"), &digest, 2, now).unwrap();
    assert!(matches!(&once.state, RequestState::AwaitingApproval { approvals, .. } if approvals.len() == 1));
    assert!(matches!(once.clone().execute("sha", 2, now), Err(RequestError::WrongState { .. })));
    for again in ["iam::1:user/ben", "sts::1:assumed-role/AWSReservedSSO_Ops_1/Ben", "iam::1:user/ana"] {
        let refused = once.clone().approve(person(again), &digest, 2, now);
        assert!(matches!(refused, Err(RequestError::SamePerson { .. })), "{again}: {refused:?}");
    }
    let twice = once.approve(person("iam::1:user/cem"), &digest, 2, now).unwrap();
    assert!(matches!(twice.clone().execute("sha", 3, now), Err(RequestError::MoreNeeded { needed: 3, .. })), "asked for since");
    assert!(twice.execute("sha", 2, now).is_ok());
}

#[test]
fn one_person_alone_is_reviewed_by_another() {
    let now = time("2026-11-23T11:00:00Z");
    let (request, digest) = waiting();
    let ana = || person("iam::1:user/ana");
    assert!(matches!(request.clone().break_glass(ana(), "other", "down".into(), now), Err(RequestError::OtherPreview { .. })));
    let broken = request.break_glass(ana(), &digest, "everything is down".into(), now).unwrap();
    let review = broken.review.clone().unwrap();
    assert!(!review.is_overdue(review.due) && review.is_overdue("2026-11-24T11:00:01Z".parse().unwrap()));
    let executing = broken.execute("sha", 2, now).unwrap();
    let early = executing.clone().reviewed(person("iam::1:user/ben"), "fine".into(), now);
    assert!(matches!(early, Err(RequestError::WrongState { .. })), "there is nothing to look at yet: {early:?}");
    let outcome = Outcome { proven_at: now, rto_ms: 1, rows: 1, undo_copy: None, before: None, notes: vec![] };
    let proven = executing.prove(outcome).unwrap();
    assert!(matches!(proven.clone().reviewed(ana(), "fine".into(), now), Err(RequestError::SamePerson { .. })));
    let reviewed = proven.reviewed(person("iam::1:user/ben"), "fine".into(), now).unwrap();
    assert!(!reviewed.review.as_ref().unwrap().is_overdue("2027-01-01T00:00:00Z".parse().unwrap()));
    assert!(matches!(reviewed.reviewed(person("iam::1:user/cem"), "too".into(), now), Err(RequestError::NoReview { .. })));
}

#[test]
fn who_broke_the_glass_does_not_review_it_even_if_it_failed() {
    let now = time("2026-11-23T11:00:00Z");
    let (request, digest) = waiting();
    let ben = || person("iam::1:user/ben");
    let broken = request.break_glass(ben(), &digest, "everything is down".into(), now).unwrap();
    let failed = broken.fail(&ErrorReport::new(ErrorCode::RestoreRefused, "m"), now).unwrap();
    for own in
        ["iam::1:user/ben", "sts::1:assumed-role/AWSReservedSSO_Ops_1/Ben", "iam::1:user/ana", "sts::1:assumed-role/Admin/x"]
    {
        let refused = failed.clone().reviewed(person(own), "fine".into(), now);
        assert!(matches!(refused, Err(RequestError::SamePerson { .. })), "{own}: {refused:?}");
    }
    assert!(failed.reviewed(person("iam::1:user/cem"), "the wrong tenant".into(), now).is_ok());
}

#[test]
fn an_overdue_review_is_overdue_again_after_the_same_while() {
    let (request, digest) = waiting();
    let broken = request.break_glass(person("iam::1:user/ana"), &digest, "down".into(), time("2026-11-23T11:00:00Z")).unwrap();
    let review = broken.review.unwrap();
    for (now, times) in [
        ("2026-11-24T11:00:00Z", 0),
        ("2026-11-24T11:00:01Z", 1),
        ("2026-11-25T10:59:59Z", 1),
        ("2026-11-25T11:00:00Z", 2),
        ("2026-12-01T12:00:00Z", 8),
    ] {
        assert_eq!(review.times_overdue(time(now)), times, "{now}");
    }
}

#[test]
fn a_request_says_in_words_what_it_asks_for() {
    let (request, _) = waiting();
    let (point, id) = (request.point, request.id);
    assert_eq!(request.in_words(), format!("restore tenant acme in place from database recovery point {point}"));
    let columns = vec![
        ColumnNow { table: "orders".into(), column: "note".into(), now: Some("remark".into()) },
        ColumnNow { table: "orders".into(), column: "mood".into(), now: None },
    ];
    let selection = Selection { tables: (0..12).map(|n| format!("t{n}")).collect(), columns };
    let at = time("2026-11-23T09:00:00Z");
    let some = RestoreRequest { mode: Mode::SideBySide, selection, point_in_time: Some(at), ..request.clone() };
    assert_eq!(
        some.in_words(),
        format!(
            "restore tenant acme side by side from database recovery point {point} of 2026-11-23T09:00:00Z, \
             only t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 2 more, orders.note as remark, without orders.mood"
        )
    );
    let undo = RestoreRequest { undoes: Some(id), ..request };
    assert_eq!(undo.in_words(), format!("undo restore {id} of tenant acme, which was from database recovery point {point}"));
}
