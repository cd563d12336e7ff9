//! Identifiers: newtypes made by parsing, so that one kind can never stand where another is meant.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not an identifier of the expected kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected `{prefix}` and a UUID, such as `{prefix}0192a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b`")]
pub struct InvalidId {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID that the caller drew or derived.
            #[must_use]
            pub fn from_uuid(uuid: Uuid) -> Self { Self(uuid) }

            /// The UUID without its prefix.
            #[must_use]
            pub fn uuid(self) -> Uuid { self.0 }

            /// When it was drawn, to the second, if it is one that sorts by age.
            #[must_use]
            pub fn drawn_at(self) -> Option<Timestamp> {
                let (seconds, _) = self.0.get_timestamp()?.to_unix();
                Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, concat!($prefix, "{}"), self.0) }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(|uuid| Uuid::try_parse(uuid).ok())
                    .map(Self)
                    // Only the canonical spelling: an id is also a part of keys, where two spellings would be two ids.
                    .filter(|id| id.to_string() == text)
                    .ok_or_else(|| InvalidId { text: text.to_owned(), kind: $kind, prefix: $prefix })
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> { text.parse() }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self { id.to_string() }
        }
    };
}

prefixed_id!(
    /// A recovery point. Derived from its slot, so a redelivered event finds it taken.
    RecoveryPointId, "rp_", "recovery point id"
);
prefixed_id!(
    /// One attempt at one slot. Fresh per attempt; the fence between two attempts.
    RunId, "run_", "run id"
);
prefixed_id!(
    /// A restore request.
    RequestId, "rq_", "restore request id"
);
prefixed_id!(
    /// The recovery of an environment to new instances.
    RecoveryId, "rc_", "recovery id"
);
prefixed_id!(
    /// The erasure of a tenant.
    ErasureId, "er_", "erasure id"
);
prefixed_id!(
    /// A pack: one stored object holding many sealed chunks.
    PackId, "pk_", "pack id"
);
prefixed_id!(
    /// A tenant's opaque name in the vault. Drawn at random, so that no key, context or listing names a customer.
    VaultTenantId, "vt_", "vault tenant id"
);

/// The short name of a vault, part of every encryption context: `[a-z0-9-]`, 1 to 32 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VaultId(String);

impl VaultId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for VaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for VaultId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let fits =
            (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text)) } else { Err(format!("`{text}` is not a vault id: use 1 to 32 of a-z, 0-9 and `-`")) }
    }
}

impl FromStr for VaultId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl From<VaultId> for String {
    fn from(id: VaultId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_printing_and_parsing() {
        let id = RecoveryPointId::from_uuid(Uuid::from_u128(7));
        assert_eq!(id.to_string().parse::<RecoveryPointId>().unwrap(), id);
    }

    #[test]
    fn an_id_that_sorts_by_age_says_when_it_was_drawn_and_another_does_not() {
        let drawn: RequestId = "rq_0192a1b2-c3d4-7e5f-8a6b-7c8d9e0f1a2b".parse().unwrap();
        assert_eq!(drawn.drawn_at().unwrap().to_string(), "2024-10-18T22:15:00Z");
        assert_eq!(RequestId::from_uuid(Uuid::from_u128(7)).drawn_at(), None);
    }

    #[test]
    fn an_id_of_another_kind_or_spelling_is_refused() {
        let run = RunId::from_uuid(Uuid::from_u128(0xabcdef)).to_string();
        for text in
            [run.clone(), run.replace("run_", "rp_").to_uppercase(), run.replace("run_", "rp_").replace('-', ""), String::new()]
        {
            assert!(text.parse::<RecoveryPointId>().is_err(), "{text}");
        }
    }
}
