//! The vault's data keys under one KMS key.
//!
//! The encryption context binds a wrapped key to its vault, tenant, purpose and run; KMS authenticates it, and the
//! policies in `infra/template.yaml` allow or deny by it. `Decrypt` names the key it expects, so a wrapped key that
//! somebody made under another KMS key does not open.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_kms::{Client, primitives::Blob, types::DataKeySpec};
use vault::{DataKey, KeyContext, KeyError, KeyService, SecretKey};
use zeroize::Zeroizing;

use crate::error::{Answer, Sort};

/// A [`KeyService`] on KMS.
#[derive(Debug, Clone)]
pub struct KmsKeys {
    client: Client,
    key_arn: String,
}

impl KmsKeys {
    pub(crate) fn new(client: Client, key_arn: &str) -> Self {
        Self { client, key_arn: key_arn.to_owned() }
    }
}

#[async_trait]
impl KeyService for KmsKeys {
    /// Needs `kms:GenerateDataKey`.
    async fn generate(&self, context: &KeyContext) -> Result<DataKey, KeyError> {
        let call = self.client.generate_data_key().key_id(&self.key_arn).key_spec(DataKeySpec::Aes256);
        let made = call.set_encryption_context(Some(pairs(context))).send().await;
        let made = made.map_err(|error| failure(context, Answer::of(error)))?;
        let plaintext = secret(made.plaintext);
        match (plaintext, made.ciphertext_blob) {
            (Some(plaintext), Some(wrapped)) => Ok(DataKey { plaintext, wrapped: wrapped.into_inner() }),
            _ => Err(incomplete(context)),
        }
    }

    /// Needs `kms:Decrypt`.
    async fn unwrap_key(&self, wrapped: &[u8], context: &KeyContext) -> Result<SecretKey, KeyError> {
        let call = self.client.decrypt().key_id(&self.key_arn).ciphertext_blob(Blob::new(wrapped));
        let opened = call.set_encryption_context(Some(pairs(context))).send().await;
        let opened = opened.map_err(|error| failure(context, Answer::of(error)))?;
        secret(opened.plaintext).ok_or_else(|| incomplete(context))
    }
}

fn pairs(context: &KeyContext) -> HashMap<String, String> {
    context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Takes the key out of the answer. The SDK's own buffers are freed, but cannot be wiped from here.
fn secret(plaintext: Option<Blob>) -> Option<SecretKey> {
    SecretKey::from_slice(&Zeroizing::new(plaintext?.into_inner()))
}

fn incomplete(context: &KeyContext) -> KeyError {
    KeyError::Unavailable { context: context.clone(), source: "the answer holds no key of 32 bytes".into() }
}

fn failure(context: &KeyContext, answer: Answer) -> KeyError {
    let context = context.clone();
    if answer.is(&["InvalidCiphertextException", "IncorrectKeyException"]) {
        return KeyError::NotForThisContext { context };
    }
    match answer.sort() {
        Sort::Throttled => KeyError::Throttled { context, source: answer.into() },
        Sort::KeyUnusable | Sort::Denied | Sort::NotFound => KeyError::Unusable { context, source: answer.into() },
        Sort::Quota | Sort::Other => KeyError::Unavailable { context, source: answer.into() },
    }
}
