//! What every object store must do, as assertions: run on the one in memory and on the real one.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::{
    store::{ObjectStore, StoreError},
    versions::VersionStore,
};

/// Runs the whole suite under keys that start with `prefix`, which must be unused and is not cleaned up: there is no delete.
///
/// # Panics
/// If the store does not conform; the message says how.
pub async fn object_store(store: &dyn ObjectStore, prefix: &str) {
    let prefix = prefix.trim_end_matches('/');
    a_put_object_reads_back(store, &format!("{prefix}/a")).await;
    an_object_is_never_replaced(store, &format!("{prefix}/b")).await;
    of_two_puts_at_once_one_wins(store, &format!("{prefix}/c")).await;
    a_range_is_cut_at_the_end(store, &format!("{prefix}/d")).await;
    what_was_never_put_is_missing(store, &format!("{prefix}/e")).await;
    an_empty_object_is_an_object(store, &format!("{prefix}/f")).await;
    a_listing_has_every_key_of_the_prefix(store, &format!("{prefix}/g")).await;
    folders_are_listed_each_once(store, &format!("{prefix}/h/")).await;
}

async fn a_put_object_reads_back(store: &dyn ObjectStore, key: &str) {
    let bytes = Bytes::from((0..=255).cycle().take(100_000).collect::<Vec<u8>>());
    store.put_new(key, bytes.clone()).await.expect("a new key can be put");
    assert_eq!(store.get(key).await.expect("a put object can be read"), bytes, "an object reads back as it was put");
}

async fn an_object_is_never_replaced(store: &dyn ObjectStore, key: &str) {
    store.put_new(key, Bytes::from_static(b"first")).await.expect("a new key can be put");
    for bytes in [&b"second"[..], b"first"] {
        let again = store.put_new(key, Bytes::from_static(bytes)).await;
        assert!(
            matches!(&again, Err(StoreError::Exists { key: taken }) if taken == key),
            "a taken key answers Exists, not {again:?}"
        );
    }
    assert_eq!(store.get(key).await.expect("it is still there"), &b"first"[..], "a refused put changes nothing");
}

async fn of_two_puts_at_once_one_wins(store: &dyn ObjectStore, key: &str) {
    let (left, right) =
        futures::join!(store.put_new(key, Bytes::from_static(b"left")), store.put_new(key, Bytes::from_static(b"right")));
    let winner: &[u8] = match (&left, &right) {
        (Ok(()), Err(StoreError::Exists { .. })) => b"left",
        (Err(StoreError::Exists { .. }), Ok(())) => b"right",
        other => panic!("of two puts at once exactly one must win and the other answer Exists, not {other:?}"),
    };
    assert_eq!(store.get(key).await.expect("the winner's object is there"), winner, "the stored object is the winner's");
}

async fn a_range_is_cut_at_the_end(store: &dyn ObjectStore, key: &str) {
    store.put_new(key, Bytes::from_static(b"0123456789")).await.expect("a new key can be put");
    for (offset, length, expected) in [
        (0, 10, "0123456789"),
        (2, 3, "234"),
        (9, 1, "9"),
        (0, 1_000, "0123456789"),
        (7, 1 << 40, "789"),
        (10, 5, ""),
        (11, 5, ""),
    ] {
        let range = store.get_range(key, offset, length).await.expect("any range of an object can be read");
        assert_eq!(range, expected.as_bytes(), "{length} bytes from {offset} of ten");
    }
}

async fn what_was_never_put_is_missing(store: &dyn ObjectStore, key: &str) {
    for answer in [store.get(key).await, store.get_range(key, 0, 1).await] {
        assert!(matches!(&answer, Err(StoreError::Missing { key: missing }) if missing == key), "not Missing but {answer:?}");
    }
    let listed = store.list(key, None).await.expect("an empty listing is a listing");
    assert!(listed.is_empty(), "nothing is listed under an unused prefix");
}

async fn an_empty_object_is_an_object(store: &dyn ObjectStore, key: &str) {
    store.put_new(key, Bytes::new()).await.expect("an empty object can be put");
    assert!(store.get(key).await.expect("an empty object can be read").is_empty(), "it is empty");
    assert!(store.get_range(key, 0, 5).await.expect("so can any range of it").is_empty(), "its ranges are empty");
    let again = store.put_new(key, Bytes::new()).await;
    assert!(matches!(again, Err(StoreError::Exists { .. })), "an empty object takes its key");
}

async fn a_listing_has_every_key_of_the_prefix(store: &dyn ObjectStore, prefix: &str) {
    let keys = [format!("{prefix}/1"), format!("{prefix}/10"), format!("{prefix}/2/x"), format!("{prefix}x")];
    for (size, key) in keys.iter().enumerate() {
        store.put_new(key, Bytes::from(vec![0; size])).await.expect("a new key can be put");
    }
    let listed = store.list(&format!("{prefix}/"), None).await.expect("a prefix can be listed");
    let listed: Vec<_> = listed.into_iter().map(|object| (object.key, object.bytes)).collect();
    let expected: Vec<_> = keys[..3].iter().cloned().zip(0..).collect();
    assert_eq!(listed, expected, "the keys under the prefix, below slashes too, in order and with their sizes");
    let rest = store.list(&format!("{prefix}/"), Some(&keys[0])).await.expect("a listing can start behind a key");
    let rest: Vec<_> = rest.into_iter().map(|object| object.key).collect();
    assert_eq!(rest, keys[1..3], "the keys behind the given one, which is left out");
}

async fn folders_are_listed_each_once(store: &dyn ObjectStore, prefix: &str) {
    for key in ["a/1", "a/2/x", "b", "b/1", "c/1"] {
        store.put_new(&format!("{prefix}{key}"), Bytes::new()).await.expect("a new key can be put");
    }
    let folders = [format!("{prefix}a/"), format!("{prefix}b/"), format!("{prefix}c/")];
    assert_eq!(store.folders(prefix, None).await.expect("folders can be listed"), folders, "each once, and no object");
    let rest = store.folders(prefix, Some(&folders[0])).await.expect("a listing can start behind a folder");
    assert_eq!(rest, folders[1..], "the folders behind the given one, which is left out");
}

/// What a store must do that keeps versions and locks: under keys that start with `prefix`, which must be unused. `now` is the time by
/// its clock; what is put is not locked by itself.
///
/// # Panics
/// If the store does not conform; the message says how.
pub async fn version_store<S: ObjectStore + VersionStore>(store: &S, prefix: &str, now: Timestamp) {
    let prefix = prefix.trim_end_matches('/');
    let key = format!("{prefix}/a");
    let lock =
        |days: i64| store.lock(&key, now + SignedDuration::from_hours(24 * days), now + SignedDuration::from_hours(24 * days));
    let missing = |answer: Result<_, StoreError>| {
        assert!(matches!(&answer, Err(StoreError::Missing { key: missing }) if *missing == key), "not Missing but {answer:?}")
    };
    missing(lock(1).await.map(|()| None));
    missing(store.locked_until(&key, "1").await);
    assert!(store.versions(prefix).await.expect("an empty listing is a listing").is_empty(), "nothing is stored yet");

    store.put_new(&key, Bytes::from_static(b"0123456789")).await.expect("a new key can be put");
    let listed = store.versions(prefix).await.expect("versions can be listed");
    let [version] = listed.as_slice() else { panic!("one version, not {listed:?}") };
    assert_eq!((version.key.as_str(), version.bytes), (key.as_str(), 10), "the version is told by key and size");
    let id = version.version.as_str();
    assert_eq!(store.get_version(&key, id, 4).await.expect("a version can be read"), &b"0123"[..], "no more than asked for");
    let until = store.locked_until(&key, id).await.expect("its lock can be asked for");
    assert!(until.is_none_or(|until| until <= now), "nothing locks it");

    lock(3).await.expect("what is there can be locked");
    let locked = store.locked_until(&key, id).await.expect("its lock can be asked for").expect("it is locked");
    let near = |days: i64| (locked.as_second() - (now.as_second() + days * 24 * 3600)).abs() <= 1;
    assert!(near(3), "locked until {locked}");
    lock(2).await.expect("a shorter lock is asked for and there is a longer one");
    assert_eq!(store.locked_until(&key, id).await.expect("its lock can be asked for"), Some(locked), "a lock is never shortened");
    let refused = store.delete_version(&key, id).await;
    assert!(
        matches!(&refused, Err(StoreError::Denied { key: denied, .. }) if *denied == key),
        "what is locked stays: {refused:?}"
    );
    assert_eq!(store.get(&key).await.expect("it is still there"), &b"0123456789"[..], "whole");

    let free = format!("{prefix}/b");
    store.put_new(&free, Bytes::from_static(b"x")).await.expect("a new key can be put");
    let listed = store.versions(&free).await.expect("versions can be listed");
    for _ in 0..2 {
        store.delete_version(&free, &listed[0].version).await.expect("what is not locked goes, and is gone the second time");
    }
    assert!(store.versions(&free).await.expect("versions can be listed").is_empty(), "nothing of it is left, no marker either");
    let listed = store.versions(prefix).await.expect("versions can be listed");
    assert_eq!(listed.len(), 1, "the other object is as it was");
}
