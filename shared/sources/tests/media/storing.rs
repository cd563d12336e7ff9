//! What an unchanged file costs: nothing.

use crate::model::{ModelBucket, Recorder};

const KEYS: u32 = 20_000;

#[tokio::test]
async fn one_changed_file_of_twenty_thousand_costs_a_chunk_or_two() {
    let (bucket, mut recorder) = (ModelBucket::default(), Recorder::new());
    for number in 0..KEYS {
        bucket.put(&format!("uploads/{number:06}.txt"), number);
    }
    let (_, first) = recorder.record(bucket.versions()).await.unwrap();
    assert!(first.chunks >= 10, "too few chunks to tell: {}", first.chunks);

    type Change = fn(&ModelBucket, &str);
    let put: Change = |bucket, key| drop(bucket.put(key, 1));
    let delete: Change = |bucket, key| bucket.delete(key);
    let changes =
        [("uploads/004711.txt", put), ("uploads/004712.txt", delete), ("uploads/004713 new.txt", put), ("aaa first.txt", put)];
    for (key, change) in changes {
        change(&bucket, key);
        let (_, next) = recorder.record(bucket.versions()).await.unwrap();
        let fresh = next.chunks - next.chunks_reused;
        assert!((1..=2).contains(&fresh), "{key}: {fresh} of {} chunks are new", next.chunks);
        assert!(next.stored_bytes * 4 < first.stored_bytes, "{key}: {} of {} bytes", next.stored_bytes, first.stored_bytes);
        let (_, unchanged) = recorder.record(bucket.versions()).await.unwrap();
        assert_eq!(unchanged.chunks, unchanged.chunks_reused, "nothing changed");
    }
}
