//! What a restore of settings may do.

use std::collections::BTreeMap;

use super::{Secret, Setting};

/// One thing that a restore does to a setting. None reads, writes or removes a value, and none removes anything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Takes a secret back that is scheduled for deletion: whole, with its value, as it was when it was deleted.
    TakeBack {
        /// The secret.
        secret: String,
    },
    /// Makes a secret anew as recorded, without a value. Its policy is a change of its own.
    Create(Box<Secret>),
    /// Gives a secret the recorded values of tags that it lacks or that are others.
    TagSecret {
        /// The secret.
        secret: String,
        /// Those tags.
        tags: BTreeMap<String, String>,
    },
    /// Gives a parameter the recorded values of tags that it lacks or that are others.
    TagParameter {
        /// The parameter.
        parameter: String,
        /// Those tags.
        tags: BTreeMap<String, String>,
    },
    /// Gives a secret its recorded resource policy.
    SetPolicy {
        /// The secret.
        secret: String,
        /// The policy, as JSON text.
        policy: String,
    },
}

impl Change {
    /// The setting as it is once this is done to it.
    pub(super) fn applied(&self, live: Option<Setting>) -> Option<Setting> {
        match (self, live) {
            (Self::Create(secret), None) => Some(Setting::Secret(bare(secret))),
            (Self::TakeBack { .. }, Some(Setting::Secret(secret))) => {
                Some(Setting::Secret(Secret { deleted_at: None, ..secret }))
            }
            (Self::TagSecret { tags, .. }, Some(Setting::Secret(mut secret))) => {
                secret.tags.extend(tags.clone());
                Some(Setting::Secret(secret))
            }
            (Self::SetPolicy { policy, .. }, Some(Setting::Secret(secret))) => {
                Some(Setting::Secret(Secret { policy: Some(policy.clone()), ..secret }))
            }
            (Self::TagParameter { tags, .. }, Some(Setting::Parameter(mut parameter))) => {
                parameter.tags.extend(tags.clone());
                Some(Setting::Parameter(parameter))
            }
            // Not a state in which this change is asked for.
            (_, live) => live,
        }
    }
}

/// A secret as it is made anew: what needs a value, and what other calls set, is not there yet.
fn bare(secret: &Secret) -> Secret {
    Secret {
        name: secret.name.clone(),
        description: secret.description.clone(),
        key_id: secret.key_id.clone(),
        tags: secret.tags.clone(),
        ..Secret::default()
    }
}
