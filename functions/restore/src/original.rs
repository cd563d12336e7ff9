//! The request that another one takes back.

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, RequestId,
    point::Kind,
    request::{Mode, RequestState, RestoreRequest},
};
use runtime::services::Services;
use sources::postgres::LiveDigest;

/// What an undo has to know of the request it takes back.
pub(crate) struct Original {
    pub(crate) id: RequestId,
    pub(crate) mode: Mode,
    /// The digest of what was live before it.
    pub(crate) recorded: String,
    /// The recovery point of that state, if one could be made.
    pub(crate) before: Option<RecoveryPointId>,
    /// Whether it ended well. If not, it may have changed nothing.
    is_proven: bool,
}

impl Original {
    /// The request that this one takes back, if it takes one back.
    ///
    /// # Errors
    /// If that one did not end well, or is of something else than this.
    pub(crate) async fn of(services: &Services, request: &RestoreRequest) -> Result<Option<Self>, ErrorReport> {
        let Some(id) = request.undoes else { return Ok(None) };
        Self::read(services.catalog.request(id).await?.value, request).map(Some)
    }

    fn read(original: RestoreRequest, request: &RestoreRequest) -> Result<Self, ErrorReport> {
        let refused = |why: &str| {
            let message = format!("restore request {} cannot be undone by {}: {why}", original.id, request.id);
            Err(ErrorReport::new(ErrorCode::RestoreRefused, message))
        };
        if (&original.tenant, original.kind) != (&request.tenant, request.kind) {
            return refused("it is of another tenant, or of another kind of data");
        }
        if original.selection != request.selection {
            return refused("it is of other tables");
        }
        let (before, is_proven) = match &original.state {
            RequestState::Proven { outcome, .. } => (outcome.before, true),
            // What was found to differ after the cutover, or was cut off there, is live all the same.
            RequestState::Failed { preview: Some(_), .. } if original.kind == Kind::Database => (None, false),
            state => return refused(&format!("it is {}, and only what was carried out can be", state.name())),
        };
        let Some(preview) = original.state.preview() else {
            return refused("its record is from before previews were kept, so nobody knows what an undo must lead back to");
        };
        match (original.kind, before) {
            (Kind::Configuration | Kind::Snapshot, _) => {
                return refused("it is of settings, whose values nobody keeps, so what was before cannot be made again (ADR 8)");
            }
            (Kind::Media, before) if before != Some(request.point) => {
                return refused("files go back to the recovery point that was made of them before, and this names another");
            }
            _ => {}
        }
        if !is_proven && preview.live_digest == LiveDigest::ABSENT {
            // No copy says whether it was carried out: what is there now may be another's work.
            return refused("nothing was there before it, and it did not end well; make a new request");
        }
        let recorded = preview.live_digest.clone();
        Ok(Self { id: original.id, mode: original.mode, recorded, before, is_proven })
    }

    /// What a person can do where the copy that was kept is gone.
    pub(crate) fn otherwise(&self) -> String {
        match self.before {
            Some(point) => format!("recovery point {point} was made of the state before: make a request for that one"),
            None if !self.is_proven => format!(
                "{} did not end well: if it changed nothing, there is nothing to undo; otherwise `holdfast points` lists what was \
                 live before under the rule `before-restore`",
                self.id
            ),
            None => "no recovery point was made of the state before; look for the nearest with `holdfast points`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        identity::Identity,
        request::{Findings, Outcome, Preview, Selection},
    };
    use jiff::Timestamp;

    use super::*;

    fn request(kind: Kind) -> RestoreRequest {
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        let id = "rq_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let point = ("rp_00000000-0000-0000-0000-000000000002".parse().unwrap(), kind);
        RestoreRequest::new(id, "acme".parse().unwrap(), point, "gone".into(), ana, Timestamp::UNIX_EPOCH)
    }

    fn proven(kind: Kind, before: Option<RecoveryPointId>) -> RestoreRequest {
        let asked = request(kind);
        let found = Findings { tables: vec![], notes: vec![], live_digest: "live before".into() };
        let preview = Some(Preview::new(&asked, "sha", found, None, Timestamp::UNIX_EPOCH));
        let proven_at = Timestamp::UNIX_EPOCH;
        let outcome = Outcome { proven_at, rto_ms: 1, rows: 7, undo_copy: None, before, notes: vec![] };
        RestoreRequest { state: RequestState::Proven { preview, approvals: vec![], outcome }, ..asked }
    }

    #[test]
    fn what_was_proven_is_taken_back_to_what_its_preview_recorded() {
        let original = Original::read(proven(Kind::Database, None), &request(Kind::Database)).unwrap();
        assert_eq!(original.recorded, "live before");
        assert!(original.otherwise().contains("holdfast points"), "{}", original.otherwise());
        let before = Some("rp_00000000-0000-0000-0000-000000000009".parse().unwrap());
        let original = Original::read(proven(Kind::Database, before), &request(Kind::Database)).unwrap();
        assert!(original.otherwise().contains("rp_00000000-0000-0000-0000-000000000009"), "{}", original.otherwise());
    }

    #[test]
    fn what_may_be_live_although_it_did_not_end_well_is_taken_back() {
        let failed = |live: &str| {
            let mut original = proven(Kind::Database, None);
            let RequestState::Proven { preview: Some(preview), .. } = original.state else { unreachable!() };
            let preview = Some(Preview { live_digest: live.into(), ..preview });
            let (code, message) = ("ContentMismatch".into(), "it is live".into());
            original.state = RequestState::Failed { at: Timestamp::UNIX_EPOCH, code, message, preview };
            original
        };
        let original = Original::read(failed("live before"), &request(Kind::Database)).unwrap();
        assert_eq!(original.recorded, "live before");
        assert!(original.otherwise().contains("did not end well"), "{}", original.otherwise());
        let report = Original::read(failed(LiveDigest::ABSENT), &request(Kind::Database)).err().unwrap();
        assert!(report.message.contains("nothing was there before it"), "{report}");
    }

    #[test]
    fn what_cannot_be_taken_back_is_refused_with_the_reason() {
        let of_database = || request(Kind::Database);
        let other = RestoreRequest { tenant: "other".parse().unwrap(), ..of_database() };
        let some = RestoreRequest { selection: Selection { tables: vec!["t".into()], columns: vec![] }, ..of_database() };
        let media = Some(request(Kind::Media).point);
        assert!(Original::read(proven(Kind::Media, media), &request(Kind::Media)).is_ok());
        for (original, request, about) in [
            (proven(Kind::Database, None), other, "another tenant"),
            (proven(Kind::Database, None), some, "other tables"),
            (of_database(), of_database(), "it is requested"),
            (proven(Kind::Media, None), request(Kind::Media), "names another"),
            (proven(Kind::Configuration, None), request(Kind::Configuration), "ADR 8"),
        ] {
            let report = Original::read(original, &request).err().unwrap();
            assert!(report.code == ErrorCode::RestoreRefused && report.message.contains(about), "{report}");
        }
    }
}
