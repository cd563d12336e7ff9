//! What one job leaves for the next: the keys, the tenant's opaque name and the newest recovery point.

use std::{fs, path::Path};

use domain::{RecoveryPointId, VaultTenantId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, Parent, PointRef, SecretKey};

use crate::job::Failure;

#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    root_key: String,
    signing_key: String,
    pub(crate) tenant: VaultTenantId,
    /// Jobs so far: makes the next ids.
    pub(crate) jobs: u128,
    newest: Option<Newest>,
}

#[derive(Serialize, Deserialize)]
struct Newest {
    point: RecoveryPointId,
    reference: PointRef,
}

impl State {
    /// What the last job left, or a beginning.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        if path.exists() {
            return Ok(serde_json::from_slice(&fs::read(path)?)?);
        }
        Ok(Self {
            root_key: hex::encode([7; 32]),
            signing_key: hex::encode(MemorySigning::new_pkcs8()),
            tenant: VaultTenantId::from_uuid(Uuid::from_u128(1)),
            jobs: 0,
            newest: None,
        })
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        Ok(fs::write(path, serde_json::to_vec(self)?)?)
    }

    pub(crate) fn keys(&self) -> Result<MemoryKeys, Failure> {
        let root = SecretKey::from_slice(&hex::decode(&self.root_key)?).ok_or("the state's root key is not 32 bytes")?;
        Ok(MemoryKeys::under(&root))
    }

    pub(crate) fn signing(&self) -> Result<MemorySigning, Failure> {
        Ok(MemorySigning::from_pkcs8(&hex::decode(&self.signing_key)?))
    }

    pub(crate) fn newest(&self) -> Option<Parent> {
        self.newest.as_ref().map(|newest| Parent { point: newest.point, reference: newest.reference.clone() })
    }

    pub(crate) fn set_newest(&mut self, point: RecoveryPointId, reference: PointRef) {
        self.newest = Some(Newest { point, reference });
    }
}
