//! Secrets Manager: the logins of databases, and the metadata of tenants' secrets. Values of the latter never leave it.

use std::collections::BTreeMap;

use aws_sdk_secretsmanager::{
    Client,
    operation::describe_secret::DescribeSecretOutput,
    types::{Filter, FilterNameStringType, RotationRulesType},
};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use sources::{configuration::Secret, postgres::Password};

use crate::{Answer, AwsError, Call, time::timestamp};

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

    /// Describes every secret whose name starts with `prefix`, without its value.
    /// Needs `secretsmanager:ListSecrets`, `secretsmanager:DescribeSecret` and `secretsmanager:GetResourcePolicy`.
    ///
    /// # Errors
    /// If a call fails; never a part of the list.
    pub async fn metadata(&self, prefix: &str) -> Result<Vec<Secret>, AwsError> {
        let call = || Call::new("secretsmanager:ListSecrets", format!("{prefix}*"));
        let filter = Filter::builder().key(FilterNameStringType::Name).values(prefix).build();
        let mut pages = self.client.list_secrets().filters(filter).into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| call().failed(error))?;
            for secret in page.secret_list.unwrap_or_default() {
                let name = secret.name.ok_or_else(|| call().lacks("secret's name"))?;
                // The service's own idea of a prefix may be wider; another tenant's secrets must not come along.
                if name.starts_with(prefix) {
                    names.push(name);
                }
            }
        }
        let described = stream::iter(names).map(async |name: String| match self.describe(&name).await {
            Ok(secret) => Ok(Some(secret)),
            // Removed since it was listed: lists lag behind by minutes.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        });
        let described: Vec<Option<Secret>> = described.buffered(CALLS_AT_ONCE).try_collect().await?;
        Ok(described.into_iter().flatten().collect())
    }

    async fn describe(&self, name: &str) -> Result<Secret, AwsError> {
        let call = Call::new("secretsmanager:DescribeSecret", name);
        let found = match self.client.describe_secret().secret_id(name).send().await {
            Ok(found) => found,
            Err(error) => return Err(call.failed(error)),
        };
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
    })
}

fn rule(rules: &RotationRulesType) -> Option<String> {
    let schedule = rules.schedule_expression().map(str::to_owned);
    schedule.or_else(|| rules.automatically_after_days().map(|days| format!("rate({days} days)")))
}
