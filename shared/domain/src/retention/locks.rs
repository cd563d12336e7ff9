//! What a lock of the vault means for what is let go.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Decision, Reason};
use crate::point::{Content, RecoveryPoint};

/// Says of what is let go whether its bytes stay for now, because the vault locks what it stores for so long. What other recovery points
/// share may be locked for longer, and what was stored before the lock was changed, otherwise: the sweep asks each object.
///
/// A lock does not keep a recovery point: it expires when the policy says so, serves no restore any more, and the sweep finds its bytes
/// deletable once the lock has ended. Nobody has to wait for that to know what a restore can start from.
pub fn note_locks(decisions: &mut [Decision], points: &[RecoveryPoint], lock_for: SignedDuration, now: Timestamp) {
    // RDS keeps snapshots, and knows no locks.
    let exports = points.iter().filter(|point| matches!(point.content(), Some(Content::Export { .. })));
    let stored_at: BTreeMap<_, _> = exports.map(|point| (point.id, point.started_at)).collect();
    for decision in decisions.iter_mut().filter(|decision| !decision.keep) {
        let is_locked = |stored_at: &Timestamp| now.duration_since(*stored_at) < lock_for;
        if stored_at.get(&decision.point).is_some_and(is_locked) {
            decision.reasons.insert(Reason::BytesLocked);
        }
    }
}
