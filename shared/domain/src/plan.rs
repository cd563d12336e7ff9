//! The backup plan: what is protected, how often, and how long it is kept. Its JSON Schema is `infra/plan.schema.json`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    access::{self, Grant},
    assertion::Assertion,
    caps,
    error::{Coded, ErrorCode},
    retention::{Policy, Terms},
    schedule::Schedule,
    slot::Slot,
    tenant::{Layout, TenantId},
    verification::Cadences,
};

/// A plan that does not parse or contradicts itself.
#[derive(Debug, thiserror::Error)]
#[error("the backup plan is not usable: {problem}; check it against infra/plan.schema.json")]
pub struct PlanError {
    problem: String,
}

impl Coded for PlanError {
    fn code(&self) -> ErrorCode {
        ErrorCode::PlanInvalid
    }
}

/// The whole plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Version of the plan's own format; 1.
    pub version: u32,
    /// The environment's name, shown in alerts.
    pub environment: String,
    /// The zone in which local times of schedules and retention periods are meant, by its IANA name.
    pub time_zone: String,
    /// Where the tenant register is.
    pub register: Register,
    /// Every database that may be read or restored. An endpoint never comes from anywhere else.
    pub databases: Vec<Database>,
    /// Tenants' uploaded files, of which metadata is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media: Option<Media>,
    /// Tenants' parameters and secrets, of which metadata is protected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configuration: Option<Configuration>,
    /// Where RDS puts a monthly archive of every snapshot's instance, if it is to make them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<Archive>,
    /// Tables left out by design, in every tenant.
    #[serde(default)]
    pub exclusions: Vec<Exclusion>,
    /// What runs when.
    pub rules: Vec<Rule>,
    /// How long recovery points are kept.
    pub retention: Policy,
    /// Tenants whose data keys are wrapped by a KMS key of their own, so that deleting it is proof that nothing of them can be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dedicated_keys: Vec<DedicatedKey>,
    /// What restored data is asked in restore tests, and must answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub assertions: Vec<Assertion>,
    /// How often what is stored is read again and restored for a test.
    #[serde(default, skip_serializing_if = "Cadences::is_default")]
    pub verification: Cadences,
    /// Who may do what to whose backups. Whoever is not named may do nothing.
    #[serde(default)]
    pub access: Vec<Grant>,
}

/// The query that lists the tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The id of the database it runs on.
    pub database: String,
    /// The query; its columns are those of [`crate::register::RawRow`].
    pub query: String,
}

/// One protected database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// Its id in the plan, in the register and in the catalog.
    pub id: String,
    /// The RDS instance identifier; of an Aurora cluster, that of the instance whose settings a restore is made with.
    pub instance: String,
    /// The identifier of the Aurora cluster it is in. Snapshots are of the cluster then, and connections go to its writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The database to connect to first.
    pub database: String,
    /// The Secrets Manager secret with `username` and `password`.
    pub secret: String,
    /// Whether this database is the platform's own and is exported as `@id`.
    #[serde(default)]
    pub platform: bool,
    /// How tenants share it, when it holds pooled tables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Pool>,
    /// The RDS identifier of a read replica of its instance, for rules that read from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<String>,
}

/// Pooled tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The schema they are in.
    pub schema: String,
    /// The column that holds the tenant id.
    pub tenant_column: String,
}

/// Tenants' uploaded files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Media {
    /// The bucket.
    pub bucket: String,
    /// The prefix of a tenant's objects; `{tenant}` stands for the tenant id.
    pub prefix: String,
    /// The columns that name objects, by which rows and objects are reconciled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Reference>,
}

/// A column of tenants' tables whose values name media objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The table's name without its schema. A tenant without such a table has no such references.
    pub table: String,
    /// The column. Null names nothing.
    pub column: String,
    /// What a value has before the key below the tenant's prefix; `{tenant}` stands for the tenant id. Empty if values are such keys;
    /// the same as `prefix` if they are whole keys.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub before: String,
}

/// Tenants' settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// The prefix of a tenant's SSM parameters; `{tenant}` stands for the tenant id.
    pub parameters: String,
    /// The prefix of a tenant's secrets; `{tenant}` stands for the tenant id.
    pub secrets: String,
}

/// Where RDS puts archives: files of Parquet, for the years in which nothing else may read a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// The bucket.
    pub bucket: String,
    /// What its keys begin with, without a slash at the end.
    #[serde(default)]
    pub prefix: String,
}

/// A KMS key that wraps the data keys of one tenant only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DedicatedKey {
    /// The tenant.
    pub tenant: TenantId,
    /// The key's ARN. An alias could be pointed elsewhere.
    pub key_arn: String,
}

/// A table left out by design.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The table's name without its schema.
    pub table: String,
    /// Why, for the auditor.
    pub reason: String,
}

/// What a rule makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKind {
    /// Snapshots of every instance in the plan.
    Snapshot,
    /// Exports of tenants.
    Export,
}

/// Which copy of a database exports read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReadFrom {
    /// The instance itself.
    #[default]
    Primary,
    /// Its read replica, which may lag behind.
    Replica,
    /// A copy made from its newest snapshot for this purpose: quiet, as old as the snapshot, and no load on production.
    Clone,
}

/// What runs when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Its id, which is also the schedule's name.
    pub id: String,
    /// What it makes.
    pub kind: RuleKind,
    /// The criticality classes of the tenants it exports; unused for snapshots.
    #[serde(default)]
    pub classes: Vec<String>,
    /// Whether its exports store everything anew. Otherwise they store what the last export did not: every recovery point is complete
    /// either way, and shares stored bytes with others in the second.
    #[serde(default)]
    pub full: bool,
    /// Which copy of the databases its exports read; unused for snapshots.
    #[serde(default)]
    pub read_from: ReadFrom,
    /// When it is due.
    pub schedule: Schedule,
    /// The most data, in minutes, that may be lost.
    pub rpo_minutes: u32,
    /// The longest, in minutes, that a restore may take; unused for snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_minutes: Option<u32>,
    /// Over which stretch of time behind its scheduled time its exports begin; all at once if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<OffPeak>,
}

/// The off-peak stretch of time over which a rule's exports begin, each in a minute of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffPeak {
    /// How long it lasts, in minutes from the rule's scheduled time.
    pub minutes: u16,
    /// How many exports may be under way at once.
    pub at_once: u16,
    /// How long one is taken to last, in minutes.
    pub minutes_each: u16,
}

impl Rule {
    /// How long after its scheduled time one of its slots may be filled before it counts as missed.
    #[must_use]
    pub fn late_after(&self) -> SignedDuration {
        let window_s = self.window.map_or(0, |window| i64::from(window.minutes) * 60);
        let grace_s = if self.kind == RuleKind::Snapshot { caps::SNAPSHOT_GRACE_S } else { caps::SLOT_GRACE_S };
        SignedDuration::from_secs(window_s + grace_s)
    }

    fn check_window(&self) -> Result<(), String> {
        let Some(OffPeak { minutes, at_once, minutes_each }) = self.window else { return Ok(()) };
        let id = &self.id;
        if self.kind != RuleKind::Export || !matches!(self.schedule, Schedule::DailyAt(_)) || self.read_from == ReadFrom::Clone {
            return Err(format!("rule `{id}` has a window: only daily exports can be spread, and not those that read clones"));
        }
        if !(1..=caps::WINDOW_MINUTES_MAX).contains(&minutes) {
            let most = caps::WINDOW_MINUTES_MAX;
            return Err(format!("the window of rule `{id}` lasts {minutes} minutes: use 1 to {most}"));
        }
        if at_once == 0 || minutes_each == 0 || minutes_each > minutes {
            return Err(format!(
                "the window of rule `{id}` has no room for one export: `at_once` and `minutes_each` are at least 1, and the latter no longer than the window"
            ));
        }
        Ok(())
    }
}

/// The criticality class of the platform's own databases.
pub const PLATFORM_CLASS: &str = "critical";

/// Rule ids that ticks of Holdfast's own schedules use, and those of runs that people ask for.
const BUILT_IN_RULES: [&str; 10] = [
    Slot::MANUAL,
    Slot::POINT_IN_TIME,
    Slot::BEFORE_RESTORE,
    "snapshots-follow",
    "exports-follow",
    "verify-daily",
    "verify-follow",
    "retention-daily",
    "sweep-daily",
    "reconcile",
];

impl Plan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// Naming the first thing that is wrong with it.
    pub fn parse(json: &str) -> Result<Self, PlanError> {
        let plan: Self = serde_json::from_str(json).map_err(|error| PlanError { problem: error.to_string() })?;
        plan.check().map_err(|problem| PlanError { problem })?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        if self.version != 1 {
            return Err(format!("version {} is not known, 1 is", self.version));
        }
        let zone = self.zone_or_problem()?;
        let mut ids = BTreeSet::new();
        for database in &self.databases {
            TenantId::platform(&database.id).map_err(|error| error.to_string())?;
            if database.platform && self.export_rules_of(PLATFORM_CLASS).next().is_none() {
                return Err(format!(
                    "database `{}` is the platform's own, but no export rule has class `{PLATFORM_CLASS}`",
                    database.id
                ));
            }
            if !ids.insert(&database.id) {
                return Err(format!("database `{}` is named twice", database.id));
            }
        }
        if !ids.contains(&self.register.database) {
            return Err(format!("the register's database `{}` is not one of `databases`", self.register.database));
        }
        let mut rules = BTreeSet::new();
        for rule in &self.rules {
            if BUILT_IN_RULES.contains(&rule.id.as_str()) {
                return Err(format!("rule id `{}` is built in: choose another", rule.id));
            }
            if !rules.insert(&rule.id) {
                return Err(format!("rule `{}` is named twice", rule.id));
            }
            if rule.read_from == ReadFrom::Replica
                && let Some(database) = self.databases.iter().find(|database| database.replica.is_none())
            {
                return Err(format!(
                    "rule `{}` reads from replicas, but database `{}` names none in `replica`",
                    rule.id, database.id
                ));
            }
            if rule.kind == RuleKind::Export && rule.classes.is_empty() {
                return Err(format!("rule `{}` exports no class of tenants: name at least one in `classes`", rule.id));
            }
            if let Schedule::HourlyAtMinute(minute) = rule.schedule
                && !(0..60).contains(&minute)
            {
                return Err(format!("rule `{}` is due at minute {minute}: use 0 to 59", rule.id));
            }
            rule.check_window()?;
            if let Some(day) = rule.schedule.skipped_day(&zone) {
                return Err(format!(
                    "rule `{}` is due at a time that does not exist in {} on {day}, when clocks change: choose another",
                    rule.id, self.time_zone
                ));
            }
        }
        if let Some(reference) = self
            .media
            .iter()
            .flat_map(|media| &media.references)
            .find(|reference| reference.table.is_empty() || reference.column.is_empty())
        {
            return Err(format!(
                "a media reference names table `{}` and column `{}`: both are needed",
                reference.table, reference.column
            ));
        }
        let prefixes = self
            .media
            .iter()
            .map(|media| &media.prefix)
            .chain(self.configuration.iter().flat_map(|configuration| [&configuration.parameters, &configuration.secrets]));
        for prefix in prefixes {
            // Without a closing delimiter the prefix of tenant `acme` would also cover tenant `acme-2`.
            if !prefix.ends_with("{tenant}/") || prefix.matches("{tenant}").count() != 1 {
                return Err(format!("prefix `{prefix}` does not keep tenants apart: it must end in `{{tenant}}/`"));
            }
        }
        self.check_keys()?;
        access::check(&self.access)?;
        self.verification.check()?;
        let mut names = BTreeSet::new();
        for assertion in &self.assertions {
            assertion.check(|database| ids.iter().any(|id| *id == database))?;
            if !names.insert(&assertion.name) {
                return Err(format!("assertion `{}` is named twice", assertion.name));
            }
        }
        self.retention.check()
    }

    fn check_keys(&self) -> Result<(), String> {
        let (mut tenants, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for DedicatedKey { tenant, key_arn } in &self.dedicated_keys {
            // arn:partition:kms:region:account:key/id
            let parts: Vec<&str> = key_arn.splitn(6, ':').collect();
            if parts.len() != 6 || parts[0] != "arn" || parts[2] != "kms" || !parts[5].starts_with("key/") {
                return Err(format!(
                    "`dedicated_keys` of tenant {tenant}: `{}` is not the ARN of a KMS key",
                    key_arn.escape_debug()
                ));
            }
            if !tenants.insert(tenant) {
                return Err(format!("`dedicated_keys` names tenant {tenant} twice"));
            }
            // Deleting a key that two share would erase both.
            if !keys.insert(key_arn) {
                return Err(format!("`dedicated_keys` gives {key_arn} to two tenants: each needs one of its own"));
            }
        }
        Ok(())
    }

    fn zone_or_problem(&self) -> Result<TimeZone, String> {
        TimeZone::get(&self.time_zone).map_err(|_| format!("`{}` is not an IANA time zone", self.time_zone))
    }

    /// The plan's time zone.
    ///
    /// # Errors
    /// If the plan was not made by [`Plan::parse`] and names no time zone.
    pub fn zone(&self) -> Result<TimeZone, PlanError> {
        self.zone_or_problem().map_err(|problem| PlanError { problem })
    }

    /// What the plan asks of retention. What decides is what is in force: [`crate::retention::InForce`].
    #[must_use]
    pub fn terms(&self) -> Terms {
        Terms { policy: self.retention.clone(), time_zone: self.time_zone.clone() }
    }

    /// The database with this id.
    #[must_use]
    pub fn database(&self, id: &str) -> Option<&Database> {
        self.databases.iter().find(|database| database.id == id)
    }

    /// The KMS key that wraps this tenant's data keys, if it has one of its own.
    #[must_use]
    pub fn dedicated_key(&self, tenant: &TenantId) -> Option<&str> {
        self.dedicated_keys.iter().find(|key| key.tenant == *tenant).map(|key| key.key_arn.as_str())
    }

    /// The database ids that stand for the instances of the plan in snapshots: of several on one instance, the first.
    #[must_use]
    pub fn snapshot_subjects(&self) -> Vec<&str> {
        let mut instances = BTreeSet::new();
        self.databases
            .iter()
            .filter(|database| instances.insert(database.server()))
            .map(|database| database.id.as_str())
            .collect()
    }

    /// The id that stands for a database's instance in snapshots.
    #[must_use]
    pub fn snapshot_subject_of(&self, database_id: &str) -> Option<&str> {
        let server = self.database(database_id)?.server();
        self.databases.iter().find(|database| database.server() == server).map(|database| database.id.as_str())
    }

    /// The rule with this id.
    #[must_use]
    pub fn rule(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// The rules of a kind that apply to a criticality class.
    pub fn export_rules_of<'a>(&'a self, class: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.kind == RuleKind::Export && rule.classes.iter().any(|named| named == class))
    }
}

/// What RDS takes snapshots of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Server<'a> {
    /// An instance.
    Instance(&'a str),
    /// An Aurora cluster.
    Cluster(&'a str),
}

impl Database {
    /// What snapshots of it are of: its cluster if it is in one, and otherwise its instance.
    #[must_use]
    pub fn server(&self) -> Server<'_> {
        self.cluster.as_deref().map_or(Server::Instance(&self.instance), Server::Cluster)
    }

    /// Where this database's own data is, when it is protected as the platform's.
    #[must_use]
    pub fn platform_layout(&self) -> Layout {
        Layout::Database { database: self.database.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn plan() -> Value {
        json!({
            "version": 1, "environment": "test", "time_zone": "Europe/Berlin",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "i", "database": "d", "secret": "s", "platform": true }],
            "media": { "bucket": "b", "prefix": "tenants/{tenant}/" },
            "rules": [{ "id": "daily", "kind": "export", "classes": ["standard", "critical"], "schedule": { "daily_at": "03:15" }, "rpo_minutes": 1500 }],
            "retention": { "keep_all_days": 7, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 3, "min_proven": 1, "max_expire_per_run": 100, "apply": false }
        })
    }

    fn check(change: impl FnOnce(&mut Value), expected: &str) {
        let mut plan = plan();
        change(&mut plan);
        let error = Plan::parse(&plan.to_string()).expect_err("a bad plan").to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    }

    #[test]
    fn a_good_plan_is_taken_whole() {
        let parsed = Plan::parse(&plan().to_string()).unwrap();
        assert_eq!(Plan::parse(&serde_json::to_string(&parsed).unwrap()).unwrap(), parsed);
    }

    #[test]
    fn databases_of_one_cluster_share_its_snapshots_whichever_instance_they_name() {
        let mut plan = plan();
        let database = |id: &str, instance: &str, cluster: Option<&str>| {
            let mut database = json!({ "id": id, "instance": instance, "database": "d", "secret": "s" });
            cluster.into_iter().for_each(|cluster| database["cluster"] = json!(cluster));
            database
        };
        plan["databases"] = json!([
            database("central", "i", None),
            database("also", "i", None),
            database("sales", "c-1", Some("c")),
            database("stock", "c-2", Some("c")),
            database("alone", "c", None),
        ]);
        let plan = Plan::parse(&plan.to_string()).unwrap();
        assert_eq!(plan.snapshot_subjects(), ["central", "sales", "alone"]);
        assert_eq!(plan.snapshot_subject_of("stock"), Some("sales"));
        assert_eq!(plan.snapshot_subject_of("alone"), Some("alone"), "an instance may be called as a cluster is");
    }

    #[test]
    fn a_bad_plan_is_refused_by_what_is_wrong_with_it() {
        check(|plan| plan["version"] = json!(2), "version 2");
        check(|plan| plan["time_zone"] = json!("Mars/Olympus"), "Mars/Olympus");
        check(|plan| plan["register"]["database"] = json!("elsewhere"), "elsewhere");
        check(|plan| plan["databases"] = json!([plan["databases"][0], plan["databases"][0]]), "named twice");
        check(|plan| plan["rules"][0]["classes"] = json!(["standard"]), "no export rule has class `critical`");
        check(|plan| plan["rules"][0]["id"] = json!("verify-daily"), "built in");
        check(
            |plan| {
                plan["databases"][0]["platform"] = json!(false);
                plan["rules"][0]["classes"] = json!([]);
            },
            "no class",
        );
        check(|plan| plan["rules"][0]["schedule"] = json!({ "daily_at": "2:75" }), "2:75");
        check(
            |plan| plan["rules"][0]["schedule"] = json!({ "daily_at": "02:15" }),
            "does not exist in Europe/Berlin on 2024-03-31",
        );
        check(|plan| plan["rules"][0]["read_from"] = json!("replica"), "database `central` names none");
        let window =
            |minutes: u16, at_once: u16, each: u16| json!({ "minutes": minutes, "at_once": at_once, "minutes_each": each });
        check(|plan| plan["rules"][0]["window"] = window(721, 1, 1), "721 minutes: use 1 to 720");
        for (at_once, each) in [(0, 1), (1, 0), (1, 61)] {
            check(|plan| plan["rules"][0]["window"] = window(60, at_once, each), "no room for one export");
        }
        check(
            |plan| {
                plan["rules"][0]["window"] = window(60, 1, 1);
                plan["rules"][0]["schedule"] = json!({ "hourly_at_minute": 5 });
            },
            "only daily exports",
        );
        check(|plan| plan["media"]["references"] = json!([{ "table": "documents", "column": "" }]), "both are needed");
        check(|plan| plan["media"]["prefix"] = json!("tenants/{tenant}"), "keep tenants apart");
        check(|plan| plan["surprise"] = json!(1), "surprise");
        check(|plan| plan["retention"]["min_proven"] = json!(0), "min_proven");
        let key = |tenant: &str, key: &str| json!({ "tenant": tenant, "key_arn": key });
        let arn = "arn:aws:kms:eu-central-1:1:key/0192";
        check(|plan| plan["dedicated_keys"] = json!([key("acme", "alias/acme")]), "not the ARN of a KMS key");
        check(|plan| plan["dedicated_keys"] = json!([key("acme", "arn:aws:kms:x:1:alias/a")]), "not the ARN of a KMS key");
        check(|plan| plan["dedicated_keys"] = json!([key("acme", arn), key("acme", "arn:aws:kms:x:1:key/2")]), "acme twice");
        check(|plan| plan["dedicated_keys"] = json!([key("acme", arn), key("borealis", arn)]), "two tenants");
        check(|plan| plan["access"] = json!([{ "who": "ana", "roles": ["viewer"], "tenants": [] }]), "nothing in `tenants`");
    }
}
