//! The way back that is made before anything is changed.

use super::{Mode, RequestState, RestoreRequest};
use crate::slot::{Slot, Subject};

impl RestoreRequest {
    /// The slot of the recovery point that is made of the tenant's present state before this request is carried out: of what it restores, at
    /// the instant of the last approval. None before that, and where nothing live will change.
    ///
    /// Whoever makes the point and whoever looks for it find it by this alone, as often as either is asked to.
    #[must_use]
    pub fn slot_before(&self) -> Option<Slot> {
        let is_agreed =
            matches!(self.state, RequestState::Approved { .. } | RequestState::Executing { .. } | RequestState::Proven { .. });
        let approval = self.state.approvals().last().filter(|_| is_agreed && self.mode == Mode::InPlace)?;
        Some(Slot {
            rule: Slot::BEFORE_RESTORE.to_owned(),
            scheduled_time: approval.at,
            subject: Subject::Tenant(self.tenant.clone()),
            kind: self.kind,
        })
    }
}
