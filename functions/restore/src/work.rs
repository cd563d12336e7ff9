//! What every step that touches data needs: the tenant, its live data, and the recovery point.

use domain::{
    ErrorReport,
    plan::Plan,
    point::{Content, RecoveryPoint},
    register::Tenant,
    request::RestoreRequest,
};
use runtime::services::Services;
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
    /// Opens everything that a request names. The target is where the tenant lives, whatever the request says.
    pub(crate) async fn open(services: &Services, plan: &Plan, request: &RestoreRequest) -> Result<Self, ErrorReport> {
        let tenant = services.tenant(&request.tenant).await?.tenant;
        let point = services.catalog.point(&tenant.id, request.point).await?.value;
        let reader = services.open_point(&tenant.id, &point).await?;
        let (endpoint, scope) = services.live(plan, &tenant).await?;
        Ok(Self { tenant, point, reader, endpoint, scope })
    }

    /// What an approval is bound to besides the live data: the recovery point's very bytes.
    pub(crate) fn content_id(&self) -> &str {
        match self.point.content() {
            Some(Content::Export { manifest_sha256, .. }) => manifest_sha256,
            Some(Content::Snapshot { arn, .. }) => arn,
            None => "",
        }
    }
}
