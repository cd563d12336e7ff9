//! Restore requests: who asked, what was shown, who agreed, how it ended.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    caps::{APPROVAL_LIFETIME_S, RESTORE_AT_MOST_S},
    error::{Coded, ErrorCode, ErrorReport},
    id::{RecoveryPointId, RequestId},
    identity::Identity,
    point::Kind,
    tenant::TenantId,
};

/// What a restore would do to one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEffect {
    /// The table.
    pub table: String,
    /// Rows that come back.
    pub returned: u64,
    /// Rows whose present values are replaced.
    pub overwritten: u64,
    /// Rows that exist now and will not.
    pub destroyed: u64,
    /// Rows that stay as they are.
    pub unchanged: u64,
}

/// What a restore would do, as shown to the person who approves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preview {
    /// When it was made.
    pub at: Timestamp,
    /// Table by table.
    pub tables: Vec<TableEffect>,
    /// What the counts do not say, such as structures that changed since.
    pub notes: Vec<String>,
    /// Digest of the tenant's live data when it was made.
    pub live_digest: String,
    /// Digest over the request, the recovery point and all of the above: what an approval is bound to.
    pub digest: String,
}

/// What a comparison of a recovery point with the live data found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    /// Table by table.
    pub tables: Vec<TableEffect>,
    /// What the counts do not say.
    pub notes: Vec<String>,
    /// Digest of the tenant's live data.
    pub live_digest: String,
}

impl Preview {
    /// Makes a preview of what was found, with its digest. `content` names the recovery point's content: its manifest's hash.
    #[must_use]
    pub fn new(request: RequestId, tenant: &TenantId, content: &str, found: Findings, at: Timestamp) -> Self {
        let Findings { tables, notes, live_digest } = found;
        let mut hasher = blake3::Hasher::new_derive_key("holdfast preview v1");
        // A list of plain structs of text and numbers always has its JSON.
        let shown = serde_json::to_string(&(&tables, &notes)).unwrap_or_default();
        for part in [&request.to_string(), tenant.as_str(), content, &shown, &live_digest, &at.to_string()] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let digest = hasher.finalize().to_hex().to_string();
        Self { at, tables, notes, live_digest, digest }
    }
}

/// A second person's agreement to one preview.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who agreed.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// The digest of the preview they saw.
    pub preview_digest: String,
}

/// How a restore that ended well ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When the live data was found equal to the recovery point.
    pub proven_at: Timestamp,
    /// From the start of the work to the match, in milliseconds.
    pub rto_ms: i64,
    /// Rows in the restored scope.
    pub rows: u64,
    /// Where the data that was replaced is kept, if there was any.
    pub undo_copy: Option<String>,
    /// Objects, owners and grants that differ from the recorded ones, for a person to judge.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// How far a request has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RequestState {
    /// Recorded; the preview is being made.
    Requested,
    /// Shown; nobody can approve it until the runbook waits.
    Previewed {
        /// What was shown.
        preview: Preview,
    },
    /// The runbook waits for a second person.
    AwaitingApproval {
        /// What was shown.
        preview: Preview,
        /// The Step Functions task token that lets the runbook go on.
        task_token: String,
    },
    /// Approved; the runbook goes on.
    Approved {
        /// What was shown.
        preview: Preview,
        /// Who agreed to it.
        approval: Approval,
        /// The token, kept so that the runbook can be woken again if the first call was lost.
        task_token: String,
    },
    /// The approval is used up; the work goes on.
    Executing {
        /// What was shown.
        preview: Preview,
        /// Who agreed to it.
        approval: Approval,
        /// When the work began.
        started_at: Timestamp,
    },
    /// Carried out, and the live data matched.
    Proven {
        /// Who agreed to it.
        approval: Approval,
        /// How it ended.
        outcome: Outcome,
    },
    /// Stopped, at the latest before the cutover unless the message says otherwise.
    Failed {
        /// When.
        at: Timestamp,
        /// The error code.
        code: String,
        /// What stopped it and what to do.
        message: String,
    },
}

impl RequestState {
    /// The state's name, as persisted and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Previewed { .. } => "previewed",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Approved { .. } => "approved",
            Self::Executing { .. } => "executing",
            Self::Proven { .. } => "proven",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Proven { .. } | Self::Failed { .. })
    }
}

/// A request to bring one tenant back, in place, from one recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// Its id.
    pub id: RequestId,
    /// The tenant, which is also the only possible target.
    pub tenant: TenantId,
    /// The recovery point.
    pub point: RecoveryPointId,
    /// What that holds, for those who are asked; what is done follows from the recovery point. Older records are of databases.
    #[serde(default)]
    pub kind: Kind,
    /// Why, in the requester's words.
    pub reason: String,
    /// Who asked.
    pub requested_by: Identity,
    /// When.
    pub requested_at: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    pub state: RequestState,
}

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The request is in another state.
    #[error("restore request {request} is {state}, so it cannot be {step}; see `holdfast restore watch {request}`")]
    WrongState {
        /// The request.
        request: RequestId,
        /// Its state.
        state: &'static str,
        /// What was tried.
        step: &'static str,
    },
    /// The same person asked and approved, or it cannot be told that they are two.
    #[error(
        "restore request {request} was made by {requester} and {approver} cannot approve it: another person must, and both must call as IAM users or IAM Identity Center users, whose names say who they are"
    )]
    SamePerson {
        /// The request.
        request: RequestId,
        /// Who made it.
        requester: String,
        /// Who tried to approve it.
        approver: String,
    },
    /// The approval names another preview.
    #[error(
        "the approval of restore request {request} names another preview; look at it again with `holdfast restore preview {request}`"
    )]
    OtherPreview {
        /// The request.
        request: RequestId,
    },
    /// Too much time went by.
    #[error("restore request {request} has expired: its preview, or its work, is from {at}; make a new request")]
    Expired {
        /// The request.
        request: RequestId,
        /// When the preview was made, or the work began.
        at: Timestamp,
    },
    /// The live data changed since the preview.
    #[error(
        "tenant {tenant}'s live data changed after the preview of restore request {request}; make a new request and have it approved"
    )]
    Drifted {
        /// The request.
        request: RequestId,
        /// The tenant.
        tenant: TenantId,
    },
}

impl Coded for RequestError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::WrongState { .. } => ErrorCode::Fenced,
            Self::SamePerson { .. } | Self::OtherPreview { .. } | Self::Expired { .. } => ErrorCode::ApprovalInvalid,
            Self::Drifted { .. } => ErrorCode::TargetDrifted,
        }
    }
}

impl RestoreRequest {
    /// Records the preview.
    ///
    /// # Errors
    /// Once somebody may have seen an earlier one.
    pub fn preview(self, preview: Preview) -> Result<Self, RequestError> {
        match self.state {
            RequestState::Requested | RequestState::Previewed { .. } => {
                Ok(Self { state: RequestState::Previewed { preview }, ..self })
            }
            _ => Err(self.wrong_state("previewed")),
        }
    }

    /// Records that the runbook waits.
    ///
    /// # Errors
    /// Unless it was previewed.
    pub fn await_approval(self, task_token: String) -> Result<Self, RequestError> {
        match self.state {
            RequestState::Previewed { preview } | RequestState::AwaitingApproval { preview, .. } => {
                Ok(Self { state: RequestState::AwaitingApproval { preview, task_token }, ..self })
            }
            _ => Err(self.wrong_state("put up for approval")),
        }
    }

    /// A second person agrees to the preview with this digest.
    ///
    /// # Errors
    /// Unless it waits for approval, `by` is another person, the digest is the preview's, and the preview is fresh.
    pub fn approve(self, by: Identity, preview_digest: &str, now: Timestamp) -> Result<Self, RequestError> {
        let RequestState::AwaitingApproval { preview, task_token } = self.state.clone() else {
            return Err(self.wrong_state("approved"));
        };
        self.check_persons(&by)?;
        if preview.digest != preview_digest {
            return Err(RequestError::OtherPreview { request: self.id });
        }
        self.check_fresh(&preview, now)?;
        let approval = Approval { by, at: now, preview_digest: preview_digest.to_owned() };
        Ok(Self { state: RequestState::Approved { preview, approval, task_token }, ..self })
    }

    /// Uses the approval up and begins the work. A second delivery of the same step carries on, for as long as the work may take.
    ///
    /// `content` names the content of the recovery point that is about to be restored.
    ///
    /// # Errors
    /// Unless it is approved, by another person, for this very preview of this very content, and the preview is fresh.
    pub fn execute(self, content: &str, now: Timestamp) -> Result<Self, RequestError> {
        let (preview, approval, started_at) = match self.state.clone() {
            RequestState::Approved { preview, approval, .. } => (preview, approval, now),
            RequestState::Executing { preview, approval, started_at } => (preview, approval, started_at),
            _ => return Err(self.wrong_state("carried out")),
        };
        // All of it is checked again where it matters: a forged catalog row must not become a restore.
        self.check_persons(&approval.by)?;
        let Preview { at, tables, notes, live_digest, .. } = preview.clone();
        let shown = Preview::new(self.id, &self.tenant, content, Findings { tables, notes, live_digest }, at);
        if approval.preview_digest != shown.digest || preview.digest != shown.digest {
            return Err(RequestError::OtherPreview { request: self.id });
        }
        self.check_fresh(&preview, approval.at)?;
        self.check_fresh(&preview, started_at)?;
        if now.duration_since(started_at) > SignedDuration::from_secs(RESTORE_AT_MOST_S) {
            return Err(RequestError::Expired { request: self.id, at: started_at });
        }
        Ok(Self { state: RequestState::Executing { preview, approval, started_at }, ..self })
    }

    /// Records that the live data matched.
    ///
    /// # Errors
    /// Unless the work was under way.
    pub fn prove(self, outcome: Outcome) -> Result<Self, RequestError> {
        match self.state {
            RequestState::Executing { approval, .. } => Ok(Self { state: RequestState::Proven { approval, outcome }, ..self }),
            _ => Err(self.wrong_state("proven")),
        }
    }

    /// Records that it stopped. A request that ended stays as it ended.
    ///
    /// # Errors
    /// If it had ended already.
    pub fn fail(self, error: &ErrorReport, now: Timestamp) -> Result<Self, RequestError> {
        if self.state.is_final() {
            return Err(self.wrong_state("failed"));
        }
        let state = RequestState::Failed { at: now, code: error.code.name().to_owned(), message: error.message.clone() };
        Ok(Self { state, ..self })
    }

    fn check_persons(&self, approver: &Identity) -> Result<(), RequestError> {
        if !approver.is_same_person(&self.requested_by) {
            return Ok(());
        }
        let (requester, approver) = (self.requested_by.arn.clone(), approver.arn.clone());
        Err(RequestError::SamePerson { request: self.id, requester, approver })
    }

    fn check_fresh(&self, preview: &Preview, now: Timestamp) -> Result<(), RequestError> {
        let expired = now.duration_since(preview.at) > SignedDuration::from_secs(APPROVAL_LIFETIME_S);
        if expired { Err(RequestError::Expired { request: self.id, at: preview.at }) } else { Ok(()) }
    }

    fn wrong_state(&self, step: &'static str) -> RequestError {
        RequestError::WrongState { request: self.id, state: self.state.name(), step }
    }
}

#[cfg(test)]
mod tests {
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
        let found = Findings { tables: vec![], notes: vec![], live_digest: "live".into() };
        let preview = Preview::new(id, &tenant, "sha", found, time("2026-11-23T10:00:00Z"));
        let digest = preview.digest.clone();
        let request = RestoreRequest {
            id,
            tenant,
            point: RecoveryPointId::from_uuid(Uuid::from_u128(2)),
            kind: Kind::Database,
            reason: "rows gone".into(),
            requested_by: person("iam::1:user/ana"),
            requested_at: time("2026-11-23T09:59:00Z"),
            state: RequestState::Requested,
        };
        (request.preview(preview).unwrap().await_approval("token".into()).unwrap(), digest)
    }

    #[test]
    fn another_person_may_approve_what_was_shown() {
        let (request, digest) = waiting();
        let approved = request.approve(person("iam::1:user/ben"), &digest, time("2026-11-23T11:00:00Z")).unwrap();
        let executing = approved.execute("sha", time("2026-11-23T11:01:00Z")).unwrap();
        assert_eq!(
            executing.clone().execute("sha", time("2026-11-23T11:02:00Z")).unwrap(),
            executing,
            "a second delivery carries on"
        );
        let late = executing.execute("sha", time("2026-11-23T17:01:01Z"));
        assert!(matches!(late, Err(RequestError::Expired { .. })), "but not weeks later: {late:?}");
    }

    #[test]
    fn the_same_person_may_not_approve_under_any_name() {
        let others = ["sts::1:assumed-role/AWSReservedSSO_Ops_1/ana", "sts::1:assumed-role/Admin/ben", "iam::1:root"];
        for approver in ["iam::1:user/ana", "iam::1:user/ops/Ana"].into_iter().chain(others) {
            let (request, digest) = waiting();
            let refused = request.approve(person(approver), &digest, time("2026-11-23T11:00:00Z"));
            assert!(matches!(refused, Err(RequestError::SamePerson { .. })), "{approver}: {refused:?}");
        }
    }

    #[test]
    fn an_approval_holds_for_one_preview_and_one_day() {
        let ben = || person("iam::1:user/ben");
        let (request, digest) = waiting();
        assert!(matches!(
            request.clone().approve(ben(), "other", time("2026-11-23T11:00:00Z")),
            Err(RequestError::OtherPreview { .. })
        ));
        assert!(matches!(
            request.clone().approve(ben(), &digest, time("2026-11-24T10:00:01Z")),
            Err(RequestError::Expired { .. })
        ));
        let approved = request.approve(ben(), &digest, time("2026-11-24T09:00:00Z")).unwrap();
        assert!(matches!(
            approved.clone().execute("other", time("2026-11-24T09:00:01Z")),
            Err(RequestError::OtherPreview { .. })
        ));
        assert!(matches!(approved.clone().execute("sha", time("2026-11-24T10:00:01Z")), Err(RequestError::Expired { .. })));
        assert!(matches!(approved.approve(ben(), &digest, time("2026-11-24T09:00:00Z")), Err(RequestError::WrongState { .. })));
    }

    #[test]
    fn a_forged_approval_in_the_catalog_is_not_carried_out() {
        let now = time("2026-11-23T11:00:00Z");
        let (request, digest) = waiting();
        let approved = request.approve(person("iam::1:user/ben"), &digest, now).unwrap();
        for genuine in [approved.clone(), approved.execute("sha", now).unwrap()] {
            let forge = |change: fn(&mut Preview, &mut Approval)| {
                let mut forged = genuine.clone();
                let (RequestState::Approved { preview, approval, .. } | RequestState::Executing { preview, approval, .. }) =
                    &mut forged.state
                else {
                    unreachable!()
                };
                change(preview, approval);
                forged.execute("sha", now)
            };
            assert!(forge(|_, _| {}).is_ok());
            assert!(matches!(forge(|_, approval| approval.by = person("iam::1:user/ana")), Err(RequestError::SamePerson { .. })));
            assert!(matches!(forge(|preview, _| preview.live_digest = "other".into()), Err(RequestError::OtherPreview { .. })));
            assert!(matches!(forge(|preview, _| preview.digest = "other".into()), Err(RequestError::OtherPreview { .. })));
        }
    }

    #[test]
    fn a_request_that_ended_stays_as_it_ended() {
        let (request, _) = waiting();
        let failed = request.fail(&ErrorReport::new(ErrorCode::RestoreRefused, "m"), time("2026-11-23T11:00:00Z")).unwrap();
        assert!(failed.clone().execute("sha", time("2026-11-23T11:00:00Z")).is_err());
        assert!(failed.fail(&ErrorReport::new(ErrorCode::Throttled, "m"), time("2026-11-23T11:00:00Z")).is_err());
    }

    #[test]
    fn the_persisted_names_are_promises() {
        let (request, digest) = waiting();
        let request = request.approve(person("iam::1:user/ben"), &digest, time("2026-11-23T11:00:00Z")).unwrap();
        let json = serde_json::to_value(&request).unwrap();
        insta::assert_json_snapshot!(json);
        assert_eq!(serde_json::from_value::<RestoreRequest>(json.clone()).unwrap(), request);
        let mut older = json;
        older.as_object_mut().unwrap().remove("kind");
        assert_eq!(serde_json::from_value::<RestoreRequest>(older).unwrap(), request, "before there were other kinds");
    }
}
