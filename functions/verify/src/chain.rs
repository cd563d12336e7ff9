//! Whether a tenant's chain of recovery points is whole: nothing taken out, nothing put in, nothing rolled back.

use std::collections::BTreeSet;

use catalog::tenants::TenantRecord;
use domain::{
    ErrorReport, TenantId,
    alert::AlertClass,
    caps,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::{
    Invocation,
    services::{Said, Services, first_few, place_in_chain},
    trouble::Trouble,
};

use crate::authentic;

/// What the day's check follows: the links of the last two days, so that a round that failed leaves none out …
const FOLLOWED_S: i64 = 48 * 3600;
/// … and this many places before them, which ties them to what was followed before.
const PLACES_BACK: u64 = 20;
/// Newest records of each kind that are read for that: two days of hourly ones, and a few.
const RECORDS_READ_MAX: usize = caps::POSTURE_POINTS_MAX;

/// Follows the end of a tenant's chain; alerts what is wrong. Whether it is sound.
///
/// # Errors
/// Only if the check could not be done, which says nothing about the chain.
pub(crate) async fn check_end(services: &Services, plan: &Plan, record: &TenantRecord) -> Result<bool, ErrorReport> {
    let (id, End { after, published }) = (&record.tenant.id, end(services, record).await?);
    let report = services.vault.check_chain(record.vault_tenant, after, published).await?;
    tracing::info!(tenant.id = %id, links = report.links, after, published, findings = report.findings.len(), "chain followed");
    if report.is_clean() {
        return Ok(true);
    }
    let said = Said {
        summary: format!("the chain of tenant {id} is broken: {}", first_few(&authentic::lines(&report))),
        meaning: "something in the vault was removed, replaced or put in by somebody; recovery points whose own checks are clean still \
                  restore, others may be gone"
            .to_owned(),
        remedy: format!(
            "see how far it goes with `holdfast vault check --tenant {id}`, take back delete markers of the named objects, and find out \
             who wrote to the vault; if they cannot be had back, `holdfast run --tenant {id} --full`"
        ),
    };
    services.raise(plan, AlertClass::ChainBroken, &subject(id), said).await?;
    Ok(false)
}

/// Closes the alerts of tenants whose chains are sound again, from their very start: the place of the damage may long be behind those
/// that are followed every day. An alert of which that cannot be found out stays open.
pub(crate) async fn take_back(services: &Services, candidates: &[&TenantRecord], invocation: &Invocation, trouble: &mut Trouble) {
    let broken = match broken(services).await {
        Ok(broken) => broken,
        Err(report) => return trouble.note("the listing of chains that were broken", report),
    };
    for record in candidates.iter().filter(|record| broken.contains(&subject(&record.tenant.id))) {
        if let Err(report) = take_back_one(services, record, invocation).await {
            trouble.note(&format!("the second look at the chain of tenant {}", record.tenant.id), report);
        }
    }
}

async fn take_back_one(services: &Services, record: &TenantRecord, invocation: &Invocation) -> Result<(), ErrorReport> {
    invocation.deadline.check("it")?;
    let report = services.vault.check_chain(record.vault_tenant, 0, end(services, record).await?.published).await?;
    if report.is_clean() {
        services.all_clear(AlertClass::ChainBroken, &subject(&record.tenant.id)).await?;
    }
    Ok(())
}

/// The subjects of the alerts of broken chains that are open.
async fn broken(services: &Services) -> Result<BTreeSet<String>, ErrorReport> {
    let open = services.catalog.open_alerts(caps::ALERTS_LISTED_MAX).await?;
    let alerts = open.into_iter().map(|record| record.alert).filter(|alert| alert.class == AlertClass::ChainBroken);
    Ok(alerts.map(|alert| alert.subject).collect())
}

fn subject(tenant: &TenantId) -> String {
    format!("chain of tenant {tenant}")
}

/// The part of a chain that is followed every day.
#[derive(Debug, PartialEq, Eq)]
struct End {
    /// The place it begins behind.
    after: u64,
    /// The newest place that the catalog knows of.
    published: u64,
}

async fn end(services: &Services, record: &TenantRecord) -> Result<End, ErrorReport> {
    let subject = Subject::Tenant(record.tenant.id.clone());
    let mut places = Vec::new();
    for kind in Kind::EXPORTED {
        let points = services.catalog.points(&subject, Some(kind), RECORDS_READ_MAX).await?;
        let placed = |point: &RecoveryPoint| Some((point.scheduled_time, place_in_chain(point, record.vault_tenant)?));
        places.extend(points.iter().filter_map(|point| placed(&point.value)));
    }
    Ok(end_of(&places, services.clock.now()))
}

fn end_of(places: &[(Timestamp, u64)], now: Timestamp) -> End {
    let published = places.iter().map(|(_, place)| *place).max().unwrap_or(0);
    let late = |time: &Timestamp| now.duration_since(*time).as_secs() <= FOLLOWED_S;
    let first = places.iter().filter(|(time, _)| late(time)).map(|(_, place)| *place).min().unwrap_or(published);
    End { after: first.saturating_sub(PLACES_BACK), published }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    fn check(hours_ago_and_place: &[(i64, u64)], after: u64, published: u64) {
        let now: Timestamp = "2026-11-23T04:30:00Z".parse().unwrap();
        let places: Vec<_> =
            hours_ago_and_place.iter().map(|(hours, place)| (now - SignedDuration::from_hours(*hours), *place)).collect();
        assert_eq!(end_of(&places, now), End { after, published }, "{hours_ago_and_place:?}");
    }

    #[test]
    fn two_days_are_followed_and_some_places_before_them() {
        check(&[], 0, 0);
        check(&[(1, 3), (25, 2), (49, 1)], 0, 3);
        // Three a day, as of a tenant that is backed up daily.
        check(&[(1, 99), (25, 96), (49, 93)], 76, 99);
        // Three an hour: more than twenty a day.
        let hourly: Vec<(i64, u64)> = (0..50).map(|hour| (hour, 1_000 - 3 * u64::try_from(hour).unwrap())).collect();
        check(&hourly, 1_000 - 3 * 48 - PLACES_BACK, 1_000);
        // Nothing for long: the last that there was.
        check(&[(900, 40), (924, 39)], 20, 40);
        // A slot of long ago that was filled just now.
        check(&[(1, 70), (900, 71)], 50, 71);
    }
}
