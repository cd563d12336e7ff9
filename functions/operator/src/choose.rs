//! Which recovery point a restore starts from.

use domain::{
    ErrorCode, ErrorReport, RecoveryPointId, caps,
    choice::{newest_by, oldest},
    plan::Database,
    point::{Kind, RecoveryPoint},
    slot::{Slot, Subject},
};
use jiff::Timestamp;
use runtime::services::{Services, known_database};
use serde_json::{Value, json};

use crate::restores::Wish;

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) point: RecoveryPointId,
    pub(crate) kind: Kind,
    /// The instant that the recovery point is yet to be made of, from the engine's own log.
    pub(crate) point_in_time: Option<Timestamp>,
    /// How far what was chosen is from the time that was named, for the person who asks; null if none was.
    pub(crate) told: Value,
}

/// The recovery point a wish means: the one named, or of an instant, or the newest that holds nothing from after one, or the newest; of the
/// kind it says, or of databases.
pub(crate) async fn choose(services: &Services, wish: &Wish) -> Result<Chosen, ErrorReport> {
    match (wish.point, wish.time) {
        (None, Some(time)) if wish.native => native(services, wish, time).await,
        (Some(id), None) if !wish.native => {
            let point = named(services.catalog.point(&wish.tenant, id).await?.value, wish.kind)?;
            Ok(chosen(&point, Value::Null))
        }
        (None, time) if !wish.native => newest(services, wish, time).await,
        (Some(_), Some(_)) => Err(malformed("name either a recovery point or a time, not both")),
        _ => Err(malformed("native point-in-time recovery needs the time, and no recovery point: it makes one of that instant")),
    }
}

fn malformed(why: &str) -> ErrorReport {
    ErrorReport::new(ErrorCode::MalformedEvent, why.to_owned())
}

fn chosen(point: &RecoveryPoint, told: Value) -> Chosen {
    Chosen { point: point.id, kind: point.kind, point_in_time: None, told }
}

/// The recovery point that will be made of the very instant; nothing is made yet, and an instant that cannot be had is refused at once.
async fn native(services: &Services, wish: &Wish, time: Timestamp) -> Result<Chosen, ErrorReport> {
    if wish.kind.is_some_and(|kind| kind != Kind::Database) {
        return Err(malformed(
            "native point-in-time recovery is of databases: files and settings have no log; leave `native` out for those",
        ));
    }
    let tenant = services.tenant(&wish.tenant).await?.tenant;
    if tenant.created_at > time {
        let message = format!("tenant {} signed up at {}, so there was nothing of it at {time}", tenant.id, tenant.created_at);
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    services.reach(&database_of(services, wish).await?, time).await?;
    let slot = Slot::of_instant(wish.tenant.clone(), time);
    if let Some(found) = services.catalog.slot(&slot).await?.map(|found| found.value)
        && spent(&found)
    {
        let (id, state, proof) = (found.id, found.state.name(), found.proof.name());
        let message = format!(
            "the recovery point of tenant {} at {time}, {id}, is {state} and {proof}, and is not made a second time; name another second",
            wish.tenant
        );
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    let told = json!({ "time": time, "from": time, "until": time, "native": true });
    Ok(Chosen { point: slot.recovery_point_id(), kind: slot.kind, point_in_time: Some(time), told })
}

/// Whether a recovery point was made of its instant and can be used no more.
fn spent(point: &RecoveryPoint) -> bool {
    point.span().is_some() && !point.is_usable()
}

/// The instance's database entry in the plan, by where the tenant was last seen.
async fn database_of(services: &Services, wish: &Wish) -> Result<Database, ErrorReport> {
    let (plan, tenant) = (services.plan().await?, services.tenant(&wish.tenant).await?.tenant);
    Ok(known_database(&plan, &tenant.database_id)?.clone())
}

async fn newest(services: &Services, wish: &Wish, time: Option<Timestamp>) -> Result<Chosen, ErrorReport> {
    let (subject, kind) = (Subject::Tenant(wish.tenant.clone()), wish.kind.unwrap_or_default());
    if kind == Kind::Snapshot {
        return Err(malformed(
            "snapshots are of instances, and no tenant is restored from one: choose database, media or configuration",
        ));
    }
    let points = services.catalog.points(&subject, Some(kind), caps::LISTED_POINTS_MAX).await?;
    let points: Vec<RecoveryPoint> = points.into_iter().map(|point| point.value).collect();
    let Some(found) = newest_by(&points, time.unwrap_or(Timestamp::MAX)) else {
        return Err(none(wish, kind, time, &points, is_in_log(services, wish, kind, time).await));
    };
    let told = match (time, found.span()) {
        (Some(time), Some(span)) => json!({
            "time": time,
            "from": span.from,
            "until": span.until,
            "before_s": time.duration_since(span.until).as_secs(),
            "native": is_in_log(services, wish, kind, Some(time)).await,
        }),
        _ => Value::Null,
    };
    Ok(chosen(found, told))
}

/// Whether native point-in-time recovery would give exactly that instant.
async fn is_in_log(services: &Services, wish: &Wish, kind: Kind, time: Option<Timestamp>) -> bool {
    let Some(time) = time.filter(|_| kind == Kind::Database) else { return false };
    let reached = async { services.reach(&database_of(services, wish).await?, time).await };
    match reached.await {
        Ok(_) => true,
        // Only a hint: what was asked for does not need it.
        Err(report) => {
            tracing::info!(error.code = report.code.name(), "no native recovery to {time}: {}", report.message);
            false
        }
    }
}

fn none(wish: &Wish, kind: Kind, time: Option<Timestamp>, points: &[RecoveryPoint], in_log: bool) -> ErrorReport {
    let (tenant, kind) = (&wish.tenant, kind.name());
    let which = time.map(|time| format!(" that holds nothing from after {time}")).unwrap_or_default();
    let first = oldest(points).and_then(|point| Some((point.id, point.span()?.until)));
    let first = first.map(|(id, until)| format!("; the oldest, {id}, is of {until}")).unwrap_or_default();
    let native = if in_log { "; --native restores to exactly that time" } else { "" };
    let message = format!(
        "tenant {tenant} has no usable {kind} recovery point{which}{first}{native}; see `holdfast points --tenant {tenant}`"
    );
    ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message)
}

/// The recovery point that was named, if a restore can start from it and it is of the kind that was asked for.
fn named(point: RecoveryPoint, wanted: Option<Kind>) -> Result<RecoveryPoint, ErrorReport> {
    if point.kind == Kind::Snapshot || !point.is_usable() || wanted.is_some_and(|wanted| wanted != point.kind) {
        let (id, kind, state, proof) = (point.id, point.kind.name(), point.state.name(), point.proof.name());
        let wanted = wanted.map_or("database, media or configuration", Kind::name);
        let message =
            format!("recovery point {id} is a {kind} one, {state} and {proof}; the restore needs an available {wanted} one");
        return Err(ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message));
    }
    Ok(point)
}

#[cfg(test)]
mod tests {
    use domain::point::{Content, Proof, State};

    use super::*;

    fn at() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn point(kind: Kind) -> RecoveryPoint {
        let content = Content::Snapshot { identifier: "i".into(), arn: "a".into(), settings: Value::Null, copied: None };
        RecoveryPoint {
            id: "rp_00000000-0000-0000-0000-000000000002".parse().unwrap(),
            subject: Subject::Tenant("acme".parse().unwrap()),
            kind,
            rule: "daily".into(),
            scheduled_time: at(),
            run: "run_00000000-0000-0000-0000-000000000003".parse().unwrap(),
            attempts: 1,
            started_at: at(),
            state: State::Available { at: at(), content },
            unfinished: None,
            epoch: domain::sweep::Epoch::default(),
            key: None,
            proof: Proof::Unproven,
            holds: vec![],
        }
    }

    #[test]
    fn a_named_recovery_point_of_any_kind_but_a_snapshot_is_restored_from() {
        for kind in Kind::EXPORTED {
            assert!(named(point(kind), None).is_ok() && named(point(kind), Some(kind)).is_ok(), "{kind:?}");
        }
        for (kind, wanted) in
            [(Kind::Snapshot, None), (Kind::Media, Some(Kind::Configuration)), (Kind::Media, Some(Kind::Database))]
        {
            assert_eq!(named(point(kind), wanted).unwrap_err().code, ErrorCode::UnknownRecoveryPoint, "{kind:?} {wanted:?}");
        }
        let failed = RecoveryPoint { state: State::Running, ..point(Kind::Configuration) };
        let refused = named(failed, Some(Kind::Configuration)).unwrap_err();
        assert!(refused.message.contains("running and unproven; the restore needs an available configuration one"), "{refused}");
    }

    #[test]
    fn an_instant_whose_recovery_point_is_of_no_use_any_more_is_not_promised_again() {
        let refuted = RecoveryPoint { proof: Proof::Refuted { at: at(), findings: vec![] }, ..point(Kind::Database) };
        assert!(spent(&refuted) && spent(&point(Kind::Database).expire(at()).unwrap()));
        let running = RecoveryPoint { state: State::Running, ..point(Kind::Database) };
        assert!(!spent(&point(Kind::Database)) && !spent(&running), "it is there, or is being made");
    }
}
