//! Which policy decided, and whether a change of it lets more go.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Policy;

/// Names a policy, with the zone of its days, by what it says: two have the same version only if they decide the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyVersion(String);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PolicyVersion {
    /// As it is shown and typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Policy {
    /// The first 16 bytes, in hex, of a BLAKE3 hash over the zone and every number of the policy, each with its name.
    #[must_use]
    pub fn version(&self, time_zone: &str) -> PolicyVersion {
        let mut hasher = blake3::Hasher::new_derive_key("holdfast retention policy v1");
        hasher.update(&(time_zone.len() as u64).to_be_bytes());
        hasher.update(time_zone.as_bytes());
        for (name, number) in self.numbers() {
            hasher.update(&(name.len() as u64).to_be_bytes());
            hasher.update(name.as_bytes());
            hasher.update(&number.to_be_bytes());
        }
        let mut bytes = [0; 16];
        hasher.finalize_xof().fill(&mut bytes);
        PolicyVersion(hex::encode(bytes))
    }

    /// Everything that it says. Taken apart whole, so that a field that is added is not forgotten here.
    fn numbers(&self) -> [(&'static str, u32); 8] {
        let Self { keep_all_days, daily, weekly, monthly, yearly, min_proven, max_expire_per_run, apply } = self;
        [
            ("keep_all_days", *keep_all_days),
            ("daily", *daily),
            ("weekly", *weekly),
            ("monthly", *monthly),
            ("yearly", *yearly),
            ("min_proven", *min_proven),
            ("max_expire_per_run", *max_expire_per_run),
            ("apply", u32::from(*apply)),
        ]
    }
}

/// One way in which a change of policy lets more go than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shortened {
    /// The policy's field.
    pub what: &'static str,
    /// What it was; of `apply`, 0 for a dry run.
    pub from: u32,
    /// What it becomes.
    pub to: u32,
}

impl fmt::Display for Shortened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "retention.{} from {} to {}", self.what, self.from, self.to)
    }
}

/// In which ways a change lets more go; empty if whatever was kept is kept on, by every history.
///
/// Each tier is looked at by itself: more of one does not make up for less of another, as what each keeps depends on the history. A
/// higher cap, and the end of a dry run, let more go in one run. A change of the plan's zone moves the borders of days and is
/// not seen here: whoever asks treats it as shortening.
#[must_use]
pub fn shortens(old: &Policy, new: &Policy) -> Vec<Shortened> {
    let fields = old.numbers().into_iter().zip(new.numbers());
    let shorter = |((what, from), (_, to)): ((&'static str, u32), (_, u32))| {
        let more_goes = if matches!(what, "max_expire_per_run" | "apply") { to > from } else { to < from };
        more_goes.then_some(Shortened { what, from, to })
    };
    fields.filter_map(shorter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy = Policy {
        keep_all_days: 7,
        daily: 14,
        weekly: 8,
        monthly: 12,
        yearly: 3,
        min_proven: 2,
        max_expire_per_run: 100,
        apply: false,
    };

    fn check(new: Policy, expected: &[&str]) {
        let found: Vec<String> = shortens(&POLICY, &new).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected);
        assert_ne!(new.version("UTC"), POLICY.version("UTC"), "another policy has another version");
    }

    #[test]
    fn what_lets_more_go_is_named_and_what_keeps_more_is_not() {
        check(Policy { daily: 13, ..POLICY }, &["retention.daily from 14 to 13"]);
        check(Policy { min_proven: 1, yearly: 9, ..POLICY }, &["retention.min_proven from 2 to 1"]);
        check(Policy { max_expire_per_run: 101, ..POLICY }, &["retention.max_expire_per_run from 100 to 101"]);
        check(Policy { apply: true, ..POLICY }, &["retention.apply from 0 to 1"]);
        check(Policy { keep_all_days: 8, weekly: 9, monthly: 13, max_expire_per_run: 1, ..POLICY }, &[]);
    }

    #[test]
    fn a_policy_has_the_same_version_every_time() {
        insta::assert_snapshot!(POLICY.version("UTC"), @"4e9859ec45c948b5b568c82ed71372a7");
    }
}
