//! Recoveries of the environment: asked for by one person, approved by another, carried out by the runbook.

use aws::TaskAnswer;
use catalog::audit::Phase;
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryId, caps,
    identity::Identity,
    recovery::{MadeFrom, MadeInstance, PlannedInstance, RecoveredTenant, Recovery, RecoveryState, Stage, Work},
};
use jiff::Timestamp;
use runtime::{instants::check_whole_second, services::Services};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    look::cut,
    restores::{add_need, was_woken},
};

/// Whom the audit trail names as the subject of a recovery.
const ENVIRONMENT: &str = "environment";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wish {
    /// Nothing is newer than this instant; the newest of everything if left out.
    time: Option<Timestamp>,
    /// With a time: instances of that very instant, wherever RDS can make them.
    #[serde(default)]
    native: bool,
    reason: String,
}

impl Wish {
    /// # Errors
    /// If it cannot be meant.
    fn check(&self, now: Timestamp) -> Result<(), ErrorReport> {
        let reason = self.reason.trim();
        let malformed = |message: String| Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
        if reason.is_empty() || reason.len() > caps::FREE_TEXT_BYTES_MAX {
            return malformed(format!(
                "a recovery needs a reason of 1 to {} bytes, for the people who approve it and for the audit trail",
                caps::FREE_TEXT_BYTES_MAX
            ));
        }
        if let Some(time) = self.time.filter(|time| *time > now) {
            return malformed(format!("{time} is in the future: leave the time out for the newest there is"));
        }
        match self.time {
            Some(time) if self.native => check_whole_second(time)?,
            None if self.native => {
                return malformed(
                    "native point-in-time recovery needs the time; leave `native` out for the newest there is".to_owned(),
                );
            }
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    recovery: RecoveryId,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Agreement {
    recovery: RecoveryId,
    preview_digest: String,
}

/// Records a recovery and starts its runbook, which plans it and then waits for other people.
pub(crate) async fn request(services: &Services, caller: &Identity, wish: Wish) -> Result<Value, ErrorReport> {
    let now = services.clock.now();
    wish.check(now)?;
    let reason = wish.reason.trim();
    let machine = services.config.recovery_machine()?;
    let id = services.fresh.recovery_id();
    let recovery = Recovery::new(id, wish.time, reason.to_owned(), caller.clone(), now).natively(wish.native);
    let to = wish.time.map_or_else(|| "the newest".to_owned(), |time| time.to_string());
    let how = if wish.native { ", natively" } else { "" };
    let what = format!("{id} to {to}{how}: {reason}");
    services.audit(Phase::Intent, &caller.arn, "recover.request", ENVIRONMENT, &what).await?;
    let recovery = services.catalog.create(recovery).await?.value;
    // Named after the recovery, so a start that the SDK repeats after a lost reply finds the runbook that is there.
    let started = services.clients.machines().start(machine, &id.to_string(), &json!({ "recovery": id })).await;
    let started = started.map_err(ErrorReport::from);
    if let Err(report) = &started {
        // Nothing else would move it on. If the runbook did start after all, it finds the recovery ended.
        let ended = services.catalog.advance_recovery(id, |recovery| recovery.fail(report, services.clock.now())).await;
        if let Err(error) = ended {
            tracing::error!(recovery.id = %id, error.code = error.code().name(), "one without a runbook stays open: {error}");
        }
    }
    let outcome =
        started.as_ref().map_or_else(|report| format!("{id}: not started: {report}"), |_| format!("{id}: runbook started"));
    services.audit(Phase::Outcome, &caller.arn, "recover.request", ENVIRONMENT, &outcome).await?;
    started?;
    Ok(shown(&recovery))
}

/// A recovery as it stands, with its instances and tenants.
pub(crate) async fn show(services: &Services, which: Which) -> Result<Value, ErrorReport> {
    let recovery = services.catalog.recovery(which.recovery).await?.value;
    let mut tenants = services.catalog.recovered_tenants(which.recovery).await?;
    let planned = recovery.state.plan().map_or(0, |plan| plan.tenants);
    // What an earlier delivery planned and this one does not.
    tenants.retain(|tenant| !tenant.value.planned || tenant.value.index < planned || recovery.state.plan().is_none());
    let truncated = cut(&mut tenants, caps::RECOVERY_TENANTS_SHOWN_MAX);
    let mut answer = shown_with_need(services, &recovery).await?;
    answer["tenants"] = tenants.iter().map(|tenant| shown_tenant(&recovery, &tenant.value)).collect();
    answer["truncated"] = json!(truncated);
    Ok(answer)
}

/// Recoveries: the open ones, the oldest first, then those that ended, the newest first.
pub(crate) async fn list(services: &Services) -> Result<Value, ErrorReport> {
    const MAX: usize = caps::REQUESTS_LISTED_MAX;
    let mut open = services.catalog.recoveries(true, MAX + 1).await?;
    let mut ended = services.catalog.recoveries(false, MAX + 1).await?;
    let truncated = cut(&mut open, MAX) | cut(&mut ended, MAX);
    let recoveries: Vec<Value> = open.iter().chain(&ended).map(shown).collect();
    Ok(json!({ "recoveries": recoveries, "truncated": truncated }))
}

/// Records another person's agreement and wakes the runbook. Repeating it wakes it again if the first call was lost.
pub(crate) async fn approve(services: &Services, caller: &Identity, agreement: Agreement) -> Result<Value, ErrorReport> {
    let id = agreement.recovery;
    let subject = id.to_string();
    services.audit(Phase::Intent, &caller.arn, "recover.approve", &subject, &agreement.preview_digest).await?;
    let approved = match approve_once(services, caller, &agreement).await {
        Ok(recovery) => wake(services, recovery).await,
        Err(report) => Err(report),
    };
    let outcome = approved.as_ref().map_or_else(|report| format!("not done: {report}"), outcome_of);
    services.audit(Phase::Outcome, &caller.arn, "recover.approve", &subject, &outcome).await?;
    shown_with_need(services, &approved?).await
}

fn outcome_of(recovery: &Recovery) -> String {
    match &recovery.state {
        RecoveryState::AwaitingApproval { approvals, .. } => format!("agreed; {} so far, more are needed", approvals.len()),
        _ => "approved".to_owned(),
    }
}

/// Wakes the runbook of an approved recovery again, if its first call was lost.
pub(crate) async fn run(services: &Services, caller: &Identity, which: Which) -> Result<Value, ErrorReport> {
    let subject = which.recovery.to_string();
    services.audit(Phase::Intent, &caller.arn, "recover.run", &subject, "").await?;
    let recovery = services.catalog.recovery(which.recovery).await?.value;
    let woken = match recovery.state {
        RecoveryState::Requested | RecoveryState::Planned { .. } | RecoveryState::AwaitingApproval { .. } => {
            let message = format!("recovery {subject} is {} and not approved yet", recovery.state.name());
            Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message))
        }
        _ => wake(services, recovery).await,
    };
    let outcome = woken.as_ref().map_or_else(|report| format!("not done: {report}"), |_| "runs".to_owned());
    services.audit(Phase::Outcome, &caller.arn, "recover.run", &subject, &outcome).await?;
    let woken = woken?;
    let mut shown = shown(&woken);
    // Whoever called could not tell it from one that was approved and still sleeps.
    shown["under_way"] = json!(!woken.state.is_final());
    Ok(shown)
}

/// Lets the runbook of an approved recovery go on.
///
/// # Errors
/// `ApprovalInvalid` if it no longer waits and has not gone on either: nobody must believe that anything happens.
async fn wake(services: &Services, recovery: Recovery) -> Result<Recovery, ErrorReport> {
    let RecoveryState::Approved { task_token, plan, .. } = &recovery.state else { return Ok(recovery) };
    let id = recovery.id;
    if services.clients.machines().succeed_task(task_token, &json!({ "recovery": id })).await? == TaskAnswer::Taken {
        return Ok(recovery);
    }
    let now = services.catalog.recovery(id).await?.value;
    let goes_on = match &now.state {
        RecoveryState::Failed { .. } => false,
        // Between the answer and the first sign of what it set going lie a few seconds.
        RecoveryState::Approved { .. } => {
            was_woken(services, services.config.recovery_machine()?, &id.to_string(), plan.at).await?
        }
        state => state.work().is_some(),
    };
    if goes_on {
        return Ok(now);
    }
    let message = format!(
        "the runbook of recovery {id} no longer waits for approval, and the recovery is {}; see `holdfast recover watch {id}`, and unless \
         that shows the work going on, ask for another one",
        now.state.name()
    );
    Err(ErrorReport::new(ErrorCode::ApprovalInvalid, message))
}

async fn approve_once(services: &Services, caller: &Identity, agreement: &Agreement) -> Result<Recovery, ErrorReport> {
    let now = services.clock.now();
    let asked = services.catalog.recovery(agreement.recovery).await?.value;
    let needed = services.recovery_approvals_needed(&services.plan().await?, &asked.requested_by).await?;
    let step = |recovery: Recovery| recovery.approve(caller.clone(), &agreement.preview_digest, needed, now);
    match services.catalog.advance_recovery(agreement.recovery, step).await {
        Ok(recovery) => Ok(recovery.value),
        Err(error) if error.code() == ErrorCode::Fenced => {
            // Perhaps this very approval is recorded and only its wake-up was lost.
            let recovery = services.catalog.recovery(agreement.recovery).await?.value;
            let mine = |approval: &domain::request::Approval| {
                approval.by == *caller && approval.preview_digest == agreement.preview_digest
            };
            let is_recorded = matches!(recovery.state, RecoveryState::Approved { .. });
            if is_recorded && recovery.state.approvals().iter().any(mine) { Ok(recovery) } else { Err(error.into()) }
        }
        Err(error) => Err(error.into()),
    }
}

/// A recovery with how many people have to agree and how many still have to, if it waits for them.
///
/// # Errors
/// If that cannot be found out; that nobody's agreement would be enough is a part of the answer.
async fn shown_with_need(services: &Services, recovery: &Recovery) -> Result<Value, ErrorReport> {
    let mut shown = shown(recovery);
    let RecoveryState::AwaitingApproval { approvals, .. } = &recovery.state else { return Ok(shown) };
    let needed = services.recovery_approvals_needed(&services.plan().await?, &recovery.requested_by).await;
    add_need(&mut shown, approvals.len(), needed)?;
    Ok(shown)
}

fn shown(recovery: &Recovery) -> Value {
    let approvals: Vec<Value> =
        recovery.state.approvals().iter().map(|approval| json!({ "by": approval.by.arn, "at": approval.at })).collect();
    let mut shown = json!({
        "recovery": recovery.id,
        "to": recovery.to,
        "native": recovery.native,
        "reason": recovery.reason,
        "requested_by": recovery.requested_by.arn,
        "requested_at": recovery.requested_at,
        "state": recovery.state.name(),
        "approvals": approvals,
    });
    if let Some(plan) = recovery.state.plan() {
        shown["preview"] = json!({
            "at": plan.at, "tenants": plan.tenants, "from_exports": plan.from_exports, "notes": plan.notes, "forecast": plan.forecast,
            "digest": plan.digest,
        });
        let work = recovery.state.work();
        shown["instances"] = plan.instances.iter().map(|planned| shown_instance(recovery, planned, work)).collect();
    }
    match &recovery.state {
        RecoveryState::Done { report, work, .. } => {
            shown["outcome"] = json!(report.outcome.name());
            shown["report"] = json!(report);
            shown["notes"] = json!(work.notes);
        }
        RecoveryState::Failed { code, message, work, .. } => {
            shown["error"] = json!({ "code": code, "message": message });
            let left = work.iter().flat_map(|work| &work.instances).filter(|made| !matches!(made.stage, Stage::Due));
            shown["instances_left"] = left.map(|made| made.name.clone()).collect();
        }
        _ => {}
    }
    shown
}

fn shown_instance(recovery: &Recovery, planned: &PlannedInstance, work: Option<&Work>) -> Value {
    let made = work.and_then(|work| work.instances.iter().find(|made| made.database == planned.database));
    let from = planned.from.as_ref();
    let mut shown = json!({
        "database": planned.database,
        "replaces": planned.replaces,
        "instance": planned.name,
        "source": from.map(|from| if matches!(from, MadeFrom::Instant(_)) { "instant" } else { "snapshot" }),
        "point": from.and_then(MadeFrom::point),
        "snapshot": from.and_then(snapshot_of),
        "resource_id": from.and_then(resource_id),
        "as_of": from.map(MadeFrom::as_of),
        "rpo_ms": from.map(|from| recovery.rpo_ms(from.as_of())),
    });
    match made {
        None => shown["stage"] = json!("planned"),
        Some(MadeInstance { stage, .. }) => {
            let stage = json!(stage);
            for (field, value) in stage.as_object().into_iter().flatten() {
                shown[field] = value.clone();
            }
        }
    }
    shown
}

fn snapshot_of(from: &MadeFrom) -> Option<&str> {
    match from {
        MadeFrom::Snapshot(from) => Some(&from.identifier),
        MadeFrom::Instant(_) => None,
    }
}

/// Which instance it is, of all that have or had this name.
fn resource_id(from: &MadeFrom) -> Option<&str> {
    match from {
        MadeFrom::Snapshot(_) => None,
        MadeFrom::Instant(from) => Some(&from.resource_id),
    }
}

fn shown_tenant(recovery: &Recovery, tenant: &RecoveredTenant) -> Value {
    let mut shown = json!({
        "tenant": tenant.plan.tenant,
        "class": tenant.plan.class,
        "database": tenant.plan.database,
        "planned": tenant.planned,
        "rpo_ms": tenant.plan.from.as_of().map(|as_of| recovery.rpo_ms(as_of)),
    });
    for part in [json!(tenant.plan.from), json!(tenant.progress)] {
        for (field, value) in part.as_object().into_iter().flatten() {
            shown[field] = value.clone();
        }
    }
    // The link's hash says nothing to people.
    if let Some(fields) = shown.as_object_mut() {
        fields.remove("content");
    }
    shown
}

#[cfg(test)]
mod tests {
    use domain::{
        forecast::Forecast,
        recovery::{FromInstant, RecoveryPlan},
    };

    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let check = |fields: Value| serde_json::from_value::<Wish>(fields).unwrap().check(now);
        check(json!({ "reason": "gone" })).unwrap();
        check(json!({ "reason": "gone", "native": true, "time": "2026-11-23T09:00:00Z" })).unwrap();
        for (wish, expected) in [
            (json!({ "reason": "gone", "native": true }), "needs the time"),
            (json!({ "reason": "gone", "native": true, "time": "2026-11-23T09:00:00.5Z" }), "leave the fraction out"),
            (json!({ "reason": "gone", "time": "2026-11-23T10:00:01Z" }), "in the future"),
            (json!({ "reason": " " }), "needs a reason"),
        ] {
            let report = check(wish.clone()).unwrap_err();
            assert_eq!(report.code, ErrorCode::MalformedEvent, "{wish}");
            assert!(report.message.contains(expected), "{wish}: {report}");
        }
    }

    #[test]
    fn an_instance_of_an_instant_is_shown_with_rdss_id_of_the_one_whose_log_it_is() {
        let at = Timestamp::UNIX_EPOCH;
        let person = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "ana".into(), account: "1".into() };
        let id = "rc_00000000-0000-7000-8000-000000000001".parse().unwrap();
        let from = FromInstant { resource_id: "db-1".into(), as_of: at, settings_of: None };
        let from = Some(MadeFrom::Instant(from));
        let planned = PlannedInstance { database: "pool".into(), replaces: "old".into(), name: "new".into(), from };
        let shown = shown_instance(&Recovery::new(id, Some(at), "gone".into(), person, at), &planned, None);
        assert_eq!(
            (&shown["source"], &shown["resource_id"], &shown["snapshot"]),
            (&json!("instant"), &json!("db-1"), &Value::Null)
        );
    }

    #[test]
    fn the_audit_trail_says_approved_only_once_enough_have_agreed() {
        let person =
            |name: &str| Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() };
        let id = "rc_00000000-0000-7000-8000-000000000001".parse().unwrap();
        let at = Timestamp::UNIX_EPOCH;
        let plan = RecoveryPlan {
            at,
            instances: vec![],
            tenants: 0,
            platform: 0,
            from_exports: 0,
            notes: vec![],
            forecast: Forecast::TooFew { samples: 0, needed: 5 },
            digest: "d".into(),
        };
        let asked = Recovery::new(id, None, "gone".into(), person("ana"), at).planned(plan).unwrap();
        let once = asked.await_approval("t".into()).unwrap().approve(person("ben"), "d", 2, at).unwrap();
        assert_eq!(outcome_of(&once), "agreed; 1 so far, more are needed");
        assert_eq!(outcome_of(&once.approve(person("cem"), "d", 2, at).unwrap()), "approved");
    }
}
