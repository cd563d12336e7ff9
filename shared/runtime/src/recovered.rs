//! A recovered environment: the same platform on the instances that a recovery made.
//!
//! Production may be gone, so nothing here asks it for anything: the register is read from the recovered central database, addresses come
//! from RDS's description of the new instances, and logins are the ones that they had, from Secrets Manager.

use std::collections::BTreeSet;

use aws::{Instance, Tags};
use domain::{
    ErrorCode, ErrorReport, RecoveryId, TenantId,
    plan::Plan,
    recovery::{PlannedInstance, RecoveryState, Work},
    register::{Register, Tenant},
};
use sources::postgres::{Endpoint, Scope};

use crate::{
    copies::VAULT_TAG,
    services::{Services, known_database, scope},
};

/// The tag that says which recovery an instance is of.
const RECOVERY_TAG: &str = "holdfast:recovery";

/// The tags of a recovery's instances.
#[must_use]
pub fn tags(vault: &str, recovery: RecoveryId) -> Tags {
    Tags::from([(VAULT_TAG.to_owned(), vault.to_owned()), (RECOVERY_TAG.to_owned(), recovery.to_string())])
}

/// An instance that somebody else made is never written to, whatever its name.
///
/// # Errors
/// Unless it carries the tags of the recovery.
pub fn check_ours(services: &Services, recovery: RecoveryId, instance: &Instance) -> Result<(), ErrorReport> {
    check_tags(&services.config.vault_id.to_string(), recovery, &instance.name, &instance.tags)
}

fn check_tags(vault: &str, recovery: RecoveryId, name: &str, found: &Tags) -> Result<(), ErrorReport> {
    if tags(vault, recovery).iter().all(|(tag, value)| found.get(tag) == Some(value)) {
        return Ok(());
    }
    let message = format!(
        "instance {name} exists and does not carry the tags of recovery {recovery}; find out who made it, delete or rename it, and ask for \
         another recovery"
    );
    Err(ErrorReport::new(ErrorCode::RestoreRefused, message))
}

/// The new instances of one recovery.
#[derive(Debug, Clone)]
pub struct Recovered {
    recovery: RecoveryId,
    /// The databases that stand for the instances that are ready.
    ready: BTreeSet<String>,
}

impl Recovered {
    /// The instances that are ready by now.
    #[must_use]
    pub fn of(recovery: RecoveryId, work: &Work) -> Self {
        let ready = work.instances.iter().filter_map(|made| work.instance(&made.database));
        Self { recovery, ready: ready.map(|made| made.database.clone()).collect() }
    }

    /// The new instance that a database of the plan is on. Its name is derived, never read from a record that could be forged.
    ///
    /// # Errors
    /// If the recovery could not make it, it is production by now, or the plan does not know the database.
    pub fn instance_of(&self, plan: &Plan, database_id: &str) -> Result<String, ErrorReport> {
        known_database(plan, database_id)?;
        let recovery = self.recovery;
        let subject = plan.snapshot_subject_of(database_id).unwrap_or(database_id);
        let refused = |message: String| Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
        if !self.ready.contains(subject) {
            return refused(format!(
                "recovery {recovery} has no instance for database {database_id}; `holdfast recover watch {recovery}` says why"
            ));
        }
        let name = PlannedInstance::name_for(recovery, subject);
        if plan.databases.iter().any(|database| database.instance.eq_ignore_ascii_case(&name)) {
            return refused(format!(
                "instance {name} of recovery {recovery} is in the backup plan, so it is production: restore in place, without --recovery"
            ));
        }
        Ok(name)
    }

    /// What there is to say of a tenant that the recovered register does not list.
    #[must_use]
    pub fn not_listed(&self, id: &TenantId) -> ErrorReport {
        let message = format!(
            "tenant {id} is not in the recovered register, so nobody can say where it lives: it may have signed up after the register was \
             last saved; put its row back, then restore it with `{}`",
            self.remedy(id)
        );
        ErrorReport::new(ErrorCode::UnknownTenant, message)
    }

    /// The command that asks for a tenant's restore into this environment.
    #[must_use]
    pub fn remedy(&self, id: &TenantId) -> String {
        format!("holdfast restore request --tenant {id} --mode new-environment --recovery {} --reason …", self.recovery)
    }
}

impl Services {
    /// The environment that a finished recovery made.
    ///
    /// # Errors
    /// If there is no such recovery, it is not done, or it is not what other people agreed to.
    pub async fn recovered(&self, recovery: RecoveryId) -> Result<Recovered, ErrorReport> {
        let found = self.catalog.recovery(recovery).await?.value;
        match &found.state {
            RecoveryState::Done { work, .. } => {
                let tenants = self.catalog.recovered_tenants(recovery).await?;
                found.check_done(&found.planned_of(tenants.iter().map(|tenant| &tenant.value)))?;
                Ok(Recovered::of(recovery, work))
            }
            other => {
                let message = format!(
                    "recovery {recovery} is {}; a tenant can be restored into its environment once it is done",
                    other.name()
                );
                Err(ErrorReport::new(ErrorCode::RestoreRefused, message))
            }
        }
    }

    /// The register as the recovered central database has it.
    ///
    /// # Errors
    /// If it cannot be reached, or not one row is usable.
    pub async fn recovered_register(&self, plan: &Plan, environment: &Recovered) -> Result<Register, ErrorReport> {
        let central = &plan.register.database;
        let endpoint = self.endpoint_in(plan, environment, central, &known_database(plan, central)?.database).await?;
        self.read_register_at(plan, &endpoint).await
    }

    /// How to reach a database of the plan on the instance that the recovery made for it.
    async fn endpoint_in(&self, plan: &Plan, environment: &Recovered, id: &str, name: &str) -> Result<Endpoint, ErrorReport> {
        let database = known_database(plan, id)?;
        let instance = self.clients.instances().describe(&environment.instance_of(plan, id)?).await?;
        check_ours(self, environment.recovery, &instance)?;
        self.endpoint_of(database, instance, name).await
    }

    /// A tenant as the recovered register lists it. The platform's own databases need only the plan.
    ///
    /// # Errors
    /// If the register cannot be read or does not list the tenant.
    pub async fn recovered_tenant(&self, plan: &Plan, environment: &Recovered, id: &TenantId) -> Result<Tenant, ErrorReport> {
        let listed = if id.as_platform().is_some() {
            Register::platform(plan).into_iter().find(|tenant| tenant.id == *id)
        } else {
            self.recovered_register(plan, environment).await?.tenant(id).cloned()
        };
        listed.ok_or_else(|| environment.not_listed(id))
    }

    /// The endpoint and scope of a tenant in a recovered environment.
    ///
    /// # Errors
    /// If the recovery made no instance for it, or it cannot be reached.
    pub async fn live_in(&self, plan: &Plan, environment: &Recovered, tenant: &Tenant) -> Result<(Endpoint, Scope), ErrorReport> {
        let endpoint = self.endpoint_in(plan, environment, &tenant.database_id, tenant.layout.database()).await?;
        Ok((endpoint, scope(plan, tenant)?))
    }
}

#[cfg(test)]
mod tests {
    use domain::recovery::{MadeInstance, Stage};
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn id() -> RecoveryId {
        "rc_0192a1c0-1d2e-7f30-9a4b-5c6d7e8f9a0b".parse().unwrap()
    }

    fn plan(instance: &str) -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC",
            "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": instance, "database": "d", "secret": "s", "platform": true }],
            "rules": [{
                "id": "r", "kind": "export", "classes": ["critical"], "schedule": { "daily_at": "03:15" }, "rpo_minutes": 1500
            }],
            "retention": {
                "keep_all_days": 7, "daily": 14, "weekly": 8, "monthly": 12, "yearly": 3, "min_proven": 1, "max_expire_per_run": 100,
                "apply": false
            }
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn environment(name: &str) -> Recovered {
        let stage = Stage::Ready { rto_ms: 1, at: Timestamp::UNIX_EPOCH, lacks: vec![] };
        let instances = vec![MadeInstance { database: "central".into(), name: name.into(), stage }];
        let started_at = Timestamp::UNIX_EPOCH;
        Recovered::of(id(), &Work { started_at, instances, instances_at: None, platform_at: None, notes: vec![] })
    }

    #[test]
    fn a_forged_record_cannot_name_the_instance_that_is_written_to() {
        let derived = "holdfast-recovery-5c6d7e8f9a0b-central";
        assert_eq!(environment("production").instance_of(&plan("production"), "central").unwrap(), derived);
        let refused = environment(derived).instance_of(&plan(&derived.to_uppercase()), "central").unwrap_err();
        assert_eq!(refused.code, ErrorCode::RestoreRefused);
        assert!(refused.message.contains("restore in place"), "{}", refused.message);
    }

    #[test]
    fn an_instance_without_the_tags_of_the_recovery_is_not_written_to() {
        let check = |found: &Tags| check_tags("v", id(), "i", found);
        assert!(check(&tags("v", id())).is_ok());
        let other = "rc_0192a1c0-1d2e-7f30-9a4b-000000000000".parse().unwrap();
        for found in [Tags::new(), tags("w", id()), tags("v", other)] {
            assert_eq!(check(&found).unwrap_err().code, ErrorCode::RestoreRefused);
        }
    }

    #[test]
    fn a_tenant_that_nobody_lists_is_told_with_a_whole_command() {
        let message = environment("i").not_listed(&"acme".parse().unwrap()).message;
        let whole = format!("--tenant acme --mode new-environment --recovery {} --reason …`", id());
        assert!(message.ends_with(&whole), "{message}");
    }
}
