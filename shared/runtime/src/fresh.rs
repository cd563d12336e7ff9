//! Fresh ids and secrets.
//!
//! Ids that sort by age (runs, requests, packs) are UUIDv7. A tenant's vault id and everything secret is drawn from
//! the kernel's generator and says nothing, not even when it was made.

use std::sync::atomic::{AtomicU64, Ordering};

use domain::{PackId, RequestId, RunId, VaultTenantId};
use uuid::Uuid;
use zeroize::Zeroizing;

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

    /// An id for a pack.
    fn pack_id(&self) -> PackId {
        PackId::from_uuid(self.ordered())
    }

    /// An opaque name for a tenant.
    fn vault_tenant_id(&self) -> VaultTenantId {
        VaultTenantId::from_uuid(self.random())
    }

    /// Twelve characters of `0-9a-f` to tell apart short-lived names, such as staging schemas: 48 random bits.
    fn suffix(&self) -> String {
        // The first 12 digits of a version 4 UUID are all random; the version digit is the 13th.
        self.random().simple().to_string()[..12].to_owned()
    }

    /// A password for a short-lived login role: 64 characters of `0-9a-f`, 244 random bits, safe in any quoting.
    fn password(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}{}", self.random().simple(), self.random().simple()))
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
        // Counts in the leading bytes too: suffixes are cut from there.
        Uuid::from_u128(self.next() << 80 | self.0.load(Ordering::Relaxed) as u128)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_ids_differ_and_runs_sort_by_age() {
        let (first, second) = (SystemFresh.run_id(), SystemFresh.run_id());
        assert!(first < second, "{first} {second}");
        assert_ne!(SystemFresh.suffix(), SystemFresh.suffix());
        assert_ne!(CountingFresh::default().suffix().len(), 0);
        let counting = CountingFresh::default();
        assert_ne!(counting.suffix(), counting.suffix());
    }

    #[test]
    fn a_password_is_safe_in_any_quoting() {
        let password = SystemFresh.password();
        assert_eq!(password.len(), 64);
        assert!(password.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
}
