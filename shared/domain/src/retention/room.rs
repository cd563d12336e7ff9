//! Which snapshot may go before its time, when the quota leaves no room for the next one.

use std::collections::BTreeSet;

use jiff::{Timestamp, tz::TimeZone};

use super::{Decision, Policy, Reason, counts_as_proven, decide};
use crate::{id::RecoveryPointId, point::RecoveryPoint};

/// Nothing can be spared: the next snapshot has no room, and somebody must make it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "none of {available} recovery points can go to make room: {proven} are proven and {min_proven} must remain, besides the newest, \
     those under a hold and those that somebody is about to restore; raise the quota, or let a restore test prove newer ones"
)]
pub struct NoneToSpare {
    available: usize,
    proven: usize,
    min_proven: u32,
}

/// What goes first to make room for the next of one subject and kind, with the reasons for which the policy would keep it.
///
/// The next one will not be proven for a while, so there must be as many proven ones without it as the policy asks for. First goes what the
/// policy lets go anyhow, then what is known to be bad, then the oldest. What `stays` whatever the policy says, as an open request names it,
/// is counted like the others and never chosen.
///
/// # Errors
/// If what is left is too few, or all needed.
pub fn expire_first(
    policy: &Policy,
    zone: &TimeZone,
    points: &[RecoveryPoint],
    stays: &BTreeSet<RecoveryPointId>,
    now: Timestamp,
) -> Result<Decision, NoneToSpare> {
    let available: Vec<&RecoveryPoint> = points.iter().filter(|point| point.content().is_some()).collect();
    let proven = available.iter().filter(|point| counts_as_proven(point)).count();
    let none = NoneToSpare { available: available.len(), proven, min_proven: policy.min_proven };
    if proven < policy.min_proven as usize {
        return Err(none);
    }
    let bad: BTreeSet<_> = available.iter().filter(|point| !point.is_usable()).map(|point| point.id).collect();
    let needed = BTreeSet::from([Reason::Held, Reason::Proven, Reason::Newest]);
    let may_go = |decision: &Decision| decision.reasons.is_disjoint(&needed) && !stays.contains(&decision.point);
    let spare = decide(policy, zone, points, now, u32::MAX).into_iter().filter(may_go);
    let order = |decision: &Decision| (decision.keep, !bad.contains(&decision.point), decision.scheduled_time, decision.point);
    spare.min_by_key(order).ok_or(none)
}
