//! Two sorted streams of versions, the recorded and the live ones, told key by key.

use std::pin::Pin;

use domain::ErrorReport;
use futures::stream::{BoxStream, Peekable, StreamExt};
use jiff::Timestamp;

use super::{ObjectVersion, unordered};
use crate::error::SourceError;

/// Versions in the order of their keys, newest first.
pub(super) type Versions<'a> = BoxStream<'a, Result<ObjectVersion, ErrorReport>>;

/// One key: what the recovery point says of it, and what the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyState {
    pub(super) key: String,
    /// The version that was current, unless there was none or a delete marker.
    pub(super) recorded: Option<ObjectVersion>,
    /// Whether the bucket still has that very version.
    pub(super) is_kept: bool,
    /// The version that is current now, unless there is none or a delete marker.
    pub(super) live: Option<ObjectVersion>,
    /// The one that was current at the instant asked about, likewise.
    pub(super) then: Option<ObjectVersion>,
    /// Whether something was written since that instant.
    pub(super) is_newer: bool,
    /// When the newest version was written.
    pub(super) newest: Option<Timestamp>,
}

/// Walks both streams at once, and holds no more than one key's few versions that matter.
pub(super) struct Histories<'a> {
    recorded: Peekable<Versions<'a>>,
    live: Peekable<Versions<'a>>,
    /// The instant asked about; without one, now.
    as_of: Option<Timestamp>,
    /// The key told last.
    before: Option<String>,
}

impl<'a> Histories<'a> {
    pub(super) fn new(recorded: Versions<'a>, live: Versions<'a>, as_of: Option<Timestamp>) -> Self {
        Self { recorded: recorded.peekable(), live: live.peekable(), as_of, before: None }
    }

    /// The next key that the recovery point or the bucket knows.
    pub(super) async fn next(&mut self) -> Result<Option<KeyState>, ErrorReport> {
        let keys = [first_key(&mut self.recorded).await?, first_key(&mut self.live).await?];
        let Some(key) = keys.into_iter().flatten().min() else { return Ok(None) };
        let mut state = KeyState { key, recorded: None, is_kept: false, live: None, then: None, is_newer: false, newest: None };
        let mut is_newest = true;
        while let Some(version) = next_of(&mut self.recorded, &state.key).await? {
            self.check_order("the recovery point's list of files", &version)?;
            if is_newest && !version.delete_marker {
                state.recorded = Some(version);
            }
            is_newest = false;
        }
        let (mut is_newest, mut is_then_known) = (true, false);
        while let Some(version) = next_of(&mut self.live, &state.key).await? {
            self.check_order("the bucket's listing", &version)?;
            state.is_kept |= state.recorded.as_ref().is_some_and(|recorded| is_same_version(recorded, &version));
            let written = written_at(&version)?;
            state.newest = state.newest.max(Some(written));
            let is_newer = self.as_of.is_some_and(|instant| written > instant);
            let present = (!version.delete_marker).then_some(&version);
            if is_newest {
                state.live = present.cloned();
                state.is_newer = is_newer;
            }
            if !is_newer && !is_then_known {
                state.then = present.cloned();
                is_then_known = true;
            }
            is_newest = false;
        }
        self.before = Some(state.key.clone());
        Ok(Some(state))
    }

    fn check_order(&self, what: &str, version: &ObjectVersion) -> Result<(), ErrorReport> {
        if self.before.as_ref().is_some_and(|before| version.key <= *before) {
            return Err(unordered(what, version).into());
        }
        Ok(())
    }
}

/// Whether both are one version, of the same bytes. Its id alone does not say so while versioning is suspended: such ones are all `null`.
pub(super) fn is_same_version(one: &ObjectVersion, other: &ObjectVersion) -> bool {
    one.version_id == other.version_id
        && one.etag == other.etag
        && one.size_bytes == other.size_bytes
        && one.delete_marker == other.delete_marker
}

async fn first_key(versions: &mut Peekable<Versions<'_>>) -> Result<Option<String>, ErrorReport> {
    match Pin::new(&mut *versions).peek().await {
        Some(Ok(version)) => Ok(Some(version.key.clone())),
        Some(Err(report)) => Err(report.clone()),
        None => Ok(None),
    }
}

/// The next version, if it is of this key.
async fn next_of(versions: &mut Peekable<Versions<'_>>, key: &str) -> Result<Option<ObjectVersion>, ErrorReport> {
    Pin::new(versions).next_if(|next| next.as_ref().map_or(true, |version| version.key == key)).await.transpose()
}

fn written_at(version: &ObjectVersion) -> Result<Timestamp, ErrorReport> {
    version.modified_at.parse().map_err(|source: jiff::Error| {
        let what = format!("the time `{}` of version {}", version.modified_at.escape_debug(), version.version_id);
        let source = serde::de::Error::custom(source);
        SourceError::Record { what, source }.into()
    })
}
