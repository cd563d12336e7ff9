//! What every step that touches data needs: the tenant, its live data, and the recovery point.

use domain::{
    ErrorCode, ErrorReport,
    plan::Plan,
    point::{Content, RecoveryPoint},
    register::Tenant,
    request::RestoreRequest,
};
use runtime::services::{Services, owner};
use sources::postgres::{Endpoint, Scope};
use vault::PointReader;

pub(crate) struct Work {
    pub(crate) tenant: Tenant,
    pub(crate) point: RecoveryPoint,
    pub(crate) reader: PointReader,
    pub(crate) endpoint: Endpoint,
    pub(crate) scope: Scope,
}

impl Work {
    /// Opens everything that a request names. The target is where the register says now that the tenant lives, and the recovery point
    /// must be of the same place.
    pub(crate) async fn open(services: &Services, plan: &Plan, request: &RestoreRequest) -> Result<Self, ErrorReport> {
        let tenant = services.listed_tenant(plan, &request.tenant).await?;
        let point = services.catalog.point(&tenant.id, request.point).await?.value;
        if !point.is_usable() {
            let (state, proof) = (point.state.name(), point.proof.name());
            let message = format!("recovery point {} is {state} and {proof} by now; make a request for another one", point.id);
            return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
        }
        let reader = services.open_point(&tenant.id, &point).await?;
        let then = owner(&reader);
        if then.as_ref().is_none_or(|then| (&then.database_id, &then.layout) != (&tenant.database_id, &tenant.layout)) {
            let message = format!(
                "tenant {} has moved since recovery point {}: its old place may be somebody else's; choose a later point",
                tenant.id, point.id
            );
            return Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
        }
        let (endpoint, scope) = services.live(plan, &tenant).await?;
        Ok(Self { tenant, point, reader, endpoint, scope })
    }

    /// What an approval is bound to besides the live data: the recovery point's very bytes.
    pub(crate) fn content_id(&self) -> &str {
        match self.point.content() {
            Some(Content::Export { link_sha256, .. }) => link_sha256,
            Some(Content::Snapshot { arn, .. }) => arn,
            None => "",
        }
    }
}
