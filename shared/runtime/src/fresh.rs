//! Fresh ids.
//!
//! Ids that sort by age (runs, requests) are UUIDv7. A tenant's vault id is drawn from
//! the kernel's generator and says nothing, not even when it was made.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{ErasureId, RecoveryId, RequestId, RunId, VaultTenantId};
use uuid::Uuid;

/// Draws fresh ids.
pub trait Fresh: Send + Sync {
    /// A UUID that sorts by the time it was drawn (version 7).
    fn ordered(&self) -> Uuid;

    /// A UUID of 122 random bits (version 4).
    fn random(&self) -> Uuid;

    /// An id for an attempt at a slot.
    fn run_id(&self) -> RunId {
        RunId::from_uuid(self.ordered())
    }

    /// An id for a restore request.
    fn request_id(&self) -> RequestId {
        RequestId::from_uuid(self.ordered())
    }

    /// An id for the recovery of an environment.
    fn recovery_id(&self) -> RecoveryId {
        RecoveryId::from_uuid(self.ordered())
    }

    /// An id for the erasure of a tenant.
    fn erasure_id(&self) -> ErasureId {
        ErasureId::from_uuid(self.ordered())
    }

    /// An opaque name for a tenant.
    fn vault_tenant_id(&self) -> VaultTenantId {
        VaultTenantId::from_uuid(self.random())
    }
}

/// Ids from the machine's clock and the kernel's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemFresh;

impl Fresh for SystemFresh {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws ordered ids")]
    fn ordered(&self) -> Uuid {
        Uuid::now_v7()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that draws random ids")]
    fn random(&self) -> Uuid {
        Uuid::new_v4()
    }
}

/// Ids that count from one, so that a test can name the next.
#[derive(Debug, Default)]
pub struct CountingFresh(AtomicU64);

impl CountingFresh {
    fn next(&self) -> u128 {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl Fresh for CountingFresh {
    fn ordered(&self) -> Uuid {
        Uuid::from_u128(self.next())
    }

    fn random(&self) -> Uuid {
        Uuid::from_u128(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_differ_and_runs_sort_by_age() {
        let (first, second) = (SystemFresh.run_id(), SystemFresh.run_id());
        assert!(first < second, "{first} {second}");
    }
}
