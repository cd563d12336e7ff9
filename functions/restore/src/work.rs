//! What every step that touches data needs: the tenant, the recovery point, and what its kind of data asks for.

use domain::{
    ErrorCode, ErrorReport, RequestId,
    plan::Plan,
    point::{Content, Kind, RecoveryPoint},
    register::Tenant,
    request::{Findings, RestoreRequest},
};
use runtime::services::Services;
use vault::PointReader;

use crate::{configuration, database, media};

/// A request's tenant and recovery point, opened and authenticated.
pub(crate) struct Work<'a> {
    pub(crate) services: &'a Services,
    pub(crate) plan: &'a Plan,
    pub(crate) tenant: Tenant,
    pub(crate) point: RecoveryPoint,
    pub(crate) reader: PointReader,
}

/// What was done, after the live data was found equal to the recovery point as far as it could be put back.
pub(crate) struct Carried {
    /// Whether anything had to be changed.
    pub(crate) changed: bool,
    /// Rows, or records, that match.
    pub(crate) rows: u64,
    /// Records that a person has to see to: what could not be put back, or is otherwise than recorded. The notes say which.
    pub(crate) not_as_recorded: u64,
    /// Where what was replaced is kept.
    pub(crate) undo_copy: Option<String>,
    /// What a person should look at.
    pub(crate) notes: Vec<String>,
}

impl<'a> Work<'a> {
    /// Opens what a request names. Where it is written to follows from the register and the plan as they are now.
    pub(crate) async fn open(services: &'a Services, plan: &'a Plan, request: &RestoreRequest) -> Result<Self, ErrorReport> {
        let tenant = services.listed_tenant(plan, &request.tenant).await?;
        let point = services.catalog.point(&tenant.id, request.point).await?.value;
        if !point.is_usable() {
            let (state, proof) = (point.state.name(), point.proof.name());
            let message = format!("recovery point {} is {state} and {proof} by now; make a request for another one", point.id);
            return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
        }
        let reader = services.open_point(&tenant.id, &point).await?;
        Ok(Self { services, plan, tenant, point, reader })
    }

    /// What an approval is bound to besides the live data: the recovery point's very bytes.
    pub(crate) fn content_id(&self) -> &str {
        match self.point.content() {
            Some(Content::Export { link_sha256, .. }) => link_sha256,
            Some(Content::Snapshot { arn, .. }) => arn,
            None => "",
        }
    }

    /// Holds the recovery point against the live data, without writing anything.
    pub(crate) async fn compare(&self) -> Result<Findings, ErrorReport> {
        match self.point.kind {
            Kind::Database => database::compare(self).await,
            Kind::Media => media::compare(self).await,
            Kind::Configuration => configuration::compare(self).await,
            Kind::Snapshot => Err(self.is_no_source()),
        }
    }

    /// Brings the live data to the recovery point and proves that it did. `approved` is the digest of the live data that was previewed:
    /// anything else there is refused. Running it again changes nothing.
    pub(crate) async fn carry_out(&self, id: RequestId, approved: &str) -> Result<Carried, ErrorReport> {
        match self.point.kind {
            Kind::Database => database::carry_out(self, id, approved).await,
            Kind::Media => media::carry_out(self, id, approved).await,
            Kind::Configuration => configuration::carry_out(self, id, approved).await,
            Kind::Snapshot => Err(self.is_no_source()),
        }
    }

    /// Clears what a cut-off restore left behind. Media and settings are never staged.
    pub(crate) async fn clean_up(&self, id: RequestId) -> Result<(), ErrorReport> {
        match self.point.kind {
            Kind::Database => database::clean_up(self, id).await,
            Kind::Media | Kind::Configuration | Kind::Snapshot => Ok(()),
        }
    }

    fn is_no_source(&self) -> ErrorReport {
        let message = format!("recovery point {} is a snapshot of an instance, which no tenant is restored from", self.point.id);
        ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message)
    }
}
