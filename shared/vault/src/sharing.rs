//! The port to whoever knows what is being deleted: a run asks before it relies on objects that it did not store itself.

use std::collections::BTreeSet;

use async_trait::async_trait;
use domain::{ErrorCode, VaultTenantId};
use jiff::SignedDuration;

use crate::{layout, link::PackEntry, store::BoxError};

/// Which stored objects a run may share, and for how long they must stay. The run is registered before it asks.
#[async_trait]
pub trait Sharing: Send + Sync {
    /// Of a tenant's objects those that are being deleted, and must not be relied on. The others may be, and are not deleted before the
    /// run is over, if they are found to be there after this was asked.
    ///
    /// # Errors
    /// If it could not be learnt. Then nothing may be shared.
    async fn refused(&self, tenant: VaultTenantId, objects: &BTreeSet<String>) -> Result<BTreeSet<String>, SharingError>;

    /// For how long from now on nobody may be able to delete what a recovery point shares.
    fn lock_for(&self) -> SignedDuration;
}

/// Why nobody could say what may be shared.
#[derive(Debug, thiserror::Error)]
#[error("it could not be learnt which stored objects are being deleted, so none is shared; the run is safe to repeat")]
pub struct SharingError {
    /// Under which code it leaves.
    pub code: ErrorCode,
    /// What failed.
    pub source: BoxError,
}

/// The objects that a recovery point relies on when it relies on these packs: the packs, and the records of the keys that open them.
pub(crate) fn behind<'a>(tenant: VaultTenantId, packs: impl IntoIterator<Item = &'a PackEntry>) -> BTreeSet<String> {
    let behind = |pack: &PackEntry| [layout::pack(tenant, pack.id), layout::content_record(tenant, pack.run)];
    packs.into_iter().flat_map(behind).collect()
}
