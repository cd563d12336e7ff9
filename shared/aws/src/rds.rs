//! RDS instances and their snapshots.

use std::collections::BTreeMap;

use aws_sdk_rds::{
    Client,
    types::{DbInstance, DbSnapshot, Tag},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{AwsError, Call, Started, time::timestamp};

/// Tags of a resource, by name.
pub type Tags = BTreeMap<String, String>;

/// A DB instance as RDS describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its identifier.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// RDS's immutable id of it: another instance that later takes the name has another.
    pub resource_id: String,
    /// `available`, `creating`, `deleting` and so on.
    pub status: String,
    /// Host and port, once it has them.
    pub endpoint: Option<(String, u16)>,
    /// The engine, such as `postgres`.
    pub engine: String,
    /// The engine's version.
    pub engine_version: String,
    /// When it was created, once it is.
    pub created_at: Option<Timestamp>,
    /// What a restore from its snapshot would lose.
    pub settings: InstanceSettings,
    /// Its tags.
    pub tags: Tags,
}

impl Instance {
    /// Whether it takes connections.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.status == "available" && self.endpoint.is_some()
    }
}

/// Settings of an instance that live outside its snapshot. They are recorded with the snapshot and applied to a restore.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSettings {
    /// Instance class.
    pub class: Option<String>,
    /// Subnet group.
    pub subnet_group: Option<String>,
    /// VPC security groups.
    pub security_groups: Vec<String>,
    /// Parameter groups.
    pub parameter_groups: Vec<String>,
    /// Option groups.
    pub option_groups: Vec<String>,
    /// The certificate authority of its TLS certificate.
    pub ca_certificate: Option<String>,
    /// Storage type.
    pub storage_type: Option<String>,
    /// Storage, in GiB.
    pub storage_gib: Option<i32>,
    /// Provisioned input/output operations per second.
    pub iops: Option<i32>,
    /// The KMS key of its storage, if it is encrypted.
    pub kms_key: Option<String>,
    /// Whether it has a standby.
    pub multi_az: bool,
    /// Whether it is reachable from outside its VPC.
    pub publicly_accessible: bool,
    /// Whether it refuses to be deleted.
    pub deletion_protection: bool,
    /// Whether IAM identities may log in.
    pub iam_authentication: bool,
    /// Whether its snapshots inherit its tags.
    pub copies_tags: bool,
    /// Days of automatic backups.
    pub backup_retention_days: Option<i32>,
    /// When automatic backups are taken, in UTC.
    pub backup_window: Option<String>,
    /// When it may be maintained, in UTC.
    pub maintenance_window: Option<String>,
    /// Logs that go to CloudWatch.
    pub log_exports: Vec<String>,
}

/// How far a snapshot has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SnapshotState {
    /// RDS is still copying.
    Creating {
        /// Progress, 0 to 100.
        percent: u8,
    },
    /// It can be restored.
    Available,
    /// It never will be.
    Failed {
        /// RDS's word for it.
        status: String,
    },
}

/// A DB snapshot as RDS describes it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its identifier.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// The instance it was taken of.
    pub instance: String,
    /// RDS's immutable id of that instance.
    pub resource_id: String,
    /// How far it has come.
    pub state: SnapshotState,
    /// The instant whose data it holds, once RDS knows.
    pub created_at: Option<Timestamp>,
    /// The engine, such as `postgres`.
    pub engine: String,
    /// The engine's version.
    pub engine_version: String,
    /// Size of the instance's storage, in GiB.
    pub storage_gib: i32,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// The KMS key it is encrypted under.
    pub kms_key: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// A new instance to be made from a snapshot, in the same network as its source and nowhere wider.
#[derive(Debug, Clone)]
pub struct Restoration<'a> {
    /// Identifier of the new instance.
    pub name: &'a str,
    /// The snapshot.
    pub snapshot: &'a str,
    /// The source's settings.
    pub settings: &'a InstanceSettings,
    /// Tags of the new instance.
    pub tags: &'a Tags,
}

/// RDS.
#[derive(Debug, Clone)]
pub struct Instances {
    client: Client,
}

impl Instances {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Describes one instance. Needs `rds:DescribeDBInstances`.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn describe(&self, name: &str) -> Result<Instance, AwsError> {
        let call = Call::new("rds:DescribeDBInstances", name);
        match self.client.describe_db_instances().db_instance_identifier(name).send().await {
            Ok(found) => match found.db_instances().first() {
                Some(instance) => read_instance(instance, call),
                None => Err(call.lacks("instance")),
            },
            Err(error) => Err(call.failed(error)),
        }
    }

    /// Lists the instances whose names start with `prefix`. Needs `rds:DescribeDBInstances` on all.
    ///
    /// # Errors
    /// If a page of the listing fails.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Instance>, AwsError> {
        let call = || Call::new("rds:DescribeDBInstances", format!("{prefix}*"));
        let mut instances = self.client.describe_db_instances().into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(instance) = instances.next().await {
            let instance = instance.map_err(|error| call().failed(error))?;
            if instance.db_instance_identifier().is_some_and(|name| name.starts_with(prefix)) {
                found.push(read_instance(&instance, call())?);
            }
        }
        Ok(found)
    }

    /// Begins a snapshot of an instance. Needs `rds:CreateDBSnapshot` and `rds:AddTagsToResource`.
    ///
    /// # Errors
    /// If the instance does not exist or is in no state to be copied.
    pub async fn create_snapshot(&self, name: &str, instance: &str, tags: &Tags) -> Result<Started, AwsError> {
        let call = self.client.create_db_snapshot().db_snapshot_identifier(name).db_instance_identifier(instance);
        match call.set_tags(Some(to_tags(tags))).send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_db_snapshot_already_exists_fault()) => {
                Ok(Started::Before)
            }
            Err(error) => Err(Call::new("rds:CreateDBSnapshot", format!("{name} of {instance}")).failed(error)),
        }
    }

    /// Describes one snapshot. Needs `rds:DescribeDBSnapshots`.
    ///
    /// # Errors
    /// `NotFound` if there is none of this name.
    pub async fn describe_snapshot(&self, name: &str) -> Result<Snapshot, AwsError> {
        let call = Call::new("rds:DescribeDBSnapshots", name);
        match self.client.describe_db_snapshots().db_snapshot_identifier(name).send().await {
            Ok(found) => match found.db_snapshots().first() {
                Some(snapshot) => read_snapshot(snapshot, call),
                None => Err(call.lacks("snapshot")),
            },
            Err(error) => Err(call.failed(error)),
        }
    }

    /// Begins to make a new instance from a snapshot. Needs `rds:RestoreDBInstanceFromDBSnapshot` and `rds:AddTagsToResource`.
    ///
    /// The new instance is private, single, and may be deleted again, whatever its source is.
    ///
    /// # Errors
    /// If the snapshot does not exist, or one of the source's groups no longer does.
    pub async fn restore(&self, wanted: &Restoration<'_>) -> Result<Started, AwsError> {
        let settings = wanted.settings.clone();
        let call = self
            .client
            .restore_db_instance_from_db_snapshot()
            .db_instance_identifier(wanted.name)
            .db_snapshot_identifier(wanted.snapshot)
            .set_db_instance_class(settings.class)
            .set_db_subnet_group_name(settings.subnet_group)
            .set_vpc_security_group_ids(Some(settings.security_groups).filter(|groups| !groups.is_empty()))
            .set_db_parameter_group_name(custom(settings.parameter_groups))
            .set_option_group_name(custom(settings.option_groups))
            .set_ca_certificate_identifier(settings.ca_certificate)
            .enable_iam_database_authentication(settings.iam_authentication)
            .publicly_accessible(false)
            .multi_az(false)
            .deletion_protection(false)
            .auto_minor_version_upgrade(false)
            .set_tags(Some(to_tags(wanted.tags)));
        match call.send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
                Ok(Started::Before)
            }
            Err(error) => {
                let subject = format!("{} from {}", wanted.name, wanted.snapshot);
                Err(Call::new("rds:RestoreDBInstanceFromDBSnapshot", subject).failed(error))
            }
        }
    }

    /// Begins to delete an instance without a last snapshot. Needs `rds:DeleteDBInstance`.
    ///
    /// [`Started::Before`] says that it is gone or going already.
    ///
    /// # Errors
    /// If it cannot be deleted now, or is protected.
    pub async fn delete(&self, name: &str) -> Result<Started, AwsError> {
        let call = self.client.delete_db_instance().db_instance_identifier(name);
        match call.skip_final_snapshot(true).delete_automated_backups(true).send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) => {
                let gone = error.as_service_error().is_some_and(|error| error.is_db_instance_not_found_fault());
                let busy = error.as_service_error().is_some_and(|error| error.is_invalid_db_instance_state_fault());
                if gone || (busy && self.describe(name).await.is_ok_and(|instance| instance.status == "deleting")) {
                    return Ok(Started::Before);
                }
                Err(Call::new("rds:DeleteDBInstance", name).failed(error))
            }
        }
    }
}

/// The first group that somebody made. RDS's own defaults are chosen by RDS, and cannot be asked for in every account.
fn custom(groups: Vec<String>) -> Option<String> {
    groups.into_iter().find(|group| !group.starts_with("default.") && !group.starts_with("default:"))
}

fn to_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn read_tags(tags: &[Tag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

fn read_instance(found: &DbInstance, call: Call) -> Result<Instance, AwsError> {
    let (Some(name), Some(arn), Some(resource_id)) =
        (found.db_instance_identifier(), found.db_instance_arn(), found.dbi_resource_id())
    else {
        return Err(call.lacks("instance's name, ARN or resource id"));
    };
    let endpoint =
        found.endpoint().and_then(|endpoint| Some((endpoint.address()?.to_owned(), u16::try_from(endpoint.port()?).ok()?)));
    Ok(Instance {
        name: name.to_owned(),
        arn: arn.to_owned(),
        resource_id: resource_id.to_owned(),
        status: found.db_instance_status().unwrap_or("unknown").to_owned(),
        endpoint,
        engine: found.engine().unwrap_or_default().to_owned(),
        engine_version: found.engine_version().unwrap_or_default().to_owned(),
        created_at: found.instance_create_time().and_then(timestamp),
        settings: read_settings(found),
        tags: read_tags(found.tag_list()),
    })
}

fn read_settings(found: &DbInstance) -> InstanceSettings {
    let text = |value: Option<&str>| value.map(str::to_owned);
    let names = |names: Vec<Option<&str>>| names.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
    InstanceSettings {
        class: text(found.db_instance_class()),
        subnet_group: text(found.db_subnet_group().and_then(|group| group.db_subnet_group_name())),
        security_groups: names(found.vpc_security_groups().iter().map(|group| group.vpc_security_group_id()).collect()),
        parameter_groups: names(found.db_parameter_groups().iter().map(|group| group.db_parameter_group_name()).collect()),
        option_groups: names(found.option_group_memberships().iter().map(|group| group.option_group_name()).collect()),
        ca_certificate: text(found.ca_certificate_identifier()),
        storage_type: text(found.storage_type()),
        storage_gib: found.allocated_storage(),
        iops: found.iops(),
        kms_key: text(found.kms_key_id()),
        multi_az: found.multi_az().unwrap_or(false),
        publicly_accessible: found.publicly_accessible().unwrap_or(false),
        deletion_protection: found.deletion_protection().unwrap_or(false),
        iam_authentication: found.iam_database_authentication_enabled().unwrap_or(false),
        copies_tags: found.copy_tags_to_snapshot().unwrap_or(false),
        backup_retention_days: found.backup_retention_period(),
        backup_window: text(found.preferred_backup_window()),
        maintenance_window: text(found.preferred_maintenance_window()),
        log_exports: found.enabled_cloudwatch_logs_exports().to_vec(),
    }
}

fn read_snapshot(found: &DbSnapshot, call: Call) -> Result<Snapshot, AwsError> {
    let (Some(name), Some(instance), Some(status)) =
        (found.db_snapshot_identifier(), found.db_instance_identifier(), found.status())
    else {
        return Err(call.lacks("snapshot's name, instance or status"));
    };
    let percent = u8::try_from(found.percent_progress().unwrap_or(0).clamp(0, 100)).unwrap_or(0);
    let state = match status {
        "available" => SnapshotState::Available,
        "creating" | "pending" | "copying" => SnapshotState::Creating { percent },
        other => SnapshotState::Failed { status: other.to_owned() },
    };
    Ok(Snapshot {
        name: name.to_owned(),
        arn: found.db_snapshot_arn().unwrap_or_default().to_owned(),
        instance: instance.to_owned(),
        resource_id: found.dbi_resource_id().unwrap_or_default().to_owned(),
        state,
        // The database's own time when RDS has it: the time of creation is when the copy was asked for.
        created_at: found.snapshot_database_time().or(found.snapshot_create_time()).and_then(timestamp),
        engine: found.engine().unwrap_or_default().to_owned(),
        engine_version: found.engine_version().unwrap_or_default().to_owned(),
        storage_gib: found.allocated_storage().unwrap_or(0),
        encrypted: found.encrypted().unwrap_or(false),
        kms_key: found.kms_key_id().map(str::to_owned),
        tags: read_tags(found.tag_list()),
    })
}
