//! The manifest's spelling, its place, and counts that do not add up.

use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::{keys::SecretKey, random::SystemRandom};

fn owner(tenant: u128, point: u128, run: u128) -> Owner {
    Owner {
        vault: "main".parse().unwrap(),
        tenant: VaultTenantId::from_uuid(Uuid::from_u128(tenant)),
        point: RecoveryPointId::from_uuid(Uuid::from_u128(point)),
        run: RunId::from_uuid(Uuid::from_u128(run)),
    }
}

fn key(run: u128) -> SealingKey {
    SealingKey::content(RunId::from_uuid(Uuid::from_u128(run)), SecretKey::from_slice(&[3; 32]).unwrap())
}

fn sample(owner: &Owner) -> Manifest {
    let header = StreamHeader {
        name: "app.people".to_owned(),
        digest_name: "people".to_owned(),
        columns: vec!["id".to_owned(), "name".to_owned()],
        key_columns: vec![0],
    };
    let slice = |rows, offset| SliceEntry { rows, segments: vec![Segment { list: 0, offset, chunks: 1 }] };
    let mut manifest = Manifest::new(owner, "2026-11-23T02:15:00Z".parse().unwrap(), json!({"engine": "PostgreSQL 15"}));
    let slices = vec![slice(2, 0), slice(1, 153)];
    manifest.streams.push(StreamEntry { header, rows: 3, digest: RowsDigest::ZERO, slices });
    let segments = vec![Segment { list: 0, offset: 306, chunks: 1 }];
    manifest.blobs.push(BlobEntry { name: "pre-data".to_owned(), plaintext_bytes: 40, segments });
    manifest
}

fn sealed(manifest: &Manifest, owner: &Owner) -> Vec<u8> {
    manifest.seal(owner, &key(3), &mut Framer::new(), &SystemRandom).unwrap()
}

#[test]
fn a_manifest_is_spelt_as_the_format_says() {
    let written = serde_json::to_value(sample(&owner(1, 2, 3))).unwrap();
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
            "rows": 3,
            "digest": "0".repeat(128),
            "slices": [
                {"rows": 2, "segments": [{"list": 0, "offset": 0, "chunks": 1}]},
                {"rows": 1, "segments": [{"list": 0, "offset": 153, "chunks": 1}]}
            ]
        }],
        "blobs": [{"name": "pre-data", "plaintext_bytes": 40, "segments": [{"list": 0, "offset": 306, "chunks": 1}]}]
    });
    assert_eq!(written, expected);
}

#[test]
fn a_manifest_with_a_field_of_a_later_version_is_read() {
    let home = owner(1, 2, 3);
    let mut later = serde_json::to_value(sample(&home)).unwrap();
    later["tomorrow"] = json!({"deep": [1]});
    later["streams"][0]["tomorrow"] = json!(1);
    let id = home.object_id();
    let place = home.place(ObjectType::Manifest, &id);
    let sealed = envelope::seal(&key(3), &place, later.to_string().as_bytes(), &mut Framer::new(), &SystemRandom).unwrap();
    assert_eq!(Manifest::open(&sealed, &home, &key(3)), Ok(sample(&home)));
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

/// Opens a manifest that was falsified and then sealed in its place.
fn falsified(change: impl FnOnce(&mut Manifest)) -> Result<Manifest, Defect> {
    let home = owner(1, 2, 3);
    let mut manifest = sample(&home);
    change(&mut manifest);
    Manifest::open(&sealed(&manifest, &home), &home, &key(3))
}

#[test]
fn a_manifest_that_speaks_of_another_owner_is_refused_even_when_sealed_here() {
    let other = owner(9, 9, 9);
    assert_eq!(falsified(|manifest| manifest.vault = "other".parse().unwrap()), Err(Defect::BelongsElsewhere("vault")));
    assert_eq!(falsified(|manifest| manifest.tenant = other.tenant), Err(Defect::BelongsElsewhere("tenant")));
    assert_eq!(falsified(|manifest| manifest.point = other.point), Err(Defect::BelongsElsewhere("recovery point")));
    assert_eq!(falsified(|manifest| manifest.run = other.run), Err(Defect::BelongsElsewhere("run")));
}

#[test]
fn counts_and_names_beyond_the_format_are_refused() {
    let counts = Err(Defect::Malformed("manifest counts"));
    assert_eq!(falsified(|manifest| manifest.streams[0].rows = 4), counts);
    assert_eq!(falsified(|manifest| manifest.streams[0].slices[0].rows = u64::MAX), counts);
    assert_eq!(falsified(|manifest| manifest.streams[0].header.key_columns = vec![2]), counts);
    assert_eq!(falsified(|manifest| manifest.streams[0].header.name.clear()), counts);
    let empty = SliceEntry { rows: 0, segments: Vec::new() };
    assert_eq!(falsified(|manifest| manifest.streams[0].slices.resize(caps::SLICES_PER_STREAM_MAX + 1, empty)), counts);
    assert_eq!(falsified(|manifest| manifest.blobs[0].plaintext_bytes = caps::BLOB_BYTES_MAX as u64 + 1), counts);

    let names = Err(Defect::Malformed("manifest names"));
    assert_eq!(falsified(|manifest| manifest.streams.push(manifest.streams[0].clone())), names);
    assert_eq!(falsified(|manifest| manifest.blobs.push(manifest.blobs[0].clone())), names);
    let format = Err(Defect::Malformed("manifest of another format"));
    assert_eq!(falsified(|manifest| manifest.format = "HF2".to_owned()), format);
}
