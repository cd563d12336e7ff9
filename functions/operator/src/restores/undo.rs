//! Asking for a restore's effect to be taken back. It is a request like any other: previewed, approved and proven.

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, RequestId, caps,
    identity::Identity,
    point::Kind,
    request::{Mode, RequestState, RestoreRequest},
};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::Value;

use super::{ask::start, said};

/// The body of `restore-undo`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Undoing {
    request: RequestId,
    reason: String,
}

/// Records a request that takes back what another one did, and starts its runbook.
pub(crate) async fn undo(services: &Services, caller: &Identity, undoing: Undoing) -> Result<Value, ErrorReport> {
    let reason = said(&undoing.reason, "a reason")?.to_owned();
    let original = services.catalog.request(undoing.request).await?.value;
    let point = leads_back(&original)?;
    services.tenant(&original.tenant).await?.check_not_erased()?;
    for other in [
        services.catalog.requests(true, caps::LISTED_POINTS_MAX).await?,
        services.catalog.requests(false, caps::LISTED_POINTS_MAX).await?,
    ] {
        if let Some(other) = other.iter().find(|other| takes_back(other, original.id)) {
            let state = other.state.name();
            return Err(refused(&original, &format!("{} undoes it already and is {state}", other.id)));
        }
    }
    let (id, now) = (services.fresh.request_id(), services.clock.now());
    let asked = RestoreRequest::new(id, original.tenant, (point, original.kind), reason, caller.clone(), now);
    let request = RestoreRequest { undoes: Some(original.id), selection: original.selection, ..asked };
    start(services, request, "restore.undo").await
}

/// Whether a request takes back what `original` did, or is about to.
fn takes_back(other: &RestoreRequest, original: RequestId) -> bool {
    other.undoes == Some(original) && !matches!(other.state, RequestState::Failed { .. })
}

/// The recovery point that an undo of this request works with: of a database the restored one, beside the copy of what it replaced; of
/// files the one of the state before.
///
/// # Errors
/// If it cannot be undone, and why.
fn leads_back(original: &RestoreRequest) -> Result<RecoveryPointId, ErrorReport> {
    let before = match &original.state {
        RequestState::Proven { outcome, .. } => outcome.before,
        // It may be live all the same, or stand beside: that was looked at after the cutover. The undo's own preview finds out.
        RequestState::Failed { preview: Some(_), .. } if original.kind == Kind::Database => None,
        RequestState::Failed { .. } => {
            return Err(refused(
                original,
                "it failed before its work began, or is of files, each of which was put right by itself; see `holdfast points` \
                 for one of the rule `before-restore`",
            ));
        }
        state => {
            let why = format!("it is {}, and only what was carried out is undone", state.name());
            return Err(refused(original, &why));
        }
    };
    if let Mode::NewEnvironment { .. } = original.mode {
        return Err(refused(original, "it filled a new environment, where nothing was before; make a request for another point"));
    }
    if original.state.preview().is_none() {
        return Err(refused(
            original,
            "its record is from before previews were kept, so nobody knows what an undo must lead back to",
        ));
    }
    match (original.kind, before) {
        (Kind::Database, _) => Ok(original.point),
        (Kind::Media, Some(before)) => Ok(before),
        (Kind::Media, None) => {
            Err(refused(original, "no recovery point was made of the files before; choose one from `holdfast points`"))
        }
        (Kind::Configuration | Kind::Snapshot, _) => Err(refused(
            original,
            "it is of settings, whose values nobody keeps, so what was before cannot be made again (ADR 8); its outcome's notes say what was there",
        )),
    }
}

fn refused(original: &RestoreRequest, why: &str) -> ErrorReport {
    ErrorReport::new(ErrorCode::RestoreRefused, format!("restore request {} cannot be undone: {why}", original.id))
}

#[cfg(test)]
mod tests {
    use domain::request::{Findings, Outcome, Preview};
    use jiff::Timestamp;

    use super::*;

    fn at() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn before() -> RecoveryPointId {
        "rp_00000000-0000-0000-0000-000000000009".parse().unwrap()
    }

    /// A request that was proven, after a change.
    fn proven(change: impl FnOnce(&mut RestoreRequest)) -> RestoreRequest {
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        let id = "rq_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let point = "rp_00000000-0000-0000-0000-000000000002".parse().unwrap();
        let mut request = RestoreRequest::new(id, "acme".parse().unwrap(), (point, Kind::Database), "gone".into(), ana, at());
        let found = Findings { tables: vec![], notes: vec![], live_digest: "l".into() };
        let preview = Some(Preview::new(&request, "sha", found, None, at()));
        let outcome =
            Outcome { proven_at: at(), rto_ms: 1, rows: 1, undo_copy: Some("x".into()), before: Some(before()), notes: vec![] };
        request.state = RequestState::Proven { preview, approvals: vec![], outcome };
        change(&mut request);
        request
    }

    #[test]
    fn an_undo_works_with_the_recovery_point_that_leads_back() {
        let database = proven(|_| {});
        assert_eq!(leads_back(&database).unwrap(), database.point);
        assert_eq!(leads_back(&proven(|request| request.kind = Kind::Media)).unwrap(), before());
        // What was put beside the live data is dropped, and an undo keeps what it replaces like every other restore.
        assert_eq!(leads_back(&proven(|request| request.mode = Mode::SideBySide)).unwrap(), database.point);
        assert_eq!(leads_back(&proven(|request| request.undoes = Some(request.id))).unwrap(), database.point);
    }

    fn failed(preview: Option<Preview>) -> RequestState {
        RequestState::Failed { at: at(), code: "ContentMismatch".into(), message: "m".into(), preview }
    }

    #[test]
    fn what_failed_in_the_middle_of_its_work_may_be_live_and_can_be_undone() {
        for mode in [Mode::InPlace, Mode::SideBySide] {
            let original = proven(|request| {
                request.mode = mode;
                request.state = failed(request.state.preview().cloned());
            });
            assert_eq!(leads_back(&original).unwrap(), original.point);
        }
    }

    #[test]
    fn what_cannot_be_undone_is_refused_with_the_reason() {
        type Change = fn(&mut RestoreRequest);
        let changes: [(Change, &str); 7] = [
            (
                |request| {
                    request.mode = Mode::NewEnvironment { recovery: "rc_00000000-0000-0000-0000-000000000004".parse().unwrap() }
                },
                "new environment",
            ),
            (|request| request.kind = Kind::Configuration, "ADR 8"),
            (|request| request.state = RequestState::Requested, "it is requested"),
            (|request| request.state = failed(None), "it failed before"),
            (
                |request| {
                    request.kind = Kind::Media;
                    request.state = failed(request.state.preview().cloned());
                },
                "of files",
            ),
            (
                |request| {
                    if let RequestState::Proven { preview, .. } = &mut request.state {
                        *preview = None;
                    }
                },
                "before previews were kept",
            ),
            (
                |request| {
                    request.kind = Kind::Media;
                    if let RequestState::Proven { outcome, .. } = &mut request.state {
                        outcome.before = None;
                    }
                },
                "no recovery point was made of the files before",
            ),
        ];
        for (change, about) in changes {
            let report = leads_back(&proven(change)).expect_err(about);
            assert_eq!(report.code, ErrorCode::RestoreRefused);
            assert!(report.message.contains(about) && report.message.contains("rq_"), "{report}");
        }
    }

    #[test]
    fn a_failed_undo_may_be_asked_for_again_and_no_other_may() {
        let original = proven(|_| {});
        let undo = |state| RestoreRequest { undoes: Some(original.id), state, ..proven(|_| {}) };
        assert!(takes_back(&undo(RequestState::Requested), original.id));
        assert!(takes_back(&undo(original.state.clone()), original.id));
        assert!(!takes_back(&undo(failed(None)), original.id));
        assert!(!takes_back(&original, original.id));
    }
}
