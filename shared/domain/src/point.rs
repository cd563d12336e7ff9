//! The life of a recovery point.
//!
//! `Running → Available → Expired → Swept`, or `Running → Failed → Running` when its slot is tried again. Proof and holds are fields
//! beside the state, because an available point stays available while it is being proven. There is no fenced state: the record
//! belongs to the slot, a later run takes it over by rewriting it, and the earlier run finds its generation gone.

mod hold;
mod origin;

pub use hold::{Hold, HoldError};
use jiff::Timestamp;
pub use origin::Origin;
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    error::{Coded, ErrorCode, ErrorReport},
    id::{RecoveryPointId, RunId, VaultTenantId},
    slot::{Slot, Subject},
    sweep::Epoch,
};

/// What a recovery point holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An engine's own snapshot of an instance.
    Snapshot,
    /// The rows and definitions of a tenant.
    #[default]
    Database,
    /// The metadata of a tenant's files.
    Media,
    /// The metadata of a tenant's settings and secrets.
    Configuration,
}

impl Kind {
    /// The kinds of which a tenant's recovery points lie in the vault.
    pub const EXPORTED: [Self; 3] = [Self::Database, Self::Media, Self::Configuration];

    /// The kind's name, as persisted and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Database => "database",
            Self::Media => "media",
            Self::Configuration => "configuration",
        }
    }

    /// What a recovery point of this kind consists of, as people count it.
    #[must_use]
    pub fn unit(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshots",
            Self::Database => "rows",
            Self::Media => "objects",
            Self::Configuration => "settings",
        }
    }
}

/// When a source was read: what is recorded is no older than `from` and no younger than `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSpan {
    /// The instant of a database's consistent view, or the beginning of a listing.
    pub from: Timestamp,
    /// The same instant of a view, or the end of a listing.
    pub until: Timestamp,
}

/// Where a recovery point's content is and how much of it there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "content", rename_all = "snake_case")]
pub enum Content {
    /// An export in the vault.
    Export {
        /// The tenant's opaque name there.
        vault_tenant: VaultTenantId,
        /// The place of its link in the tenant's chain.
        sequence: u64,
        /// SHA-256 of that link, in hex.
        link_sha256: String,
        /// The recovery point whose stored chunks it shares. It is complete without that one's record all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<RecoveryPointId>,
        /// Rows, or records of metadata.
        rows: u64,
        /// Bytes before compression.
        plaintext_bytes: u64,
        /// Bytes that it added to the vault.
        stored_bytes: u64,
        /// When the source was read; older records do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        read: Option<ReadSpan>,
    },
    /// A snapshot kept by RDS: the copy under the vault's key, or in older records the one beside the instance.
    Snapshot {
        /// Its identifier.
        identifier: String,
        /// Its ARN.
        arn: String,
        /// Settings of the instance that a restore from the snapshot would lose; null if the instance was gone by then.
        settings: serde_json::Value,
        /// What it was copied from, if it is the vault's copy; older records have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        copied: Option<Copied>,
    },
}

/// Where the vault's copy of a snapshot comes from, and what keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Identifier of the snapshot beside the instance. It is deleted once the copy is published.
    pub from: String,
    /// ARN of the KMS key that the copy is encrypted under: the vault's.
    pub kms_key: String,
}

/// The state of a recovery point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// A run is working on it.
    Running,
    /// Every byte is durable, and it was published by the run that held the slot.
    Available {
        /// When it was published.
        at: Timestamp,
        /// Where its content is.
        #[serde(flatten)]
        content: Content,
    },
    /// The last run gave up.
    Failed {
        /// When.
        at: Timestamp,
        /// The error code.
        code: String,
        /// What failed and what to do.
        message: String,
    },
    /// Retention decided that it is no longer kept.
    Expired {
        /// When.
        at: Timestamp,
        /// Where its content was; the sweep needs it.
        #[serde(flatten)]
        content: Content,
    },
    /// Nothing of it is stored any more, but for what others share.
    Swept {
        /// When.
        at: Timestamp,
        /// Where its content was, for the auditor.
        #[serde(flatten)]
        content: Content,
    },
}

impl State {
    /// The state's name, as persisted and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Available { .. } => "available",
            Self::Failed { .. } => "failed",
            Self::Expired { .. } => "expired",
            Self::Swept { .. } => "swept",
        }
    }
}

/// Whether a recovery point is known to come back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Proof {
    /// Nobody tried.
    #[default]
    Unproven,
    /// A restore of it matched.
    Proven {
        /// When.
        at: Timestamp,
        /// How long the restore took, from its start to the match, in milliseconds.
        rto_ms: i64,
    },
    /// Its content is missing, damaged, or differs after a restore.
    Refuted {
        /// When that was first found, since it last was not.
        at: Timestamp,
        /// What was found last.
        findings: Vec<String>,
    },
}

impl Proof {
    /// The proof's name, as persisted and shown.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Unproven => "unproven",
            Self::Proven { .. } => "proven",
            Self::Refuted { .. } => "refuted",
        }
    }
}

/// What a run that had to stop left in the vault for the next one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The run.
    pub run: RunId,
    /// The recovery point whose stored chunks it shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<RecoveryPointId>,
}

/// A recovery point, or the attempt to make one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryPoint {
    /// Its id, derived from the slot.
    pub id: RecoveryPointId,
    /// What it is of.
    pub subject: Subject,
    /// What it holds.
    pub kind: Kind,
    /// The rule that asked for it.
    pub rule: String,
    /// The instant the schedule named. Retention counts from here, the RPO from [`RecoveryPoint::as_of`].
    pub scheduled_time: Timestamp,
    /// The run that holds the slot.
    pub run: RunId,
    /// How many runs have held it, from 1.
    pub attempts: u32,
    /// When that run began.
    pub started_at: Timestamp,
    /// The epoch of the tenant's stored objects that the run was registered in: a sweep waits for it.
    #[serde(default, skip_serializing_if = "Epoch::is_first")]
    pub epoch: Epoch,
    /// How far it has come.
    #[serde(flatten)]
    pub state: State,
    /// What the next run may go on from. It outlives runs that end without leaving more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// The KMS key of its tenant's own under which the run's content key is wrapped; the vault's if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it is known to come back.
    pub proof: Proof,
    /// Why it must be kept, if it must.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Hold>,
}

/// A step that the state does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("recovery point {point} is {state}, so it cannot be {step}; read it again and decide anew")]
pub struct IllegalTransition {
    point: RecoveryPointId,
    state: &'static str,
    step: &'static str,
}

impl Coded for IllegalTransition {
    fn code(&self) -> ErrorCode {
        ErrorCode::Fenced
    }
}

impl RecoveryPoint {
    /// Whether a restore had it made for itself: of an instant, or of the state that it replaced. It serves who names it, and stands for
    /// no period of time: it may be of the very damage that was restored, and has no files and settings of its slot beside it.
    #[must_use]
    pub fn is_of_a_restore(&self) -> bool {
        [Slot::POINT_IN_TIME, Slot::BEFORE_RESTORE].contains(&self.rule.as_str())
    }

    /// The first attempt at a slot.
    #[must_use]
    pub fn begin(slot: &Slot, run: RunId, now: Timestamp) -> Self {
        Self {
            id: slot.recovery_point_id(),
            subject: slot.subject.clone(),
            kind: slot.kind,
            rule: slot.rule.clone(),
            scheduled_time: slot.scheduled_time,
            run,
            attempts: 1,
            started_at: now,
            epoch: Epoch::default(),
            state: State::Running,
            unfinished: None,
            key: None,
            proof: Proof::Unproven,
            holds: Vec::new(),
        }
    }

    /// Whether it is an export that shares no stored chunk with an earlier one. It may have expired since.
    fn stored_everything(&self) -> bool {
        matches!(self.last_content(), Some(Content::Export { parent: None, .. }))
    }

    /// A further attempt: a run that stopped in the middle, or failed, gives the slot to this one.
    ///
    /// # Errors
    /// If the slot has its recovery point already.
    pub fn retry(self, run: RunId, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Running | State::Failed { .. } => {
                let epoch = Epoch::default();
                Ok(Self { run, attempts: self.attempts + 1, started_at: now, epoch, state: State::Running, ..self })
            }
            _ => Err(self.illegal("retried")),
        }
    }

    /// The run's content key is wrapped under this key. What an earlier run left under another one is not gone on from.
    ///
    /// # Errors
    /// Unless a run is working on it.
    pub fn under(self, key: Option<&str>) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Running if self.key.as_deref() == key => Ok(self),
            State::Running => Ok(Self { key: key.map(str::to_owned), unfinished: None, ..self }),
            _ => Err(self.illegal("given a key")),
        }
    }

    /// The same attempt, registered in this epoch. Without it a run counts as one of the first, and every sweep waits for it.
    #[must_use]
    pub fn in_epoch(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }

    /// Everything is durable: the promise is made.
    ///
    /// # Errors
    /// Unless a run is working on it.
    pub fn publish(self, content: Content, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Running => Ok(Self { state: State::Available { at: now, content }, unfinished: None, ..self }),
            _ => Err(self.illegal("published")),
        }
    }

    /// The run gave up. What an earlier one left stays, unless something stored proved damaged: that may be part of it.
    ///
    /// # Errors
    /// Unless a run is working on it.
    pub fn fail(self, error: &ErrorReport, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Running => {
                let state = State::Failed { at: now, code: error.code.name().to_owned(), message: error.message.clone() };
                let unfinished = self.unfinished.filter(|_| error.code != ErrorCode::NotAuthentic);
                Ok(Self { state, unfinished, ..self })
            }
            _ => Err(self.illegal("failed")),
        }
    }

    /// The run had to stop, and left what it has done to the next one.
    ///
    /// # Errors
    /// Unless a run is working on it.
    pub fn suspend(
        self,
        parent: Option<RecoveryPointId>,
        report: &ErrorReport,
        now: Timestamp,
    ) -> Result<Self, IllegalTransition> {
        let unfinished = Some(Unfinished { run: self.run, parent });
        Ok(Self { unfinished, ..self.fail(report, now)? })
    }

    /// Retention lets it go.
    ///
    /// # Errors
    /// Unless it is available and not held.
    pub fn expire(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Available { ref content, .. } if !self.is_held(now) => {
                let content = content.clone();
                Ok(Self { state: State::Expired { at: now, content }, ..self })
            }
            _ => Err(self.illegal("expired")),
        }
    }

    /// Everything that only it needed has been deleted.
    ///
    /// # Errors
    /// Unless it is expired.
    pub fn sweep(self, now: Timestamp) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Expired { ref content, .. } => {
                let content = content.clone();
                Ok(Self { state: State::Swept { at: now, content }, ..self })
            }
            _ => Err(self.illegal("swept")),
        }
    }

    /// Records what a verification found. One that is found bad again is bad since it was first: what was begun in between knew of it,
    /// and shares nothing with it ([`to_build_on`]).
    ///
    /// # Errors
    /// Unless it is available.
    pub fn judge(self, proof: Proof) -> Result<Self, IllegalTransition> {
        match self.state {
            State::Available { .. } => {
                let proof = match (&self.proof, proof) {
                    (Proof::Refuted { at: first, .. }, Proof::Refuted { at, findings }) => {
                        Proof::Refuted { at: at.min(*first), findings }
                    }
                    (_, proof) => proof,
                };
                Ok(Self { proof, ..self })
            }
            _ => Err(self.illegal("judged")),
        }
    }

    /// The instant after which what happened is not in it: the slot's, or that of an older copy it was read from.
    #[must_use]
    pub fn as_of(&self) -> Timestamp {
        match self.last_content() {
            Some(Content::Export { read: Some(read), .. }) => read.from.min(self.scheduled_time),
            _ => self.scheduled_time,
        }
    }

    /// How old what it holds is: when it was read as far as that was recorded, and otherwise between its slot and its publication.
    /// Nothing if there is no content.
    #[must_use]
    pub fn span(&self) -> Option<ReadSpan> {
        match &self.state {
            State::Available { at, content } | State::Expired { at, content } | State::Swept { at, content } => {
                Some(match content {
                    Content::Export { read: Some(read), .. } => *read,
                    // One that has gone tells when it went, which is later: too careful, and no restore starts from it.
                    _ => ReadSpan { from: self.scheduled_time, until: *at },
                })
            }
            State::Running | State::Failed { .. } => None,
        }
    }

    /// Where its content is, while it is available.
    #[must_use]
    pub fn content(&self) -> Option<&Content> {
        match &self.state {
            State::Available { content, .. } => Some(content),
            _ => None,
        }
    }

    /// Where its content is, or was before it went.
    #[must_use]
    pub fn last_content(&self) -> Option<&Content> {
        match &self.state {
            State::Available { content, .. } | State::Expired { content, .. } | State::Swept { content, .. } => Some(content),
            State::Running | State::Failed { .. } => None,
        }
    }

    /// Whether a restore may use it: available, and not known to be bad.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.content().is_some() && !matches!(self.proof, Proof::Refuted { .. })
    }

    fn illegal(&self, step: &'static str) -> IllegalTransition {
        IllegalTransition { point: self.id, state: self.state.name(), step }
    }
}

/// The recovery point whose stored chunks the next one may share, of those of one subject and kind, newest first.
///
/// It is the newest available one, unless
/// - one that may share chunks with it was found to be bad since it was begun, or
/// - everything was last stored anew more than [`caps::FULL_EVERY_S`] before it, or nobody knows when: a pack stays as long as one of
///   its chunks is shared, and what is shared for ever drags more and more of what nobody needs along.
#[must_use]
pub fn to_build_on(points: Vec<RecoveryPoint>) -> Option<RecoveryPoint> {
    let newest = points.iter().find(|point| point.content().is_some())?;
    let refuted_since = |point: &RecoveryPoint| matches!(point.proof, Proof::Refuted { at, .. } if at >= newest.started_at);
    let stored_anew = points.iter().find(|point| point.stored_everything())?;
    let age_s = newest.scheduled_time.duration_since(stored_anew.scheduled_time).as_secs();
    (!points.iter().any(refuted_since) && age_s <= caps::FULL_EVERY_S).then(|| newest.clone())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T02:16:00Z".parse().unwrap()
    }

    fn run(n: u128) -> RunId {
        RunId::from_uuid(Uuid::from_u128(n))
    }

    fn running() -> RecoveryPoint {
        let slot = Slot {
            rule: "daily".into(),
            scheduled_time: "2026-11-23T02:15:00Z".parse().unwrap(),
            subject: Subject::Tenant("acme".parse().unwrap()),
            kind: Kind::Database,
        };
        RecoveryPoint::begin(&slot, run(1), now())
    }

    fn content() -> Content {
        Content::Export {
            vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(9)),
            sequence: 1,
            link_sha256: "00".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 2,
            stored_bytes: 3,
            read: None,
        }
    }

    #[test]
    fn the_persisted_names_are_promises() {
        let point = running().publish(content(), now()).unwrap().judge(Proof::Proven { at: now(), rto_ms: 5 }).unwrap();
        let json = serde_json::to_value(&point).unwrap();
        insta::with_settings!({ sort_maps => true }, { insta::assert_json_snapshot!(json) });
        assert_eq!(serde_json::from_value::<RecoveryPoint>(json).unwrap(), point);
        for point in [
            running(),
            running().fail(&ErrorReport::new(ErrorCode::Throttled, "m"), now()).unwrap(),
            point.clone().expire(now()).unwrap(),
            point.expire(now()).unwrap().sweep(now()).unwrap(),
        ] {
            let text = serde_json::to_string(&point).unwrap();
            assert_eq!(serde_json::from_str::<RecoveryPoint>(&text).unwrap(), point, "{text}");
        }
    }

    #[test]
    fn a_slot_with_its_recovery_point_is_never_run_again() {
        let available = running().publish(content(), now()).unwrap();
        assert!(available.clone().retry(run(2), now()).is_err());
        assert!(available.clone().publish(content(), now()).is_err());
        assert!(available.clone().sweep(now()).is_err(), "what is available is not swept");
        let expired = available.expire(now()).unwrap();
        assert!(expired.clone().retry(run(2), now()).is_err());
        assert!(expired.sweep(now()).unwrap().retry(run(2), now()).is_err());
    }

    #[test]
    fn what_a_run_left_serves_the_next_ones_until_it_is_published_or_damaged() {
        let near = ErrorReport::new(ErrorCode::DeadlineNear, "m");
        let parent = Some(running().id);
        let stopped = running().suspend(parent, &near, now()).unwrap();
        let left = Some(Unfinished { run: run(1), parent });
        assert_eq!((stopped.state.name(), &stopped.unfinished), ("failed", &left));
        let text = serde_json::to_string(&stopped).unwrap();
        assert_eq!(serde_json::from_str::<RecoveryPoint>(&text).unwrap(), stopped, "{text}");

        let next = stopped.retry(run(2), now()).unwrap();
        assert_eq!(next.unfinished, left, "a run that dies leaves it as it was");
        assert_eq!(next.clone().fail(&near, now()).unwrap().unfinished, left);
        let damaged = ErrorReport::new(ErrorCode::NotAuthentic, "m");
        assert_eq!(next.clone().fail(&damaged, now()).unwrap().unfinished, None);
        assert_eq!(next.clone().suspend(None, &near, now()).unwrap().unfinished.unwrap().run, run(2));
        assert_eq!(next.publish(content(), now()).unwrap().unfinished, None);
    }

    #[test]
    fn what_a_run_left_under_another_key_is_not_gone_on_from() {
        let near = ErrorReport::new(ErrorCode::DeadlineNear, "m");
        let own = running().under(Some("k")).unwrap().suspend(None, &near, now()).unwrap().retry(run(2), now()).unwrap();
        assert!(own.clone().under(Some("k")).unwrap().unfinished.is_some());
        let moved = own.under(None).unwrap();
        assert_eq!((moved.key.clone(), moved.unfinished.clone()), (None, None));
        assert!(moved.publish(content(), now()).unwrap().under(Some("k")).is_err());
    }

    #[test]
    fn a_refuted_recovery_point_serves_no_restore() {
        let refuted = running().publish(content(), now()).unwrap().judge(Proof::Refuted { at: now(), findings: vec![] }).unwrap();
        assert!(!refuted.is_usable());
    }

    /// Exports a day apart, newest first, by what each was built on.
    fn exports(parents: &[Option<u128>]) -> Vec<RecoveryPoint> {
        let day = |back: usize| now() - jiff::SignedDuration::from_hours(24 * i64::try_from(back).unwrap());
        let export = |(back, parent): (usize, &Option<u128>)| {
            let content = Content::Export {
                vault_tenant: VaultTenantId::from_uuid(Uuid::from_u128(1)),
                sequence: 1,
                link_sha256: "00".into(),
                parent: parent.map(|parent| RecoveryPointId::from_uuid(Uuid::from_u128(parent))),
                rows: 1,
                plaintext_bytes: 1,
                stored_bytes: 1,
                read: None,
            };
            let mut point = running().publish(content, day(back)).unwrap();
            (point.scheduled_time, point.started_at) = (day(back), day(back));
            point
        };
        parents.iter().enumerate().map(export).collect()
    }

    #[test]
    fn the_next_export_builds_on_the_newest_one() {
        let points = exports(&[Some(2), Some(1), None]);
        assert_eq!(to_build_on(points.clone()).as_ref(), points.first());
        assert_eq!(to_build_on(Vec::new()), None);
    }

    #[test]
    fn what_was_found_bad_since_is_not_built_on_and_what_came_after_is() {
        let mut points = exports(&[Some(1), None]);
        points[1].proof = Proof::Refuted { at: points[0].started_at, findings: Vec::new() };
        assert_eq!(to_build_on(points.clone()), None, "the newest may share the damage");
        points[1].proof = Proof::Refuted { at: points[1].started_at, findings: Vec::new() };
        assert_eq!(to_build_on(points.clone()).as_ref(), points.first(), "it was begun knowing of it");
    }

    #[test]
    fn what_stays_bad_makes_one_export_a_full_one_and_not_each_until_it_expires() {
        let refuted = |at, finding: &str| Proof::Refuted { at, findings: vec![finding.to_owned()] };
        let found_bad = |point: RecoveryPoint, at| point.judge(refuted(at, "f")).unwrap();
        let mut points = exports(&[Some(1), None]);
        let (before, after) = (points[1].started_at, points[0].started_at + jiff::SignedDuration::from_hours(1));
        points[1] = found_bad(found_bad(points[1].clone(), before), after).judge(refuted(after, "g")).unwrap();
        assert_eq!(points[1].proof, refuted(before, "g"), "what was found is of today");
        assert_eq!(to_build_on(points.clone()).as_ref(), points.first(), "it was begun knowing of it");
        points[1] = found_bad(points[1].clone().judge(Proof::Unproven).unwrap(), after);
        assert_eq!(points[1].proof, refuted(after, "f"), "it was found sound in between");
        assert_eq!(to_build_on(points), None);
    }

    #[test]
    fn everything_is_stored_anew_once_in_a_while() {
        let mut days = vec![Some(1); 92];
        days[91] = None;
        assert!(to_build_on(exports(&days)).is_some());
        days.insert(0, Some(1));
        assert_eq!(to_build_on(exports(&days)), None);
        assert_eq!(to_build_on(exports(&[Some(1), Some(1)])), None, "nobody knows how old what they share is");
    }
}
