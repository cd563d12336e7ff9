//! The inner loops, for `benches/kernels.rs`: each does one step of a backup or restore over some rows.

use domain::{RunId, VaultId, VaultTenantId};
use uuid::Uuid;

use crate::{
    chunk::{ChunkCodec, ChunkId},
    chunker::Chunker,
    envelope::SealingKey,
    frame::{self, Framer},
    keys::SecretKey,
    random::SystemRandom,
    rows_digest::RowsHasher,
    tenant_secret::TenantSecret,
};

/// Fixed keys of a made-up tenant.
pub struct Kernels {
    codec: ChunkCodec,
    framer: Framer,
}

impl Default for Kernels {
    fn default() -> Self {
        let key = || SecretKey::from_slice(&[7; 32]).expect("32 bytes");
        let vault: VaultId = "bench".parse().expect("a vault's name");
        let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
        let content = SealingKey::content(RunId::from_uuid(Uuid::from_u128(2)), key());
        Self { codec: ChunkCodec { vault, tenant, secret: TenantSecret::new(&key()), key: content }, framer: Framer::new() }
    }
}

impl Kernels {
    /// Cuts rows into chunks.
    ///
    /// # Panics
    /// If `rows` are not whole lines.
    #[must_use]
    pub fn cut(&self, mut rows: &[u8]) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::new(&self.codec.secret, vec![0]);
        let mut chunks = Vec::new();
        while let Some(cut) = chunker.take(&mut rows).expect("every row has a first field") {
            chunks.push(cut.plaintext);
        }
        chunks.extend(chunker.finish().map(|cut| cut.plaintext));
        chunks
    }

    /// Digests rows.
    #[must_use]
    pub fn digest(&self, rows: &[u8]) -> u64 {
        let mut hasher = RowsHasher::under(&SecretKey::new((*self.codec.secret.chunk_id_key()).into()));
        hasher.update(rows);
        hasher.rows()
    }

    /// Identifies a chunk.
    #[must_use]
    pub fn identify(&self, chunk: &[u8]) -> ChunkId {
        ChunkId::of(chunk, &self.codec.secret)
    }

    /// Compresses and frames a chunk.
    #[must_use]
    pub fn frame(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.framer.frame(chunk, &mut out);
        out
    }

    /// Decompresses a frame.
    ///
    /// # Panics
    /// If it is none.
    #[must_use]
    pub fn unframe(&self, frame: &[u8]) -> Vec<u8> {
        frame::unframe(frame, crate::caps::CHUNK_BYTES_MAX).expect("a frame that was just made")
    }

    /// Compresses and seals a chunk.
    ///
    /// # Panics
    /// If there is no randomness.
    #[must_use]
    pub fn seal(&mut self, id: ChunkId, chunk: &[u8]) -> Vec<u8> {
        self.codec.seal(id, chunk, &mut self.framer, &SystemRandom).expect("there is randomness").bytes
    }

    /// Opens and decompresses a chunk.
    ///
    /// # Panics
    /// If it is not the one that was sealed.
    #[must_use]
    pub fn open(&self, id: ChunkId, sealed: &[u8], plaintext_bytes: usize) -> Vec<u8> {
        let plaintext_bytes = u32::try_from(plaintext_bytes).expect("chunks are small");
        self.codec.open(&self.codec.key, &id, sealed, plaintext_bytes).expect("a chunk that was just sealed")
    }
}
