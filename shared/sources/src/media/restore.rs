//! A tenant's files back to a recovery point, by versions.
//!
//! What was current is made current again by copying that version onto its own key; what was not there is hidden by a delete marker. No
//! version is ever removed, so everything that was live before stays in the bucket as an older version. Files have no staging and no
//! transaction: an interrupted restore leaves some of them restored, and going on does the rest.

use std::collections::HashSet;

use async_trait::async_trait;
use domain::{ErrorCode, ErrorReport, request::Findings};
use futures::{Stream, StreamExt, TryStreamExt, stream, stream::BoxStream};
use jiff::Timestamp;
use vault::PointReader;

use super::{
    ObjectVersion,
    histories::{Histories, KeyState},
    plan::{Decision, Fate, Tally, instant_of},
    read,
};

/// Questions about single versions under way at once.
const LOOKS_AT_ONCE: usize = 32;
/// Copies and delete markers under way at once: S3 takes more, but a copy of a large file takes a while, and others use the bucket too.
const ACTS_AT_ONCE: usize = 16;

/// The tenant's part of a bucket that keeps every version. Keys are those below the tenant's prefix.
#[async_trait]
pub trait Bucket: Send + Sync {
    /// How people call it: the bucket and the prefix.
    fn place(&self) -> String;

    /// Refuses a bucket that does not keep versions: copies and markers would replace what they lie on.
    async fn check_keeps_versions(&self) -> Result<(), ErrorReport>;

    /// Every version and delete marker, by key and newest first. Their tags need not be told.
    fn history(&self) -> BoxStream<'_, Result<ObjectVersion, ErrorReport>>;

    /// Whether a version has the very bytes and tags of a recorded one of the same key and size. "No" is the answer in doubt.
    async fn is_copy(&self, live: &ObjectVersion, recorded: &ObjectVersion) -> Result<bool, ErrorReport>;

    /// Makes a version current again by copying it onto its own key, with the recorded tags, provided that `over` is still the live
    /// one. Gives the copy's version id, or none if the version's bytes are in an archive, which no listing may tell.
    async fn copy_forward(&self, recorded: &ObjectVersion, over: Option<&ObjectVersion>) -> Result<Option<String>, ErrorReport>;

    /// Puts a delete marker on a key, provided that this is still the live version.
    async fn mark_deleted(&self, live: &ObjectVersion) -> Result<(), ErrorReport>;
}

/// What a restore did, after it was found to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Whether anything had to be changed.
    pub changed: bool,
    /// Files that are live as recorded.
    pub files: u64,
    /// Files that could not be brought back.
    pub lost: u64,
    /// Which, and why.
    pub notes: Vec<String>,
}

/// Counts what a restore would do, and writes nothing.
///
/// # Errors
/// If the bucket keeps no versions, or it or the recovery point cannot be read.
pub async fn compare(point: &PointReader, bucket: &dyn Bucket) -> Result<Findings, ErrorReport> {
    bucket.check_keeps_versions().await?;
    Ok(tally(point, bucket, None).await?.findings(&bucket.place()))
}

/// Brings the files to the recovery point and proves that they are there. `approved` is the live digest of the preview. Running it
/// again does what is left to do, which is nothing after a run that came to its end.
///
/// # Errors
/// If the live files are neither those of the preview nor as recorded, or the bucket or the recovery point fails; what was restored
/// until then stays so.
pub async fn run(point: &PointReader, bucket: &dyn Bucket, approved: &str) -> Result<Restored, ErrorReport> {
    bucket.check_keeps_versions().await?;
    let previewed_at = instant_of(approved).unwrap_or(Timestamp::MIN);
    let found = tally(point, bucket, Some(previewed_at)).await?;
    let changed = found.changes() > 0;
    if changed && !found.is_of(approved) {
        return Err(drifted(bucket));
    }
    let made = if changed { act(point, bucket, previewed_at).await? } else { Made::default() };
    let proof = prove(point, bucket, &made).await?;
    Ok(Restored { changed, files: proof.unchanged(), lost: proof.lost(), notes: proof.notes() })
}

fn drifted(bucket: &dyn Bucket) -> ErrorReport {
    let message = format!(
        "the tenant's files in {} changed since the preview; make a new request, so that what is approved is what happens",
        bucket.place()
    );
    ErrorReport::new(ErrorCode::TargetDrifted, message)
}

/// What came of this run's copies, by hashes of key and version id. Needed where nothing else tells that a copy is one.
#[derive(Default)]
struct Made {
    copies: HashSet<[u8; 16]>,
    /// Recorded versions that turned out to be in an archive.
    archived: HashSet<[u8; 16]>,
}

impl Made {
    fn name(key: &str, version_id: &str) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&(key.len() as u64).to_be_bytes());
        let mut name = [0; 16];
        hasher.update(key.as_bytes()).update(version_id.as_bytes()).finalize_xof().fill(&mut name);
        name
    }

    fn has(&self, live: &ObjectVersion) -> bool {
        self.copies.contains(&Self::name(&live.key, &live.version_id))
    }

    fn is_archived(&self, recorded: &ObjectVersion) -> bool {
        self.archived.contains(&Self::name(&recorded.key, &recorded.version_id))
    }
}

/// What becomes of each key, in order.
fn decisions<'a>(
    point: &PointReader,
    bucket: &'a dyn Bucket,
    as_of: Option<Timestamp>,
    made: &'a Made,
) -> Result<impl Stream<Item = Result<Decision, ErrorReport>> + Send + use<'a>, ErrorReport> {
    let recorded = read(point)?.map_err(ErrorReport::from).boxed();
    let histories = Histories::new(recorded, bucket.history(), as_of);
    let states = stream::try_unfold(histories, async |mut histories: Histories<'a>| {
        Ok::<_, ErrorReport>(histories.next().await?.map(|state| (state, histories)))
    });
    let decide = async move |state: KeyState| {
        let is_copy = match state.twins() {
            Some((live, recorded)) => made.has(live) || bucket.is_copy(live, recorded).await?,
            None => false,
        };
        let is_archived = state.recorded.as_ref().is_some_and(|recorded| made.is_archived(recorded));
        Ok::<_, ErrorReport>(state.decide(is_copy, is_archived))
    };
    Ok(states.map_ok(decide).try_buffered(LOOKS_AT_ONCE))
}

async fn tally(point: &PointReader, bucket: &dyn Bucket, as_of: Option<Timestamp>) -> Result<Tally, ErrorReport> {
    let made = Made::default();
    let mut tally = Tally::new();
    let mut decisions = std::pin::pin!(decisions(point, bucket, as_of, &made)?);
    while let Some(decision) = decisions.try_next().await? {
        tally.add(&decision);
    }
    Ok(tally)
}

/// What an act came to, for [`Made`].
enum Act {
    Copied([u8; 16]),
    Archived([u8; 16]),
    /// A delete marker, or nothing to do.
    Nothing,
}

/// Lists anew and does what is to be done. What was written since the preview is not touched, nor written over.
async fn act(point: &PointReader, bucket: &dyn Bucket, previewed_at: Timestamp) -> Result<Made, ErrorReport> {
    let none = Made::default();
    let carry_out = async |Decision { fate, state }: Decision| {
        if state.is_newer && matches!(fate, Fate::Returned | Fate::Overwritten | Fate::Destroyed) {
            return Err(drifted(bucket));
        }
        Ok(match (fate, state.recorded, state.live) {
            (Fate::Returned | Fate::Overwritten, Some(recorded), live) => {
                match bucket.copy_forward(&recorded, live.as_ref()).await? {
                    Some(version_id) => Act::Copied(Made::name(&recorded.key, &version_id)),
                    None => Act::Archived(Made::name(&recorded.key, &recorded.version_id)),
                }
            }
            (Fate::Destroyed, None, Some(live)) => {
                bucket.mark_deleted(&live).await?;
                Act::Nothing
            }
            _ => Act::Nothing,
        })
    };
    let acts = decisions(point, bucket, Some(previewed_at), &none)?.map_ok(carry_out).try_buffer_unordered(ACTS_AT_ONCE);
    let mut acts = std::pin::pin!(acts);
    let mut made = Made::default();
    while let Some(act) = acts.try_next().await? {
        match act {
            Act::Copied(name) => drop(made.copies.insert(name)),
            Act::Archived(name) => drop(made.archived.insert(name)),
            Act::Nothing => {}
        }
    }
    Ok(made)
}

/// Lists the bucket once more: every recorded file must be live with its bytes, and nothing else.
async fn prove(point: &PointReader, bucket: &dyn Bucket, made: &Made) -> Result<Tally, ErrorReport> {
    let mut tally = Tally::new();
    let mut decisions = std::pin::pin!(decisions(point, bucket, None, made)?);
    while let Some(decision) = decisions.try_next().await? {
        if !matches!(decision.fate, Fate::Absent | Fate::Unchanged | Fate::Lost(_)) {
            let message = format!(
                "after the restore, `{}` in {} is not as recorded, as somebody wrote there at the same time: make a new request; every \
                 version is still in the bucket",
                decision.state.key.escape_debug(),
                bucket.place()
            );
            return Err(ErrorReport::new(ErrorCode::ContentMismatch, message));
        }
        tally.add(&decision);
    }
    Ok(tally)
}
