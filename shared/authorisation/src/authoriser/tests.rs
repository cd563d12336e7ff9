//! The cases beside the policies: who is permitted what, by which policy; and that no policy is there for nothing.

use std::collections::{BTreeMap, BTreeSet};

use domain::{TenantId, point::Kind};
use serde::Deserialize;

use super::*;
use crate::act::{Asked, Place};

/// An act as the tables write it; what a line leaves out is ordinary.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Line {
    action: String,
    environment: String,
    tenant: Option<TenantId>,
    class: String,
    layout: String,
    mode: String,
    kind: Kind,
    own: bool,
    approvals: u8,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            action: String::new(),
            environment: "demo".into(),
            tenant: Some("acme".parse().unwrap()),
            class: "standard".into(),
            layout: "database".into(),
            mode: "in-place".into(),
            kind: Kind::Database,
            own: false,
            approvals: 0,
        }
    }
}

impl Line {
    fn action(&self) -> Action {
        *Action::ALL.iter().find(|action| action.name() == self.action).unwrap_or_else(|| panic!("no action {}", self.action))
    }

    fn act(&self) -> Act<'_> {
        let place = |tenant| Place { tenant, class: &self.class, layout: &self.layout };
        Act {
            action: self.action(),
            environment: &self.environment,
            tenant: self.tenant.as_ref().map(place),
            asked: Asked { mode: &self.mode, kind: self.kind, own: self.own, approvals: self.approvals },
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    grants: Vec<Grant>,
    cases: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    says: String,
    grants: Option<Vec<Grant>>,
    caller: String,
    act: Line,
    allowed: bool,
    by: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    act: Line,
    permitted: BTreeMap<Role, String>,
}

fn cases() -> Cases {
    serde_json::from_str(include_str!("../../../../infra/policy/cases.json")).unwrap()
}

fn matrix() -> Vec<Row> {
    serde_json::from_str(include_str!("../../../../infra/policy/matrix.json")).unwrap()
}

fn caller(name: &str) -> Identity {
    let arn = if name.starts_with("arn:") { name.to_owned() } else { format!("arn:aws:iam::1:user/{name}") };
    Identity { principal: arn.clone(), arn, account: "1".into() }
}

/// Everything that the tables say, answered by these policies: whether it is allowed, and by what.
fn answers(policies: &Authoriser) -> Vec<(String, Decision)> {
    let Cases { grants, cases } = cases();
    let decide = |case: Case| {
        let grants = case.grants.as_ref().unwrap_or(&grants);
        (case.says, policies.decide(grants, &caller(&case.caller), &case.act.act()))
    };
    let mut answers: Vec<_> = cases.into_iter().map(decide).collect();
    for row in matrix() {
        for role in Role::ALL {
            let decision = policies.decide_with(&BTreeSet::from([role]), &caller("ana"), &row.act.act());
            answers.push((format!("{} {:?}", role.name(), row.act), decision));
        }
    }
    answers
}

#[test]
fn each_case_is_decided_as_the_table_says_and_by_that_policy() {
    let policies = Authoriser::new().unwrap();
    let Cases { grants, cases } = cases();
    for case in cases {
        let grants = case.grants.as_ref().unwrap_or(&grants);
        let decision = policies.decide(grants, &caller(&case.caller), &case.act.act());
        assert_eq!(
            (decision.allowed, decision.ids()),
            (case.allowed, case.by.iter().map(String::as_str).collect()),
            "{}",
            case.says
        );
        assert_eq!(decision.errors, [""; 0], "{}", case.says);
    }
}

#[test]
fn each_role_is_permitted_what_the_matrix_says_and_nothing_else() {
    let policies = Authoriser::new().unwrap();
    let rows = matrix();
    let covered: BTreeSet<Action> = rows.iter().map(|row| row.act.action()).collect();
    assert_eq!(covered, Action::ALL.iter().copied().collect(), "every action has a row");
    for Row { act, permitted } in rows {
        for role in Role::ALL {
            let decision = policies.decide_with(&BTreeSet::from([role]), &caller("ana"), &act.act());
            let expected = permitted.get(&role).map(String::as_str);
            assert_eq!(decision.allowed, expected.is_some(), "{role:?} {act:?}: {decision}");
            if let Some(policy) = expected {
                assert_eq!(decision.ids(), [policy], "{role:?} {act:?}");
            }
            assert_eq!(decision.errors, [""; 0], "{role:?} {act:?}");
        }
        let nobody = policies.decide_with(&BTreeSet::new(), &caller("ana"), &act.act());
        assert!(!nobody.allowed, "without a role: {act:?}");
    }
}

#[test]
fn no_policy_is_there_for_nothing() {
    let policies = Authoriser::new().unwrap();
    let expected = answers(&policies);
    let ids: Vec<PolicyId> = policies.policies.policies().map(|policy| policy.id().clone()).collect();
    assert!(ids.len() > 20, "{ids:?}");
    for id in ids {
        let mut fewer = policies.policies.clone();
        fewer.remove_static(id.clone()).unwrap();
        let fewer = Authoriser { policies: fewer, schema: policies.schema.clone(), types: Types::new().unwrap() };
        let same = answers(&fewer).iter().zip(&expected).all(|((_, now), (_, then))| now.allowed == then.allowed);
        assert!(!same, "without {id} every case is decided as with it");
    }
}

#[test]
fn an_act_on_something_else_than_the_schema_says_is_refused() {
    let policies = Authoriser::new().unwrap();
    let all = Role::ALL.into_iter().collect();
    for (action, tenant) in [("run", None), ("audit", Some("acme")), ("carry_out", None), ("request_recovery", Some("acme"))] {
        let act = Line { action: action.into(), tenant: tenant.map(|id| id.parse().unwrap()), ..Line::default() };
        let decision = policies.decide_with(&all, &caller("ana"), &act.act());
        assert!(!decision.allowed && !decision.errors.is_empty(), "{action}: {decision}");
    }
}

#[test]
fn what_a_missing_role_would_permit_is_told() {
    let policies = Authoriser::new().unwrap();
    let grants = cases().grants;
    let missing = |act: Line| policies.missing(&grants, &caller("zoe"), &act.act());
    assert_eq!(missing(Line { action: "review_restore".into(), ..Line::default() }), [Role::Approver, Role::Auditor]);
    assert_eq!(missing(Line { action: "run".into(), ..Line::default() }), [Role::Operator]);
    assert_eq!(missing(Line { action: "approve_restore".into(), own: true, ..Line::default() }), []);
}

#[test]
fn policies_that_cannot_be_trusted_to_say_what_they_mean_are_refused() {
    let refused = |policy: &str, expected: &str| {
        let error = Authoriser::from_text(policy, SCHEMA).unwrap_err().to_string();
        assert!(error.contains(expected), "{error:?} does not say {expected:?}");
    };
    let named = |policy: &str| format!("@id(\"p\") @says(\"s\") {policy}");
    refused("permit (principal, action, resource);", "@id");
    refused("@id(\"p\") permit (principal, action, resource);", "@says");
    let look = "permit (principal, action == Holdfast::Action::\"look\", resource)";
    refused(&named(&format!("{look} when {{ principal in Holdfast::Role::\"opertor\" }};")), "opertor");
    refused(&named(&format!("{look} when {{ context.mode == \"in-place\" }};")), "mode");
    refused(&named("permit (principal, action == Holdfast::Action::\"lok\", resource);"), "lok");
    refused(&named(&format!("{look} when {{ resource.class == \"critical\" }};")), "class");
    refused(&format!("{0} {0}", named(&format!("{look};"))), "p");
    refused("permit (", "");
}

#[test]
fn a_policy_that_fails_to_be_evaluated_refuses_the_act() {
    let overflows = "@id(\"fails\") @says(\"s\") forbid (principal, action == Holdfast::Action::\"carry_out\", resource)
        when { context.approvals + 9223372036854775807 < 0 };";
    let policies = Authoriser::from_text(&format!("{POLICIES}\n{overflows}"), SCHEMA).unwrap();
    let act = Line { action: "carry_out".into(), approvals: 1, ..Line::default() };
    let roles = BTreeSet::from([Role::Operator]);
    assert!(Authoriser::new().unwrap().decide_with(&roles, &caller("ana"), &act.act()).allowed, "without it, it is allowed");
    let decision = policies.decide_with(&roles, &caller("ana"), &act.act());
    assert!(!decision.allowed, "{decision}");
    assert!(decision.errors[0].contains("fails"), "{decision}");
}
