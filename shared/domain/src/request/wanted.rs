//! What a restore is asked to do: how it is carried out, and how much of a recovery point it takes.

use serde::{Deserialize, Serialize};

use crate::id::RecoveryId;

/// Where a restore writes. The place itself always follows from the tenant, never from the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Over the tenant's live data; what is replaced is kept as an undo copy.
    #[default]
    InPlace,
    /// Beside the live data, under a name of its own, for a person to look at or take from. Nothing live changes.
    SideBySide,
    /// Into the tenant's place on the new instances that an environment recovery made.
    NewEnvironment {
        /// The recovery.
        recovery: RecoveryId,
    },
}

impl Mode {
    /// The mode's name, as policies and people say it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InPlace => "in-place",
            Self::SideBySide => "side-by-side",
            Self::NewEnvironment { .. } => "new-environment",
        }
    }

    /// The mode in a sentence.
    pub(super) fn in_words(self) -> String {
        match self {
            Self::InPlace => "in place".to_owned(),
            Self::SideBySide => "side by side".to_owned(),
            Self::NewEnvironment { recovery } => format!("on the new instances of {recovery}"),
        }
    }
}

/// How much of a recovery point is restored, and what became of columns that are no longer there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Only these tables, each as `table` or `schema.table`; all of them if empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// What became of recorded columns that the live tables no longer have under their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnNow>,
}

impl Selection {
    /// Whether it takes all of a recovery point, as it was.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// What is left out or mapped, after a comma; nothing if it is everything.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut words = String::new();
        if !self.tables.is_empty() {
            words = format!(", only {}", first_few(&self.tables));
        }
        if !self.columns.is_empty() {
            let became: Vec<String> = self.columns.iter().map(ColumnNow::in_words).collect();
            words = format!("{words}, {}", first_few(&became));
        }
        words
    }
}

/// What became of a recorded column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnNow {
    /// The table, as `table` or `schema.table`.
    pub table: String,
    /// The column's name in the recovery point.
    pub column: String,
    /// Its name now; none if its values are left behind.
    pub now: Option<String>,
}

impl ColumnNow {
    fn in_words(&self) -> String {
        let Self { table, column, now } = self;
        match now {
            Some(now) => format!("{table}.{column} as {now}"),
            None => format!("without {table}.{column}"),
        }
    }
}

/// As many names as a person reads, and how many more there are.
fn first_few(names: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}
