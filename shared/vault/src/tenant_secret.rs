//! A tenant's stable secret, and the three keys that come from it.

use std::sync::Arc;

use crate::{
    derive::{hkdf, parts, put_part},
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
    boundary: SecretKey,
    rows: SecretKey,
}

impl TenantSecret {
    /// Derives the keys from the unwrapped dedup secret.
    pub(crate) fn new(secret: &SecretKey) -> Self {
        let derive = |label: &[u8]| SecretKey::new(hkdf(secret, &[], &parts(&[b"holdfast HF1", label])));
        Self(Arc::new(Keys { chunk_id: derive(b"chunk id"), boundary: derive(b"boundary"), rows: derive(b"rows") }))
    }

    pub(crate) fn chunk_id_key(&self) -> &[u8; 32] {
        self.0.chunk_id.expose()
    }

    pub(crate) fn boundary_key(&self) -> &[u8; 32] {
        self.0.boundary.expose()
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
