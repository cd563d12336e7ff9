//! The listing and the restore against S3's documented manners, over HTTP.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

use domain::{ErrorCode, ErrorReport, RecoveryPointId, RunId, VaultTenantId};
use futures::TryStreamExt;
use sources::media::{self, ObjectVersion, restore};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, PointReader, Vault};

use super::{
    Media, MediaPrefix,
    fake::{Answered, Asked, FakeBucket, Version, put_version, serve, tagging, whole_page},
};

const PREFIX: &str = "t/acme/";

async fn media(bucket: &Arc<FakeBucket>) -> Media {
    let bucket = Arc::clone(bucket);
    Media::new(serve(move |asked| bucket.answer(&asked)).await, "b")
}

fn tags(class: &str) -> BTreeMap<String, String> {
    [("class & more".to_owned(), class.to_owned())].into()
}

async fn record(media: &Media) -> PointReader {
    let vault = Vault::new(
        Arc::new(MemoryStore::new()),
        Arc::new(MemoryKeys::new()),
        Arc::new(MemorySigning::new()),
        "test".parse().unwrap(),
    );
    let id = Uuid::from_u128(1);
    let (tenant, point) = (VaultTenantId::from_uuid(id), RecoveryPointId::from_uuid(id));
    let writer = vault.begin(tenant, point, RunId::from_uuid(id), None).await.unwrap();
    media::write(media.versions(PREFIX).map_err(ErrorReport::from), &writer).await.unwrap();
    let written = writer.finish(serde_json::Value::Null, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    vault.open(tenant, point, &written.point).await.unwrap()
}

/// A tenant's files with a history, and a neighbour's.
fn filled(bucket: FakeBucket) -> Arc<FakeBucket> {
    for (key, content) in [("t/acme/ü & <ö>.txt", "one"), ("t/acme/a", "a1"), ("t/acme/a", "a2"), ("t/acme2/a", "another's")] {
        bucket.put(key, Some(content), tags(content));
    }
    bucket.put("t/acme/gone", Some("g1"), tags("g1"));
    bucket.put("t/acme/gone", None, BTreeMap::new());
    for number in 0..5 {
        bucket.put("t/acme/long history", Some(&format!("h{number}")), tags("h"));
        bucket.put("t/acme/long history", None, BTreeMap::new());
    }
    bucket.put("t/acme/long history", Some("h"), tags("h"));
    Arc::new(bucket)
}

#[tokio::test]
async fn a_history_is_the_same_wherever_its_pages_end() {
    let mut told: Vec<Vec<ObjectVersion>> = Vec::new();
    for page in [1, 2, 3, 7, 1_000] {
        let bucket = filled(FakeBucket::new(page));
        told.push(media(&bucket).await.versions(PREFIX).try_collect().await.unwrap());
    }
    assert!(told.windows(2).all(|pair| pair[0] == pair[1]), "{told:#?}");
    let told: Vec<_> = told[0].iter().map(|version| (version.key.as_str(), version.age, version.delete_marker)).collect();
    let mut expected = vec![("a", 0, false), ("a", 1, false), ("gone", 0, true), ("gone", 1, false)];
    expected.extend((0..11).map(|age| ("long history", age, age % 2 == 1)));
    expected.push(("ü & <ö>.txt", 0, false));
    assert_eq!(told, expected);
}

#[tokio::test]
async fn a_version_that_goes_away_while_it_is_asked_about_leaves_no_gap() {
    let bucket = filled(FakeBucket::new(1_000));
    let gone = bucket.keys()["t/acme/a"][1].id.clone();
    let answering = Arc::clone(&bucket);
    let client = serve(move |asked: Asked| {
        if asked.query.contains_key("tagging") && asked.query.get("versionId") == Some(&gone) {
            return super::fake::error(404, "NoSuchVersion");
        }
        answering.answer(&asked)
    });
    let media = Media::new(client.await, "b");
    let told: Vec<_> = media.versions(PREFIX).try_collect().await.unwrap();
    assert_eq!((told[0].key.as_str(), told[0].age, told[1].key.as_str()), ("a", 0, "gone"));
}

#[tokio::test]
async fn a_listing_that_goes_backwards_or_nowhere_is_refused() {
    let version =
        |id: &str| Version { id: id.into(), second: 0, content: Some("c".into()), etag: "e".into(), tags: BTreeMap::new() };
    let page = |keys: &[&str], next: Option<&str>| {
        let mut text = String::new();
        keys.iter().for_each(|key| put_version(&mut text, key, &version("v"), true));
        whole_page(&text, next.map(|key| (key, "v")))
    };
    let listings: [(&str, [Answered; 2], &str); 3] = [
        ("in a page", [page(&["t/acme/b", "t/acme/a"], None), page(&[], None)], "`a` comes behind"),
        ("from page to page", [page(&["t/acme/b"], Some("t/acme/b")), page(&["t/acme/a"], None)], "`a` comes behind"),
        ("for ever", [page(&["t/acme/a"], Some("t/acme/a")), page(&["t/acme/a"], Some("t/acme/a"))], "marker of the next page"),
    ];
    for (what, [first, second], expected) in listings {
        let answer = move |asked: Asked| if asked.query.contains_key("key-marker") { second.clone() } else { first.clone() };
        let media = Media::new(serve(answer).await, "b");
        let error = media.history(PREFIX).try_collect::<Vec<_>>().await.expect_err(what);
        assert!(format!("{}", ErrorReport::from(error)).contains(expected), "{what}");
    }
}

#[tokio::test]
async fn files_are_brought_back_by_copies_and_markers_and_stay() {
    for tags_are_random in [false, true] {
        let bucket = filled(FakeBucket { tags_are_random, ..FakeBucket::new(3) });
        let media = media(&bucket).await;
        let (point, recorded) = (record(&media).await, bucket.live());
        bucket.put("t/acme/a", Some("a3"), tags("a3"));
        bucket.put("t/acme/new", Some("n"), tags("n"));
        bucket.put("t/acme/gone", Some("g2"), tags("g2"));
        bucket.put("t/acme/ü & <ö>.txt", None, BTreeMap::new());
        let before = bucket.keys().clone();

        let target: MediaPrefix = media.below(PREFIX);
        let findings = restore::compare(&point, &target).await.unwrap();
        let files = &findings.tables[0];
        assert_eq!((files.returned, files.overwritten, files.destroyed, files.unchanged), (1, 1, 2, 1));
        assert_eq!(files.table, "b/t/acme/");
        let done = restore::run(&point, &target, &findings.live_digest).await.unwrap();
        assert_eq!((done.changed, done.files, done.notes.len()), (true, 3, 0));
        assert_eq!(bucket.live(), recorded);
        assert_eq!(bucket.keys()["t/acme/ü & <ö>.txt"].last().unwrap().tags, tags("one"), "the recorded tags");
        let kept = bucket.keys().clone();
        assert!(before.iter().all(|(key, versions)| kept[key].starts_with(versions)), "a version is gone");

        let again = restore::run(&point, &target, &findings.live_digest).await.unwrap();
        assert_eq!((again.changed, again.files), (false, 3));
        assert_eq!(*bucket.keys(), kept, "the second time nothing is written");
    }
}

#[tokio::test]
async fn what_somebody_writes_at_that_very_moment_is_not_covered() {
    let bucket = filled(FakeBucket::new(1_000));
    let recording = media(&bucket).await;
    let point = record(&recording).await;
    bucket.put("t/acme/a", Some("a3"), tags("a3"));
    let answering = Arc::clone(&bucket);
    let client = serve(move |asked: Asked| {
        if asked.method == "PUT" {
            answering.put("t/acme/a", Some("a4"), BTreeMap::new());
        }
        answering.answer(&asked)
    });
    let target = Media::new(client.await, "b").below(PREFIX);
    let approved = restore::compare(&point, &target).await.unwrap().live_digest;
    let error = restore::run(&point, &target, &approved).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::Fenced, "the next delivery tells whose it is: {error}");
    assert_eq!(bucket.live()["t/acme/a"], "a4");
}

#[tokio::test]
async fn a_bucket_whose_versioning_is_suspended_is_left_alone() {
    let bucket = filled(FakeBucket { versioning: "Suspended", ..FakeBucket::new(1_000) });
    let media = media(&bucket).await;
    let point = record(&media).await;
    let error = restore::compare(&point, &media.below(PREFIX)).await.unwrap_err();
    assert!(error.code == ErrorCode::NotConfigured && error.message.contains("versioning is not enabled"), "{error}");
}

/// A page of a bucket with so many files, made when it is asked for.
fn synthetic(asked: &Asked, count: u64) -> Answered {
    let key = |number: u64| format!("{PREFIX}{number:09} of a customer.jpeg");
    if asked.query.contains_key("tagging") {
        return tagging(&tags("public"));
    }
    let first = asked.query.get("key-marker").map_or(0, |key| key[PREFIX.len()..][..9].parse::<u64>().unwrap() + 1);
    let last = (first + 1_000).min(count);
    let mut page = String::new();
    for number in first..last {
        let id = format!("{number:032x}");
        let version =
            Version { id: id.clone(), second: 1_700_000_000, content: Some("c".into()), etag: id, tags: BTreeMap::new() };
        put_version(&mut page, &key(number), &version, true);
    }
    let (next, id) = (key(last - 1), format!("{:032x}", last - 1));
    whole_page(&page, (last < count).then_some((next.as_str(), id.as_str())))
}

/// Lists so many files; gives the peak memory of this process in KiB, and the rate in files a second.
async fn list(count: u64, with_tags: bool) -> (u64, f64) {
    let calls = Arc::new(AtomicU64::new(0));
    let counting = Arc::clone(&calls);
    let client = serve(move |asked| {
        counting.fetch_add(1, SeqCst);
        synthetic(&asked, count)
    });
    let media = Media::new(client.await, "b");
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let begun = Instant::now();
    let counted = |sum: u64, _: ObjectVersion| async move { Ok(sum + 1) };
    let listed = if with_tags {
        media.versions(PREFIX).try_fold(0, counted).await
    } else {
        media.history(PREFIX).try_fold(0, counted).await
    };
    assert_eq!(listed.unwrap(), count);
    assert_eq!(calls.load(SeqCst), count.div_ceil(1_000) + if with_tags { count } else { 0 });
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().trim_end_matches(" kB").parse().unwrap();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    eprintln!("{count} files, with tags: {with_tags}: {peak} KiB at most, {rate:.0} files a second");
    (peak, rate)
}

#[tokio::test]
async fn a_longer_listing_takes_no_more_memory() {
    list(5_000, false).await;
    let ((once, _), (twice, _)) = (list(20_000, false).await, list(40_000, false).await);
    assert!(twice < once + (4 << 10), "{once} KiB, then {twice} KiB");
}

#[tokio::test]
#[ignore = "takes minutes: the client's own limit on listings and tags, to be read with --nocapture"]
async fn how_fast_a_million_files_are_listed() {
    list(20_000, true).await;
    list(1_000_000, false).await;
}
