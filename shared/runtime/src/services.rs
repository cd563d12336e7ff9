//! What every handler works with: the catalog, the vault, the platform's databases, and a voice.

use std::sync::Arc;

use aws::{Clients, Instance};
use catalog::{
    Catalog,
    audit::{AuditEntry, Phase},
    tenants::TenantRecord,
};
use domain::{
    ErrorCode, ErrorReport, TenantId, VaultTenantId,
    alert::{Alert, AlertClass},
    caps,
    plan::{Database, Plan},
    point::{Content, Kind, RecoveryPoint},
    register::{Register, Tenant},
    slot::Subject,
};
use jiff::Timestamp;
use serde::Deserialize;
use sources::postgres::{Endpoint, Scope, Tools};
use vault::{PointReader, PointRef, Vault};

use crate::{
    clock::{Clock, SystemClock},
    config::Config,
    fresh::{Fresh, SystemFresh},
    own_keys::OwnKeys,
    sharing::Marks,
};

/// Everything a handler needs, made once per cold start.
pub struct Services {
    /// What the template told this function.
    pub config: Config,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// New ids and passwords.
    pub fresh: Arc<dyn Fresh>,
    /// What Holdfast knows.
    pub catalog: Catalog,
    /// Where backups are.
    pub vault: Vault,
    /// The rest of AWS.
    pub clients: Clients,
    own_keys: Arc<OwnKeys>,
}

/// The field of every manifest's facts with the register's row of the tenant: the vault alone says whose data it holds.
pub const REGISTER_FACT: &str = "register";
/// The field with the slot that it filled, and the rest of what the catalog records of it ([`domain::point::Origin`]).
pub const ORIGIN_FACT: &str = "origin";

/// What an alert says besides its class and subject.
pub struct Said {
    /// What happened.
    pub summary: String,
    /// What it means for recovery.
    pub meaning: String,
    /// What to do next.
    pub remedy: String,
}

impl Services {
    /// Makes them from the environment. Makes no call to AWS.
    ///
    /// # Errors
    /// Naming the configuration value that is missing or unusable.
    pub async fn load() -> Result<Self, ErrorReport> {
        let config = Config::from_env()?;
        let clients = Clients::load().await;
        let catalog = Catalog::new(Arc::new(clients.table(&config.table)));
        let store = Arc::new(clients.store(&config.vault_bucket));
        let own_keys = Arc::new(OwnKeys::new(catalog.clone(), clients.parameters(), &config));
        let keys = Arc::new(clients.keys(&config.vault_key).with_own_keys(own_keys.clone()));
        let signing = Arc::new(clients.signing(&config.signing_key));
        let vault = Vault::new(store, keys, signing, config.vault_id.clone());
        let vault = vault.beside(Arc::new(Marks::of(catalog.clone(), config.vault_lock)));
        Ok(Self { config, clock: Arc::new(SystemClock), fresh: Arc::new(SystemFresh), catalog, vault, clients, own_keys })
    }

    /// The backup plan as it is now.
    ///
    /// # Errors
    /// If the parameter cannot be read or does not hold a plan.
    pub async fn plan(&self) -> Result<Plan, ErrorReport> {
        let text = self.clients.parameters().value(&self.config.plan_parameter).await?;
        let plan = Plan::parse(&text)?;
        self.own_keys.follow(&plan);
        Ok(plan)
    }

    /// Reads the tenant register and remembers every tenant in the catalog. Rows that cannot be understood raise an alert.
    ///
    /// # Errors
    /// If the central database cannot be read, or not one row is usable.
    pub async fn register(&self, plan: &Plan) -> Result<Register, ErrorReport> {
        let mut read = self.read_register(plan).await;
        let remembered = match &mut read {
            Ok(register) => self.remember(register).await,
            Err(_) => Ok(()),
        };
        let troubled = match &read {
            Ok(register) => register.problems.clone(),
            Err(report) => vec![report.to_string()],
        };
        let told = if troubled.is_empty() {
            self.all_clear(AlertClass::RegisterBad, "register").await
        } else {
            let said = Said {
                summary: format!("the tenant register has {} unusable entries: {}", troubled.len(), first_few(&troubled)),
                meaning: "the tenants concerned are not backed up, however healthy everything else looks".to_owned(),
                remedy: "correct the rows, or the plan they contradict; the next reconcile closes this alert".to_owned(),
            };
            self.raise(plan, AlertClass::RegisterBad, "register", said).await
        };
        if let Err(report) = told {
            // Trouble with telling must not stop the backups of the readable rows; reconcile tells again.
            tracing::error!(error.code = report.code.name(), "the state of the register could not be told: {}", report.message);
        }
        remembered?;
        read
    }

    /// Remembers every tenant. One that was erased is not one any more, whoever lists its id again as in business.
    async fn remember(&self, register: &mut Register) -> Result<(), ErrorReport> {
        let mut erased = Vec::new();
        for tenant in &register.tenants {
            let record = self.catalog.remember_tenant(tenant, self.fresh.vault_tenant_id(), self.clock.now()).await?;
            if let Err(problem) = record.check_not_erased()
                && tenant.is_protected()
            {
                erased.push((tenant.id.clone(), problem.to_string()));
            }
        }
        register.tenants.retain(|tenant| !erased.iter().any(|(id, _)| *id == tenant.id));
        register.problems.extend(erased.into_iter().map(|(_, problem)| problem));
        Ok(())
    }

    pub(crate) async fn read_register(&self, plan: &Plan) -> Result<Register, ErrorReport> {
        let database = known_database(plan, &plan.register.database)?;
        self.read_register_at(plan, &self.endpoint(database, &database.database).await?).await
    }

    /// The register as it stands in a central database, which need not be the plan's.
    pub(crate) async fn read_register_at(&self, plan: &Plan, endpoint: &Endpoint) -> Result<Register, ErrorReport> {
        let rows = sources::postgres::read_register(endpoint, &plan.register.query).await?;
        Ok(Register::parse(&rows, plan, self.clock.now())?)
    }

    /// A tenant as the register lists it at this moment: where a restore may write is never taken from the catalog's memory.
    ///
    /// # Errors
    /// If the register cannot be read or does not list the tenant. The platform's own databases need only the plan.
    pub async fn listed_tenant(&self, plan: &Plan, id: &TenantId) -> Result<Tenant, ErrorReport> {
        let listed = if id.as_platform().is_some() {
            Register::platform(plan).into_iter().find(|tenant| tenant.id == *id)
        } else {
            match self.tenant(id).await {
                Err(report) if report.code == ErrorCode::UnknownTenant => {}
                record => record?.check_not_erased()?,
            }
            self.read_register(plan).await?.tenant(id).cloned()
        };
        listed.ok_or_else(|| {
            let message = format!(
                "tenant {id} is not in the tenant register now, so nobody can say where it lives; mend its row first, or restore the central database"
            );
            ErrorReport::new(ErrorCode::UnknownTenant, message)
        })
    }

    /// How to reach a database: the address from RDS, the credentials from Secrets Manager, never from an event.
    ///
    /// # Errors
    /// If either does not answer, or the instance is not there.
    pub async fn endpoint(&self, database: &Database, name: &str) -> Result<Endpoint, ErrorReport> {
        match &database.cluster {
            // Which of its instances writes changes by itself.
            Some(cluster) => {
                let address = self.clients.instances().writer_of(cluster).await?;
                self.endpoint_at(database, &format!("cluster {cluster}"), address, name).await
            }
            None => self.endpoint_on(database, &database.instance, name).await,
        }
    }

    /// How to reach the same database on another instance, such as an isolated clone.
    ///
    /// # Errors
    /// If either does not answer, or the instance is not there.
    pub async fn endpoint_on(&self, database: &Database, instance: &str, name: &str) -> Result<Endpoint, ErrorReport> {
        let instance = self.clients.instances().describe(instance).await?;
        self.endpoint_of(database, instance, name).await
    }

    /// How to reach a database on an instance that RDS has described.
    pub(crate) async fn endpoint_of(&self, database: &Database, instance: Instance, name: &str) -> Result<Endpoint, ErrorReport> {
        let what = format!("instance {}, which is {},", instance.name, instance.status);
        self.endpoint_at(database, &what, instance.endpoint, name).await
    }

    async fn endpoint_at(
        &self,
        database: &Database,
        what: &str,
        address: Option<(String, u16)>,
        name: &str,
    ) -> Result<Endpoint, ErrorReport> {
        let login = self.clients.secrets().database_credentials(&database.secret).await?;
        let Some((host, port)) = address else {
            let message = format!("{what} has no address yet; try again when it is available");
            return Err(ErrorReport::new(ErrorCode::SourceUnreachable, message));
        };
        Ok(Endpoint {
            host,
            port,
            database: name.to_owned(),
            user: login.username,
            password: login.password,
            ca_file: self.config.database_ca.clone(),
        })
    }

    /// The endpoint and scope of a tenant's live data.
    ///
    /// # Errors
    /// If the plan does not know the tenant's database, or it cannot be reached.
    pub async fn live(&self, plan: &Plan, tenant: &Tenant) -> Result<(Endpoint, Scope), ErrorReport> {
        let database = known_database(plan, &tenant.database_id)?;
        let endpoint = self.endpoint(database, tenant.layout.database()).await?;
        Ok((endpoint, scope(plan, tenant)?))
    }

    /// The tenant with this id, as last seen in the register.
    ///
    /// # Errors
    /// If the register never had it.
    pub async fn tenant(&self, id: &TenantId) -> Result<TenantRecord, ErrorReport> {
        Ok(self.catalog.tenant(id).await?)
    }

    /// Opens a tenant's recovery point, authenticated.
    ///
    /// # Errors
    /// If it is damaged, or holds another tenant's data: the catalog's word for whose it is does not count, the manifest's does.
    pub async fn open_point(&self, tenant: &TenantId, point: &RecoveryPoint) -> Result<PointReader, ErrorReport> {
        let (vault_tenant, reference) = point_ref(point)?;
        let reader = self.vault.open(vault_tenant, point.id, &reference).await?;
        match owner(&reader) {
            Some(owner) if owner.id == *tenant => Ok(reader),
            _ => {
                let message = format!(
                    "recovery point {} does not hold tenant {tenant}'s data; the catalog is wrong, nothing was done",
                    point.id
                );
                Err(ErrorReport::new(ErrorCode::NotAuthentic, message))
            }
        }
    }

    /// The newest place in a tenant's chain that was published, 0 if none was: a chain that ends before it was cut off.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn newest_place(&self, tenant: &TenantId, vault_tenant: VaultTenantId) -> Result<u64, ErrorReport> {
        let subject = Subject::Tenant(tenant.clone());
        let mut newest = 0;
        for kind in [Kind::Database, Kind::Media, Kind::Configuration] {
            let points = self.catalog.points(&subject, Some(kind), caps::POSTURE_POINTS_MAX).await?;
            let places = points.iter().filter_map(|point| place_in_chain(&point.value, vault_tenant));
            newest = places.fold(newest, u64::max);
        }
        Ok(newest)
    }

    /// Where `pg_dump` and `pg_restore` are.
    #[must_use]
    pub fn tools(&self) -> Tools {
        Tools::new(&self.config.postgres_tools)
    }

    /// Opens an alert and tells the subscribers, unless they know.
    ///
    /// # Errors
    /// If the catalog or the topic does not take it; the next delivery tries again.
    pub async fn raise(&self, plan: &Plan, class: AlertClass, subject: &str, said: Said) -> Result<(), ErrorReport> {
        let now = self.clock.now();
        let Said { summary, meaning, remedy } = said;
        let (summary, meaning, remedy) = (cut(summary), cut(meaning), cut(remedy));
        self.tell(plan, Alert { class, subject: subject.to_owned(), opened_at: now, summary, meaning, remedy }).await
    }

    /// Tells of what happens once to its subject, however often the step is delivered that tells of it.
    ///
    /// # Errors
    /// If the catalog or the topic does not take it; the next delivery tries again.
    pub async fn raise_once(&self, plan: &Plan, class: AlertClass, subject: &str, said: Said) -> Result<(), ErrorReport> {
        if self.was_told(class, subject).await? { Ok(()) } else { self.raise(plan, class, subject, said).await }
    }

    /// Whether the topic has taken an alert of this class about this subject, open or closed by now.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn was_told(&self, class: AlertClass, subject: &str) -> Result<bool, ErrorReport> {
        Ok(self.catalog.alert(class, subject).await?.is_some_and(|record| record.sent_at.is_some()))
    }

    /// Tells the subscribers of an alert, unless they know. A notice is over as soon as it is told.
    ///
    /// # Errors
    /// If the catalog or the topic does not take it; the next delivery tries again.
    pub async fn tell(&self, plan: &Plan, alert: Alert) -> Result<(), ErrorReport> {
        let Some(record) = self.catalog.open_alert(&alert).await? else {
            return Ok(());
        };
        let alert = &record.value.alert;
        self.clients.alerts(&self.config.alert_topic).publish(alert, &plan.environment).await?;
        tracing::warn!(alert.class = alert.class.name(), alert.subject = alert.subject, "alert sent");
        self.catalog.mark_sent(&record, self.clock.now()).await?;
        if alert.class.is_notice() {
            self.all_clear(alert.class, &alert.subject).await?;
        }
        Ok(())
    }

    /// Closes an alert whose trouble is over.
    ///
    /// # Errors
    /// If the catalog does not take it.
    pub async fn all_clear(&self, class: AlertClass, subject: &str) -> Result<(), ErrorReport> {
        if self.catalog.close_alert(class, subject, self.clock.now()).await? {
            tracing::info!(alert.class = class.name(), alert.subject = subject, "alert closed");
        }
        Ok(())
    }

    /// Writes an entry of the audit trail.
    ///
    /// # Errors
    /// If the catalog does not take it; the act must then not happen.
    pub async fn audit(&self, phase: Phase, actor: &str, act: &str, subject: &str, detail: &str) -> Result<(), ErrorReport> {
        let entry = AuditEntry {
            id: self.fresh.run_id(),
            at: self.clock.now(),
            actor: actor.to_owned(),
            act: act.to_owned(),
            subject: subject.to_owned(),
            phase,
            detail: detail.to_owned(),
        };
        Ok(self.catalog.audit(entry).await?)
    }

    /// Milliseconds since an instant.
    #[must_use]
    pub fn ms_since(&self, start: Timestamp) -> i64 {
        i64::try_from(self.clock.now().duration_since(start).as_millis()).unwrap_or(i64::MAX)
    }
}

/// The plan's database with this id.
///
/// # Errors
/// If there is none.
pub fn known_database<'a>(plan: &'a Plan, id: &str) -> Result<&'a Database, ErrorReport> {
    plan.database(id).ok_or_else(|| {
        let message = format!("the backup plan has no database `{id}`; add it to `databases`, or correct the tenant register");
        ErrorReport::new(ErrorCode::PlanInvalid, message)
    })
}

/// What belongs to a tenant, less what the plan leaves out.
///
/// # Errors
/// If the register's names cannot be names in PostgreSQL.
pub fn scope(plan: &Plan, tenant: &Tenant) -> Result<Scope, ErrorReport> {
    Ok(Scope::new(tenant.id.clone(), tenant.layout.clone(), plan.exclusions.clone())?)
}

/// The random end of a UUID: short enough for names in a database or of an instance, the same for the same id.
#[must_use]
pub fn short_name(id: uuid::Uuid) -> String {
    let hex = id.simple().to_string();
    hex[hex.len() - 12..].to_owned()
}

/// Where the link of an exported recovery point is.
///
/// # Errors
/// If it is not available, or not an export.
pub fn point_ref(point: &RecoveryPoint) -> Result<(VaultTenantId, PointRef), ErrorReport> {
    match point.content() {
        Some(Content::Export { vault_tenant, sequence, link_sha256, .. }) => {
            Ok((*vault_tenant, PointRef { sequence: *sequence, link_sha256: link_sha256.clone() }))
        }
        _ => {
            let message = format!("recovery point {} is {} and not an export that can be read", point.id, point.state.name());
            Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message))
        }
    }
}

/// A recovery point's place in a tenant's chain, if it was published there. The link of one that has gone stays where it is.
#[must_use]
pub fn place_in_chain(point: &RecoveryPoint, of: VaultTenantId) -> Option<u64> {
    match point.last_content() {
        Some(Content::Export { vault_tenant, sequence, .. }) if *vault_tenant == of => Some(*sequence),
        _ => None,
    }
}

/// The register's row that travels in a recovery point: whose it is, and where that tenant lived then.
#[must_use]
pub fn owner(reader: &PointReader) -> Option<Tenant> {
    Deserialize::deserialize(&reader.manifest().facts[REGISTER_FACT]).ok()
}

/// A text of an alert, cut between characters if it is too long to send.
fn cut(mut text: String) -> String {
    if text.len() > caps::ALERT_TEXT_BYTES_MAX {
        text.truncate(text.floor_char_boundary(caps::ALERT_TEXT_BYTES_MAX));
        text.push('…');
    }
    text
}

/// A few of many lines, for a message.
#[must_use]
pub fn first_few(lines: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = lines.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if lines.len() > SHOWN {
        text.push_str(&format!("; and {} more", lines.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use domain::{
        point::Kind,
        slot::{Slot, Subject},
    };

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn vault_tenant(n: u8) -> VaultTenantId {
        format!("vt_00000000-0000-0000-0000-0000000000{n:02}").parse().unwrap()
    }

    fn running() -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: NOW, subject, kind: Kind::Database };
        RecoveryPoint::begin(&slot, "run_00000000-0000-0000-0000-000000000001".parse().unwrap(), NOW)
    }

    #[test]
    fn a_place_is_what_was_published_of_this_tenant_even_if_it_expired_since() {
        let content = Content::Export {
            vault_tenant: vault_tenant(1),
            sequence: 7,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        };
        let available = running().publish(content.clone(), NOW).unwrap();
        let expired = RecoveryPoint { state: domain::point::State::Expired { at: NOW, content }, ..running() };
        for (point, expected) in [(running(), None), (available, Some(7)), (expired, Some(7))] {
            assert_eq!(place_in_chain(&point, vault_tenant(1)), expected, "{}", point.state.name());
            assert_eq!(place_in_chain(&point, vault_tenant(2)), None, "another's chain has other places");
        }
    }
}
