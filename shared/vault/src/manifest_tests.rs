//! The manifest's spelling, its place, and references that point nowhere.

use domain::PackId;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{keys::SecretKey, random::SystemRandom, rows_digest::RowsHasher, tenant_secret::TenantSecret};

fn owner(tenant: u128, point: u128, run: u128) -> Owner {
    Owner {
        vault: "main".parse().unwrap(),
        tenant: VaultTenantId::from_uuid(Uuid::from_u128(tenant)),
        point: RecoveryPointId::from_uuid(Uuid::from_u128(point)),
        run: RunId::from_uuid(Uuid::from_u128(run)),
    }
}

fn key(run: u128) -> ContentKey {
    ContentKey { run: RunId::from_uuid(Uuid::from_u128(run)), key: SecretKey::from_slice(&[3; 32]).unwrap() }
}

fn sample(owner: &Owner) -> Manifest {
    let secret = TenantSecret::new(&SecretKey::from_slice(&[1; 32]).unwrap());
    let header = StreamHeader {
        name: "app.people".to_owned(),
        digest_name: "people".to_owned(),
        columns: vec!["id".to_owned(), "name".to_owned()],
        key_columns: vec![0],
    };
    let chunk = |offset, rows, continues| ChunkRef {
        id: ChunkId::of(b"rows", &secret),
        pack: 0,
        offset,
        length: 300,
        plaintext_bytes: 40,
        rows,
        continues,
    };
    let mut manifest = Manifest::new(owner, "2026-11-23T02:15:00Z".parse().unwrap(), json!({"engine": "PostgreSQL 15"}));
    let digest = RowsHasher::new(&secret, &header).digest();
    manifest.streams.push(StreamEntry { header, rows: 2, digest, chunks: vec![chunk(0, 1, true), chunk(300, 1, false)] });
    manifest.blobs.push(BlobEntry { name: "pre-data".to_owned(), plaintext_bytes: 40, chunks: vec![chunk(600, 0, false)] });
    let pack = PackEntry { id: PackId::from_uuid(Uuid::from_u128(9)), run: owner.run, stored_bytes: 900 };
    manifest.packs.push(pack);
    manifest
}

fn sealed(manifest: &Manifest, owner: &Owner) -> Vec<u8> {
    manifest.seal(owner, &key(3), &mut Framer::new(), &SystemRandom).unwrap()
}

#[test]
fn a_manifest_is_spelt_as_the_format_says() {
    let zero = |digits| "0".repeat(digits);
    let written = serde_json::to_value(sample(&owner(1, 2, 3))).unwrap();
    let id = ChunkId::of(b"rows", &TenantSecret::new(&SecretKey::from_slice(&[1; 32]).unwrap())).to_string();
    let chunk = json!({"id": id, "pack": 0, "offset": 600, "length": 300, "plaintext_bytes": 40});
    let expected = json!({
        "format": "HF1",
        "vault": "main",
        "tenant": "vt_00000000-0000-0000-0000-000000000001",
        "point": "rp_00000000-0000-0000-0000-000000000002",
        "run": "run_00000000-0000-0000-0000-000000000003",
        "written_at": "2026-11-23T02:15:00Z",
        "facts": {"engine": "PostgreSQL 15"},
        "streams": [{
            "header": {"name": "app.people", "digest_name": "people", "columns": ["id", "name"], "key_columns": [0]},
            "rows": 2,
            "digest": zero(128),
            "chunks": [
                {"id": id, "pack": 0, "offset": 0, "length": 300, "plaintext_bytes": 40, "rows": 1, "continues": true},
                {"id": id, "pack": 0, "offset": 300, "length": 300, "plaintext_bytes": 40, "rows": 1}
            ]
        }],
        "blobs": [{"name": "pre-data", "plaintext_bytes": 40, "chunks": [chunk]}],
        "packs": [{"id": "pk_00000000-0000-0000-0000-000000000009", "run": "run_00000000-0000-0000-0000-000000000003", "stored_bytes": 900}]
    });
    assert_eq!(written, expected);
}

#[test]
fn a_manifest_opens_in_its_place_and_nowhere_else() {
    let home = owner(1, 2, 3);
    let manifest = sample(&home);
    let sealed = sealed(&manifest, &home);
    assert_eq!(Manifest::open(&sealed, &home, &key(3)), Ok(manifest));
    for elsewhere in [owner(9, 2, 3), owner(1, 9, 3), owner(1, 2, 9)] {
        assert_eq!(Manifest::open(&sealed, &elsewhere, &key(3)), Err(Defect::WrongTag));
    }
}

#[test]
fn a_manifest_that_speaks_of_another_owner_is_refused_even_when_sealed_here() {
    let home = owner(1, 2, 3);
    let check = |theirs: Owner, what| {
        let mut manifest = sample(&home);
        (manifest.tenant, manifest.point, manifest.run) = (theirs.tenant, theirs.point, theirs.run);
        assert_eq!(Manifest::open(&sealed(&manifest, &home), &home, &key(3)), Err(Defect::BelongsElsewhere(what)));
    };
    check(owner(9, 2, 3), "tenant");
    check(owner(1, 9, 3), "recovery point");
    check(owner(1, 2, 9), "run");
}

#[test]
fn references_that_point_nowhere_are_refused() {
    let home = owner(1, 2, 3);
    let check = |change: &dyn Fn(&mut Manifest), expected: Defect| {
        let mut manifest = sample(&home);
        change(&mut manifest);
        assert_eq!(Manifest::open(&sealed(&manifest, &home), &home, &key(3)), Err(expected));
    };
    let references = Defect::Malformed("manifest references");
    check(&|m| m.streams[0].chunks[0].pack = 1, references.clone());
    check(&|m| m.streams[0].chunks[1].offset = u32::MAX, references.clone());
    check(&|m| m.packs[0].stored_bytes = 899, references.clone());
    check(&|m| m.streams[0].chunks[0].plaintext_bytes = 0, references.clone());
    check(&|m| m.streams[0].chunks[0].plaintext_bytes = 5 << 20, references.clone());
    check(&|m| m.blobs[0].plaintext_bytes = 41, references.clone());
    check(&|m| m.streams[0].header.key_columns = vec![2], references);
    check(&|m| m.streams.push(m.streams[0].clone()), Defect::Malformed("manifest names"));
    check(&|m| m.packs[0].run = owner(1, 2, 9).run, Defect::BelongsElsewhere("run's pack"));
    check(&|m| m.format = "HF2".to_owned(), Defect::Malformed("manifest of another format"));
}
