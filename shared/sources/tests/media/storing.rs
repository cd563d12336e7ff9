//! What an unchanged file costs: nothing.

use crate::model::{ModelBucket, Recorder};

const KEYS: u32 = 10_000;

#[tokio::test]
async fn one_changed_file_of_ten_thousand_costs_a_chunk_or_two() {
    let (bucket, mut recorder) = (ModelBucket::default(), Recorder::new());
    for number in 0..KEYS {
        bucket.put(&format!("uploads/{number:06}.txt"), number);
    }
    let (_, first) = recorder.record(bucket.versions()).await.unwrap();
    assert!(first.chunks >= 10, "too few chunks to tell: {}", first.chunks);

    let changes: [(&str, &dyn Fn(&str)); 4] = [
        ("uploads/004711.txt", &|key| drop(bucket.put(key, 1))),
        ("uploads/004712.txt", &|key| bucket.delete(key)),
        ("uploads/004713 new.txt", &|key| drop(bucket.put(key, 2))),
        ("aaa first.txt", &|key| drop(bucket.put(key, 2))),
    ];
    for (key, change) in changes {
        change(key);
        let (_, next) = recorder.record(bucket.versions()).await.unwrap();
        let fresh = next.chunks - next.chunks_reused;
        assert!((1..=2).contains(&fresh), "{key}: {fresh} of {} chunks are new", next.chunks);
        assert!(next.stored_bytes * 4 < first.stored_bytes, "{key}: {} of {} bytes", next.stored_bytes, first.stored_bytes);
        let (_, unchanged) = recorder.record(bucket.versions()).await.unwrap();
        assert_eq!(unchanged.chunks, unchanged.chunks_reused, "nothing changed");
    }
}
