//! Quiet copies: clones of instances, made from their newest snapshots, that exports read instead of production.
//!
//! RDS is the record: the clone's name says for which tick and instance it was made and from which snapshot, so nothing else has to be
//! remembered, and two deliveries of a tick ask for the same clone. A clone takes minutes to appear; ticks of [`FOLLOW`] go on.

use aws::{Instance, SnapshotOf, SnapshotState};
use catalog::Versioned;
use domain::{
    ErrorCode, ErrorReport, caps,
    plan::{Database, Plan, ReadFrom, Rule, RuleKind},
    point::{Content, Kind, Proof, RecoveryPoint},
    slot::Subject,
};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use runtime::{
    copies::{Source, Wanted, asked_at, is_hopeless, why_hopeless},
    services::{Services, short_name},
};

/// The rule whose tick goes on with exports that wait for their clone.
pub(crate) const FOLLOW: &str = "exports-follow";
/// How every clone's name begins; roles go by it.
pub(crate) const PREFIX: &str = "holdfast-export-";
/// The time in a name.
pub(crate) const TIME: &str = "%Y%m%dt%H%M%S";

/// What a clone is for: the exports of one tick from one instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Purpose<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) scheduled_time: Timestamp,
    /// The first database of the plan on the instance, which stands for it in snapshots.
    pub(crate) database: &'a Database,
}

/// A clone that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// Its name.
    pub(crate) instance: String,
    /// The instant whose data it holds.
    pub(crate) as_of: Timestamp,
}

/// How far a clone has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// RDS is making it.
    Coming(String),
    /// It can be read.
    Ready(Quiet),
}

impl<'a> Purpose<'a> {
    /// What every name of a clone for this purpose begins with. The vault's id is hashed in: another stack's clones have other names.
    fn name_begins(&self, vault: &str) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast quiet copy v1");
        for part in [vault, &self.rule.id, &self.database.instance] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        let hash = hasher.finalize().to_hex();
        format!("{PREFIX}{}-{}-", self.scheduled_time.strftime(TIME), &hash[..12])
    }

    /// What a clone of this name was made for, if a rule of the plan still wants it.
    pub(crate) fn of(name: &str, plan: &'a Plan, vault: &str) -> Option<Self> {
        let time = name.strip_prefix(PREFIX)?.split('-').next()?;
        let scheduled_time = DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let rules = plan.rules.iter().filter(|rule| rule.kind == RuleKind::Export && rule.read_from == ReadFrom::Clone);
        let subjects = plan.snapshot_subjects();
        rules
            .flat_map(|rule| subjects.iter().filter_map(|id| plan.database(id)).map(move |database| (rule, database)))
            .map(|(rule, database)| Self { rule, scheduled_time, database })
            .find(|purpose| name.starts_with(&purpose.name_begins(vault)))
    }

    /// Finds the clone for this purpose, or begins to make it.
    pub(crate) async fn find_or_begin(&self, services: &Services, plan: &Plan) -> Result<Progress, ErrorReport> {
        let begins = self.name_begins(services.config.vault_id.as_str());
        let found = services.clients.instances().list(&begins).await?;
        if let Some(instance) = found.iter().find(|instance| instance.status != "deleting") {
            return self.progress(services, plan, instance).await;
        }
        let newest = services.catalog.newest_usable(&self.subject(), Kind::Snapshot).await?.ok_or_else(|| {
            let message = format!(
                "rule {} reads from a clone, but instance {} has no snapshot to make one from that is available and not refuted; wait for the next snapshot slot",
                self.rule.id, self.database.instance
            );
            ErrorReport::new(ErrorCode::EnvironmentBad, message)
        })?;
        let name = format!("{begins}{}", short_name(newest.value.id.uuid()));
        let wanted = Wanted {
            name: &name,
            of: self.database,
            from: Source::Snapshot(&newest.value),
            tag: ("holdfast:export", format!("{} {}", self.rule.id, self.scheduled_time)),
            actor: "export",
            act: "export.clone",
            subject: &self.database.id,
        };
        services.begin_copy(&wanted).await?;
        Ok(Progress::Coming(name))
    }

    /// How far a clone of this purpose has come.
    pub(crate) async fn progress(&self, services: &Services, plan: &Plan, instance: &Instance) -> Result<Progress, ErrorReport> {
        if is_hopeless(instance) {
            return Err(why_hopeless(instance));
        }
        if !instance.is_available() {
            return Ok(Progress::Coming(instance.name.clone()));
        }
        let point = self.snapshot_of(services, &instance.name).await?;
        let Some(Content::Snapshot { identifier, arn, .. }) = point.value.content() else {
            return Err(self.unknown_snapshot(&instance.name));
        };
        let snapshot = services.clients.snapshots(SnapshotOf::of_arn(arn)).describe(identifier).await?;
        match (snapshot.state, snapshot.created_at) {
            (SnapshotState::Available, Some(as_of)) => {
                self.prove(services, plan, &point, instance).await;
                Ok(Progress::Ready(Quiet { instance: instance.name.clone(), as_of }))
            }
            _ => Err(self.unknown_snapshot(&instance.name)),
        }
    }

    /// A clone that answers is the restore test of its snapshot. Once for each clone; what cannot be asked is left to verify's own test.
    async fn prove(&self, services: &Services, plan: &Plan, point: &Versioned<RecoveryPoint>, clone: &Instance) {
        let asked_at = asked_at(clone).unwrap_or(self.scheduled_time);
        let is_judged = match point.value.proof {
            Proof::Unproven => false,
            Proof::Proven { at, .. } | Proof::Refuted { at, .. } => at >= asked_at,
        };
        if is_judged {
            return;
        }
        if let Err(report) = services.prove_snapshot(plan, point, &clone.name, asked_at).await {
            tracing::warn!(
                error.code = report.code.name(),
                instance = clone.name,
                "its snapshot was not proven: {}",
                report.message
            );
        }
    }

    /// The snapshot whose short name ends the clone's.
    async fn snapshot_of(&self, services: &Services, name: &str) -> Result<Versioned<RecoveryPoint>, ErrorReport> {
        let points = services.catalog.points(&self.subject(), Some(Kind::Snapshot), caps::POSTURE_POINTS_MAX).await?;
        let found = points.into_iter().find(|point| name.ends_with(&short_name(point.value.id.uuid())));
        found.ok_or_else(|| self.unknown_snapshot(name))
    }

    fn unknown_snapshot(&self, name: &str) -> ErrorReport {
        let message = format!(
            "nobody can say of when the data of clone {name} is: the snapshot it was made from is not among the newest {} of instance {} any more",
            caps::POSTURE_POINTS_MAX,
            self.database.instance
        );
        ErrorReport::new(ErrorCode::EnvironmentBad, message)
    }

    fn subject(&self) -> Subject {
        Subject::Instance(self.database.id.clone())
    }

    /// Whether its exports should long be done: the clone goes then, whatever is left to do.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.scheduled_time) > SignedDuration::from_secs(caps::DRILL_AT_MOST_S)
    }
}

/// Begins to delete a clone.
pub(crate) async fn delete(services: &Services, name: &str, subject: &str) -> Result<(), ErrorReport> {
    services.delete_copy(name, "export", "export.clone_delete", subject).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [
                { "id": "central", "instance": "platform-central", "database": "central", "secret": "s" },
                { "id": "also", "instance": "platform-central", "database": "other", "secret": "s" },
                { "id": "pool", "instance": "platform-pool", "database": "app", "secret": "s" }
            ],
            "rules": [
                { "id": "nightly", "kind": "export", "classes": ["standard"], "schedule": { "daily_at": "03:15" }, "rpo_minutes": 1500, "read_from": "clone" },
                { "id": "hourly", "kind": "export", "classes": ["critical"], "schedule": { "hourly_at_minute": 5 }, "rpo_minutes": 90 }
            ],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1 }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn purpose<'a>(plan: &'a Plan, rule: &str, database: &str) -> Purpose<'a> {
        let scheduled_time = "2026-11-23T03:15:00Z".parse().unwrap();
        Purpose { rule: plan.rule(rule).unwrap(), scheduled_time, database: plan.database(database).unwrap() }
    }

    #[test]
    fn a_clones_name_says_what_it_is_for_and_rds_takes_it() {
        let plan = plan();
        for database in ["central", "pool"] {
            let purpose = purpose(&plan, "nightly", database);
            let name = format!("{}287069b31ef2", purpose.name_begins("main"));
            assert!(name.len() <= 63 && !name.contains("--"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'), "{name}");
            assert_eq!(Purpose::of(&name, &plan, "main"), Some(purpose), "{name}");
            assert_eq!(Purpose::of(&name, &plan, "another-vault"), None);
        }
    }

    #[test]
    fn a_name_that_no_rule_wants_is_nobodys() {
        let plan = plan();
        let other = purpose(&plan, "hourly", "pool").name_begins("main");
        for name in
            [other.as_str(), "holdfast-export-", "holdfast-export-20261123t031500-0123456789ab-287069b31ef2", "platform-pool"]
        {
            assert_eq!(Purpose::of(name, &plan, "main"), None, "{name}");
        }
    }

    #[test]
    fn a_clone_is_given_up_six_hours_after_its_tick() {
        let plan = plan();
        let purpose = purpose(&plan, "nightly", "pool");
        assert!(!purpose.is_over("2026-11-23T09:15:00Z".parse().unwrap()));
        assert!(purpose.is_over("2026-11-23T09:15:01Z".parse().unwrap()));
    }
}
