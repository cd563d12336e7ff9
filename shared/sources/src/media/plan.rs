//! What a restore does to each key, decided from what is recorded and what is there.

use domain::request::{Findings, TableEffect};
use jiff::Timestamp;

use super::{
    ObjectVersion,
    histories::{KeyState, is_same_version},
};

/// The largest object that S3 copies in one call: 5 GiB.
const COPY_BYTES_MAX: u64 = 5 << 30;
/// Storage classes whose bytes cannot be read without bringing them back first.
const ARCHIVES: [&str; 2] = ["GLACIER", "DEEP_ARCHIVE"];
/// Files that a note names; the rest are counted.
const NAMED_MAX: usize = 10;
/// Stands between a live digest's two parts.
const AS_OF: &str = " as of ";

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was not live, and is not.
    Absent,
    /// It is live, with the recorded bytes.
    Unchanged,
    /// It is not live; the recorded version is copied forward.
    Returned,
    /// It is live with other bytes; the recorded version is copied forward.
    Overwritten,
    /// It is live and was not; a delete marker goes on top.
    Destroyed,
    /// It was live, and cannot be made so again: it stays as it is.
    Lost(Lost),
}

/// Why a recorded version cannot be made current again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    Gone,
    Archived,
    TooLarge,
}

/// One key and what becomes of it.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) state: KeyState,
    pub(super) fate: Fate,
}

impl KeyState {
    /// The live and the recorded version, if one may be a copy of the other: a copy has the size, but an id of its own and, in parts or
    /// under a KMS key, another entity tag.
    pub(super) fn twins(&self) -> Option<(&ObjectVersion, &ObjectVersion)> {
        let twins = self.live.as_ref().zip(self.recorded.as_ref());
        twins.filter(|(live, recorded)| live.size_bytes == recorded.size_bytes && !is_same_version(live, recorded))
    }

    /// Decides. `is_copy` says whether the twins, if there are any, are of the same bytes and tags; `is_archived` that the recorded version
    /// turned out to be in an archive.
    pub(super) fn decide(self, is_copy: bool, is_archived: bool) -> Decision {
        let fate = match (&self.recorded, &self.live) {
            (None, None) => Fate::Absent,
            (None, Some(_)) => Fate::Destroyed,
            (Some(recorded), Some(live)) if is_copy || is_same_version(recorded, live) => Fate::Unchanged,
            (Some(_), _) if !self.is_kept => Fate::Lost(Lost::Gone),
            (Some(recorded), _) if is_archived || is_of_archive_class(recorded) => Fate::Lost(Lost::Archived),
            (Some(recorded), _) if recorded.size_bytes > COPY_BYTES_MAX => Fate::Lost(Lost::TooLarge),
            (Some(_), None) => Fate::Returned,
            (Some(_), Some(_)) => Fate::Overwritten,
        };
        Decision { state: self, fate }
    }
}

fn is_of_archive_class(version: &ObjectVersion) -> bool {
    version.storage_class.as_deref().is_some_and(|class| ARCHIVES.contains(&class))
}

/// Sums decisions up.
pub(super) struct Tally {
    returned: u64,
    overwritten: u64,
    destroyed: u64,
    unchanged: u64,
    lost: [(Lost, u64, Vec<String>); 3],
    hasher: blake3::Hasher,
    newest: Option<Timestamp>,
    /// Whether somebody wrote, since the instant asked about, what a restore would change again.
    has_drifted: bool,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            returned: 0,
            overwritten: 0,
            destroyed: 0,
            unchanged: 0,
            lost: [Lost::Gone, Lost::Archived, Lost::TooLarge].map(|why| (why, 0, Vec::new())),
            hasher: blake3::Hasher::new_derive_key("holdfast live media v1"),
            newest: None,
            has_drifted: false,
        }
    }

    pub(super) fn add(&mut self, decision: &Decision) {
        let Decision { state, fate } = decision;
        self.newest = self.newest.max(state.newest);
        if let Some(then) = &state.then {
            self.hash(&[&state.key, &then.version_id, then.etag.as_deref().unwrap_or_default()]);
        }
        match fate {
            Fate::Absent => {}
            Fate::Unchanged => self.unchanged += 1,
            Fate::Returned => self.returned += 1,
            Fate::Overwritten => self.overwritten += 1,
            Fate::Destroyed => self.destroyed += 1,
            Fate::Lost(why) => {
                self.hash(&[&state.key, why.name()]);
                for (_, count, named) in self.lost.iter_mut().filter(|(other, ..)| other == why) {
                    *count += 1;
                    if let Some(recorded) = state.recorded.as_ref().filter(|_| named.len() < NAMED_MAX) {
                        let ObjectVersion { key, version_id, size_bytes, .. } = recorded;
                        named.push(format!("`{}` (version {version_id}, {size_bytes} bytes)", key.escape_debug()));
                    }
                }
            }
        }
        // What is as recorded already is no harm, whoever did it: an interrupted restore, most likely.
        self.has_drifted |= state.is_newer && !matches!(fate, Fate::Absent | Fate::Unchanged);
    }

    fn hash(&mut self, parts: &[&str]) {
        for part in parts {
            self.hasher.update(&(part.len() as u64).to_be_bytes());
            self.hasher.update(part.as_bytes());
        }
        self.hasher.update(&[0xff]);
    }

    /// How many keys would be changed.
    pub(super) fn changes(&self) -> u64 {
        self.returned + self.overwritten + self.destroyed
    }

    /// How many keys are live as recorded.
    pub(super) fn unchanged(&self) -> u64 {
        self.unchanged
    }

    /// How many keys cannot be live as recorded.
    pub(super) fn lost(&self) -> u64 {
        self.lost.iter().map(|(_, count, _)| count).sum()
    }

    /// Says which files cannot be brought back, and what a person can do about it.
    pub(super) fn notes(&self) -> Vec<String> {
        let told = self.lost.iter().filter(|(_, count, _)| *count > 0);
        let note = |(why, count, named): &(Lost, u64, Vec<String>)| {
            let more = count.saturating_sub(named.len() as u64);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!(
                "{count} files cannot be brought back and are left as they are, because {}: {}{more}",
                why.reason(),
                named.join(", ")
            )
        };
        told.map(note).collect()
    }

    /// Names the live files as they were at the instant asked about, and that instant: that of the newest version, in the bucket's time.
    pub(super) fn live_digest(&self) -> String {
        format!("{}{AS_OF}{}", self.hasher.finalize().to_hex(), self.newest.unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// Whether the live files are those of an earlier [`Self::live_digest`], but for what is as recorded by now.
    pub(super) fn is_of(&self, live_digest: &str) -> bool {
        !self.has_drifted && live_digest.split(AS_OF).next() == Some(self.hasher.finalize().to_hex().as_str())
    }

    pub(super) fn findings(&self, place: &str) -> Findings {
        let Self { returned, overwritten, destroyed, unchanged, .. } = *self;
        let files = TableEffect { table: place.to_owned(), returned, overwritten, destroyed, unchanged };
        Findings { tables: vec![files], notes: self.notes(), live_digest: self.live_digest() }
    }
}

/// The instant of a live digest.
pub(super) fn instant_of(live_digest: &str) -> Option<Timestamp> {
    live_digest.split_once(AS_OF)?.1.parse().ok()
}

impl Lost {
    fn name(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Archived => "archived",
            Self::TooLarge => "too large",
        }
    }

    fn reason(self) -> &'static str {
        match self {
            Self::Gone => "the bucket no longer has their recorded versions (see its lifecycle rules)",
            Self::Archived => {
                "their recorded versions are archived (restore them from the archive and copy them onto their keys)"
            }
            Self::TooLarge => "their recorded versions are over 5 GiB (copy them onto their keys in parts)",
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
