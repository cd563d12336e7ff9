//! Back to a recovery point, by versions.

use domain::{ErrorCode, request::TableEffect};
use proptest::prelude::*;
use sources::media::restore::{self, Restored};
use vault::PointReader;

use crate::model::{ModelBucket, Recorder};

/// Counts of a preview: returned, overwritten, destroyed, unchanged.
async fn counts(point: &PointReader, bucket: &ModelBucket) -> [u64; 4] {
    let findings = restore::compare(point, bucket).await.unwrap();
    let [TableEffect { returned, overwritten, destroyed, unchanged, .. }] = &findings.tables[..] else { panic!("one place") };
    [*returned, *overwritten, *destroyed, *unchanged]
}

async fn digest(point: &PointReader, bucket: &ModelBucket) -> String {
    restore::compare(point, bucket).await.unwrap().live_digest
}

fn restored(changed: bool, files: u64) -> Restored {
    Restored { changed, files, lost: 0, notes: Vec::new() }
}

/// A bucket with a history, recorded, and then damaged in every way.
async fn damaged(bucket: &ModelBucket) -> PointReader {
    for key in ["kept", "deleted", "overwritten", "old history", "deleted before"] {
        bucket.put(key, 10);
    }
    bucket.put("old history", 11);
    bucket.delete("deleted before");
    let (point, _) = Recorder::new().record(bucket.versions()).await.unwrap();
    bucket.delete("deleted");
    bucket.put("overwritten", 20);
    bucket.put("overwritten", 21);
    bucket.put("added", 30);
    bucket.put("deleted before", 40);
    bucket.put("old history", 10);
    bucket.put("came and went", 50);
    bucket.delete("came and went");
    point
}

#[tokio::test]
async fn lost_changed_and_added_files_are_put_right_and_every_version_stays() {
    for tags_are_random in [false, true] {
        let bucket = ModelBucket { tags_are_random, ..ModelBucket::default() };
        let point = damaged(&bucket).await;
        let before = bucket.versions();
        assert_eq!(counts(&point, &bucket).await, [1, 2, 2, 1]);
        assert_eq!(bucket.versions(), before, "a preview writes nothing");

        let approved = digest(&point, &bucket).await;
        assert_eq!(restore::run(&point, &bucket, &approved).await, Ok(restored(true, 4)));
        let live: Vec<_> = bucket.live().into_iter().map(|(key, (content, _))| (key, content)).collect();
        assert_eq!(
            live,
            [("deleted", 10), ("kept", 10), ("old history", 11), ("overwritten", 10)].map(|(k, c)| (k.to_owned(), c))
        );
        let after = bucket.versions();
        assert!(before.iter().all(|version| after.iter().any(|kept| kept.version_id == version.version_id)), "a version is gone");

        // Whatever was approved: there is nothing left to do.
        assert_eq!(counts(&point, &bucket).await, [0, 0, 0, 4]);
        for approved in [approved.as_str(), "of something else"] {
            assert_eq!(restore::run(&point, &bucket, approved).await, Ok(restored(false, 4)));
        }
        assert_eq!(bucket.acts(), 5);
    }
}

#[tokio::test]
async fn an_interrupted_restore_goes_on_under_the_same_approval() {
    for acts in 0..5 {
        let bucket = ModelBucket { tags_are_random: true, ..ModelBucket::default() };
        let point = damaged(&bucket).await;
        let approved = digest(&point, &bucket).await;
        bucket.stop_after(Some(acts));
        let error = restore::run(&point, &bucket, &approved).await.unwrap_err();
        assert_eq!((error.code, bucket.acts()), (ErrorCode::StoreUnavailable, acts));
        bucket.stop_after(None);
        assert_eq!(restore::run(&point, &bucket, &approved).await, Ok(restored(true, 4)));
        assert_eq!(bucket.acts(), 5, "nothing is done twice");
    }
}

#[tokio::test]
async fn what_nobody_was_shown_is_not_restored_over() {
    type Change = fn(&ModelBucket);
    let changes: [(&str, Change); 6] = [
        ("a file that was as recorded", |bucket| drop(bucket.put("kept", 60))),
        ("one that is to be overwritten", |bucket| drop(bucket.put("overwritten", 60))),
        ("one that is to be destroyed", |bucket| drop(bucket.put("added", 60))),
        ("a new one", |bucket| drop(bucket.put("newer", 60))),
        ("a deletion of one that is as recorded", |bucket| bucket.delete("kept")),
        ("a deletion of one that is to be overwritten", |bucket| bucket.delete("overwritten")),
    ];
    for (what, change) in changes {
        let bucket = ModelBucket::default();
        let point = damaged(&bucket).await;
        let approved = digest(&point, &bucket).await;
        change(&bucket);
        let error = restore::run(&point, &bucket, &approved).await.expect_err(what);
        assert_eq!((error.code, bucket.acts()), (ErrorCode::TargetDrifted, 0), "{what}");
        assert!(error.message.contains("files/acme/"), "{error}");
    }
    let bucket = ModelBucket::default();
    let point = damaged(&bucket).await;
    assert_eq!(restore::run(&point, &bucket, "nonsense").await.unwrap_err().code, ErrorCode::TargetDrifted);
}

#[tokio::test]
async fn what_is_written_while_a_restore_goes_on_is_not_restored_over() {
    for key in ["overwritten", "added", "zz new"] {
        // The preview lists once, the restore to count, then to act.
        let bucket = ModelBucket { written_before: Some((2, key)), ..ModelBucket::default() };
        let point = damaged(&bucket).await;
        let approved = digest(&point, &bucket).await;
        let error = restore::run(&point, &bucket, &approved).await.expect_err(key);
        assert_eq!(error.code, ErrorCode::TargetDrifted, "{key}: {error}");
        assert_eq!(bucket.live()[key].0, 99, "{key}");
    }
}

#[tokio::test]
async fn a_version_that_turns_out_to_be_archived_is_told_and_the_rest_is_restored() {
    let mut bucket = ModelBucket::default();
    let archived = bucket.put("archived", 1);
    bucket.put("fine", 2);
    let (point, _) = Recorder::new().record(bucket.versions()).await.unwrap();
    bucket.delete("archived");
    bucket.delete("fine");
    bucket.quietly_archived = Some(archived);
    let approved = digest(&point, &bucket).await;
    let done = restore::run(&point, &bucket, &approved).await.unwrap();
    assert_eq!((done.changed, done.files, done.lost), (true, 1, 1));
    assert!(done.notes[0].contains("archive") && done.notes[0].contains("`archived`"), "{:?}", done.notes);
}

#[tokio::test]
async fn what_cannot_be_brought_back_is_told_and_the_rest_is_restored() {
    let bucket = ModelBucket::default();
    let gone = bucket.put("gone", 1);
    let (archived, large) = (bucket.put("archived", 1), bucket.put("large", 1));
    bucket.change(&archived, |stored| stored.listed.storage_class = Some("DEEP_ARCHIVE".into()));
    bucket.change(&large, |stored| stored.listed.size_bytes = (5 << 30) + 1);
    bucket.put("fine", 2);
    let (point, _) = Recorder::new().record(bucket.versions()).await.unwrap();
    // Still current: nothing has to be copied.
    assert_eq!(counts(&point, &bucket).await, [0, 0, 0, 4]);
    for key in ["gone", "archived", "large", "fine"] {
        bucket.delete(key);
    }
    bucket.expire(&gone);

    let findings = restore::compare(&point, &bucket).await.unwrap();
    assert_eq!(counts(&point, &bucket).await, [1, 0, 0, 0]);
    let told = [("lifecycle", &gone, "gone"), ("archive", &archived, "archived"), ("5 GiB", &large, "large")];
    for ((reason, version, key), note) in told.into_iter().zip(&findings.notes) {
        assert!([reason, version, &format!("`{key}`")].iter().all(|part| note.contains(*part)), "{note}");
    }
    let done = restore::run(&point, &bucket, &findings.live_digest).await.unwrap();
    assert_eq!(done, Restored { changed: true, files: 1, lost: 3, notes: findings.notes });
    assert_eq!(bucket.live().keys().collect::<Vec<_>>(), ["fine"]);
}

#[tokio::test]
async fn of_many_lost_files_a_few_are_named_and_the_rest_counted() {
    let bucket = ModelBucket::default();
    let lost: Vec<_> = (0..13).map(|number| bucket.put(&format!("k{number:02}"), number)).collect();
    let (point, _) = Recorder::new().record(bucket.versions()).await.unwrap();
    lost.iter().for_each(|version| bucket.expire(version));
    let notes = restore::compare(&point, &bucket).await.unwrap().notes;
    assert!(notes[0].starts_with("13 files") && notes[0].ends_with("`k09` (version v10, 0 bytes) and 3 more"), "{notes:?}");
}

#[tokio::test]
async fn a_bucket_that_keeps_no_versions_is_not_touched() {
    let bucket = ModelBucket { is_suspended: true, ..ModelBucket::default() };
    let (point, _) = Recorder::new().record(Vec::new()).await.unwrap();
    assert_eq!(restore::compare(&point, &bucket).await.unwrap_err().code, ErrorCode::NotConfigured);
    assert_eq!(restore::run(&point, &bucket, "").await.unwrap_err().code, ErrorCode::NotConfigured);
}

#[tokio::test]
async fn where_nothing_tells_that_a_copy_is_one_the_restore_that_made_it_knows() {
    let bucket = ModelBucket { tags_are_random: true, is_blind: true, ..ModelBucket::default() };
    let point = damaged(&bucket).await;
    let approved = digest(&point, &bucket).await;
    assert_eq!(restore::run(&point, &bucket, &approved).await, Ok(restored(true, 4)));
    // Nobody else does: they are copied again when somebody asks for it, and never without.
    assert_eq!(counts(&point, &bucket).await, [0, 3, 0, 1]);
    assert_eq!(restore::run(&point, &bucket, &approved).await.unwrap_err().code, ErrorCode::TargetDrifted);
}

#[tokio::test]
async fn a_copy_with_other_tags_is_not_the_recorded_file() {
    let bucket = ModelBucket::default();
    bucket.put("a", 1);
    let (point, _) = Recorder::new().record(bucket.versions()).await.unwrap();
    bucket.delete("a");
    let approved = digest(&point, &bucket).await;
    restore::run(&point, &bucket, &approved).await.unwrap();
    let copy = bucket.versions()[0].version_id.clone();
    bucket.change(&copy, |stored| stored.listed.tags.clear());
    assert_eq!(counts(&point, &bucket).await, [0, 1, 0, 0]);
}

/// What a tenant does: a key and a content, or its deletion.
fn history() -> impl Strategy<Value = Vec<(u8, Option<u32>)>> {
    proptest::collection::vec((0_u8..6, proptest::option::of(0_u32..4)), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_happened_since_the_recorded_files_come_back_and_stay(
        before in history(),
        since in history(),
        tags_are_random: bool,
        stop_after in proptest::option::of(0_u32..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let bucket = ModelBucket { tags_are_random, ..ModelBucket::default() };
            let play = |history: &[(u8, Option<u32>)]| {
                for (key, content) in history {
                    match content {
                        Some(content) => drop(bucket.put(&format!("k{key}"), *content)),
                        None => bucket.delete(&format!("k{key}")),
                    }
                }
            };
            play(&before);
            let recorded = bucket.live();
            let (point, _) = Recorder::new().record(bucket.versions()).await.unwrap();
            play(&since);
            let found = bucket.versions();
            let [returned, overwritten, destroyed, unchanged] = counts(&point, &bucket).await;
            prop_assert_eq!(returned + overwritten + unchanged, recorded.len() as u64);

            let approved = digest(&point, &bucket).await;
            bucket.stop_after(stop_after);
            let interrupted = restore::run(&point, &bucket, &approved).await.is_err();
            bucket.stop_after(None);
            let done = restore::run(&point, &bucket, &approved).await.unwrap();
            prop_assert_eq!(&bucket.live(), &recorded);
            prop_assert_eq!(done.files, recorded.len() as u64);
            prop_assert_eq!(u64::from(bucket.acts()), returned + overwritten + destroyed, "interrupted: {}", interrupted);
            let kept = bucket.versions();
            prop_assert!(found.iter().all(|version| kept.iter().any(|other| other.version_id == version.version_id)));
            prop_assert_eq!(counts(&point, &bucket).await, [0, 0, 0, recorded.len() as u64]);
            Ok(())
        })?;
    }
}
