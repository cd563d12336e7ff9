//! The nouns of this crate on AWS's services as the local stack speaks them, each against things the test made itself.
//!
//! Run like `conformance.rs`, with credentials that may create buckets, secrets, parameters and state machines. Names are
//! fresh; what is made stays until the stack ends.

use std::sync::Arc;

use aws::{Clients, Started};
use aws_config::{BehaviorVersion, SdkConfig};
use domain::{RecoveryPointId, RunId, VaultTenantId};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use sources::{
    SourceError,
    media::{self, ObjectVersion, restore},
};
use vault::{MemoryKeys, MemorySigning, MemoryStore, PointReader, Vault};

const CANARY: &str = "canary-8c1f";

async fn admin() -> SdkConfig {
    aws_config::load_defaults(BehaviorVersion::latest()).await
}

#[expect(clippy::disallowed_methods, reason = "tests share one account and must not meet")]
fn fresh() -> String {
    uuid::Uuid::new_v4().simple().to_string()[..12].to_owned()
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn a_history_of_media_is_told_in_order_and_for_one_tenant_only() {
    use aws_sdk_s3::types::{
        BucketLocationConstraint, BucketVersioningStatus, CreateBucketConfiguration, VersioningConfiguration,
    };
    let config = admin().await;
    let s3 = aws_sdk_s3::Client::from_conf(aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build());
    let bucket = format!("holdfast-test-{}", fresh());
    let region = BucketLocationConstraint::from(config.region().unwrap().as_ref());
    let place = CreateBucketConfiguration::builder().location_constraint(region).build();
    s3.create_bucket().bucket(&bucket).create_bucket_configuration(place).send().await.unwrap();
    let versioned = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
    s3.put_bucket_versioning().bucket(&bucket).versioning_configuration(versioned).send().await.unwrap();
    let put = async |key: &str, body: &'static [u8]| {
        s3.put_object().bucket(&bucket).key(key).tagging("class=public").body(body.to_vec().into()).send().await.unwrap();
    };
    put("tenants/acme/logo ü.png", b"one").await;
    put("tenants/acme/logo ü.png", b"three").await;
    put("tenants/acme2/logo.png", b"another tenant's").await;
    put("tenants/acme/gone.txt", b"gone").await;
    s3.delete_object().bucket(&bucket).key("tenants/acme/gone.txt").send().await.unwrap();

    let media = Clients::load().await.media(&bucket);
    let versions: Vec<_> = media.versions("tenants/acme/").try_collect().await.unwrap();
    let told: Vec<_> =
        versions.iter().map(|version| (version.key.as_str(), version.age, version.delete_marker, version.size_bytes)).collect();
    let expected =
        [("gone.txt", 0, true, 0), ("gone.txt", 1, false, 4), ("logo ü.png", 0, false, 5), ("logo ü.png", 1, false, 3)];
    assert_eq!(told, expected);
    assert_eq!(versions[3].tags.get("class").map(String::as_str), Some("public"));
    assert!(versions[0].tags.is_empty(), "a delete marker has no tags");

    // Recorded, damaged, and brought back by nothing but copies and delete markers.
    let point = recorded(versions.clone()).await;
    put("tenants/acme/logo ü.png", b"five!").await;
    put("tenants/acme/gone.txt", b"back").await;
    s3.delete_object().bucket(&bucket).key("tenants/acme/logo ü.png").send().await.unwrap();
    let target = media.below("tenants/acme/");
    let found = restore::compare(&point, &target).await.unwrap();
    let [files] = &found.tables[..] else { panic!("one place: {found:?}") };
    assert_eq!((files.returned, files.overwritten, files.destroyed, files.unchanged), (1, 0, 1, 0));
    let done = restore::run(&point, &target, &found.live_digest).await.unwrap();
    assert_eq!((done.changed, done.files, done.notes.len()), (true, 1, 0));
    let live = s3.get_object().bucket(&bucket).key("tenants/acme/logo ü.png").send().await.unwrap();
    assert_eq!(live.body.collect().await.unwrap().into_bytes(), "three");
    let after: Vec<_> = media.versions("tenants/acme/").try_collect().await.unwrap();
    assert!(versions.iter().all(|version| after.iter().any(|kept| kept.version_id == version.version_id)), "a version is gone");
    assert_eq!((after[0].delete_marker, after.iter().find(|version| version.key == "logo ü.png").unwrap().tags.len()), (true, 1));
    assert!(!restore::run(&point, &target, &found.live_digest).await.unwrap().changed, "nothing is left to do");
    let neighbour = s3.get_object().bucket(&bucket).key("tenants/acme2/logo.png").send().await.unwrap();
    assert_eq!(neighbour.body.collect().await.unwrap().into_bytes(), "another tenant's");
}

/// A recovery point of these versions.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
async fn recorded(versions: Vec<ObjectVersion>) -> PointReader {
    let vault = Vault::new(
        Arc::new(MemoryStore::new()),
        Arc::new(MemoryKeys::new()),
        Arc::new(MemorySigning::new()),
        "test".parse().unwrap(),
    );
    let id = uuid::Uuid::from_u128(1);
    let (tenant, point) = (VaultTenantId::from_uuid(id), RecoveryPointId::from_uuid(id));
    let writer = vault.begin(tenant, point, RunId::from_uuid(id), None).await.unwrap();
    media::write(stream::iter(versions).map(Ok::<_, SourceError>), &writer).await.unwrap();
    let written = writer.finish(serde_json::Value::Null, jiff::Timestamp::UNIX_EPOCH).await.unwrap();
    vault.open(tenant, point, &written.point).await.unwrap()
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn settings_are_described_without_their_values() {
    use aws_sdk_ssm::types::{ParameterType, Tag};
    let (config, scope) = (admin().await, fresh());
    let (ssm, secrets) = (aws_sdk_ssm::Client::new(&config), aws_sdk_secretsmanager::Client::new(&config));
    for (tenant, name, kind) in [
        ("acme", "mail", ParameterType::String),
        ("acme", "token", ParameterType::SecureString),
        ("acme2", "mail", ParameterType::String),
    ] {
        let tag = Tag::builder().key("owner").value(tenant).build().unwrap();
        let call = ssm.put_parameter().name(format!("/{scope}/{tenant}/{name}")).value(CANARY).r#type(kind).tags(tag);
        call.send().await.unwrap();
        secrets.create_secret().name(format!("{scope}/{tenant}/{name}")).secret_string(CANARY).send().await.unwrap();
    }

    let clients = Clients::load().await;
    let found = clients.parameters().metadata(&format!("/{scope}/acme/")).await.unwrap();
    let kinds: Vec<_> = found.iter().map(|parameter| parameter.parameter_type.as_str()).collect();
    assert_eq!(kinds, ["String", "SecureString"], "{found:?}");
    assert_eq!(found[0].tags.get("owner").map(String::as_str), Some("acme"));
    let secrets = clients.secrets().metadata(&format!("{scope}/acme/"), []).await.unwrap();
    assert_eq!(secrets.len(), 2, "{secrets:?}");
    assert_eq!(secrets[0].versions.values().flatten().collect::<Vec<_>>(), ["AWSCURRENT"]);
    assert!(!format!("{found:?} {secrets:?}").contains(CANARY), "a value left its service");
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn settings_are_put_right_without_a_value_ever_being_written() {
    use aws_sdk_ssm::types::ParameterType;
    const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[]}"#;
    let (config, scope) = (admin().await, fresh());
    let (ssm, sdk) = (aws_sdk_ssm::Client::new(&config), aws_sdk_secretsmanager::Client::new(&config));
    let (clients, prefix, tags) =
        (Clients::load().await, format!("{scope}/acme/"), [("owner".to_owned(), "acme".to_owned())].into());
    let (secrets, parameters) = (clients.secrets(), clients.parameters());

    // Scheduled for deletion: listed as such, and taken back with its value, once or twice.
    let going = format!("{prefix}going");
    sdk.create_secret().name(&going).secret_string(CANARY).send().await.unwrap();
    sdk.delete_secret().secret_id(&going).recovery_window_in_days(7).send().await.unwrap();
    let found = secrets.metadata(&prefix, []).await.unwrap();
    assert!(found.len() == 1 && found[0].deleted_at.is_some() && found[0].policy.is_none(), "{found:?}");
    secrets.take_back(&going).await.unwrap();
    secrets.take_back(&going).await.unwrap();
    assert_eq!(sdk.get_secret_value().secret_id(&going).send().await.unwrap().secret_string(), Some(CANARY));

    // Gone: made again with all but a value; a second time says that it is there.
    let gone = sources::configuration::Secret {
        name: format!("{prefix}gone"),
        description: Some("what it is for".into()),
        tags: [("tier".to_owned(), "1".to_owned())].into(),
        ..Default::default()
    };
    assert_eq!(secrets.create(&gone).await, Ok(Started::Now));
    assert_eq!(secrets.create(&gone).await, Ok(Started::Before));
    secrets.tag(&gone.name, &tags).await.unwrap();
    secrets.set_policy(&gone.name, POLICY).await.unwrap();
    let value = sdk.get_secret_value().secret_id(&gone.name).send().await;
    assert!(value.is_err() || value.unwrap().secret_string().is_none(), "a value came from nowhere");
    // The list is not needed for what is known by name, and what does not exist is left out.
    let found = secrets.metadata(&format!("{prefix}none/"), [gone.name.clone(), format!("{prefix}never")]).await.unwrap();
    assert_eq!(
        (found.len(), found[0].description.as_deref(), found[0].policy.as_deref()),
        (1, Some("what it is for"), Some(POLICY))
    );
    assert_eq!(found[0].tags, [("owner".to_owned(), "acme".to_owned()), ("tier".to_owned(), "1".to_owned())].into());

    let name = format!("/{prefix}mail");
    ssm.put_parameter().name(&name).value(CANARY).r#type(ParameterType::String).send().await.unwrap();
    parameters.tag(&name, &tags).await.unwrap();
    let found = parameters.metadata(&format!("/{prefix}")).await.unwrap();
    assert_eq!((&found[0].tags, found[0].version), (&tags, 1), "written anew");
    assert!(!format!("{found:?}").contains(CANARY), "a value left its service");
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn a_secret_that_is_no_login_is_refused_without_being_quoted() {
    let (config, scope) = (admin().await, fresh());
    let sdk = aws_sdk_secretsmanager::Client::new(&config);
    let secrets = Clients::load().await.secrets();
    let login = format!("{{\"username\":\"app\",\"password\":\"{CANARY}\"}}");
    for (name, value) in [
        ("login", login.clone()),
        ("text", CANARY.to_owned()),
        ("wrong", format!("{{\"username\":\"{CANARY}\",\"password\":7}}")),
    ] {
        sdk.create_secret().name(format!("{scope}/{name}")).secret_string(value).send().await.unwrap();
    }
    let read = secrets.database_credentials(&format!("{scope}/login")).await.unwrap();
    assert_eq!(read.username, "app");
    assert!(!format!("{read:?}").contains(CANARY), "the password was printed");
    for name in ["text", "wrong"] {
        let error = secrets.database_credentials(&format!("{scope}/{name}")).await.unwrap_err();
        assert!(error.to_string().contains(&format!("{scope}/{name}")) && !format!("{error:?}").contains(CANARY), "{error:?}");
    }
    assert!(secrets.database_credentials(&format!("{scope}/none")).await.unwrap_err().is_not_found());
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn an_execution_of_one_name_starts_once() {
    let (config, name) = (admin().await, format!("holdfast-test-{}", fresh()));
    let definition = json!({ "StartAt": "Pass", "States": { "Pass": { "Type": "Pass", "End": true } } }).to_string();
    let sfn = aws_sdk_sfn::Client::new(&config);
    let role = "arn:aws:iam::123456789012:role/test";
    let made = sfn.create_state_machine().name(name).role_arn(role).definition(definition).send().await.unwrap();
    let (machines, arn) = (Clients::load().await.machines(), made.state_machine_arn());

    let input = json!({ "request": "rq_1" });
    assert_eq!(machines.start(arn, "rq_1", &input).await, Ok(Started::Now));
    // The same name and input count as the same start while it runs, and as taken afterwards: either is harmless.
    machines.start(arn, "rq_1", &input).await.unwrap();
    assert_eq!(machines.start(arn, "rq_1", &json!({ "request": "other" })).await, Ok(Started::Before));
    let started = sfn.list_executions().state_machine_arn(arn).send().await.unwrap();
    assert_eq!(started.executions().len(), 1);
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn a_digest_is_signed_by_a_p256_key_and_by_no_other() {
    use aws_sdk_kms::{
        primitives::Blob,
        types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec},
    };
    use vault::{PublicKey, SigningError, SigningService};
    let kms = aws_sdk_kms::Client::new(&admin().await);
    let create = async |spec: KeySpec, usage: KeyUsageType| {
        let made = kms.create_key().key_spec(spec).key_usage(usage).send().await.unwrap();
        made.key_metadata.unwrap().arn.unwrap()
    };
    let arn = create(KeySpec::EccNistP256, KeyUsageType::SignVerify).await;
    let (clients, digest) = (Clients::load().await, [7; 32]);
    let signing = clients.signing(&arn);

    let signature = signing.sign(digest).await.unwrap();
    // The service's own opinion; that the library verifies the same with the public key alone is in the vault's conformance.
    let verify = kms.verify().key_id(&arn).message(Blob::new(digest)).message_type(MessageType::Digest);
    let verify = verify.signing_algorithm(SigningAlgorithmSpec::EcdsaSha256).signature(Blob::new(signature));
    assert!(verify.send().await.unwrap().signature_valid());
    let der = kms.get_public_key().key_id(&arn).send().await.unwrap().public_key.unwrap();
    assert_eq!(signing.public_key().await.unwrap(), PublicKey::from_der(der.as_ref()).unwrap());

    kms.disable_key().key_id(&arn).send().await.unwrap();
    assert!(matches!(signing.sign(digest).await, Err(SigningError::Unusable { .. })), "signed by a disabled key");
    signing.public_key().await.expect("it was fetched before");
    assert!(matches!(clients.signing(&arn).public_key().await, Err(SigningError::Unusable { .. })), "told by a disabled key");

    for (spec, usage) in
        [(KeySpec::SymmetricDefault, KeyUsageType::EncryptDecrypt), (KeySpec::EccNistP384, KeyUsageType::SignVerify)]
    {
        let other = clients.signing(&create(spec.clone(), usage.clone()).await);
        assert!(matches!(other.public_key().await, Err(SigningError::Unusable { .. })), "{spec} for {usage}");
        assert!(matches!(other.sign(digest).await, Err(SigningError::Unusable { .. })), "{spec} for {usage}");
    }
    let nowhere = clients.signing(&arn.replace(&arn[arn.len() - 12..], "000000000000"));
    assert!(matches!(nowhere.public_key().await, Err(SigningError::Unusable { .. })), "a key that is not there");
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn what_an_instance_lost_is_told_and_given_back() {
    use aws::{Instance, Remedy, settings_lost};
    use aws_sdk_rds::types::{ApplyMethod, Parameter};
    let (config, name) = (admin().await, format!("hf-{}", fresh()));
    let (rds, instances) = (aws_sdk_rds::Client::new(&config), Clients::load().await.instances());
    let group = rds.create_db_parameter_group().db_parameter_group_name(&name).db_parameter_group_family("postgres15");
    group.description("a test's").send().await.unwrap();
    let parameter = Parameter::builder().parameter_name("work_mem").parameter_value("65536").apply_method(ApplyMethod::Immediate);
    rds.modify_db_parameter_group().db_parameter_group_name(&name).parameters(parameter.build()).send().await.unwrap();
    let made = rds.create_db_instance().db_instance_identifier(&name).engine("postgres").db_instance_class("db.t4g.micro");
    let made = made.allocated_storage(20).master_username("master").master_user_password(CANARY).db_parameter_group_name(&name);
    made.backup_retention_period(14).preferred_maintenance_window("sun:03:00-sun:04:00").send().await.unwrap();

    // One that is being made has no port yet, and takes no change.
    while instances.describe(&name).await.unwrap().status != "available" {
        tokio::task::yield_now().await;
    }
    let recorded = instances.settings(&name).await.unwrap();
    assert_eq!(recorded.parameters[&name], [("work_mem".to_owned(), "65536".to_owned())].into());
    assert!(!format!("{recorded:?}").contains(CANARY), "a password is among the settings");
    // As if it had come back with RDS's own choices.
    let worse = rds.modify_db_instance().db_instance_identifier(&name).backup_retention_period(1).apply_immediately(true);
    worse.preferred_maintenance_window("mon:05:00-mon:06:00").send().await.unwrap();

    let found = Instance { settings: instances.settings(&name).await.unwrap(), ..instances.describe(&name).await.unwrap() };
    let lost: Vec<_> = settings_lost(&recorded, &found.settings).into_iter().map(|lost| (lost.setting, lost.remedy)).collect();
    let expected = [("backup_retention_days", Remedy::Modify), ("maintenance_window", Remedy::Modify)];
    assert_eq!(lost, expected);
    instances.reapply(&found, &recorded).await.unwrap();
    assert_eq!(settings_lost(&recorded, &instances.settings(&name).await.unwrap()), []);
    instances.delete(&name).await.unwrap();
}
