//! The memory of a tenant with very many files: a program of its own, since the memory of a process is what is measured.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod file_store;

use std::{fs, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use domain::{ErrorReport, RecoveryPointId, RunId, VaultTenantId};
use file_store::FileStore;
use futures::{Stream, StreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use sources::{
    SourceError,
    media::{self, ObjectVersion, restore, restore::Bucket},
};
use uuid::Uuid;
use vault::{Digester, MemoryKeys, MemorySigning, MemoryStore, ObjectStore, Vault};

/// What recording, or comparing, any number of files may take.
const MEMORY_MAX_KIB: u64 = 256 << 10;
/// What twice as many files may take more where nothing is stored: the allocator is not exact.
const GROWTH_MAX_KIB: u64 = 4 << 10;

/// A tenant's files: each tenth has an older version.
#[derive(Clone, Copy)]
struct Files {
    count: u64,
    /// Bytes of each version that do not compress.
    noise_bytes: usize,
}

impl Files {
    fn all(self) -> impl Stream<Item = Result<ObjectVersion, SourceError>> + Send {
        let of_key = move |number: u64| {
            let versions = if number.is_multiple_of(10) { 2 } else { 1 };
            (0..versions).map(move |age| Ok(version(number, age, self.noise_bytes)))
        };
        stream::iter((0..self.count).flat_map(of_key))
    }
}

fn version(number: u64, age: u32, noise_bytes: usize) -> ObjectVersion {
    let mut noise = vec![0; noise_bytes];
    blake3::Hasher::new().update(format!("{number} {age}").as_bytes()).finalize_xof().fill(&mut noise);
    // Neither do ids and entity tags, as in a real bucket.
    let id = blake3::hash(format!("{number} {age}").as_bytes()).to_hex();
    ObjectVersion {
        key: format!("uploads/{:03}/{number:09} of a customer.jpeg", number / 10_000),
        age,
        version_id: id[..32].to_owned(),
        delete_marker: false,
        modified_at: "2026-11-23T02:15:00Z".to_owned(),
        size_bytes: number,
        etag: Some(id[32..].to_owned()),
        checksums: std::collections::BTreeMap::new(),
        storage_class: Some("STANDARD".to_owned()),
        content_type: None,
        encryption: None,
        metadata: std::collections::BTreeMap::new(),
        tags: [("class".to_owned(), "public".to_owned()), ("noise".to_owned(), hex::encode(noise))].into(),
    }
}

/// The same files, all live; nothing is to be changed.
struct Unchanged(Files);

#[async_trait]
impl Bucket for Unchanged {
    fn place(&self) -> String {
        "files".to_owned()
    }

    async fn check_keeps_versions(&self) -> Result<(), ErrorReport> {
        Ok(())
    }

    fn history(&self) -> BoxStream<'_, Result<ObjectVersion, ErrorReport>> {
        self.0.all().map(|version| version.map_err(ErrorReport::from)).boxed()
    }

    async fn is_copy(&self, _: &ObjectVersion, _: &ObjectVersion) -> Result<bool, ErrorReport> {
        unreachable!("nothing was copied")
    }

    async fn copy_forward(&self, _: &ObjectVersion, _: Option<&ObjectVersion>) -> Result<Option<String>, ErrorReport> {
        unreachable!("nothing is to be returned")
    }

    async fn mark_deleted(&self, _: &ObjectVersion) -> Result<(), ErrorReport> {
        unreachable!("nothing is to be destroyed")
    }
}

/// Runs something and gives the most memory that the process held meanwhile, in KiB.
async fn peak_kib(work: impl Future<Output = ()>) -> u64 {
    // Begins the count of the peak anew.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    work.await;
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn vault(store: Arc<dyn ObjectStore>) -> Vault {
    Vault::new(store, Arc::new(MemoryKeys::new()), Arc::new(MemorySigning::new()), "test".parse().unwrap())
}

fn ids() -> (VaultTenantId, RecoveryPointId, RunId) {
    let id = Uuid::from_u128(1);
    (VaultTenantId::from_uuid(id), RecoveryPointId::from_uuid(id), RunId::from_uuid(id))
}

/// Records so many files, and holds them against the live ones. Gives the peaks of both.
async fn peaks(files: Files) -> [u64; 2] {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("media-memory-{}-{}", std::process::id(), files.count));
    let vault = vault(Arc::new(FileStore::new(&folder)));
    let (tenant, point, run) = ids();
    let mut written = None;
    let recording = peak_kib(async {
        let writer = vault.begin(tenant, point, run, None).await.unwrap();
        media::write(files.all(), &writer).await.unwrap();
        written = Some(writer.finish(serde_json::Value::Null, Timestamp::UNIX_EPOCH).await.unwrap());
    });
    let recording = recording.await;
    let written = written.unwrap();
    let comparing = peak_kib(async {
        let reader = vault.open(tenant, point, &written.point).await.unwrap();
        let findings = restore::compare(&reader, &Unchanged(files)).await.unwrap();
        assert_eq!(findings.tables[0].unchanged, files.count);
    });
    let comparing = comparing.await;
    fs::remove_dir_all(&folder).unwrap();
    let (count, rows, stored) = (files.count, written.rows, written.stored_bytes);
    eprintln!("{count} files, {rows} versions in {stored} bytes: {recording} KiB recording, {comparing} KiB comparing");
    [recording, comparing]
}

#[tokio::test]
async fn twice_as_many_files_take_no_more_memory() {
    // All but the packs, of which a few are held while they are filled and stored: see the other test.
    let vault = vault(Arc::new(MemoryStore::new()));
    let (tenant, point, run) = ids();
    let writer = vault.begin(tenant, point, run, None).await.unwrap();
    let digest = async |count| {
        let digester = Digester::new(writer.tenant_secret());
        let files = Files { count, noise_bytes: 16 };
        peak_kib(async { drop(media::write(files.all(), &digester).await.unwrap()) }).await
    };
    // The first run brings in what every run needs.
    digest(50_000).await;
    let (once, twice) = (digest(50_000).await, digest(100_000).await);
    eprintln!("{once} KiB, then {twice} KiB");
    assert!(twice < once + GROWTH_MAX_KIB, "{once} KiB, then {twice} KiB");
}

#[tokio::test]
#[ignore = "takes most of a minute, and a process of its own: cargo test -p sources --test media_memory -- --ignored --nocapture"]
async fn a_million_files_fit() {
    let peaks = peaks(Files { count: 1_000_000, noise_bytes: 16 }).await;
    assert!(peaks.into_iter().all(|peak| peak < MEMORY_MAX_KIB), "{peaks:?}");
}
