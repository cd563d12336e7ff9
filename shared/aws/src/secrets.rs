//! Secrets Manager: the logins of databases, and the metadata of tenants' secrets. Values of the latter never leave it, and none is
//! written: no call here carries one.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_secretsmanager::{
    Client,
    operation::describe_secret::DescribeSecretOutput,
    types::{Filter, FilterNameStringType, RotationRulesType, Tag},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use sources::{configuration::Secret, postgres::Password};

use crate::{Answer, AwsError, Call, Started, time::timestamp};

/// Secrets described at once: the service allows about 40 descriptions a second to the whole account.
const CALLS_AT_ONCE: usize = 4;

/// A login to a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCredentials {
    /// The user.
    pub username: String,
    /// The password.
    pub password: Password,
}

/// Secrets Manager.
#[derive(Debug, Clone)]
pub struct Secrets {
    client: Client,
}

impl Secrets {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Reads the login that a secret holds as `{"username", "password"}`. Needs `secretsmanager:GetSecretValue`.
    ///
    /// # Errors
    /// If the secret does not exist, may not be read, or holds something else. What it holds is never quoted.
    pub async fn database_credentials(&self, secret: &str) -> Result<DatabaseCredentials, AwsError> {
        #[derive(Deserialize)]
        struct Stored {
            username: String,
            password: String,
        }
        let call = Call::new("secretsmanager:GetSecretValue", secret);
        let found = match self.client.get_secret_value().secret_id(secret).send().await {
            Ok(found) => found,
            Err(error) => return Err(call.failed(error)),
        };
        // The parser's own message could quote the value.
        match serde_json::from_str(found.secret_string().unwrap_or_default()) {
            Ok(Stored { username, password }) => Ok(DatabaseCredentials { username, password: Password::new(password) }),
            Err(_) => {
                let message = "expected a JSON object with the texts `username` and `password`".to_owned();
                Err(AwsError::Unusable { call, answer: Answer { code: "NotALogin".to_owned(), message, status: None } })
            }
        }
    }

    /// Describes every secret whose name starts with `prefix`, without its value, those included that are scheduled for deletion, and
    /// those of `known` that the list does not have: it may lag behind by minutes.
    /// Needs `secretsmanager:ListSecrets`, `secretsmanager:DescribeSecret` and `secretsmanager:GetResourcePolicy`.
    ///
    /// # Errors
    /// If a call fails; never a part of the list.
    pub async fn metadata(&self, prefix: &str, known: impl IntoIterator<Item = String>) -> Result<Vec<Secret>, AwsError> {
        let call = || Call::new("secretsmanager:ListSecrets", format!("{prefix}*"));
        let filter = Filter::builder().key(FilterNameStringType::Name).values(prefix).build();
        let mut pages = self.client.list_secrets().filters(filter).include_planned_deletion(true).into_paginator().send();
        let mut names: BTreeSet<String> = known.into_iter().collect();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| call().failed(error))?;
            for secret in page.secret_list.unwrap_or_default() {
                let name = secret.name.ok_or_else(|| call().lacks("secret's name"))?;
                // The service's own idea of a prefix may be wider; another tenant's secrets must not come along.
                if name.starts_with(prefix) {
                    names.insert(name);
                }
            }
        }
        let described = stream::iter(names).map(async |name: String| match self.describe(&name).await {
            Ok(secret) => Ok(Some(secret)),
            // Removed since it was listed, or known from long ago.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        });
        let described: Vec<Option<Secret>> = described.buffered(CALLS_AT_ONCE).try_collect().await?;
        Ok(described.into_iter().flatten().collect())
    }

    /// Takes a secret back that is scheduled for deletion. Needs `secretsmanager:RestoreSecret`.
    ///
    /// One that is not scheduled any more is left as it is.
    ///
    /// # Errors
    /// `Unusable` if the service refuses it; otherwise if the secret does not exist, or the call fails.
    pub async fn take_back(&self, name: &str) -> Result<(), AwsError> {
        match self.client.restore_secret().secret_id(name).send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_invalid_request_exception()) => Ok(()),
            Err(error) => Err(refused_or(Answer::of(error), Call::new("secretsmanager:RestoreSecret", name))),
        }
    }

    /// Makes a secret without a value. Needs `secretsmanager:CreateSecret` and `secretsmanager:TagResource`.
    ///
    /// [`Started::Before`] says that there is one of this name: compare before taking it for ours.
    ///
    /// # Errors
    /// `Unusable` if the service refuses it as it is; otherwise if the call fails, for example because its key cannot be used.
    pub async fn create(&self, secret: &Secret) -> Result<Started, AwsError> {
        let create = self.client.create_secret().name(&secret.name).set_kms_key_id(secret.key_id.clone());
        let create = create.set_description(secret.description.clone().filter(|text| !text.is_empty()));
        match create.set_tags(Some(to_tags(&secret.tags)).filter(|tags| !tags.is_empty())).send().await {
            Ok(_) => Ok(Started::Now),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_resource_exists_exception()) => {
                Ok(Started::Before)
            }
            Err(error) => Err(refused_or(Answer::of(error), Call::new("secretsmanager:CreateSecret", &secret.name))),
        }
    }

    /// Adds tags to a secret, or replaces their values. Needs `secretsmanager:TagResource`.
    ///
    /// # Errors
    /// `Unusable` if the service refuses a tag; otherwise if the secret does not exist, or the call fails.
    pub async fn tag(&self, name: &str, tags: &BTreeMap<String, String>) -> Result<(), AwsError> {
        let tagged = self.client.tag_resource().secret_id(name).set_tags(Some(to_tags(tags))).send().await;
        tagged.map(|_| ()).map_err(|error| refused_or(Answer::of(error), Call::new("secretsmanager:TagResource", name)))
    }

    /// Gives a secret a resource policy, which must not be open to everybody. Needs `secretsmanager:PutResourcePolicy`.
    ///
    /// # Errors
    /// `Unusable` if the service refuses the policy; otherwise if the call fails.
    pub async fn set_policy(&self, name: &str, policy: &str) -> Result<(), AwsError> {
        let put = self.client.put_resource_policy().secret_id(name).resource_policy(policy).block_public_policy(true);
        let put = put.send().await;
        put.map(|_| ()).map_err(|error| refused_or(Answer::of(error), Call::new("secretsmanager:PutResourcePolicy", name)))
    }

    async fn describe(&self, name: &str) -> Result<Secret, AwsError> {
        let call = Call::new("secretsmanager:DescribeSecret", name);
        let found = match self.client.describe_secret().secret_id(name).send().await {
            Ok(found) => found,
            Err(error) => return Err(call.failed(error)),
        };
        if found.deleted_date.is_some() {
            // The service tells no policies of secrets that are scheduled for deletion.
            return read(found, None).ok_or_else(|| call.lacks("name or ARN"));
        }
        let policy = self.client.get_resource_policy().secret_id(name).send().await;
        let policy = policy.map_err(|error| Call::new("secretsmanager:GetResourcePolicy", name).failed(error))?;
        read(found, policy.resource_policy).ok_or_else(|| call.lacks("name or ARN"))
    }
}

fn read(found: DescribeSecretOutput, policy: Option<String>) -> Option<Secret> {
    let tags = found.tags.unwrap_or_default().into_iter().filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())));
    Some(Secret {
        name: found.name?,
        arn: found.arn?,
        description: found.description,
        key_id: found.kms_key_id,
        versions: found.version_ids_to_stages.unwrap_or_default().into_iter().collect(),
        rotation_enabled: found.rotation_enabled.unwrap_or(false),
        rotation_rule: found.rotation_rules.as_ref().and_then(rule),
        rotation_function: found.rotation_lambda_arn,
        changed_at: found.last_changed_date.as_ref().and_then(timestamp).map(|time| time.to_string()),
        tags: tags.collect::<BTreeMap<_, _>>(),
        policy,
        deleted_at: found.deleted_date.as_ref().and_then(timestamp).map(|time| time.to_string()),
        replicas: found.replication_status.unwrap_or_default().into_iter().filter_map(|copy| copy.region).collect(),
        managed_by: found.owning_service,
    })
}

/// Sorts the failure of a change. What the service refuses about this one secret it refuses every time, and about no other.
fn refused_or(answer: Answer, call: Call) -> AwsError {
    let refused = answer.is(&[
        "InvalidParameterException",
        "InvalidRequestException",
        "LimitExceededException",
        "MalformedPolicyDocumentException",
        "PreconditionNotMetException",
        "PublicPolicyException",
        "ValidationException",
    ]);
    if refused { AwsError::Unusable { call, answer } } else { answer.sorted(call) }
}

fn to_tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build()).collect()
}

fn rule(rules: &RotationRulesType) -> Option<String> {
    let schedule = rules.schedule_expression().map(str::to_owned);
    schedule.or_else(|| rules.automatically_after_days().map(|days| format!("rate({days} days)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_about_one_secret_is_told_from_what_may_pass() {
        let sorted = |code: &str| {
            let answer = Answer { code: code.to_owned(), message: String::new(), status: Some(400) };
            refused_or(answer, Call::new("secretsmanager:CreateSecret", "a"))
        };
        for code in ["InvalidParameterException", "InvalidRequestException", "LimitExceededException", "ValidationException"] {
            assert!(matches!(sorted(code), AwsError::Unusable { .. }), "{code}");
        }
        assert!(matches!(sorted("ThrottlingException"), AwsError::Throttled { .. }));
        assert!(matches!(sorted("AccessDeniedException"), AwsError::Denied { .. }));
        assert!(matches!(sorted("EncryptionFailure"), AwsError::KeyUnusable { .. }));
        assert!(matches!(sorted("ResourceNotFoundException"), AwsError::NotFound { .. }));
        assert!(matches!(sorted("InternalServiceError"), AwsError::Unavailable { .. }));
    }
}
