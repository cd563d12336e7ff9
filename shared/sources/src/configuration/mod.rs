//! Metadata of a tenant's settings: parameters and secrets by name, version and key. No value of either is recorded.
//!
//! [`compare`] says what a restore would do to the live ones; what it may do is a [`Change`], and none can touch a value (ADR 8).

mod change;
mod comparison;
mod standing;
#[cfg(test)]
mod tests;
mod way;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vault::{PointReader, StreamSink, StreamSummary};

use crate::{error::SourceError, json_lines};

pub use change::Change;
pub use comparison::{Comparison, NOT_PUT_BACK, PUT_BACK, Prefixes, SettingsError, compare};

/// The stream of settings in a recovery point.
pub const STREAM: &str = "configuration";

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Setting {
    /// A parameter of the parameter store.
    Parameter(Parameter),
    /// A secret, without its value.
    Secret(Secret),
}

/// A parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `String`, `StringList` or `SecureString`.
    #[serde(rename = "type")]
    pub parameter_type: String,
    /// Its value, which is not recorded: people put secrets into plain parameters too.
    pub value: Option<String>,
    /// Its version.
    pub version: i64,
    /// When it was last written, RFC 3339.
    pub modified_at: Option<String>,
    /// Its tier.
    pub tier: Option<String>,
    /// Its data type.
    pub data_type: Option<String>,
    /// The key it is encrypted under.
    pub key_id: Option<String>,
    /// What it says about itself.
    pub description: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The pattern that its values must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_pattern: Option<String>,
    /// What happens to it by itself, such as that it expires; each as JSON text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// A secret's metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// What it says about itself.
    pub description: Option<String>,
    /// The key it is encrypted under.
    pub key_id: Option<String>,
    /// Version ids, each with its staging labels.
    #[serde(default)]
    pub versions: BTreeMap<String, Vec<String>>,
    /// Whether it rotates by itself.
    pub rotation_enabled: bool,
    /// The rotation schedule or interval, as the service prints it.
    pub rotation_rule: Option<String>,
    /// The function that rotates it.
    pub rotation_function: Option<String>,
    /// When it last changed, RFC 3339.
    pub changed_at: Option<String>,
    /// Tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// The resource policy, as JSON text. Unknown while the secret is scheduled for deletion.
    pub policy: Option<String>,
    /// When it was deleted, RFC 3339, if it is scheduled for deletion: nobody can read it, but it can still be taken back whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<String>,
    /// Other regions that have a copy of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<String>,
    /// The AWS service that manages it, if one does; only that service can make it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_by: Option<String>,
}

impl Setting {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Parameter(parameter) => &parameter.name,
            Self::Secret(secret) => &secret.name,
        }
    }

    /// Leaves out the tags that begin with `aws:`. AWS alone writes these, and refuses any call that carries one.
    fn without_reserved_tags(mut self) -> Self {
        let (Self::Parameter(Parameter { tags, .. }) | Self::Secret(Secret { tags, .. })) = &mut self;
        tags.retain(|tag, _| !tag.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")));
        self
    }

    /// Whether it is a secret that is scheduled for deletion: a name that is taken, and nothing that serves.
    #[must_use]
    pub fn is_going(&self) -> bool {
        matches!(self, Self::Secret(Secret { deleted_at: Some(_), .. }))
    }
}

/// Writes the settings as the stream [`STREAM`].
///
/// # Errors
/// If the sink fails.
pub async fn write(settings: Vec<Setting>, sink: &dyn StreamSink) -> Result<StreamSummary, SourceError> {
    json_lines::write(STREAM, settings, sink).await
}

/// Reads the settings of a recovery point.
///
/// # Errors
/// If the vault fails or a record is not understood.
pub async fn read(point: &PointReader) -> Result<Vec<Setting>, SourceError> {
    json_lines::read(STREAM, point).await
}
