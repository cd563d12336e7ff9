//! What a restore of settings would do, and what of it is still to be done.

use std::collections::BTreeMap;

use domain::{Coded, ErrorCode, request::TableEffect};

use super::{
    Change, Setting,
    standing::{Standing, of_parameter, of_secret, reissue},
    way::{self, SERVES, Way},
};

/// Changes of one restore. Each adds some 100 bytes to the request's record.
const CHANGES_MAX: usize = 500;
/// What a preview may say altogether, in bytes: the request is one record of at most 400 KB.
const NOTES_BYTES_MAX: usize = 160 << 10;

/// What the names of a tenant's settings begin with, after the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefixes {
    /// Those of parameters.
    pub parameters: String,
    /// Those of secrets.
    pub secrets: String,
}

/// Why settings are not restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A recorded name is not the tenant's by the present plan.
    #[error(
        "the recovery point names the {table} {name:?}, which does not begin with {prefix:?} as this tenant's do by the present plan; nothing was changed. \
         If the plan's prefixes were changed since, restore by hand"
    )]
    OutOfScope {
        /// `parameters` or `secrets`.
        table: &'static str,
        /// The name.
        name: String,
        /// What it would have to begin with.
        prefix: String,
    },
    /// More than one person could look through.
    #[error(
        "the restore would change {changes} settings and say {bytes} bytes about them, more than one request holds; restore by hand"
    )]
    TooMuch {
        /// How many it would change.
        changes: usize,
        /// How long the notes are.
        bytes: usize,
    },
    /// The live settings are neither what was previewed nor what this restore made of them.
    #[error("the tenant's live settings changed since the preview; make a new request, so that what is approved is what happens")]
    Drifted,
}

impl Coded for SettingsError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfScope { .. } | Self::TooMuch { .. } => ErrorCode::RestoreRefused,
            Self::Drifted => ErrorCode::TargetDrifted,
        }
    }
}

impl Prefixes {
    /// Refuses settings that are not this tenant's.
    ///
    /// # Errors
    /// Naming the first one.
    fn check(&self, settings: &[Setting]) -> Result<(), SettingsError> {
        for setting in settings {
            let (table, prefix) = match setting {
                Setting::Parameter(_) => (PARAMETERS, &self.parameters),
                Setting::Secret(_) => (SECRETS, &self.secrets),
            };
            if !setting.name().starts_with(prefix.as_str()) {
                return Err(SettingsError::OutOfScope { table, name: setting.name().to_owned(), prefix: prefix.clone() });
            }
        }
        Ok(())
    }
}

/// How notes begin that say what is put back, and what stood there before.
pub const PUT_BACK: &str = "put back: ";
/// How the same notes begin after the restore, if it was not put back.
pub const NOT_PUT_BACK: &str = "not put back: ";

const PARAMETERS: &str = "parameters";
const SECRETS: &str = "secrets";

type Key = (&'static str, String);

fn keyed(settings: Vec<Setting>) -> BTreeMap<Key, Setting> {
    let settings = settings.into_iter().map(Setting::without_reserved_tags);
    settings.map(|setting| ((table(&setting), setting.name().to_owned()), setting)).collect()
}

fn table(setting: &Setting) -> &'static str {
    match setting {
        Setting::Parameter(_) => PARAMETERS,
        Setting::Secret(_) => SECRETS,
    }
}

/// A recovery point's settings held against the live ones.
#[derive(Debug)]
pub struct Comparison {
    recorded: BTreeMap<Key, Setting>,
    live: BTreeMap<Key, Setting>,
    standings: BTreeMap<Key, Standing>,
}

/// Holds a recovery point's settings against the live ones, of the same tenant by the present plan.
///
/// # Errors
/// If a name on either side is not the tenant's.
pub fn compare(prefixes: &Prefixes, recorded: Vec<Setting>, live: Vec<Setting>) -> Result<Comparison, SettingsError> {
    prefixes.check(&recorded)?;
    prefixes.check(&live)?;
    let (mut recorded, live) = (keyed(recorded), keyed(live));
    // What was on its way out then was no setting any more.
    recorded.retain(|_, setting| !setting.is_going());
    let stand = |(key, then): (&Key, &Setting)| {
        let standing = match (then, live.get(key)) {
            (Setting::Parameter(then), Some(Setting::Parameter(now))) => of_parameter(then, Some(now)),
            (Setting::Secret(then), Some(Setting::Secret(now))) => of_secret(then, Some(now)),
            (Setting::Parameter(then), _) => of_parameter(then, None),
            (Setting::Secret(then), _) => of_secret(then, None),
        };
        (key.clone(), standing)
    };
    let standings = recorded.iter().map(stand).collect();
    Ok(Comparison { recorded, live, standings })
}

impl Comparison {
    /// What the restore would do, counted: settings that come back, that get something back, and live ones that stay as they are.
    #[must_use]
    pub fn tables(&self) -> Vec<TableEffect> {
        let count = |table: &'static str| {
            let mut effect = TableEffect { table: table.to_owned(), returned: 0, overwritten: 0, destroyed: 0, unchanged: 0 };
            for ((_, name), standing) in self.standings.iter().filter(|((of, _), _)| *of == table) {
                match standing.changes.first() {
                    Some(Change::Create(_) | Change::TakeBack { .. }) => effect.returned += 1,
                    Some(_) => effect.overwritten += 1,
                    None => effect.unchanged += u64::from(self.live.contains_key(&(table, name.clone()))),
                }
            }
            effect.unchanged += self.surplus().filter(|(of, _)| *of == table).count() as u64;
            effect
        };
        vec![count(PARAMETERS), count(SECRETS)]
    }

    /// What a person should know: first what only they can do, then what is put back, then what stays as it is.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.told(PUT_BACK, |standing| &standing.by_hand)
    }

    /// What a person should know after the restore: what is still not put back was refused, or nobody approved it.
    #[must_use]
    pub fn left(&self) -> Vec<String> {
        // What there is to do about a secret that is made again is not to be done before it is.
        self.told(NOT_PUT_BACK, |standing| if standing.is_made_again() { &[] } else { &standing.by_hand })
    }

    fn told(&self, put_back: &str, by_hand: fn(&Standing) -> &[String]) -> Vec<String> {
        let surplus = self
            .surplus()
            .map(|(table, name)| format!("{} {name} is not in the recovery point; it stays", table.trim_end_matches('s')));
        let standings = || self.standings.values();
        let by_hand = standings().flat_map(by_hand).map(|note| format!("by hand: {note}"));
        let put_back = standings().flat_map(|standing| &standing.put_back).map(|note| format!("{put_back}{note}"));
        let stays = standings().flat_map(|standing| &standing.stays).cloned().chain(surplus).map(|note| format!("stays: {note}"));
        by_hand.chain(put_back).chain(stays).collect()
    }

    /// The digest of the live settings, from which [`Comparison::remaining`] knows them again while they are being changed.
    ///
    /// # Errors
    /// If the restore is more than one request can hold.
    pub fn live_digest(&self) -> Result<String, SettingsError> {
        let changed = || self.standings.iter().filter(|(_, standing)| !standing.changes.is_empty());
        let changes = changed().map(|(_, standing)| standing.changes.len()).sum();
        let bytes = self.notes().iter().map(String::len).sum();
        if changes > CHANGES_MAX || bytes > NOTES_BYTES_MAX {
            return Err(SettingsError::TooMuch { changes, bytes });
        }
        let steps: BTreeMap<String, Vec<String>> =
            changed().map(|(key, standing)| (id(key), self.states(key, &standing.changes))).collect();
        Ok(Way { rest: self.rest(&steps), steps }.encode())
    }

    /// What is still to be done of the restore whose preview had this digest.
    ///
    /// # Errors
    /// If the live settings are not on the way that was approved.
    pub fn remaining(&self, approved: &str) -> Result<Vec<Change>, SettingsError> {
        let way = Way::decode(approved).ok_or(SettingsError::Drifted)?;
        if self.rest(&way.steps) != way.rest {
            return Err(SettingsError::Drifted);
        }
        let mut remaining = Vec::new();
        for (key, standing) in &self.standings {
            let Some(states) = way.steps.get(&id(key)) else { continue };
            let place = way::place(states, self.live.get(key)).ok_or(SettingsError::Drifted)?;
            if place + 1 < states.len() {
                remaining.extend(standing.changes.iter().cloned());
            }
        }
        Ok(remaining)
    }

    /// The settings of the restore with this digest that are not at the end of their way, by name.
    #[must_use]
    pub fn unfinished(&self, approved: &str) -> Vec<String> {
        let Some(way) = Way::decode(approved) else { return Vec::new() };
        let arrived =
            |key: &Key, states: &[String]| way::place(states, self.live.get(key)).is_some_and(|place| place + 1 == states.len());
        let steps = self.recorded.keys().filter_map(|key| Some((key, way.steps.get(&id(key))?)));
        steps.filter(|(key, states)| !arrived(key, states)).map(|((_, name), _)| name.clone()).collect()
    }

    /// Whether anything of the restore with this digest is done, by this delivery or an earlier one.
    #[must_use]
    pub fn has_begun(&self, approved: &str) -> bool {
        let Some(way) = Way::decode(approved) else { return false };
        let moved = |key: &Key, states: &[String]| way::place(states, self.live.get(key)).is_some_and(|place| place > 0);
        self.recorded.keys().any(|key| way.steps.get(&id(key)).is_some_and(|states| moved(key, states)))
    }

    /// What a person has to do about the secrets that the restore with this digest made anew.
    #[must_use]
    pub fn reissues(&self, approved: &str) -> Vec<String> {
        let Some(way) = Way::decode(approved) else { return Vec::new() };
        let absent = way::state(None);
        let made = |(key, setting): (&Key, &Setting)| match setting {
            Setting::Secret(secret) if self.live.contains_key(key) && way.steps.get(&id(key))?.first() == Some(&absent) => {
                Some(format!("by hand: {}", reissue(secret)))
            }
            _ => None,
        };
        self.recorded.iter().filter_map(made).collect()
    }

    /// How many recorded settings are live as recorded, as far as metadata goes.
    #[must_use]
    pub fn matching(&self) -> u64 {
        self.standings.values().filter(|standing| standing.matches()).count() as u64
    }

    /// How many recorded settings a person has to see to: those that are not live as recorded.
    #[must_use]
    pub fn not_as_recorded(&self) -> u64 {
        self.standings.len() as u64 - self.matching()
    }

    /// Live settings that were not recorded.
    fn surplus(&self) -> impl Iterator<Item = &Key> {
        self.live.iter().filter(|(key, setting)| !self.recorded.contains_key(*key) && !setting.is_going()).map(|(key, _)| key)
    }

    fn rest(&self, steps: &BTreeMap<String, Vec<String>>) -> String {
        // What is on its way out and was not recorded may end at any time, and nothing is done about it.
        let serving = self.live.iter().filter(|(_, setting)| !setting.is_going());
        let ids: Vec<(String, &Setting)> = serving.map(|(key, setting)| (id(key), setting)).collect();
        way::rest(ids.iter().filter(|(id, _)| !steps.contains_key(id)).map(|(id, setting)| (id.as_str(), *setting)))
    }

    /// The states of a setting from now to after the last change.
    fn states(&self, key: &Key, changes: &[Change]) -> Vec<String> {
        let mut setting = self.live.get(key).cloned();
        let mut states = vec![way::state(setting.as_ref())];
        for change in changes {
            if matches!(change, Change::TakeBack { .. }) {
                states.push(SERVES.to_owned());
            } else {
                setting = change.applied(setting);
                states.push(way::state(setting.as_ref()));
            }
        }
        states
    }
}

fn id((table, name): &Key) -> String {
    way::id(table, name)
}
