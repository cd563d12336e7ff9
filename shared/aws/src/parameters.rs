//! SSM parameters: the backup plan, and the metadata of tenants' parameters.
//!
//! Values of tenants' parameters are neither read nor written: no role has a right to.

use std::collections::BTreeMap;

use aws_sdk_ssm::{
    Client,
    types::{ParameterMetadata, ParameterStringFilter, ParameterType, ResourceTypeForTagging, Tag},
};
use futures::{StreamExt, TryStreamExt, stream};
use sources::configuration::Parameter;

use crate::{Answer, AwsError, Call, time::timestamp};

/// Tag calls under way at once: SSM throttles early.
const TAG_CALLS_AT_ONCE: usize = 4;

/// SSM's parameters.
#[derive(Debug, Clone)]
pub struct Parameters {
    client: Client,
}

impl Parameters {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads the value of one plain parameter. Needs `ssm:GetParameter`.
    ///
    /// # Errors
    /// If it does not exist, or is a secure string: a plan holds no secrets, and this role could not decrypt it.
    pub async fn value(&self, name: &str) -> Result<String, AwsError> {
        let call = Call::new("ssm:GetParameter", name);
        let found = match self.client.get_parameter().name(name).send().await {
            Ok(found) => found.parameter,
            Err(error) => return Err(call.failed(error)),
        };
        match found.map(|parameter| (parameter.r#type, parameter.value)) {
            Some((Some(ParameterType::SecureString), _)) => {
                let message = "it is a SecureString; store it as a String".to_owned();
                Err(AwsError::Unusable { call, answer: Answer { code: "NotPlain".to_owned(), message, status: None } })
            }
            Some((_, Some(value))) => Ok(value),
            _ => Err(call.lacks("value")),
        }
    }

    /// Describes every parameter whose name starts with `prefix`, without its value.
    /// Needs `ssm:DescribeParameters` and `ssm:ListTagsForResource`.
    ///
    /// # Errors
    /// If a call fails; never a part of the list.
    pub async fn metadata(&self, prefix: &str) -> Result<Vec<Parameter>, AwsError> {
        let call = || Call::new("ssm:DescribeParameters", format!("{prefix}*"));
        let filter =
            ParameterStringFilter::builder().key("Name").option("BeginsWith").values(prefix).build().expect("the key is set");
        let mut pages = self.client.describe_parameters().parameter_filters(filter).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| call().failed(error))?;
            for parameter in page.parameters() {
                let parameter = read(parameter).ok_or_else(|| call().lacks("parameter's name or type"))?;
                // The service's own idea of a prefix may be wider; another tenant's parameters must not come along.
                if parameter.name.starts_with(prefix) {
                    found.push(parameter);
                }
            }
        }
        let tagged = stream::iter(found).map(async |mut parameter| match self.tags(&parameter.name).await {
            Ok(tags) => {
                parameter.tags = tags;
                Ok(Some(parameter))
            }
            // Removed since it was listed.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        });
        let tagged: Vec<Option<Parameter>> = tagged.buffered(TAG_CALLS_AT_ONCE).try_collect().await?;
        Ok(tagged.into_iter().flatten().collect())
    }

    /// Adds tags to a parameter, or replaces their values. Needs `ssm:AddTagsToResource`.
    ///
    /// # Errors
    /// `Unusable` if the service refuses a tag; otherwise if the parameter does not exist, or the call fails.
    pub async fn tag(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
        let call = Call::new("ssm:AddTagsToResource", name);
        let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build().expect("both are set")).collect();
        let add = self.client.add_tags_to_resource().resource_type(ResourceTypeForTagging::Parameter).resource_id(name);
        match add.set_tags(Some(tags)).send().await {
            Ok(_) => Ok(()),
            Err(error) => Err(refused_or(Answer::of(error), call)),
        }
    }

    async fn tags(&self, name: &str) -> Result<BTreeMap<String, String>, AwsError> {
        let call = self.client.list_tags_for_resource().resource_type(ResourceTypeForTagging::Parameter).resource_id(name);
        match call.send().await {
            Ok(found) => Ok(found.tag_list.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect()),
            Err(error) => Err(gone_or(Answer::of(error), Call::new("ssm:ListTagsForResource", name))),
        }
    }
}

/// Sorts a failure; SSM's own word for a parameter that is not there, where tags are concerned, is `InvalidResourceId`.
fn gone_or(answer: Answer, call: Call) -> AwsError {
    if answer.is(&["InvalidResourceId"]) { AwsError::NotFound { call, answer } } else { answer.sorted(call) }
}

/// Sorts the failure of a change. What the service refuses about this one parameter it refuses every time, and about no other.
fn refused_or(answer: Answer, call: Call) -> AwsError {
    let refused = answer.is(&["TooManyTagsError", "ValidationException"]);
    if refused { AwsError::Unusable { call, answer } } else { gone_or(answer, call) }
}

fn read(found: &ParameterMetadata) -> Option<Parameter> {
    let text = |value: Option<&str>| value.map(str::to_owned);
    Some(Parameter {
        name: text(found.name())?,
        parameter_type: found.r#type()?.as_str().to_owned(),
        value: None,
        version: found.version(),
        modified_at: found.last_modified_date().and_then(timestamp).map(|time| time.to_string()),
        tier: found.tier().map(|tier| tier.as_str().to_owned()),
        data_type: text(found.data_type()),
        key_id: text(found.key_id()),
        description: text(found.description()),
        tags: BTreeMap::new(),
        allowed_pattern: text(found.allowed_pattern()).filter(|pattern| !pattern.is_empty()),
        policies: found.policies().iter().filter_map(|policy| text(policy.policy_text())).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_about_one_parameter_is_told_from_what_may_pass() {
        let sorted = |code: &str| {
            let answer = Answer { code: code.to_owned(), message: String::new(), status: Some(400) };
            refused_or(answer, Call::new("ssm:AddTagsToResource", "/a"))
        };
        for code in ["TooManyTagsError", "ValidationException"] {
            assert!(matches!(sorted(code), AwsError::Unusable { .. }), "{code}");
        }
        assert!(matches!(sorted("InvalidResourceId"), AwsError::NotFound { .. }));
        assert!(matches!(sorted("TooManyUpdates"), AwsError::Unavailable { .. }));
        assert!(matches!(sorted("AccessDeniedException"), AwsError::Denied { .. }));
    }
}
