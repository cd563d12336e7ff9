//! A tenant's stable secret, and the keys that come from it.

use std::sync::{Arc, Weak};

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    derive::{hkdf, parts, put_part},
    envelope::SealingKey,
    keys::SecretKey,
    stream::StreamHeader,
};

/// What makes chunk ids, chunk boundaries and row digests of one tenant, the same in every backup and unlike any other tenant's.
///
/// Cheap to clone; wiped with the last clone. It has no `Debug`.
#[derive(Clone)]
pub struct TenantSecret(Arc<Keys>);

struct Keys {
    chunk_id: SecretKey,
    boundary: Zeroizing<[u8; 16]>,
    rows: SecretKey,
    lists: SealingKey,
}

/// A secret that lives only as long as somebody else uses it: lets several writers of one tenant share one call to the key service.
pub(crate) struct SharedSecret(Weak<Keys>);

impl SharedSecret {
    pub(crate) fn get(&self) -> Option<TenantSecret> {
        self.0.upgrade().map(TenantSecret)
    }
}

impl TenantSecret {
    /// Derives the keys from the unwrapped dedup secret.
    pub(crate) fn new(secret: &SecretKey) -> Self {
        let info = |label: &[u8]| parts(&[b"holdfast HF1", label]);
        let derive = |label: &[u8]| SecretKey::new(hkdf(secret, &[], &info(label)));
        Self(Arc::new(Keys {
            chunk_id: derive(b"chunk id"),
            boundary: hkdf(secret, &[], &info(b"boundary")),
            rows: derive(b"rows"),
            lists: SealingKey { record: Uuid::nil(), key: derive(b"lists") },
        }))
    }

    pub(crate) fn share(&self) -> SharedSecret {
        SharedSecret(Arc::downgrade(&self.0))
    }

    pub(crate) fn chunk_id_key(&self) -> &[u8; 32] {
        self.0.chunk_id.expose()
    }

    pub(crate) fn boundary_key(&self) -> &[u8; 16] {
        &self.0.boundary
    }

    /// Seals chunk lists and progress, which the writing role reads again.
    pub(crate) fn list_key(&self) -> &SealingKey {
        &self.0.lists
    }

    /// The row key of one stream: equal rows of different tables, or under other columns, have unrelated digests.
    pub(crate) fn rows_key(&self, header: &StreamHeader) -> SecretKey {
        let mut info = parts(&[b"holdfast HF1", b"rows of", header.digest_name.as_bytes()]);
        for column in &header.columns {
            put_part(&mut info, column.as_bytes());
        }
        SecretKey::new(hkdf(&self.0.rows, &[], &info))
    }
}
