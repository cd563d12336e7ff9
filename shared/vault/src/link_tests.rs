//! A link's spelling, its signature and its place.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::{MemorySigning, SigningService, sha256::sha256};

fn tenant(n: u128) -> VaultTenantId {
    VaultTenantId::from_uuid(Uuid::from_u128(n))
}

fn sample() -> Link {
    let run = RunId::from_uuid(Uuid::from_u128(3));
    let content = LinkContent {
        vault: "main".parse().unwrap(),
        tenant: tenant(1),
        point: RecoveryPointId::from_uuid(Uuid::from_u128(2)),
        run,
        manifest: StoredObject::of(b"manifest"),
        lists: vec![StoredObject::of(b"list")],
        packs: vec![PackEntry { id: PackId::from_uuid(Uuid::from_u128(9)), run, stored_bytes: 900 }],
    };
    Link::new(content, 7, Some(Sha256Hex::of(b"before")))
}

struct Signer(Arc<MemorySigning>);

impl Signer {
    fn new() -> Self {
        Self(Arc::new(MemorySigning::new()))
    }

    async fn sign(&self, line: Vec<u8>) -> Vec<u8> {
        let signature = self.0.sign(sha256(&line)).await.unwrap();
        Link::encode(line, &signature)
    }

    async fn open(&self, stored: &[u8]) -> Result<Link, Defect> {
        Link::open(stored, &self.0.public_key().await.unwrap(), &"main".parse().unwrap(), tenant(1), 7)
    }
}

#[tokio::test]
async fn a_link_is_spelt_as_the_format_says() {
    let line = String::from_utf8(sample().line()).unwrap();
    let sha256 = |bytes: &[u8]| Sha256Hex::of(bytes).to_string();
    let run = "run_00000000-0000-0000-0000-000000000003";
    let expected = [
        r#"{"format":"HF1 link","vault":"main","tenant":"vt_00000000-0000-0000-0000-000000000001","sequence":7,"#.to_owned(),
        format!(r#""previous":"{}","point":"rp_00000000-0000-0000-0000-000000000002","run":"{run}","#, sha256(b"before")),
        format!(r#""manifest":{{"sha256":"{}","stored_bytes":8}},"#, sha256(b"manifest")),
        format!(r#""lists":[{{"sha256":"{}","stored_bytes":4}}],"#, sha256(b"list")),
        format!(r#""packs":[{{"id":"pk_00000000-0000-0000-0000-000000000009","run":"{run}","stored_bytes":900}}]}}"#),
    ];
    assert_eq!(line, expected.concat());
    let signer = Signer::new();
    let stored = signer.sign(sample().line()).await;
    assert_eq!(stored.iter().filter(|byte| **byte == b'\n').count(), 2);
    assert!(stored.starts_with(line.as_bytes()) && stored.ends_with(b"\n"));
    assert_eq!(signer.open(&stored).await, Ok(sample()));
}

#[tokio::test]
async fn every_byte_of_a_link_flipped_cut_or_added_is_refused() {
    let signer = Signer::new();
    let stored = signer.sign(sample().line()).await;
    let mut cases = 0;
    for at in 0..stored.len() {
        for bit in 0..8 {
            let mut changed = stored.clone();
            changed[at] ^= 1 << bit;
            assert!(signer.open(&changed).await.is_err(), "bit {bit} of byte {at}");
            cases += 1;
        }
        assert!(signer.open(&stored[..at]).await.is_err(), "cut to {at} bytes");
    }
    for extra in [&b"\n"[..], b" ", b"x\n", &stored] {
        assert!(signer.open(&[&stored, extra].concat()).await.is_err());
        assert!(signer.open(&[extra, &stored].concat()).await.is_err());
    }
    assert_eq!(cases, 8 * stored.len());
}

#[tokio::test]
async fn another_keys_signature_is_refused() {
    let (ours, theirs) = (Signer::new(), Signer::new());
    let stored = theirs.sign(sample().line()).await;
    assert_eq!(ours.open(&stored).await, Err(Defect::WrongSignature));
    // Nor does a signature of ours over another line serve.
    let other = ours.sign(Link { sequence: 8, ..sample() }.line()).await;
    let signature = other.split(|byte| *byte == b'\n').nth(1).unwrap();
    let transplanted = [&sample().line(), &b"\n"[..], signature, b"\n"].concat();
    assert_eq!(ours.open(&transplanted).await, Err(Defect::WrongSignature));
}

#[tokio::test]
async fn a_signed_link_of_another_place_or_spelling_is_refused() {
    let signer = Signer::new();
    let refused = async |link: Link| signer.open(&signer.sign(link.line()).await).await.unwrap_err();
    assert_eq!(refused(Link { sequence: 8, ..sample() }).await, Defect::BelongsElsewhere("place in the chain"));
    assert_eq!(refused(Link { tenant: tenant(9), ..sample() }).await, Defect::BelongsElsewhere("tenant"));
    assert_eq!(refused(Link { vault: "other".parse().unwrap(), ..sample() }).await, Defect::BelongsElsewhere("vault"));
    let other_format = Defect::Malformed("link of another format or spelling");
    assert_eq!(refused(Link { format: "HF2 link".to_owned(), ..sample() }).await, other_format);

    let spelt = String::from_utf8(sample().line()).unwrap();
    for (from, to, defect) in [
        (":7", ": 7", other_format),
        ("\"sequence\":7", "\"sequence\":7,\"sequence\":7", Defect::Malformed("link")),
        ("\"sequence\"", "\"more\":1,\"sequence\"", Defect::Malformed("link")),
        (":7", ":-7", Defect::Malformed("link")),
        (":7", ":7.0", Defect::Malformed("link")),
    ] {
        let stored = signer.sign(spelt.replacen(from, to, 1).into_bytes()).await;
        assert_eq!(signer.open(&stored).await, Err(defect), "{to}");
    }
}
