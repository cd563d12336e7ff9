//! What every step after the approval needs: the recovery, checked once more, its tenants, and the plan.

use catalog::Versioned;
use domain::{
    ErrorReport, RecoveryId,
    plan::Plan,
    recovery::{PlannedTenant, RecoveredTenant, Recovery, RecoveryState, Work},
};
use runtime::{
    permit::{self, Action},
    recovered::Recovered,
    services::Services,
};

/// A recovery under way.
pub(super) struct Opened {
    /// The backup plan as it is now.
    pub(super) plan: Plan,
    /// The recovery.
    pub(super) recovery: Recovery,
    /// Its tenants in order of priority, those first that were planned.
    pub(super) tenants: Vec<Versioned<RecoveredTenant>>,
}

impl Opened {
    /// Reads a recovery with its tenants, unchecked.
    pub(super) async fn read(services: &Services, id: RecoveryId) -> Result<Self, ErrorReport> {
        let plan = services.plan().await?;
        let recovery = services.catalog.recovery(id).await?.value;
        let tenants = services.catalog.recovered_tenants(id).await?;
        Ok(Self { plan, recovery, tenants })
    }

    /// What was planned for the tenants, as the approval must have seen it.
    pub(super) fn planned(&self) -> Vec<PlannedTenant> {
        self.recovery.planned_of(self.tenants.iter().map(|tenant| &tenant.value))
    }

    /// How many people must have agreed, after making sure that those who did still may.
    ///
    /// # Errors
    /// `NotPermitted` if somebody may not any more.
    pub(super) async fn needed(&self, services: &Services) -> Result<u8, ErrorReport> {
        let needed = services.recovery_approvals_needed(&self.plan, &self.recovery.requested_by).await?;
        for approval in self.recovery.state.approvals() {
            let own = approval.by.is_same_person(&self.recovery.requested_by);
            services.permit(&self.plan, &approval.by, &permit::recovery(&self.plan, Action::ApproveRecovery, own)).await?;
        }
        Ok(needed)
    }

    /// Checks that this is what enough people have agreed to. Gives what was done so far, and the environment that it made.
    ///
    /// # Errors
    /// Unless tenants are being restored under a valid approval.
    pub(super) async fn check(&self, services: &Services) -> Result<(&Work, Recovered), ErrorReport> {
        let needed = self.needed(services).await?;
        self.recovery.check(&self.planned(), needed, services.clock.now())?;
        let RecoveryState::Restoring { work, .. } = &self.recovery.state else {
            let (id, state) = (self.recovery.id, self.recovery.state.name());
            let message = format!("recovery {id} is {state}, so no tenant of it can be restored");
            return Err(ErrorReport::new(domain::ErrorCode::Fenced, message));
        };
        Ok((work, Recovered::of(self.recovery.id, work)))
    }
}
