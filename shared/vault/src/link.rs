//! A link of a tenant's chain: signed, not encrypted, and about everything that a recovery point needs.
//!
//! Opaque ids, sizes and hashes only, so that whoever may decrypt nothing can still follow the chain and tell needed packs
//! from others.

use base64::{Engine, prelude::BASE64_STANDARD};
use domain::{PackId, RecoveryPointId, RunId, VaultId, VaultTenantId};
use serde::{Deserialize, Serialize};

use crate::{caps, defect::Defect, sha256::Sha256Hex, signing::PublicKey};

const FORMAT: &str = "HF1 link";

/// What the catalog keeps of a recovery point: the place of its link, and the hash that fixes which bytes were published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PointRef {
    /// The link's place in the tenant's chain.
    pub sequence: u64,
    /// SHA-256 of the stored link, in hexadecimal.
    pub link_sha256: String,
}

/// One recovery point's link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    format: String,
    /// The vault.
    pub vault: VaultId,
    /// The tenant, by its opaque id.
    pub tenant: VaultTenantId,
    /// Its place in the chain, counted from 1.
    pub sequence: u64,
    /// SHA-256 of the newest authentic link before it.
    pub previous: Option<Sha256Hex>,
    /// The recovery point.
    pub point: RecoveryPointId,
    /// The run that wrote it.
    pub run: RunId,
    /// The manifest as stored.
    pub manifest: StoredObject,
    /// The chunk lists as stored, in order.
    pub lists: Vec<StoredObject>,
    /// Every pack that the recovery point needs.
    pub packs: Vec<PackEntry>,
}

/// A stored object by its hash and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredObject {
    /// SHA-256 of its bytes.
    pub sha256: Sha256Hex,
    /// How many there are.
    pub stored_bytes: u64,
}

impl StoredObject {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self { sha256: Sha256Hex::of(bytes), stored_bytes: bytes.len() as u64 }
    }
}

/// A pack that a recovery point needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackEntry {
    /// The pack.
    pub id: PackId,
    /// The run that wrote it, whose content key opens its chunks.
    pub run: RunId,
    /// Its size.
    pub stored_bytes: u64,
}

/// What a link says besides its place in the chain.
#[derive(Clone)]
pub(crate) struct LinkContent {
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) point: RecoveryPointId,
    pub(crate) run: RunId,
    pub(crate) manifest: StoredObject,
    pub(crate) lists: Vec<StoredObject>,
    pub(crate) packs: Vec<PackEntry>,
}

impl LinkContent {
    /// What the run stored besides the link.
    pub(crate) fn own_bytes(&self) -> u64 {
        own_bytes(self.run, &self.packs, &self.lists, &self.manifest)
    }
}

/// Packs of other runs are theirs.
fn own_bytes(run: RunId, packs: &[PackEntry], lists: &[StoredObject], manifest: &StoredObject) -> u64 {
    let packs = packs.iter().filter(|pack| pack.run == run).map(|pack| pack.stored_bytes);
    packs.chain(lists.iter().map(|list| list.stored_bytes)).sum::<u64>() + manifest.stored_bytes
}

impl Link {
    pub(crate) fn new(content: LinkContent, sequence: u64, previous: Option<Sha256Hex>) -> Self {
        let LinkContent { vault, tenant, point, run, manifest, lists, packs } = content;
        Self { format: FORMAT.to_owned(), vault, tenant, sequence, previous, point, run, manifest, lists, packs }
    }

    /// What its run stored besides the link itself.
    pub(crate) fn own_bytes(&self) -> u64 {
        own_bytes(self.run, &self.packs, &self.lists, &self.manifest)
    }

    /// The line that is signed.
    pub(crate) fn line(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a link has text keys only")
    }

    /// The bytes to store: the line and its signature.
    pub(crate) fn encode(mut line: Vec<u8>, signature: &[u8]) -> Vec<u8> {
        line.push(b'\n');
        line.extend_from_slice(BASE64_STANDARD.encode(signature).as_bytes());
        line.push(b'\n');
        line
    }

    /// Reads stored bytes that must be the tenant's link at `sequence`, signed by `key`.
    pub(crate) fn open(
        stored: &[u8],
        key: &PublicKey,
        vault: &VaultId,
        tenant: VaultTenantId,
        sequence: u64,
    ) -> Result<Self, Defect> {
        if stored.len() > caps::LINK_BYTES_MAX {
            return Err(Defect::WrongSize);
        }
        let not_two_lines = Defect::Malformed("link is not two lines");
        let mut lines = stored.strip_suffix(b"\n").ok_or(not_two_lines.clone())?.split(|byte| *byte == b'\n');
        let (Some(line), Some(signature), None) = (lines.next(), lines.next(), lines.next()) else { return Err(not_two_lines) };
        let signature = BASE64_STANDARD.decode(signature).map_err(|_| Defect::Malformed("link signature"))?;
        // Nothing of an unsigned line is looked at.
        if !key.verifies(line, &signature) {
            return Err(Defect::WrongSignature);
        }
        Self::read(line, vault, tenant, sequence)
    }

    /// Reads a signed line.
    pub(crate) fn read(line: &[u8], vault: &VaultId, tenant: VaultTenantId, sequence: u64) -> Result<Self, Defect> {
        let link: Self = serde_json::from_slice(line).map_err(|_| Defect::Malformed("link"))?;
        if link.format != FORMAT || link.line() != line {
            return Err(Defect::Malformed("link of another format or spelling"));
        }
        for (same, what) in [
            (link.vault == *vault, "vault"),
            (link.tenant == tenant, "tenant"),
            (link.sequence == sequence, "place in the chain"),
        ] {
            if !same {
                return Err(Defect::BelongsElsewhere(what));
            }
        }
        Ok(link)
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
