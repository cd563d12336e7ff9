//! Key derivation: HKDF-SHA512, one label per use, every part length-prefixed.

use aws_lc_rs::hkdf::{HKDF_SHA512, KeyType, Salt};
use zeroize::Zeroizing;

use crate::keys::SecretKey;

/// Appends a part with its length, so that no two lists of parts have the same bytes.
pub(crate) fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).expect("parts are ids and capped names");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(part);
}

/// The concatenation of `parts`, each after its length.
pub(crate) fn parts(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        put_part(&mut out, part);
    }
    out
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-SHA512 of `secret` under `salt` and `info`.
pub(crate) fn hkdf<const N: usize>(secret: &SecretKey, salt: &[u8], info: &[u8]) -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    Salt::new(HKDF_SHA512, salt)
        .extract(secret.expose())
        .expand(&[info], Length(N))
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .expect("outputs here are 32 or 64 bytes, far below HKDF's limit");
    out
}
