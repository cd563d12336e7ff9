//! A tenant's chain: one signed link per recovery point, each naming the one before it.
//!
//! A link's key is its place in the chain and puts are create-only, so the store itself keeps two runs from claiming one place.

use std::sync::Arc;

use bytes::Bytes;
use domain::{VaultId, VaultTenantId};

use crate::{
    caps,
    defect::Defect,
    error::VaultError,
    layout,
    link::{Link, LinkContent, PointRef},
    sha256::{Sha256Hex, sha256},
    signing::{PublicKey, SigningService},
    store::{ObjectStore, StoreError},
};

/// How often a run gives way to another that took its place in the chain.
const ATTEMPTS_MAX: usize = 32;

/// One tenant's chain.
pub(crate) struct Chain {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) signing: Arc<dyn SigningService>,
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
}

/// A link that was added.
pub(crate) struct Added {
    pub(crate) point: PointRef,
    pub(crate) stored_bytes: u64,
}

/// Where the chain goes on.
struct Head {
    /// The first free place behind the newest authentic link.
    next: u64,
    /// That link's hash.
    link_sha256: Option<Sha256Hex>,
}

impl Chain {
    /// Signs and stores a link behind the newest. `after` is a place that is known to be taken, or 0.
    pub(crate) async fn append(&self, after: u64, content: &LinkContent) -> Result<Added, VaultError> {
        let mut after = after;
        for _ in 0..ATTEMPTS_MAX {
            let Head { next: sequence, link_sha256 } = self.head(after).await?;
            let line = Link::new(content.clone(), sequence, link_sha256).line();
            let signature = self.signing.sign(sha256(&line)).await?;
            let stored = Link::encode(line, &signature);
            if stored.len() > caps::LINK_BYTES_MAX {
                return Err(VaultError::TooLarge { what: "the recovery point's link".to_owned(), limit: caps::LINK_BYTES_MAX });
            }
            let (link_sha256, stored_bytes) = (hex::encode(sha256(&stored)), stored.len() as u64);
            match self.store.put_new(&layout::link(self.tenant, sequence), Bytes::from(stored)).await {
                Ok(()) => return Ok(Added { point: PointRef { sequence, link_sha256 }, stored_bytes }),
                // Another run of this tenant was first, or a reply was lost and it is ours: either way the next place is free.
                Err(StoreError::Exists { .. }) => after = sequence,
                Err(other) => return Err(other.into()),
            }
        }
        Err(StoreError::Exists { key: layout::link(self.tenant, after) }.into())
    }

    /// The stored bytes of the link at a place, and what they say.
    pub(crate) async fn read(&self, sequence: u64, key: &PublicKey) -> Result<(Bytes, Link), VaultError> {
        let object = layout::link(self.tenant, sequence);
        let stored = self.store.get_range(&object, 0, caps::LINK_BYTES_MAX as u64 + 1).await?;
        let link = Link::open(&stored, key, &self.vault, self.tenant, sequence)
            .map_err(|defect| VaultError::not_authentic(object, defect))?;
        Ok((stored, link))
    }

    /// The link that the catalog published.
    pub(crate) async fn published(&self, reference: &PointRef) -> Result<Link, VaultError> {
        let key = self.signing.public_key().await?;
        let (stored, link) = self.read(reference.sequence, &key).await?;
        if Sha256Hex::of(&stored) != *reference.link_sha256 {
            return Err(VaultError::not_authentic(layout::link(self.tenant, reference.sequence), Defect::WrongSha256));
        }
        Ok(link)
    }

    /// Every place of the chain that is taken, in order.
    pub(crate) async fn places(&self, after: u64) -> Result<Vec<u64>, VaultError> {
        let behind = (after > 0).then(|| layout::link(self.tenant, after));
        let listed = self.store.list(&layout::chain(self.tenant), behind.as_deref()).await?;
        Ok(listed.iter().filter_map(|object| layout::sequence_of_link(&object.key, self.tenant)).collect())
    }

    /// An object that is no authentic link does not stop the chain, wherever it lies, or whoever may write could stop every backup.
    async fn head(&self, after: u64) -> Result<Head, VaultError> {
        let taken = self.places(after).await?;
        let key = self.signing.public_key().await?;
        let mut newest = None;
        // A chain is not looked through to its start for the sake of what was put behind it.
        let look_at = usize::try_from(caps::CHAIN_INTRUDERS_MAX).unwrap_or(usize::MAX);
        let behind = taken.iter().copied().rev().take(look_at);
        for place in behind.chain((1..=after).rev().take(look_at)) {
            match self.read(place, &key).await {
                Ok((stored, _)) => {
                    newest = Some((place, Sha256Hex::of(&stored)));
                    break;
                }
                Err(VaultError::NotAuthentic { .. } | VaultError::Store(StoreError::Missing { .. })) => {}
                Err(other) => return Err(other),
            }
        }
        let (last, link_sha256) = newest.unzip();
        let behind = taken.into_iter().skip_while(|place| Some(*place) <= last);
        let first = last.unwrap_or(0).max(after) + 1;
        Ok(Head { next: behind.fold(first, |free, place| if place == free { free + 1 } else { free }), link_sha256 })
    }
}
