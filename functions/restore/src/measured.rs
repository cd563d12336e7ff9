//! What was measured of restores like this one, for its forecast.

use std::collections::BTreeMap;

use catalog::drills::Drill;
use domain::{
    ErrorReport, TenantId, caps,
    forecast::{Forecast, Sample},
    point::Kind,
    request::{RequestState, RestoreRequest},
};
use runtime::services::Services;

/// Tests on one clone that a forecast is made from.
const SAMPLES_OF_A_DRILL_MAX: usize = 10;

/// How long a restore of so many rows is likely to take, in this layout.
pub(crate) async fn forecast(
    services: &Services,
    request: &RestoreRequest,
    layout: &str,
    rows: u64,
) -> Result<Forecast, ErrorReport> {
    let ended = services.catalog.requests(false, caps::REQUESTS_LISTED_MAX).await?;
    let mut measured: Vec<_> = ended.iter().filter_map(|ended| Some((&ended.tenant, of_restore(ended, request)?))).collect();
    measured.truncate(caps::FORECAST_SAMPLES_MAX);
    let drills = if request.kind == Kind::Database && request.undoes.is_none() {
        services.catalog.drills(caps::FORECAST_SAMPLES_MAX).await?
    } else {
        vec![]
    };
    // A few of each clone: its tenants mostly live alike, and the other clones' must have their say.
    measured.extend(drills.iter().flat_map(|drill| of_drill(&drill.value)));
    let mut layouts = Layouts { services, known: BTreeMap::new() };
    let mut samples = vec![];
    for (tenant, sample) in measured {
        // Where rows live decides how they are loaded; files and settings are the same everywhere.
        if request.kind != Kind::Database || layouts.of(tenant).await?.as_deref() == Some(layout) {
            samples.push(sample);
        }
    }
    Ok(Forecast::of(rows, &samples))
}

/// A proven restore of the same kind and in the same way.
fn of_restore(ended: &RestoreRequest, request: &RestoreRequest) -> Option<Sample> {
    let RequestState::Proven { outcome, .. } = &ended.state else { return None };
    let alike = ended.kind == request.kind
        && ended.mode.name() == request.mode.name()
        && ended.undoes.is_some() == request.undoes.is_some();
    let ms = u64::try_from(outcome.rto_ms).ok()?;
    alike.then_some(Sample { rows: outcome.rows, ms })
}

/// Restore tests that came back equal. They load and compare as a restore does.
fn of_drill(drill: &Drill) -> impl Iterator<Item = (&TenantId, Sample)> {
    drill.tests.iter().filter_map(|test| Some((&test.tenant, test.measured?))).take(SAMPLES_OF_A_DRILL_MAX)
}

/// Layouts of tenants, each looked up once.
struct Layouts<'a> {
    services: &'a Services,
    known: BTreeMap<TenantId, Option<String>>,
}

impl Layouts<'_> {
    /// A tenant's layout; none of one that the catalog does not know.
    async fn of(&mut self, tenant: &TenantId) -> Result<Option<String>, ErrorReport> {
        if let Some(known) = self.known.get(tenant) {
            return Ok(known.clone());
        }
        let layout = match self.services.tenant(tenant).await {
            Ok(record) => Some(record.tenant.layout.name().to_owned()),
            Err(report) if report.code == domain::ErrorCode::UnknownTenant => None,
            Err(report) => return Err(report),
        };
        self.known.insert(tenant.clone(), layout.clone());
        Ok(layout)
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        identity::Identity,
        request::{Mode, Outcome},
    };
    use jiff::Timestamp;

    use super::*;

    fn proven(change: impl FnOnce(&mut RestoreRequest)) -> RestoreRequest {
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "ana".into(), account: "1".into() };
        let point = ("rp_00000000-0000-0000-0000-000000000002".parse().unwrap(), Kind::Database);
        let id = "rq_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let mut request = RestoreRequest::new(id, "acme".parse().unwrap(), point, "gone".into(), ana, Timestamp::UNIX_EPOCH);
        let proven_at = Timestamp::UNIX_EPOCH;
        let outcome = Outcome { proven_at, rto_ms: 70, rows: 7, undo_copy: None, before: None, notes: vec![] };
        request.state = RequestState::Proven { preview: None, approvals: vec![], outcome };
        change(&mut request);
        request
    }

    #[test]
    fn only_proven_restores_of_the_same_kind_and_in_the_same_way_are_compared_with() {
        let asked = proven(|request| request.state = RequestState::Requested);
        assert_eq!(of_restore(&proven(|_| {}), &asked), Some(Sample { rows: 7, ms: 70 }));
        assert_eq!(of_restore(&asked, &asked), None);
        assert_eq!(of_restore(&proven(|request| request.kind = Kind::Media), &asked), None);
        assert_eq!(of_restore(&proven(|request| request.mode = Mode::SideBySide), &asked), None);
        assert_eq!(of_restore(&proven(|request| request.undoes = Some(request.id)), &asked), None);
    }
}
