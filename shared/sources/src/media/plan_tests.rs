use std::collections::BTreeMap;

use super::*;

/// A live or recorded version from its id and class; `-` is none.
fn version(id: &str) -> Option<ObjectVersion> {
    let (id, class) = id.split_once(':').unwrap_or((id, "STANDARD"));
    (id != "-").then(|| ObjectVersion {
        key: "k".into(),
        age: 0,
        version_id: id.into(),
        delete_marker: false,
        modified_at: "2026-11-23T02:15:00Z".into(),
        size_bytes: if class == "large" { COPY_BYTES_MAX + 1 } else { 7 },
        etag: Some(format!("e{id}")),
        checksums: BTreeMap::new(),
        storage_class: Some(class.into()),
        content_type: None,
        encryption: None,
        metadata: BTreeMap::new(),
        tags: BTreeMap::new(),
    })
}

#[test]
fn every_case_of_a_key_has_its_fate() {
    const KEPT: bool = true;
    const COPY: bool = true;
    for (recorded, live, is_kept, is_copy, expected) in [
        ("-", "-", !KEPT, !COPY, Fate::Absent),
        ("-", "v2", !KEPT, !COPY, Fate::Destroyed),
        ("v1", "v1", KEPT, !COPY, Fate::Unchanged),
        ("v1:GLACIER", "v1:GLACIER", KEPT, !COPY, Fate::Unchanged),
        ("v1:large", "v1:large", KEPT, !COPY, Fate::Unchanged),
        ("v1", "v2", KEPT, COPY, Fate::Unchanged),
        ("v1", "v2", !KEPT, COPY, Fate::Unchanged),
        ("v1", "v2", KEPT, !COPY, Fate::Overwritten),
        ("v1", "-", KEPT, !COPY, Fate::Returned),
        ("v1", "v2", !KEPT, !COPY, Fate::Lost(Lost::Gone)),
        ("v1", "-", !KEPT, !COPY, Fate::Lost(Lost::Gone)),
        ("v1:GLACIER", "-", KEPT, !COPY, Fate::Lost(Lost::Archived)),
        ("v1:DEEP_ARCHIVE", "v2", KEPT, !COPY, Fate::Lost(Lost::Archived)),
        ("v1:GLACIER_IR", "v2", KEPT, !COPY, Fate::Overwritten),
        ("v1:large", "-", KEPT, !COPY, Fate::Lost(Lost::TooLarge)),
        ("v1", "v2:large", KEPT, !COPY, Fate::Overwritten),
    ] {
        let (recorded_version, live_version) = (version(recorded), version(live));
        let state = KeyState {
            key: "k".into(),
            recorded: recorded_version,
            is_kept,
            live: live_version.clone(),
            then: live_version,
            is_newer: false,
            newest: None,
        };
        assert_eq!(state.decide(is_copy, false).fate, expected, "{recorded} recorded, {live} live, kept: {is_kept}");
    }
}

#[test]
fn a_suspended_buckets_null_version_is_known_by_more_than_its_id() {
    let recorded = version("null");
    let live = recorded.clone().map(|live| ObjectVersion { etag: Some("other".into()), ..live });
    assert!(!is_same_version(&recorded.unwrap(), &live.unwrap()));
}
