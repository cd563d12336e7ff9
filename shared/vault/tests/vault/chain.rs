//! Every recovery point of a tenant has one place in its chain, and whatever is done to the chain is named.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use domain::ErrorCode;
use jiff::Timestamp;
use vault::{Fault, MemorySigning, MemoryStore, ObjectInfo, ObjectStore, StoreError, caps};

use crate::world::{Names, World, back_up, code, names};

fn link(tenant: Names, sequence: u64) -> String {
    format!("v1/t/{}/chain/{sequence:012}", tenant.tenant)
}

/// A world with a chain of `n` links of tenant 1.
async fn world_with(n: u128) -> (World, Names) {
    let world = World::new();
    for point in 1..=n {
        assert_eq!(world.back_up(names(1, point, point)).await.unwrap().point.sequence, point as u64);
    }
    (world, names(1, 1, 1))
}

/// Does something to a chain of four, and says what a check then finds.
async fn findings_after(act: impl FnOnce(&MemoryStore, &dyn Fn(u64) -> String)) -> Vec<String> {
    let (world, tenant) = world_with(4).await;
    act(&world.store, &|sequence| link(tenant, sequence));
    let findings = world.chain_findings(tenant, 4).await;
    findings.iter().map(|finding| finding.replace(&format!("v1/t/{}/chain/00000000000", tenant.tenant), "")).collect()
}

const OTHER_PREVIOUS: &str = "the chain is broken here: it names another link as the one before it";
const ROLLED_BACK: &str = "the chain is broken here: it ends before a recovery point that was published";

#[tokio::test]
async fn each_tenants_sequences_are_contiguous_and_an_untouched_chain_has_no_findings() {
    let world = World::new();
    for point in 1..=5_u64 {
        for tenant in [1, 2, 3] {
            let number = u128::from(point) * 10 + tenant;
            let parent = (point > 1 && tenant == 2).then_some(number - 10);
            let parent = match parent {
                Some(parent) => {
                    let bytes = world.store.objects()[&link(names(tenant, 0, 0), point - 1)].clone();
                    let link_sha256 = sha256_hex(&bytes);
                    Some(names(tenant, parent, parent).parent(&vault::PointRef { sequence: point - 1, link_sha256 }))
                }
                None => None,
            };
            let written = back_up(&world.vault, names(tenant, number, number), parent.as_ref()).await.unwrap();
            assert_eq!(written.point.sequence, point, "tenant {tenant}");
        }
    }
    for tenant in [1, 2, 3] {
        let report = world.vault.check_chain(names(tenant, 0, 0).tenant, 0, 5).await.unwrap();
        assert!(report.is_clean() && report.links == 5);
        let rest = world.vault.check_chain(names(tenant, 0, 0).tenant, 3, 5).await.unwrap();
        assert!(rest.is_clean() && rest.links == 2);
    }
    assert!(world.vault.check_chain(names(9, 0, 0).tenant, 0, 0).await.unwrap().is_clean(), "no links, none published");
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes))
}

#[tokio::test]
async fn runs_that_finish_at_once_each_get_a_place() {
    let world = World::new();
    let runs = (1..=8_u128).map(|n| {
        let vault = world.vault.clone();
        async move { back_up(&vault, names(1, n, n), None).await.unwrap().point.sequence }
    });
    let mut places = futures::future::join_all(runs).await;
    places.sort_unstable();
    assert_eq!(places, (1..=8).collect::<Vec<_>>());
    assert_eq!(world.chain_findings(names(1, 0, 0), 8).await, [""; 0]);
}

/// Repeats a put whose reply was lost, as an HTTP client does: the second answer is that the key is taken.
struct Repeating(Arc<MemoryStore>);

#[async_trait]
impl ObjectStore for Repeating {
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        match self.0.put_new(key, bytes.clone()).await {
            Err(StoreError::Unavailable { .. }) => self.0.put_new(key, bytes).await,
            answered => answered,
        }
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.0.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.0.get_range(key, offset, length).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        self.0.list(prefix, after).await
    }

    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        self.0.lock(key, at_least, until).await
    }
}

#[tokio::test]
async fn a_link_whose_reply_was_lost_takes_the_next_place_or_fences_the_run() {
    let (mut fenced, mut next) = (0, 0);
    // Of all the calls, which one loses its reply decides.
    for nth in 1..=9 {
        let world = World::new();
        let vault = world.over(Arc::new(Repeating(Arc::clone(&world.store))));
        world.store.fail_at(nth, Fault::After);
        let written = match back_up(&vault, names(1, 2, 3), None).await {
            Ok(written) => written,
            Err(error) => {
                let code = domain::Coded::code(&error);
                assert!(matches!(code, ErrorCode::Fenced | ErrorCode::StoreUnavailable), "{error}");
                fenced += u32::from(code == ErrorCode::Fenced);
                back_up(&vault, names(1, 2, 4), None).await.unwrap()
            }
        };
        assert!(!world.store.fault_pending());
        next += u32::from(written.point.sequence == 2);
        let run = names(1, 2, if written.point.sequence == 1 && world.stored("/keys/run_").len() == 2 { 4 } else { 3 });
        assert_eq!(world.findings(run, &written.point).await, [""; 0], "call {nth}");
        assert_eq!(world.chain_findings(run, written.point.sequence).await, [""; 0], "call {nth}");
    }
    assert_eq!((fenced, next), (4, 1), "key record, pack, list and manifest fence the run; the link moves on");
}

#[tokio::test]
async fn an_object_in_the_next_place_does_not_stop_the_chain_and_is_named() {
    let (world, tenant) = world_with(2).await;
    let intruders = [link(tenant, 3), link(tenant, 4)];
    world.store.overwrite(&intruders[0], "planted");
    world.store.overwrite(&intruders[1], world.store.objects()[&link(tenant, 2)].clone());
    assert_eq!(world.back_up(names(1, 5, 5)).await.unwrap().point.sequence, 5);
    assert_eq!(world.back_up(names(1, 6, 6)).await.unwrap().point.sequence, 6);
    let findings = world.chain_findings(tenant, 6).await;
    assert_eq!(findings.len(), 2, "{findings:?}");
    for (finding, intruder) in findings.iter().zip(&intruders) {
        assert!(finding.contains(intruder), "{finding}");
    }
}

#[tokio::test]
async fn an_object_far_ahead_does_not_stop_the_chain_and_is_one_finding() {
    let (world, tenant) = world_with(2).await;
    for place in [1_000_000, 999_999_999_999] {
        world.store.overwrite(&link(tenant, place), "planted");
    }
    for name in ["1000000000000", "18446744073709551615", "x", "000000000000"] {
        world.store.overwrite(&format!("v1/t/{}/chain/{name}", tenant.tenant), "planted");
    }
    assert_eq!(world.back_up(names(1, 3, 3)).await.unwrap().point.sequence, 3);
    let parent = names(1, 3, 3)
        .parent(&vault::PointRef { sequence: 3, link_sha256: sha256_hex(&world.store.objects()[&link(tenant, 3)]) });
    assert_eq!(back_up(&world.vault, names(1, 4, 4), Some(&parent)).await.unwrap().point.sequence, 4);
    let findings = world.chain_findings(tenant, 4).await;
    assert_eq!(findings.len(), 2, "{findings:?}");
}

#[tokio::test]
async fn however_many_intruders_there_are_the_next_run_finds_a_place() {
    let (world, tenant) = world_with(1).await;
    for place in 2..=caps::CHAIN_INTRUDERS_MAX + 1 {
        world.store.overwrite(&link(tenant, place), "planted");
    }
    assert_eq!(world.back_up(names(1, 2, 2)).await.unwrap().point.sequence, caps::CHAIN_INTRUDERS_MAX + 2);
    for place in 1_000..=1_000 + caps::CHAIN_INTRUDERS_MAX {
        world.store.overwrite(&link(tenant, place), "planted");
    }
    let parent = names(1, 2, 2).parent(&vault::PointRef {
        sequence: caps::CHAIN_INTRUDERS_MAX + 2,
        link_sha256: sha256_hex(&world.store.objects()[&link(tenant, caps::CHAIN_INTRUDERS_MAX + 2)]),
    });
    let next = back_up(&world.vault, names(1, 3, 3), Some(&parent)).await.unwrap();
    assert_eq!(next.point.sequence, caps::CHAIN_INTRUDERS_MAX + 3);
}

#[tokio::test]
async fn a_published_link_that_is_gone_is_not_replaced_by_the_next_run() {
    let (world, tenant) = world_with(3).await;
    world.store.remove(&link(tenant, 3));
    let fourth = names(1, 4, 4);
    let writer = world.vault.begin(fourth.tenant, fourth.point, fourth.run, None).await.unwrap();
    writer.behind(3);
    let written = writer.finish(serde_json::json!(null), crate::world::noon()).await.unwrap();
    assert_eq!(written.point.sequence, 4);
    let findings = world.chain_findings(tenant, 4).await;
    assert_eq!(findings.len(), 1, "the gap shows: {findings:?}");
}

#[tokio::test]
async fn a_lost_dedup_secret_is_not_replaced_by_another() {
    let (world, _) = world_with(1).await;
    let key = world.stored("/keys/dedup").remove(0);
    world.store.remove(&key);
    assert_eq!(code(world.back_up(names(1, 2, 2)).await), ErrorCode::NotAuthentic);
    assert_eq!(world.stored("/keys/dedup"), [""; 0]);
}

#[tokio::test]
async fn a_removed_link_is_named_and_so_is_the_end_that_was_cut_off() {
    let removed = |sequence: u64| findings_after(move |store, link| store.remove(&link(sequence)));
    for sequence in [1, 2, 3] {
        let expected = [format!("`{sequence}`: it is missing"), format!("`{}`: {OTHER_PREVIOUS}", sequence + 1)];
        assert_eq!(removed(sequence).await, expected);
    }
    assert_eq!(removed(4).await, [format!("`4`: {ROLLED_BACK}")]);
    let all = findings_after(|store, link| (1..=4).for_each(|sequence| store.remove(&link(sequence)))).await;
    assert_eq!(all, [format!("`4`: {ROLLED_BACK}")]);
}

#[tokio::test]
async fn links_that_were_replaced_or_traded_places_are_named() {
    let copied = findings_after(|store, link| store.overwrite(&link(3), store.objects()[&link(2)].clone())).await;
    assert_eq!(copied, ["`3`: it belongs to another place in the chain".to_owned(), format!("`4`: {OTHER_PREVIOUS}")]);
    let traded = findings_after(|store, link| {
        let objects = store.objects();
        store.overwrite(&link(2), objects[&link(3)].clone());
        store.overwrite(&link(3), objects[&link(2)].clone());
    })
    .await;
    let elsewhere = |sequence: u64| format!("`{sequence}`: it belongs to another place in the chain");
    assert_eq!(traded, [elsewhere(2), elsewhere(3), format!("`4`: {OTHER_PREVIOUS}")]);
    let flipped = findings_after(|store, link| {
        let mut bytes = store.objects()[&link(2)].to_vec();
        bytes[100] ^= 1;
        store.overwrite(&link(2), bytes);
    })
    .await;
    assert_eq!(flipped, ["`2`: its signature is not the vault's".to_owned(), format!("`3`: {OTHER_PREVIOUS}")]);
}

#[tokio::test]
async fn a_chain_that_was_rolled_back_and_grew_again_is_told_by_the_published_hash() {
    let (world, tenant) = world_with(3).await;
    let old = world.store.objects()[&link(tenant, 3)].clone();
    world.store.remove(&link(tenant, 3));
    let regrown = world.back_up(names(1, 33, 33)).await.unwrap().point;
    assert_eq!(regrown.sequence, 3);
    let published = vault::PointRef { sequence: 3, link_sha256: sha256_hex(&old) };
    assert_eq!(code(world.open(names(1, 3, 3), &published).await), ErrorCode::NotAuthentic);
    assert_eq!(world.findings(names(1, 33, 33), &regrown).await, [""; 0]);
}

#[tokio::test]
async fn another_tenants_link_is_no_link_of_ours() {
    let (world, tenant) = world_with(1).await;
    world.back_up(names(2, 2, 2)).await.unwrap();
    let theirs = world.store.objects()[&link(names(2, 0, 0), 1)].clone();
    world.store.overwrite(&link(tenant, 2), theirs);
    let findings = world.chain_findings(tenant, 1).await;
    assert_eq!(findings, [format!("`{}`: it belongs to another tenant", link(tenant, 2))]);
}

#[tokio::test]
async fn a_link_signed_by_another_key_is_refused_passed_over_and_named() {
    let (world, tenant) = world_with(1).await;
    let forger = world.signed_by(Arc::new(MemorySigning::new()));
    let forged = back_up(&forger, names(1, 2, 2), None).await.unwrap().point;
    assert_eq!(forged.sequence, 2);
    assert_eq!(code(world.open(names(1, 2, 2), &forged).await), ErrorCode::NotAuthentic);
    assert_eq!(code(back_up(&world.vault, names(1, 3, 3), Some(&names(1, 2, 2).parent(&forged))).await), ErrorCode::NotAuthentic);
    assert_eq!(world.back_up(names(1, 3, 4)).await.unwrap().point.sequence, 3);
    let findings = world.chain_findings(tenant, 3).await;
    assert_eq!(findings, [format!("`{}`: its signature is not the vault's", link(tenant, 2))]);
}
