//! Chunks: the unit that is identified, compressed, sealed and later deduplicated.

use std::{fmt, str::FromStr};

use domain::{VaultId, VaultTenantId};
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    defect::Defect,
    envelope::{self, ContentKey, ObjectType, Place},
    error::VaultError,
    frame::Framer,
    random::Random,
    tenant_secret::TenantSecret,
};

/// The keyed hash of a chunk's plaintext. Only the tenant's secret makes it, so it tells nobody else anything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChunkId([u8; 32]);

impl ChunkId {
    /// The id of `plaintext` for the tenant of `secret`.
    pub(crate) fn of(plaintext: &[u8], secret: &TenantSecret) -> Self {
        Self(*blake3::keyed_hash(secret.chunk_id_key(), plaintext).as_bytes())
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChunkId({self})")
    }
}

impl FromStr for ChunkId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if hex::encode(bytes) == text => Ok(Self(bytes)),
            _ => Err("not a chunk id: expected 64 lower-case hexadecimal digits".to_owned()),
        }
    }
}

impl TryFrom<String> for ChunkId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ChunkId> for String {
    fn from(id: ChunkId) -> Self {
        id.to_string()
    }
}

/// A chunk ready to be stored.
pub(crate) struct SealedChunk {
    pub(crate) id: ChunkId,
    pub(crate) plaintext_bytes: u32,
    pub(crate) bytes: Vec<u8>,
}

/// What seals and opens the chunks of one tenant: everything but the bytes, so that several cores can share it.
pub(crate) struct ChunkCodec {
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) secret: TenantSecret,
    pub(crate) key: ContentKey,
}

impl ChunkCodec {
    /// Identifies, compresses and seals. Pure work on bytes; the caller stores the result.
    pub(crate) fn seal(&self, plaintext: &[u8], framer: &mut Framer, random: &dyn Random) -> Result<SealedChunk, VaultError> {
        assert!((1..=caps::CHUNK_BYTES_MAX).contains(&plaintext.len()), "chunks are cut to 1 byte to 4 MiB");
        let id = ChunkId::of(plaintext, &self.secret);
        let bytes = envelope::seal(&self.key, &self.place(&id), plaintext, framer, random)?;
        let plaintext_bytes = u32::try_from(plaintext.len()).expect("asserted above");
        Ok(SealedChunk { id, plaintext_bytes, bytes })
    }

    /// Opens the chunk `id`, whose plaintext must have exactly `plaintext_bytes`.
    pub(crate) fn open(&self, id: &ChunkId, sealed: &[u8], plaintext_bytes: u32) -> Result<Vec<u8>, Defect> {
        let expected = usize::try_from(plaintext_bytes).map_err(|_| Defect::WrongSize)?.min(caps::CHUNK_BYTES_MAX);
        let plaintext = envelope::open(&self.key, &self.place(id), sealed, expected)?;
        if plaintext.len() != expected {
            return Err(Defect::WrongSize);
        }
        if ChunkId::of(&plaintext, &self.secret) != *id {
            return Err(Defect::WrongId);
        }
        Ok(plaintext)
    }

    fn place<'a>(&'a self, id: &'a ChunkId) -> Place<'a> {
        Place { vault: &self.vault, tenant: self.tenant, object_type: ObjectType::Chunk, object_id: &id.0 }
    }
}

#[cfg(test)]
mod tests {
    use domain::RunId;
    use uuid::Uuid;

    use super::*;
    use crate::{keys::SecretKey, random::SystemRandom};

    fn codec(secret: u8) -> ChunkCodec {
        let key = |byte| SecretKey::from_slice(&[byte; 32]).unwrap();
        ChunkCodec {
            vault: "main".parse().unwrap(),
            tenant: VaultTenantId::from_uuid(Uuid::from_u128(1)),
            secret: TenantSecret::new(&key(secret)),
            key: ContentKey { run: RunId::from_uuid(Uuid::from_u128(3)), key: key(7) },
        }
    }

    #[test]
    fn equal_plaintexts_have_one_id_per_tenant() {
        let seal = |secret, plaintext| codec(secret).seal(plaintext, &mut Framer::new(), &SystemRandom).unwrap().id;
        assert_eq!(seal(1, b"rows\n"), seal(1, b"rows\n"));
        assert_ne!(seal(1, b"rows\n"), seal(1, b"rowt\n"));
        assert_ne!(seal(1, b"rows\n"), seal(2, b"rows\n"));
    }

    #[test]
    fn content_that_is_authentic_but_not_that_of_its_id_is_refused() {
        let codec = codec(1);
        let id = ChunkId::of(b"rows\n", &codec.secret);
        let sealed = envelope::seal(&codec.key, &codec.place(&id), b"lies\n", &mut Framer::new(), &SystemRandom).unwrap();
        assert_eq!(codec.open(&id, &sealed, 5), Err(Defect::WrongId));
    }

    #[test]
    fn a_chunk_of_another_size_than_its_reference_says_is_refused() {
        let codec = codec(1);
        let sealed = codec.seal(b"rows\n", &mut Framer::new(), &SystemRandom).unwrap();
        assert_eq!(codec.open(&sealed.id, &sealed.bytes, 5).unwrap(), b"rows\n");
        assert_eq!(codec.open(&sealed.id, &sealed.bytes, 6), Err(Defect::WrongSize));
        assert_eq!(codec.open(&sealed.id, &sealed.bytes, u32::MAX), Err(Defect::WrongSize));
    }
}
