//! What the erasure of a tenant would take, what stands against it, and who may have it done: asked when a call comes in, and again when
//! the work is done.

use authorisation::{Act, Action, Asked as AskedOf, Place};
use catalog::{erasures::ErasureRecordError, tenants::TenantRecord};
use domain::{
    ErrorCode, ErrorReport, TenantId, VaultTenantId,
    alert::AlertClass,
    caps,
    erasure::{self, Asked, Erasure, Going},
    identity::Identity,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    register::{Register, Status, Tenant},
    slot::Subject,
};
use vault::Inventory;

use crate::services::Services;

/// The kinds that are of one tenant.
const KINDS: [Kind; 3] = [Kind::Database, Kind::Media, Kind::Configuration];

impl Services {
    /// Everything that the catalog knows of a tenant's recovery points.
    ///
    /// # Errors
    /// If the catalog cannot be read, or they are more than one listing holds.
    pub async fn points_to_erase(&self, tenant: &TenantId) -> Result<Vec<RecoveryPoint>, ErrorReport> {
        let subject = Subject::Tenant(tenant.clone());
        let mut points = Vec::new();
        for kind in KINDS {
            let of_kind = self.catalog.points(&subject, Some(kind), caps::POINTS_OF_A_KIND_MAX).await?;
            if of_kind.len() == caps::POINTS_OF_A_KIND_MAX {
                let message = format!(
                    "tenant {tenant} has more {} recovery points than one listing holds ({}): let retention go first",
                    kind.name(),
                    caps::POINTS_OF_A_KIND_MAX
                );
                return Err(refused(message));
            }
            points.extend(of_kind.into_iter().map(|point| point.value));
        }
        Ok(points)
    }

    /// What lies in the vault of a tenant, under every name that it goes or went by, the present one first.
    ///
    /// # Errors
    /// If the vault does not answer.
    pub async fn stored_of(&self, record: &TenantRecord) -> Result<Vec<(VaultTenantId, Inventory)>, ErrorReport> {
        let store = self.clients.store(&self.config.vault_bucket);
        let mut stored = Vec::new();
        for name in record.names() {
            stored.push((name, self.vault.inventory(&store, name).await?));
        }
        Ok(stored)
    }

    /// What there is of a tenant to go.
    ///
    /// # Errors
    /// `ErasureRefused` if one of its keys is somebody else's too.
    pub fn going(&self, plan: &Plan, asked: &Asked, points: &[RecoveryPoint]) -> Result<Going, ErrorReport> {
        let going = Going::of(asked, points, plan.dedicated_key(&asked.tenant));
        for key in &going.keys {
            if let Some(other) = plan.dedicated_keys.iter().find(|other| other.key_arn == *key && other.tenant != asked.tenant) {
                let message = format!(
                    "{key} opens recovery points of tenant {} and is tenant {}'s own in the plan: deleting it would erase both",
                    asked.tenant, other.tenant
                );
                return Err(refused(message));
            }
            if [&self.config.vault_key, &self.config.signing_key].contains(&key) {
                return Err(refused(format!("{key} is a key of the whole vault, so it is not deleted for one tenant")));
            }
        }
        Ok(going)
    }

    /// Refuses the erasure of what is held, or in use by a restore or a recovery. Holds outweigh an erasure, whoever placed them and why.
    ///
    /// # Errors
    /// `ErasureRefused`, naming what stands against it.
    pub async fn check_unused(&self, tenant: &TenantId, points: &[RecoveryPoint]) -> Result<(), ErrorReport> {
        if let Some(holds) = erasure::held_by(points, self.clock.now()) {
            let message = format!(
                "tenant {tenant} is held: {holds}. A hold outweighs an erasure: whoever answers for it releases it first \
                 (`holdfast hold list --tenant {tenant}`), or the erasure has to wait"
            );
            return Err(refused(message));
        }
        let open = self.catalog.requests(true, caps::LISTED_POINTS_MAX).await?;
        if let Some(request) = open.iter().find(|request| request.tenant == *tenant) {
            let message = format!(
                "restore request {} of tenant {tenant} is {}: it has to end first; see `holdfast restore watch {}`",
                request.id,
                request.state.name(),
                request.id
            );
            return Err(refused(message));
        }
        for recovery in self.catalog.recoveries(true, caps::LISTED_POINTS_MAX).await? {
            let tenants = self.catalog.recovered_tenants(recovery.id).await?;
            if tenants.iter().any(|recovered| recovered.value.plan.tenant == *tenant) {
                let message = format!(
                    "recovery {} of the environment brings tenant {tenant} back and is {}: it has to end first",
                    recovery.id,
                    recovery.state.name()
                );
                return Err(refused(message));
            }
        }
        Ok(())
    }

    /// Refuses the erasure of a tenant that is in business, as far as the catalog knows: one that the register lists otherwise than as
    /// `deleted`, or that reconcile did not miss in it.
    ///
    /// # Errors
    /// `ErasureRefused`; `TenantErased` if it is erased already and nothing was left.
    pub async fn check_remembered_gone(&self, tenant: &TenantId, points: &[RecoveryPoint]) -> Result<(), ErrorReport> {
        let record = self.tenant(tenant).await?;
        if let Some(erased) = &record.erased {
            let before = match self.catalog.erasure(erased.erasure).await {
                Ok(before) => Some(before.value),
                Err(ErasureRecordError::Unknown { .. }) => None,
                Err(error) => return Err(error.into()),
            };
            if !erasure::left_something(before.as_ref(), points) {
                record.check_not_erased()?;
            }
        }
        let vanished = async || {
            let alert = self.catalog.alert(AlertClass::RegisterBad, &format!("tenant {tenant}")).await?;
            Ok::<_, ErrorReport>(alert.is_some_and(|alert| alert.closed_at.is_none()))
        };
        if tenant.as_platform().is_none() && (record.tenant.status == Status::Deleted || vanished().await?) {
            return Ok(());
        }
        Err(alive(tenant))
    }

    /// The same by the register as it stands at this moment.
    ///
    /// # Errors
    /// `ErasureRefused` if it lists the tenant as anything but `deleted`, or has a row that nobody can read: it may be this tenant's.
    pub async fn check_listed_gone(&self, plan: &Plan, tenant: &TenantId) -> Result<(), ErrorReport> {
        if tenant.as_platform().is_some() {
            return Err(alive(tenant));
        }
        let Register { tenants, problems } = self.read_register(plan).await?;
        match tenants.iter().find(|listed| listed.id == *tenant) {
            Some(listed) if listed.is_protected() => Err(alive(tenant)),
            Some(_) => Ok(()),
            None if problems.is_empty() => Ok(()),
            None => {
                let message = format!(
                    "tenant {tenant} is not in the tenant register, but {} of its entries cannot be understood and may be it: {}; mend \
                     them, or list the tenant with status `deleted`",
                    problems.len(),
                    problems[0]
                );
                Err(refused(message))
            }
        }
    }

    /// How many other people must agree before this erasure may be carried out, as of now. Records nothing: nothing is done yet.
    ///
    /// # Errors
    /// `NotPermitted` if whoever asked may not ask for it (any more), or nobody's agreement would be enough.
    pub async fn erasure_approvals_needed(&self, plan: &Plan, asked: &Asked) -> Result<u8, ErrorReport> {
        let tenant = self.tenant(&asked.tenant).await?.tenant;
        self.needed_to_erase(plan, asked, &tenant, false).await
    }

    /// How many other people must have agreed, after making sure that everybody concerned may still do what they did.
    ///
    /// # Errors
    /// `NotPermitted` if somebody may not any more.
    pub async fn erasure_still_permitted(&self, plan: &Plan, erasure: &Erasure) -> Result<u8, ErrorReport> {
        let tenant = self.tenant(&erasure.asked.tenant).await?.tenant;
        let needed = self.needed_to_erase(plan, &erasure.asked, &tenant, true).await?;
        for approval in erasure.state.approvals() {
            let act = erasing(plan, Action::ApproveErasure, &tenant, erasure, &approval.by);
            self.permit(plan, &approval.by, &act).await.map_err(|report| {
                ErrorReport::new(report.code, format!("erasure {} stops: {}", erasure.asked.id, report.message))
            })?;
        }
        Ok(needed)
    }

    async fn needed_to_erase(&self, plan: &Plan, asked: &Asked, tenant: &Tenant, recorded: bool) -> Result<u8, ErrorReport> {
        let by = &asked.requested_by;
        let act = |action| Act {
            action,
            environment: &plan.environment,
            tenant: Some(Place::from(tenant)),
            asked: AskedOf { own: true, ..AskedOf::default() },
        };
        self.fewest_for(plan, by, (act(Action::RequestErasure), act(Action::CarryOutErasure)), recorded).await
    }
}

/// What somebody does to an erasure, as the policies are asked about it.
#[must_use]
pub fn erasing<'a>(plan: &'a Plan, action: Action, tenant: &'a Tenant, erasure: &Erasure, by: &Identity) -> Act<'a> {
    let asked = AskedOf { own: by.is_same_person(&erasure.asked.requested_by), ..AskedOf::default() };
    Act { action, environment: &plan.environment, tenant: Some(Place::from(tenant)), asked }
}

fn alive(tenant: &TenantId) -> ErrorReport {
    let message = match tenant.as_platform() {
        Some(database) => format!("{tenant} is the platform's own database {database}, which is nobody's to erase"),
        None => format!(
            "tenant {tenant} is in business: the tenant register lists it, and not as `deleted`. Close it on the platform first; the \
             next reconcile sees that"
        ),
    };
    refused(message)
}

fn refused(message: String) -> ErrorReport {
    ErrorReport::new(ErrorCode::ErasureRefused, message)
}
