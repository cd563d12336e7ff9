//! The envelope of a sealed object: AES-256-GCM under a key of its own, bound to where the object belongs.
//!
//! The key is derived from the run's data key with a fresh 256-bit salt, so a (key, nonce) pair never seals two messages
//! whatever is retried or run twice, and the nonce can be zero. The commitment is derived beside the key: GCM alone lets
//! one ciphertext open under two keys, and this makes such a ciphertext impossible to present.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    constant_time::verify_slices_are_equal,
};
use domain::{RunId, VaultId, VaultTenantId};
use uuid::Uuid;

use crate::{
    defect::Defect,
    derive::{hkdf, parts, put_part},
    error::VaultError,
    frame::{self, Framer},
    keys::SecretKey,
    random::Random,
};

const MAGIC: &[u8; 4] = b"HF1\0";
/// HKDF-SHA512, AES-256-GCM, derived commitment.
const SUITE: u8 = 1;
const KEY_RECORD_AT: usize = 6;
const SALT_AT: usize = KEY_RECORD_AT + 16;
const COMMITMENT_AT: usize = SALT_AT + 32;
/// Everything before the ciphertext.
pub(crate) const HEADER_BYTES: usize = COMMITMENT_AT + 32;
/// The authentication tag.
pub(crate) const TAG_BYTES: usize = 16;

/// What an object is. Part of its key derivation, so one type can never be read as another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectType {
    /// Rows, or a piece of a document.
    Chunk = 1,
    /// A recovery point's table of contents.
    Manifest = 2,
    /// Which chunks there are and where.
    ChunkList = 3,
    /// What a run had done when it stopped.
    Progress = 4,
}

/// A key that objects' keys are derived from: a run's content key, or a tenant's list key.
pub(crate) struct SealingKey {
    /// The record that holds it: a run's id, or nil for the list key, which comes from the dedup secret.
    pub(crate) record: Uuid,
    pub(crate) key: SecretKey,
}

impl SealingKey {
    /// The content key of a run.
    pub(crate) fn content(run: RunId, key: SecretKey) -> Self {
        Self { record: run.uuid(), key }
    }
}

/// Where an object belongs. Not stored: the reader says what it expects.
pub(crate) struct Place<'a> {
    pub(crate) vault: &'a VaultId,
    pub(crate) tenant: VaultTenantId,
    pub(crate) object_type: ObjectType,
    /// For a chunk its id, for a manifest or progress its recovery point and run, for a list its run and number.
    pub(crate) object_id: &'a [u8],
}

/// The most a sealed object can measure whose plaintext has at most `plaintext_max` bytes.
pub(crate) fn sealed_bytes_max(plaintext_max: usize) -> usize {
    HEADER_BYTES + frame::padded(frame::HEADER_BYTES + plaintext_max) + TAG_BYTES
}

/// Seals `plaintext` for its place.
pub(crate) fn seal(
    key: &SealingKey,
    place: &Place<'_>,
    plaintext: &[u8],
    framer: &mut Framer,
    random: &dyn Random,
) -> Result<Vec<u8>, VaultError> {
    let mut salt = [0; 32];
    random.fill(&mut salt)?;
    let derived = Derived::new(key, place.object_type, &salt);

    let mut sealed = Vec::with_capacity(sealed_bytes_max(plaintext.len()));
    sealed.extend_from_slice(MAGIC);
    sealed.extend_from_slice(&[SUITE, place.object_type as u8]);
    sealed.extend_from_slice(key.record.as_bytes());
    sealed.extend_from_slice(&salt);
    sealed.extend_from_slice(derived.commitment());
    debug_assert_eq!(sealed.len(), HEADER_BYTES);
    let aad = associated_data(&sealed, place);
    framer.frame(plaintext, &mut sealed);
    let tag = derived
        .cipher()
        .seal_in_place_separate_tag(zero_nonce(), Aad::from(aad), &mut sealed[HEADER_BYTES..])
        .expect("objects are far below GCM's limit");
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens a sealed object that is expected at `place`, and gives its plaintext of at most `plaintext_max` bytes.
pub(crate) fn open(key: &SealingKey, place: &Place<'_>, sealed: &[u8], plaintext_max: usize) -> Result<Vec<u8>, Defect> {
    if sealed.len() > sealed_bytes_max(plaintext_max) {
        return Err(Defect::WrongSize);
    }
    let (header, ciphertext) = sealed.split_at_checked(HEADER_BYTES).ok_or(Defect::WrongSize)?;
    if ciphertext.len() < TAG_BYTES {
        return Err(Defect::WrongSize);
    }
    check_header(header, key, place)?;

    let derived = Derived::new(key, place.object_type, &header[SALT_AT..COMMITMENT_AT]);
    verify_slices_are_equal(derived.commitment(), &header[COMMITMENT_AT..]).map_err(|_| Defect::WrongCommitment)?;
    let mut buffer = ciphertext.to_vec();
    let frame = derived
        .cipher()
        .open_in_place(zero_nonce(), Aad::from(associated_data(header, place)), &mut buffer)
        .map_err(|_| Defect::WrongTag)?;
    frame::unframe(frame, plaintext_max)
}

/// Looks at what an object says of itself, to name the mistake; the cryptography does not depend on it.
fn check_header(header: &[u8], key: &SealingKey, place: &Place<'_>) -> Result<(), Defect> {
    if header[..4] != *MAGIC {
        return Err(Defect::NotSealed);
    }
    if header[4] != SUITE {
        return Err(Defect::UnknownSuite(header[4]));
    }
    if header[5] != place.object_type as u8 {
        return Err(Defect::WrongType);
    }
    if header[KEY_RECORD_AT..SALT_AT] != *key.record.as_bytes() {
        return Err(Defect::WrongKeyRecord);
    }
    Ok(())
}

/// `header ‖ vault ‖ tenant ‖ type ‖ object id`, the last four each after its length.
fn associated_data(header: &[u8], place: &Place<'_>) -> Vec<u8> {
    let mut aad = header.to_vec();
    put_part(&mut aad, place.vault.as_str().as_bytes());
    put_part(&mut aad, place.tenant.uuid().as_bytes());
    put_part(&mut aad, &[place.object_type as u8]);
    put_part(&mut aad, place.object_id);
    aad
}

/// One object's key and commitment.
struct Derived(zeroize::Zeroizing<[u8; 64]>);

impl Derived {
    fn new(key: &SealingKey, object_type: ObjectType, salt: &[u8]) -> Self {
        Self(hkdf(&key.key, salt, &parts(&[b"holdfast HF1", &[SUITE], b"object", &[object_type as u8]])))
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0[..32]).expect("an AES-256 key has 32 bytes"))
    }

    fn commitment(&self) -> &[u8] {
        &self.0[32..]
    }
}

/// Each key seals one message, so its nonce says nothing.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
#[path = "envelope_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "two_keys_tests.rs"]
mod two_keys_tests;

#[cfg(test)]
#[path = "bomb_tests.rs"]
mod bomb_tests;
