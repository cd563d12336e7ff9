//! When which level of proof is due: that everything is still there, that every stored byte is authentic, that it really comes back.
//!
//! The plan is a pure function of what is stored, what was done when, and the round's scheduled time. So a repeated or interrupted round goes
//! on where it was: what it did is no longer due, and what a round missed is due in the next.

use std::{cmp::Reverse, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    id::RecoveryPointId,
    point::{Content, Kind, Proof, RecoveryPoint, State},
    slot::Subject,
};

/// Parts into which the chunks of a recovery point fall, to be read on different days.
pub const SHARES: u32 = 7;
/// Rounds are this far apart. What would become late before the next one is due in this one.
const ROUND_S: i64 = 24 * 3600;

/// How old each level of proof may become. The plan's section `verification`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cadences {
    /// Every stored chunk of every retained recovery point is read again within so many days.
    pub authentic_days: u16,
    /// The newest recovery point of each tenant, and of each instance, is restored within so many hours.
    pub newest_restored_hours: u16,
    /// Every retained recovery point is restored within so many days.
    pub restored_days: u16,
}

impl Default for Cadences {
    fn default() -> Self {
        Self {
            authentic_days: caps::AUTHENTIC_WITHIN_DAYS,
            newest_restored_hours: caps::NEWEST_RESTORED_WITHIN_HOURS,
            restored_days: caps::RESTORED_WITHIN_DAYS,
        }
    }
}

impl Cadences {
    /// Whether they are the defaults, which a plan need not name.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How old the newest proof of a tenant, or of an instance's snapshots, may become: one round may fail without anybody being woken.
    #[must_use]
    pub fn newest_proof_at_most(&self) -> SignedDuration {
        SignedDuration::from_hours(i64::from(self.newest_restored_hours)) + SignedDuration::from_secs(ROUND_S)
    }

    /// How long ago the stored byte that waits longest may have been read: one round may fail here too.
    #[must_use]
    pub fn oldest_reading_at_most(&self) -> SignedDuration {
        self.authentic() + SignedDuration::from_secs(ROUND_S)
    }

    /// Refuses what no round could keep.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, value, least) in [
            ("authentic_days", self.authentic_days, 1),
            ("newest_restored_hours", self.newest_restored_hours, 24),
            ("restored_days", self.restored_days, 1),
        ] {
            if value < least {
                return Err(format!("`verification.{name}` is {value}: a round is made once a day, so use {least} or more"));
            }
        }
        Ok(())
    }

    fn authentic(&self) -> SignedDuration {
        SignedDuration::from_hours(24 * i64::from(self.authentic_days))
    }
}

/// What was done about a recovery point, and when. It lies beside the recovery point and is not part of it: whoever loses it checks once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When everything it needs was last found to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub present_at: Option<Timestamp>,
    /// When each share of its chunks was last read and found authentic; none if never.
    #[serde(default)]
    pub authentic_at: [Option<Timestamp>; SHARES as usize],
    /// When a restore test last came to a verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested_at: Option<Timestamp>,
    /// When one was last tried, whatever came of it: what cannot be tested must not have every turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<Timestamp>,
}

impl Checked {
    /// The instant since which every chunk of it was read at least once; none if one never was.
    #[must_use]
    pub fn authentic_since(&self) -> Option<Timestamp> {
        self.authentic_at.iter().copied().min().flatten()
    }

    /// Records that shares were read.
    pub fn read(&mut self, shares: Shares, at: Timestamp) {
        for share in shares.iter() {
            self.authentic_at[share] = Some(at);
        }
    }
}

/// Since when a stored byte of an available export may not have been read: since the oldest reading of its shares or, if one was never
/// read, since it was published. None of what is not stored, and of what was found bad, which is told as such.
#[must_use]
pub fn unread_since(point: &RecoveryPoint, checked: Option<&Checked>) -> Option<Timestamp> {
    match (&point.state, &point.proof) {
        (_, Proof::Refuted { .. }) => None,
        (State::Available { at, content: Content::Export { .. } }, _) => {
            Some(checked.and_then(Checked::authentic_since).unwrap_or(*at))
        }
        _ => None,
    }
}

/// Some of the shares of a recovery point's chunks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shares(u8);

impl Shares {
    /// All of them.
    pub const ALL: Self = Self((1 << SHARES) - 1);

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one, counted from 0, is among them.
    #[must_use]
    pub fn has(self, share: u32) -> bool {
        share < SHARES && self.0 & (1 << share) != 0
    }

    /// Their numbers, counted from 0.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        (0..SHARES).filter(move |share| self.has(*share)).map(|share| share as usize)
    }

    /// Each by itself.
    pub fn singly(self) -> impl Iterator<Item = Self> {
        (0..SHARES).filter(move |share| self.has(*share)).map(|share| Self(1 << share))
    }
}

impl FromIterator<u32> for Shares {
    fn from_iter<I: IntoIterator<Item = u32>>(shares: I) -> Self {
        Self(shares.into_iter().filter(|share| *share < SHARES).fold(0, |all, share| all | 1 << share))
    }
}

/// What is due about what is stored of a recovery point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueReading {
    /// The recovery point.
    pub point: RecoveryPointId,
    /// Whether everything it needs has to be looked for.
    pub present: bool,
    /// The shares of its chunks that have to be read.
    pub shares: Shares,
}

/// What is due about the stored bytes of a tenant's available exports, in the round of `tick`.
///
/// Everything is looked for in every round. Share `n` has its turn on one day of the cadence, offset by tenant so that tenants do not all
/// have theirs together; chunks that recovery points share are in the same share in each, and are read once. What was never read, or would
/// become too old before the next round, is due besides. The newest of each kind is read whole: a restore most likely starts from it.
#[must_use]
pub fn readings_due<'a>(
    points: impl IntoIterator<Item = (&'a RecoveryPoint, &'a Checked)>,
    cadences: &Cadences,
    tick: Timestamp,
) -> Vec<DueReading> {
    let points: Vec<_> = points.into_iter().filter(|(point, _)| point.content().is_some()).collect();
    let day = tick.as_second().div_euclid(ROUND_S);
    let due = |(point, checked): &(&RecoveryPoint, &Checked)| {
        let is_newest = !points.iter().any(|(other, _)| other.kind == point.kind && is_newer(other, point));
        let shares = (0..SHARES).filter(|share| {
            let read_at = checked.authentic_at[*share as usize];
            let open = read_at.is_none_or(|read_at| read_at < tick);
            let late = read_at.is_none_or(|read_at| too_late(read_at, cadences.authentic(), tick));
            open && (late || is_newest || has_turn(*share, day + offset(&point.subject), cadences.authentic_days))
        });
        DueReading {
            point: point.id,
            present: checked.present_at.is_none_or(|present_at| present_at < tick),
            shares: shares.collect(),
        }
    };
    points.iter().map(due).filter(|due| due.present || !due.shares.is_empty()).collect()
}

fn is_newer(one: &RecoveryPoint, other: &RecoveryPoint) -> bool {
    (one.scheduled_time, one.id) > (other.scheduled_time, other.id)
}

/// Whether a share's day is this one: the shares are spread evenly over the days of the cadence.
fn has_turn(share: u32, day: i64, days: u16) -> bool {
    let days = i64::from(days.max(1));
    day.rem_euclid(days) == i64::from(share) * days / i64::from(SHARES)
}

/// A number that differs between tenants and stays the same for each.
fn offset(subject: &Subject) -> i64 {
    let name = match subject {
        Subject::Tenant(tenant) => tenant.as_str(),
        Subject::Instance(id) => id,
    };
    // FNV-1a: any spread will do.
    let hash = name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    i64::try_from(hash >> 32).unwrap_or_default()
}

/// Whether what was done then would be older than it may be before the next round.
fn too_late(done_at: Timestamp, within: SignedDuration, tick: Timestamp) -> bool {
    let next = SignedDuration::from_secs(ROUND_S);
    tick.duration_since(done_at) + next > within
}

/// Why a restore test is due, the most urgent first: that what a restore would start from comes back is worth more than any other test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is the newest of its subject.
    Newest,
    /// It was found bad: another test confirms that, or takes it back.
    Refuted,
    /// It was last tested, or made, too long ago.
    Old,
}

/// A recovery point that is to be restored for a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTest {
    /// What it is of.
    pub subject: Subject,
    /// The recovery point.
    pub point: RecoveryPointId,
    /// Why.
    pub reason: Reason,
    /// Its age as a test, in thousandths of what it may be. Of one reason, whoever waits longest by this measure is first.
    pub lateness: i64,
}

/// How urgent a restore test is; the greatest is made first.
pub type Urgency = (Reverse<Reason>, i64);

impl DueTest {
    /// How urgent it is among others.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        (Reverse(self.reason), self.lateness)
    }
}

/// The restore tests that are due in the round of `tick`, the most urgent first: of databases' exports and of instances' snapshots.
///
/// The newest waits as long as its subject does, for any test of it: else whoever makes a new one every day has never waited for long.
///
/// `points` are all that are available of any number of subjects. The newest of each subject is due in every round, one that was refuted
/// too, any other once it would be older than the cadence before the next round.
#[must_use]
pub fn tests_due<'a>(
    points: impl IntoIterator<Item = (&'a RecoveryPoint, &'a Checked)>,
    cadences: &Cadences,
    tick: Timestamp,
) -> Vec<DueTest> {
    let tested = |kind| matches!(kind, Kind::Database | Kind::Snapshot);
    let points: Vec<_> = points.into_iter().filter(|(point, _)| point.content().is_some() && tested(point.kind)).collect();
    let mut waits_since = BTreeMap::new();
    for (point, checked) in &points {
        let (first_made, last_tested) = waits_since.entry(&point.subject).or_insert((made_at(point), None));
        *first_made = made_at(point).min(*first_made);
        *last_tested = checked.tried_at.max(tested_at(point, checked)).max(*last_tested);
    }
    let mut newest = BTreeMap::new();
    for (point, _) in points.iter().filter(|(point, _)| !point.is_of_a_restore()) {
        let latest = newest.entry(&point.subject).or_insert(*point);
        if is_newer(point, latest) {
            *latest = point;
        }
    }
    let mut due: Vec<DueTest> = points
        .iter()
        .filter_map(|(point, checked)| {
            let made_at = made_at(point);
            let done_at = tested_at(point, checked);
            if done_at.is_some_and(|done_at| done_at >= tick) {
                return None;
            }
            let is_newest = newest.get(&point.subject).is_some_and(|newest| newest.id == point.id);
            let retained = SignedDuration::from_hours(24 * i64::from(cadences.restored_days));
            let (reason, within) = match point.proof {
                Proof::Refuted { .. } => (Reason::Refuted, retained),
                _ if is_newest => (Reason::Newest, SignedDuration::from_hours(i64::from(cadences.newest_restored_hours))),
                _ => (Reason::Old, retained),
            };
            let is_due = match reason {
                Reason::Refuted => true,
                Reason::Newest | Reason::Old => done_at
                    .map_or_else(|| is_newest || too_late(made_at, within, tick), |done_at| too_late(done_at, within, tick)),
            };
            let waits_since = match (reason, waits_since.get(&point.subject)) {
                (Reason::Newest, Some((first_made, last_tested))) => last_tested.unwrap_or(*first_made),
                _ => checked.tried_at.max(done_at).unwrap_or(made_at),
            };
            let lateness = tick.duration_since(waits_since).as_secs().saturating_mul(1_000) / within.as_secs().max(1);
            is_due.then(|| DueTest { subject: point.subject.clone(), point: point.id, reason, lateness })
        })
        .collect();
    due.sort_by(|one, other| {
        other.urgency().cmp(&one.urgency()).then_with(|| (&one.subject, one.point).cmp(&(&other.subject, other.point)))
    });
    due
}

fn made_at(point: &RecoveryPoint) -> Timestamp {
    point.span().map_or(point.scheduled_time, |span| span.until)
}

/// When a test last came to a verdict. The recovery point itself says so too, if the record beside it was lost.
fn tested_at(point: &RecoveryPoint, checked: &Checked) -> Option<Timestamp> {
    let proven_at = match point.proof {
        Proof::Proven { at, .. } => Some(at),
        Proof::Unproven | Proof::Refuted { .. } => None,
    };
    checked.tested_at.max(proven_at)
}

#[cfg(test)]
#[path = "verification/tests.rs"]
mod tests;
