//! What the policies say about an act, asked where a call comes in and again where the work is done.
//!
//! Every decision is logged with the policies that made it; one about more than looking is written to the audit trail too.

use std::sync::OnceLock;

pub use authorisation::Action;
use authorisation::{Act, Asked, Authoriser, Decision, Place, PolicyError};
use catalog::audit::Phase;
use domain::{
    ErrorCode, ErrorReport,
    access::Who,
    identity::Identity,
    plan::Plan,
    register::Tenant,
    request::{Approval, RestoreRequest},
};

use crate::services::Services;

/// The most people besides the one who asks that a policy can ask for.
const APPROVALS_MAX: u8 = 3;

/// Which decisions are logged and audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Recorded {
    /// All of them.
    Always,
    /// Only refusals: what was allowed is asked again, and recorded, where it is done.
    Refusals,
    /// None: somebody wants to know.
    Nothing,
}

impl Services {
    /// Lets `caller` do `act`, or refuses it.
    ///
    /// # Errors
    /// `NotPermitted`, with the role that is missing or the policy that forbids it.
    pub async fn permit(&self, plan: &Plan, caller: &Identity, act: &Act<'_>) -> Result<(), ErrorReport> {
        self.ask(plan, caller, act, Recorded::Always).await
    }

    /// Lets a request be made as it is, if it could also be carried out, and refuses it otherwise. Records a refusal: that the verb was
    /// permitted has been recorded before.
    ///
    /// # Errors
    /// `NotPermitted` if whoever asks may not ask for this, or nobody's agreement would be enough.
    pub async fn permit_request(&self, plan: &Plan, request: &RestoreRequest) -> Result<(), ErrorReport> {
        let tenant = self.tenant(&request.tenant).await?.tenant;
        self.needed(plan, request, &tenant, Recorded::Refusals).await.map(|_| ())
    }

    /// How many other people must agree before this restore may be carried out, as of now. Records nothing: nothing is done yet.
    ///
    /// # Errors
    /// `NotPermitted` if whoever asked may not ask for it (any more), or nobody's agreement would be enough.
    pub async fn approvals_needed(&self, plan: &Plan, request: &RestoreRequest) -> Result<u8, ErrorReport> {
        let tenant = self.tenant(&request.tenant).await?.tenant;
        self.needed(plan, request, &tenant, Recorded::Nothing).await
    }

    /// How many other people must have agreed, after making sure that everybody concerned may still do what they did. `tenant` is the
    /// register's row of this moment: the catalog's memory of a tenant's class must not decide how many it takes.
    ///
    /// # Errors
    /// `NotPermitted` if somebody may not any more.
    pub async fn still_permitted(&self, plan: &Plan, request: &RestoreRequest, tenant: &Tenant) -> Result<u8, ErrorReport> {
        let needed = self.needed(plan, request, tenant, Recorded::Always).await?;
        for Approval { by, break_glass, .. } in request.state.approvals() {
            let action = if break_glass.is_some() { Action::BreakGlass } else { Action::ApproveRestore };
            let permitted = self.permit(plan, by, &about(plan, action, tenant, request, by)).await;
            permitted.map_err(|report| {
                ErrorReport::new(report.code, format!("restore request {} stops: {}", request.id, report.message))
            })?;
        }
        Ok(needed)
    }

    /// How many other people must agree before the environment may be recovered, as of now. Records nothing: nothing is done yet.
    ///
    /// # Errors
    /// `NotPermitted` if whoever asked may not ask for it (any more), or nobody's agreement would be enough.
    pub async fn recovery_approvals_needed(&self, plan: &Plan, requested_by: &Identity) -> Result<u8, ErrorReport> {
        self.ask(plan, requested_by, &recovery(plan, Action::RequestRecovery, true), Recorded::Nothing).await?;
        self.fewest(plan, requested_by, recovery(plan, Action::CarryOutRecovery, true), Recorded::Nothing).await
    }

    /// The fewest approvals with which an act that `by` may ask for may be carried out; `recorded` if it is about to be.
    pub(crate) async fn fewest_for(
        &self,
        plan: &Plan,
        by: &Identity,
        (ask, carry_out): (Act<'_>, Act<'_>),
        recorded: bool,
    ) -> Result<u8, ErrorReport> {
        let recorded = if recorded { Recorded::Always } else { Recorded::Nothing };
        self.ask(plan, by, &ask, recorded).await?;
        self.fewest(plan, by, carry_out, recorded).await
    }

    async fn needed(
        &self,
        plan: &Plan,
        request: &RestoreRequest,
        tenant: &Tenant,
        recorded: Recorded,
    ) -> Result<u8, ErrorReport> {
        let by = &request.requested_by;
        self.ask(plan, by, &about(plan, Action::RequestRestore, tenant, request, by), recorded).await?;
        self.fewest(plan, by, about(plan, Action::CarryOut, tenant, request, by), recorded).await
    }

    /// The fewest approvals with which the policies let an act be carried out.
    async fn fewest(&self, plan: &Plan, by: &Identity, act: Act<'_>, recorded: Recorded) -> Result<u8, ErrorReport> {
        let policies = authoriser()?;
        let with = |approvals| Act { asked: Asked { approvals, ..act.asked }, ..act };
        let enough = |approvals: &u8| policies.decide(&plan.access, by, &with(*approvals)).allowed;
        let fewest = (1..=APPROVALS_MAX).find(enough).unwrap_or(APPROVALS_MAX);
        self.ask(plan, by, &with(fewest), recorded).await.map(|()| fewest)
    }

    async fn ask(&self, plan: &Plan, caller: &Identity, act: &Act<'_>, recorded: Recorded) -> Result<(), ErrorReport> {
        let policies = authoriser()?;
        let decision = policies.decide(&plan.access, caller, act);
        if recorded == Recorded::Always || (recorded == Recorded::Refusals && !decision.allowed) {
            self.record(caller, act, &decision).await?;
        }
        if decision.allowed { Ok(()) } else { Err(refusal(policies, plan, caller, act, &decision)) }
    }

    async fn record(&self, caller: &Identity, act: &Act<'_>, decision: &Decision) -> Result<(), ErrorReport> {
        let (action, subject, policies) = (act.action.name(), subject(act), decision.ids().join(","));
        let (caller, allowed, error) = (&caller.arn, decision.allowed, decision.errors.join("; "));
        if allowed {
            tracing::info!(caller, action, subject, allowed, policies, "{decision}");
        } else {
            tracing::warn!(caller, action, subject, allowed, policies, error, "{decision}");
        }
        if matches!(act.action, Action::Look | Action::Audit) {
            return Ok(());
        }
        let detail = match act.action {
            Action::CarryOut | Action::CarryOutRecovery | Action::CarryOutErasure => {
                format!("{decision}, with {} approvals", act.asked.approvals)
            }
            _ => decision.to_string(),
        };
        self.audit(Phase::Outcome, caller, &format!("authorise.{action}"), &subject, &detail).await
    }
}

/// What somebody does to a restore, as the policies are asked about it.
#[must_use]
pub fn about<'a>(plan: &'a Plan, action: Action, tenant: &'a Tenant, request: &RestoreRequest, by: &Identity) -> Act<'a> {
    let asked_it = by.is_same_person(&request.requested_by);
    let did_it = || request.state.approvals().iter().any(|approval| by.is_same_person(&approval.by));
    let own = asked_it || (action == Action::ReviewRestore && did_it());
    let asked = Asked { mode: request.mode.name(), kind: request.kind, own, approvals: 0 };
    Act { action, environment: &plan.environment, tenant: Some(Place::from(tenant)), asked }
}

/// What somebody does to the recovery of the environment; `own` if it is, or could be, they who asked for it.
#[must_use]
pub fn recovery(plan: &Plan, action: Action, own: bool) -> Act<'_> {
    Act { action, environment: &plan.environment, tenant: None, asked: Asked { own, ..Asked::default() } }
}

/// The policies, read once in the life of the process, and only in functions that ask.
fn authoriser() -> Result<&'static Authoriser, PolicyError> {
    static AUTHORISER: OnceLock<Result<Authoriser, PolicyError>> = OnceLock::new();
    AUTHORISER.get_or_init(Authoriser::new).as_ref().map_err(Clone::clone)
}

fn subject(act: &Act<'_>) -> String {
    act.tenant.map_or_else(|| act.environment.to_owned(), |place| place.tenant.to_string())
}

fn refusal(policies: &Authoriser, plan: &Plan, caller: &Identity, act: &Act<'_>, decision: &Decision) -> ErrorReport {
    let who = Who::of(caller).map_or_else(|| caller.arn.clone(), |who| who.to_string());
    let over = act.tenant.map_or_else(|| "all tenants (`*`)".to_owned(), |place| format!("tenant {}", place.tenant));
    let missing: Vec<&str> = policies.missing(&plan.access, caller, act).into_iter().map(|role| role.name()).collect();
    let why = if plan.access.is_empty() {
        "the backup plan grants nobody anything; whoever keeps the plan adds `access` to it, such as \
         [{\"who\": \"NAME\", \"roles\": [\"operator\"], \"tenants\": [\"*\"]}] (infra/plan.schema.json)"
            .to_owned()
    } else if !decision.errors.is_empty() {
        format!("the policies could not be evaluated: {}", decision.errors.join("; "))
    } else if !decision.reasons.is_empty() {
        let says = decision.reasons.iter().map(|reason| format!("{} (policy {})", reason.says, reason.id));
        says.collect::<Vec<_>>().join("; ")
    } else if missing.is_empty() {
        format!("no role over {over} permits it; infra/policy/holdfast.cedar says what is permitted")
    } else {
        format!("it takes the role {} over {over}; whoever keeps the backup plan grants it in `access`", missing.join(" or "))
    };
    ErrorReport::new(ErrorCode::NotPermitted, format!("{who} may not {}: {why}", act.action.name()))
}

#[cfg(test)]
mod tests {
    use domain::RequestId;
    use serde_json::json;

    use super::*;

    fn plan(access: serde_json::Value) -> Plan {
        let plan = json!({
            "version": 1, "environment": "test", "time_zone": "UTC", "register": { "database": "central", "query": "SELECT" },
            "databases": [{ "id": "central", "instance": "i", "database": "d", "secret": "s" }], "rules": [],
            "retention": { "keep_all_days": 7, "daily": 1, "weekly": 1, "monthly": 1, "yearly": 1, "min_proven": 1, "max_expire_per_run": 1, "apply": false },
            "access": access,
        });
        Plan::parse(&plan.to_string()).unwrap()
    }

    fn person(name: &str) -> Identity {
        Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() }
    }

    fn tenant() -> Tenant {
        serde_json::from_value(json!({
            "id": "acme", "database_id": "central", "layout": "database", "database": "d", "criticality": "standard",
            "time_zone": "UTC", "status": "active", "created_at": "2024-01-01T00:00:00Z",
        }))
        .unwrap()
    }

    fn refused(plan: &Plan, caller: &Identity, action: Action) -> String {
        let (tenant, policies) = (tenant(), authoriser().unwrap());
        let id = RequestId::from_uuid(Default::default());
        let point = (domain::RecoveryPointId::from_uuid(Default::default()), domain::point::Kind::Database);
        let now = jiff::Timestamp::UNIX_EPOCH;
        let request = RestoreRequest::new(id, tenant.id.clone(), point, "gone".into(), person("ana"), now);
        let act = about(plan, action, &tenant, &request, caller);
        let decision = policies.decide(&plan.access, caller, &act);
        assert!(!decision.allowed, "{decision}");
        let report = refusal(policies, plan, caller, &act, &decision);
        assert_eq!(report.code, ErrorCode::NotPermitted);
        report.message
    }

    #[test]
    fn who_is_refused_learns_what_is_missing_and_who_can_change_it() {
        let some = plan(json!([
            { "who": "ana", "roles": ["operator", "approver"], "tenants": ["acme"] },
            { "who": "role/deploy", "roles": ["operator"], "tenants": ["*"] },
        ]));
        let said = refused(&some, &person("ben"), Action::ApproveRestore);
        assert_eq!(
            said,
            "ben may not approve_restore: it takes the role approver over tenant acme; whoever keeps the backup plan grants it in `access`"
        );
        let said = refused(&some, &person("ana"), Action::ApproveRestore);
        assert!(
            said.contains("ana may not approve_restore: nobody approves or reviews") && said.contains("somebody-else-agrees")
        );
        let session = "arn:aws:sts::1:assumed-role/deploy/ana";
        let deploy = Identity { arn: session.into(), principal: "R:ana".into(), account: "1".into() };
        let said = refused(&some, &deploy, Action::RequestRestore);
        assert!(said.starts_with("role/deploy may not request_restore: a session of an IAM role may be anybody's"), "{said}");
        let said = refused(&plan(json!([])), &person("ana"), Action::Look);
        assert!(said.contains("grants nobody anything; whoever keeps the plan adds `access`"), "{said}");
    }
}
