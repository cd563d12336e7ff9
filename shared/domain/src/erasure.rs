//! The erasure of a tenant: what will go, who must agree to it, and what was done.
//!
//! A request names exactly what there is at that moment, and other people agree to just that. Carrying it out lets every recovery point
//! go, whatever the policy says, and has the tenant's own key deleted if it has one. A hold outweighs all of it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    caps::{APPROVAL_LIFETIME_S, ERASURE_AT_MOST_S, ERASURE_BEGINS_WITHIN_S, ERASURE_DONE_WITHIN_S},
    error::{Coded, ErrorCode},
    id::{ErasureId, RecoveryPointId},
    identity::Identity,
    point::{Content, Kind, RecoveryPoint, State},
    request::{Approval, Lack, suffices},
    tenant::TenantId,
};

/// How much there is of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// The kind.
    pub kind: Kind,
    /// Recovery points that can be restored from now.
    pub points: u64,
    /// Bytes that they hold, before compression.
    pub plaintext_bytes: u64,
    /// Bytes that they added to the vault.
    pub stored_bytes: u64,
}

/// What will go, as the people who approve it see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Going {
    /// The recovery points, by kind.
    pub amounts: Vec<Amount>,
    /// KMS keys of the tenant's own, which will be deleted.
    pub keys: Vec<String>,
    /// Recovery points, available or gone from the list but not from the vault, whose content the vault's own key opens: deleting a key
    /// proves nothing about them.
    pub under_vault_key: u64,
    /// Digest over the request and all of the above, every recovery point included: what an approval is bound to.
    pub digest: String,
}

impl Going {
    /// What there is of a tenant. `plan_key` is the key that the plan gives it now.
    #[must_use]
    pub fn of(asked: &Asked, points: &[RecoveryPoint], plan_key: Option<&str>) -> Self {
        let mut amounts: Vec<Amount> = Vec::new();
        let mut ids: Vec<RecoveryPointId> = Vec::new();
        let mut keys: Vec<String> = plan_key.map(str::to_owned).into_iter().collect();
        let mut under_vault_key = 0;
        for point in points {
            // What has expired can be read for as long as it is stored.
            if !matches!(point.state, State::Swept { .. }) {
                keys.extend(point.key.clone());
                under_vault_key += u64::from(point.key.is_none() && point.last_content().is_some());
            }
            let Some(Content::Export { plaintext_bytes, stored_bytes, .. }) = point.content() else { continue };
            ids.push(point.id);
            let at = amounts.iter().position(|amount| amount.kind == point.kind).unwrap_or_else(|| {
                amounts.push(Amount { kind: point.kind, points: 0, plaintext_bytes: 0, stored_bytes: 0 });
                amounts.len() - 1
            });
            amounts[at].points += 1;
            amounts[at].plaintext_bytes += plaintext_bytes;
            amounts[at].stored_bytes += stored_bytes;
        }
        amounts.sort_by_key(|amount| amount.kind);
        ids.sort_unstable();
        keys.sort_unstable();
        keys.dedup();
        let digest = seal(asked, &ids, &keys);
        Self { amounts, keys, under_vault_key, digest }
    }

    /// How many recovery points there are.
    #[must_use]
    pub fn points(&self) -> u64 {
        self.amounts.iter().map(|amount| amount.points).sum()
    }
}

fn seal(asked: &Asked, points: &[RecoveryPointId], keys: &[String]) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast erasure v1");
    let mut part = |json: Result<String, serde_json::Error>| {
        // Plain structs of text and numbers always have their JSON, and JSON keeps its parts apart.
        let json = json.unwrap_or_default();
        hasher.update(&(json.len() as u64).to_be_bytes());
        hasher.update(json.as_bytes());
    };
    part(serde_json::to_string(asked));
    part(serde_json::to_string(points));
    part(serde_json::to_string(keys));
    hasher.finalize().to_hex().to_string()
}

/// Who wants which tenant erased, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The erasure's id.
    pub id: ErasureId,
    /// The tenant.
    pub tenant: TenantId,
    /// Why, in the requester's words.
    pub reason: String,
    /// Who asked.
    pub requested_by: Identity,
    /// When.
    pub requested_at: Timestamp,
}

/// A key that KMS will delete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoomedKey {
    /// Its ARN.
    pub arn: String,
    /// When KMS deletes it; nothing if it was gone already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_at: Option<Timestamp>,
}

/// What is still stored of a tenant's recovery points, and for how long at least. Links and the tenant's secret, which stay for good, do
/// not count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Objects in the vault, by versions, whatever hides them.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// When the last of their locks ends; nothing if none was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// How many objects were asked for their locks; fewer than all if there were too many.
    pub asked: u64,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// When it was complete.
    pub at: Timestamp,
    /// The tenant's own keys, on their way out.
    pub keys: Vec<DoomedKey>,
    /// What was still stored then.
    pub stored: Stored,
    /// What an erasure does not reach, one line each: other places that hold the tenant's data.
    pub outside: Vec<String>,
}

/// How far an erasure has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ErasureState {
    /// It waits for other people.
    Requested {
        /// Who agreed so far.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        approvals: Vec<Approval>,
    },
    /// Enough have agreed.
    Approved {
        /// They.
        approvals: Vec<Approval>,
    },
    /// The approvals are used up; recovery points are being let go.
    Executing {
        /// Who agreed.
        approvals: Vec<Approval>,
        /// Since when.
        started_at: Timestamp,
    },
    /// No recovery point is left, and the tenant's own keys are on their way out.
    Expired {
        /// Who agreed.
        approvals: Vec<Approval>,
        /// When the work began.
        started_at: Timestamp,
        /// What was done.
        done: Done,
    },
    /// Somebody thought better of it before anything was done, or gave it up after its work had stopped for too long to go on.
    Cancelled {
        /// Who.
        by: Identity,
        /// When.
        at: Timestamp,
        /// Why.
        because: String,
    },
}

impl ErasureState {
    /// The state's name, as persisted and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "requested",
            Self::Approved { .. } => "approved",
            Self::Executing { .. } => "executing",
            Self::Expired { .. } => "expired",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// Who has agreed, as far as anybody has.
    #[must_use]
    pub fn approvals(&self) -> &[Approval] {
        match self {
            Self::Requested { approvals }
            | Self::Approved { approvals }
            | Self::Executing { approvals, .. }
            | Self::Expired { approvals, .. } => approvals,
            Self::Cancelled { .. } => &[],
        }
    }

    /// Whether people or the work are still awaited.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Requested { .. } | Self::Approved { .. } | Self::Executing { .. })
    }
}

/// A request to erase a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// Who wants what.
    #[serde(flatten)]
    pub asked: Asked,
    /// What there was to go when it was asked for.
    pub going: Going,
    /// How far it has come.
    #[serde(flatten)]
    pub state: ErasureState,
}

/// Why a step was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ErasureError {
    /// The erasure is in another state.
    #[error("erasure {erasure} is {state}, so it cannot be {step}; see `holdfast erase show {erasure}`")]
    WrongState {
        /// The erasure.
        erasure: ErasureId,
        /// Its state.
        state: &'static str,
        /// What was tried.
        step: &'static str,
    },
    /// The same person asked and approved, or it cannot be told that they are two.
    #[error(
        "erasure {erasure} was asked for by {requester} and {approver} cannot agree to it: another person must, who is not yet one of those who asked or agreed, and all must call as IAM users or IAM Identity Center users, whose names say who they are"
    )]
    SamePerson {
        /// The erasure.
        erasure: ErasureId,
        /// Who asked for it.
        requester: String,
        /// Who tried to approve it.
        approver: String,
    },
    /// The approval names something else, or there is something else to go by now.
    #[error(
        "what erasure {erasure} would take is not what was agreed to: a recovery point was made or went since; look at it with `holdfast erase show {erasure}`, cancel it and ask for another one"
    )]
    OtherThings {
        /// The erasure.
        erasure: ErasureId,
    },
    /// Too much time went by.
    #[error("erasure {erasure} has expired: it, or its work, is from {at}; ask for another one")]
    TooLate {
        /// The erasure.
        erasure: ErasureId,
        /// When it was asked for, or the work began.
        at: Timestamp,
    },
    /// Fewer people than are needed have agreed, or one went ahead alone, which nobody can.
    #[error(
        "erasure {erasure} needs the approval of {needed} other people, and nobody can break the glass for it; see `holdfast erase show {erasure}`"
    )]
    MoreNeeded {
        /// The erasure.
        erasure: ErasureId,
        /// How many are needed.
        needed: u8,
    },
}

impl Coded for ErasureError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::WrongState { .. } => ErrorCode::Fenced,
            Self::SamePerson { .. } | Self::OtherThings { .. } | Self::TooLate { .. } | Self::MoreNeeded { .. } => {
                ErrorCode::ApprovalInvalid
            }
        }
    }
}

impl Erasure {
    /// A request, which nobody has agreed to.
    #[must_use]
    pub fn new(asked: Asked, going: Going) -> Self {
        Self { asked, going, state: ErasureState::Requested { approvals: Vec::new() } }
    }

    /// Whether something may still come of it: what nobody approved in time is over, and so is work that stopped for too long.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        match self.state {
            ErasureState::Requested { .. } => self.check_within(self.asked.requested_at, now, APPROVAL_LIFETIME_S).is_ok(),
            ErasureState::Approved { .. } => {
                self.check_within(self.asked.requested_at, now, APPROVAL_LIFETIME_S + ERASURE_BEGINS_WITHIN_S).is_ok()
            }
            ErasureState::Executing { started_at, .. } => self.check_within(started_at, now, ERASURE_AT_MOST_S).is_ok(),
            ErasureState::Expired { .. } | ErasureState::Cancelled { .. } => false,
        }
    }

    /// Since when it was to be carried out, if that is too long ago.
    #[must_use]
    pub fn overdue_since(&self, now: Timestamp) -> Option<Timestamp> {
        let since = match &self.state {
            ErasureState::Approved { approvals } => approvals.last().map(|approval| approval.at),
            ErasureState::Executing { started_at, .. } => Some(*started_at),
            _ => None,
        };
        since.filter(|since| now.duration_since(*since) > SignedDuration::from_secs(ERASURE_DONE_WITHIN_S))
    }

    /// Another person agrees to this very digest, which is what there is to go now; the last of `needed` makes it approved.
    ///
    /// # Errors
    /// Unless it waits for approval, `by` is another person than all before, nothing has changed, and it is fresh.
    pub fn approve(
        self,
        by: Identity,
        digest: &str,
        now_there: &Going,
        needed: u8,
        now: Timestamp,
    ) -> Result<Self, ErasureError> {
        let ErasureState::Requested { mut approvals } = self.state.clone() else { return Err(self.wrong_state("approved")) };
        approvals.push(Approval { by, at: now, preview_digest: digest.to_owned(), break_glass: None });
        let enough = match self.lack(&approvals, needed) {
            None => true,
            Some(ErasureError::MoreNeeded { .. }) => false,
            Some(lack) => return Err(lack),
        };
        self.check_same(now_there)?;
        self.check_within(self.asked.requested_at, now, APPROVAL_LIFETIME_S)?;
        let state = if enough { ErasureState::Approved { approvals } } else { ErasureState::Requested { approvals } };
        Ok(Self { state, ..self })
    }

    /// Uses the approvals up and begins the work. A second delivery carries on, when some of what was to go is gone.
    ///
    /// # Errors
    /// Unless it is approved, by enough other people and in time, and what there is to go is what they agreed to.
    pub fn execute(self, now_there: &Going, needed: u8, now: Timestamp) -> Result<Self, ErasureError> {
        let (approvals, started_at) = match self.state.clone() {
            ErasureState::Approved { approvals } => (approvals, now),
            ErasureState::Executing { approvals, started_at } => (approvals, started_at),
            _ => return Err(self.wrong_state("carried out")),
        };
        // All of it is checked again where it matters: a forged catalog row must not become an erasure by itself.
        if let Some(lack) = self.lack(&approvals, needed) {
            return Err(lack);
        }
        if matches!(self.state, ErasureState::Approved { .. }) {
            self.check_same(now_there)?;
        }
        for approval in &approvals {
            self.check_within(self.asked.requested_at, approval.at, APPROVAL_LIFETIME_S)?;
        }
        self.check_within(self.asked.requested_at, started_at, APPROVAL_LIFETIME_S + ERASURE_BEGINS_WITHIN_S)?;
        self.check_within(started_at, now, ERASURE_AT_MOST_S)?;
        Ok(Self { state: ErasureState::Executing { approvals, started_at }, ..self })
    }

    /// Records that no recovery point is left.
    ///
    /// # Errors
    /// Unless the work was under way.
    pub fn expired(self, done: Done) -> Result<Self, ErasureError> {
        match self.state {
            ErasureState::Executing { approvals, started_at } => {
                Ok(Self { state: ErasureState::Expired { approvals, started_at, done }, ..self })
            }
            _ => Err(self.wrong_state("completed")),
        }
    }

    /// Somebody thinks better of it, or gives up what has stopped for too long to go on; another request then takes what is left.
    ///
    /// # Errors
    /// Once the work has begun, for as long as it may go on.
    pub fn cancel(self, by: Identity, because: String, at: Timestamp) -> Result<Self, ErasureError> {
        match self.state {
            ErasureState::Requested { .. } | ErasureState::Approved { .. } => {
                Ok(Self { state: ErasureState::Cancelled { by, at, because }, ..self })
            }
            ErasureState::Executing { .. } if !self.is_open(at) => {
                Ok(Self { state: ErasureState::Cancelled { by, at, because }, ..self })
            }
            _ => Err(self.wrong_state("cancelled")),
        }
    }

    fn lack(&self, approvals: &[Approval], needed: u8) -> Option<ErasureError> {
        let erasure = self.asked.id;
        if approvals.iter().any(|approval| approval.break_glass.is_some()) {
            return Some(ErasureError::MoreNeeded { erasure, needed });
        }
        match suffices(approvals, &self.asked.requested_by, &self.going.digest, needed) {
            Ok(()) => None,
            Err(Lack::More) => Some(ErasureError::MoreNeeded { erasure, needed }),
            Err(Lack::OtherPreview) => Some(ErasureError::OtherThings { erasure }),
            Err(Lack::SamePerson) => {
                let approver = approvals.last().map_or_else(String::new, |approval| approval.by.arn.clone());
                Some(ErasureError::SamePerson { erasure, requester: self.asked.requested_by.arn.clone(), approver })
            }
        }
    }

    fn check_same(&self, now_there: &Going) -> Result<(), ErasureError> {
        if now_there.digest == self.going.digest { Ok(()) } else { Err(ErasureError::OtherThings { erasure: self.asked.id }) }
    }

    fn check_within(&self, at: Timestamp, now: Timestamp, seconds: i64) -> Result<(), ErasureError> {
        let late = now.duration_since(at) > SignedDuration::from_secs(seconds);
        if late { Err(ErasureError::TooLate { erasure: self.asked.id, at }) } else { Ok(()) }
    }

    fn wrong_state(&self, step: &'static str) -> ErasureError {
        ErasureError::WrongState { erasure: self.asked.id, state: self.state.name(), step }
    }
}

/// How one of the tenant's own keys is found to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFound {
    /// It can be used, or enabled: its deletion was taken back.
    Usable,
    /// KMS will delete it, and lets nobody use it.
    Pending,
    /// It is no more.
    Gone,
}

/// What an erasure that was carried out has come to, as far as can be seen from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// No recovery point is left; bytes are, under a key that others use too.
    LogicallyErased,
    /// Nobody can read what the tenant's own keys opened, unless an administrator takes their deletion back in time.
    KeyPendingDeletion,
    /// The deletion of a key was taken back.
    KeyTakenBack,
    /// Nobody can read anything of it any more.
    Erased,
}

impl Standing {
    /// What it has come to: `keys` as KMS has them now, how many recovery points the vault's own key opened, and how many
    /// objects are left that the sweep has yet to delete.
    #[must_use]
    pub fn of(keys: &[KeyFound], under_vault_key: u64, objects_left: u64) -> Self {
        if objects_left == 0 {
            return Self::Erased;
        }
        if keys.contains(&KeyFound::Usable) {
            return Self::KeyTakenBack;
        }
        match (keys.is_empty() || under_vault_key > 0, keys.contains(&KeyFound::Pending)) {
            (true, _) => Self::LogicallyErased,
            (false, true) => Self::KeyPendingDeletion,
            (false, false) => Self::Erased,
        }
    }

    /// Its name, as it is shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LogicallyErased => "logically_erased",
            Self::KeyPendingDeletion => "key_pending_deletion",
            Self::KeyTakenBack => "key_taken_back",
            Self::Erased => "erased",
        }
    }
}

/// The digest of an evidence document: of its JSON as it is, with sorted names and no spaces.
#[must_use]
pub fn evidence_digest(evidence: &serde_json::Value) -> String {
    blake3::hash(evidence.to_string().as_bytes()).to_hex().to_string()
}

/// Whether the erasure by which a tenant is marked left something for another one: it was not completed, or there are recovery points.
#[must_use]
pub fn left_something(erasure: Option<&Erasure>, points: &[RecoveryPoint]) -> bool {
    let completed = erasure.is_some_and(|erasure| matches!(erasure.state, ErasureState::Expired { .. }));
    !completed || points.iter().any(|point| matches!(point.state, State::Available { .. } | State::Running))
}

/// What keeps recovery points of a tenant from going: each hold with its reason and how many it keeps.
#[must_use]
pub fn held_by(points: &[RecoveryPoint], now: Timestamp) -> Option<String> {
    let mut holds: std::collections::BTreeMap<(&str, &str), usize> = std::collections::BTreeMap::new();
    for point in points.iter().filter(|point| point.content().is_some()) {
        for hold in point.holds.iter().filter(|hold| !hold.is_over(now)) {
            *holds.entry((&hold.reason, &hold.owner)).or_default() += 1;
        }
    }
    let told = holds.iter().map(|((reason, owner), points)| format!("`{reason}` of {owner} on {points} recovery points"));
    (!holds.is_empty()).then(|| told.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests;
