//! Key records: a wrapped data key as a small JSON object that names its context, and nothing secret.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{caps, defect::Defect, keys::KeyContext};

const FORMAT: &str = "HF1";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyRecord {
    format: String,
    /// For people and for the break-glass tool. Readers rebuild the context and only compare.
    context: BTreeMap<String, String>,
    wrapped_key: String,
}

impl KeyRecord {
    fn new(context: &KeyContext, wrapped: &[u8]) -> Self {
        Self {
            format: FORMAT.to_owned(),
            context: context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            wrapped_key: BASE64_STANDARD.encode(wrapped),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings always encode")
    }
}

/// The stored bytes of the record of `wrapped`.
pub(crate) fn encode(context: &KeyContext, wrapped: &[u8]) -> Vec<u8> {
    KeyRecord::new(context, wrapped).to_bytes()
}

/// The wrapped key of a record that must be for `context`.
pub(crate) fn decode(stored: &[u8], context: &KeyContext) -> Result<Vec<u8>, Defect> {
    if stored.len() > caps::KEY_RECORD_BYTES_MAX {
        return Err(Defect::WrongSize);
    }
    let record: KeyRecord = serde_json::from_slice(stored).map_err(|_| Defect::Malformed("key record"))?;
    if record.format != FORMAT {
        return Err(Defect::Malformed("key record of another format"));
    }
    let wrapped = BASE64_STANDARD.decode(&record.wrapped_key).map_err(|_| Defect::Malformed("wrapped key"))?;
    if record.context != KeyRecord::new(context, &wrapped).context {
        return Err(Defect::BelongsElsewhere("key context"));
    }
    // Only the one spelling that we write, so that no byte of the record can change unnoticed.
    if record.to_bytes() != stored {
        return Err(Defect::Malformed("key record spelt otherwise"));
    }
    Ok(wrapped)
}

#[cfg(test)]
mod tests {
    use domain::{RunId, VaultTenantId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn context(tenant: u128) -> KeyContext {
        let id = |n| Uuid::from_u128(n);
        KeyContext::content("main".parse().unwrap(), VaultTenantId::from_uuid(id(tenant)), RunId::from_uuid(id(2)))
    }

    proptest! {
        #[test]
        fn a_record_gives_back_the_wrapped_key(wrapped in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(decode(&encode(&context(1), &wrapped), &context(1)).unwrap(), wrapped);
        }
    }

    #[test]
    fn a_record_is_spelt_as_the_format_says() {
        assert_eq!(
            String::from_utf8(encode(&context(1), b"wrapped")).unwrap(),
            concat!(
                r#"{"format":"HF1","context":{"app":"holdfast","purpose":"content","run":"run_00000000-0000-0000-0000-000000000002","#,
                r#""tenant":"vt_00000000-0000-0000-0000-000000000001","vault":"main"},"wrapped_key":"d3JhcHBlZA=="}"#
            )
        );
    }

    #[test]
    fn another_tenants_record_is_refused() {
        assert_eq!(decode(&encode(&context(7), b"wrapped"), &context(1)), Err(Defect::BelongsElsewhere("key context")));
    }

    #[test]
    fn no_byte_of_a_record_outside_the_wrapped_key_can_change_unnoticed() {
        let record = encode(&context(1), b"wrapped");
        for at in 0..record.len() {
            for flip in [1, 0x20, 0x80] {
                let mut changed = record.clone();
                changed[at] ^= flip;
                assert_ne!(decode(&changed, &context(1)).ok().as_deref(), Some(b"wrapped".as_slice()), "byte {at}");
            }
            assert!(decode(&record[..at], &context(1)).is_err());
        }
        assert!(decode(&[record.as_slice(), b" "].concat(), &context(1)).is_err());
    }
}
