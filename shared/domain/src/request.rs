//! Restore requests: who asked, what was shown, who agreed, how it ended.

mod approval;
mod before;
mod preview;
mod review;
mod wanted;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    approval::{Approval, Lack, suffices},
    preview::{Findings, Preview, TableEffect},
    review::{Review, Reviewed},
    wanted::{ColumnNow, Mode, Selection},
};
use crate::{
    caps::{APPROVAL_LIFETIME_S, KEPT_BEFORE_WITHIN_S, RESTORE_AT_MOST_S, REVIEW_WITHIN_S},
    error::{Coded, ErrorCode, ErrorReport},
    id::{RecoveryPointId, RequestId},
    identity::Identity,
    point::Kind,
    tenant::TenantId,
};

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
    /// The recovery point that was made of the present state before anything was changed, if one could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RecoveryPointId>,
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
    /// The runbook waits for other people.
    AwaitingApproval {
        /// What was shown.
        preview: Preview,
        /// The Step Functions task token that lets the runbook go on.
        task_token: String,
        /// Who agreed so far, if more are needed.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvals: Vec<Approval>,
    },
    /// Approved; the runbook goes on.
    Approved {
        /// What was shown.
        preview: Preview,
        /// Who agreed to it.
        #[serde(alias = "approval", deserialize_with = "approval::one_or_many")]
        approvals: Vec<Approval>,
        /// The token, kept so that the runbook can be woken again if the first call was lost.
        task_token: String,
    },
    /// The approval is used up; the work goes on.
    Executing {
        /// What was shown.
        preview: Preview,
        /// Who agreed to it.
        #[serde(alias = "approval", deserialize_with = "approval::one_or_many")]
        approvals: Vec<Approval>,
        /// When the work began.
        started_at: Timestamp,
    },
    /// Carried out, and the live data matched.
    Proven {
        /// What was shown, and what an undo leads back to; older records have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preview: Option<Preview>,
        /// Who agreed to it.
        #[serde(alias = "approval", deserialize_with = "approval::one_or_many")]
        approvals: Vec<Approval>,
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
        /// What was shown, if the work had begun: a cutover may have happened all the same, and an undo of it leads back to this.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preview: Option<Preview>,
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

    /// Who has agreed, as far as anybody has.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match self {
            Self::AwaitingApproval { approvals, .. }
            | Self::Approved { approvals, .. }
            | Self::Executing { approvals, .. }
            | Self::Proven { approvals, .. } => approvals,
            Self::Requested | Self::Previewed { .. } | Self::Failed { .. } => &[],
        }
    }

    /// What was shown, as far as anything has been.
    #[must_use]
    pub fn preview(&self) -> Option<&Preview> {
        match self {
            Self::Previewed { preview }
            | Self::AwaitingApproval { preview, .. }
            | Self::Approved { preview, .. }
            | Self::Executing { preview, .. } => Some(preview),
            Self::Proven { preview, .. } | Self::Failed { preview, .. } => preview.as_ref(),
            Self::Requested => None,
        }
    }

    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Proven { .. } | Self::Failed { .. })
    }
}

/// A request to bring one tenant back from one recovery point.
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
    /// Where it writes. Older records are of restores in place, of everything.
    #[serde(default)]
    pub mode: Mode,
    /// How much of the recovery point it takes.
    #[serde(default, skip_serializing_if = "Selection::is_everything")]
    pub selection: Selection,
    /// The request whose effect this one takes back, from its undo copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undoes: Option<RequestId>,
    /// The instant that the recovery point is made of first, from the engine's own log: native point-in-time recovery.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point_in_time: Option<Timestamp>,
    /// Why, in the requester's words.
    pub reason: String,
    /// Who asked.
    pub requested_by: Identity,
    /// When.
    pub requested_at: Timestamp,
    /// The review that is demanded since one person went ahead alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub review: Option<Review>,
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
        "restore request {request} was made by {requester} and {approver} cannot agree to it: another person must, who is not yet one of those who asked or agreed, and all must call as IAM users or IAM Identity Center users, whose names say who they are"
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
    /// Fewer people than the policy asks for have agreed.
    #[error("restore request {request} needs the approval of {needed} other people; see `holdfast restore watch {request}`")]
    MoreNeeded {
        /// The request.
        request: RequestId,
        /// How many are needed.
        needed: u8,
    },
    /// Nobody went ahead alone, so there is nothing to review.
    #[error("restore request {request} demands no review: it was approved by others, or not carried out")]
    NoReview {
        /// The request.
        request: RequestId,
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
            Self::WrongState { .. } | Self::NoReview { .. } => ErrorCode::Fenced,
            Self::SamePerson { .. } | Self::OtherPreview { .. } | Self::Expired { .. } | Self::MoreNeeded { .. } => {
                ErrorCode::ApprovalInvalid
            }
            Self::Drifted { .. } => ErrorCode::TargetDrifted,
        }
    }
}

impl RestoreRequest {
    /// A request in place, of everything that the recovery point holds.
    #[must_use]
    pub fn new(
        id: RequestId,
        tenant: TenantId,
        (point, kind): (RecoveryPointId, Kind),
        reason: String,
        requested_by: Identity,
        requested_at: Timestamp,
    ) -> Self {
        Self {
            id,
            tenant,
            point,
            kind,
            mode: Mode::InPlace,
            selection: Selection::default(),
            undoes: None,
            point_in_time: None,
            reason,
            requested_by,
            requested_at,
            review: None,
            state: RequestState::Requested,
        }
    }

    /// What it asks for, in words, for alerts and the audit trail.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self { tenant, point, kind, .. } = self;
        let kind = kind.name();
        let mut words = match self.undoes {
            Some(undone) => format!("undo restore {undone} of tenant {tenant}, which was from {kind} recovery point {point}"),
            None => format!("restore tenant {tenant} {} from {kind} recovery point {point}", self.mode.in_words()),
        };
        if let Some(instant) = self.point_in_time {
            words.push_str(&format!(" of {instant}"));
        }
        words + &self.selection.in_words()
    }

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
            RequestState::Previewed { preview } => {
                Ok(Self { state: RequestState::AwaitingApproval { preview, task_token, approvals: Vec::new() }, ..self })
            }
            RequestState::AwaitingApproval { preview, approvals, .. } => {
                Ok(Self { state: RequestState::AwaitingApproval { preview, task_token, approvals }, ..self })
            }
            _ => Err(self.wrong_state("put up for approval")),
        }
    }

    /// Another person agrees to the preview with this digest; the last of `needed` makes it approved.
    ///
    /// # Errors
    /// Unless it waits for approval, `by` is another person than all before, the digest is the preview's, and the preview is fresh.
    pub fn approve(self, by: Identity, preview_digest: &str, needed: u8, now: Timestamp) -> Result<Self, RequestError> {
        let RequestState::AwaitingApproval { preview, task_token, mut approvals } = self.state.clone() else {
            return Err(self.wrong_state("approved"));
        };
        approvals.push(Approval { by, at: now, preview_digest: preview_digest.to_owned(), break_glass: None });
        let enough = match suffices(&approvals, &self.requested_by, &preview.digest, needed) {
            Ok(()) => true,
            Err(Lack::More) => false,
            Err(lack) => return Err(self.lacks(lack, &approvals, needed)),
        };
        self.check_fresh(&preview, now)?;
        let state = if enough {
            RequestState::Approved { preview, approvals, task_token }
        } else {
            RequestState::AwaitingApproval { preview, task_token, approvals }
        };
        Ok(Self { state, ..self })
    }

    /// One person goes ahead alone, whoever asked; a review is demanded of it. Whether they may is the policy's to say.
    ///
    /// # Errors
    /// Unless it waits for approval, the digest is the preview's, and the preview is fresh.
    pub fn break_glass(self, by: Identity, preview_digest: &str, why: String, now: Timestamp) -> Result<Self, RequestError> {
        let RequestState::AwaitingApproval { preview, task_token, mut approvals } = self.state.clone() else {
            return Err(self.wrong_state("carried out by one person"));
        };
        let approval = Approval { by: by.clone(), at: now, preview_digest: preview_digest.to_owned(), break_glass: Some(why) };
        approvals.push(approval);
        suffices(&approvals, &self.requested_by, &preview.digest, 1).map_err(|lack| self.lacks(lack, &approvals, 1))?;
        self.check_fresh(&preview, now)?;
        let due = now + SignedDuration::from_secs(REVIEW_WITHIN_S);
        let review = Some(Review { of: by, demanded_at: now, due, done: None });
        Ok(Self { state: RequestState::Approved { preview, approvals, task_token }, review, ..self })
    }

    /// Another person has looked at what one did alone.
    ///
    /// # Errors
    /// Unless a review is demanded, and `by` is neither who asked nor who went ahead.
    pub fn reviewed(self, by: Identity, finding: String, now: Timestamp) -> Result<Self, RequestError> {
        if !self.state.is_final() {
            return Err(self.wrong_state("reviewed"));
        }
        let Some(review) = self.review.clone().filter(Review::is_pending) else {
            return Err(RequestError::NoReview { request: self.id });
        };
        let approvers = self.state.approvals().iter().map(|approval| &approval.by);
        if approvers.chain([&review.of, &self.requested_by]).any(|other| by.is_same_person(other)) {
            let (requester, approver) = (self.requested_by.arn.clone(), by.arn);
            return Err(RequestError::SamePerson { request: self.id, requester, approver });
        }
        let review = Some(Review { done: Some(Reviewed { by, at: now, finding }), ..review });
        Ok(Self { review, ..self })
    }

    /// The approval of the person who went ahead alone, if somebody did and the work may still go on.
    #[must_use]
    pub fn broken_by(&self) -> Option<&Approval> {
        self.state.approvals().iter().find(|approval| approval.break_glass.is_some())
    }

    /// Uses the approvals up and begins the work. A second delivery of the same step carries on, for as long as the work may take.
    ///
    /// `content` names the content of the recovery point that is about to be restored, `needed` how many other people the policy asks for
    /// at this moment.
    ///
    /// # Errors
    /// Unless it is approved, by enough other people, for this very preview of this very content, and the preview is fresh.
    pub fn execute(self, content: &str, needed: u8, now: Timestamp) -> Result<Self, RequestError> {
        let (preview, approvals, started_at) = match self.state.clone() {
            RequestState::Approved { preview, approvals, .. } => (preview, approvals, now),
            RequestState::Executing { preview, approvals, started_at } => (preview, approvals, started_at),
            _ => return Err(self.wrong_state("carried out")),
        };
        // All of it is checked again where it matters: a forged catalog row must not become a restore.
        if preview.digest != preview.seal(&self, content) {
            return Err(RequestError::OtherPreview { request: self.id });
        }
        suffices(&approvals, &self.requested_by, &preview.digest, needed).map_err(|lack| self.lacks(lack, &approvals, needed))?;
        for approval in &approvals {
            self.check_fresh(&preview, approval.at)?;
        }
        // Making a recovery point of the state before takes its time, which voids no approval that was given in time.
        self.check_within(&preview, started_at, APPROVAL_LIFETIME_S + KEPT_BEFORE_WITHIN_S)?;
        if now.duration_since(started_at) > SignedDuration::from_secs(RESTORE_AT_MOST_S) {
            return Err(RequestError::Expired { request: self.id, at: started_at });
        }
        Ok(Self { state: RequestState::Executing { preview, approvals, started_at }, ..self })
    }

    /// Records that the live data matched.
    ///
    /// # Errors
    /// Unless the work was under way.
    pub fn prove(self, outcome: Outcome) -> Result<Self, RequestError> {
        match self.state {
            RequestState::Executing { preview, approvals, .. } => {
                Ok(Self { state: RequestState::Proven { preview: Some(preview), approvals, outcome }, ..self })
            }
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
        let preview = match self.state {
            RequestState::Executing { preview, .. } => Some(preview),
            _ => None,
        };
        let state = RequestState::Failed { at: now, code: error.code.name().to_owned(), message: error.message.clone(), preview };
        Ok(Self { state, ..self })
    }

    /// What is wrong with these approvals, the last of which is the one in question.
    fn lacks(&self, lack: Lack, approvals: &[Approval], needed: u8) -> RequestError {
        let request = self.id;
        match lack {
            Lack::OtherPreview => RequestError::OtherPreview { request },
            Lack::More => RequestError::MoreNeeded { request, needed },
            Lack::SamePerson => {
                let approver = approvals.last().map_or_else(String::new, |approval| approval.by.arn.clone());
                RequestError::SamePerson { request, requester: self.requested_by.arn.clone(), approver }
            }
        }
    }

    fn check_fresh(&self, preview: &Preview, now: Timestamp) -> Result<(), RequestError> {
        self.check_within(preview, now, APPROVAL_LIFETIME_S)
    }

    fn check_within(&self, preview: &Preview, now: Timestamp, seconds: i64) -> Result<(), RequestError> {
        let expired = now.duration_since(preview.at) > SignedDuration::from_secs(seconds);
        if expired { Err(RequestError::Expired { request: self.id, at: preview.at }) } else { Ok(()) }
    }

    fn wrong_state(&self, step: &'static str) -> RequestError {
        RequestError::WrongState { request: self.id, state: self.state.name(), step }
    }
}

#[cfg(test)]
mod tests;
