//! The sweep: how bytes that nothing needs are deleted while runs go on that may want them again.
//!
//! A run may share a pack that an earlier recovery point stored; a sweep may find the same pack needed by nobody. Neither waits for the
//! other's clock or takes a lock: every tenant has an *epoch*, every run begins in one, and a pack that is to go carries a *mark*.
//!
//! - **A run** is registered in the tenant's epoch, then reads the mark of a pack it would share. No mark: it shares it. *Condemned*: it removes
//!   exactly that mark and shares it. *Sweeping*: it does not share it. Either way the version must be found to be there after the mark was
//!   read (extending its lock does that). It publishes only if it is still running.
//! - **A sweep** reads the epoch and lists what is needed and what is there; the listing may be old, for it only proposes. It condemns what
//!   seems unneeded, moves the epoch on, and waits for the runs that began in its epoch or before, or fences them. Then nobody can
//!   share what bears a mark of that epoch without removing the mark. It reads again what is needed, and turns exactly the marks of unneeded
//!   packs into *sweeping*, deletes the version that the mark names, and clears exactly that mark.
//!
//! What a write depends on is data ([`Write::when`]), so the catalog's conditions and the model checker (`tests/rust/tests/sweep`) come from
//! one place, and each guard can be taken out there to show that it is needed.

use serde::{Deserialize, Serialize};

use crate::{
    id::{RunId, VaultTenantId},
    point::{Content, RecoveryPoint, State},
};

/// How often sweeps of a tenant's packs have moved on. A run remembers the one it was registered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Whether no sweep has moved on yet.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.0 == 0
    }
}

/// What a pack bears that is to go. `V` names a stored version of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub enum Mark<V = String> {
    /// A sweep proposes to delete it. Runs may object by removing the mark.
    Condemned {
        /// The sweep's epoch.
        epoch: Epoch,
        /// What was there when it was listed.
        version: V,
    },
    /// It is being deleted, and comes back no more.
    Sweeping {
        /// The epoch in which it was condemned.
        epoch: Epoch,
        /// What is deleted.
        version: V,
    },
}

impl<V> Mark<V> {
    /// The epoch in which the pack was condemned.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        let (Self::Condemned { epoch, .. } | Self::Sweeping { epoch, .. }) = self;
        *epoch
    }
}

/// What keeps the protocol safe. Taking any one out loses data, and the model says how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Guard {
    /// A run is registered before it reads the first mark.
    RegisterFirst,
    /// A run reads a pack's mark before it shares the pack.
    ReadMark,
    /// What is being deleted is not shared any more.
    SweepingIsFinal,
    /// A run removes the very mark it read, or none.
    RescueExactly,
    /// A run finds the version there before it shares it.
    VersionThere,
    /// It does so after it read the mark.
    VersionAfterMark,
    /// Only a run that is still running publishes.
    PublishRunning,
    /// A pack that bears a mark is not condemned again.
    CondemnUnmarked,
    /// A sweep condemns only while the epoch is the one it read.
    CondemnInEpoch,
    /// A sweep moves the epoch on before it waits.
    Advance,
    /// The epoch moves by one from the one that was read, and never back.
    AdvanceOnce,
    /// A sweep waits for runs that began before it condemned, or fences them.
    Wait,
    /// The runs of its own epoch are among them.
    WaitForOwnEpoch,
    /// A sweep judges only marks of its epoch and earlier ones.
    OnlySettled,
    /// It reads what is needed again before it deletes.
    Recheck,
    /// It does so after it has waited.
    RecheckAfterWaiting,
    /// The very mark that was judged turns into *sweeping*.
    JudgeExactly,
    /// What is deleted is the version that was judged, not whatever has the name.
    DeleteByVersion,
    /// What could not be deleted because it is locked keeps its mark.
    LockedStaysMarked,
    /// The very mark whose version was deleted is cleared.
    ClearExactly,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 20] = [
        Self::RegisterFirst,
        Self::ReadMark,
        Self::SweepingIsFinal,
        Self::RescueExactly,
        Self::VersionThere,
        Self::VersionAfterMark,
        Self::PublishRunning,
        Self::CondemnUnmarked,
        Self::CondemnInEpoch,
        Self::Advance,
        Self::AdvanceOnce,
        Self::Wait,
        Self::WaitForOwnEpoch,
        Self::OnlySettled,
        Self::Recheck,
        Self::RecheckAfterWaiting,
        Self::JudgeExactly,
        Self::DeleteByVersion,
        Self::LockedStaysMarked,
        Self::ClearExactly,
    ];
}

/// What a conditional write asks of what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition<V = String> {
    /// The tenant's epoch is this one.
    EpochIs(Epoch),
    /// The pack bears exactly this mark, or none.
    MarkIs(Option<Mark<V>>),
    /// The run is still running: neither fenced, nor overtaken, nor over.
    RunIsRunning,
}

impl<V: PartialEq> Condition<V> {
    /// Whether what is stored fulfils it.
    #[must_use]
    pub fn holds(&self, epoch: Epoch, mark: Option<&Mark<V>>, running: bool) -> bool {
        match self {
            Self::EpochIs(expected) => *expected == epoch,
            Self::MarkIs(expected) => expected.as_ref() == mark,
            Self::RunIsRunning => running,
        }
    }
}

/// What a conditional write makes true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<V = String> {
    /// The tenant's epoch becomes this one.
    Epoch(Epoch),
    /// The pack's mark becomes this one, or none.
    Mark(Option<Mark<V>>),
    /// The run's recovery point becomes available.
    Publish,
    /// The run can publish no more.
    Fence,
}

/// One conditional write: all of `when` is compared and `then` done in one step, or nothing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write<V = String> {
    /// What it depends on, each by the guard it stands for.
    pub when: Vec<(Guard, Condition<V>)>,
    /// What it does.
    pub then: Effect<V>,
}

/// What a run may do with a pack that an earlier recovery point stored, by the mark it bears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sharing<V = String> {
    /// Share it if its version is there.
    Allowed,
    /// Likewise, once this write has removed the mark. If that fails, read the mark again.
    AfterRescue(Write<V>),
    /// Store its content anew.
    Refused,
}

/// Whether a run may share a pack. The run is registered, and the mark was read with strong consistency after that.
#[must_use]
pub fn sharing<V: Clone>(mark: Option<&Mark<V>>) -> Sharing<V> {
    match mark {
        None => Sharing::Allowed,
        Some(mark @ Mark::Condemned { .. }) => Sharing::AfterRescue(Write {
            when: vec![(Guard::RescueExactly, Condition::MarkIs(Some(mark.clone())))],
            then: Effect::Mark(None),
        }),
        Some(Mark::Sweeping { .. }) => Sharing::Refused,
    }
}

/// How a run publishes: the last thing it does.
#[must_use]
pub fn publish<V>() -> Write<V> {
    Write { when: vec![(Guard::PublishRunning, Condition::RunIsRunning)], then: Effect::Publish }
}

/// How a sweep ends a run that it does not want to wait for. A run that is over is left as it is.
#[must_use]
pub fn fence<V>() -> Write<V> {
    Write { when: vec![(Guard::PublishRunning, Condition::RunIsRunning)], then: Effect::Fence }
}

/// The name under which something of a tenant is stored, and what of the tenant bears on whether that is needed.
#[derive(Debug, Clone, Copy)]
pub struct Named<'a> {
    /// The name. Each of a tenant's names has an epoch, marks and sweeps of its own.
    pub name: VaultTenantId,
    /// Every name of the tenant, this one among them: after its record was lost it may have been given another. Nothing that is stored
    /// under one is shared under another.
    pub all: &'a [VaultTenantId],
    /// Whether the tenant was erased: nothing is published of it any more.
    pub is_erased: bool,
}

/// Whether what a link names must stay, which `run` signed at a place of the chain of `of` for the recovery point that `record` is of.
///
/// The catalog is a cache: only a record that says so lets anything go. A link of a recovery point that it does not know stays, and so
/// does one by a later run than it knows of, which a catalog that was set back has forgotten. Ids of runs are ordered by time.
///
/// A slot that was published under a former name may have been filled again under another since. What became of that recovery point in
/// the end is so of both; a run that has not published says nothing about what was published under another name before.
#[must_use]
pub fn is_needed(record: Option<&RecoveryPoint>, of: Named<'_>, place: u64, run: RunId) -> bool {
    let Some(record) = record else { return true };
    match &record.state {
        State::Failed { .. } | State::Expired { .. } | State::Swept { .. } if of.is_erased => false,
        // It is not recorded under which name they run.
        State::Running | State::Failed { .. } if of.all.len() > 1 => true,
        // Nobody can publish what an earlier run signed: this one has taken the slot over.
        State::Running => run >= record.run,
        State::Failed { .. } => run > record.run,
        State::Available { content, .. } => {
            let is_the_one = matches!(content, Content::Export { sequence, .. } if *sequence == place);
            !is_of(content, &[of.name]) || is_the_one || run >= record.run
        }
        State::Expired { content, .. } | State::Swept { content, .. } => !is_of(content, of.all) || run > record.run,
    }
}

fn is_of(content: &Content, names: &[VaultTenantId]) -> bool {
    matches!(content, Content::Export { vault_tenant, .. } if names.contains(vault_tenant))
}

/// How far a sweep of one tenant's packs has come. It may be stored and gone on from, or begun anew at any time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sweep {
    /// The tenant's epoch as it was read before anything was listed.
    pub epoch: Epoch,
    /// What it does next.
    pub phase: Phase,
}

/// What a sweep does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Condemns what is there, unmarked, and seems to be needed by nobody.
    Marking,
    /// Moves the epoch on.
    Advancing,
    /// Waits for runs, or fences them.
    Waiting,
    /// Judges every mark of its epoch and earlier ones, whoever wrote it, and deletes.
    Judging,
}

/// What ends a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Everything that is to be condemned was tried.
    Marked,
    /// The tenant's epoch now is this one, whoever moved it.
    Advanced(Epoch),
    /// Of all runs that are running, read with strong consistency, the oldest began in this epoch.
    Running(Option<Epoch>),
}

/// An event that does not end the phase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a sweep of epoch {} cannot go on from {phase:?} by {event:?}: end what is in the way, or begin the sweep anew", epoch.0)]
pub struct NotYet {
    epoch: Epoch,
    phase: Phase,
    event: Event,
}

/// What is to be done about a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act<V = String> {
    /// This write. If it fails, somebody else was faster, and nothing is wrong.
    Write(Write<V>),
    /// Deleting this version, and no other.
    Delete(V),
}

/// What came of deleting a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Deletion {
    /// It is gone, or was before.
    Gone,
    /// Its lock forbids it for now.
    Locked,
}

impl Sweep {
    /// Begins one in the tenant's present epoch. What is needed and what is there are listed after it was read.
    #[must_use]
    pub fn begin(epoch: Epoch) -> Self {
        Self { epoch, phase: Phase::Marking }
    }

    /// Goes on to the next phase.
    ///
    /// # Errors
    /// If the phase does not end by this event: the epoch has not moved, or a run is in the way.
    pub fn next(self, event: Event) -> Result<Self, NotYet> {
        let phase = match (self.phase, event) {
            (Phase::Marking, Event::Marked) => Phase::Advancing,
            (Phase::Advancing, Event::Advanced(now)) if now > self.epoch => Phase::Waiting,
            (Phase::Waiting, Event::Running(oldest)) if !oldest.is_some_and(|oldest| self.waits_for(oldest)) => Phase::Judging,
            _ => return Err(NotYet { epoch: self.epoch, phase: self.phase, event }),
        };
        Ok(Self { phase, ..self })
    }

    /// Whether a run that began in this epoch must be over before anything is deleted: it may have read a mark before it was written.
    #[must_use]
    pub fn waits_for(&self, began: Epoch) -> bool {
        began <= self.epoch
    }

    /// How a pack is condemned, by the version that was listed.
    #[must_use]
    pub fn condemn<V>(&self, version: V) -> Write<V> {
        Write {
            when: vec![
                (Guard::CondemnUnmarked, Condition::MarkIs(None)),
                // Without it a sweep that stood still could write this epoch's mark after another one has waited for its runs.
                (Guard::CondemnInEpoch, Condition::EpochIs(self.epoch)),
            ],
            then: Effect::Mark(Some(Mark::Condemned { epoch: self.epoch, version })),
        }
    }

    /// How the epoch moves on. If it fails, another sweep moved it, which does as well.
    #[must_use]
    pub fn advance<V>(&self) -> Write<V> {
        Write { when: vec![(Guard::AdvanceOnce, Condition::EpochIs(self.epoch))], then: Effect::Epoch(self.epoch.next()) }
    }

    /// What is to be done about a mark; nothing before this sweep has waited for the runs of the mark's epoch.
    ///
    /// `needed`: whether an available recovery point names the pack, read with strong consistency in this phase.
    #[must_use]
    pub fn judge<V: Clone>(&self, mark: &Mark<V>, needed: bool) -> Option<Act<V>> {
        if self.phase != Phase::Judging || mark.epoch() > self.epoch {
            return None;
        }
        let exactly = |guard| vec![(guard, Condition::MarkIs(Some(mark.clone())))];
        Some(match mark {
            Mark::Sweeping { version, .. } => Act::Delete(version.clone()),
            Mark::Condemned { .. } if needed => {
                Act::Write(Write { when: exactly(Guard::JudgeExactly), then: Effect::Mark(None) })
            }
            Mark::Condemned { epoch, version } => Act::Write(Write {
                when: exactly(Guard::JudgeExactly),
                then: Effect::Mark(Some(Mark::Sweeping { epoch: *epoch, version: version.clone() })),
            }),
        })
    }

    /// What follows a deletion. A locked version keeps its mark, so that no run shares it, and a later sweep tries again.
    #[must_use]
    pub fn deleted<V: Clone>(&self, mark: &Mark<V>, deletion: Deletion) -> Option<Write<V>> {
        (deletion == Deletion::Gone)
            .then(|| Write { when: vec![(Guard::ClearExactly, Condition::MarkIs(Some(mark.clone())))], then: Effect::Mark(None) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch(7);

    fn judging() -> Sweep {
        Sweep { epoch: EPOCH, phase: Phase::Judging }
    }

    fn condemned(epoch: u64) -> Mark {
        Mark::Condemned { epoch: Epoch(epoch), version: "v1".into() }
    }

    #[test]
    fn a_sweep_goes_on_only_when_the_epoch_has_moved_and_no_old_run_is_left() {
        let sweep = Sweep::begin(EPOCH).next(Event::Marked).unwrap();
        assert!(sweep.next(Event::Advanced(EPOCH)).is_err(), "the epoch has not moved");
        let waiting = sweep.next(Event::Advanced(Epoch(8))).unwrap();
        let error = waiting.next(Event::Running(Some(EPOCH))).expect_err("a run of its own epoch").to_string();
        assert!(error.contains("epoch 7") && error.contains("Waiting"), "{error}");
        assert_eq!(waiting.next(Event::Running(Some(Epoch(8)))).unwrap(), judging());
        assert_eq!(waiting.next(Event::Running(None)).unwrap(), judging());
    }

    #[test]
    fn nothing_is_judged_before_its_time() {
        for phase in [Phase::Marking, Phase::Advancing, Phase::Waiting] {
            assert_eq!(Sweep { epoch: EPOCH, phase }.judge(&condemned(7), false), None);
        }
        assert_eq!(judging().judge(&condemned(8), false), None, "its runs were not waited for");
        assert!(judging().judge(&condemned(6), false).is_some(), "what an earlier sweep left");
    }

    #[test]
    fn what_is_needed_is_released_and_the_rest_is_deleted_by_its_version() {
        let Some(Act::Write(release)) = judging().judge(&condemned(7), true) else { panic!("a write") };
        assert_eq!(release.then, Effect::Mark(None));
        let Some(Act::Write(take)) = judging().judge(&condemned(7), false) else { panic!("a write") };
        let Effect::Mark(Some(sweeping)) = take.then else { panic!("a mark") };
        assert_eq!(judging().judge(&sweeping, false), Some(Act::Delete("v1".into())));
        assert_eq!(judging().deleted(&sweeping, Deletion::Locked), None);
        let clear = judging().deleted(&sweeping, Deletion::Gone).unwrap();
        assert!(clear.when.iter().all(|(_, condition)| condition.holds(EPOCH, Some(&sweeping), false)));
        assert!(!clear.when.iter().all(|(_, condition)| condition.holds(EPOCH, Some(&condemned(7)), false)));
    }

    #[test]
    fn a_run_shares_what_is_unmarked_rescues_what_is_condemned_and_leaves_what_is_being_deleted() {
        assert_eq!(sharing::<String>(None), Sharing::Allowed);
        assert!(matches!(sharing(Some(&condemned(1))), Sharing::AfterRescue(_)));
        assert_eq!(sharing(Some(&Mark::Sweeping { epoch: EPOCH, version: "v1".to_owned() })), Sharing::Refused);
    }

    #[test]
    fn only_a_record_that_says_so_lets_anything_go() {
        use crate::{
            error::ErrorReport,
            slot::{Slot, Subject},
        };
        let [early, its_own, later] = [1, 2, 3].map(|n| RunId::from_uuid(uuid::Uuid::from_u128(n)));
        let [tenant, other] = [1, 2].map(|n| VaultTenantId::from_uuid(uuid::Uuid::from_u128(n)));
        let now: jiff::Timestamp = "2026-11-23T02:16:00Z".parse().unwrap();
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: now, subject, kind: crate::point::Kind::Database };
        let running = RecoveryPoint::begin(&slot, its_own, now);
        let content = Content::Export {
            vault_tenant: tenant,
            sequence: 1,
            link_sha256: String::new(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        };
        let failed = running.clone().fail(&ErrorReport::new(crate::ErrorCode::Throttled, "m"), now).unwrap();
        let available = running.clone().publish(content, now).unwrap();
        let expired = available.clone().expire(now).unwrap();
        let swept = expired.clone().sweep(now).unwrap();
        let judged =
            |record: Option<&RecoveryPoint>, of: Named<'_>| [early, its_own, later].map(|run| is_needed(record, of, 9, run));
        let alone = Named { name: tenant, all: &[tenant], is_erased: false };
        let needed = |record: Option<&RecoveryPoint>| judged(record, alone);
        assert_eq!(needed(None), [true; 3], "a wiped catalog lets nothing go");
        assert_eq!(needed(Some(&running)), [false, true, true]);
        assert_eq!(needed(Some(&available)), [false, true, true]);
        assert!(is_needed(Some(&available), alone, 1, early), "the very link that was published");
        for gone in [&failed, &expired, &swept] {
            assert_eq!(needed(Some(gone)), [false, false, true], "a later run than the catalog knows of");
        }
        for elsewhere in [&available, &expired, &swept] {
            assert_eq!(
                judged(Some(elsewhere), Named { name: other, all: &[other], is_erased: false }),
                [true; 3],
                "it is another's"
            );
        }

        // The tenant goes by the one name, and what is judged lies under the other, which it went by.
        let former = Named { name: other, all: &[tenant, other], is_erased: false };
        for unsaid in [None, Some(&running), Some(&failed), Some(&available)] {
            assert_eq!(judged(unsaid, former), [true; 3], "what was published under this name may be all there is");
        }
        for gone in [&expired, &swept] {
            assert_eq!(
                judged(Some(gone), former),
                [false, false, true],
                "the recovery point was let go, whatever name it lies under"
            );
        }
        let erased = Named { is_erased: true, ..former };
        for gone in [&failed, &expired, &swept] {
            assert_eq!(judged(Some(gone), erased), [false; 3], "an erasure leaves nothing that a record says is over");
        }
        for not_gone in [None, Some(&running), Some(&available)] {
            assert_eq!(judged(not_gone, erased), [true; 3], "it is for another erasure to let go");
        }
    }

    #[test]
    fn the_persisted_names_are_promises() {
        let marks = [condemned(3), Mark::Sweeping { epoch: Epoch(3), version: "v1".into() }];
        insta::assert_snapshot!(serde_json::to_string(&(marks, judging())).unwrap(),
            @r#"[[{"mark":"condemned","epoch":3,"version":"v1"},{"mark":"sweeping","epoch":3,"version":"v1"}],{"epoch":7,"phase":"judging"}]"#);
    }
}
