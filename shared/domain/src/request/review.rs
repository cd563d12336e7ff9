//! The review that is demanded of every restore that one person carried out alone.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{caps::REVIEW_WITHIN_S, identity::Identity};

/// A demanded review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// Who went ahead alone: a request that failed keeps no approvals, and who broke the glass must not judge it.
    pub of: Identity,
    /// When the glass was broken.
    pub demanded_at: Timestamp,
    /// When it must be done; it is escalated after.
    pub due: Timestamp,
    /// What another person found; none while it is to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<Reviewed>,
}

/// A review that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reviewed {
    /// By whom.
    pub by: Identity,
    /// When.
    pub at: Timestamp,
    /// What they found, in their words.
    pub finding: String,
}

impl Review {
    /// Whether nobody has done it yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.done.is_none()
    }

    /// Whether it should have been done by now.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        self.times_overdue(now) > 0
    }

    /// How many times over it should have been done by now: 0 until it is due, then one more for each further such while.
    #[must_use]
    pub fn times_overdue(&self, now: Timestamp) -> i64 {
        if !self.is_pending() || now <= self.due {
            return 0;
        }
        1 + now.duration_since(self.due).as_secs() / REVIEW_WITHIN_S
    }
}
