//! What there is of a tenant, read so far that its promises can be measured.

use domain::{
    ErrorReport, caps,
    objectives::{self, Objectives, Stored},
    plan::Plan,
    point::{Kind, Proof, RecoveryPoint},
    register::Tenant,
    rpo,
    slot::Subject,
};

use crate::services::Services;

/// Recovery points that are read at first: nearly always one of them is proven.
const LOOKED_AT_FIRST: usize = 20;

impl Services {
    /// Measures a tenant's promises now.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub async fn objectives(&self, plan: &Plan, tenant: &Tenant) -> Result<Objectives, ErrorReport> {
        let subject = Subject::Tenant(tenant.id.clone());
        let databases = self.to_newest_proof(&subject).await?;
        let unread_since = self.catalog.reading(&subject).await?.and_then(|reading| reading.value.unread_since);
        let mut newest = Vec::new();
        for kind in rpo::tenant_kinds(plan, tenant) {
            let found = self.catalog.newest_usable(&subject, kind).await?;
            newest.extend(found.map(|point| (kind, point.value)));
        }
        Ok(objectives::measure(plan, tenant, &Stored { newest, databases, unread_since }, self.clock.now()))
    }

    async fn to_newest_proof(&self, subject: &Subject) -> Result<Vec<RecoveryPoint>, ErrorReport> {
        let mut found = Vec::new();
        for limit in [LOOKED_AT_FIRST, caps::LISTED_POINTS_MAX] {
            found = self.catalog.points(subject, Some(Kind::Database), limit).await?;
            let is_proven = |point: &RecoveryPoint| point.content().is_some() && matches!(point.proof, Proof::Proven { .. });
            if found.len() < limit || found.iter().any(|point| is_proven(&point.value)) {
                break;
            }
        }
        Ok(found.into_iter().map(|point| point.value).collect())
    }
}
