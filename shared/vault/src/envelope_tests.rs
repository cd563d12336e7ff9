//! Sealed objects: test vectors, places, and every kind of damage.

use domain::{RunId, VaultId, VaultTenantId};
use proptest::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::*;
use crate::random::SystemRandom;

/// Gives the same bytes every time.
struct FixedRandom(Vec<u8>);

impl Random for FixedRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

struct NoRandom;

impl Random for NoRandom {
    fn fill(&self, _: &mut [u8]) -> Result<(), VaultError> {
        Err(VaultError::NoRandomness)
    }
}

fn key(run: u128, byte: u8) -> SealingKey {
    SealingKey::content(RunId::from_uuid(Uuid::from_u128(run)), SecretKey::from_slice(&[byte; 32]).unwrap())
}

fn vault(name: &str) -> VaultId {
    name.parse().unwrap()
}

fn place<'a>(vault: &'a VaultId, tenant: u128, object_type: ObjectType, object_id: &'a [u8]) -> Place<'a> {
    Place { vault, tenant: VaultTenantId::from_uuid(Uuid::from_u128(tenant)), object_type, object_id }
}

fn sealed(key: &SealingKey, place: &Place<'_>, plaintext: &[u8]) -> Vec<u8> {
    seal(key, place, plaintext, &mut Framer::new(), &SystemRandom).unwrap()
}

#[derive(Deserialize)]
struct Golden {
    data_key: String,
    vault: VaultId,
    tenant: VaultTenantId,
    run: RunId,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    r#type: u8,
    salt: String,
    object_id: String,
    codec: u8,
    plaintext: String,
    sealed: String,
}

#[test]
fn the_test_vectors_open_and_seal_to_the_same_bytes() {
    let golden: Golden = serde_json::from_str(include_str!("../../../tests/golden/v1/envelope.json")).unwrap();
    let data_key = SecretKey::from_slice(&hex::decode(golden.data_key).unwrap()).unwrap();
    let key = SealingKey::content(golden.run, data_key);
    assert_eq!(golden.vectors.len(), 5);
    for Vector { name, r#type, salt, object_id, codec, plaintext, sealed } in golden.vectors {
        let object_type = [ObjectType::Chunk, ObjectType::Manifest][usize::from(r#type) - 1];
        let (object_id, plaintext) = (hex::decode(object_id).unwrap(), hex::decode(plaintext).unwrap());
        let place = Place { vault: &golden.vault, tenant: golden.tenant, object_type, object_id: &object_id };
        let opened = open(&key, &place, &hex::decode(&sealed).unwrap(), plaintext.len());
        assert_eq!(opened.as_ref(), Ok(&plaintext), "{name}");
        // Compressed bytes may differ from one version of zstd to the next; what they mean may not.
        if codec == 0 {
            let random = FixedRandom(hex::decode(salt).unwrap());
            let again = seal(&key, &place, &plaintext, &mut Framer::new(), &random).unwrap();
            assert_eq!(hex::encode(again), sealed, "{name}");
        }
    }
}

proptest! {
    #[test]
    fn a_sealed_object_opens_in_its_place(plaintext in proptest::collection::vec(any::<u8>(), 0..3_000)) {
        let (key, vault) = (key(1, 7), vault("main"));
        let place = place(&vault, 1, ObjectType::Chunk, b"id");
        let sealed = sealed(&key, &place, &plaintext);
        prop_assert!(sealed.len() <= sealed_bytes_max(plaintext.len()));
        prop_assert_eq!(open(&key, &place, &sealed, plaintext.len()), Ok(plaintext));
    }

    #[test]
    fn random_bytes_never_open_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), honest_start in any::<bool>()) {
        let (key, vault) = (key(1, 7), vault("main"));
        let place = place(&vault, 1, ObjectType::Chunk, b"id");
        let mut object = bytes;
        if honest_start && object.len() > HEADER_BYTES {
            object[..SALT_AT].copy_from_slice(&sealed(&key, &place, b"x")[..SALT_AT]);
        }
        prop_assert!(open(&key, &place, &object, 1_000).is_err());
    }
}

#[test]
fn every_byte_flipped_cut_or_added_is_refused() {
    let (key, vault) = (key(1, 7), vault("main"));
    let place = place(&vault, 1, ObjectType::Chunk, b"id");
    let sealed = sealed(&key, &place, b"1\tada\n");
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&key, &place, &changed, 100).is_err(), "bit {bit} of byte {at}");
        }
        assert!(open(&key, &place, &sealed[..at], 100).is_err(), "cut to {at} bytes");
    }
    for extra in [&b"\0"[..], &[0; 16], &sealed] {
        assert!(open(&key, &place, &[&sealed, extra].concat(), 100).is_err(), "{} more bytes", extra.len());
    }
}

#[test]
fn an_object_out_of_its_place_is_refused() {
    let (ours, main, other) = (key(1, 7), vault("main"), vault("other"));
    let home = place(&main, 1, ObjectType::Chunk, b"id");
    let sealed = sealed(&ours, &home, b"1\tada\n");
    let check = |key: &SealingKey, place: &Place<'_>, expected: Defect| {
        assert_eq!(open(key, place, &sealed, 100), Err(expected));
    };
    check(&ours, &place(&other, 1, ObjectType::Chunk, b"id"), Defect::WrongTag);
    check(&ours, &place(&main, 2, ObjectType::Chunk, b"id"), Defect::WrongTag);
    check(&ours, &place(&main, 1, ObjectType::Chunk, b"id2"), Defect::WrongTag);
    check(&ours, &place(&main, 1, ObjectType::Chunk, b""), Defect::WrongTag);
    check(&ours, &place(&main, 1, ObjectType::Manifest, b"id"), Defect::WrongType);
    check(&key(2, 7), &home, Defect::WrongKeyRecord);
    check(&key(1, 8), &home, Defect::WrongCommitment);
}

#[test]
fn a_chunk_relabelled_as_a_manifest_is_refused() {
    let (key, vault) = (key(1, 7), vault("main"));
    let mut sealed = sealed(&key, &place(&vault, 1, ObjectType::Chunk, b"id"), b"{}");
    sealed[5] = ObjectType::Manifest as u8;
    assert_eq!(open(&key, &place(&vault, 1, ObjectType::Manifest, b"id"), &sealed, 100), Err(Defect::WrongCommitment));
}

#[test]
fn another_keys_commitment_does_not_make_its_tag_match() {
    let (ours, theirs, vault) = (key(1, 7), key(1, 8), vault("main"));
    let place = place(&vault, 1, ObjectType::Chunk, b"id");
    let mut sealed = sealed(&ours, &place, b"rows");
    let forged = Derived::new(&theirs, ObjectType::Chunk, &sealed[SALT_AT..COMMITMENT_AT]);
    sealed[COMMITMENT_AT..HEADER_BYTES].copy_from_slice(forged.commitment());
    assert_eq!(open(&theirs, &place, &sealed, 100), Err(Defect::WrongTag));
    assert_eq!(open(&ours, &place, &sealed, 100), Err(Defect::WrongCommitment));
}

#[test]
fn the_same_plaintext_never_seals_to_the_same_bytes() {
    let (key, vault) = (key(1, 7), vault("main"));
    let place = place(&vault, 1, ObjectType::Chunk, b"id");
    let (one, two) = (sealed(&key, &place, b"rows"), sealed(&key, &place, b"rows"));
    assert_ne!(one[SALT_AT..COMMITMENT_AT], two[SALT_AT..COMMITMENT_AT]);
    assert_ne!(one[HEADER_BYTES..], two[HEADER_BYTES..]);
}

#[test]
fn without_randomness_nothing_is_sealed() {
    let (key, vault) = (key(1, 7), vault("main"));
    let sealed = seal(&key, &place(&vault, 1, ObjectType::Chunk, b"id"), b"rows", &mut Framer::new(), &NoRandom);
    assert!(matches!(sealed, Err(VaultError::NoRandomness)));
}

#[test]
fn an_object_larger_than_its_plaintext_allows_is_refused_unopened() {
    let (key, vault) = (key(1, 7), vault("main"));
    let place = place(&vault, 1, ObjectType::Chunk, b"id");
    assert_eq!(open(&key, &place, &vec![0; sealed_bytes_max(1_000) + 1], 1_000), Err(Defect::WrongSize));
}
