//! What an instance has beside its data, which a restore from its snapshot gives back only where it is told to.

use std::collections::BTreeMap;

use aws_sdk_rds::{
    operation::{
        modify_db_instance::builders::ModifyDBInstanceFluentBuilder as Modify,
        restore_db_instance_from_db_snapshot::builders::RestoreDBInstanceFromDBSnapshotFluentBuilder as Restore,
        restore_db_instance_to_point_in_time::builders::RestoreDBInstanceToPointInTimeFluentBuilder as RestoreToTime,
    },
    types::{CloudwatchLogsExportConfiguration, DbInstance, ProcessorFeature},
};
use serde::{Deserialize, Serialize};

use crate::{Purpose, Tags};

/// Below this size, in GiB, gp3 storage of PostgreSQL has its speed fixed, and RDS refuses a call that names it.
const GP3_FIXED_BELOW_GIB: i32 = 400;

/// What is named when an instance is made: the two calls that make one take it by the same words, and have no type in common.
macro_rules! named_in {
    ($settings:expr, $purpose:expr, $call:expr) => {{
        let (settings, call) = ($settings, $call);
        let call = call
            .set_db_instance_class(settings.class.clone())
            .set_db_subnet_group_name(settings.subnet_group.clone())
            .set_vpc_security_group_ids(Some(settings.security_groups.clone()).filter(|groups| !groups.is_empty()))
            .set_db_parameter_group_name(first(own(&settings.parameter_groups)))
            .set_option_group_name(first(own(&settings.option_groups)))
            .set_ca_certificate_identifier(settings.ca_certificate.clone())
            .enable_iam_database_authentication(settings.iam_authentication);
        match $purpose {
            Purpose::Test => {
                call.publicly_accessible(false).multi_az(false).deletion_protection(false).auto_minor_version_upgrade(false)
            }
            Purpose::Replacement => {
                let (iops, throughput) = settings.storage_speed();
                call.set_port(settings.port)
                    .set_network_type(settings.network_type.clone())
                    .set_storage_type(settings.storage_type.clone())
                    .set_iops(iops)
                    .set_storage_throughput(throughput)
                    .dedicated_log_volume(settings.log_volume)
                    .set_processor_features(features(&settings.processor))
                    .set_license_model(settings.license.clone())
                    // RDS refuses a zone for an instance that gets a standby.
                    .set_availability_zone(settings.zone.clone().filter(|_| !settings.multi_az))
                    .multi_az(settings.multi_az)
                    .publicly_accessible(settings.publicly_accessible)
                    .deletion_protection(settings.deletion_protection)
                    .auto_minor_version_upgrade(settings.minor_upgrades)
                    .copy_tags_to_snapshot(settings.copies_tags)
                    .set_backup_retention_period(settings.backup_retention_days)
                    .set_preferred_backup_window(settings.backup_window.clone())
                    .set_enable_cloudwatch_logs_exports(Some(settings.log_exports.clone()).filter(|logs| !logs.is_empty()))
            }
        }
    }};
}

/// Settings of an instance that live outside its snapshot. They are recorded with the snapshot and applied to a restore.
///
/// Those of older recovery points lack what was not recorded then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceSettings {
    /// Instance class.
    pub class: Option<String>,
    /// Subnet group.
    pub subnet_group: Option<String>,
    /// VPC security groups.
    pub security_groups: Vec<String>,
    /// Parameter groups.
    pub parameter_groups: Vec<String>,
    /// What those of them that are not RDS's own set, by group and parameter; they may be changed or gone when it is restored.
    pub parameters: BTreeMap<String, BTreeMap<String, String>>,
    /// Option groups.
    pub option_groups: Vec<String>,
    /// The certificate authority of its TLS certificate.
    pub ca_certificate: Option<String>,
    /// The port it listens on.
    pub port: Option<i32>,
    /// `IPV4` or `DUAL`.
    pub network_type: Option<String>,
    /// Storage type.
    pub storage_type: Option<String>,
    /// Storage, in GiB.
    pub storage_gib: Option<i32>,
    /// Up to where its storage grows by itself, in GiB, if it does.
    pub storage_max_gib: Option<i32>,
    /// Provisioned input/output operations per second.
    pub iops: Option<i32>,
    /// Provisioned throughput of the storage, in MiB per second.
    pub storage_throughput: Option<i32>,
    /// Whether its write-ahead log has a volume of its own.
    pub log_volume: bool,
    /// The KMS key of its storage, if it is encrypted.
    pub kms_key: Option<String>,
    /// Processor features that are not the class's own, by name.
    pub processor: BTreeMap<String, String>,
    /// The licence model.
    pub license: Option<String>,
    /// The availability zone; with a standby, the one of the moment.
    pub zone: Option<String>,
    /// Whether it has a standby.
    pub multi_az: bool,
    /// Whether it is reachable from outside its VPC.
    pub publicly_accessible: bool,
    /// Whether it refuses to be deleted.
    pub deletion_protection: bool,
    /// Whether IAM identities may log in.
    pub iam_authentication: bool,
    /// The directory that its users log in by, if any.
    pub domain: Option<String>,
    /// Whether RDS keeps the master user's password in a secret, and changes it.
    pub managed_password: bool,
    /// IAM roles it may act as, by the feature that needs them.
    pub roles: BTreeMap<String, String>,
    /// Whether RDS may install minor versions.
    pub minor_upgrades: bool,
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
    /// Seconds between measurements of its operating system; 0 for none.
    pub monitoring_interval_s: i32,
    /// The role that delivers them.
    pub monitoring_role: Option<String>,
    /// Whether statements are measured (Performance Insights).
    pub insights: bool,
    /// The KMS key of those measurements.
    pub insights_key: Option<String>,
    /// Days for which they are kept.
    pub insights_days: Option<i32>,
    /// Its read replicas, which a restore does not make.
    pub replicas: Vec<String>,
    /// Its tags.
    pub tags: Tags,
}

/// What gives a lost setting back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// `rds:ModifyDBInstance`.
    Modify,
    /// `rds:AddRoleToDBInstance`.
    AddRole,
    /// `rds:AddTagsToResource`.
    Tag,
    /// Another restore that names it: it is decided when an instance is made.
    RestoreAnew,
    /// A person.
    ByHand,
}

/// A setting that an instance should have and does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its name, as recorded.
    pub setting: &'static str,
    /// What was recorded.
    pub recorded: String,
    /// What the instance has.
    pub found: String,
    /// What gives it back.
    pub remedy: Remedy,
}

/// What an instance that was restored lacks of the settings that its source had, by name; both as
/// [`crate::Instances::settings`] gives them.
///
/// Groups of RDS's own are left out, as RDS chooses them by the engine's version; so is the zone of an instance with a standby.
#[must_use]
pub fn settings_lost(recorded: &InstanceSettings, found: &InstanceSettings) -> Vec<Lost> {
    let lost = |(then, now): (Field, Field)| {
        let (setting, recorded, remedy) = then;
        (recorded != now.1).then_some(Lost { setting, recorded, found: now.1, remedy })
    };
    let mut lost: Vec<Lost> = recorded.fields().into_iter().zip(found.fields()).filter_map(lost).collect();
    // An instance may have more tags, and more storage, than its source had.
    if recorded.tags.iter().all(|(tag, value)| found.tags.get(tag) == Some(value)) {
        lost.retain(|lost| lost.setting != "tags");
    }
    if recorded.storage_gib <= found.storage_gib {
        lost.retain(|lost| lost.setting != "storage_gib");
    }
    if recorded.multi_az {
        lost.retain(|lost| lost.setting != "zone");
    }
    lost
}

type Field = (&'static str, String, Remedy);

impl InstanceSettings {
    /// Every setting as text, with what gives it back.
    fn fields(&self) -> Vec<Field> {
        use Remedy::{AddRole, ByHand, Modify, RestoreAnew, Tag};
        // Taken apart, so that a new setting cannot be forgotten here.
        let Self {
            class,
            subnet_group,
            security_groups,
            parameter_groups,
            parameters,
            option_groups,
            ca_certificate,
            port,
            network_type,
            storage_type,
            storage_gib,
            storage_max_gib,
            iops,
            storage_throughput,
            log_volume,
            kms_key,
            processor,
            license,
            zone,
            multi_az,
            publicly_accessible,
            deletion_protection,
            iam_authentication,
            domain,
            managed_password,
            roles,
            minor_upgrades,
            copies_tags,
            backup_retention_days,
            backup_window,
            maintenance_window,
            log_exports,
            monitoring_interval_s,
            monitoring_role,
            insights,
            insights_key,
            insights_days,
            replicas,
            tags,
        } = self;
        vec![
            ("class", text(class), Modify),
            ("subnet_group", text(subnet_group), RestoreAnew),
            ("security_groups", list(security_groups), Modify),
            ("parameter_groups", list(&own(parameter_groups)), Modify),
            (
                "parameters",
                parameters.iter().map(|(group, set)| format!("{group}: {}", map(set))).collect::<Vec<_>>().join("; "),
                ByHand,
            ),
            ("option_groups", list(&own(option_groups)), Modify),
            ("ca_certificate", text(ca_certificate), Modify),
            ("port", number(*port), Modify),
            ("network_type", text(network_type), Modify),
            ("storage_type", text(storage_type), Modify),
            ("storage_gib", number(*storage_gib), Modify),
            ("storage_max_gib", number(*storage_max_gib), Modify),
            ("iops", number(*iops), Modify),
            ("storage_throughput", number(*storage_throughput), Modify),
            ("log_volume", log_volume.to_string(), Modify),
            ("kms_key", text(kms_key), RestoreAnew),
            ("processor", map(processor), Modify),
            ("license", text(license), Modify),
            ("zone", text(zone), RestoreAnew),
            ("multi_az", multi_az.to_string(), Modify),
            ("publicly_accessible", publicly_accessible.to_string(), Modify),
            ("deletion_protection", deletion_protection.to_string(), Modify),
            ("iam_authentication", iam_authentication.to_string(), Modify),
            ("domain", text(domain), ByHand),
            ("managed_password", managed_password.to_string(), ByHand),
            ("roles", map(roles), AddRole),
            ("minor_upgrades", minor_upgrades.to_string(), Modify),
            ("copies_tags", copies_tags.to_string(), Modify),
            ("backup_retention_days", number(*backup_retention_days), Modify),
            ("backup_window", text(backup_window), Modify),
            ("maintenance_window", text(maintenance_window), Modify),
            ("log_exports", list(log_exports), Modify),
            ("monitoring_interval_s", monitoring_interval_s.to_string(), Modify),
            ("monitoring_role", text(monitoring_role), Modify),
            ("insights", insights.to_string(), Modify),
            ("insights_key", text(insights_key), Modify),
            ("insights_days", number(*insights_days), Modify),
            ("replicas", list(replicas), ByHand),
            ("tags", map(tags), Tag),
        ]
    }

    /// Names in a restore from a snapshot what can be said when an instance is made.
    pub(crate) fn name_in_restore(&self, purpose: Purpose, call: Restore) -> Restore {
        named_in!(self, purpose, call)
    }

    /// Names the same in a restore to an instant.
    pub(crate) fn name_in_restore_to_time(&self, purpose: Purpose, call: RestoreToTime) -> RestoreToTime {
        named_in!(self, purpose, call)
    }

    /// Names in a modification what differs and nothing else: a setting named without need may cost a restart or a refusal.
    pub(crate) fn give_back(&self, call: Modify, found: &Self) -> Modify {
        fn other<T: Clone + PartialEq>(then: &T, now: &T) -> Option<T> {
            (then != now).then(|| then.clone())
        }
        fn named<T: Clone + PartialEq>(then: &Option<T>, now: &Option<T>) -> Option<T> {
            if then == now { None } else { then.clone() }
        }
        let (iops, throughput) = self.storage_speed();
        let (insights, monitored) =
            (other(&self.insights, &found.insights), self.monitoring_interval_s != found.monitoring_interval_s);
        let logs: Vec<String> = self.log_exports.iter().filter(|log| !found.log_exports.contains(log)).cloned().collect();
        let logs = CloudwatchLogsExportConfiguration::builder().set_enable_log_types(Some(logs)).build();
        call.set_db_instance_class(named(&self.class, &found.class))
            .set_vpc_security_group_ids(other(&self.security_groups, &found.security_groups).filter(|groups| !groups.is_empty()))
            .set_db_parameter_group_name(other(&own(&self.parameter_groups), &own(&found.parameter_groups)).and_then(first))
            .set_option_group_name(other(&own(&self.option_groups), &own(&found.option_groups)).and_then(first))
            .set_ca_certificate_identifier(named(&self.ca_certificate, &found.ca_certificate))
            .set_db_port_number(named(&self.port, &found.port))
            .set_network_type(named(&self.network_type, &found.network_type))
            .set_storage_type(named(&self.storage_type, &found.storage_type))
            .set_allocated_storage(self.storage_gib.filter(|_| self.storage_gib > found.storage_gib))
            .set_max_allocated_storage(named(&self.storage_max_gib, &found.storage_max_gib))
            .set_iops(named(&iops, &found.iops))
            .set_storage_throughput(named(&throughput, &found.storage_throughput))
            .set_dedicated_log_volume(other(&self.log_volume, &found.log_volume))
            .set_processor_features(other(&self.processor, &found.processor).and_then(|processor| features(&processor)))
            .set_license_model(named(&self.license, &found.license))
            .set_multi_az(other(&self.multi_az, &found.multi_az))
            .set_publicly_accessible(other(&self.publicly_accessible, &found.publicly_accessible))
            .set_deletion_protection(other(&self.deletion_protection, &found.deletion_protection))
            .set_enable_iam_database_authentication(other(&self.iam_authentication, &found.iam_authentication))
            .set_auto_minor_version_upgrade(other(&self.minor_upgrades, &found.minor_upgrades))
            .set_copy_tags_to_snapshot(other(&self.copies_tags, &found.copies_tags))
            .set_backup_retention_period(named(&self.backup_retention_days, &found.backup_retention_days))
            .set_preferred_backup_window(named(&self.backup_window, &found.backup_window))
            .set_preferred_maintenance_window(named(&self.maintenance_window, &found.maintenance_window))
            .set_cloudwatch_logs_export_configuration(Some(logs).filter(|logs| !logs.enable_log_types().is_empty()))
            .set_monitoring_interval(monitored.then_some(self.monitoring_interval_s))
            // One without the other is refused.
            .set_monitoring_role_arn(
                self.monitoring_role.clone().filter(|_| monitored || self.monitoring_role != found.monitoring_role),
            )
            .set_enable_performance_insights(insights)
            .set_performance_insights_kms_key_id(insights.and_then(|_| self.insights_key.clone()))
            .set_performance_insights_retention_period(named(&self.insights_days, &found.insights_days))
    }

    /// Operations and throughput to ask for, where they can be.
    fn storage_speed(&self) -> (Option<i32>, Option<i32>) {
        match self.storage_type.as_deref() {
            Some("gp3") if self.storage_gib.is_none_or(|gib| gib < GP3_FIXED_BELOW_GIB) => (None, None),
            Some("gp3") => (self.iops, self.storage_throughput),
            Some("io1" | "io2") => (self.iops, None),
            _ => (None, None),
        }
    }

    /// What RDS says of an instance; what its parameter groups set, [`crate::Instances::settings`] adds.
    pub(crate) fn read(found: &DbInstance, tags: Tags) -> Self {
        let text = |value: Option<&str>| value.map(str::to_owned);
        let names = |names: Vec<Option<&str>>| names.into_iter().flatten().map(str::to_owned).collect::<Vec<_>>();
        let role =
            |role: &aws_sdk_rds::types::DbInstanceRole| Some((role.feature_name()?.to_owned(), role.role_arn()?.to_owned()));
        let feature = |feature: &ProcessorFeature| Some((feature.name()?.to_owned(), feature.value()?.to_owned()));
        Self {
            class: text(found.db_instance_class()),
            subnet_group: text(found.db_subnet_group().and_then(|group| group.db_subnet_group_name())),
            security_groups: names(found.vpc_security_groups().iter().map(|group| group.vpc_security_group_id()).collect()),
            parameter_groups: names(found.db_parameter_groups().iter().map(|group| group.db_parameter_group_name()).collect()),
            parameters: BTreeMap::new(),
            option_groups: names(found.option_group_memberships().iter().map(|group| group.option_group_name()).collect()),
            ca_certificate: text(found.ca_certificate_identifier()),
            // RDS gives the endpoint's port, and 0 as the instance's own.
            port: found.endpoint().and_then(|endpoint| endpoint.port()),
            network_type: text(found.network_type()),
            storage_type: text(found.storage_type()),
            storage_gib: found.allocated_storage(),
            storage_max_gib: found.max_allocated_storage(),
            iops: found.iops(),
            storage_throughput: found.storage_throughput(),
            log_volume: found.dedicated_log_volume().unwrap_or(false),
            kms_key: text(found.kms_key_id()),
            processor: found.processor_features().iter().filter_map(feature).collect(),
            license: text(found.license_model()),
            zone: text(found.availability_zone()),
            multi_az: found.multi_az().unwrap_or(false),
            publicly_accessible: found.publicly_accessible().unwrap_or(false),
            deletion_protection: found.deletion_protection().unwrap_or(false),
            iam_authentication: found.iam_database_authentication_enabled().unwrap_or(false),
            domain: text(found.domain_memberships().first().and_then(|membership| membership.domain())),
            managed_password: found.master_user_secret().is_some(),
            roles: found.associated_roles().iter().filter_map(role).collect(),
            minor_upgrades: found.auto_minor_version_upgrade().unwrap_or(false),
            copies_tags: found.copy_tags_to_snapshot().unwrap_or(false),
            backup_retention_days: found.backup_retention_period(),
            backup_window: text(found.preferred_backup_window()),
            maintenance_window: text(found.preferred_maintenance_window()),
            log_exports: found.enabled_cloudwatch_logs_exports().to_vec(),
            monitoring_interval_s: found.monitoring_interval().unwrap_or(0),
            monitoring_role: text(found.monitoring_role_arn()),
            insights: found.performance_insights_enabled().unwrap_or(false),
            insights_key: text(found.performance_insights_kms_key_id()),
            insights_days: found.performance_insights_retention_period(),
            replicas: found.read_replica_db_instance_identifiers().to_vec(),
            tags,
        }
    }
}

/// The groups that somebody made. RDS's own defaults are chosen by RDS, and cannot be asked for in every account.
pub(crate) fn own(groups: &[String]) -> Vec<String> {
    groups.iter().filter(|group| !group.starts_with("default.") && !group.starts_with("default:")).cloned().collect()
}

pub(crate) fn first(groups: Vec<String>) -> Option<String> {
    groups.into_iter().next()
}

fn features(processor: &BTreeMap<String, String>) -> Option<Vec<ProcessorFeature>> {
    let feature = |(name, value)| ProcessorFeature::builder().name(name).value(value).build();
    (!processor.is_empty()).then(|| processor.iter().map(feature).collect())
}

fn text(value: &Option<String>) -> String {
    value.clone().unwrap_or_default()
}

fn number(value: Option<i32>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn list(values: &[String]) -> String {
    let mut values = values.to_vec();
    values.sort();
    values.join(", ")
}

fn map(values: &BTreeMap<String, String>) -> String {
    values.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded() -> InstanceSettings {
        InstanceSettings {
            class: Some("db.m7g.large".into()),
            security_groups: vec!["sg-1".into(), "sg-2".into()],
            parameter_groups: vec!["platform".into()],
            parameters: [("platform".to_owned(), [("work_mem".to_owned(), "65536".to_owned())].into())].into(),
            storage_type: Some("gp3".into()),
            storage_gib: Some(500),
            storage_max_gib: Some(1000),
            iops: Some(12000),
            storage_throughput: Some(500),
            multi_az: true,
            deletion_protection: true,
            zone: Some("eu-central-1a".into()),
            backup_retention_days: Some(14),
            maintenance_window: Some("sun:03:00-sun:04:00".into()),
            log_exports: vec!["postgresql".into(), "upgrade".into()],
            monitoring_interval_s: 60,
            monitoring_role: Some("arn:aws:iam::1:role/monitoring".into()),
            insights: true,
            insights_days: Some(7),
            roles: [("s3Export".to_owned(), "arn:aws:iam::1:role/export".to_owned())].into(),
            replicas: vec!["platform-replica".into()],
            tags: [("team".to_owned(), "core".to_owned())].into(),
            ..InstanceSettings::default()
        }
    }

    fn names(lost: &[Lost], remedy: Remedy) -> Vec<&'static str> {
        lost.iter().filter(|lost| lost.remedy == remedy).map(|lost| lost.setting).collect()
    }

    #[test]
    fn nothing_is_lost_of_what_an_instance_has() {
        assert_eq!(settings_lost(&recorded(), &recorded()), []);
    }

    #[test]
    fn every_setting_that_a_plain_restore_loses_is_told_with_what_gives_it_back() {
        let bare = InstanceSettings { class: recorded().class, storage_gib: Some(500), ..InstanceSettings::default() };
        let lost = settings_lost(&recorded(), &bare);
        assert_eq!(
            names(&lost, Remedy::Modify),
            [
                "security_groups",
                "parameter_groups",
                "storage_type",
                "storage_max_gib",
                "iops",
                "storage_throughput",
                "multi_az",
                "deletion_protection",
                "backup_retention_days",
                "maintenance_window",
                "log_exports",
                "monitoring_interval_s",
                "monitoring_role",
                "insights",
                "insights_days"
            ]
        );
        assert_eq!(names(&lost, Remedy::AddRole), ["roles"]);
        assert_eq!(names(&lost, Remedy::Tag), ["tags"]);
        assert_eq!(names(&lost, Remedy::ByHand), ["parameters", "replicas"]);
        let retention = lost.iter().find(|lost| lost.setting == "backup_retention_days").unwrap();
        assert_eq!((retention.recorded.as_str(), retention.found.as_str()), ("14", ""));
    }

    #[test]
    fn what_an_instance_has_more_of_is_not_lost() {
        let mut more = recorded();
        more.storage_gib = Some(600);
        more.tags.insert("holdfast:drill".into(), "rp_1".into());
        more.security_groups.reverse();
        more.zone = Some("eu-central-1b".into());
        assert_eq!(settings_lost(&recorded(), &more), []);
        let rds_own = |group: &str| InstanceSettings { parameter_groups: vec![group.into()], ..InstanceSettings::default() };
        assert_eq!(settings_lost(&rds_own("default.postgres16"), &rds_own("default.postgres17")), []);
    }

    #[test]
    fn storage_has_its_speed_named_only_where_rds_takes_it() {
        let speed = |kind: &str, gib| {
            InstanceSettings { storage_type: Some(kind.into()), storage_gib: Some(gib), ..recorded() }.storage_speed()
        };
        assert_eq!(speed("gp3", 399), (None, None));
        assert_eq!(speed("gp3", 400), (Some(12000), Some(500)));
        assert_eq!(speed("io2", 100), (Some(12000), None));
        assert_eq!(speed("gp2", 1000), (None, None));
    }

    #[test]
    fn settings_of_older_recovery_points_are_still_read() {
        let older = r#"{"class":"db.t4g.micro","multi_az":true,"security_groups":["sg-1"]}"#;
        let read: InstanceSettings = serde_json::from_str(older).unwrap();
        assert_eq!((read.class.as_deref(), read.multi_az, read.port), (Some("db.t4g.micro"), true, None));
        let text = serde_json::to_string(&recorded()).unwrap();
        assert_eq!(serde_json::from_str::<InstanceSettings>(&text).unwrap(), recorded());
    }
}
