//! What goes into a recovery point and how it comes out.

use domain::Coded;
use futures::TryStreamExt;
use sources::media::{self, ObjectVersion};

use crate::model::{ModelBucket, Recorder};

#[tokio::test]
async fn every_version_comes_back_in_the_order_of_keys_newest_first() {
    let bucket = ModelBucket::default();
    for key in ["b\\\n", "a", "Ü", "z", "a", "𝄞"] {
        bucket.put(key, 1);
    }
    bucket.delete("a");
    let (point, written) = Recorder::new().record(bucket.versions()).await.unwrap();
    let read: Vec<ObjectVersion> = media::read(&point).unwrap().try_collect().await.unwrap();
    assert_eq!(read, bucket.versions());
    assert_eq!(written.rows, 7);
    let keys: Vec<_> = read.iter().map(|version| (version.key.as_str(), version.age)).collect();
    assert_eq!(keys, [("a", 0), ("a", 1), ("a", 2), ("b\\\n", 0), ("z", 0), ("Ü", 0), ("𝄞", 0)]);
}

#[tokio::test]
async fn what_does_not_come_in_order_is_not_recorded() {
    let bucket = ModelBucket::default();
    for key in ["a", "a", "b"] {
        bucket.put(key, 1);
    }
    let sorted = bucket.versions();
    for (wrong, named) in [([0, 2, 1], "`a`"), ([2, 0, 1], "`a`"), ([0, 0, 1], "`a`"), ([1, 2, 2], "`a`"), ([0, 1, 1], "`a`")] {
        let versions: Vec<_> = wrong.iter().map(|at| sorted[*at].clone()).collect();
        let error = Recorder::new().record(versions).await.err().expect("refused");
        assert!(error.to_string().contains(named) && error.to_string().contains("out of order"), "{wrong:?}: {error}");
        assert_eq!(error.code(), domain::ErrorCode::SourceRefused);
    }
}
