//! Failures as scripts read them.

use domain::text::plain;
use serde_json::{Value, json};

use crate::call::Failure;

impl Failure {
    /// The failure's name: the function's code, or the command's own.
    fn code(&self) -> &str {
        match self {
            Self::Answered { code, .. } => code,
            Self::Usage(_) => "Usage",
            Self::NotSigned(_) => "NotSigned",
            Self::NoAnswer(_) => "NoAnswer",
            Self::NotProven(_) => "NotProven",
            Self::Damaged(_) => "Damaged",
        }
    }

    /// As JSON for standard error. It repeats what the function said, which may repeat names from anywhere.
    pub(crate) fn to_json(&self) -> Value {
        let message = match self {
            Self::Answered { message, .. } => message.clone(),
            other => other.to_string(),
        };
        json!({ "error": { "code": plain(self.code()), "message": plain(&message), "exit_status": self.exit_code() } })
    }
}
