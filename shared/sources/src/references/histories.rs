//! The histories of objects, key by key, as a media recovery point records them.

use jiff::{SignedDuration, Timestamp};
use vault::PointReader;

use super::{CLOCKS_DIFFER_AT_MOST_S, not_understood, objects::Standing};
use crate::{
    error::SourceError,
    media::{self, ObjectVersion},
    postgres::unescape,
};

/// Gives every key with what stood of it, in order, holding one record and one chunk.
pub(super) async fn each(
    media: &PointReader,
    view: Timestamp,
    each: &mut (dyn FnMut(&str, Standing) + Send),
) -> Result<(), SourceError> {
    let mut history: Option<History> = None;
    let mut reader = media.stream(media::STREAM)?.all();
    let mut begun = Vec::new();
    while let Some(piece) = reader.next().await? {
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(line);
            if begun.pop_if(|byte| *byte == b'\n').is_some() {
                let version = decode(&begun)?;
                begun.clear();
                match &mut history {
                    Some(history) if history.key == version.key => history.add(&version)?,
                    Some(before) if before.key > version.key => {
                        return Err(not_understood("the record of the tenant's media", "it is not in the order of keys"));
                    }
                    _ => {
                        if let Some(done) = history.replace(History::begin(&version, view)?) {
                            each(&done.key, done.standing());
                        }
                    }
                }
            }
        }
    }
    if let Some(done) = history {
        each(&done.key, done.standing());
    }
    Ok(())
}

fn decode(line: &[u8]) -> Result<ObjectVersion, SourceError> {
    let text = unescape(line).ok_or_else(|| not_understood("a record of `media`", "it is not text"))?;
    serde_json::from_str(&text).map_err(|source| SourceError::Record { what: "a record of `media`".to_owned(), source })
}

/// One key's versions, the newest first, reduced to what they say about one instant.
struct History {
    key: String,
    /// From when on the clocks allow to say that something is after the view, and until when that it is before.
    after: Timestamp,
    before: Timestamp,
    /// Whether the newest version is an object.
    is_there_now: bool,
    /// Whether at some instant about the view there was an object, and whether at some there was none.
    was_there: bool,
    was_not: bool,
    /// Whether a version was found that is surely older than the view: what is older still counts no more.
    is_settled: bool,
}

impl History {
    fn begin(newest: &ObjectVersion, view: Timestamp) -> Result<Self, SourceError> {
        let tolerance = SignedDuration::from_secs(CLOCKS_DIFFER_AT_MOST_S);
        let (after, before) = (view.checked_add(tolerance), view.checked_sub(tolerance));
        let mut history = Self {
            key: newest.key.clone(),
            after: after.unwrap_or(Timestamp::MAX),
            before: before.unwrap_or(Timestamp::MIN),
            is_there_now: !newest.delete_marker,
            was_there: false,
            was_not: false,
            is_settled: false,
        };
        history.add(newest)?;
        Ok(history)
    }

    fn add(&mut self, version: &ObjectVersion) -> Result<(), SourceError> {
        let modified: Timestamp =
            version.modified_at.parse().map_err(|error| not_understood("the time of an object's version", error))?;
        if self.is_settled || modified > self.after {
            return Ok(());
        }
        if version.delete_marker {
            self.was_not = true;
        } else {
            self.was_there = true;
        }
        self.is_settled = modified < self.before;
        Ok(())
    }

    fn standing(&self) -> Standing {
        // Before its first version there was nothing.
        let was_not = self.was_not || !self.is_settled;
        match (self.was_there, was_not, self.is_there_now) {
            (true, true, _) => Standing::Undecided,
            (true, false, true) => Standing::There,
            (true, false, false) => Standing::Leaving,
            (false, _, true) => Standing::Later,
            (false, _, false) => Standing::Nowhere,
        }
    }
}
