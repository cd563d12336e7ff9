//! What the vault knows without a catalog: whose chains there are, and which recovery points are in each.

use domain::{RecoveryPointId, VaultTenantId};

use crate::{
    check::{self, CheckReport},
    error::VaultError,
    layout,
    link::{Link, PointRef},
    list::StreamId,
    reader::PointReader,
    sha256::Sha256Hex,
    vault::Vault,
};

/// An authentic link, as far as a catalog records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLink {
    /// Its place and hash.
    pub reference: PointRef,
    /// The recovery point.
    pub point: RecoveryPointId,
    /// What its run stored: packs, lists, manifest and link.
    pub own_bytes: u64,
}

impl Vault {
    /// The opaque names that have something in the vault, in order; only those after `after`, if one is given.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn tenants(&self, after: Option<VaultTenantId>) -> Result<Vec<VaultTenantId>, VaultError> {
        let after = after.map(layout::tenant);
        let folders = self.store().folders(layout::TENANTS, after.as_deref()).await?;
        Ok(folders.iter().filter_map(|folder| layout::tenant_of_folder(folder)).collect())
    }

    /// Whether there is anything in a tenant's chain, authentic or not: one listing.
    ///
    /// # Errors
    /// If the store does not answer.
    pub async fn has_chain(&self, tenant: VaultTenantId) -> Result<bool, VaultError> {
        Ok(!self.chain(tenant).places(0).await?.is_empty())
    }

    /// Every authentic link of a tenant's chain, in order, and what breaks the chain. `published` is the newest sequence that the catalog
    /// knows, 0 if it knows none. Needs no right to decrypt.
    ///
    /// A link says that its run had stored everything, not that it was published: of a point with several, a catalog may have had any.
    ///
    /// # Errors
    /// Only if the chain could not be followed.
    pub async fn chain_links(&self, tenant: VaultTenantId, published: u64) -> Result<(Vec<ChainLink>, CheckReport), VaultError> {
        let mut links = Vec::new();
        let each = |stored: &[u8], link: &Link| {
            let reference = PointRef { sequence: link.sequence, link_sha256: Sha256Hex::of(stored).to_string() };
            let own_bytes = link.own_bytes() + stored.len() as u64;
            links.push(ChainLink { reference, point: link.point, own_bytes });
        };
        let report = check::chain(&self.chain(tenant), &self.public_key().await?, 0, published, each).await?;
        Ok((links, report))
    }
}

impl PointReader {
    /// Rows of all streams, or records of metadata.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.manifest().streams.iter().map(|stream| stream.rows).sum()
    }

    /// How much its rows and documents are before compression, as its lists of chunks say.
    ///
    /// # Errors
    /// If a list is missing or not authentic.
    pub async fn plaintext_bytes(&self) -> Result<u64, VaultError> {
        let manifest = self.manifest();
        let mut bytes = manifest.blobs.iter().map(|blob| blob.plaintext_bytes).sum();
        for stream in &manifest.streams {
            let id = StreamId::of(&self.tenant_secret().rows_key(&stream.header));
            for segment in stream.slices.iter().flat_map(|slice| &slice.segments) {
                let entries = self.lists().segment(segment, id).await?;
                bytes += entries.iter().map(|entry| u64::from(entry.plaintext_bytes)).sum::<u64>();
            }
        }
        Ok(bytes)
    }
}
