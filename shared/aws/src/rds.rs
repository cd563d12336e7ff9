//! RDS instances.

use std::collections::BTreeMap;

use aws_sdk_rds::{
    Client,
    types::{DbInstance, DbInstanceAutomatedBackup, Tag},
};
use jiff::Timestamp;

use crate::{
    Answer, AwsError, Call, InstanceSettings, Remedy, Started,
    rds_settings::own,
    settings_lost,
    time::{date_time, timestamp},
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

/// What a new instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A test: private, single, and may be deleted again, whatever its source is.
    Test,
    /// To stand in for its source: as much like it as the call can make it. [`crate::settings_lost`] tells of the rest.
    Replacement,
}

/// What a new instance gets its data from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// A snapshot of this name.
    Snapshot(&'a str),
    /// What an instance held at an instant, by its automated backups and its log. RDS takes whole seconds.
    Instant {
        /// The instance.
        instance: &'a str,
        /// The instant, inside of [`Instances::restorable`].
        at: Timestamp,
    },
    /// What the instance with this id held at an instant, whatever it is called by now, and also if it is gone and RDS keeps its automated
    /// backups.
    InstantOf {
        /// RDS's immutable id of that instance.
        resource_id: &'a str,
        /// The instant, inside of the window of [`Instances::automated_backups`].
        at: Timestamp,
    },
}

impl std::fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Snapshot(name) => f.write_str(name),
            Self::Instant { instance: source, at } | Self::InstantOf { resource_id: source, at } => write!(f, "{source} at {at}"),
        }
    }
}

/// A new instance to be made, in the same network as its source and nowhere wider.
#[derive(Debug, Clone)]
pub struct Restoration<'a> {
    /// What it is for.
    pub purpose: Purpose,
    /// Identifier of the new instance.
    pub name: &'a str,
    /// What it gets its data from.
    pub from: Origin<'a>,
    /// The source's settings.
    pub settings: &'a InstanceSettings,
    /// Tags of the new instance.
    pub tags: &'a Tags,
}

/// The instants that an instance can be restored to, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreWindow {
    /// The first.
    pub earliest: Timestamp,
    /// The last for now; some minutes ago, as long as the instance runs.
    pub latest: Timestamp,
}

/// The automated backups of one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutomatedBackup {
    /// The instance's identifier: also of one that is gone, whose name another may have taken since.
    pub instance: String,
    /// RDS's immutable id of it.
    pub resource_id: String,
    /// Whether the instance is gone: RDS keeps these for as many days as were asked for, and its log grows no more.
    pub is_kept: bool,
    /// The instants that it can be restored to.
    pub window: RestoreWindow,
}

/// RDS's instances.
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

    /// Host and port of an Aurora cluster's writer, once it has them. Needs `rds:DescribeDBClusters`.
    ///
    /// # Errors
    /// `NotFound` if there is no cluster of this name.
    pub async fn writer_of(&self, cluster: &str) -> Result<Option<(String, u16)>, AwsError> {
        let call = Call::new("rds:DescribeDBClusters", cluster);
        match self.client.describe_db_clusters().db_cluster_identifier(cluster).send().await {
            Ok(found) => match found.db_clusters().first() {
                Some(found) => {
                    let port = found.port().and_then(|port| u16::try_from(port).ok());
                    Ok(found.endpoint().map(str::to_owned).zip(port))
                }
                None => Err(call.lacks("cluster")),
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

    /// Begins to make a new instance. Needs `rds:RestoreDBInstanceFromDBSnapshot` for one from a snapshot and
    /// `rds:RestoreDBInstanceToPointInTime` for one of an instant, and `rds:AddTagsToResource`.
    ///
    /// [`Started::Before`] says that there is one of that name, whoever made it.
    ///
    /// # Errors
    /// If the snapshot does not exist, the instant cannot be restored, or one of the source's groups no longer exists. `Unusable` if RDS
    /// refuses what was asked for, as it will every time.
    pub async fn restore(&self, wanted: &Restoration<'_>) -> Result<Started, AwsError> {
        match wanted.from {
            Origin::Snapshot(snapshot) => self.restore_snapshot(wanted, snapshot).await,
            Origin::Instant { at, .. } | Origin::InstantOf { at, .. } => self.restore_to_point_in_time(wanted, at).await,
        }
    }

    async fn restore_snapshot(&self, wanted: &Restoration<'_>, snapshot: &str) -> Result<Started, AwsError> {
        let call = self.client.restore_db_instance_from_db_snapshot().db_snapshot_identifier(snapshot);
        let call = wanted.settings.name_in_restore(wanted.purpose, call);
        match call.db_instance_identifier(wanted.name).set_tags(Some(to_tags(wanted.tags))).send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
                Ok(Started::Before)
            }
            Err(error) => {
                let subject = format!("{} from {}", wanted.name, wanted.from);
                Err(refused_or(Answer::of(error), Call::new("rds:RestoreDBInstanceFromDBSnapshot", subject)))
            }
        }
    }

    async fn restore_to_point_in_time(&self, wanted: &Restoration<'_>, at: Timestamp) -> Result<Started, AwsError> {
        let call = self.client.restore_db_instance_to_point_in_time();
        let call = match wanted.from {
            Origin::InstantOf { resource_id, .. } => call.source_dbi_resource_id(resource_id),
            Origin::Instant { instance: name, .. } | Origin::Snapshot(name) => call.source_db_instance_identifier(name),
        };
        let call = wanted.settings.name_in_restore_to_time(wanted.purpose, call.restore_time(date_time(at)));
        match call.target_db_instance_identifier(wanted.name).set_tags(Some(to_tags(wanted.tags))).send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_db_instance_already_exists_fault()) => {
                Ok(Started::Before)
            }
            Err(error) => {
                let subject = format!("{} from {}", wanted.name, wanted.from);
                Err(refused_or(Answer::of(error), Call::new("rds:RestoreDBInstanceToPointInTime", subject)))
            }
        }
    }

    /// The instants that an instance can be restored to, if RDS keeps automated backups of it and has made the first one.
    /// Needs `rds:DescribeDBInstanceAutomatedBackups`.
    ///
    /// # Errors
    /// If the call fails. An instance that does not exist has none, or RDS says so.
    pub async fn restorable(&self, instance: &str) -> Result<Option<RestoreWindow>, AwsError> {
        let call = || Call::new("rds:DescribeDBInstanceAutomatedBackups", instance);
        let asked = self.client.describe_db_instance_automated_backups().db_instance_identifier(instance);
        let mut backups = asked.into_paginator().items().send();
        while let Some(backup) = backups.next().await {
            let backup = backup.map_err(|error| call().failed(error))?;
            // Those of an instance that had the same name are kept too, and its history is another.
            if let Some(backup) = read_backup(&backup, self.region()).filter(|backup| !backup.is_kept) {
                return Ok(Some(backup.window));
            }
        }
        Ok(None)
    }

    /// The automated backups of every instance, also of those that are gone, as far as any can be restored from. Needs
    /// `rds:DescribeDBInstanceAutomatedBackups`.
    ///
    /// # Errors
    /// If the call fails.
    pub async fn automated_backups(&self) -> Result<Vec<AutomatedBackup>, AwsError> {
        let call = || Call::new("rds:DescribeDBInstanceAutomatedBackups", "*");
        // Asked by its name, RDS does not know an instance that is gone.
        let mut backups = self.client.describe_db_instance_automated_backups().into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(backup) = backups.next().await {
            found.extend(read_backup(&backup.map_err(|error| call().failed(error))?, self.region()));
        }
        Ok(found)
    }

    fn region(&self) -> Option<&str> {
        self.client.config().region().map(AsRef::as_ref)
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

/// Sorts the failure of a restore. What RDS refuses about this one instance it refuses every time, and of no other. That its source is in
/// another state, or that there is no room for it today, passes.
fn refused_or(answer: Answer, call: Call) -> AwsError {
    let refused = answer.is(&[
        "DBSubnetGroupDoesNotCoverEnoughAZs",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "InvalidRestoreFault",
        "InvalidSubnet",
        "InvalidVPCNetworkStateFault",
        "NetworkTypeNotSupported",
        "PointInTimeRestoreNotEnabled",
        "StorageTypeNotSupported",
        "ValidationError",
    ]);
    if refused { AwsError::Unusable { call, answer } } else { answer.sorted(call) }
}

pub(crate) fn to_tags(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

pub(crate) fn read_tags(tags: &[Tag]) -> Tags {
    tags.iter().filter_map(|tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()))).collect()
}

/// Those that are being made cannot be restored from yet. Those that are replicated here are of another region's instance, which may have
/// the name of one of ours.
fn read_backup(found: &DbInstanceAutomatedBackup, region: Option<&str>) -> Option<AutomatedBackup> {
    if region.is_some() && found.db_instance_arn().and_then(|arn| arn.split(':').nth(3)) != region {
        return None;
    }
    let is_kept = match found.status()? {
        "active" => false,
        "retained" => true,
        _ => return None,
    };
    let window = found.restore_window()?;
    Some(AutomatedBackup {
        instance: found.db_instance_identifier()?.to_owned(),
        resource_id: found.dbi_resource_id()?.to_owned(),
        is_kept,
        window: RestoreWindow {
            earliest: window.earliest_time().and_then(timestamp)?,
            latest: window.latest_time().and_then(timestamp)?,
        },
    })
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

#[cfg(test)]
mod tests {
    use aws_sdk_rds::{primitives::DateTime, types::RestoreWindow as Window};
    use domain::{Class, Coded};

    use super::*;

    #[test]
    fn what_rds_refuses_about_a_new_instance_is_for_a_person_and_what_passes_is_tried_again() {
        let class = |code: &str| {
            let answer = Answer { code: code.to_owned(), message: String::new(), status: Some(400) };
            refused_or(answer, Call::new("rds:RestoreDBInstanceToPointInTime", "new from old")).code().class()
        };
        for refused in
            ["PointInTimeRestoreNotEnabled", "InvalidRestoreFault", "InvalidParameterCombination", "InvalidParameterValue"]
        {
            assert_eq!(class(refused), Class::Permanent, "{refused}");
        }
        for passes in ["InvalidDBInstanceState", "InvalidDBSnapshotState", "InsufficientDBInstanceCapacity", "InternalFailure"] {
            assert_eq!(class(passes), Class::Transient, "{passes}");
        }
        assert_eq!(class("Throttling"), Class::Throttled);
        assert_eq!(class("AccessDenied"), Class::Denied);
    }

    #[test]
    fn only_automated_backups_of_this_regions_instances_that_can_be_restored_from_count() {
        let window = Window::builder().earliest_time(DateTime::from_secs(1)).latest_time(DateTime::from_secs(2)).build();
        let found = |status: &str, region: &str, window: Option<&Window>| {
            let backup = DbInstanceAutomatedBackup::builder()
                .db_instance_arn(format!("arn:aws:rds:{region}:1:db:pool"))
                .db_instance_identifier("pool")
                .dbi_resource_id("db-1")
                .status(status)
                .set_restore_window(window.cloned())
                .build();
            read_backup(&backup, Some("eu-central-1")).map(|backup| backup.is_kept)
        };
        assert_eq!(found("active", "eu-central-1", Some(&window)), Some(false));
        assert_eq!(found("retained", "eu-central-1", Some(&window)), Some(true));
        assert_eq!(found("creating", "eu-central-1", Some(&window)), None);
        assert_eq!(found("active", "eu-central-1", None), None, "its first backup is not made yet");
        assert_eq!(found("active", "eu-west-1", Some(&window)), None, "replicated from an instance that has the same name there");
    }
}
