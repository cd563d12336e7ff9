//! Manifests and lists that authenticate and yet do not say what the chunks hold.

use std::sync::Arc;

use domain::{RecoveryPointId, RunId};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    Manifest, MemoryKeys, MemorySigning, MemoryStore, StreamHeader, StreamSink, Vault,
    chunk::ChunkCodec,
    entry::ChunkEntry,
    frame::Framer,
    key_opener::KeyOpener,
    link::StoredObject,
    list::{ListBuilder, ListPlace},
    random::SystemRandom,
};

/// Writes three rows, lets `change` falsify the opened manifest and the stream's entries, and checks against them.
async fn check(share: Share, change: impl FnOnce(&mut Manifest, &mut Vec<ChunkEntry>)) -> Vec<Defect> {
    let (store, keys) = (Arc::new(MemoryStore::new()), Arc::new(MemoryKeys::new()));
    let vault = Vault::new(store.clone(), keys.clone(), Arc::new(MemorySigning::new()), "main".parse().unwrap());
    let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
    let (point, run) = (RecoveryPointId::from_uuid(Uuid::from_u128(2)), RunId::from_uuid(Uuid::from_u128(3)));
    let writer = vault.begin(tenant, point, run, None).await.unwrap();
    let (name, columns) = ("people".to_owned(), vec!["id".to_owned()]);
    let stream = writer.open(StreamHeader { digest_name: name.clone(), name, columns, key_columns: vec![0] }).unwrap();
    let mut slice = stream.slice().unwrap();
    slice.rows(b"1\n2\n2\n".as_slice().into()).await.unwrap();
    slice.end().await.unwrap();
    stream.end().await.unwrap();
    let reference = writer.finish(json!(null), "2026-11-23T12:00:00Z".parse().unwrap()).await.unwrap().point;

    let opened = vault.open(tenant, point, &reference).await.ok().unwrap();
    let (mut link, mut manifest, secret) = (opened.link().clone(), opened.manifest().clone(), opened.tenant_secret().clone());
    let stream = StreamId::of(&secret.rows_key(&manifest.streams[0].header));
    let mut entries = opened.lists().segment(&manifest.streams[0].slices[0].segments[0], stream).await.unwrap();
    change(&mut manifest, &mut entries);
    let mut list = ListBuilder::default();
    list.push(stream, &entries);
    let place = ListPlace { vault: vault.id(), tenant, run, number: 0 };
    let sealed = list.seal(&place, &secret, &mut Framer::new(), &SystemRandom).unwrap();
    link.lists = vec![StoredObject::of(&sealed)];
    store.overwrite(&layout::list(tenant, run, 0), sealed);

    let opener = KeyOpener { store: store.clone(), keys, vault: vault.id().clone(), tenant };
    let key = opener.content(run).await.unwrap();
    let codec = ChunkCodec { vault: vault.id().clone(), tenant, secret, key };
    let falsified = PointReader::new(store, opener, codec, link, manifest);
    let report = super::point(Ok(falsified), tenant, &reference, Reading::Share(share)).await.unwrap();
    assert_eq!(report.is_clean(), report.streams == 1, "a stream counts only when nothing is wrong with it");
    report.findings.into_iter().map(|finding| finding.defect).collect()
}

/// Falsifies the stream's one entry.
async fn check_entry(change: impl FnOnce(&mut ChunkEntry)) -> Vec<Defect> {
    check(Share::ALL, |_, entries| change(&mut entries[0])).await
}

#[tokio::test]
async fn an_honest_manifest_has_no_findings() {
    assert_eq!(check(Share::ALL, |_, _| {}).await, []);
}

#[tokio::test]
async fn another_row_count_is_found() {
    let expected = [Defect::WrongRowCount { expected: 2, found: 3 }];
    let falsify = |manifest: &mut Manifest, _: &mut Vec<_>| manifest.streams[0].slices[0].rows = 2;
    assert_eq!(check(Share::ALL, falsify).await, expected);
    let no_share = [Share::new(1, 1 << 20).unwrap(), Share::new(2, 1 << 20).unwrap()];
    for share in no_share {
        assert_eq!(check(share, falsify).await, expected, "without reading a chunk");
    }
}

#[tokio::test]
async fn a_lost_slice_or_segment_is_found() {
    let lose_segments = |manifest: &mut Manifest, _: &mut Vec<_>| manifest.streams[0].slices[0].segments.clear();
    assert_eq!(check(Share::ALL, lose_segments).await, [Defect::WrongRowCount { expected: 3, found: 0 }]);
    let lose_slices = |manifest: &mut Manifest, _: &mut Vec<_>| manifest.streams[0].slices.clear();
    assert_eq!(check(Share::ALL, lose_slices).await, [Defect::WrongDigest]);
}

#[tokio::test]
async fn another_digest_is_found() {
    let zero = |manifest: &mut Manifest, _: &mut Vec<_>| manifest.streams[0].digest = RowsDigest::ZERO;
    assert_eq!(check(Share::ALL, zero).await, [Defect::WrongDigest]);
    let rename = |manifest: &mut Manifest, _: &mut Vec<_>| manifest.streams[0].header.digest_name.push('x');
    assert_eq!(check(Share::ALL, rename).await, [Defect::BelongsElsewhere("stream")]);
}

#[tokio::test]
async fn an_entry_that_lies_about_its_rows_is_found() {
    assert_eq!(check_entry(|entry| entry.rows = 2).await.first(), Some(&Defect::WrongRowCount { expected: 2, found: 3 }));
    assert_eq!(check_entry(|entry| entry.digest = RowsDigest::ZERO).await, [Defect::WrongDigest]);
    let mid_row = Defect::WrongRowCount { expected: 3, found: 3 };
    assert_eq!(check_entry(|entry| entry.continues = true).await, [mid_row]);
    // Both the manifest and the list agree on a lie: only the rows themselves tell.
    let lie = |manifest: &mut Manifest, entries: &mut Vec<ChunkEntry>| {
        entries[0].digest = RowsDigest::ZERO;
        manifest.streams[0].digest = RowsDigest::ZERO;
    };
    assert_eq!(check(Share::ALL, lie).await, [Defect::WrongDigest]);
}

#[tokio::test]
async fn an_entry_that_lies_about_its_place_is_found() {
    assert_eq!(check_entry(|entry| entry.plaintext_bytes += 1).await, [Defect::WrongSize]);
    assert_eq!(check_entry(|entry| entry.plaintext_bytes -= 1).await, [Defect::Malformed("more plaintext than allowed")]);
    assert_eq!(check_entry(|entry| entry.id = ChunkId::from_bytes([7; 32])).await, [Defect::WrongTag]);
    assert_eq!(check_entry(|entry| entry.length -= 1).await, [Defect::WrongTag]);
    let outside = [Defect::Malformed("chunk list: a chunk outside its pack")];
    assert_eq!(check_entry(|entry| entry.offset += 1).await, outside);
    assert_eq!(check_entry(|entry| entry.offset = u32::MAX).await, outside);
    assert_eq!(check_entry(|entry| entry.pack = 1).await, outside);
    assert_eq!(check_entry(|entry| entry.plaintext_bytes = 0).await, [Defect::Malformed("chunk list: entry")]);
}

#[tokio::test]
async fn a_segment_that_is_not_there_is_found() {
    let falsified = async |change: fn(&mut Segment)| {
        check(Share::ALL, |manifest, _| change(&mut manifest.streams[0].slices[0].segments[0])).await
    };
    assert_eq!(falsified(|segment| segment.chunks = 2).await, [Defect::Malformed("chunk list: another number of chunks")]);
    assert_eq!(falsified(|segment| segment.offset = 1).await, [Defect::Malformed("chunk list: cut short")]);
    assert_eq!(falsified(|segment| segment.offset = 1 << 30).await, [Defect::Malformed("chunk list: no segment there")]);
    assert_eq!(falsified(|segment| segment.list = 1).await, [Defect::Malformed("a list that the link does not have")]);
}
