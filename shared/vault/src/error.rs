//! What can go wrong in the vault, and under which code it leaves.

use domain::{Coded, ErrorCode, RecoveryPointId};

use crate::{defect::Defect, keys::KeyError, layout, sharing::SharingError, signing::SigningError, store::StoreError};

/// Why the vault did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The object store refused or failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key service refused or failed.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The signing key could not be used.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// Nobody could say which stored objects may be relied on.
    #[error(transparent)]
    Sharing(#[from] SharingError),
    /// A stored object is not what it must be. Nothing of it was released.
    #[error("the vault object `{object}` is not authentic: {defect}; restore from another recovery point and run a check")]
    NotAuthentic {
        /// The object's key, with the place in it where there is one.
        object: String,
        /// What is wrong with it.
        defect: Defect,
    },
    /// The recovery point holds no such stream or document.
    #[error("{point} holds no {kind} named `{name}`")]
    NotInPoint {
        /// The recovery point.
        point: RecoveryPointId,
        /// `stream` or `document`.
        kind: &'static str,
        /// The name asked for.
        name: String,
    },
    /// The source gave something that is not a stream of rows.
    #[error("stream `{stream}` cannot be stored: {reason}")]
    NotRows {
        /// The stream.
        stream: String,
        /// What is wrong with the rows or their header.
        reason: String,
    },
    /// A limit of the format was reached.
    #[error("{what} would exceed the format's limit of {limit}; split the tenant's data over several recovery points")]
    TooLarge {
        /// What is too large.
        what: String,
        /// The limit.
        limit: usize,
    },
    /// The caller's steps were out of order, or went on after a failure.
    #[error("the vault was used out of order: {0}")]
    OutOfOrder(&'static str),
    /// The operating system gave no randomness, so nothing was sealed.
    #[error("no randomness could be had, so nothing was sealed; try again on another host")]
    NoRandomness,
}

impl VaultError {
    /// Whether a recovery point could not be opened because its manifest is gone, as it is once the point was swept.
    #[must_use]
    pub fn is_missing_manifest(&self) -> bool {
        matches!(self, Self::Store(StoreError::Missing { key }) if layout::is_manifest(key))
    }

    pub(crate) fn not_authentic(object: impl Into<String>, defect: Defect) -> Self {
        Self::NotAuthentic { object: object.into(), defect }
    }
}

impl Coded for VaultError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Store(StoreError::Missing { .. })
            | Self::Key(KeyError::NotForThisContext { .. })
            | Self::NotAuthentic { .. } => ErrorCode::NotAuthentic,
            Self::Store(StoreError::Exists { .. }) => ErrorCode::Fenced,
            Self::Store(StoreError::Unavailable { .. })
            | Self::Key(KeyError::Unavailable { .. })
            | Self::Signing(SigningError::Unavailable { .. })
            | Self::NoRandomness => ErrorCode::StoreUnavailable,
            Self::Store(StoreError::Throttled { .. })
            | Self::Key(KeyError::Throttled { .. })
            | Self::Signing(SigningError::Throttled { .. }) => ErrorCode::Throttled,
            Self::Sharing(error) => error.code,
            Self::Store(StoreError::Denied { .. }) => ErrorCode::NotPermitted,
            Self::Key(KeyError::Unusable { .. }) | Self::Signing(SigningError::Unusable { .. }) => ErrorCode::KeyUnusable,
            Self::NotInPoint { .. } => ErrorCode::ContentMismatch,
            Self::NotRows { .. } | Self::TooLarge { .. } | Self::OutOfOrder(_) => ErrorCode::SourceRefused,
        }
    }
}
