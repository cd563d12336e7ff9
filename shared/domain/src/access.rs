//! Who holds which role over which tenants: the plan's `access`. What a role may do is said by the policies in `infra/policy`.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{identity::Identity, tenant::TenantId};

/// What somebody is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks.
    Viewer,
    /// Runs backups, asks for restores, places holds.
    Operator,
    /// Agrees to what others ask for.
    Approver,
    /// Looks, reads the audit trail, reviews what was done alone.
    Auditor,
    /// Goes ahead alone in an emergency.
    BreakGlass,
    /// Asks for a whole environment to be recovered.
    Recovery,
}

impl Role {
    /// Every role there is.
    pub const ALL: [Self; 6] = [Self::Viewer, Self::Operator, Self::Approver, Self::Auditor, Self::BreakGlass, Self::Recovery];

    /// The role's name, as the plan and the policies spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Approver => "approver",
            Self::Auditor => "auditor",
            Self::BreakGlass => "break_glass",
            Self::Recovery => "recovery",
        }
    }

    /// Whether somebody who cannot be told apart as a person may hold it: all that it allows is then done by nobody.
    #[must_use]
    pub fn is_for_automation(self) -> bool {
        matches!(self, Self::Viewer | Self::Operator | Self::Auditor)
    }
}

/// Whom a grant is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// A person by the name that [`Identity::person`] tells, in whichever case.
    Person(String),
    /// Whoever has assumed an IAM role that is not of Identity Center. Its sessions may be anybody's.
    Automation {
        /// The role's name.
        role: String,
    },
}

const AUTOMATION: &str = "role/";

impl Who {
    /// Who called, as far as a grant can name them; none for, say, the account's root.
    #[must_use]
    pub fn of(caller: &Identity) -> Option<Self> {
        if let Some(person) = caller.person() {
            return Some(Self::Person(person.to_owned()));
        }
        let (_, resource) = caller.arn.rsplit_once(':')?;
        let role = resource.strip_prefix("assumed-role/")?.split('/').next()?;
        Some(Self::Automation { role: role.to_owned() })
    }

    /// Whether this is the same one. Names of people and of IAM roles are unique in whichever case.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Person(one), Self::Person(two)) | (Self::Automation { role: one }, Self::Automation { role: two }) => {
                one.eq_ignore_ascii_case(two)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => f.write_str(name),
            Self::Automation { role } => write!(f, "{AUTOMATION}{role}"),
        }
    }
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, who) = match text.strip_prefix(AUTOMATION) {
            Some(role) => (role, Self::Automation { role: role.to_owned() }),
            None => (text, Self::Person(text.to_owned())),
        };
        if name.is_empty() || name.contains(['/', ':', '*']) || name.chars().any(char::is_whitespace) {
            return Err(format!(
                "`access` names `{}`: name an IAM user or a session name of IAM Identity Center, or `role/` and the name of an IAM role",
                text.escape_debug()
            ));
        }
        Ok(who)
    }
}

impl Serialize for Who {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Who {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Roles that somebody holds over some tenants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Who.
    pub who: Who,
    /// Their roles.
    pub roles: Vec<Role>,
    /// The tenants, the platform's own databases among them as `@id`; `*` alone stands for all of them and for the environment itself.
    pub tenants: Vec<String>,
    /// Only tenants of these criticality classes; of any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
}

const ALL_TENANTS: &str = "*";

impl Grant {
    /// Whether it is over a tenant of a class.
    #[must_use]
    pub fn covers(&self, tenant: &TenantId, class: &str) -> bool {
        let named = self.tenants.iter().any(|named| named == ALL_TENANTS || named == tenant.as_str());
        named && self.classes.as_ref().is_none_or(|classes| classes.iter().any(|named| named == class))
    }

    /// Whether it is over everything, and so over what belongs to no one tenant.
    #[must_use]
    pub fn covers_all(&self) -> bool {
        self.classes.is_none() && self.tenants.iter().any(|named| named == ALL_TENANTS)
    }

    fn check(&self) -> Result<(), String> {
        let who = &self.who;
        distinct(&self.roles, |role| role.name()).map_err(|problem| format!("`access` of `{who}`: {problem} in `roles`"))?;
        distinct(&self.tenants, String::as_str).map_err(|problem| format!("`access` of `{who}`: {problem} in `tenants`"))?;
        if let Some(classes) = &self.classes {
            distinct(classes, String::as_str).map_err(|problem| format!("`access` of `{who}`: {problem} in `classes`"))?;
        }
        match self.tenants.iter().find(|named| *named != ALL_TENANTS && named.parse::<TenantId>().is_err()) {
            Some(wrong) => {
                return Err(format!("`access` of `{who}`: `{}` in `tenants` cannot be a tenant's id", wrong.escape_debug()));
            }
            None if self.tenants.len() > 1 && self.tenants.iter().any(|named| named == ALL_TENANTS) => {
                return Err(format!("`access` of `{who}`: `*` in `tenants` stands for all, so it stands alone"));
            }
            None => {}
        }
        if let Who::Automation { role } = who
            && role.to_ascii_lowercase().starts_with("awsreservedsso_")
        {
            return Err(format!(
                "`access` names `{who}`, whose sessions are people's: name each person by their user name there"
            ));
        }
        match (who, self.roles.iter().find(|role| !role.is_for_automation())) {
            (Who::Automation { .. }, Some(role)) => Err(format!(
                "`access` of `{who}`: the role `{}` is for people only, and a session of an IAM role may be anybody's; \
                 grant it to an IAM user or an Identity Center session name",
                role.name()
            )),
            _ => Ok(()),
        }
    }
}

fn distinct<T>(listed: &[T], name: impl Fn(&T) -> &str) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    if listed.is_empty() {
        return Err("there is nothing".to_owned());
    }
    match listed.iter().map(name).find(|name| name.is_empty() || !seen.insert(name.to_owned())) {
        Some("") => Err("there is an empty name".to_owned()),
        Some(twice) => Err(format!("`{}` stands twice", twice.escape_debug())),
        None => Ok(()),
    }
}

/// Checks a plan's grants; the first thing that is wrong with them.
pub(crate) fn check(grants: &[Grant]) -> Result<(), String> {
    for (n, grant) in grants.iter().enumerate() {
        grant.check()?;
        let same = |other: &&Grant| other.who.is(&grant.who) && other.tenants == grant.tenants && other.classes == grant.classes;
        if grants[..n].iter().any(|other| same(&other)) {
            return Err(format!("`access` lists `{}` twice for the same tenants: put the roles into one entry", grant.who));
        }
    }
    Ok(())
}

/// The roles that grants give somebody over a tenant of a class, or over the environment itself.
#[must_use]
pub fn roles_of(grants: &[Grant], who: &Who, over: Option<(&TenantId, &str)>) -> BTreeSet<Role> {
    let of_them = grants.iter().filter(|grant| grant.who.is(who));
    let covering = of_them.filter(|grant| match over {
        Some((tenant, class)) => grant.covers(tenant, class),
        None => grant.covers_all(),
    });
    covering.flat_map(|grant| grant.roles.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn caller(arn: &str) -> Identity {
        Identity { arn: arn.into(), principal: "P".into(), account: "1".into() }
    }

    fn grants(listed: Value) -> Result<Vec<Grant>, String> {
        let grants: Vec<Grant> = serde_json::from_value(listed).map_err(|error| error.to_string())?;
        check(&grants).map(|()| grants)
    }

    #[test]
    fn a_caller_is_a_person_or_an_automation_or_nobody() {
        let who = |arn: &str| Who::of(&caller(arn)).map(|who| who.to_string());
        assert_eq!(who("arn:aws:iam::1:user/team/Ana").as_deref(), Some("Ana"));
        assert_eq!(who("arn:aws:sts::1:assumed-role/AWSReservedSSO_ops_abc/ana@example.com").as_deref(), Some("ana@example.com"));
        assert_eq!(
            who("arn:aws:sts::1:assumed-role/deploy/ana").as_deref(),
            Some("role/deploy"),
            "a session's own name says nothing"
        );
        assert_eq!(who("arn:aws:iam::1:root"), None);
        assert_eq!(who(""), None);
    }

    #[test]
    fn roles_are_held_over_the_tenants_that_their_own_grant_covers() {
        let grants = grants(json!([
            { "who": "ana", "roles": ["viewer"], "tenants": ["*"] },
            { "who": "ANA", "roles": ["operator"], "tenants": ["acme", "@central"] },
            { "who": "ana", "roles": ["approver"], "tenants": ["*"], "classes": ["standard"] },
            { "who": "role/ana", "roles": ["auditor"], "tenants": ["*"] },
        ]))
        .unwrap();
        let ana = Who::Person("Ana".into());
        let over = |tenant: &str, class: &str| {
            let roles = roles_of(&grants, &ana, Some((&tenant.parse().unwrap(), class)));
            roles.into_iter().map(Role::name).collect::<Vec<_>>()
        };
        assert_eq!(over("acme", "critical"), ["viewer", "operator"]);
        assert_eq!(over("acme", "standard"), ["viewer", "operator", "approver"]);
        assert_eq!(over("acme-2", "critical"), ["viewer"], "an id is not a prefix");
        assert_eq!(over("@central", "critical"), ["viewer", "operator"]);
        let everywhere = roles_of(&grants, &ana, None);
        assert_eq!(everywhere, BTreeSet::from([Role::Viewer]), "what is over some tenants is not over the environment");
        assert_eq!(roles_of(&grants, &Who::Person("ana2".into()), None), BTreeSet::new());
    }

    #[test]
    fn a_bad_grant_is_refused_by_what_is_wrong_with_it() {
        let refused = |grant: Value, expected: &str| {
            let error = grants(json!([grant])).unwrap_err();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        };
        refused(json!({ "who": "ana", "roles": ["boss"], "tenants": ["*"] }), "unknown variant `boss`, expected one of `viewer`");
        refused(json!({ "who": "ana", "roles": [], "tenants": ["*"] }), "nothing in `roles`");
        refused(json!({ "who": "ana", "roles": ["viewer"], "tenants": [] }), "nothing in `tenants`");
        refused(json!({ "who": "ana", "roles": ["viewer"], "tenants": ["*"], "classes": [] }), "nothing in `classes`");
        refused(json!({ "who": "ana", "roles": ["viewer", "viewer"], "tenants": ["*"] }), "`viewer` stands twice");
        refused(json!({ "who": "ana", "roles": ["viewer"], "tenants": ["acme", "acme"] }), "`acme` stands twice");
        refused(json!({ "who": "ana", "roles": ["viewer"], "tenants": ["*", "acme"] }), "stands alone");
        refused(json!({ "who": "ana", "roles": ["viewer"], "tenants": ["a*"], "tenant": 1 }), "unknown field `tenant`");
        refused(json!({ "who": "ana", "roles": ["viewer"], "tenants": ["a b"] }), "cannot be a tenant's id");
        refused(json!({ "who": "", "roles": ["viewer"], "tenants": ["*"] }), "name an IAM user");
        refused(json!({ "who": "*", "roles": ["viewer"], "tenants": ["*"] }), "name an IAM user");
        refused(json!({ "who": "role/", "roles": ["viewer"], "tenants": ["*"] }), "name an IAM user");
        refused(json!({ "who": "role/deploy", "roles": ["approver"], "tenants": ["*"] }), "for people only");
        refused(json!({ "who": "role/AWSReservedSSO_ops_1", "roles": ["viewer"], "tenants": ["*"] }), "name each person");
        let twice = json!([
            { "who": "ana", "roles": ["viewer"], "tenants": ["acme"] },
            { "who": "Ana", "roles": ["operator"], "tenants": ["acme"] },
        ]);
        assert!(grants(twice).unwrap_err().contains("`Ana` twice"));
    }

    #[test]
    fn names_of_roles_are_spelled_as_they_are_read() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.name());
        }
    }
}
