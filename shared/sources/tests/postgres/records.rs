//! Records of configuration, through a vault and back.

use std::sync::Arc;

use domain::{RecoveryPointId, RunId, VaultTenantId};
use sources::configuration::{self, Parameter, Secret, Setting};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, Vault};

#[tokio::test]
async fn records_come_back_sorted_whatever_order_they_were_found_in() {
    let vault = Vault::new(
        Arc::new(MemoryStore::new()),
        Arc::new(MemoryKeys::new()),
        Arc::new(MemorySigning::new()),
        "test".parse().unwrap(),
    );
    let tenant = VaultTenantId::from_uuid(Uuid::from_u128(1));
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
        let mut settings = settings.clone();
        if reversed {
            settings.reverse();
        }
        let point = RecoveryPointId::from_uuid(Uuid::from_u128(number));
        let writer = vault.begin(tenant, point, RunId::from_uuid(Uuid::from_u128(number)), None).await.unwrap();
        let summary = configuration::write(settings, &writer).await.unwrap();
        let written = writer.finish(serde_json::Value::Null, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        let reader = vault.open(tenant, point, &written.point).await.unwrap();
        assert_eq!(configuration::read(&reader).await.unwrap().len(), 2);
        digests.push(summary.digest);
    }
    assert_eq!(digests[0], digests[1]);
}
