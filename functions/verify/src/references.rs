//! Rows that name media objects, against the objects: from what the vault holds, tenant by tenant.
//!
//! Keys are tenants' data. They are counted here and told nowhere.

use std::{collections::BTreeSet, time::Duration};

use catalog::tenants::TenantRecord;
use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, TenantId,
    alert::AlertClass,
    caps,
    plan::{Plan, Reference},
    point::{Content, Kind, ReadSpan, RecoveryPoint},
    register::Tenant,
    slot::Subject,
};
use jiff::{SignedDuration, Timestamp};
use runtime::{
    Invocation,
    services::{Said, Services},
    trouble::Trouble,
};
use serde::Deserialize;
use serde_json::{Value, json};
use sources::references::{Asked, CLOCKS_DIFFER_AT_MOST_S, Reconciled, read_at, reconcile};
use vault::PointReader;

/// Recovery points of each kind, the newest, among which two are looked for that fit together.
const POINTS_LOOKED_AT: usize = 100;
/// Database recovery points that are opened for that.
const OPENED_MAX: usize = 5;

/// What an operator names.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Item {
    references: OfTenant,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    tenant: TenantId,
}

/// What a round over the tenants came to.
#[derive(Debug, Default, serde::Serialize)]
pub(crate) struct Round {
    /// Tenants that were reconciled.
    reconciled: usize,
    /// Of these, those with dangling references.
    with_dangling: usize,
    /// Tenants without a media recovery point from after one of their database.
    without_points: usize,
    /// Tenants whose turn did not come in this invocation.
    not_reached: usize,
}

/// The references of a plan, none if it has no media.
fn configured(plan: &Plan) -> &[Reference] {
    plan.media.as_ref().map_or(&[], |media| &media.references)
}

/// Reconciles the tenant that an item names.
pub(crate) async fn one(services: &Services, item: Item, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let tenant = services.tenant(&item.references.tenant).await?.tenant;
    let references = configured(&plan);
    if references.is_empty() {
        return Ok(json!({ "tenant": tenant.id, "configured": 0 }));
    }
    let Some(done) = in_time(services, &plan, &tenant, time_left(invocation)).await? else {
        let message = format!(
            "tenant {} has no media recovery point whose listing began after one of its database was read, and within a day; `holdfast run --tenant {0}` makes one",
            tenant.id
        );
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    };
    Ok(json!({
        "tenant": tenant.id, "configured": references.len(), "database": done.database, "media": done.media, "read_at": done.read_at,
        "reconciled": done.reconciled, "dangling": done.reconciled.dangling(),
    }))
}

/// Reconciles tenant after tenant until time runs out; tomorrow's round begins elsewhere.
pub(crate) async fn all(
    services: &Services,
    plan: &Plan,
    records: &[TenantRecord],
    invocation: &Invocation,
    trouble: &mut Trouble,
) -> Round {
    let mut round = Round::default();
    let references = configured(plan);
    let tenants: Vec<&Tenant> =
        records.iter().map(|record| &record.tenant).filter(|tenant| tenant.id.as_platform().is_none()).collect();
    if references.is_empty() {
        return round;
    }
    let mut with_column = BTreeSet::new();
    for (at, tenant) in tenants.iter().enumerate() {
        if invocation.deadline.check("the next tenant's references").is_err() {
            round.not_reached = tenants.len() - at;
            break;
        }
        // One tenant's many rows do not take the others' time.
        match in_time(services, plan, tenant, time_left(invocation) / 4).await {
            Ok(Some(done)) => {
                round.reconciled += 1;
                round.with_dangling += usize::from(done.reconciled.dangling() > 0);
                with_column.extend((0..references.len()).filter(|at| !done.reconciled.without_column.contains(at)));
            }
            Ok(None) => round.without_points += 1,
            Err(report) => trouble.note(&format!("reconciling the references of tenant {}", tenant.id), report),
        }
    }
    let is_complete = !tenants.is_empty() && round.reconciled == tenants.len();
    for (at, reference) in references.iter().enumerate() {
        if let Err(report) = judge_plan(services, plan, reference, with_column.contains(&at), is_complete).await {
            trouble.note("telling of a reference that no tenant has", report);
        }
    }
    round
}

/// A reference that no tenant has a column for reconciles nothing, and looks just like one without a finding.
async fn judge_plan(
    services: &Services,
    plan: &Plan,
    reference: &Reference,
    is_found: bool,
    is_complete: bool,
) -> Result<(), ErrorReport> {
    let subject = format!("reference {}.{} of the plan", reference.table, reference.column);
    if is_found {
        return services.all_clear(AlertClass::DanglingReference, &subject).await;
    }
    if !is_complete {
        return Ok(());
    }
    let said = Said {
        summary: format!("no tenant's recovery point has a column `{}` in a table `{}`", reference.column, reference.table),
        meaning: "rows of that column are not reconciled with files, whatever they name".to_owned(),
        remedy: "correct `media.references` in the plan; a table that is excluded there cannot be reconciled".to_owned(),
    };
    services.raise(plan, AlertClass::DanglingReference, &subject, said).await
}

/// What reconciling a tenant came to, and from what.
struct Done {
    database: RecoveryPointId,
    media: RecoveryPointId,
    read_at: Timestamp,
    reconciled: Reconciled,
}

fn time_left(invocation: &Invocation) -> Duration {
    invocation.deadline.remaining().saturating_sub(Duration::from_millis(caps::DEADLINE_RESERVE_MS))
}

/// Says so if it takes longer than this.
async fn in_time(services: &Services, plan: &Plan, tenant: &Tenant, budget: Duration) -> Result<Option<Done>, ErrorReport> {
    tokio::time::timeout(budget, Box::pin(of_tenant(services, plan, tenant))).await.unwrap_or_else(|_| {
        let message = format!("the references of tenant {} could not be reconciled within {} s", tenant.id, budget.as_secs());
        Err(ErrorReport::new(ErrorCode::DeadlineNear, message))
    })
}

/// Reconciles a tenant and tells of what dangles. `None` if there are no recovery points to do it from.
async fn of_tenant(services: &Services, plan: &Plan, tenant: &Tenant) -> Result<Option<Done>, ErrorReport> {
    let Some(Pair { as_of, database, media }) = pair(services, tenant).await? else { return Ok(None) };
    let references = configured(plan);
    let asked = Asked { tenant: &tenant.id, database: &database, as_of: Some(as_of), media: &media, references, keys_max: 0 };
    let reconciled = reconcile(asked).await?;
    let done = Done { database: database.manifest().point, media: media.manifest().point, read_at: as_of, reconciled };
    tracing::info!(
        tenant.id = %tenant.id, recovery_point.id = %done.database, dangling = done.reconciled.dangling(),
        orphans = done.reconciled.objects.orphans, "references reconciled"
    );
    tell(services, plan, tenant, &done).await?;
    Ok(Some(done))
}

async fn tell(services: &Services, plan: &Plan, tenant: &Tenant, done: &Done) -> Result<(), ErrorReport> {
    let subject = format!("tenant {}", tenant.id);
    if done.reconciled.dangling() == 0 {
        return services.all_clear(AlertClass::DanglingReference, &subject).await;
    }
    services.raise(plan, AlertClass::DanglingReference, &subject, said(tenant, done)).await
}

fn said(tenant: &Tenant, done: &Done) -> Said {
    let dangling = done.reconciled.columns.iter().filter(|column| column.dangling > 0);
    let columns: Vec<String> =
        dangling.map(|column| format!("{} in `{}` of {}", column.dangling, column.column, column.table)).collect();
    Said {
        summary: format!(
            "{} rows of tenant {} name files that were not there at {}: {}",
            done.reconciled.dangling(),
            tenant.id,
            done.read_at,
            columns.join("; ")
        ),
        meaning: format!("a restore from {} would bring the rows back and not the files", done.database),
        remedy: format!("see `holdfast references --tenant {}`; find out what deleted the files, and bring them back", tenant.id),
    }
}

/// Rows and the files to compare them with.
struct Pair {
    /// Of when the rows are: of a clone or a replica, of before it was read.
    as_of: Timestamp,
    database: PointReader,
    media: PointReader,
}

/// The newest recovery point of the database for which there is one of media whose listing began no earlier than the database was read:
/// the one of the same slot if it did, otherwise the next.
async fn pair(services: &Services, tenant: &Tenant) -> Result<Option<Pair>, ErrorReport> {
    let subject = Subject::Tenant(tenant.id.clone());
    let usable = async |kind| -> Result<Vec<RecoveryPoint>, ErrorReport> {
        let points = services.catalog.points(&subject, Some(kind), POINTS_LOOKED_AT).await?;
        Ok(points.into_iter().map(|point| point.value).filter(RecoveryPoint::is_usable).collect())
    };
    let (databases, media) = (usable(Kind::Database).await?, usable(Kind::Media).await?);
    for database in databases.iter().take(OPENED_MAX) {
        // Its tables are read after it was taken up: a listing that began before is older for sure.
        if !media.iter().any(|listing| listed_from(listing) >= database.started_at) {
            continue;
        }
        let reader = services.open_point(&tenant.id, database).await?;
        let rows = match database.content() {
            Some(Content::Export { read: Some(read), .. }) => *read,
            _ => read_at(&reader).map(|at| ReadSpan { from: at, until: at })?,
        };
        if let Some(listing) = listing_for(database, rows, &media) {
            return Ok(Some(Pair { as_of: rows.from, database: reader, media: services.open_point(&tenant.id, listing).await? }));
        }
    }
    Ok(None)
}

fn listing_for<'a>(database: &RecoveryPoint, rows: ReadSpan, media: &'a [RecoveryPoint]) -> Option<&'a RecoveryPoint> {
    let is_of_same_slot =
        |listing: &RecoveryPoint| (&listing.rule, listing.scheduled_time) == (&database.rule, database.scheduled_time);
    let fits = |listing: &&RecoveryPoint| {
        let from = listed_from(listing);
        // The files of a slot are listed behind its rows, whatever the database's clock says. Of other listings only the clocks tell.
        let tolerance_s = if is_of_same_slot(listing) && has_read(listing) { CLOCKS_DIFFER_AT_MOST_S } else { 0 };
        from >= database.started_at
            && from.duration_since(rows.until) >= -SignedDuration::from_secs(tolerance_s)
            && from.duration_since(rows.from) <= SignedDuration::from_secs(caps::LISTED_AFTER_AT_MOST_S)
    };
    media.iter().filter(fits).min_by_key(|listing| (!is_of_same_slot(listing), listed_from(listing)))
}

/// Whether a recovery point says when it was read.
fn has_read(point: &RecoveryPoint) -> bool {
    matches!(point.content(), Some(Content::Export { read: Some(_), .. }))
}

/// When a listing began; of a recovery point that does not say, when its run did, which is no later.
fn listed_from(listing: &RecoveryPoint) -> Timestamp {
    match listing.content() {
        Some(Content::Export { read: Some(read), .. }) => read.from,
        _ => listing.started_at,
    }
}

#[cfg(test)]
mod tests {
    use domain::{register::Status, slot::Slot, tenant::Layout};
    use sources::references::ColumnCounts;

    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-23T{text}Z").parse().unwrap()
    }

    fn point(kind: Kind, slot: &str, started: &str, read: Option<&str>) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: at(slot), subject, kind };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let content = Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: read.map(|read| ReadSpan { from: at(read), until: at(read) }),
        };
        RecoveryPoint::begin(&slot, run, at(started)).publish(content, at("23:59:59")).unwrap()
    }

    #[test]
    fn a_listing_is_of_the_same_slot_or_the_next_and_never_older_than_the_view() {
        let database = point(Kind::Database, "02:15:00", "02:15:01", None);
        let media = [
            point(Kind::Media, "04:15:00", "04:15:01", None),
            point(Kind::Media, "03:15:00", "03:15:01", None),
            point(Kind::Media, "02:15:00", "02:15:01", Some("02:15:09")),
        ];
        let chosen = |from: Timestamp, until: Timestamp| {
            listing_for(&database, ReadSpan { from, until }, &media).map(|listing| listing.scheduled_time)
        };
        let of_one_view = |instant: &str| chosen(at(instant), at(instant));
        // The database's clock may be ahead by the tolerance, which counts for the same slot alone.
        assert_eq!(of_one_view("02:15:14"), Some(at("02:15:00")));
        assert_eq!(of_one_view("02:15:15"), Some(at("03:15:00")));
        assert_eq!(of_one_view("04:15:01"), Some(at("04:15:00")));
        assert_eq!(of_one_view("04:15:02"), None);
        // What a standby shows may be as new as when it was asked.
        assert_eq!(chosen(at("02:00:00"), at("02:15:15")), Some(at("03:15:00")));
        // Of a clone: a day later, lifecycle rules may have removed something.
        let latest = at("04:15:01") - SignedDuration::from_secs(caps::LISTED_AFTER_AT_MOST_S);
        assert_eq!(chosen(latest, latest), Some(at("02:15:00")));
        let too_late = |second: i64| {
            let instant = at("02:15:09") - SignedDuration::from_secs(caps::LISTED_AFTER_AT_MOST_S + second);
            listing_for(&database, ReadSpan { from: instant, until: instant }, &media[2..]).is_none()
        };
        assert_eq!([too_late(0), too_late(1)], [false, true]);

        let view = ReadSpan { from: at("02:15:02"), until: at("02:15:02") };
        let before_times_were_recorded = [point(Kind::Media, "02:15:00", "02:15:01", None)];
        assert!(listing_for(&database, view, &before_times_were_recorded).is_none());
        let read_again = point(Kind::Database, "02:15:00", "02:15:10", None);
        assert!(listing_for(&read_again, view, &media[2..]).is_none(), "it was listed before the rows were read again");
    }

    #[test]
    fn an_alert_counts_and_names_no_key() {
        let tenant = Tenant {
            id: "acme".parse().unwrap(),
            database_id: "silo".into(),
            layout: Layout::Silo { database: "app".into() },
            criticality: "standard".into(),
            time_zone: "UTC".into(),
            status: Status::Active,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let column =
            ColumnCounts { table: "\"app\".\"files\"".into(), column: "path".into(), dangling: 3, ..ColumnCounts::default() };
        let first_dangling = vec![(column.table.clone(), column.column.clone(), "canary-key".to_owned())];
        let reconciled = Reconciled { columns: vec![column, ColumnCounts::default()], first_dangling, ..Reconciled::default() };
        let id: RecoveryPointId = "rp_00000000-0000-8000-8000-000000000001".parse().unwrap();
        let Said { summary, meaning, remedy } =
            said(&tenant, &Done { database: id, media: id, read_at: at("02:15:00"), reconciled });
        assert!(summary.contains("3 rows of tenant acme") && summary.ends_with("3 in `path` of \"app\".\"files\""), "{summary}");
        assert!(![summary, meaning, remedy].concat().contains("canary"));
    }
}
