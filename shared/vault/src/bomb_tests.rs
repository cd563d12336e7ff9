//! Authentic objects that would unpack to far more than they may are refused, in little memory.

use std::{fs, process::Command};

use domain::{RunId, VaultId, VaultTenantId};
use uuid::Uuid;
use zstd::bulk;

use super::*;

const MIB: usize = 1 << 20;

/// Seals a frame as it stands, whatever is in it.
fn sealed_frame(key: &SealingKey, place: &Place<'_>, frame: &[u8]) -> Vec<u8> {
    let salt = [7; 32];
    let derived = Derived::new(key, place.object_type, &salt);
    let header = [&MAGIC[..], &[SUITE, place.object_type as u8], key.record.as_bytes(), &salt, derived.commitment()].concat();
    let mut sealed = frame.to_vec();
    let aad = Aad::from(associated_data(&header, place));
    derived.cipher().seal_in_place_append_tag(zero_nonce(), aad, &mut sealed).unwrap();
    [header, sealed].concat()
}

/// A frame of that codec and payload, padded as it must be.
fn frame_of(codec: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes().to_vec();
    frame.push(codec);
    frame.extend_from_slice(payload);
    frame.resize(frame::padded(frame.len()), 0);
    frame
}

/// A zstd frame without a declared size.
fn streamed(bytes: usize) -> Vec<u8> {
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), bytes as u64), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

/// Frames that would unpack to far more than 4 MiB, or say they would, and how each is refused.
fn bombs() -> Vec<(&'static str, Vec<u8>, Defect)> {
    let bomb = bulk::compress(&vec![0; 128 * MIB], 19).unwrap();
    assert!(bomb.len() * 8_000 < 128 * MIB);
    // The declared size of a large frame is four bytes at offset 6, behind the window.
    let mut lying = bomb.clone();
    assert_eq!(lying[6..10], (128 * MIB as u32).to_le_bytes());
    lying[6..10].copy_from_slice(&(4 * MIB as u32).to_le_bytes());
    let two = [bulk::compress(&[0; 10], 3).unwrap(), bomb.clone()].concat();
    let mut huge = frame_of(0, b"rows");
    huge[..4].fill(0xff);
    let more = Defect::Malformed("more plaintext than allowed");
    vec![
        ("an honest bomb", frame_of(1, &bomb), more.clone()),
        ("a bomb that declares less than it holds", frame_of(1, &lying), Defect::Malformed("zstd")),
        ("a bomb behind a small frame", frame_of(1, &two), Defect::Malformed("zstd")),
        ("a bomb of undeclared size", frame_of(1, &streamed(128 * MIB)), Defect::Malformed("zstd frame without a size")),
        ("a length far beyond the end", huge, Defect::Malformed("length beyond the end")),
        ("more raw bytes than allowed", frame_of(0, &vec![0; 4 * MIB + 1]), more),
    ]
}

/// The most memory that this process has held.
fn peak_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// The peak says something only where nothing else runs, so the test runs itself again in a process of its own.
#[test]
fn bombs_are_refused_in_little_memory() {
    const NAME: &str = "envelope::bomb_tests::bombs_are_refused_in_little_memory";
    if !std::env::args().any(|arg| arg == "--exact") {
        let alone = Command::new(std::env::current_exe().unwrap()).args([NAME, "--exact", "--nocapture"]).output().unwrap();
        let output = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && output.contains("1 passed"), "{output}{}", String::from_utf8_lossy(&alone.stderr));
        return;
    }
    let (vault, tenant): (VaultId, _) = ("main".parse().unwrap(), VaultTenantId::from_uuid(Uuid::from_u128(1)));
    let place = Place { vault: &vault, tenant, object_type: ObjectType::Chunk, object_id: b"id" };
    let key = SealingKey::content(RunId::from_uuid(Uuid::from_u128(1)), SecretKey::from_slice(&[1; 32]).unwrap());
    let sealed: Vec<_> =
        bombs().into_iter().map(|(name, frame, defect)| (name, sealed_frame(&key, &place, &frame), defect)).collect();
    // Making the bombs took more than refusing them may: from here on the peak counts anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = peak_bytes();
    for (name, sealed, defect) in &sealed {
        assert_eq!(open(&key, &place, sealed, 4 * MIB).as_ref(), Err(defect), "{name}");
    }
    let grown = peak_bytes() - before;
    println!("{} bombs refused in {} KiB more", sealed.len(), grown / 1_024);
    assert!(grown < 10 * MIB, "one copy of the sealed bytes and one buffer of the limit, but {grown}");
}
