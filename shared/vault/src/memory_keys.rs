//! A key service in memory, for tests. Like KMS it authenticates the context, and its root key can be disabled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::{
    derive::put_part,
    keys::{DataKey, KeyContext, KeyError, KeyService, SecretKey},
    random::{Random, SystemRandom},
};

/// Data keys wrapped under a random root key that lives as long as this value.
pub struct MemoryKeys {
    root: LessSafeKey,
    disabled: AtomicBool,
    calls: AtomicU64,
}

impl Default for MemoryKeys {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryKeys {
    /// A service with a fresh root key.
    ///
    /// # Panics
    /// If the operating system gives no randomness.
    #[must_use]
    pub fn new() -> Self {
        let mut root = Zeroizing::new([0; 32]);
        SystemRandom.fill(root.as_mut_slice()).expect("tests run where there is randomness");
        Self::under(&SecretKey::new(root))
    }

    /// A service under a given root key, for work in several processes.
    ///
    /// # Panics
    /// Never: the key has the right size.
    #[must_use]
    pub fn under(root: &SecretKey) -> Self {
        let root = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, root.expose()).expect("an AES-256 key has 32 bytes"));
        Self { root, disabled: AtomicBool::new(false), calls: AtomicU64::new(0) }
    }

    /// Disables or enables the root key.
    pub fn set_disabled(&self, disabled: bool) {
        self.disabled.store(disabled, Ordering::SeqCst);
    }

    /// Calls so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn call(&self, context: &KeyContext) -> Result<(), KeyError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.disabled.load(Ordering::SeqCst) {
            return Err(KeyError::Unusable { context: context.clone(), source: "the root key is disabled".into() });
        }
        Ok(())
    }

    fn random(context: &KeyContext, bytes: &mut [u8]) -> Result<(), KeyError> {
        let unavailable = |_| KeyError::Unavailable { context: context.clone(), source: "no randomness".into() };
        SystemRandom.fill(bytes).map_err(unavailable)
    }
}

fn associated_data(context: &KeyContext) -> Aad<Vec<u8>> {
    let mut out = Vec::new();
    for (name, value) in context.pairs() {
        put_part(&mut out, name.as_bytes());
        put_part(&mut out, value.as_bytes());
    }
    Aad::from(out)
}

#[async_trait]
impl KeyService for MemoryKeys {
    async fn generate(&self, context: &KeyContext) -> Result<DataKey, KeyError> {
        self.call(context)?;
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; NONCE_LEN]);
        Self::random(context, key.as_mut_slice())?;
        Self::random(context, &mut nonce)?;
        let mut sealed = key.to_vec();
        self.root
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), associated_data(context), &mut sealed)
            .expect("32 bytes can always be sealed");
        Ok(DataKey { plaintext: SecretKey::new(key), wrapped: [nonce.as_slice(), &sealed].concat() })
    }

    async fn unwrap_key(&self, wrapped: &[u8], context: &KeyContext) -> Result<SecretKey, KeyError> {
        self.call(context)?;
        let refused = || KeyError::NotForThisContext { context: context.clone() };
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_LEN>().ok_or_else(refused)?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let key = self
            .root
            .open_in_place(Nonce::assume_unique_for_key(*nonce), associated_data(context), &mut sealed)
            .map_err(|_| refused())?;
        SecretKey::from_slice(key).ok_or_else(refused)
    }
}
