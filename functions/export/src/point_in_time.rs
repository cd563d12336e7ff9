//! Recovery points of an instant, for a restore request that asks for one.
//!
//! RDS restores the instance to the instant beside production, from its automated backups and its log; the tenant is exported from that
//! clone as from any other; the clone is deleted. From there on the restore is like every other. The clone takes minutes to appear, so the
//! state machine asks again and again, and each call does what it can. The request is the record: slot and clone follow from it, so two
//! deliveries ask for one clone, and whoever finds a clone knows for whom it was made.

use aws::Instance;
use domain::{
    Class, Coded, ErrorCode, ErrorReport, RequestId, TenantId, caps,
    plan::{Database, Plan, ReadFrom},
    point::{RecoveryPoint, State},
    register::Tenant,
    request::{RequestState, RestoreRequest},
    slot::Slot,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use runtime::{
    Invocation,
    copies::{Source, VAULT_TAG, Wanted, is_hopeless},
    instants::Reach,
    services::{Services, known_database, short_name},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    item::Item,
    quiet::{Quiet, TIME, delete},
};

/// How the names of these clones begin; no rule's clone is called so, as theirs go on with a time.
const AT: &str = "holdfast-export-at-";
/// The tag that says for which request one was made.
const TAG: &str = "holdfast:export";

/// What the state machine of restores asks for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    request: RequestId,
    tenant: TenantId,
    point_in_time: Timestamp,
}

/// A request's instant, and what follows from it.
struct Purpose<'a> {
    request: &'a RestoreRequest,
    at: Timestamp,
    slot: Slot,
    clone: String,
}

/// What is to be done, as the slot tells.
#[derive(Debug, PartialEq)]
enum Standing {
    /// The recovery point is to be made.
    Due,
    /// Another run is making it.
    AtWork,
    /// It is there.
    Made,
    /// It was there, and can be neither used nor made again.
    Spent,
}

impl<'a> Purpose<'a> {
    fn of(request: &'a RestoreRequest) -> Option<Self> {
        let at = request.point_in_time?;
        let time = at.to_zoned(TimeZone::UTC).strftime(TIME);
        let clone = format!("{AT}{time}-{}", short_name(request.id.uuid()));
        Some(Self { request, at, slot: Slot::of_instant(request.tenant.clone(), at), clone })
    }

    /// What a request asked for, if this is it.
    fn asked(request: &'a RestoreRequest, asked: &Asked) -> Result<Self, ErrorReport> {
        let agreed = Self::of(request).filter(|purpose| {
            let named = (&request.tenant, purpose.at) == (&asked.tenant, asked.point_in_time);
            named && request.point == purpose.slot.recovery_point_id()
        });
        agreed.ok_or_else(|| {
            let message = format!(
                "restore request {} does not ask for tenant {} at {}; only its own state machine says what it asks for",
                request.id, asked.tenant, asked.point_in_time
            );
            ErrorReport::new(ErrorCode::MalformedEvent, message)
        })
    }

    /// Whether nobody needs the clone any more: the request has gone on, or has waited for too long.
    fn is_over(&self, now: Timestamp) -> bool {
        !matches!(self.request.state, RequestState::Requested) || self.is_late(now)
    }

    fn is_late(&self, now: Timestamp) -> bool {
        now.duration_since(self.request.requested_at) > SignedDuration::from_secs(caps::DRILL_AT_MOST_S)
    }

    fn refused(&self, why: &str) -> ErrorReport {
        let (tenant, at) = (&self.request.tenant, self.at);
        let message = format!("there is no recovery point of tenant {tenant} at {at}, and none can be made: {why}");
        ErrorReport::new(ErrorCode::UnknownRecoveryPoint, message)
    }

    async fn standing(&self, services: &Services) -> Result<Standing, ErrorReport> {
        let found = services.catalog.slot(&self.slot).await?;
        Ok(found.map_or(Standing::Due, |found| standing(&found.value, services.clock.now())))
    }
}

fn standing(point: &RecoveryPoint, now: Timestamp) -> Standing {
    match &point.state {
        State::Available { .. } if point.is_usable() => Standing::Made,
        State::Available { .. } | State::Expired { .. } | State::Swept { .. } => Standing::Spent,
        State::Running if now.duration_since(point.started_at) < SignedDuration::from_secs(caps::COMPARE_AT_MOST_S) => {
            Standing::AtWork
        }
        // Somebody asks again, so it is tried again.
        State::Running | State::Failed { .. } => Standing::Due,
    }
}

/// Serves the step of a restore that makes its recovery point: one call, which may be repeated at any time.
pub(crate) async fn make(services: &Services, plan: &Plan, asked: &Asked, invocation: &Invocation) -> Result<Value, ErrorReport> {
    let request = services.catalog.request(asked.request).await?.value;
    let purpose = Purpose::asked(&request, asked)?;
    let made = Box::pin(go_on(services, plan, &purpose, invocation)).await;
    let keeps_clone = match &made {
        Ok(None) => false,
        Ok(Some(waits_for)) => {
            tracing::info!("the recovery point of {} waits for {waits_for}", purpose.at);
            true
        }
        // What may pass is tried again, and the clone is there for it.
        Err(report) => matches!(report.code.class(), Class::Transient | Class::Throttled | Class::Conflict),
    };
    if !keeps_clone && let Some(clone) = find(services, &purpose.clone).await?.filter(|clone| is_ours(services, clone)) {
        end(services, &clone, request.tenant.as_str()).await?;
    }
    Ok(match made? {
        None => json!({ "state": "made", "point": request.point }),
        Some(waits_for) => json!({ "state": "waiting", "for": waits_for }),
    })
}

/// Does what can be done now. What it waits for, or nothing if the recovery point is there.
async fn go_on(
    services: &Services,
    plan: &Plan,
    purpose: &Purpose<'_>,
    invocation: &Invocation,
) -> Result<Option<String>, ErrorReport> {
    let now = services.clock.now();
    match purpose.standing(services).await? {
        Standing::Made => return Ok(None),
        Standing::Spent => {
            return Err(
                purpose.refused("there was one, which has expired or proved bad; name another second, or a recovery point")
            );
        }
        Standing::AtWork => return Ok(Some("the run that is making it".to_owned())),
        Standing::Due => {}
    }
    if purpose.is_late(now) {
        let hours = caps::DRILL_AT_MOST_S / 3600;
        return Err(purpose.refused(&format!("it did not come about within {hours} hours; make a new request")));
    }
    if purpose.request.state.is_final() {
        return Err(purpose.refused(&format!("restore request {} has ended", purpose.request.id)));
    }
    let tenant = services.listed_tenant(plan, &purpose.request.tenant).await?;
    if tenant.created_at > purpose.at {
        let message =
            format!("the tenant signed up at {}, so there was nothing of it then; name a later instant", tenant.created_at);
        return Err(purpose.refused(&message));
    }
    let database = known_database(plan, &tenant.database_id)?;
    match find(services, &purpose.clone).await? {
        None => begin(services, purpose, database).await.map(Some),
        Some(clone) => read(services, plan, purpose, tenant, &clone, invocation).await,
    }
}

/// Begins to make the clone, unless the instant cannot be restored, or not yet. What it waits for then.
async fn begin(services: &Services, purpose: &Purpose<'_>, database: &Database) -> Result<String, ErrorReport> {
    match services.reach(database, purpose.at).await? {
        Reach::Soon => return Ok(format!("instance {} to be restorable to {}", database.instance, purpose.at)),
        Reach::Now => {}
    }
    let wanted = Wanted {
        name: &purpose.clone,
        of: database,
        from: Source::Instant(purpose.at),
        tag: (TAG, purpose.request.id.to_string()),
        actor: "export",
        act: "export.clone",
        subject: purpose.request.tenant.as_str(),
    };
    services.begin_copy(&wanted).await?;
    Ok(purpose.clone.clone())
}

/// Exports the tenant from the clone if that can be read. What it waits for, or nothing if it is done.
async fn read(
    services: &Services,
    plan: &Plan,
    purpose: &Purpose<'_>,
    tenant: Tenant,
    clone: &Instance,
    invocation: &Invocation,
) -> Result<Option<String>, ErrorReport> {
    if !is_ours(services, clone) {
        return Err(purpose.refused(&format!("instance {} is in the way, and is not of this vault; delete it", clone.name)));
    }
    if is_hopeless(clone) {
        let message = format!("clone {} is {}; RDS's events of it say why; make a new request", clone.name, clone.status);
        return Err(purpose.refused(&message));
    }
    if !clone.is_available() {
        return Ok(Some(clone.name.clone()));
    }
    let item = Item {
        tenant,
        kind: purpose.slot.kind,
        rule: purpose.slot.rule.clone(),
        scheduled_time: purpose.at,
        full: false,
        read_from: ReadFrom::Clone,
        quiet: Some(Quiet { instance: clone.name.clone(), as_of: purpose.at }),
    };
    match Box::pin(item.run(services, plan, &invocation.deadline, None)).await {
        Ok(_) => Ok(None),
        // The next call goes on: nobody writes to the clone. The state machine's retries are for what may not pass.
        Err(report) if matches!(report.code, ErrorCode::DeadlineNear | ErrorCode::Fenced) => {
            Ok(Some(format!("the next invocation: {}", report.message)))
        }
        Err(report) => Err(report),
    }
}

/// Whether a clone is of this kind. The others are those of rules.
pub(crate) fn is_one(clone: &Instance) -> bool {
    clone.name.starts_with(AT)
}

/// Deletes a clone that its request does not need any more, or that no request has. For a runbook that was cut off.
pub(crate) async fn follow(services: &Services, clone: &Instance) -> Result<(), ErrorReport> {
    if !is_ours(services, clone) {
        return Ok(());
    }
    let tagged = clone.tags.get(TAG).and_then(|tag| tag.parse::<RequestId>().ok());
    let request = match tagged {
        None => None,
        Some(id) => match services.catalog.request(id).await {
            Ok(request) => Some(request.value),
            Err(error) if error.code() == ErrorCode::UnknownRequest => None,
            Err(error) => return Err(error.into()),
        },
    };
    let purpose = request.as_ref().and_then(Purpose::of).filter(|purpose| purpose.clone == clone.name);
    let is_over = match &purpose {
        Some(purpose) => purpose.is_over(services.clock.now()),
        // The request is recorded long before its clone is asked for.
        None => true,
    };
    if is_over {
        let subject = request.map_or_else(|| "unwanted clone".to_owned(), |request| request.tenant.to_string());
        end(services, clone, &subject).await?;
    }
    Ok(())
}

async fn find(services: &Services, name: &str) -> Result<Option<Instance>, ErrorReport> {
    match services.clients.instances().describe(name).await {
        Ok(instance) => Ok(Some(instance)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Begins to delete a clone, unless it is going, or only coming: the next tick of `exports-follow` finds that one.
async fn end(services: &Services, clone: &Instance, subject: &str) -> Result<(), ErrorReport> {
    if matches!(clone.status.as_str(), "deleting" | "creating") {
        return Ok(());
    }
    delete(services, &clone.name, subject).await
}

fn is_ours(services: &Services, clone: &Instance) -> bool {
    clone.tags.get(VAULT_TAG).is_some_and(|vault| vault == services.config.vault_id.as_str())
}

#[cfg(test)]
mod tests {
    use domain::{identity::Identity, point::Kind};

    use super::*;
    use crate::quiet::PREFIX;

    fn request(at: Option<&str>) -> RestoreRequest {
        let at = at.map(|at| at.parse().unwrap());
        let tenant: TenantId = "acme".parse().unwrap();
        let id = "rq_01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let point = Slot::of_instant(tenant.clone(), at.unwrap_or_default()).recovery_point_id();
        let by = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        let requested_at = "2026-11-23T10:00:00Z".parse().unwrap();
        let asked = RestoreRequest::new(id, tenant, (point, Kind::Database), "r".into(), by, requested_at);
        RestoreRequest { point_in_time: at, ..asked }
    }

    const AT_NINE: &str = "2026-11-23T09:00:00Z";

    #[test]
    fn a_clones_name_says_what_it_holds_and_is_taken_for_no_rules_clone() {
        let request = request(Some(AT_NINE));
        let purpose = Purpose::of(&request).unwrap();
        assert_eq!(purpose.clone, "holdfast-export-at-20261123t090000-b302099a8057");
        assert!(purpose.clone.starts_with(PREFIX) && purpose.clone.len() <= 63 && !purpose.clone.contains("--"));
    }

    #[test]
    fn only_what_the_request_itself_asks_for_is_made() {
        let (with, without) = (request(Some(AT_NINE)), request(None));
        let asked = |tenant: &str, at: &str| {
            let json = json!({ "request": with.id, "tenant": tenant, "point_in_time": at });
            serde_json::from_value::<Asked>(json).unwrap()
        };
        assert!(Purpose::asked(&with, &asked("acme", AT_NINE)).is_ok());
        let other_point = RestoreRequest { point: without.point, ..with.clone() };
        for (request, tenant, at) in [
            (&with, "acme2", AT_NINE),
            (&with, "acme", "2026-11-23T09:00:01Z"),
            (&without, "acme", AT_NINE),
            (&other_point, "acme", AT_NINE),
        ] {
            let refused = Purpose::asked(request, &asked(tenant, at)).err().unwrap();
            assert_eq!(refused.code, ErrorCode::MalformedEvent, "{tenant} {at}");
        }
    }

    #[test]
    fn a_clone_is_kept_for_a_request_that_waits_for_it_and_not_for_ever() {
        let waits = request(Some(AT_NINE));
        let error = ErrorReport::new(ErrorCode::EnvironmentBad, "m");
        let ended = waits.clone().fail(&error, waits.requested_at).unwrap();
        let at = |time: &str| format!("2026-11-23T{time}Z").parse().unwrap();
        assert!(!Purpose::of(&waits).unwrap().is_over(at("16:00:00")));
        assert!(Purpose::of(&waits).unwrap().is_over(at("16:00:01")));
        assert!(Purpose::of(&ended).unwrap().is_over(at("10:00:01")));
    }

    #[test]
    fn a_recovery_point_that_is_there_is_not_made_again_and_one_that_failed_is() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let running = RecoveryPoint::begin(&Slot::of_instant("acme".parse().unwrap(), AT_NINE.parse().unwrap()), run, now);
        let content =
            domain::point::Content::Snapshot { identifier: "i".into(), arn: "a".into(), settings: Value::Null, copied: None };
        let made = running.clone().publish(content, now).unwrap();
        let refuted = made.clone().judge(domain::point::Proof::Refuted { at: now, findings: vec![] }).unwrap();
        let failed = running.clone().fail(&ErrorReport::new(ErrorCode::SourceRefused, "m"), now).unwrap();
        for (point, expected) in [
            (&running, Standing::AtWork),
            (&made, Standing::Made),
            (&refuted, Standing::Spent),
            (&made.clone().expire(now).unwrap(), Standing::Spent),
            (&failed, Standing::Due),
        ] {
            assert_eq!(standing(point, now), expected, "{}", point.state.name());
        }
        let later = now + SignedDuration::from_secs(caps::COMPARE_AT_MOST_S);
        assert_eq!(standing(&running, later), Standing::Due, "no run lasts that long");
    }
}
