//! The recovery of a whole environment: new instances from snapshots or of an instant, then every tenant from its newest recovery point.
//!
//! It is planned and shown like a restore, waits for other people like one, and is carried out under their agreement alone: whatever
//! was not in the plan that they saw is not restored.

mod choice;
mod plan;
mod report;
mod tenant;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::{
    choice::{Chosen, Known, Recorded, Restorable, Taken, World, choose, class_rank, ranges},
    plan::{FromInstant, FromSnapshot, MadeFrom, PlannedInstance, RecoveryPlan},
    report::{Outcome, Report, Tally},
    tenant::{PlannedTenant, Progress, RecoveredTenant, Source},
};
use crate::{
    caps::{APPROVAL_LIFETIME_S, RECOVERY_AT_MOST_S},
    error::{Coded, ErrorCode, ErrorReport},
    id::{RecoveryId, RecoveryPointId},
    identity::Identity,
    request::{Approval, Lack, suffices},
};

/// How far a new instance has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Nobody has asked for it yet.
    Due,
    /// RDS makes it.
    Asked {
        /// Since when.
        at: Timestamp,
    },
    /// It takes connections, and was asked to take its settings back.
    GivenBack {
        /// When RDS was asked for it.
        asked_at: Timestamp,
        /// When it took connections.
        available_at: Timestamp,
    },
    /// It can be restored into.
    Ready {
        /// From the request to RDS until it was ready, in milliseconds.
        rto_ms: i64,
        /// When it was ready.
        at: Timestamp,
        /// Settings that it lacks, one line each, for a person to give back.
        lacks: Vec<String>,
    },
    /// It will not be.
    Failed {
        /// When it was given up.
        at: Timestamp,
        /// Why, and what to do.
        message: String,
    },
}

impl Stage {
    /// Whether nothing more will happen to it.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Failed { .. })
    }
}

/// A new instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeInstance {
    /// The database of the plan that stands for it.
    pub database: String,
    /// Its identifier.
    pub name: String,
    /// How far it has come.
    #[serde(flatten)]
    pub stage: Stage,
}

/// The work under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// When it began; the RTO counts from here.
    pub started_at: Timestamp,
    /// The new instances.
    pub instances: Vec<MadeInstance>,
    /// When every instance was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances_at: Option<Timestamp>,
    /// When the platform's own databases were back and the register was read from one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_at: Option<Timestamp>,
    /// What was noticed on the way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Work {
    /// The new instance that stands for a database's, if it can be used.
    #[must_use]
    pub fn instance(&self, subject: &str) -> Option<&MadeInstance> {
        self.instances.iter().find(|made| made.database == subject && matches!(made.stage, Stage::Ready { .. }))
    }
}

/// How far a recovery has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RecoveryState {
    /// Recorded; the plan is being made.
    Requested,
    /// Shown; nobody can approve it until the runbook waits.
    Planned {
        /// What was shown.
        plan: RecoveryPlan,
    },
    /// The runbook waits for other people.
    AwaitingApproval {
        /// What was shown.
        plan: RecoveryPlan,
        /// The Step Functions task token that lets the runbook go on.
        task_token: String,
        /// Who agreed so far.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvals: Vec<Approval>,
    },
    /// Approved; the runbook goes on.
    Approved {
        /// What was shown.
        plan: RecoveryPlan,
        /// Who agreed to it.
        approvals: Vec<Approval>,
        /// The token, kept so that the runbook can be woken again if the first call was lost.
        task_token: String,
    },
    /// New instances are being made.
    Making {
        /// What was shown.
        plan: RecoveryPlan,
        /// Who agreed to it.
        approvals: Vec<Approval>,
        /// What was done.
        work: Work,
    },
    /// Tenants are being restored.
    Restoring {
        /// What was shown.
        plan: RecoveryPlan,
        /// Who agreed to it.
        approvals: Vec<Approval>,
        /// What was done.
        work: Work,
    },
    /// It has ended, and says how.
    Done {
        /// What was shown.
        plan: RecoveryPlan,
        /// Who agreed to it.
        approvals: Vec<Approval>,
        /// What was done.
        work: Work,
        /// How it ended.
        report: Report,
    },
    /// Stopped before its end.
    Failed {
        /// When.
        at: Timestamp,
        /// The error code.
        code: String,
        /// What stopped it and what to do.
        message: String,
        /// What was done until then; its instances stay and cost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        work: Option<Work>,
    },
}

impl RecoveryState {
    /// The state's name, as persisted and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Planned { .. } => "planned",
            Self::AwaitingApproval { .. } => "awaiting_approval",
            Self::Approved { .. } => "approved",
            Self::Making { .. } => "making",
            Self::Restoring { .. } => "restoring",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
        }
    }

    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }

    /// What was shown.
    #[must_use]
    pub fn plan(&self) -> Option<&RecoveryPlan> {
        match self {
            Self::Planned { plan }
            | Self::AwaitingApproval { plan, .. }
            | Self::Approved { plan, .. }
            | Self::Making { plan, .. }
            | Self::Restoring { plan, .. }
            | Self::Done { plan, .. } => Some(plan),
            Self::Requested | Self::Failed { .. } => None,
        }
    }

    /// Who has agreed, as far as anybody has.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match self {
            Self::AwaitingApproval { approvals, .. }
            | Self::Approved { approvals, .. }
            | Self::Making { approvals, .. }
            | Self::Restoring { approvals, .. }
            | Self::Done { approvals, .. } => approvals,
            Self::Requested | Self::Planned { .. } | Self::Failed { .. } => &[],
        }
    }

    /// What was done.
    #[must_use]
    pub fn work(&self) -> Option<&Work> {
        match self {
            Self::Making { work, .. } | Self::Restoring { work, .. } | Self::Done { work, .. } => Some(work),
            Self::Failed { work, .. } => work.as_ref(),
            _ => None,
        }
    }
}

/// A request to recover an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// Its id.
    pub id: RecoveryId,
    /// The instant that nothing may be newer than; the newest of everything if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Whether instances are made of that very instant, wherever RDS can, and not of the newest snapshot before it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub native: bool,
    /// Why, in the requester's words.
    pub reason: String,
    /// Who asked.
    pub requested_by: Identity,
    /// When.
    pub requested_at: Timestamp,
    /// How far it has come.
    #[serde(flatten)]
    pub state: RecoveryState,
}

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// The recovery is in another state.
    #[error("recovery {recovery} is {state}, so it cannot be {step}; see `holdfast recover watch {recovery}`")]
    WrongState {
        /// The recovery.
        recovery: RecoveryId,
        /// Its state.
        state: &'static str,
        /// What was tried.
        step: &'static str,
    },
    /// The same person asked and approved, or it cannot be told that they are two.
    #[error(
        "recovery {recovery} was asked for by {requester} and {approver} cannot agree to it: another person must, who is not yet one of those who asked or agreed, and all must call as IAM users or IAM Identity Center users, whose names say who they are"
    )]
    SamePerson {
        /// The recovery.
        recovery: RecoveryId,
        /// Who asked for it.
        requester: String,
        /// Who tried to approve it.
        approver: String,
    },
    /// The approval is of another plan.
    #[error(
        "the approval of recovery {recovery} names another plan; look at it again with `holdfast recover preview {recovery}`"
    )]
    OtherPlan {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// Too much time went by.
    #[error("recovery {recovery} has expired: its plan, or its work, is from {at}; ask for another one")]
    Expired {
        /// The recovery.
        recovery: RecoveryId,
        /// When the plan was made, or the work began.
        at: Timestamp,
    },
    /// One person went ahead alone, which only a restore of one tenant allows.
    #[error(
        "recovery {recovery} has an approval that broke the glass, which nobody can for a whole environment; ask for another one"
    )]
    GlassBroken {
        /// The recovery.
        recovery: RecoveryId,
    },
    /// Fewer people than are needed have agreed.
    #[error("recovery {recovery} needs the approval of {needed} other people; see `holdfast recover watch {recovery}`")]
    MoreNeeded {
        /// The recovery.
        recovery: RecoveryId,
        /// How many are needed.
        needed: u8,
    },
}

impl Coded for RecoveryError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::WrongState { .. } => ErrorCode::Fenced,
            Self::SamePerson { .. }
            | Self::OtherPlan { .. }
            | Self::Expired { .. }
            | Self::GlassBroken { .. }
            | Self::MoreNeeded { .. } => ErrorCode::ApprovalInvalid,
        }
    }
}

impl Recovery {
    /// A recovery that somebody asks for.
    #[must_use]
    pub fn new(id: RecoveryId, to: Option<Timestamp>, reason: String, requested_by: Identity, requested_at: Timestamp) -> Self {
        Self { id, to, native: false, reason, requested_by, requested_at, state: RecoveryState::Requested }
    }

    /// The same, with instances of the very instant wherever RDS can make them.
    #[must_use]
    pub fn natively(self, native: bool) -> Self {
        Self { native, ..self }
    }

    /// What is lost of something that was saved at `as_of`, in milliseconds: until the instant that was asked for, or the request, which
    /// is as near to the disaster as anybody has said.
    #[must_use]
    pub fn rpo_ms(&self, as_of: Timestamp) -> i64 {
        ms(self.to.unwrap_or(self.requested_at).duration_since(as_of)).max(0)
    }

    /// Records the plan.
    ///
    /// # Errors
    /// Once somebody may have seen an earlier one.
    pub fn planned(self, plan: RecoveryPlan) -> Result<Self, RecoveryError> {
        match self.state {
            RecoveryState::Requested | RecoveryState::Planned { .. } => {
                Ok(Self { state: RecoveryState::Planned { plan }, ..self })
            }
            _ => Err(self.wrong_state("planned")),
        }
    }

    /// Records that the runbook waits.
    ///
    /// # Errors
    /// Unless it was planned.
    pub fn await_approval(self, task_token: String) -> Result<Self, RecoveryError> {
        match self.state {
            RecoveryState::Planned { plan } => {
                Ok(Self { state: RecoveryState::AwaitingApproval { plan, task_token, approvals: Vec::new() }, ..self })
            }
            RecoveryState::AwaitingApproval { plan, approvals, .. } => {
                Ok(Self { state: RecoveryState::AwaitingApproval { plan, task_token, approvals }, ..self })
            }
            _ => Err(self.wrong_state("put up for approval")),
        }
    }

    /// Another person agrees to the plan with this digest; the last of `needed` makes it approved.
    ///
    /// # Errors
    /// Unless it waits for approval, `by` is another person than all before, the digest is the plan's, and the plan is fresh.
    pub fn approve(self, by: Identity, digest: &str, needed: u8, now: Timestamp) -> Result<Self, RecoveryError> {
        let RecoveryState::AwaitingApproval { plan, task_token, mut approvals } = self.state.clone() else {
            return Err(self.wrong_state("approved"));
        };
        approvals.push(Approval { by, at: now, preview_digest: digest.to_owned(), break_glass: None });
        let enough = match self.check_agreed(&approvals, &plan, needed) {
            Ok(()) => true,
            Err(RecoveryError::MoreNeeded { .. }) => false,
            Err(error) => return Err(error),
        };
        self.check_fresh(&plan, now)?;
        let state = if enough {
            RecoveryState::Approved { plan, approvals, task_token }
        } else {
            RecoveryState::AwaitingApproval { plan, task_token, approvals }
        };
        Ok(Self { state, ..self })
    }

    /// Uses the approvals up and begins the work. A second delivery of the same step carries on.
    ///
    /// # Errors
    /// As [`Recovery::check`], or if it is in another state.
    pub fn begin(self, tenants: &[PlannedTenant], needed: u8, now: Timestamp) -> Result<Self, RecoveryError> {
        let state = match self.state.clone() {
            RecoveryState::Approved { plan, approvals, .. } => {
                let due = |planned: &PlannedInstance| MadeInstance {
                    database: planned.database.clone(),
                    name: planned.name.clone(),
                    stage: match &planned.from {
                        Some(_) => Stage::Due,
                        None => Stage::Failed { at: now, message: "there is nothing to make it from".to_owned() },
                    },
                };
                let instances = plan.instances.iter().map(due).collect();
                let work = Work { started_at: now, instances, instances_at: None, platform_at: None, notes: Vec::new() };
                RecoveryState::Making { plan, approvals, work }
            }
            state @ RecoveryState::Making { .. } => state,
            _ => return Err(self.wrong_state("begun")),
        };
        let begun = Self { state, ..self };
        begun.check(tenants, needed, now)?;
        Ok(begun)
    }

    /// Checks that what is under way is what enough other people have agreed to, as late as it can be asked: a forged catalog row must not
    /// become a restore.
    ///
    /// # Errors
    /// Unless the work is under way, the plan is of these very tenants, enough other people agreed to it in time, and it has not gone on for
    /// too long.
    pub fn check(&self, tenants: &[PlannedTenant], needed: u8, now: Timestamp) -> Result<(), RecoveryError> {
        let (RecoveryState::Making { plan, approvals, work } | RecoveryState::Restoring { plan, approvals, work }) = &self.state
        else {
            return Err(self.wrong_state("carried out"));
        };
        self.check_sealed(plan, approvals, work, tenants, needed)?;
        if now.duration_since(work.started_at) > SignedDuration::from_secs(RECOVERY_AT_MOST_S) {
            return Err(RecoveryError::Expired { recovery: self.id, at: work.started_at });
        }
        Ok(())
    }

    /// Checks that what was done is what other people had agreed to, as [`Recovery::check`] did then: its environment is written to again
    /// whenever a tenant is restored into it. How many people the policies asked for on that day is not recorded, so one is enough here; each
    /// such restore needs approvals of its own.
    ///
    /// # Errors
    /// Unless it is done, and the plan is of these very tenants, and another person agreed to it in time.
    pub fn check_done(&self, tenants: &[PlannedTenant]) -> Result<(), RecoveryError> {
        let RecoveryState::Done { plan, approvals, work, .. } = &self.state else {
            return Err(self.wrong_state("restored into"));
        };
        self.check_sealed(plan, approvals, work, tenants, 1)
    }

    /// What was planned for these tenants, as the approval must have seen it: neither those of the recovered register only, nor what an
    /// earlier delivery planned and the last one did not.
    #[must_use]
    pub fn planned_of<'a>(&self, tenants: impl IntoIterator<Item = &'a RecoveredTenant>) -> Vec<PlannedTenant> {
        let count = self.state.plan().map_or(0, |plan| plan.tenants);
        let planned = tenants.into_iter().filter(|tenant| tenant.planned && tenant.index < count);
        planned.map(|tenant| tenant.plan.clone()).collect()
    }

    /// The recovery points that its plan and these tenants of it name: none of them may go while it is under way.
    pub fn points<'a>(&'a self, tenants: impl IntoIterator<Item = &'a RecoveredTenant>) -> BTreeSet<RecoveryPointId> {
        let instances = self.state.plan().map_or(&[][..], |plan| &plan.instances);
        let made_from = instances.iter().filter_map(|planned| planned.from.as_ref());
        let exports = tenants.into_iter().filter_map(|tenant| match &tenant.plan.from {
            Source::Export { point, .. } => Some(*point),
            Source::Snapshot { .. } | Source::Instant { .. } | Source::Nowhere => None,
        });
        made_from.flat_map(|from| [from.point(), from.settings_of()]).flatten().chain(exports).collect()
    }

    /// Records what became of the new instances. Once every one is settled, tenants can be restored.
    ///
    /// # Errors
    /// Unless they are being made.
    pub fn made(self, instances: Vec<MadeInstance>, now: Timestamp) -> Result<Self, RecoveryError> {
        let RecoveryState::Making { plan, approvals, work } = self.state else {
            return Err(self.wrong_state("given its instances"));
        };
        let settled = instances.iter().all(|made| made.stage.is_settled());
        let work = Work { instances, instances_at: settled.then_some(now), ..work };
        let state = if settled {
            RecoveryState::Restoring { plan, approvals, work }
        } else {
            RecoveryState::Making { plan, approvals, work }
        };
        Ok(Self { state, ..self })
    }

    /// Records that the platform's own databases are back, and what the register in them says that the plan did not.
    ///
    /// # Errors
    /// Unless tenants are being restored.
    pub fn platform_back(self, notes: Vec<String>, now: Timestamp) -> Result<Self, RecoveryError> {
        let RecoveryState::Restoring { plan, approvals, work } = self.state else {
            return Err(self.wrong_state("given its register"));
        };
        let work = Work { platform_at: Some(work.platform_at.unwrap_or(now)), notes, ..work };
        Ok(Self { state: RecoveryState::Restoring { plan, approvals, work }, ..self })
    }

    /// Ends it with its report.
    ///
    /// # Errors
    /// Unless tenants were being restored.
    pub fn finish(self, report: Report) -> Result<Self, RecoveryError> {
        match self.state {
            RecoveryState::Restoring { plan, approvals, work } => {
                Ok(Self { state: RecoveryState::Done { plan, approvals, work, report }, ..self })
            }
            _ => Err(self.wrong_state("finished")),
        }
    }

    /// Records that it stopped. A recovery that ended stays as it ended.
    ///
    /// # Errors
    /// If it had ended already.
    pub fn fail(self, error: &ErrorReport, now: Timestamp) -> Result<Self, RecoveryError> {
        if self.state.is_final() {
            return Err(self.wrong_state("failed"));
        }
        let (code, message, work) = (error.code.name().to_owned(), error.message.clone(), self.state.work().cloned());
        Ok(Self { state: RecoveryState::Failed { at: now, code, message, work }, ..self })
    }

    fn check_sealed(
        &self,
        plan: &RecoveryPlan,
        approvals: &[Approval],
        work: &Work,
        tenants: &[PlannedTenant],
        needed: u8,
    ) -> Result<(), RecoveryError> {
        if plan.digest != plan.seal(self, tenants) {
            return Err(RecoveryError::OtherPlan { recovery: self.id });
        }
        self.check_agreed(approvals, plan, needed)?;
        for approval in approvals {
            self.check_fresh(plan, approval.at)?;
        }
        self.check_fresh(plan, work.started_at)
    }

    /// Checks these approvals, the last of which is the one in question.
    fn check_agreed(&self, approvals: &[Approval], plan: &RecoveryPlan, needed: u8) -> Result<(), RecoveryError> {
        let recovery = self.id;
        // One such approval would suffice by itself.
        if approvals.iter().any(|approval| approval.break_glass.is_some()) {
            return Err(RecoveryError::GlassBroken { recovery });
        }
        suffices(approvals, &self.requested_by, &plan.digest, needed).map_err(|lack| match lack {
            Lack::OtherPreview => RecoveryError::OtherPlan { recovery },
            Lack::More => RecoveryError::MoreNeeded { recovery, needed },
            Lack::SamePerson => {
                let approver = approvals.last().map_or_else(String::new, |approval| approval.by.arn.clone());
                RecoveryError::SamePerson { recovery, requester: self.requested_by.arn.clone(), approver }
            }
        })
    }

    fn check_fresh(&self, plan: &RecoveryPlan, now: Timestamp) -> Result<(), RecoveryError> {
        let expired = now.duration_since(plan.at) > SignedDuration::from_secs(APPROVAL_LIFETIME_S);
        if expired { Err(RecoveryError::Expired { recovery: self.id, at: plan.at }) } else { Ok(()) }
    }

    fn wrong_state(&self, step: &'static str) -> RecoveryError {
        RecoveryError::WrongState { recovery: self.id, state: self.state.name(), step }
    }
}

/// Milliseconds of a duration.
fn ms(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
