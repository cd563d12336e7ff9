//! Names and literals as they may stand in a statement.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A name that PostgreSQL would cut short or cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot be a PostgreSQL name: use 1 to 63 bytes without NUL, because a longer name is cut and could then be another tenant's", .text.escape_debug())]
pub struct InvalidIdent {
    text: String,
}

/// A PostgreSQL name of 1 to 63 bytes, without NUL. Displays quoted, so it can only ever be one name.
///
/// PostgreSQL cuts longer names with no more than a notice, and two tenants' names that differ only behind the cut would be
/// one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ident(String);

impl Ident {
    /// The longest name PostgreSQL keeps whole, in bytes.
    pub const BYTES_MAX: usize = 63;

    /// Takes a name as it is, neither folding its case nor cutting it.
    ///
    /// # Errors
    /// If it is empty, longer than [`Ident::BYTES_MAX`] bytes, or contains NUL.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidIdent> {
        let text = text.into();
        if (1..=Self::BYTES_MAX).contains(&text.len()) && !text.contains('\0') {
            Ok(Self(text))
        } else {
            Err(InvalidIdent { text })
        }
    }

    /// The name without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('"', "\"\""))
    }
}

impl TryFrom<String> for Ident {
    type Error = InvalidIdent;
    fn try_from(text: String) -> Result<Self, InvalidIdent> {
        Self::new(text)
    }
}

impl From<Ident> for String {
    fn from(ident: Ident) -> Self {
        ident.0
    }
}

/// A name with its schema. Displays as `"schema"."name"`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QualifiedName {
    /// The schema.
    pub schema: Ident,
    /// The name in it.
    pub name: Ident,
}

impl QualifiedName {
    /// The same name in another schema.
    #[must_use]
    pub fn in_schema(&self, schema: &Ident) -> Self {
        Self { schema: schema.clone(), name: self.name.clone() }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

/// A string literal. Every session pins `standard_conforming_strings`, so only the quote needs doubling.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "''"))
}

/// Names joined by `, `.
pub(crate) fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        assert_eq!(Ident::new(r#"a"; DROP TABLE b --"#).unwrap().to_string(), r#""a""; DROP TABLE b --""#);
    }

    #[test]
    fn a_name_that_postgresql_would_cut_is_refused() {
        assert!(Ident::new("é".repeat(31) + "x").is_ok());
        for text in ["é".repeat(32), "x".repeat(64), String::new(), "a\0b".to_owned()] {
            assert!(Ident::new(text.clone()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_literal_cannot_be_left() {
        assert_eq!(literal(r"o'neil\"), r"'o''neil\'");
    }
}
