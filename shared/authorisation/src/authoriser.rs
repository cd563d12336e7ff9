//! The policies, and the one question to them.

use std::collections::{BTreeSet, HashMap, HashSet};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, PolicyId, PolicySet, Request,
    RestrictedExpression, Schema, ValidationMode, Validator,
};
use domain::{
    access::{Grant, Role, Who, roles_of},
    error::{Coded, ErrorCode},
    identity::Identity,
};

use crate::{
    act::{Act, Action},
    decision::{Decision, Reason},
};

const POLICIES: &str = include_str!("../../../infra/policy/holdfast.cedar");
const SCHEMA: &str = include_str!("../../../infra/policy/holdfast.cedarschema");

/// Policies that cannot be used. They are compiled in and tested, so this is a build that should not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policies of this build cannot be used, so nothing is permitted: {problem}; deploy a build whose tests have run")]
pub struct PolicyError {
    problem: String,
}

impl Coded for PolicyError {
    fn code(&self) -> ErrorCode {
        ErrorCode::NotConfigured
    }
}

/// Answers whether somebody may do something.
#[derive(Debug)]
pub struct Authoriser {
    policies: PolicySet,
    schema: Schema,
    types: Types,
}

#[derive(Debug)]
struct Types {
    role: EntityTypeName,
    caller: EntityTypeName,
    environment: EntityTypeName,
    tenant: EntityTypeName,
    action: EntityTypeName,
}

impl Authoriser {
    /// Reads the compiled-in policies and holds them against their schema.
    ///
    /// # Errors
    /// If they do not parse, say something that the schema does not know, or lack an id of their own.
    pub fn new() -> Result<Self, PolicyError> {
        Self::from_text(POLICIES, SCHEMA)
    }

    /// Reads policies and their schema.
    ///
    /// # Errors
    /// As [`Authoriser::new`].
    pub fn from_text(policies: &str, schema: &str) -> Result<Self, PolicyError> {
        let problem = |problem: String| PolicyError { problem };
        let (schema, _) = Schema::from_cedarschema_str(schema).map_err(|error| problem(error.to_string()))?;
        let read: PolicySet = policies.parse().map_err(|error: cedar_policy::ParseErrors| problem(error.to_string()))?;
        let mut named = PolicySet::new();
        for policy in read.policies() {
            let id = policy.annotation("id").filter(|_| policy.annotation("says").is_some());
            let id = id.ok_or_else(|| problem(format!("a policy lacks its @id or @says: {policy}")))?;
            named.add(policy.new_id(PolicyId::new(id))).map_err(|error| problem(error.to_string()))?;
        }
        let validated = Validator::new(schema.clone()).validate(&named, ValidationMode::Strict);
        // Warnings too: a policy that can never apply is a mistake.
        let mut said = validated.validation_errors().map(ToString::to_string);
        let mut warned = validated.validation_warnings().map(ToString::to_string);
        match said.next().or_else(|| warned.next()) {
            Some(found) => Err(problem(found)),
            None => Ok(Self { policies: named, schema, types: Types::new()? }),
        }
    }

    /// Whether `caller` may do `act`, by the roles that the grants give them over what it is done to.
    #[must_use]
    pub fn decide(&self, grants: &[Grant], caller: &Identity, act: &Act<'_>) -> Decision {
        if cfg!(feature = "unguarded") {
            let says = "this build permits everything to everybody; it is for tests".to_owned();
            return Decision { allowed: true, reasons: vec![Reason { id: "unguarded".to_owned(), says }], errors: vec![] };
        }
        let over = act.tenant.map(|place| (place.tenant, place.class));
        let roles = Who::of(caller).map(|who| roles_of(grants, &who, over)).unwrap_or_default();
        self.decide_with(&roles, caller, act)
    }

    /// The roles of which each, if `caller` held it as well, would permit `act`: for the message to somebody who was refused.
    #[must_use]
    pub fn missing(&self, grants: &[Grant], caller: &Identity, act: &Act<'_>) -> Vec<Role> {
        let over = act.tenant.map(|place| (place.tenant, place.class));
        let held = Who::of(caller).map(|who| roles_of(grants, &who, over)).unwrap_or_default();
        let would_do = |role: &Role| {
            let roles = held.iter().copied().chain([*role]).collect();
            self.decide_with(&roles, caller, act).allowed
        };
        Role::ALL.into_iter().filter(would_do).collect()
    }

    fn decide_with(&self, roles: &BTreeSet<Role>, caller: &Identity, act: &Act<'_>) -> Decision {
        match self.question(roles, caller, act) {
            Ok((request, entities)) => {
                let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
                let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
                let mut reasons: Vec<Reason> = response.diagnostics().reason().map(|id| self.reason(id)).collect();
                reasons.sort_by(|one, other| one.id.cmp(&other.id));
                // Cedar passes over a policy that fails, a `forbid` too.
                let allowed = response.decision() == cedar_policy::Decision::Allow && errors.is_empty();
                Decision { allowed, reasons, errors }
            }
            Err(error) => Decision { allowed: false, reasons: vec![], errors: vec![error] },
        }
    }

    fn question(&self, roles: &BTreeSet<Role>, caller: &Identity, act: &Act<'_>) -> Result<(Request, Entities), String> {
        let uid = |kind: &EntityTypeName, id: &str| EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id));
        let types = &self.types;
        let name = Who::of(caller).map_or_else(|| caller.arn.clone(), |who| who.to_string());
        let person = RestrictedExpression::new_bool(caller.person().is_some());
        let held: HashSet<EntityUid> = roles.iter().map(|role| uid(&types.role, role.name())).collect();
        let principal = Entity::new(uid(&types.caller, &name), HashMap::from([("person".to_owned(), person)]), held)
            .map_err(|error| error.to_string())?;
        let resource = match act.tenant {
            None => Entity::new_no_attrs(uid(&types.environment, act.environment), HashSet::new()),
            Some(place) => {
                let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
                let attributes =
                    HashMap::from([("class".to_owned(), text(place.class)), ("layout".to_owned(), text(place.layout))]);
                Entity::new(uid(&types.tenant, place.tenant.as_str()), attributes, HashSet::new())
                    .map_err(|error| error.to_string())?
            }
        };
        let request = Request::new(
            principal.uid(),
            uid(&types.action, act.action.name()),
            resource.uid(),
            context(act)?,
            // Whatever the schema does not know is refused here, such as an act on a tenant that is one on the environment.
            Some(&self.schema),
        );
        let entities = Entities::from_entities([principal, resource], Some(&self.schema)).map_err(|error| error.to_string())?;
        Ok((request.map_err(|error| error.to_string())?, entities))
    }

    fn reason(&self, id: &PolicyId) -> Reason {
        let says = self.policies.annotation(id, "says").unwrap_or_default().to_owned();
        Reason { id: id.to_string(), says }
    }
}

fn context(act: &Act<'_>) -> Result<Context, String> {
    use RestrictedExpression as Value;
    let asked = act.asked;
    // However the plan spells it: a policy for `prod*` is meant for `Production`, too.
    let environment = ("environment", Value::new_string(act.environment.to_lowercase()));
    let own = ("own", Value::new_bool(asked.own));
    let approvals = ("approvals", Value::new_long(i64::from(asked.approvals)));
    let mode = ("mode", Value::new_string(asked.mode.to_owned()));
    let kind = ("kind", Value::new_string(asked.kind.name().to_owned()));
    let pairs = match act.action {
        Action::Look
        | Action::Audit
        | Action::Run
        | Action::RebuildCatalog
        | Action::PlaceHold
        | Action::ReleaseHold
        | Action::ShortenRetention => {
            vec![environment]
        }
        Action::RequestRestore | Action::ApproveRestore | Action::BreakGlass | Action::ReviewRestore => {
            vec![environment, mode, kind, own]
        }
        Action::CarryOut => vec![environment, mode, kind, approvals],
        Action::RequestErasure | Action::ApproveErasure | Action::RequestRecovery | Action::ApproveRecovery => {
            vec![environment, own]
        }
        Action::CarryOutErasure | Action::CarryOutRecovery => vec![environment, approvals],
    };
    let pairs = pairs.into_iter().map(|(name, value)| (name.to_owned(), value));
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

impl Types {
    fn new() -> Result<Self, PolicyError> {
        let name = |name: &str| {
            let full = format!("Holdfast::{name}");
            full.parse().map_err(|error: cedar_policy::ParseErrors| PolicyError { problem: error.to_string() })
        };
        Ok(Self {
            role: name("Role")?,
            caller: name("Caller")?,
            environment: name("Environment")?,
            tenant: name("Tenant")?,
            action: name("Action")?,
        })
    }
}

#[cfg(test)]
mod tests;
