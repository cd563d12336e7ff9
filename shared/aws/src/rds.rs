//! RDS instances and their snapshots.

use std::collections::BTreeMap;

use aws_sdk_rds::{
    Client,
    types::{DbInstance, DbSnapshot, Tag},
};
use jiff::Timestamp;

use crate::{
    AwsError, Call, InstanceSettings, Remedy, Started,
    rds_settings::{first, own},
    settings_lost,
    time::timestamp,
};

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

/// What a new instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A test: private, single, and may be deleted again, whatever its source is.
    Test,
    /// To stand in for its source: as much like it as the call can make it. [`crate::settings_lost`] tells of the rest.
    Replacement,
}

/// A new instance to be made from a snapshot, in the same network as its source and nowhere wider.
#[derive(Debug, Clone)]
pub struct Restoration<'a> {
    /// What it is for.
    pub purpose: Purpose,
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
    /// # Errors
    /// If the snapshot does not exist, or one of the source's groups no longer does.
    pub async fn restore(&self, wanted: &Restoration<'_>) -> Result<Started, AwsError> {
        let settings = wanted.settings;
        let call = self
            .client
            .restore_db_instance_from_db_snapshot()
            .db_instance_identifier(wanted.name)
            .db_snapshot_identifier(wanted.snapshot)
            .set_db_instance_class(settings.class.clone())
            .set_db_subnet_group_name(settings.subnet_group.clone())
            .set_vpc_security_group_ids(Some(settings.security_groups.clone()).filter(|groups| !groups.is_empty()))
            .set_db_parameter_group_name(first(own(&settings.parameter_groups)))
            .set_option_group_name(first(own(&settings.option_groups)))
            .set_ca_certificate_identifier(settings.ca_certificate.clone())
            .enable_iam_database_authentication(settings.iam_authentication)
            .set_tags(Some(to_tags(wanted.tags)));
        let call = match wanted.purpose {
            Purpose::Test => {
                call.publicly_accessible(false).multi_az(false).deletion_protection(false).auto_minor_version_upgrade(false)
            }
            Purpose::Replacement => settings.like_the_source(call),
        };
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

    /// All settings of an instance, with what its own parameter groups set. Needs `rds:DescribeDBInstances` and
    /// `rds:DescribeDBParameters`.
    ///
    /// # Errors
    /// `NotFound` if there is no such instance.
    pub async fn settings(&self, name: &str) -> Result<InstanceSettings, AwsError> {
        let mut settings = self.describe(name).await?.settings;
        for group in own(&settings.parameter_groups) {
            match self.group_parameters(&group).await {
                Ok(set) => _ = settings.parameters.insert(group, set),
                // It is just being deleted. Its name stays recorded.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(settings)
    }

    async fn group_parameters(&self, group: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let call = self.client.describe_db_parameters().db_parameter_group_name(group);
        // Only what somebody set; the rest are the engine's defaults.
        let mut found = call.source("user").into_paginator().items().send();
        let mut parameters = BTreeMap::new();
        while let Some(parameter) = found.next().await {
            let parameter = parameter.map_err(|error| Call::new("rds:DescribeDBParameters", group).failed(error))?;
            if let (Some(name), Some(value)) = (parameter.parameter_name, parameter.parameter_value) {
                parameters.insert(name, value);
            }
        }
        Ok(parameters)
    }

    /// Gives an instance back what [`crate::settings_lost`] finds and calls can mend. Needs `rds:ModifyDBInstance`,
    /// `rds:AddRoleToDBInstance` with `iam:PassRole`, and `rds:AddTagsToResource`.
    ///
    /// Each call may be made again. The instance takes the changes up by and by: describe it again to see that it has them.
    ///
    /// # Errors
    /// If a call fails; what came before it is done.
    pub async fn reapply(&self, instance: &Instance, recorded: &InstanceSettings) -> Result<(), AwsError> {
        let lost = settings_lost(recorded, &instance.settings);
        if lost.iter().any(|lost| lost.remedy == Remedy::Modify) {
            let call = self.client.modify_db_instance().db_instance_identifier(&instance.name).apply_immediately(true);
            let call = recorded.give_back(call, &instance.settings);
            call.send().await.map_err(|error| Call::new("rds:ModifyDBInstance", &instance.name).failed(error))?;
        }
        for (feature, role) in recorded.roles.iter().filter(|(feature, _)| !instance.settings.roles.contains_key(*feature)) {
            let call = self.client.add_role_to_db_instance().db_instance_identifier(&instance.name);
            let added = call.feature_name(feature).role_arn(role).send().await;
            added.map_err(|error| Call::new("rds:AddRoleToDBInstance", format!("{role} to {}", instance.name)).failed(error))?;
        }
        if lost.iter().any(|lost| lost.remedy == Remedy::Tag) {
            let call = self.client.add_tags_to_resource().resource_name(&instance.arn).set_tags(Some(to_tags(&recorded.tags)));
            call.send().await.map_err(|error| Call::new("rds:AddTagsToResource", &instance.name).failed(error))?;
        }
        Ok(())
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
        settings: InstanceSettings::read(found, read_tags(found.tag_list())),
        tags: read_tags(found.tag_list()),
    })
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
