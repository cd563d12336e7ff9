//! The objects of one pass, as hashes of their keys with what stands of each.

use jiff::Timestamp;
use vault::PointReader;

use super::{ObjectCounts, histories};
use crate::error::SourceError;

/// What stood of an object when the database was read, and what of it was listed afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There, and still listed.
    There = 0,
    /// There, and deleted since.
    Leaving = 1,
    /// Not there, and written since.
    Later = 2,
    /// The clocks do not allow to say.
    Undecided = 3,
    /// Neither there nor listed.
    Nowhere = 4,
}

/// A hash's lowest bits stand for the object's standing and for whether a row names it.
const STANDING: u128 = 0b011;
const REFERENCED: u128 = 0b100;
const FLAGS: u128 = STANDING | REFERENCED;

/// The objects whose hashes fall into one part of several, sorted.
pub(super) struct Objects {
    hash_key: [u8; 32],
    part: (u64, u64),
    entries: Vec<u128>,
}

impl Objects {
    /// Reads the objects of one part.
    pub(super) async fn read(media: &PointReader, view: Timestamp, part: (u64, u64)) -> Result<Self, SourceError> {
        let point = media.manifest().point;
        let hash_key = blake3::derive_key("holdfast references v1", point.to_string().as_bytes());
        let mut objects = Self { hash_key, part, entries: Vec::new() };
        let mut entries = Vec::new();
        histories::each(media, view, &mut |key, standing| {
            // What is nowhere is as good as never heard of.
            if let Some(hash) = objects.hash(key).filter(|_| standing != Standing::Nowhere) {
                entries.push(hash | standing as u128);
            }
        })
        .await?;
        entries.sort_unstable();
        objects.entries = entries;
        Ok(objects)
    }

    /// The hash of a key of this part.
    fn hash(&self, key: &str) -> Option<u128> {
        let hash = blake3::keyed_hash(&self.hash_key, key.as_bytes());
        let (first, _) = hash.as_bytes().split_first_chunk().expect("a hash has 32 bytes");
        let hash = u128::from_be_bytes(*first) & !FLAGS;
        let (part, of) = self.part;
        ((hash >> 64) as u64 % of == part).then_some(hash)
    }

    fn find(&self, hash: u128) -> Option<usize> {
        let at = self.entries.partition_point(|entry| entry & !FLAGS < hash);
        self.entries.get(at).is_some_and(|entry| entry & !FLAGS == hash).then_some(at)
    }

    /// Notes that a row names an object, and says what stands of it. `None` if it belongs to another part.
    pub(super) fn referenced(&mut self, key: &str) -> Option<Standing> {
        let hash = self.hash(key)?;
        let Some(at) = self.find(hash) else { return Some(Standing::Nowhere) };
        self.entries[at] |= REFERENCED;
        Some(standing_of(self.entries[at]))
    }

    /// Counts the objects, once every row was seen.
    pub(super) fn count(&self, counts: &mut ObjectCounts) {
        for entry in &self.entries {
            let standing = standing_of(*entry);
            counts.objects += u64::from(matches!(standing, Standing::There | Standing::Leaving));
            if entry & REFERENCED == 0 {
                match standing {
                    Standing::There => counts.orphans += 1,
                    Standing::Leaving => counts.leaving += 1,
                    Standing::Later => counts.newer += 1,
                    Standing::Undecided => counts.undecided += 1,
                    Standing::Nowhere => {}
                }
            }
        }
    }

    /// Names the first orphans: reads the record again, because only hashes were kept.
    pub(super) async fn name_orphans(
        &self,
        media: &PointReader,
        max: usize,
        orphans: &mut Vec<String>,
    ) -> Result<(), SourceError> {
        if !self.entries.iter().any(|entry| entry & FLAGS == Standing::There as u128) {
            return Ok(());
        }
        histories::each(media, Timestamp::MAX, &mut |key, _| {
            let entry = self.hash(key).and_then(|hash| self.find(hash)).map(|at| self.entries[at]);
            if orphans.len() < max && entry.is_some_and(|entry| entry & FLAGS == Standing::There as u128) {
                orphans.push(key.to_owned());
            }
        })
        .await
    }
}

fn standing_of(entry: u128) -> Standing {
    match entry & STANDING {
        0 => Standing::There,
        1 => Standing::Leaving,
        2 => Standing::Later,
        _ => Standing::Undecided,
    }
}
