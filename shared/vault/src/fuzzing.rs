//! Every decoder of stored bytes, for `fuzz/`: each takes any bytes, must not panic, and must hold to what it says it read.

use domain::{RecoveryPointId, RunId, VaultId, VaultTenantId};
use uuid::Uuid;

use crate::{
    entry::{ChunkEntry, ENTRY_BYTES},
    envelope::{self, ObjectType, Place, SealingKey},
    frame::{self, Framer},
    key_record,
    keys::{KeyContext, SecretKey},
    link::Link,
    list::{ChunkList, ListBuilder, Segment, StreamId},
    manifest::{Manifest, Owner},
    progress::ProgressRecord,
    signing::PublicKey,
};

/// A decoder under test.
pub type Target = fn(&[u8]);

/// Every decoder, by the name of its fuzz target and of its corpus.
pub const TARGETS: [(&str, Target); 8] = [
    ("envelope", envelope),
    ("frame", frame),
    ("chunk_list", chunk_list),
    ("chunk_entry", chunk_entry),
    ("link", link),
    ("manifest", manifest),
    ("key_record", key_record),
    ("progress", progress),
];

/// More plaintext than this is refused here: small, so that limits are met often.
const PLAINTEXT_MAX: usize = 4_096;

fn id(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn vault() -> VaultId {
    "main".parse().expect("a vault's name")
}

fn tenant() -> VaultTenantId {
    VaultTenantId::from_uuid(id(1))
}

fn owner() -> Owner {
    Owner { vault: vault(), tenant: tenant(), point: RecoveryPointId::from_uuid(id(2)), run: RunId::from_uuid(id(3)) }
}

fn key() -> SealingKey {
    SealingKey::content(RunId::from_uuid(id(3)), SecretKey::from_slice(&[7; 32]).expect("32 bytes"))
}

/// A sealed object as it stands in the store.
pub fn envelope(bytes: &[u8]) {
    let vault = vault();
    let place = Place { vault: &vault, tenant: tenant(), object_type: ObjectType::Chunk, object_id: b"id" };
    if let Ok(plaintext) = envelope::open(&key(), &place, bytes, PLAINTEXT_MAX) {
        assert!(plaintext.len() <= PLAINTEXT_MAX);
        // Nothing else opens it.
        let elsewhere = Place { object_id: b"other", ..place };
        assert!(envelope::open(&key(), &elsewhere, bytes, PLAINTEXT_MAX).is_err());
    }
}

/// What is inside an authentic object.
pub fn frame(bytes: &[u8]) {
    if let Ok(plaintext) = frame::unframe(bytes, PLAINTEXT_MAX) {
        assert!(plaintext.len() <= PLAINTEXT_MAX);
        let mut again = Vec::new();
        Framer::new().frame(&plaintext, &mut again);
        assert_eq!(frame::unframe(&again, PLAINTEXT_MAX), Ok(plaintext));
    }
}

/// An authentic list's plaintext; the first twelve bytes say which segment is asked for.
pub fn chunk_list(bytes: &[u8]) {
    let (asked, list) = bytes.split_at(bytes.len().min(12));
    let number = |at: usize| asked.get(at..at + 4).map_or(0, |part| u32::from_be_bytes(part.try_into().expect("four bytes")));
    let segment = Segment { list: 0, offset: number(0), chunks: number(4) };
    let opened = ChunkList::from_plaintext(list.to_vec());
    if let Ok(entries) = opened.segment(&segment, StreamId::DOCUMENT) {
        assert_eq!(entries.len(), segment.chunks as usize);
    }
    if let Ok(segments) = opened.segments() {
        let mut again = ListBuilder::default();
        for (stream, entries) in &segments {
            let (offset, chunks) = (again.push(*stream, entries), u32::try_from(entries.len()).expect("fits the list"));
            assert_eq!(opened.segment(&Segment { list: 0, offset, chunks }, *stream).as_ref(), Ok(entries));
        }
        assert_eq!(again.plaintext(), list, "a list has one spelling");
    }
}

/// One entry of a list.
pub fn chunk_entry(bytes: &[u8]) {
    let mut entry = [0; ENTRY_BYTES];
    let given = bytes.len().min(ENTRY_BYTES);
    entry[..given].copy_from_slice(&bytes[..given]);
    if let Some(decoded) = ChunkEntry::decode(&entry) {
        let mut again = Vec::new();
        decoded.encode(&mut again);
        assert_eq!(again, entry, "an entry has one spelling");
    }
}

/// A stored link, and the line of one as if it were signed.
pub fn link(bytes: &[u8]) {
    let mut point = [7; 65];
    point[0] = 4;
    let stranger = PublicKey::from_point(&point).expect("the form of a point");
    assert!(Link::open(bytes, &stranger, &vault(), tenant(), 7).is_err(), "no key, no link");
    if let Ok(link) = Link::read(bytes, &vault(), tenant(), 7) {
        assert_eq!(link.line(), bytes, "a link has one spelling");
    }
}

/// An authentic manifest's plaintext.
pub fn manifest(bytes: &[u8]) {
    if let Ok(manifest) = Manifest::read(bytes, &owner()) {
        let again = serde_json::to_vec(&manifest).expect("a manifest has text keys only");
        assert_eq!(Manifest::read(&again, &owner()), Ok(manifest));
    }
}

/// A stored key record.
pub fn key_record(bytes: &[u8]) {
    let context = KeyContext::content(vault(), tenant(), RunId::from_uuid(id(3)));
    if let Ok(wrapped) = key_record::decode(bytes, &context) {
        assert_eq!(key_record::encode(&context, &wrapped), bytes, "a record has one spelling");
    }
}

/// The plaintext of an authentic progress record.
pub fn progress(bytes: &[u8]) {
    if let Ok(record) = ProgressRecord::read(bytes, &owner()) {
        let again = serde_json::to_vec(&record).expect("progress has text keys only");
        assert_eq!(ProgressRecord::read(&again, &owner()), Ok(record));
    }
}

#[cfg(test)]
#[path = "fuzzing_tests.rs"]
mod tests;
