//! A signing service in memory, for tests: a random key that lives as long as this value, and can be disabled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use aws_lc_rs::{
    digest::{Digest, SHA256},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

use crate::signing::{PublicKey, SigningError, SigningService};

/// A random P-256 key.
pub struct MemorySigning {
    pair: EcdsaKeyPair,
    disabled: AtomicBool,
    calls: AtomicU64,
}

impl Default for MemorySigning {
    fn default() -> Self {
        Self::new()
    }
}

impl MemorySigning {
    /// A service with a fresh key.
    ///
    /// # Panics
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("tests run where there is randomness");
        Self::of(pair)
    }

    /// A fresh key in PKCS #8, for work in several processes.
    ///
    /// # Panics
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn new_pkcs8() -> Vec<u8> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("tests run where there is randomness");
        pair.to_pkcs8v1().expect("a fresh key can be encoded").as_ref().to_vec()
    }

    /// A service with a key in PKCS #8.
    ///
    /// # Panics
    /// If it is none of P-256.
    #[must_use]
    pub fn from_pkcs8(pkcs8: &[u8]) -> Self {
        Self::of(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).expect("a P-256 key in PKCS #8"))
    }

    fn of(pair: EcdsaKeyPair) -> Self {
        Self { pair, disabled: AtomicBool::new(false), calls: AtomicU64::new(0) }
    }

    /// Disables or enables the key.
    pub fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::SeqCst);
    }

    /// Signatures asked for so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl SigningService for MemorySigning {
    async fn sign(&self, sha256: [u8; 32]) -> Result<Vec<u8>, SigningError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.disabled.load(Ordering::SeqCst) {
            return Err(SigningError::Unusable { source: "the signing key is disabled".into() });
        }
        let digest = Digest::import_less_safe(&sha256, &SHA256).expect("a SHA-256 digest has 32 bytes");
        let signature = self.pair.sign_digest(&digest).map_err(|_| SigningError::Unusable { source: "no signature".into() })?;
        Ok(signature.as_ref().to_vec())
    }

    async fn public_key(&self) -> Result<PublicKey, SigningError> {
        let point = self.pair.public_key().as_ref();
        PublicKey::from_point(point).ok_or_else(|| SigningError::Unusable { source: "not a point of P-256".into() })
    }
}
