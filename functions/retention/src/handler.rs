//! Retention: decides over every recovery point with all reasons, records the decisions, and carries them out if the plan says so.
//!
//! Expiring is a change of state in the catalog. What nobody needs after it is deleted by the sweep, a tick of its own.

use domain::{ErrorCode, ErrorReport, alert::AlertClass, order::from_the_days_start, plan::Plan, retention::Policy};
use jiff::Timestamp;
use runtime::{
    Event, Invocation,
    services::{Said, Services},
};
use serde_json::{Value, json};

use crate::{
    policy,
    run::{Run, Tally},
    sweep,
};

/// The built-in rule of this function's schedule.
const DAILY: &str = "retention-daily";

/// Serves one event.
pub(crate) async fn handle(services: &Services, event: Event, invocation: &Invocation) -> Result<Value, ErrorReport> {
    match event {
        Event::Tick { rule, scheduled_time } if rule == DAILY => daily(services, invocation, scheduled_time).await,
        Event::Tick { rule, scheduled_time } if rule == sweep::DAILY => sweep::daily(services, invocation, scheduled_time).await,
        Event::Tick { rule, .. } => {
            let message = format!("retention has no rule `{rule}`; its schedules' ticks name `{DAILY}` and `{}`", sweep::DAILY);
            Err(ErrorReport::new(ErrorCode::UnknownRule, message))
        }
        other => Err(other.refused("retention", "a tick").into()),
    }
}

async fn daily(services: &Services, invocation: &Invocation, scheduled_time: Timestamp) -> Result<Value, ErrorReport> {
    let plan = services.plan().await?;
    let in_force = policy::take(services, &plan).await?;
    let policy = &in_force.terms.policy;
    let judged = from_the_days_start(services.catalog.judged(&plan).await?, scheduled_time);
    let mut run = Run::begin(services, invocation, &in_force.terms, scheduled_time, &judged).await?;
    let mut failures: Vec<ErrorReport> = Vec::new();
    for (subject, kind) in judged {
        if let Err(report) = invocation.deadline.check(&format!("the retention of {subject}")) {
            failures.push(report);
            break;
        }
        // One subject's trouble is not the others': they go on, and the invocation fails at its end.
        if let Err(report) = run.judge(&subject, kind).await {
            let (code, kind) = (report.code, kind.name());
            tracing::error!(error.code = code.name(), subject = %subject, kind, "{}", report.message);
            failures.push(ErrorReport::new(code, format!("{subject}, {kind}: {}", report.message)));
        }
    }
    let tally = run.tally;
    tell_if_capped(services, &plan, policy, &tally, failures.is_empty()).await?;
    if let Some(first) = failures.first() {
        let message = format!("retention was not done for {} subjects, of which the first: {}", failures.len(), first.message);
        return Err(ErrorReport::new(first.code, message));
    }
    let Tally { kept, due, named, expired, capped } = tally;
    Ok(json!({
        "policy": in_force.terms.version(), "waiting": in_force.waiting.map(|waiting| waiting.terms.version()),
        "applied": policy.apply, "kept": kept, "due": due, "named": named, "expired": expired, "capped": capped,
    }))
}

async fn tell_if_capped(
    services: &Services,
    plan: &Plan,
    policy: &Policy,
    tally: &Tally,
    complete: bool,
) -> Result<(), ErrorReport> {
    const SUBJECT: &str = "retention";
    if tally.capped > 0 {
        let said = Said {
            summary: format!(
                "retention would expire {} more recovery points than one run may ({})",
                tally.capped, policy.max_expire_per_run
            ),
            meaning: "they are kept for now; a sudden flood is often a mistake in the policy or in the clock".to_owned(),
            remedy: "look at `holdfast retention plan --explain`; if it is right, later runs expire the rest".to_owned(),
        };
        services.raise(plan, AlertClass::RetentionCapped, SUBJECT, said).await
    } else if complete {
        services.all_clear(AlertClass::RetentionCapped, SUBJECT).await
    } else {
        Ok(())
    }
}
