//! One configuration, and each noun of this crate made from it when it is first needed.
//!
//! A client is only made by the function that uses it: a cold start pays for nothing else. All of them share one
//! connection pool and one cache of credentials.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};

use crate::{
    Alerts, Archives, DynamoTable, Instances, KmsKeys, KmsSigning, Machines, Media, Parameters, S3Store, Secrets, SignedHttp,
    SnapshotOf, Snapshots, TenantKeys, VaultLocks,
};

/// Attempts per call, the first included. Beyond them the next delivery of the event tries again.
const ATTEMPTS_MAX: u32 = 3;
/// For connecting: within a region it takes milliseconds or does not happen.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// For one attempt of an ordinary call. Packs are larger and have [`OBJECT_ATTEMPT_TIMEOUT`].
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// For a call with all its attempts.
const CALL_TIMEOUT: Duration = Duration::from_secs(50);
/// For one attempt to write or begin to read an object of up to 32 MiB.
const OBJECT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// For such a call with all its attempts.
const OBJECT_CALL_TIMEOUT: Duration = Duration::from_secs(150);

/// Makes the nouns of this crate.
#[derive(Debug, Clone)]
pub struct Clients {
    config: SdkConfig,
}

impl Clients {
    /// Reads AWS's own environment variables and profile. Makes no call.
    pub async fn load() -> Self {
        // The loader's future is tens of kilobytes; on the heap it does not weigh on every caller's.
        Self::of(Box::pin(Self::loader().load()).await)
    }

    /// What every configuration has: how long a call may take, and how often it is tried.
    pub(crate) fn loader() -> ConfigLoader {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts)
    }

    pub(crate) fn of(config: SdkConfig) -> Self {
        Self { config }
    }

    /// The catalog's table.
    #[must_use]
    pub fn table(&self, name: &str) -> DynamoTable {
        DynamoTable::new(aws_sdk_dynamodb::Client::new(&self.config), name)
    }

    /// The vault's bucket.
    #[must_use]
    pub fn store(&self, bucket: &str) -> S3Store {
        S3Store::new(self.s3(), bucket)
    }

    /// The vault's KMS key.
    #[must_use]
    pub fn keys(&self, key_arn: &str) -> KmsKeys {
        KmsKeys::new(aws_sdk_kms::Client::new(&self.config), key_arn)
    }

    /// Tenants' own KMS keys, as things.
    #[must_use]
    pub fn tenant_keys(&self) -> TenantKeys {
        TenantKeys::new(aws_sdk_kms::Client::new(&self.config))
    }

    /// The locks on the vault's objects.
    #[must_use]
    pub fn vault_locks(&self, bucket: &str) -> VaultLocks {
        VaultLocks::new(self.s3(), bucket)
    }

    /// The KMS key that signs the vault's links.
    #[must_use]
    pub fn signing(&self, key_arn: &str) -> KmsSigning {
        KmsSigning::new(aws_sdk_kms::Client::new(&self.config), key_arn)
    }

    /// RDS instances.
    #[must_use]
    pub fn instances(&self) -> Instances {
        Instances::new(aws_sdk_rds::Client::new(&self.config))
    }

    /// RDS's snapshots of instances or of clusters.
    #[must_use]
    pub fn snapshots(&self, of: SnapshotOf) -> Snapshots {
        Snapshots::new(aws_sdk_rds::Client::new(&self.config), of)
    }

    /// RDS's exports of snapshots to files.
    #[must_use]
    pub fn archives(&self) -> Archives {
        Archives::new(aws_sdk_rds::Client::new(&self.config))
    }

    /// Secrets Manager.
    #[must_use]
    pub fn secrets(&self) -> Secrets {
        Secrets::new(aws_sdk_secretsmanager::Client::new(&self.config))
    }

    /// SSM parameters.
    #[must_use]
    pub fn parameters(&self) -> Parameters {
        Parameters::new(aws_sdk_ssm::Client::new(&self.config))
    }

    /// A bucket of tenants' media.
    #[must_use]
    pub fn media(&self, bucket: &str) -> Media {
        Media::new(self.s3(), bucket)
    }

    /// The topic for alerts.
    #[must_use]
    pub fn alerts(&self, topic_arn: &str) -> Alerts {
        Alerts::new(aws_sdk_sns::Client::new(&self.config), topic_arn)
    }

    /// Step Functions state machines.
    #[must_use]
    pub fn machines(&self) -> Machines {
        Machines::new(aws_sdk_sfn::Client::new(&self.config))
    }

    /// Signed requests to the operator's Function URL.
    #[must_use]
    pub fn signed_http(&self, base_url: &str) -> SignedHttp {
        SignedHttp::new(&self.config, base_url)
    }

    fn s3(&self) -> aws_sdk_s3::Client {
        // Bucket names become host names unless the endpoint is one of our own, where such names do not resolve.
        let own_endpoint = self.config.endpoint_url().is_some_and(|url| url.starts_with("http://"));
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(OBJECT_ATTEMPT_TIMEOUT)
            .operation_timeout(OBJECT_CALL_TIMEOUT)
            .build();
        let config =
            aws_sdk_s3::config::Builder::from(&self.config).timeout_config(timeouts).force_path_style(own_endpoint).build();
        aws_sdk_s3::Client::from_conf(config)
    }
}
