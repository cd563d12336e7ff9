//! Assertions: questions of the plan to data that a restore test brought back, and the answers it must give.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{caps, text::plain};

/// What stands for the tenant's id in a question.
pub const TENANT: &str = "{tenant}";

/// One question and the answer that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assertion {
    /// Its name, as findings and alerts tell it.
    pub name: String,
    /// The id of the database that a clone of a snapshot is asked in. Either this or `classes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// The criticality classes of the tenants whose restored exports are asked; `*` stands for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// One `SELECT` of one value. [`TENANT`] stands for the tenant's id, as text. Tables of tenants are named without their schema, which
    /// has another name while it is tested.
    pub sql: String,
    /// What the value must be.
    pub expected: Expected,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// This, as PostgreSQL writes it.
    Equals(String),
    /// A number, and at least this.
    Min(i64),
    /// A number, and at most this.
    Max(i64),
}

impl Expected {
    /// Whether a value is what is expected. `None` is null, which nothing expects.
    #[must_use]
    pub fn holds(&self, found: Option<&str>) -> bool {
        let Some(found) = found else { return false };
        match self {
            Self::Equals(expected) => found == expected,
            Self::Min(least) => whole_and_rest(found).is_some_and(|(whole, _)| whole >= i128::from(*least)),
            Self::Max(most) => {
                whole_and_rest(found).is_some_and(|(whole, rest)| whole.saturating_add(i128::from(rest)) <= i128::from(*most))
            }
        }
    }
}

/// A decimal number rounded down, and whether that took something away.
fn whole_and_rest(text: &str) -> Option<(i128, bool)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let rest = fraction.bytes().any(|digit| digit != b'0');
    let towards_zero: i128 = whole.parse().ok()?;
    Some((if rest && whole.starts_with('-') { towards_zero.saturating_sub(1) } else { towards_zero }, rest))
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(expected) => write!(f, "`{}`", plain(expected)),
            Self::Min(least) => write!(f, "at least {least}"),
            Self::Max(most) => write!(f, "at most {most}"),
        }
    }
}

impl Assertion {
    /// Whether the restored exports of a tenant of this class are asked.
    #[must_use]
    pub fn is_of_class(&self, class: &str) -> bool {
        self.classes.iter().any(|named| named == class || named == "*")
    }

    /// What a wrong answer is told as; `None` if it is the right one. A found value is cut and made safe to show: it may be a tenant's.
    #[must_use]
    pub fn failure(&self, found: Option<&str>) -> Option<String> {
        if self.expected.holds(found) {
            return None;
        }
        let found = found.map_or_else(|| "null".to_owned(), |found| format!("`{}`", plain(&cut(found))));
        Some(format!("assertion `{}` expects {} and found {found}", self.name, self.expected))
    }

    pub(crate) fn check(&self, is_database: impl Fn(&str) -> bool) -> Result<(), String> {
        let said = |problem: &str| Err(format!("assertion `{}` {problem}", self.name));
        let sql = self.sql.trim();
        let first = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
        match (&self.database, self.classes.is_empty()) {
            _ if self.name.trim().is_empty() => return Err("an assertion has no name".to_owned()),
            (Some(_), false) | (None, true) => return said("must name either a `database` or `classes`"),
            (Some(database), true) if !is_database(database) => {
                return said(&format!("is of database `{database}`, which is not one of `databases`"));
            }
            (Some(_), true) if sql.contains(TENANT) => return said("is of a database, where `{tenant}` stands for nobody"),
            _ => {}
        }
        if matches!(&self.expected, Expected::Equals(value) if value.chars().count() > caps::ASSERTED_VALUE_CHARS_MAX) {
            return said(&format!("expects more than {} characters, which are not compared", caps::ASSERTED_VALUE_CHARS_MAX));
        }
        if !["select", "with"].contains(&first.as_str()) {
            return said("must be one SELECT of one value");
        }
        if sql.contains(';') {
            return said("must be one statement, without a semicolon");
        }
        if sql.len() > caps::ASSERTION_BYTES_MAX {
            return said(&format!("is longer than {} bytes", caps::ASSERTION_BYTES_MAX));
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    text.chars().take(caps::ASSERTED_VALUE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assertion(expected: Expected) -> Assertion {
        Assertion { name: "n".into(), database: None, classes: vec!["*".into()], sql: "SELECT 1".into(), expected }
    }

    #[test]
    fn a_number_is_compared_as_one_however_it_is_written() {
        for (expected, found, holds) in [
            (Expected::Min(1), "1", true),
            (Expected::Min(1), "0.999", false),
            (Expected::Min(-1), "-0.5", true),
            (Expected::Min(0), "-0.5", false),
            (Expected::Max(1), "1.000", true),
            (Expected::Max(1), "1.001", false),
            (Expected::Max(-1), "-1.5", true),
            (Expected::Max(0), "-0.1", true),
            (Expected::Max(1), "NaN", false),
            (Expected::Min(1), "1e5", false),
            (Expected::Min(1), "99999999999999999999999", true),
            (Expected::Equals("1".into()), "1.0", false),
            (Expected::Equals("t".into()), "t", true),
        ] {
            assert_eq!(expected.holds(Some(found)), holds, "{expected} {found}");
            assert!(!expected.holds(None));
        }
    }

    #[test]
    fn a_wrong_answer_is_told_with_its_name_and_cannot_forge_or_flood() {
        let hostile = format!("x\nall is well{}", "y".repeat(500));
        let told = assertion(Expected::Min(3)).failure(Some(&hostile)).unwrap();
        assert!(told.starts_with("assertion `n` expects at least 3 and found `x\\u{a}all"), "{told}");
        assert!(!told.contains('\n') && told.len() < 300, "{told}");
        assert!(assertion(Expected::Min(3)).failure(None).unwrap().ends_with("found null"));
        assert_eq!(assertion(Expected::Max(3)).failure(Some("3")), None);
    }

    #[test]
    fn an_assertion_that_asks_nobody_or_more_than_one_thing_is_refused() {
        let good = assertion(Expected::Min(1));
        let of = |database: &str, sql: &str| Assertion {
            database: Some(database.into()),
            classes: vec![],
            sql: sql.into(),
            ..assertion(Expected::Min(1))
        };
        for (bad, said) in [
            (Assertion { classes: vec![], ..good.clone() }, "either a `database` or `classes`"),
            (Assertion { database: Some("central".into()), ..good.clone() }, "either"),
            (of("nowhere", "SELECT 1"), "`nowhere`"),
            (of("central", "SELECT {tenant}"), "nobody"),
            (of("central", "DELETE FROM t"), "one SELECT"),
            (of("central", "SELECT 1; DROP TABLE t"), "semicolon"),
            (of("central", &format!("SELECT {}", "1".repeat(5_000))), "longer than"),
            (Assertion { name: " ".into(), ..good.clone() }, "no name"),
        ] {
            let error = bad.check(|database| database == "central").unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        good.check(|_| false).unwrap();
        of("central", "\n with x AS (SELECT 1) SELECT * FROM x").check(|_| true).unwrap();
    }
}
