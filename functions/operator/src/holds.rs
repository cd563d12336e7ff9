//! Legal holds: placed and released by name and reason, on one recovery point or on all that a tenant has.
//!
//! Who places one comes from the signature, as everywhere. Each act is in the audit trail before and after, with its reason.

use std::collections::BTreeMap;

use catalog::audit::Phase;
use domain::{
    Coded, ErrorCode, ErrorReport, RecoveryPointId, TenantId, caps,
    identity::Identity,
    point::{Hold, Kind, RecoveryPoint},
    slot::Subject,
};
use jiff::Timestamp;
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::look::PointsOf;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Placed {
    tenant: TenantId,
    /// Every available one of the tenant if left out.
    point: Option<RecoveryPointId>,
    reason: String,
    until: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Released {
    tenant: TenantId,
    /// Every one of the tenant that has the hold if left out.
    point: Option<RecoveryPointId>,
    /// The hold's reason; it may be left out where there is one hold.
    hold: Option<String>,
    /// Why it ends.
    reason: String,
}

/// Places a hold. Repeating the call changes nothing, or goes on where the last one stopped.
pub(crate) async fn place(services: &Services, caller: &Identity, asked: Placed) -> Result<Value, ErrorReport> {
    let now = services.clock.now();
    let reason = said(&asked.reason, "a hold", "it is the hold's name")?;
    services.tenant(&asked.tenant).await?;
    let hold = Hold { reason: reason.clone(), owner: caller.arn.clone(), placed_at: now, until: asked.until };
    let until = asked.until.map_or_else(|| "until it is released".to_owned(), |until| format!("until {until}"));
    let act = Act { name: "hold.place", tenant: &asked.tenant, point: asked.point, why: format!("{reason}; {until}") };
    act.audited(services, caller, async {
        let wanted = |point: &RecoveryPoint| point.clone().hold(hold.clone(), now).is_ok_and(|held| held != *point);
        let there = |point: &RecoveryPoint| point.content().is_some();
        let (points, counted) = act.points(services, there, wanted).await?;
        let mut done = Done::of(counted);
        for point in points {
            done.note(point, services.catalog.place_hold(&asked.tenant, point, &hold, now).await, asked.point.is_some())?;
        }
        Ok(done)
    })
    .await
    .map(|done| done.shown(&asked.tenant, &json!({ "reason": reason, "owner": caller.arn, "until": asked.until })))
}

/// Ends a hold.
pub(crate) async fn release(services: &Services, caller: &Identity, asked: Released) -> Result<Value, ErrorReport> {
    let now = services.clock.now();
    let reason = said(&asked.reason, "the release of a hold", "it is what the audit trail will show")?;
    services.tenant(&asked.tenant).await?;
    if asked.point.is_none() && asked.hold.is_none() {
        let message =
            "which hold? Without --point, say with --hold the reason it was placed for; `holdfast hold list` shows them";
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    let named = asked.hold.as_deref().map(str::trim);
    let which = named.map_or_else(|| "the only hold".to_owned(), |named| format!("the hold for {named}"));
    let act = Act { name: "hold.release", tenant: &asked.tenant, point: asked.point, why: format!("{which}; {reason}") };
    act.audited(services, caller, async {
        let wanted = |point: &RecoveryPoint| point.clone().release(named, now).is_ok_and(|freed| freed != *point);
        let (points, counted) = act.points(services, wanted, wanted).await?;
        if points.is_empty() {
            let named = named.unwrap_or_default();
            let message = format!("no recovery point of tenant {} is held for `{named}`; see `holdfast hold list`", asked.tenant);
            return Err(ErrorReport::new(ErrorCode::UnknownHold, message));
        }
        let mut done = Done::of(counted);
        for point in points {
            done.note(point, services.catalog.release_hold(&asked.tenant, point, named, now).await, asked.point.is_some())?;
        }
        Ok(done)
    })
    .await
    .map(|done| done.shown(&asked.tenant, &json!({ "reason": named, "released_because": reason })))
}

/// Every hold of one tenant, or of all, with what it holds.
pub(crate) async fn list(services: &Services, asked: PointsOf) -> Result<Value, ErrorReport> {
    let tenants = match asked.tenant {
        Some(tenant) => vec![services.tenant(&tenant).await?],
        None => services.catalog.tenants().await?,
    };
    let (mut shown, mut left) = (Vec::new(), caps::EXPLAINED_POINTS_MAX);
    let mut truncated = false;
    for tenant in tenants.into_iter().map(|record| record.tenant.id) {
        if left == 0 {
            truncated = true;
            break;
        }
        let points = services.catalog.points(&Subject::Tenant(tenant.clone()), None, caps::LISTED_POINTS_MAX).await?;
        truncated |= points.len() == caps::LISTED_POINTS_MAX;
        left = left.saturating_sub(points.len());
        let points: Vec<RecoveryPoint> = points.into_iter().map(|point| point.value).collect();
        shown.extend(grouped(&tenant, &points, services.clock.now()));
    }
    Ok(json!({ "holds": shown, "truncated": truncated }))
}

/// The holds on a tenant's recovery points, one entry for each reason and end.
fn grouped(tenant: &TenantId, points: &[RecoveryPoint], now: Timestamp) -> Vec<Value> {
    type PointsByHold<'a> = BTreeMap<(&'a str, Option<Timestamp>), (&'a Hold, Vec<RecoveryPointId>)>;
    let mut holds: PointsByHold<'_> = BTreeMap::new();
    for point in points.iter().filter(|point| point.content().is_some()) {
        for hold in &point.holds {
            let (first, held) = holds.entry((&hold.reason, hold.until)).or_insert((hold, Vec::new()));
            *first = if hold.placed_at < first.placed_at { hold } else { *first };
            held.push(point.id);
        }
    }
    let shown = |(hold, held): (&Hold, Vec<RecoveryPointId>)| {
        json!({
            "tenant": tenant, "reason": hold.reason, "owner": hold.owner, "placed_at": hold.placed_at, "until": hold.until,
            "over": hold.is_over(now), "points_count": held.len(),
            "points": held.into_iter().take(caps::HELD_POINTS_NAMED_MAX).collect::<Vec<_>>(),
        })
    };
    holds.into_values().map(shown).collect()
}

fn said(reason: &str, what: &str, why: &str) -> Result<String, ErrorReport> {
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > caps::FREE_TEXT_BYTES_MAX {
        let message = format!("{what} needs a reason of 1 to {} bytes: {why}", caps::FREE_TEXT_BYTES_MAX);
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    Ok(reason.to_owned())
}

/// What somebody does to one recovery point, or to all of a tenant's.
struct Act<'a> {
    name: &'static str,
    tenant: &'a TenantId,
    point: Option<RecoveryPointId>,
    why: String,
}

/// Of a tenant's recovery points: those that need nothing any more, and those that this call has to leave to the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    already: usize,
    left: usize,
}

impl Act<'_> {
    /// What to work on: the point that was named, whatever it is like, or those that the act changes, as many as one call may.
    async fn points(
        &self,
        services: &Services,
        concerned: impl Fn(&RecoveryPoint) -> bool,
        changes: impl Fn(&RecoveryPoint) -> bool,
    ) -> Result<(Vec<RecoveryPointId>, Counted), ErrorReport> {
        if let Some(point) = self.point {
            return Ok((vec![point], Counted::default()));
        }
        let subject = Subject::Tenant(self.tenant.clone());
        let mut points = Vec::new();
        // Kind by kind: in one listing those that come first could fill it.
        for kind in Kind::EXPORTED {
            let of_kind = services.catalog.points(&subject, Some(kind), caps::LISTED_POINTS_MAX).await?;
            if of_kind.len() == caps::LISTED_POINTS_MAX {
                let message = format!(
                    "tenant {} has more {} recovery points than one listing holds ({}): hold those that matter by `--point`",
                    self.tenant,
                    kind.name(),
                    caps::LISTED_POINTS_MAX
                );
                return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
            }
            points.extend(of_kind);
        }
        let concerned: Vec<RecoveryPoint> = points.into_iter().map(|point| point.value).filter(concerned).collect();
        let mut wanted: Vec<RecoveryPointId> = concerned.iter().filter(|point| changes(point)).map(|point| point.id).collect();
        let counted =
            Counted { already: concerned.len() - wanted.len(), left: wanted.len().saturating_sub(caps::HELD_PER_CALL_MAX) };
        wanted.truncate(caps::HELD_PER_CALL_MAX);
        Ok((wanted, counted))
    }

    async fn audited(
        &self,
        services: &Services,
        caller: &Identity,
        work: impl Future<Output = Result<Done, ErrorReport>> + Send,
    ) -> Result<Done, ErrorReport> {
        let place = self.point.map_or_else(|| "all recovery points".to_owned(), |point| point.to_string());
        let subject = self.tenant.as_str();
        services.audit(Phase::Intent, &caller.arn, self.name, subject, &format!("{place}: {}", self.why)).await?;
        let done = work.await;
        let outcome =
            done.as_ref().map_or_else(|report| format!("{place}: not done: {report}"), |done| format!("{place}: {done}"));
        services.audit(Phase::Outcome, &caller.arn, self.name, subject, &outcome).await?;
        done
    }
}

/// What became of the recovery points.
#[derive(Debug, Default)]
struct Done {
    changed: Vec<RecoveryPointId>,
    counted: Counted,
    refused: Vec<(RecoveryPointId, ErrorReport)>,
}

impl Done {
    fn of(counted: Counted) -> Self {
        Self { counted, ..Self::default() }
    }

    /// Notes what became of one. A refusal of the only one is the answer; among many it harms only itself.
    fn note<E: Coded>(&mut self, point: RecoveryPointId, outcome: Result<bool, E>, only: bool) -> Result<(), ErrorReport> {
        match outcome {
            Ok(true) => self.changed.push(point),
            Ok(false) => self.counted.already += 1,
            Err(error) if only => return Err(error.into()),
            Err(error) => self.refused.push((point, error.into())),
        }
        Ok(())
    }

    fn shown(&self, tenant: &TenantId, hold: &Value) -> Value {
        let refused = self.refused.iter().take(caps::HELD_POINTS_NAMED_MAX);
        json!({
            "tenant": tenant,
            "hold": hold,
            "points": self.changed.iter().take(caps::HELD_POINTS_NAMED_MAX).collect::<Vec<_>>(),
            "changed": self.changed.len(),
            "already": self.counted.already,
            "left": self.counted.left,
            "refused": self.refused.len(),
            "refusals": refused
                .map(|(point, report)| json!({ "point": point, "code": report.code.name(), "message": report.message }))
                .collect::<Vec<_>>(),
        })
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counted { already, left } = self.counted;
        write!(
            f,
            "{} changed, {already} were so already, {left} left to a further call, {} refused",
            self.changed.len(),
            self.refused.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use domain::{
        point::{Content, Proof, State},
        slot::Slot,
    };

    use super::*;

    fn at(day: u8) -> Timestamp {
        format!("2026-11-{day:02}T12:00:00Z").parse().unwrap()
    }

    fn point(day: u8, holds: &[(&str, Option<u8>)]) -> RecoveryPoint {
        let subject = Subject::Tenant("acme".parse().unwrap());
        let slot = Slot { rule: "daily".into(), scheduled_time: at(day), subject, kind: Kind::Database };
        let run = "run_00000000-0000-0000-0000-000000000003".parse().unwrap();
        let content = Content::Snapshot { identifier: "i".into(), arn: "a".into(), settings: Value::Null, copied: None };
        let hold = |(reason, until): &(&str, Option<u8>)| Hold {
            reason: (*reason).into(),
            owner: format!("placed on {day}"),
            placed_at: at(day),
            until: until.map(at),
        };
        RecoveryPoint {
            state: State::Available { at: at(day), content },
            proof: Proof::Unproven,
            holds: holds.iter().map(hold).collect(),
            ..RecoveryPoint::begin(&slot, run, at(day))
        }
    }

    #[test]
    fn a_hold_on_many_recovery_points_is_listed_once_with_who_placed_it_first() {
        let points = [point(3, &[("case", None)]), point(2, &[("case", None), ("audit", Some(4))]), point(1, &[])];
        let listed = grouped(&"acme".parse().unwrap(), &points, at(5));
        assert_eq!(listed.len(), 2, "{listed:?}");
        assert_eq!(
            (&listed[0]["reason"], &listed[0]["over"], &listed[0]["points_count"]),
            (&json!("audit"), &json!(true), &json!(1))
        );
        assert_eq!((&listed[1]["owner"], &listed[1]["points_count"]), (&json!("placed on 2"), &json!(2)));
    }

    #[test]
    fn what_is_refused_among_many_harms_only_itself_and_alone_is_the_answer() {
        let refused = || Err(domain::point::HoldError::TooMany { point: point(1, &[]).id });
        let mut done = Done::of(Counted { already: 2, left: 1 });
        done.note(point(1, &[]).id, refused(), false).unwrap();
        done.note::<domain::point::HoldError>(point(2, &[]).id, Ok(true), false).unwrap();
        done.note::<domain::point::HoldError>(point(3, &[]).id, Ok(false), false).unwrap();
        assert_eq!(done.to_string(), "1 changed, 3 were so already, 1 left to a further call, 1 refused");
        assert_eq!(done.shown(&"acme".parse().unwrap(), &Value::Null)["refusals"][0]["code"], "MalformedEvent");
        assert!(done.note(point(1, &[]).id, refused(), true).is_err());
    }
}
