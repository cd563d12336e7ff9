//! What the policies say about an act, and why.

use std::fmt;

/// A policy that decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Its `@id`.
    pub id: String,
    /// Its `@says`.
    pub says: String,
}

/// The answer to one question.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Whether the act may be done.
    pub allowed: bool,
    /// The policies that permit it, or those that forbid it, by id; none if nothing permits it.
    pub reasons: Vec<Reason>,
    /// What went wrong in asking. Any of it refuses the act.
    pub errors: Vec<String>,
}

impl Decision {
    /// The ids of the policies that decided, for the log and the audit trail.
    #[must_use]
    pub fn ids(&self) -> Vec<&str> {
        self.reasons.iter().map(|reason| reason.id.as_str()).collect()
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.allowed { "allowed" } else { "refused" };
        match (self.reasons.is_empty(), self.errors.first()) {
            (_, Some(error)) => write!(f, "{word}: the policies could not be evaluated: {error}"),
            (true, None) => write!(f, "{word}: no policy permits it"),
            (false, None) => write!(f, "{word} by {}", self.ids().join(", ")),
        }
    }
}
