//! Manifests that authenticate and yet do not say what the chunks hold.

use std::sync::Arc;

use domain::{RecoveryPointId, RunId, VaultTenantId};
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{
    Manifest, MemoryKeys, MemoryStore, StreamHeader, StreamSink, Vault,
    chunk::ChunkCodec,
    envelope::ContentKey,
    key_record,
    keys::{KeyContext, KeyService},
    store::ObjectStore,
};

/// Writes three rows, lets `change` falsify the opened manifest, and checks against it.
async fn check(change: impl FnOnce(&mut Manifest)) -> Vec<Defect> {
    let (store, keys) = (Arc::new(MemoryStore::new()), Arc::new(MemoryKeys::new()));
    let vault = Vault::new(store.clone(), keys.clone(), "main".parse().unwrap());
    let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
    let (point, run) = (RecoveryPointId::from_uuid(Uuid::from_u128(2)), RunId::from_uuid(Uuid::from_u128(3)));
    let mut writer = vault.begin(tenant, point, run).await.unwrap();
    let (name, columns) = ("people".to_owned(), vec!["id".to_owned()]);
    writer.begin_stream(StreamHeader { digest_name: name.clone(), name, columns, key_columns: vec![0] }).await.unwrap();
    writer.rows(b"1\n2\n2\n").await.unwrap();
    writer.end_stream().await.unwrap();
    let reference = writer.finish(json!(null), "2026-11-23T12:00:00Z".parse().unwrap()).await.unwrap().manifest;

    let opened = vault.open(tenant, point, &reference).await.ok().unwrap();
    let context = KeyContext::content(vault.id().clone(), tenant, run);
    let record = store.get(&layout::content_record(tenant, run)).await.unwrap();
    let key = keys.unwrap_key(&key_record::decode(&record, &context).unwrap(), &context).await.ok().unwrap();
    let (key, secret) = (ContentKey { run, key }, opened.tenant_secret().clone());
    let mut manifest = opened.manifest().clone();
    change(&mut manifest);
    let falsified = PointReader::new(store, ChunkCodec { vault: vault.id().clone(), tenant, secret, key }, manifest);
    super::point(Ok(falsified), &reference).await.unwrap().findings.into_iter().map(|finding| finding.defect).collect()
}

#[tokio::test]
async fn an_honest_manifest_has_no_findings() {
    assert_eq!(check(|_| {}).await, []);
}

#[tokio::test]
async fn another_row_count_is_found() {
    assert_eq!(check(|manifest| manifest.streams[0].rows = 2).await, [Defect::WrongRowCount { expected: 2, found: 3 }]);
}

#[tokio::test]
async fn a_lost_chunk_reference_is_found() {
    let defects = check(|manifest| manifest.streams[0].chunks.clear()).await;
    assert_eq!(defects, [Defect::WrongRowCount { expected: 3, found: 0 }]);
}

#[tokio::test]
async fn another_digest_is_found() {
    let zero = "0".repeat(128).parse().unwrap();
    assert_eq!(check(|manifest| manifest.streams[0].digest = zero).await, [Defect::WrongDigest]);
    assert_eq!(check(|manifest| manifest.streams[0].header.digest_name.push('x')).await, [Defect::WrongDigest]);
}

#[tokio::test]
async fn another_plaintext_size_is_found() {
    assert_eq!(check(|manifest| manifest.streams[0].chunks[0].plaintext_bytes += 1).await, [Defect::WrongSize]);
    let smaller = Defect::Malformed("more plaintext than allowed");
    assert_eq!(check(|manifest| manifest.streams[0].chunks[0].plaintext_bytes -= 1).await, [smaller]);
}
