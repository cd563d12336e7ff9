//! What was read in one round of checks, so that chunks which recovery points share are read once.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use domain::PackId;

use crate::{caps, chunk::ChunkId, defect::Defect, error::VaultError};

/// Where a chunk lies and what it must be: the same bytes under the same name need no second look.
pub(crate) type Place = (PackId, u32, ChunkId);

/// The chunks of one tenant that were read in a round. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    sound: HashSet<Place>,
    damaged: HashMap<Place, (String, Defect)>,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seen").finish_non_exhaustive()
    }
}

impl Seen {
    pub(crate) fn has(&self, place: &Place) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.sound.contains(place) || known.damaged.contains_key(place)
    }

    /// What was wrong with a chunk, if anything was.
    pub(crate) fn damage(&self, place: &Place) -> Option<(String, Defect)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).damaged.get(place).cloned()
    }

    /// Remembers what came of reading a chunk. An error that says nothing of the chunk is not remembered, and neither is anything beyond
    /// [`caps::SEEN_CHUNKS_MAX`]: it is read again.
    pub(crate) fn note(&self, place: Place, error: Option<&VaultError>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.sound.len() + known.damaged.len() >= caps::SEEN_CHUNKS_MAX {
            return;
        }
        match error {
            None => _ = known.sound.insert(place),
            Some(VaultError::NotAuthentic { object, defect }) => {
                _ = known.damaged.insert(place, (object.clone(), defect.clone()))
            }
            Some(_) => {}
        }
    }
}
