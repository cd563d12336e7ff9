//! The signing port: one asymmetric key (ECDSA P-256 with SHA-256) whose private half never leaves the key service.

use async_trait::async_trait;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};

use crate::store::BoxError;

/// Signs digests, and gives the public key that verifies the signatures.
#[async_trait]
pub trait SigningService: Send + Sync {
    /// The DER signature of a SHA-256 digest.
    ///
    /// # Errors
    /// If the key cannot be used; nothing is ever published unsigned.
    async fn sign(&self, sha256: [u8; 32]) -> Result<Vec<u8>, SigningError>;

    /// The public key. Kept after the first call, so it costs one call per process.
    ///
    /// # Errors
    /// If it cannot be had.
    async fn public_key(&self) -> Result<PublicKey, SigningError>;
}

/// The public half of the signing key: an uncompressed point of P-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 65]);

/// What stands before the point in the DER of a P-256 public key (RFC 5480: `SubjectPublicKeyInfo`, id-ecPublicKey, secp256r1).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03,
    0x01, 0x07, 0x03, 0x42, 0x00,
];

impl PublicKey {
    /// Reads the DER of a P-256 public key, as KMS gives it; `None` if it is anything else.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        Self::from_point(der.strip_prefix(&SPKI_PREFIX)?)
    }

    /// Takes an uncompressed point; `None` if it has another form.
    #[must_use]
    pub fn from_point(point: &[u8]) -> Option<Self> {
        let point: [u8; 65] = point.try_into().ok()?;
        (point[0] == 4).then_some(Self(point))
    }

    /// Whether `signature` is this key's over `message`.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, self.0).verify(message, signature).is_ok()
    }
}

/// Why there is no signature, or no public key.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key is disabled, pending deletion, of another kind, or not this role's to use.
    #[error("the vault's signing key cannot be used; check the key's state and this role's policy")]
    Unusable {
        /// What the service said.
        source: BoxError,
    },
    /// No answer, or one that says nothing about the request.
    #[error("the key service did not answer for the signing key; try again")]
    Unavailable {
        /// What the service said.
        source: BoxError,
    },
    /// Refused for its rate.
    #[error("the key service throttled a call for the signing key; try again more slowly")]
    Throttled {
        /// What the service said.
        source: BoxError,
    },
}
