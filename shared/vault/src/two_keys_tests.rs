//! GCM lets one ciphertext be made to open under two keys. Here it is made, and the commitment refuses it.
//!
//! A tag is `GHASH_H(associated data, ciphertext) + E_K(first counter)`, in GF(2^128), where the hash is a sum of blocks times powers of
//! `H = E_K(0)`. All blocks but one are chosen freely; the equation that both keys' tags are equal is linear in the one left.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use domain::{RunId, VaultId, VaultTenantId};
use uuid::Uuid;

use super::*;

/// `E_K(block)`, as one block of counter mode over zeros.
fn encrypted(key: &[u8], block: u128) -> u128 {
    let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, key).unwrap()).unwrap();
    let mut out = [0; 16];
    key.less_safe_encrypt(&mut out, EncryptionContext::Iv128(block.to_be_bytes().into())).unwrap();
    u128::from_be_bytes(out)
}

/// The product in GF(2^128), in GCM's order of bits.
fn times(left: u128, right: u128) -> u128 {
    let (mut product, mut shifted) = (0, right);
    for bit in (0..128).rev() {
        if (left >> bit) & 1 == 1 {
            product ^= shifted;
        }
        shifted = if shifted & 1 == 1 { (shifted >> 1) ^ (0xe1 << 120) } else { shifted >> 1 };
    }
    product
}

/// The inverse: the power 2^128 − 2, which is the product of the powers 2^1 to 2^127.
fn inverse(value: u128) -> u128 {
    let squares = std::iter::successors(Some(times(value, value)), |square| Some(times(*square, *square)));
    squares.take(127).fold(1 << 127, times)
}

/// The blocks that are hashed: associated data and ciphertext, each padded with zeros, and their lengths in bits.
fn blocks(aad: &[u8], ciphertext: &[u8]) -> Vec<u128> {
    let padded = |bytes: &[u8]| -> Vec<u128> {
        let block = |part: &[u8]| u128::from_be_bytes([part, &[0; 16][part.len()..]].concat().try_into().unwrap());
        bytes.chunks(16).map(block).collect()
    };
    let lengths = ((aad.len() as u128 * 8) << 64) | (ciphertext.len() as u128 * 8);
    [padded(aad), padded(ciphertext), vec![lengths]].concat()
}

/// One of the two keys, with what a tag under it needs.
struct Key {
    hash_key: u128,
    mask: u128,
}

impl Key {
    fn of(derived: &Derived) -> Self {
        // The nonce is zero, so the first counter is one.
        Self { hash_key: encrypted(&derived.0[..32], 0), mask: encrypted(&derived.0[..32], 1) }
    }

    fn tag(&self, blocks: &[u128]) -> u128 {
        blocks.iter().fold(0, |hash, block| times(hash ^ block, self.hash_key)) ^ self.mask
    }

    /// What the block at `index` is multiplied with in the tag.
    fn weight(&self, blocks: &[u128], index: usize) -> u128 {
        (index + 1..blocks.len()).fold(self.hash_key, |power, _| times(power, self.hash_key))
    }
}

fn key(byte: u8) -> SealingKey {
    SealingKey::content(RunId::from_uuid(Uuid::from_u128(1)), SecretKey::from_slice(&[byte; 32]).unwrap())
}

/// A sealed object with the commitment of `ours`, whose tag is right under `ours` and under `theirs`.
fn opens_under_both(ours: &SealingKey, theirs: &SealingKey, place: &Place<'_>) -> Vec<u8> {
    // A frame kept raw that is all payload, so that the sacrificed block may hold anything.
    let mut frame = [&[0, 0, 0, 251, 0][..], &[b'x'; 251]].concat();
    let salt = [7; 32];
    let (one, two) = (Derived::new(ours, place.object_type, &salt), Derived::new(theirs, place.object_type, &salt));
    let head = [&MAGIC[..], &[SUITE, place.object_type as u8], ours.record.as_bytes(), &salt, one.commitment()].concat();
    let _tag_of_one = one.cipher().seal_in_place_separate_tag(zero_nonce(), Aad::empty(), &mut frame).unwrap();
    let aad = associated_data(&head, place);

    let sacrificed = 64;
    frame[sacrificed..sacrificed + 16].fill(0);
    let hashed = blocks(&aad, &frame);
    let index = aad.len().div_ceil(16) + sacrificed / 16;
    let (one, two) = (Key::of(&one), Key::of(&two));
    let difference = one.tag(&hashed) ^ two.tag(&hashed);
    let weights = one.weight(&hashed, index) ^ two.weight(&hashed, index);
    frame[sacrificed..sacrificed + 16].copy_from_slice(&times(difference, inverse(weights)).to_be_bytes());
    let hashed = blocks(&aad, &frame);
    assert_eq!(one.tag(&hashed), two.tag(&hashed));
    [head, frame, one.tag(&hashed).to_be_bytes().to_vec()].concat()
}

#[test]
fn one_ciphertext_for_two_keys_is_accepted_by_gcm_and_refused_by_the_commitment() {
    let vault: VaultId = "main".parse().unwrap();
    let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
    let place = Place { vault: &vault, tenant, object_type: ObjectType::Chunk, object_id: b"id" };
    for (ours, theirs) in [(key(1), key(2)), (key(2), key(1))] {
        let sealed = opens_under_both(&ours, &theirs, &place);
        let (header, ciphertext) = sealed.split_at(HEADER_BYTES);
        let mut plaintexts = [&ours, &theirs].map(|key| {
            let derived = Derived::new(key, ObjectType::Chunk, &header[SALT_AT..COMMITMENT_AT]);
            let mut buffer = ciphertext.to_vec();
            let aad = Aad::from(associated_data(header, &place));
            derived
                .cipher()
                .open_in_place(zero_nonce(), aad, &mut buffer)
                .expect("plain GCM accepts it under either key")
                .to_vec()
        });
        assert_ne!(plaintexts[0], plaintexts[1]);

        assert_eq!(open(&ours, &place, &sealed, 251).unwrap(), plaintexts[0].split_off(5));
        assert_eq!(open(&theirs, &place, &sealed, 251), Err(Defect::WrongCommitment));
    }
}

#[test]
fn the_field_is_gcms() {
    // From "The Galois/Counter Mode of Operation", test case 2.
    let (key, text) = (0x66e9_4bd4_ef8a_2c3b_884c_fa59_ca34_2b2e, 0x0388_dace_60b6_a392_f328_c2b9_71b2_fe78);
    assert_eq!(times(text, key), 0x5e2e_c746_9170_6288_2c85_b068_5353_deb7);
    assert_eq!(times(key, inverse(key)), 1 << 127);
}
