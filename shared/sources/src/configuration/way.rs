//! The way from the settings that were previewed to those that were approved, as a text that an approval is bound to.
//!
//! A restore of settings is many calls and no transaction, and may be cut off between any two of them. So the digest of the
//! live settings is not one digest: for each setting that is to be changed it lists the states on its way, from the previewed
//! one to the last; what is not to be changed has one digest together. Live settings that are on this way are what was approved, or what an
//! earlier delivery made of it. All others have drifted.

use std::collections::BTreeMap;

use super::{
    Setting,
    standing::{canonical, key, text},
};

/// The state of a secret that was taken back. It may be any: what it was when it was deleted could not all be seen.
pub(super) const SERVES: &str = "*";

/// The states on a setting's way, by the digest of its kind and name.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// Digest of all settings that are not to be changed.
    pub(super) rest: String,
    /// For each that is, its states in order: as previewed, and after each change.
    pub(super) steps: BTreeMap<String, Vec<String>>,
}

impl Way {
    /// The way as text.
    pub(super) fn encode(&self) -> String {
        let steps = self.steps.iter().map(|(setting, states)| format!(",{setting}:{}", states.join(".")));
        steps.fold(self.rest.clone(), |text, step| text + &step)
    }

    /// Reads it back; `None` if it is none.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let mut parts = text.split(',');
        let rest = parts.next()?.to_owned();
        let step = |part: &str| {
            let (setting, states) = part.split_once(':')?;
            Some((setting.to_owned(), states.split('.').map(str::to_owned).collect()))
        };
        Some(Self { rest, steps: parts.map(step).collect::<Option<_>>()? })
    }
}

/// The digest of the settings that are not to be changed.
pub(super) fn rest<'a>(settings: impl Iterator<Item = (&'a str, &'a Setting)>) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("holdfast settings v1");
    for (id, setting) in settings {
        hasher.update(id.as_bytes());
        hasher.update(state(Some(setting)).as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Where a live setting is among the states of its way.
pub(super) fn place(states: &[String], live: Option<&Setting>) -> Option<usize> {
    let now = state(live);
    let serves = live.is_some_and(|live| !live.is_going());
    states.iter().position(|state| *state == now || (state == SERVES && serves))
}

/// The digest of a setting's kind and name.
pub(super) fn id(table: &str, name: &str) -> String {
    blake3::hash(format!("{table}\0{name}").as_bytes()).to_hex()[..16].to_owned()
}

/// The digest of a setting's state, and of there being none.
///
/// Left out is what no restore changes and what changes by itself: versions and times, and a secret's ARN, of which the last
/// characters are another secret's when it is made anew.
pub(super) fn state(setting: Option<&Setting>) -> String {
    let mut setting = setting.cloned();
    match &mut setting {
        Some(Setting::Parameter(parameter)) => {
            (parameter.version, parameter.modified_at, parameter.value) = (0, None, None);
            parameter.description = Some(text(&parameter.description).to_owned());
        }
        Some(Setting::Secret(secret)) => {
            (secret.changed_at, secret.arn) = (None, String::new());
            secret.versions.clear();
            secret.description = Some(text(&secret.description).to_owned());
            secret.key_id = Some(key(secret).to_owned());
            secret.policy = secret.policy.as_deref().map(canonical);
            secret.deleted_at = secret.deleted_at.is_some().then(String::new);
        }
        None => {}
    }
    // Structs of texts, numbers and sorted maps always have their JSON.
    let json = serde_json::to_vec(&setting).unwrap_or_default();
    blake3::hash(&json).to_hex()[..32].to_owned()
}
