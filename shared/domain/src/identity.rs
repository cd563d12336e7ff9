//! Who calls, and when two callers are two people.

use serde::{Deserialize, Serialize};

/// Who called, as AWS authenticated the call. Never taken from a request's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The ARN of the calling user or role session.
    pub arn: String,
    /// The unique principal id; for a role session it ends in `:` and the session name.
    pub principal: String,
    /// The account.
    pub account: String,
}

impl Identity {
    /// The person behind the call, if the call tells: an IAM user's name, or the session name of an IAM Identity Center role.
    ///
    /// Other role sessions are named by whoever assumes the role, so their names say nothing: one person could be two.
    #[must_use]
    pub fn person(&self) -> Option<&str> {
        let (_, resource) = self.arn.rsplit_once(':')?;
        let mut parts = resource.split('/');
        match (parts.next()?, parts.next()?, resource.rsplit('/').next()?) {
            ("user", _, name) => Some(name),
            ("assumed-role", role, session) if role.starts_with("AWSReservedSSO_") => Some(session),
            _ => None,
        }
    }

    /// Whether two calls must be taken for the same person's: unless both tell who they are, and it is somebody else.
    #[must_use]
    pub fn is_same_person(&self, other: &Self) -> bool {
        match (self.person(), other.person()) {
            (Some(one), Some(two)) => self.principal == other.principal || one.eq_ignore_ascii_case(two),
            _ => true,
        }
    }
}
