//! Tenants' own KMS keys as things: whose one is, how it stands, and its deletion. Nothing here uses a key.

use aws_sdk_kms::{
    Client,
    types::{KeyManagerType, KeyState, Tag},
};
use jiff::Timestamp;

use crate::{Answer, AwsError, Call, time::timestamp};

/// The tag by which a key says which vault it is of.
const VAULT: &str = "holdfast:vault";
/// The tag by which a key says whose alone it is.
const TENANT: &str = "holdfast:tenant";

/// How a key stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyStanding {
    /// It can be used, or could be by whoever enables it.
    Usable {
        /// KMS's own word for its state.
        state: String,
    },
    /// KMS will delete it. Until then nobody can use it, and an administrator may still take that back.
    PendingDeletion {
        /// When.
        deletion_at: Option<Timestamp>,
    },
    /// There is no such key (any more): what it wrapped can be opened by nobody.
    Gone,
}

/// Keys of tenants' own.
#[derive(Debug, Clone)]
pub struct TenantKeys {
    client: Client,
}

impl TenantKeys {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// How a key stands. Needs `kms:DescribeKey`.
    ///
    /// # Errors
    /// If KMS does not say.
    pub async fn standing(&self, key_arn: &str) -> Result<KeyStanding, AwsError> {
        let call = Call::new("kms:DescribeKey", key_arn);
        let found = match self.client.describe_key().key_id(key_arn).send().await {
            Ok(found) => found.key_metadata,
            Err(error) => {
                let error = call.failed(error);
                return if error.is_not_found() { Ok(KeyStanding::Gone) } else { Err(error) };
            }
        };
        let key =
            found.filter(|key| key.key_manager != Some(KeyManagerType::Aws)).ok_or_else(|| call.lacks("key of your own"))?;
        Ok(match key.key_state {
            Some(KeyState::PendingDeletion | KeyState::PendingReplicaDeletion) => {
                KeyStanding::PendingDeletion { deletion_at: key.deletion_date.as_ref().and_then(timestamp) }
            }
            state => KeyStanding::Usable { state: state.map_or_else(String::new, |state| state.as_str().to_owned()) },
        })
    }

    /// Makes sure that a key says by its tags that it is this vault's and this tenant's alone. Needs `kms:ListResourceTags`.
    ///
    /// # Errors
    /// If it says something else, or nothing: a slip in the plan must not delete another's key.
    pub async fn check_owner(&self, key_arn: &str, vault: &str, tenant: &str) -> Result<(), AwsError> {
        let call = Call::new("kms:ListResourceTags", key_arn);
        let tags = match self.client.list_resource_tags().key_id(key_arn).send().await {
            Ok(found) => found.tags.unwrap_or_default(),
            Err(error) => return Err(call.failed(error)),
        };
        let says = |name: &str| tags.iter().find(|tag: &&Tag| tag.tag_key == name).map(|tag| tag.tag_value.as_str());
        if (says(VAULT), says(TENANT)) == (Some(vault), Some(tenant)) {
            return Ok(());
        }
        let message = format!(
            "its tags {VAULT} and {TENANT} say {:?} and {:?}, not vault {vault} and tenant {tenant}",
            says(VAULT).unwrap_or_default(),
            says(TENANT).unwrap_or_default()
        );
        Err(AwsError::Unusable { call, answer: Answer { code: "NotItsOwner".to_owned(), message, status: None } })
    }

    /// Has KMS delete a key after so many days; when that will be. Needs `kms:ScheduleKeyDeletion`.
    ///
    /// # Errors
    /// If KMS does not take it. That it was asked before is one of the reasons: look at how the key stands first.
    pub async fn delete(&self, key_arn: &str, after_days: i32) -> Result<Option<Timestamp>, AwsError> {
        let call = Call::new("kms:ScheduleKeyDeletion", key_arn);
        match self.client.schedule_key_deletion().key_id(key_arn).pending_window_in_days(after_days).send().await {
            Ok(taken) => Ok(taken.deletion_date.as_ref().and_then(timestamp)),
            Err(error) => Err(call.failed(error)),
        }
    }
}
