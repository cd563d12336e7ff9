//! One tenant of a recovery, brought to its recovery point on the new instance and proven, or counted as its instance has it.

use catalog::{Versioned, audit::Phase};
use domain::{
    Class, ErrorCode, ErrorReport, RecoveryPointId, TenantId,
    plan::Plan,
    point::{Content, RecoveryPoint},
    recovery::{Progress, RecoveredTenant, Source},
    register::{Register, Tenant},
    request::Selection,
};
use jiff::Timestamp;
use runtime::{
    recovered::Recovered,
    services::{Services, owner},
};
use sources::postgres::{
    self, Counted,
    restore::{self, Job, RestoreId},
};

/// What a tenant's restore needs besides the tenant.
pub(super) struct Place<'a> {
    pub(super) services: &'a Services,
    pub(super) plan: &'a Plan,
    pub(super) environment: &'a Recovered,
    /// The recovered register; for the platform's own databases, what the plan says of them.
    pub(super) register: &'a [Tenant],
}

impl Place<'_> {
    /// Settles one tenant, if it can be by now. What cannot be mended by another attempt is recorded, and no error: it harms no other.
    ///
    /// # Errors
    /// If another attempt may succeed.
    pub(super) async fn settle(&self, item: Versioned<RecoveredTenant>) -> Result<(), ErrorReport> {
        if item.value.progress.is_final() {
            return Ok(());
        }
        let (services, now) = (self.services, self.services.clock.now());
        let since = match item.value.progress {
            Progress::Restoring { since, .. } => since,
            _ => now,
        };
        let begun = Progress::Restoring { since, trouble: None };
        let item = services.catalog.update(&item, RecoveredTenant { progress: begun, ..item.value.clone() }).await?;
        let (id, subject) = (item.value.recovery, item.value.plan.tenant.to_string());
        let what = match &item.value.plan.from {
            Source::Export { point, .. } => format!("{id}: from {point}"),
            Source::Snapshot { as_of } => format!("{id}: as of the snapshot of {as_of}"),
            Source::Instant { as_of } => format!("{id}: as of {as_of}"),
            Source::Nowhere => format!("{id}: from nothing"),
        };
        services.audit(Phase::Intent, "restore", "recover.tenant", &subject, &what).await?;
        let settled = Box::pin(self.restore_or_count(&item.value)).await;
        let outcome = match &settled {
            Ok(Progress::Proven { rows, .. }) => format!("{id}: {rows} rows match"),
            Ok(Progress::AsOfSnapshot { rows, .. }) => format!("{id}: {rows} rows as of the snapshot"),
            Ok(Progress::AsOfInstant { rows, .. }) => format!("{id}: {rows} rows as of the instant"),
            Ok(other) => format!("{id}: {}", other.name()),
            Err(report) => format!("{id}: {report}"),
        };
        services.audit(Phase::Outcome, "restore", "recover.tenant", &subject, &outcome).await?;
        let (progress, again) = match settled {
            Ok(progress) => (in_ms(progress, services.ms_since(since)), None),
            Err(report) => match report.code.class() {
                Class::Transient | Class::Throttled | Class::Conflict => {
                    (Progress::Restoring { since, trouble: Some(report.to_string()) }, Some(report))
                }
                Class::Permanent | Class::Integrity | Class::Denied => (Progress::failed(&report, services.clock.now()), None),
            },
        };
        services.catalog.update(&item, RecoveredTenant { progress, ..item.value.clone() }).await?;
        again.map_or(Ok(()), Err)
    }

    async fn restore_or_count(&self, item: &RecoveredTenant) -> Result<Progress, ErrorReport> {
        let id = &item.plan.tenant;
        let tenant = self.register.iter().find(|tenant| tenant.id == *id).ok_or_else(|| self.environment.not_listed(id))?;
        if !tenant.is_protected() {
            let why = "the recovered register says that the tenant is deleted".to_owned();
            return Ok(Progress::LeftOut { at: self.services.clock.now(), why });
        }
        match &item.plan.from {
            Source::Export { point, content, .. } => self.restore(item, tenant, *point, content).await,
            Source::Snapshot { .. } => {
                let (at, Counted { tables, rows }) = self.count(tenant).await?;
                Ok(Progress::AsOfSnapshot { at, rto_ms: 0, tables, rows })
            }
            Source::Instant { .. } => {
                let (at, Counted { tables, rows }) = self.count(tenant).await?;
                Ok(Progress::AsOfInstant { at, rto_ms: 0, tables, rows })
            }
            Source::Nowhere => {
                let message = format!("there was nothing to make tenant {id}'s instance from");
                Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message))
            }
        }
    }

    async fn restore(
        &self,
        item: &RecoveredTenant,
        tenant: &Tenant,
        point: RecoveryPointId,
        content: &str,
    ) -> Result<Progress, ErrorReport> {
        let services = self.services;
        let point = services.catalog.point(&tenant.id, point).await?.value;
        check_point(&tenant.id, &point, content, self.environment)?;
        let reader = services.open_point(&tenant.id, &point).await?;
        if owner(&reader).is_none_or(|then| (&then.database_id, &then.layout) != (&tenant.database_id, &tenant.layout)) {
            let message = format!(
                "tenant {} lives elsewhere by the recovered register than when recovery point {} was made; what its instance's snapshot has \
                 of it stands; choose another recovery point with `{} --point …`",
                tenant.id,
                point.id,
                self.environment.remedy(&tenant.id)
            );
            return Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
        }
        let (endpoint, scope) = services.live_in(self.plan, self.environment, tenant).await?;
        let (tools, restore_id) = (services.tools(), RestoreId::of(item.restore_id()));
        let job = Job::new(&endpoint, &tools, &scope, &restore_id, &reader)?;
        let done = restore::run(&job).await?;
        let proof = restore::prove(&endpoint, &scope, &reader, &Selection::default()).await?;
        let notes = done.notes.into_iter().chain(proof.notes).collect();
        let (at, undo_copy) = (services.clock.now(), done.undo_copy);
        Ok(Progress::Proven { at, rto_ms: 0, rows: proof.rows, undo_copy, notes })
    }

    async fn count(&self, tenant: &Tenant) -> Result<(Timestamp, Counted), ErrorReport> {
        let (endpoint, scope) = self.services.live_in(self.plan, self.environment, tenant).await?;
        let Some(counted) = postgres::count(&endpoint, &scope).await? else {
            let message = format!(
                "tenant {} is in the recovered register, but its place is not on the new instance, and it has no newer export; it is lost as \
                 of then: look for an older one of a place where it lived before",
                tenant.id
            );
            return Err(ErrorReport::new(ErrorCode::ContentMismatch, message));
        };
        Ok((self.services.clock.now(), counted))
    }
}

/// The platform's own databases as the plan has them, which need no register.
pub(super) fn platform(plan: &Plan) -> Vec<Tenant> {
    Register::platform(plan)
}

/// The recovery point must still be usable, and be the very content that was approved.
fn check_point(tenant: &TenantId, point: &RecoveryPoint, content: &str, environment: &Recovered) -> Result<(), ErrorReport> {
    let same = matches!(point.content(), Some(Content::Export { link_sha256, .. }) if link_sha256 == content);
    if point.is_usable() && same {
        return Ok(());
    }
    let (id, state, proof, remedy) = (point.id, point.state.name(), point.proof.name(), environment.remedy(tenant));
    let message = format!(
        "recovery point {id} of tenant {tenant} is {state} and {proof} by now, or other than approved; restore another one with `{remedy}`"
    );
    Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message))
}

fn in_ms(progress: Progress, took: i64) -> Progress {
    match progress {
        Progress::Proven { at, rows, undo_copy, notes, .. } => Progress::Proven { at, rto_ms: took, rows, undo_copy, notes },
        Progress::AsOfSnapshot { at, tables, rows, .. } => Progress::AsOfSnapshot { at, rto_ms: took, tables, rows },
        Progress::AsOfInstant { at, tables, rows, .. } => Progress::AsOfInstant { at, rto_ms: took, tables, rows },
        other => other,
    }
}
