//! Chunks: the unit that is identified, compressed, sealed and later deduplicated.

use std::{fmt, str::FromStr};

use domain::{VaultId, VaultTenantId};
use serde::{Deserialize, Serialize};

use crate::{
    caps,
    defect::Defect,
    envelope::{self, ObjectType, Place, SealingKey},
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

    pub(crate) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
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
    pub(crate) bytes: Vec<u8>,
}

/// What seals and opens the chunks of one tenant: everything but the bytes, so that several cores can share it.
pub(crate) struct ChunkCodec {
    pub(crate) vault: VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) secret: TenantSecret,
    pub(crate) key: SealingKey,
}

impl ChunkCodec {
    /// Compresses and seals the plaintext of `id`. Pure work on bytes; the caller stores the result.
    pub(crate) fn seal(
        &self,
        id: ChunkId,
        plaintext: &[u8],
        framer: &mut Framer,
        random: &dyn Random,
    ) -> Result<SealedChunk, VaultError> {
        assert!((1..=caps::CHUNK_BYTES_MAX).contains(&plaintext.len()), "chunks are cut to 1 byte to 4 MiB");
        Ok(SealedChunk { bytes: envelope::seal(&self.key, &self.place(&id), plaintext, framer, random)? })
    }

    /// Opens the chunk `id`, sealed under `key`, whose plaintext must have exactly `plaintext_bytes`.
    pub(crate) fn open(&self, key: &SealingKey, id: &ChunkId, sealed: &[u8], plaintext_bytes: u32) -> Result<Vec<u8>, Defect> {
        let expected = usize::try_from(plaintext_bytes).map_err(|_| Defect::WrongSize)?.min(caps::CHUNK_BYTES_MAX);
        let plaintext = envelope::open(key, &self.place(id), sealed, expected)?;
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
            key: SealingKey::content(RunId::from_uuid(Uuid::from_u128(3)), key(7)),
        }
    }

    #[test]
    fn equal_plaintexts_have_one_id_per_tenant() {
        let id = |secret, plaintext: &[u8]| ChunkId::of(plaintext, &codec(secret).secret);
        assert_eq!(id(1, b"rows\n"), id(1, b"rows\n"));
        assert_ne!(id(1, b"rows\n"), id(1, b"rowt\n"));
        assert_ne!(id(1, b"rows\n"), id(2, b"rows\n"));
    }

    #[test]
    fn an_id_survives_printing_and_parsing_and_has_one_spelling() {
        let id = ChunkId::of(b"rows\n", &codec(1).secret);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in [id.to_string().to_uppercase(), id.to_string()[1..].to_owned(), format!("{id}0"), String::new()] {
            assert!(text.parse::<ChunkId>().is_err(), "{text}");
        }
    }

    #[test]
    fn content_that_is_authentic_but_not_that_of_its_id_is_refused() {
        let codec = codec(1);
        let id = ChunkId::of(b"rows\n", &codec.secret);
        let sealed = codec.seal(id, b"lies\n", &mut Framer::new(), &SystemRandom).unwrap().bytes;
        assert_eq!(codec.open(&codec.key, &id, &sealed, 5), Err(Defect::WrongId));
    }

    #[test]
    fn a_chunk_of_another_size_than_its_entry_says_is_refused() {
        let codec = codec(1);
        let id = ChunkId::of(b"rows\n", &codec.secret);
        let sealed = codec.seal(id, b"rows\n", &mut Framer::new(), &SystemRandom).unwrap().bytes;
        assert_eq!(codec.open(&codec.key, &id, &sealed, 5).unwrap(), b"rows\n");
        assert_eq!(codec.open(&codec.key, &id, &sealed, 4), Err(Defect::Malformed("more plaintext than allowed")));
        assert_eq!(codec.open(&codec.key, &id, &sealed, 6), Err(Defect::WrongSize));
        assert_eq!(codec.open(&codec.key, &id, &sealed, u32::MAX), Err(Defect::WrongSize));
    }
}
