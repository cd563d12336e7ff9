//! Recovery sets, of one tenant or the newest few of all. Nothing here changes anything.

use domain::{
    ErrorReport, caps,
    plan::Plan,
    point::{Kind, RecoveryPoint},
    register::Tenant,
    rpo,
    set::{self, RecoverySet},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;
use serde_json::{Value, json};

use crate::look::PointsOf;

/// The sets of one tenant, or the newest few of every tenant.
pub(crate) async fn sets(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let (tenants, shown_of_each) = match asked.tenant {
        Some(tenant) => (vec![services.tenant(&tenant).await?], caps::LISTED_POINTS_MAX),
        None => (services.catalog.tenants().await?, caps::POINTS_OF_EACH_MAX),
    };
    let mut shown = Vec::new();
    for tenant in tenants.into_iter().map(|record| record.tenant) {
        let newest = newest_sets(services, &plan, &tenant, shown_of_each).await?;
        shown.extend(newest.iter().map(|set| shown_of(&tenant, set)));
    }
    Ok(json!({ "sets": shown }))
}

/// A tenant's newest sets. Its newest recovery points may be of restores, or all of one kind, and its sets behind them: then all are listed.
async fn newest_sets(services: &Services, plan: &Plan, tenant: &Tenant, most: usize) -> Result<Vec<RecoverySet>, ErrorReport> {
    let expected = rpo::tenant_kinds(plan, tenant);
    for limit in [most, caps::LISTED_POINTS_MAX] {
        let mut sets = whole(newest_of_each(services, tenant, limit).await?, limit, &expected);
        if !sets.is_empty() {
            sets.truncate(most);
            return Ok(sets);
        }
    }
    Ok(Vec::new())
}

async fn newest_of_each(services: &Services, tenant: &Tenant, limit: usize) -> Result<Vec<Vec<RecoveryPoint>>, ErrorReport> {
    let subject = Subject::Tenant(tenant.id.clone());
    let mut listed = Vec::new();
    for kind in Kind::EXPORTED {
        let points = services.catalog.points(&subject, Some(kind), limit).await?;
        listed.push(points.into_iter().map(|point| point.value).collect());
    }
    Ok(listed)
}

/// The sets of which every part was listed: a listing that was cut off says nothing about what is older than its last point.
fn whole(listed: Vec<Vec<RecoveryPoint>>, limit: usize, expected: &[Kind]) -> Vec<RecoverySet> {
    let cut_off = listed.iter().filter(|points| points.len() >= limit);
    let since = cut_off.filter_map(|points| points.last()).map(|point| point.scheduled_time).max();
    let mut sets = set::group(&listed.concat(), expected);
    sets.retain(|set| set.scheduled_time >= since.unwrap_or(Timestamp::MIN));
    sets
}

fn shown_of(tenant: &Tenant, set: &RecoverySet) -> Value {
    let mut shown = json!(set);
    shown["tenant"] = json!(tenant.id);
    shown
}

#[cfg(test)]
mod tests {
    use domain::slot::Slot;

    use super::*;

    fn points(kind: Kind, hours: &[i64]) -> Vec<RecoveryPoint> {
        let point = |hour: &i64| {
            let slot = Slot {
                rule: "hourly".into(),
                scheduled_time: Timestamp::from_second(hour * 3600).unwrap(),
                subject: Subject::Tenant("acme".parse().unwrap()),
                kind,
            };
            let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
            RecoveryPoint::begin(&slot, run, slot.scheduled_time)
        };
        hours.iter().map(point).collect()
    }

    #[test]
    fn a_set_whose_parts_may_stand_behind_the_end_of_a_listing_is_not_judged() {
        let expected = [Kind::Database, Kind::Media];
        let hours = |listed: [&[i64]; 2]| -> Vec<i64> {
            let listed = vec![points(Kind::Database, listed[0]), points(Kind::Media, listed[1])];
            whole(listed, 3, &expected).iter().map(|set| set.scheduled_time.as_second() / 3600).collect()
        };
        assert_eq!(hours([&[4, 3, 2], &[4, 3, 1]]), [4, 3, 2], "of the first hour's database nothing is known");
        assert_eq!(hours([&[2, 1], &[2]]), [2, 1], "these are all there are");
    }
}
