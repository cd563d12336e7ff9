//! The key service port: data keys wrapped under one root key, bound to a context.

use std::fmt;

use async_trait::async_trait;
use domain::{RunId, VaultId, VaultTenantId};
use zeroize::Zeroizing;

use crate::store::BoxError;

/// 32 secret bytes, wiped when dropped. It has no `Debug`, so it cannot reach a log by accident.
pub struct SecretKey(Zeroizing<[u8; 32]>);

impl SecretKey {
    /// Takes a key over.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Copies a key from a slice; `None` unless it is 32 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self(key))
    }

    /// The secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A fresh data key: once in the clear for use now, once wrapped for keeping.
pub struct DataKey {
    /// The key itself.
    pub plaintext: SecretKey,
    /// The key as only the key service can open it.
    pub wrapped: Vec<u8>,
}

/// What a data key is for. Roles are allowed or denied by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// A tenant's stable secret for chunk ids, boundaries and digests. The writing role may open it again.
    Dedup,
    /// One run's content key. The writing role can make one, and never open it again.
    Content,
}

impl Purpose {
    /// The purpose as the encryption context spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dedup => "dedup",
            Self::Content => "content",
        }
    }
}

/// The encryption context of a data key: opaque ids only. Readers rebuild it from what they expect, never from what is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyContext {
    /// The vault.
    pub vault: VaultId,
    /// The tenant, by its opaque id.
    pub tenant: VaultTenantId,
    /// What the key is for.
    pub purpose: Purpose,
    /// The run, for content keys.
    pub run: Option<RunId>,
}

impl KeyContext {
    /// The context of a tenant's dedup secret.
    #[must_use]
    pub fn dedup(vault: VaultId, tenant: VaultTenantId) -> Self {
        Self { vault, tenant, purpose: Purpose::Dedup, run: None }
    }

    /// The context of a run's content key.
    #[must_use]
    pub fn content(vault: VaultId, tenant: VaultTenantId, run: RunId) -> Self {
        Self { vault, tenant, purpose: Purpose::Content, run: Some(run) }
    }

    /// The context as name-value pairs, in one order.
    #[must_use]
    pub fn pairs(&self) -> Vec<(&'static str, String)> {
        let mut pairs = vec![
            ("app", "holdfast".to_owned()),
            ("vault", self.vault.to_string()),
            ("tenant", self.tenant.to_string()),
            ("purpose", self.purpose.name().to_owned()),
        ];
        pairs.extend(self.run.map(|run| ("run", run.to_string())));
        pairs
    }
}

impl fmt::Display for KeyContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} key of {} in vault {}", self.purpose.name(), self.tenant, self.vault)?;
        self.run.map_or(Ok(()), |run| write!(f, " for {run}"))
    }
}

/// Which root key is a tenant's own. The vault's serves all others.
#[async_trait]
pub trait KeyChoice: Send + Sync {
    /// The root key of this tenant alone, if it has one.
    ///
    /// # Errors
    /// If nobody can say: then no key is used, rather than the wrong one.
    async fn own_key(&self, tenant: VaultTenantId) -> Result<Option<String>, BoxError>;

    /// Every tenant's own root key: one of them may be that of a name which nobody remembers. Only for opening, where the root key itself
    /// says whether it is the one; nothing is ever wrapped under a guess.
    ///
    /// # Errors
    /// If nobody can say.
    async fn all(&self) -> Result<Vec<String>, BoxError> {
        Ok(Vec::new())
    }
}

/// Makes and opens data keys. One call each: a key record is opened once per reader or writer, then held.
#[async_trait]
pub trait KeyService: Send + Sync {
    /// Makes a fresh data key bound to `context`.
    ///
    /// # Errors
    /// If the root key cannot be used; nothing is ever sealed without it.
    async fn generate(&self, context: &KeyContext) -> Result<DataKey, KeyError>;

    /// Opens a wrapped data key.
    ///
    /// # Errors
    /// [`KeyError::NotForThisContext`] if it was made for another context, or is not a wrapped key at all.
    async fn unwrap_key(&self, wrapped: &[u8], context: &KeyContext) -> Result<SecretKey, KeyError>;
}

/// Why a key service gave no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The root key is disabled, pending deletion, or not this role's to use.
    #[error("the vault's root key cannot be used for the {context}; check the key's state and this role's policy")]
    Unusable {
        /// What the key was wanted for.
        context: KeyContext,
        /// What the service said.
        source: BoxError,
    },
    /// The wrapped key does not open in this context: another tenant's, another run's, or damaged.
    #[error(
        "the stored key is not the {context}; the key record is damaged, belongs elsewhere, or is wrapped under a key of the tenant's own that the plan does not name any more"
    )]
    NotForThisContext {
        /// What the key was wanted for.
        context: KeyContext,
    },
    /// No answer, or one that says nothing about the request.
    #[error("the key service did not answer for the {context}; try again")]
    Unavailable {
        /// What the key was wanted for.
        context: KeyContext,
        /// What the service said.
        source: BoxError,
    },
    /// Refused for its rate.
    #[error("the key service throttled a call for the {context}; try again more slowly")]
    Throttled {
        /// What the key was wanted for.
        context: KeyContext,
        /// What the service said.
        source: BoxError,
    },
}
