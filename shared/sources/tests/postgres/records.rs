//! Records of media and configuration, through a vault and back.

use std::{collections::BTreeMap, sync::Arc};

use domain::{RecoveryPointId, RunId, VaultTenantId};
use sources::{
    configuration::{self, Parameter, Secret, Setting},
    media::{self, ObjectVersion},
};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, Vault};

fn version(key: &str, age: u32) -> ObjectVersion {
    ObjectVersion {
        key: key.into(),
        age,
        version_id: format!("v{age}"),
        delete_marker: age == 0,
        modified_at: "2026-11-23T02:15:00Z".into(),
        size_bytes: 7,
        etag: Some("e".into()),
        checksums: BTreeMap::new(),
        storage_class: None,
        content_type: Some("text/plain".into()),
        encryption: None,
        metadata: [("who".to_owned(), "a\\b\n\t\"🧾".to_owned())].into(),
        tags: BTreeMap::new(),
    }
}

#[tokio::test]
async fn records_come_back_sorted_whatever_order_they_were_found_in() {
    let vault = Vault::new(
        Arc::new(MemoryStore::new()),
        Arc::new(MemoryKeys::new()),
        Arc::new(MemorySigning::new()),
        "test".parse().unwrap(),
    );
    let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
    let versions = vec![version("b\\\n", 0), version("a", 1), version("a", 0)];
    let settings = vec![
        Setting::Secret(Secret {
            name: "s".into(),
            arn: "arn".into(),
            versions: [("id".to_owned(), vec!["AWSCURRENT".to_owned()])].into(),
            ..Secret::default()
        }),
        Setting::Parameter(Parameter {
            name: "p".into(),
            parameter_type: "String".into(),
            value: Some("x\\y".into()),
            version: 3,
            ..Parameter::default()
        }),
    ];
    let mut digests = Vec::new();
    for (number, reversed) in [(1, false), (2, true)] {
        let (mut versions, mut settings) = (versions.clone(), settings.clone());
        if reversed {
            versions.reverse();
            settings.reverse();
        }
        let point = RecoveryPointId::from_uuid(Uuid::from_u128(number));
        let writer = vault.begin(tenant, point, RunId::from_uuid(Uuid::from_u128(number)), None).await.unwrap();
        let summaries = (media::write(versions, &writer).await.unwrap(), configuration::write(settings, &writer).await.unwrap());
        let written = writer.finish(serde_json::Value::Null, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        let reader = vault.open(tenant, point, &written.point).await.unwrap();
        assert_eq!(media::read(&reader).await.unwrap(), [version("a", 0), version("a", 1), version("b\\\n", 0)]);
        assert_eq!(configuration::read(&reader).await.unwrap().len(), 2);
        digests.push((summaries.0.digest, summaries.1.digest));
    }
    assert_eq!(digests[0], digests[1]);
}
