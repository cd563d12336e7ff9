//! What every step that touches data needs: the tenant, the recovery point, and what its kind of data asks for.

use domain::{
    ErrorCode, ErrorReport, caps,
    plan::Plan,
    point::{Content, Kind, RecoveryPoint},
    register::Tenant,
    request::{Findings, Mode, RestoreRequest},
    slot::{Slot, Subject},
};
use runtime::{recovered::Recovered, services::Services};
use vault::PointReader;

use crate::{configuration, database, media, original::Original};

/// A request's tenant and recovery point, opened and authenticated.
pub(crate) struct Work<'a> {
    pub(crate) services: &'a Services,
    pub(crate) plan: &'a Plan,
    pub(crate) request: &'a RestoreRequest,
    /// The request that this one takes back, if it takes one back.
    pub(crate) original: Option<Original>,
    pub(crate) tenant: Tenant,
    pub(crate) point: RecoveryPoint,
    pub(crate) reader: PointReader,
    /// The environment that it is restored into, if that is not the plan's own.
    pub(crate) recovered: Option<Recovered>,
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

/// Another recovery point of the tenant, where an undo's own is expired or damaged: of the vault it needs the tenant's secret, and what
/// tables there are.
async fn of_another_point(
    services: &Services,
    tenant: &Tenant,
    opened: Result<PointReader, ErrorReport>,
) -> Result<PointReader, ErrorReport> {
    let subject = Subject::Tenant(tenant.id.clone());
    let points = services.catalog.points(&subject, Some(Kind::Database), caps::LISTED_POINTS_MAX).await?;
    match points.iter().find(|point| point.value.is_usable()) {
        Some(newest) => services.open_point(&tenant.id, &newest.value).await,
        None => opened,
    }
}

impl<'a> Work<'a> {
    /// Opens what a request names. Where it is written to follows from the register and the plan as they are now.
    pub(crate) async fn open(services: &'a Services, plan: &'a Plan, request: &'a RestoreRequest) -> Result<Self, ErrorReport> {
        let recovered = match request.mode {
            Mode::NewEnvironment { recovery } => Some(services.recovered(recovery).await?),
            Mode::InPlace | Mode::SideBySide => None,
        };
        let tenant = match &recovered {
            Some(environment) => services.recovered_tenant(plan, environment, &request.tenant).await?,
            None => services.listed_tenant(plan, &request.tenant).await?,
        };
        let point = match request.point_in_time {
            // Just published, under a time of perhaps weeks ago: it stands neither in the index yet nor among the newest.
            Some(at) => services.catalog.slot(&Slot::of_instant(tenant.id.clone(), at)).await?.map(|found| found.value),
            None => None,
        };
        let point = match point.filter(|point| point.id == request.point) {
            Some(point) => point,
            None => services.catalog.point(&tenant.id, request.point).await?.value,
        };
        if point.kind != request.kind {
            // What people were shown and agreed to, and how many had to, went by the request's kind.
            let message = format!(
                "restore request {} says {} and its recovery point {} holds {}: find out who changed its record, and make a new request",
                request.id,
                request.kind.name(),
                point.id,
                point.kind.name()
            );
            return Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message));
        }
        let original = Original::of(services, request).await?;
        // What a restore replaced goes back from the copy of it. That the recovery point turned out bad is a reason to want that.
        let only_names_the_tenant = original.is_some() && request.kind == Kind::Database;
        if !point.is_usable() && !only_names_the_tenant {
            let (state, proof) = (point.state.name(), point.proof.name());
            let message = format!("recovery point {} is {state} and {proof} by now; make a request for another one", point.id);
            return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
        }
        if recovered.is_some() && point.kind != Kind::Database {
            let message = format!(
                "recovery point {} is of {}: only databases are on a recovered environment's instances; restore it in place",
                point.id,
                point.kind.unit()
            );
            return Err(ErrorReport::new(ErrorCode::RestoreRefused, message));
        }
        let reader = match services.open_point(&tenant.id, &point).await {
            Ok(reader) if point.is_usable() => reader,
            opened if only_names_the_tenant => of_another_point(services, &tenant, opened).await?,
            opened => opened?,
        };
        Ok(Self { services, plan, request, original, tenant, point, reader, recovered })
    }

    /// What an approval is bound to besides the live data: the recovery point's very bytes.
    pub(crate) fn content_id(&self) -> &str {
        // An undo needs none of it, and retention may let it go before that is approved.
        match self.point.last_content() {
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
    pub(crate) async fn carry_out(&self, approved: &str) -> Result<Carried, ErrorReport> {
        match self.point.kind {
            Kind::Database => database::carry_out(self, approved).await,
            Kind::Media => media::carry_out(self, approved).await,
            Kind::Configuration => configuration::carry_out(self, approved).await,
            Kind::Snapshot => Err(self.is_no_source()),
        }
    }

    /// Clears what a cut-off restore left behind. Media and settings are never staged. Gives the name of what was replaced, if a
    /// database's cutover had been done.
    pub(crate) async fn clean_up(&self) -> Result<Option<String>, ErrorReport> {
        match self.point.kind {
            Kind::Database => database::clean_up(self).await,
            Kind::Media | Kind::Configuration | Kind::Snapshot => Ok(None),
        }
    }

    fn is_no_source(&self) -> ErrorReport {
        let message = format!("recovery point {} is a snapshot of an instance, which no tenant is restored from", self.point.id);
        ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message)
    }
}
