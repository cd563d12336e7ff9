//! The vault's data keys under one KMS key, and those of some tenants under a key of their own.
//!
//! The encryption context binds a wrapped key to its vault, tenant, purpose and run; KMS authenticates it, and the
//! policies in `infra/template.yaml` and `infra/tenant-key.yaml` allow or deny by it. `Decrypt` names the key it expects, so a wrapped
//! key that somebody made under another KMS key does not open.

use std::{collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use aws_sdk_kms::{Client, primitives::Blob, types::DataKeySpec};
use vault::{DataKey, KeyChoice, KeyContext, KeyError, KeyService, SecretKey};
use zeroize::Zeroizing;

use crate::error::{Answer, Sort};

/// A [`KeyService`] on KMS.
#[derive(Clone)]
pub struct KmsKeys {
    client: Client,
    key_arn: String,
    choice: Option<Arc<dyn KeyChoice>>,
}

impl fmt::Debug for KmsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KmsKeys").field("key_arn", &self.key_arn).finish_non_exhaustive()
    }
}

impl KmsKeys {
    pub(crate) fn new(client: Client, key_arn: &str) -> Self {
        Self { client, key_arn: key_arn.to_owned(), choice: None }
    }

    /// The same, but tenants that have a key of their own get theirs.
    #[must_use]
    pub fn with_own_keys(self, choice: Arc<dyn KeyChoice>) -> Self {
        Self { choice: Some(choice), ..self }
    }

    /// The key of the context's tenant alone.
    async fn own_key(&self, context: &KeyContext) -> Result<Option<String>, KeyError> {
        let Some(choice) = &self.choice else { return Ok(None) };
        let own = choice.own_key(context.tenant).await;
        own.map_err(|source| KeyError::Unavailable { context: context.clone(), source })
    }

    /// What else to try, if the vault's key is not the one.
    async fn others(&self, context: &KeyContext, opened: &Result<SecretKey, Answer>) -> Result<Vec<String>, KeyError> {
        match (&self.choice, opened) {
            (Some(choice), Err(answer)) if answer.is(&[ANOTHER_KEY]) => {
                choice.all().await.map_err(|source| KeyError::Unavailable { context: context.clone(), source })
            }
            _ => Ok(Vec::new()),
        }
    }

    async fn open(&self, key_arn: &str, wrapped: &[u8], context: &KeyContext) -> Result<SecretKey, Answer> {
        let call = self.client.decrypt().key_id(key_arn).ciphertext_blob(Blob::new(wrapped));
        let opened = call.set_encryption_context(Some(pairs(context))).send().await.map_err(Answer::of)?;
        let lacks = || Answer { code: INCOMPLETE.to_owned(), message: NO_KEY.to_owned(), status: None };
        secret(opened.plaintext).ok_or_else(lacks)
    }
}

const INCOMPLETE: &str = "IncompleteAnswer";
const NO_KEY: &str = "the answer holds no key of 32 bytes";
const ANOTHER_KEY: &str = "IncorrectKeyException";

#[async_trait]
impl KeyService for KmsKeys {
    /// Needs `kms:GenerateDataKey`.
    async fn generate(&self, context: &KeyContext) -> Result<DataKey, KeyError> {
        let own = self.own_key(context).await?;
        let key_arn = own.as_deref().unwrap_or(&self.key_arn);
        let call = self.client.generate_data_key().key_id(key_arn).key_spec(DataKeySpec::Aes256);
        let made = call.set_encryption_context(Some(pairs(context))).send().await;
        let made = made.map_err(|error| failure(context, Answer::of(error)))?;
        let plaintext = secret(made.plaintext);
        match (plaintext, made.ciphertext_blob) {
            (Some(plaintext), Some(wrapped)) => Ok(DataKey { plaintext, wrapped: wrapped.into_inner() }),
            _ => Err(KeyError::Unavailable { context: context.clone(), source: NO_KEY.into() }),
        }
    }

    /// Needs `kms:Decrypt`. What a tenant stored before it had a key of its own is under the vault's.
    async fn unwrap_key(&self, wrapped: &[u8], context: &KeyContext) -> Result<SecretKey, KeyError> {
        if let Some(own) = self.own_key(context).await? {
            match self.open(&own, wrapped, context).await {
                Err(answer) if answer.is(&[ANOTHER_KEY]) => {}
                opened => return opened.map_err(|answer| failure(context, answer)),
            }
        }
        let mut opened = self.open(&self.key_arn, wrapped, context).await;
        // A catalog that was lost knows no names, or others: the tenants' keys are then tried in turn. The context still has to be the one it was wrapped in.
        for key_arn in self.others(context, &opened).await? {
            opened = self.open(&key_arn, wrapped, context).await;
            if !matches!(&opened, Err(answer) if answer.is(&[ANOTHER_KEY])) {
                break;
            }
        }
        opened.map_err(|answer| failure(context, answer))
    }
}

fn pairs(context: &KeyContext) -> HashMap<String, String> {
    context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Takes the key out of the answer. The SDK's own buffers are freed, but cannot be wiped from here.
fn secret(plaintext: Option<Blob>) -> Option<SecretKey> {
    SecretKey::from_slice(&Zeroizing::new(plaintext?.into_inner()))
}

fn failure(context: &KeyContext, answer: Answer) -> KeyError {
    let context = context.clone();
    if answer.is(&["InvalidCiphertextException", ANOTHER_KEY]) {
        return KeyError::NotForThisContext { context };
    }
    match answer.sort() {
        Sort::Throttled => KeyError::Throttled { context, source: answer.into() },
        Sort::KeyUnusable | Sort::Denied | Sort::NotFound => KeyError::Unusable { context, source: answer.into() },
        Sort::Quota | Sort::Other => KeyError::Unavailable { context, source: answer.into() },
    }
}
