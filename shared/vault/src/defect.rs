//! What can be wrong with a stored object.

/// One way in which stored bytes are not what they must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// It is not there.
    #[error("it is missing")]
    Missing,
    /// It has fewer or more bytes than its kind or its reference allows.
    #[error("it has the wrong size")]
    WrongSize,
    /// It does not start as a sealed object does.
    #[error("it is not a sealed object")]
    NotSealed,
    /// It names a cryptographic suite this version does not know.
    #[error("its suite {0} is unknown to this version")]
    UnknownSuite(u8),
    /// It is a sealed object of another type.
    #[error("it is an object of another type")]
    WrongType,
    /// It was sealed under another key record than its reference says.
    #[error("it was sealed under another key")]
    WrongKeyRecord,
    /// Its key commitment is not that of the key at hand.
    #[error("its key commitment differs")]
    WrongCommitment,
    /// Its authentication tag does not match: changed, or sealed for another vault, tenant or place.
    #[error("its authentication tag differs")]
    WrongTag,
    /// Its authenticated content is not framed as the format says.
    #[error("its content is not well formed: {0}")]
    Malformed(&'static str),
    /// Its content is not that of its id.
    #[error("its content does not have the expected id")]
    WrongId,
    /// Its bytes are not those that the catalog or the link recorded.
    #[error("its SHA-256 is not the one recorded")]
    WrongSha256,
    /// It is not signed by the vault's signing key.
    #[error("its signature is not the vault's")]
    WrongSignature,
    /// The tenant's chain does not lead through it.
    #[error("the chain is broken here: {0}")]
    Chain(&'static str),
    /// It speaks of another vault, tenant, recovery point or run.
    #[error("it belongs to another {0}")]
    BelongsElsewhere(&'static str),
    /// A stream has another number of rows than the manifest says.
    #[error("the manifest says {expected} rows, the chunks hold {found}")]
    WrongRowCount {
        /// As recorded.
        expected: u64,
        /// As counted.
        found: u64,
    },
    /// A stream's rows have another digest than the manifest says.
    #[error("the rows' digest is not the one the manifest recorded")]
    WrongDigest,
}
