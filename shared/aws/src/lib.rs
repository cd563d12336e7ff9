//! AWS, and the only crate that names its SDK.
//!
//! One file per noun, each thin: it makes the call, reads the answer into our own words and gives every failure a name.
//! Nothing is decided here. What the functions may call is in `infra/template.yaml`; each public function says which
//! actions it needs.
//!
//! The ports of the inner crates are implemented by [`DynamoTable`], [`S3Store`], [`KmsKeys`] and [`KmsSigning`]; their laws
//! are checked by `tests/` against the local stack.

mod alerts;
mod clients;
mod dynamo_table;
mod error;
mod kms_keys;
mod kms_signing;
mod machines;
mod media;
mod parameters;
mod person;
mod rds;
mod rds_archives;
mod rds_settings;
mod rds_snapshots;
mod s3_store;
mod secrets;
mod signed_http;
mod tenant_keys;
mod time;
mod vault_locks;

pub use alerts::Alerts;
pub use clients::Clients;
pub use dynamo_table::DynamoTable;
pub use error::{Answer, AwsError, Call};
pub use kms_keys::KmsKeys;
pub use kms_signing::KmsSigning;
pub use machines::{Described, Execution, Machines, TaskAnswer};
pub use media::{Media, MediaPrefix};
pub use parameters::Parameters;
pub use person::Person;
pub use rds::{AutomatedBackup, Instance, Instances, Origin, Purpose, Restoration, RestoreWindow, Tags};
pub use rds_archives::{Archive, ArchiveState, Archives};
pub use rds_settings::{InstanceSettings, Lost, Remedy, settings_lost};
pub use rds_snapshots::{Snapshot, SnapshotOf, SnapshotState, Snapshots};
pub use s3_store::S3Store;
pub use secrets::{DatabaseCredentials, Secrets};
pub use signed_http::{HttpAnswer, SignedHttp};
pub use tenant_keys::{KeyStanding, TenantKeys};
pub use vault_locks::VaultLocks;

/// What became of a call that starts something under a name of our choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// This call started it.
    Now,
    /// It was there already: an earlier delivery of the same event started it. Compare before taking it for ours.
    Before,
}
