//! What the failure of a restore test says about its recovery point.

use domain::{ErrorCode, error::Class};

/// What a failure says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its content is wrong.
    Refuted,
    /// It did not load. The fault may be the recovery point's or the clone's (a missing role, a full disk), so it pages, but the
    /// recovery point stays one that a person may try.
    DidNotLoad,
    /// Nothing: the test itself could not be carried out.
    EnvironmentBad,
}

impl Verdict {
    /// The verdict of a comparison that failed with this code.
    ///
    /// `RestoreRefused` is the server's or `pg_restore`'s refusal to take what the recovery point holds, such as a constraint
    /// that its rows break. A real restore may well end the same way.
    pub(crate) fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::RestoreRefused => Self::DidNotLoad,
            _ if code.class() == Class::Integrity => Self::Refuted,
            _ => Self::EnvironmentBad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wrong_content_refutes_a_recovery_point() {
        let codes = |verdict| -> Vec<&str> {
            ErrorCode::ALL.iter().filter(|code| Verdict::of(**code) == verdict).map(|code| code.name()).collect()
        };
        assert_eq!(codes(Verdict::Refuted), ["NotAuthentic", "ContentMismatch"]);
        assert_eq!(codes(Verdict::DidNotLoad), ["RestoreRefused"]);
    }
}
