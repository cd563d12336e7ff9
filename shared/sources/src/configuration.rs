//! Metadata of a tenant's settings: parameters and secrets by name, version and key. The values of secrets never leave.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use vault::{PointReader, StreamSink, StreamSummary};

use crate::{error::SourceError, json_lines};

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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// `String`, `StringList` or `SecureString`.
    #[serde(rename = "type")]
    pub parameter_type: String,
    /// Its value; none for a `SecureString`, whose value is as secret as a secret's.
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
}

/// A secret's metadata.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
    /// The resource policy, as JSON text.
    pub policy: Option<String>,
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
