//! The key that signs the vault's links: asymmetric, its private half never outside KMS.
//!
//! It signs digests by one algorithm, and its policy in `infra/template.yaml` allows nothing else. Nobody asks KMS to verify:
//! that takes only the public key, which is fetched once.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_kms::{
    Client,
    operation::get_public_key::GetPublicKeyOutput,
    primitives::Blob,
    types::{KeySpec, KeyUsageType, MessageType, SigningAlgorithmSpec},
};
use tokio::sync::OnceCell;
use vault::{PublicKey, SigningError, SigningService};

use crate::error::{Answer, Sort};

/// A [`SigningService`] on KMS. Clones share the public key.
#[derive(Debug, Clone)]
pub struct KmsSigning {
    client: Client,
    key_arn: String,
    public_key: Arc<OnceCell<PublicKey>>,
}

impl KmsSigning {
    pub(crate) fn new(client: Client, key_arn: &str) -> Self {
        Self { client, key_arn: key_arn.to_owned(), public_key: Arc::default() }
    }

    async fn fetch_public_key(&self) -> Result<PublicKey, SigningError> {
        let told = self.client.get_public_key().key_id(&self.key_arn).send().await;
        read(&told.map_err(|error| failure(Answer::of(error)))?)
    }
}

#[async_trait]
impl SigningService for KmsSigning {
    /// Needs `kms:Sign`.
    async fn sign(&self, sha256: [u8; 32]) -> Result<Vec<u8>, SigningError> {
        let call = self.client.sign().key_id(&self.key_arn).message(Blob::new(sha256)).message_type(MessageType::Digest);
        let signed = call.signing_algorithm(SigningAlgorithmSpec::EcdsaSha256).send().await;
        let signed = signed.map_err(|error| failure(Answer::of(error)))?;
        signed.signature.map(Blob::into_inner).ok_or_else(|| incomplete("the answer holds no signature"))
    }

    /// Needs `kms:GetPublicKey`.
    async fn public_key(&self) -> Result<PublicKey, SigningError> {
        self.public_key.get_or_try_init(|| self.fetch_public_key()).await.cloned()
    }
}

/// Takes the public key out of the answer. A key of another kind, or for another use, is not the vault's.
fn read(told: &GetPublicKeyOutput) -> Result<PublicKey, SigningError> {
    let (Some(spec), Some(usage), Some(der)) = (&told.key_spec, &told.key_usage, &told.public_key) else {
        return Err(incomplete("the answer holds no public key, or does not say of which kind"));
    };
    let unusable = |what: String| SigningError::Unusable { source: what.into() };
    if (spec, usage) != (&KeySpec::EccNistP256, &KeyUsageType::SignVerify) {
        return Err(unusable(format!("it is {spec} for {usage}, not ECC_NIST_P256 for SIGN_VERIFY")));
    }
    PublicKey::from_der(der.as_ref()).ok_or_else(|| unusable("its public half is not a P-256 key".to_owned()))
}

fn incomplete(what: &str) -> SigningError {
    SigningError::Unavailable { source: what.into() }
}

fn failure(answer: Answer) -> SigningError {
    // What KMS says when a symmetric key is asked for its public half.
    if answer.is(&["UnsupportedOperationException"]) {
        return SigningError::Unusable { source: answer.into() };
    }
    match answer.sort() {
        Sort::Throttled => SigningError::Throttled { source: answer.into() },
        Sort::KeyUnusable | Sort::Denied | Sort::NotFound => SigningError::Unusable { source: answer.into() },
        Sort::Quota | Sort::Other => SigningError::Unavailable { source: answer.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spec: Option<KeySpec>, usage: Option<KeyUsageType>, der: Option<Vec<u8>>) -> Result<PublicKey, SigningError> {
        let answer = GetPublicKeyOutput::builder().set_key_spec(spec).set_key_usage(usage);
        read(&answer.set_public_key(der.map(Blob::new)).build())
    }

    /// `SubjectPublicKeyInfo` of a P-256 key (RFC 5480) around this point.
    fn der(point: &[u8]) -> Vec<u8> {
        let info = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
        [info, point].concat()
    }

    #[test]
    fn only_a_p256_key_that_signs_is_the_vaults() {
        let point = [[4].as_slice(), &[7; 64]].concat();
        let whole = Some(der(&point));
        let (p256, signs) = (Some(KeySpec::EccNistP256), Some(KeyUsageType::SignVerify));
        assert_eq!(told(p256.clone(), signs.clone(), whole.clone()).unwrap(), PublicKey::from_point(&point).unwrap());

        for (spec, usage, der) in [
            (Some(KeySpec::EccNistP384), signs.clone(), whole.clone()),
            (Some(KeySpec::EccSecgP256K1), signs.clone(), whole.clone()),
            (p256.clone(), Some(KeyUsageType::KeyAgreement), whole.clone()),
            (p256.clone(), signs.clone(), Some(der(&point[..64]))),
            (p256.clone(), signs.clone(), Some(Vec::new())),
        ] {
            let answer = told(spec.clone(), usage.clone(), der);
            assert!(matches!(answer, Err(SigningError::Unusable { .. })), "{spec:?} {usage:?}: {answer:?}");
        }
        for (spec, usage, der) in [(None, signs.clone(), whole.clone()), (p256.clone(), None, whole), (p256, signs, None)] {
            assert!(matches!(told(spec, usage, der), Err(SigningError::Unavailable { .. })));
        }
    }

    #[test]
    fn a_refusal_of_the_key_is_told_from_a_bad_moment() {
        let sort = |code: &str, status| {
            let error = failure(Answer { code: code.to_owned(), message: String::new(), status: Some(status) });
            match error {
                SigningError::Unusable { .. } => "unusable",
                SigningError::Throttled { .. } => "throttled",
                SigningError::Unavailable { .. } => "unavailable",
            }
        };
        for (code, status, expected) in [
            ("DisabledException", 400, "unusable"),
            ("KMSInvalidStateException", 400, "unusable"),
            ("InvalidKeyUsageException", 400, "unusable"),
            ("UnsupportedOperationException", 400, "unusable"),
            ("NotFoundException", 400, "unusable"),
            ("AccessDeniedException", 400, "unusable"),
            ("ThrottlingException", 400, "throttled"),
            ("KMSInternalException", 500, "unavailable"),
            ("DependencyTimeoutException", 503, "unavailable"),
        ] {
            assert_eq!(sort(code, status), expected, "{code}");
        }
    }
}
