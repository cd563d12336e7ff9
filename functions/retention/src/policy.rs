//! The policy that decides: the plan's, unless it shortens what was in force and too few people have agreed to that.

use catalog::audit::Phase;
use domain::{
    ErrorReport,
    alert::AlertClass,
    plan::Plan,
    retention::{AGREE_MIN, InForce, Waiting},
};
use runtime::services::{Said, Services};

const SUBJECT: &str = "retention policy";

/// Takes over what the plan asks for, as far as it may be, and tells of what waits.
pub(crate) async fn take(services: &Services, plan: &Plan) -> Result<InForce, ErrorReport> {
    let in_force = services.catalog.take_policy(&plan.terms(), services.clock.now()).await?;
    match &in_force.waiting {
        Some(waiting) => services.raise(plan, AlertClass::RetentionShortened, SUBJECT, said(&in_force, waiting)).await?,
        None => services.all_clear(AlertClass::RetentionShortened, SUBJECT).await?,
    }
    let detail = match &in_force.waiting {
        Some(waiting) => format!("{} decides; {} waits", in_force.terms.version(), waiting.terms.version()),
        None => format!("{} decides", in_force.terms.version()),
    };
    services.audit(Phase::Outcome, "retention", "retention.policy", SUBJECT, &detail).await?;
    Ok(in_force)
}

fn said(in_force: &InForce, waiting: &Waiting) -> Said {
    let version = waiting.terms.version();
    Said {
        summary: format!(
            "the plan's retention policy lets more go than the one in force: {}",
            waiting.terms.shorten(&in_force.terms).join("; ")
        ),
        meaning: format!(
            "the policy of {} goes on deciding until {AGREE_MIN} people have agreed to the new one; {} have",
            in_force.since,
            waiting.agreed.len()
        ),
        remedy: format!(
            "look at `holdfast retention plan`; if it is meant, {AGREE_MIN} people run `holdfast retention approve {version}`, else put the plan back"
        ),
    }
}
