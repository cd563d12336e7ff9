//! The corpus that fuzzing has gathered, decoded on every test run.

use std::{collections::BTreeSet, fs, path::PathBuf};

use domain::PackId;
use serde_json::json;

use super::*;
use crate::{
    chunk::ChunkId,
    link::{LinkContent, PackEntry, StoredObject},
    manifest::{BlobEntry, SliceEntry, StreamEntry},
    progress::StreamProgress,
    random::SystemRandom,
    rows_digest::RowsDigest,
    sha256::Sha256Hex,
    stream::StreamHeader,
};

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

#[test]
fn every_input_of_the_corpus_is_decoded_or_refused() {
    let listed = fs::read_dir(corpus()).expect("the corpus lies in fuzz/corpus");
    let folders: BTreeSet<_> = listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect(), "one folder per target");
    for (name, target) in TARGETS {
        let inputs: Vec<_> = fs::read_dir(corpus().join(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(inputs.len() >= 5, "{name} has {} inputs", inputs.len());
        inputs.iter().for_each(|input| target(&fs::read(input).unwrap()));
        println!("{name}: {} inputs", inputs.len());
    }
}

fn header() -> StreamHeader {
    let columns = vec!["id".to_owned(), "name".to_owned()];
    StreamHeader { name: "app.people".to_owned(), digest_name: "people".to_owned(), columns, key_columns: vec![0] }
}

fn entry(n: u8) -> ChunkEntry {
    let (id, digest) = (ChunkId::from_bytes([n; 32]), RowsDigest::from_bytes([n; 64]));
    ChunkEntry { id, digest, pack: n.into(), offset: 300, length: 358, plaintext_bytes: 40, rows: 2, continues: n == 1 }
}

fn pack() -> PackEntry {
    PackEntry { id: PackId::from_uuid(id(9)), run: owner().run, stored_bytes: 900 }
}

fn frame_of(plaintext: &[u8]) -> Vec<u8> {
    let mut framed = Vec::new();
    Framer::new().frame(plaintext, &mut framed);
    framed
}

fn sealed(plaintext: &[u8], object_type: ObjectType) -> Vec<u8> {
    let vault = vault();
    let place = Place { vault: &vault, tenant: tenant(), object_type, object_id: b"id" };
    envelope::seal(&key(), &place, plaintext, &mut Framer::new(), &SystemRandom).unwrap()
}

fn list_of(segments: &[(StreamId, Vec<ChunkEntry>)]) -> Vec<u8> {
    let mut list = ListBuilder::default();
    for (stream, entries) in segments {
        list.push(*stream, entries);
    }
    [&[0; 7][..], &[u8::try_from(segments.len()).unwrap()], &[0; 4], list.plaintext()].concat()
}

fn manifest_of(change: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let mut manifest = Manifest::new(&owner(), "2026-11-23T12:00:00Z".parse().unwrap(), json!({"engine": "PostgreSQL 15"}));
    let segments = vec![Segment { list: 0, offset: 0, chunks: 1 }];
    let slices = vec![SliceEntry { rows: 2, segments: segments.clone() }];
    manifest.streams.push(StreamEntry { header: header(), rows: 2, digest: RowsDigest::ZERO, slices });
    manifest.blobs.push(BlobEntry { name: "pre-data".to_owned(), plaintext_bytes: 40, segments });
    change(&mut manifest);
    serde_json::to_vec(&manifest).unwrap()
}

fn link_of(packs: usize, previous: Option<Sha256Hex>) -> Vec<u8> {
    let Owner { vault, tenant, point, run } = owner();
    let lists = vec![StoredObject::of(b"list"); packs];
    let content =
        LinkContent { vault, tenant, point, run, manifest: StoredObject::of(b"manifest"), lists, packs: vec![pack(); packs] };
    Link::new(content, 7, previous).line()
}

fn progress_of(slices: Vec<Vec<Segment>>) -> Vec<u8> {
    let mut record = ProgressRecord::new(&owner(), json!({"view": "0000"}), vec![StoredObject::of(b"list")], vec![pack()]);
    record.streams.push(StreamProgress { header: header(), slices });
    serde_json::to_vec(&record).unwrap()
}

/// Objects as a writer makes them, with what differs only at second sight.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let context = |tenant| KeyContext::content(vault(), VaultTenantId::from_uuid(id(tenant)), owner().run);
    let record = |wrapped: &[u8]| key_record::encode(&context(1), wrapped);
    let entry_bytes = |n| {
        let mut bytes = Vec::new();
        entry(n).encode(&mut bytes);
        bytes
    };
    let segment = |offset, chunks| Segment { list: 0, offset, chunks };
    let stored = |line: Vec<u8>| Link::encode(line, b"a signature");
    vec![
        ("envelope", sealed(b"", ObjectType::Chunk)),
        ("envelope", sealed(b"1\tada\n", ObjectType::Chunk)),
        ("envelope", sealed(&[b'x'; 4_000], ObjectType::Chunk)),
        ("envelope", sealed(&[b'x'; 5_000], ObjectType::Chunk)),
        ("envelope", sealed(b"{}", ObjectType::Manifest)),
        ("envelope", sealed(b"1\tada\n", ObjectType::Chunk)[..150].to_vec()),
        ("frame", frame_of(b"")),
        ("frame", frame_of(b"1\tada\n")),
        ("frame", frame_of(&[b'x'; 4_000])),
        ("frame", frame_of(&[b'x'; 5_000])),
        ("frame", frame_of(&(0..=255).cycle().take(700).collect::<Vec<u8>>())),
        ("chunk_list", list_of(&[])),
        ("chunk_list", list_of(&[(StreamId::DOCUMENT, vec![entry(2)])])),
        ("chunk_list", list_of(&[(StreamId([9; 32]), vec![entry(1), entry(2)]), (StreamId::DOCUMENT, vec![])])),
        ("chunk_list", list_of(&[(StreamId::DOCUMENT, vec![entry(3)])])[..100].to_vec()),
        ("chunk_list", [&[0; 44][..], &[0xff; 4]].concat()),
        ("chunk_entry", entry_bytes(0)),
        ("chunk_entry", entry_bytes(1)),
        ("chunk_entry", vec![0; ENTRY_BYTES]),
        ("chunk_entry", vec![0xff; ENTRY_BYTES]),
        ("chunk_entry", [entry_bytes(2)[..116].to_vec(), vec![2]].concat()),
        ("link", link_of(1, None)),
        ("link", link_of(3, Some(Sha256Hex::of(b"before")))),
        ("link", link_of(0, None)),
        ("link", stored(link_of(1, None))),
        ("link", String::from_utf8(link_of(1, None)).unwrap().replace(":7,", ":8,").into_bytes()),
        ("manifest", manifest_of(|_| ())),
        ("manifest", manifest_of(|manifest| manifest.streams[0].rows = 3)),
        ("manifest", manifest_of(|manifest| manifest.streams.push(manifest.streams[0].clone()))),
        ("manifest", manifest_of(|manifest| manifest.blobs.clear())),
        ("manifest", manifest_of(|manifest| manifest.format = "HF2".to_owned())),
        ("key_record", record(b"wrapped")),
        ("key_record", record(b"")),
        ("key_record", record(&[0xff; 184])),
        ("key_record", key_record::encode(&context(9), b"wrapped")),
        ("key_record", [record(b"wrapped"), b" ".to_vec()].concat()),
        ("progress", progress_of(vec![])),
        ("progress", progress_of(vec![vec![segment(0, 1)], vec![]])),
        ("progress", progress_of(vec![vec![segment(0, 1), segment(153, 2)]])),
        ("progress", String::from_utf8(progress_of(vec![])).unwrap().replace("HF1", "HF2").into_bytes()),
        ("progress", progress_of(vec![vec![segment(u32::MAX, u32::MAX)]])),
    ]
}

/// What writers make is read; run with `--ignored` once to begin a corpus anew.
#[test]
#[ignore = "writes the corpus's seeds"]
fn seeds_are_written() {
    for (number, (name, seed)) in seeds().into_iter().enumerate() {
        fs::create_dir_all(corpus().join(name)).unwrap();
        fs::write(corpus().join(name).join(format!("seed-{number:02}")), seed).unwrap();
    }
}

#[test]
fn what_a_writer_makes_is_decoded() {
    for (name, seed) in seeds() {
        let (_, target) = TARGETS.iter().find(|(target, _)| *target == name).unwrap();
        target(&seed);
    }
    assert!(Manifest::read(&manifest_of(|_| ()), &owner()).is_ok());
    assert!(Link::read(&link_of(1, None), &vault(), tenant(), 7).is_ok());
    assert!(ProgressRecord::read(&progress_of(vec![]), &owner()).is_ok());
}
