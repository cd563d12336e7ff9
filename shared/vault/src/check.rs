//! The check of a recovery point: every stored byte it needs is read, authenticated and counted again. And of a chain: every link is
//! there, signed, and names the one before it.

use std::{collections::HashSet, fmt, str::FromStr};

use domain::{
    VaultTenantId,
    verification::{self, Shares},
};

use crate::{
    caps,
    chain::Chain,
    chunk::ChunkId,
    chunk_reader::ChunkReader,
    defect::Defect,
    entry::ChunkEntry,
    error::VaultError,
    keys::KeyError,
    layout,
    link::{Link, PointRef},
    list::{Segment, StreamId},
    manifest::StreamEntry,
    reader::PointReader,
    rows_digest::{RowsDigest, RowsHasher},
    seen::{Place, Seen},
    sha256::Sha256Hex,
    signing::PublicKey,
    store::StoreError,
};

/// One thing that is wrong with a recovery point or a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The stored object, with the place in it where there is one.
    pub object: String,
    /// The stream or document that needs it, if it is one.
    pub entry: Option<String>,
    /// What is wrong.
    pub defect: Defect,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.object)?;
        if let Some(entry) = &self.entry {
            write!(f, ", needed by `{entry}`")?;
        }
        write!(f, ": {}", self.defect)
    }
}

/// Which chunks a check reads: every chunk is in exactly one of `of` shares, always the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Which share, counted from 1.
    n: u32,
    /// How many there are.
    of: u32,
}

impl Share {
    /// Every chunk.
    pub const ALL: Self = Self { n: 1, of: 1 };

    /// The `n`th of `of` shares, counted from 1; `None` if there is no such share.
    #[must_use]
    pub fn new(n: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&n).then_some(Self { n, of })
    }

    fn has(self, id: &ChunkId) -> bool {
        part_of(id, self.of) == self.n - 1
    }
}

/// Which of so many parts a chunk is in, counted from 0.
fn part_of(id: &ChunkId, of: u32) -> u32 {
    let (low, _) = id.as_bytes().split_first_chunk::<4>().expect("an id has 32 bytes");
    u32::from_le_bytes(*low) % of
}

/// Which chunks a check reads, and what it knows of them.
#[derive(Clone)]
pub(crate) enum Reading {
    /// A share, whatever was read before.
    Share(Share),
    /// Some shares of the rotation, less what was read in the same round.
    Round(Shares, Seen),
    /// Every chunk, whatever was read before; the round is told.
    Whole(Seen),
}

impl Reading {
    fn has(&self, id: &ChunkId) -> bool {
        match self {
            Self::Share(share) => share.has(id),
            Self::Round(shares, _) => shares.has(part_of(id, verification::SHARES)),
            Self::Whole(_) => true,
        }
    }

    /// Whether every chunk is read here and now, so that the rows can be counted and digested anew.
    fn is_whole(&self) -> bool {
        matches!(self, Self::Share(Share::ALL) | Self::Whole(_))
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.split_once('/').and_then(|(n, of)| Self::new(n.parse().ok()?, of.parse().ok()?));
        share.ok_or_else(|| format!("`{text}` is not a share: expected `n/t` with n from 1 to t, such as `1/7`"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.n, self.of)
    }
}

/// What a check read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Links followed.
    pub links: u64,
    /// Streams whose count and digest were recomputed and matched.
    pub streams: u64,
    /// Rows counted.
    pub rows: u64,
    /// Chunks named.
    pub chunks: u64,
    /// Those of them that were read and authenticated.
    pub chunks_read: u64,
    /// Their plaintext.
    pub plaintext_bytes: u64,
    /// What is wrong, at most [`caps::FINDINGS_MAX`] of it.
    pub findings: Vec<Finding>,
    /// Findings beyond those listed.
    pub findings_left_off: u64,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    pub(crate) fn find(&mut self, object: String, entry: Option<&str>, defect: Defect) {
        if self.findings.len() < caps::FINDINGS_MAX {
            self.findings.push(Finding { object, entry: entry.map(str::to_owned), defect });
        } else {
            self.findings_left_off += 1;
        }
    }
}

/// Follows a chain behind the place `after`. What the first link names as the one before it can only be judged at the chain's start.
///
/// Every link that is authentic goes to `each`, with the bytes that were signed and stored.
pub(crate) async fn chain(
    chain: &Chain,
    key: &PublicKey,
    after: u64,
    published: u64,
    mut each: impl FnMut(&[u8], &Link),
) -> Result<CheckReport, VaultError> {
    let mut report = CheckReport::default();
    let object = |sequence| layout::link(chain.tenant, sequence);
    let (mut last, mut intruders) = (after, HashSet::new());
    let mut previous = (after == 0).then_some(None::<Sha256Hex>);
    for place in chain.places(after).await? {
        match chain.read(place, key).await {
            Ok((stored, link)) => {
                report.links += 1;
                each(&stored, &link);
                let missing = (last + 1..place).filter(|place| !intruders.contains(place));
                missing.take(caps::FINDINGS_MAX).for_each(|missing| report.find(object(missing), None, Defect::Missing));
                last = place;
                if previous.is_some_and(|previous| previous != link.previous) {
                    report.find(object(place), None, Defect::Chain("it names another link as the one before it"));
                }
                previous = Some(Some(Sha256Hex::of(&stored)));
            }
            Err(error) => {
                let (damaged, defect) = damage(error)?;
                report.find(damaged.unwrap_or_else(|| object(place)), None, defect);
                intruders.insert(place);
            }
        }
    }
    if last < published {
        report.find(object(published), None, Defect::Chain("it ends before a recovery point that was published"));
    }
    Ok(report)
}

/// Checks what opening gave. A point that does not open is itself a finding.
pub(crate) async fn point(
    opened: Result<PointReader, VaultError>,
    tenant: VaultTenantId,
    reference: &PointRef,
    reading: Reading,
) -> Result<CheckReport, VaultError> {
    let mut report = CheckReport::default();
    let reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            let (object, defect) = damage(error)?;
            report.find(object.unwrap_or_else(|| layout::link(tenant, reference.sequence)), None, defect);
            return Ok(report);
        }
    };
    report.links = 1;
    let mut check = Check { reader: &reader, reading, missing: HashSet::new(), report };
    for stream in &reader.manifest().streams {
        check.stream(stream).await?;
    }
    for blob in &reader.manifest().blobs {
        let read = check.segments(&blob.segments, StreamId::DOCUMENT, &blob.name, None).await?;
        if read.is_some_and(|read| read.plaintext_bytes != blob.plaintext_bytes) {
            check.find_in_manifest(&blob.name, Defect::Malformed("document of another size"));
        }
    }
    Ok(check.report)
}

struct Check<'a> {
    reader: &'a PointReader,
    reading: Reading,
    /// What was found to be missing: found once, not once per chunk.
    missing: HashSet<String>,
    report: CheckReport,
}

/// What the chunks of an entry amount to, if all that were read are sound.
#[derive(Default)]
struct Read {
    rows: u64,
    digest: RowsDigest,
    plaintext_bytes: u64,
    ends_mid_row: bool,
}

impl Check<'_> {
    async fn stream(&mut self, stream: &StreamEntry) -> Result<(), VaultError> {
        let (name, secret) = (&stream.header.name, self.reader.tenant_secret());
        let row_key = secret.rows_key(&stream.header);
        let id = StreamId::of(&row_key);
        let mut total = Some(Read::default());
        for slice in &stream.slices {
            let hasher = RowsHasher::under(&row_key);
            let read = self.segments(&slice.segments, id, name, Some(hasher)).await?;
            if let Some(read) = read.as_ref().filter(|read| read.rows != slice.rows || read.ends_mid_row) {
                self.find_in_manifest(name, Defect::WrongRowCount { expected: slice.rows, found: read.rows });
                total = None;
            }
            total = total.zip(read).map(|(total, read)| Read {
                rows: total.rows + read.rows,
                digest: total.digest.plus(&read.digest),
                ..Read::default()
            });
        }
        let Some(total) = total else { return Ok(()) };
        self.report.rows += total.rows;
        if total.digest == stream.digest {
            self.report.streams += 1;
        } else {
            self.find_in_manifest(name, Defect::WrongDigest);
        }
        Ok(())
    }

    /// Reads an entry's chunks; `None` if not all of them were sound.
    async fn segments(
        &mut self,
        segments: &[Segment],
        stream: StreamId,
        name: &str,
        hasher: Option<RowsHasher>,
    ) -> Result<Option<Read>, VaultError> {
        let mut read = Read::default();
        let mut sound = true;
        // The lists say what the chunks amount to. Each chunk that is read is held to its id, and all of them together to the rest.
        for segment in segments {
            match self.reader.lists().segment(segment, stream).await {
                Ok(entries) => {
                    for entry in entries {
                        self.report.chunks += 1;
                        read.rows += u64::from(entry.rows);
                        read.digest = read.digest.plus(&entry.digest);
                        read.plaintext_bytes += u64::from(entry.plaintext_bytes);
                        read.ends_mid_row = entry.continues;
                        sound &= self.passes_as_seen(&entry, name);
                    }
                }
                Err(error) => {
                    self.find(name, error)?;
                    return Ok(None);
                }
            }
        }
        let mut hasher = hasher.filter(|_| self.reading.is_whole());
        let (reading, reader) = (self.reading.clone(), self.reader.clone());
        let wanted = move |entry: &ChunkEntry| match &reading {
            Reading::Round(_, seen) => reading.has(&entry.id) && !seen.has(&place(&reader, entry)),
            Reading::Share(_) | Reading::Whole(_) => reading.has(&entry.id),
        };
        let mut chunks = ChunkReader::new(self.reader.clone(), segments.to_vec(), stream).only(wanted);
        while let Some((entry, opened)) = chunks.next().await? {
            if let Reading::Round(_, seen) | Reading::Whole(seen) = &self.reading {
                seen.note(place(self.reader, &entry), opened.as_ref().err());
            }
            match opened {
                Ok(plaintext) => {
                    self.report.chunks_read += 1;
                    self.report.plaintext_bytes += plaintext.len() as u64;
                    if let Some(hasher) = &mut hasher {
                        hasher.update(&plaintext);
                    }
                }
                Err(error) => {
                    self.find(name, error)?;
                    sound = false;
                }
            }
        }
        if let Some(hasher) = hasher.filter(|hasher| sound && (hasher.rows() != read.rows || hasher.digest() != read.digest)) {
            let (expected, found) = (read.rows, hasher.rows());
            let defect = if expected == found { Defect::WrongDigest } else { Defect::WrongRowCount { expected, found } };
            self.find_in_manifest(name, defect);
            sound = false;
        }
        Ok(sound.then_some(read))
    }

    /// Whether nothing is known against a chunk that was read in the same round for another recovery point; finds what is.
    fn passes_as_seen(&mut self, entry: &ChunkEntry, name: &str) -> bool {
        let Reading::Round(_, seen) = &self.reading else { return true };
        match seen.damage(&place(self.reader, entry)).filter(|_| self.reading.has(&entry.id)) {
            Some((object, defect)) => {
                self.find_damage(name, object, defect);
                false
            }
            None => true,
        }
    }

    fn find(&mut self, name: &str, error: VaultError) -> Result<(), VaultError> {
        let (object, defect) = damage(error)?;
        self.find_damage(name, object.unwrap_or_else(|| name.to_owned()), defect);
        Ok(())
    }

    fn find_damage(&mut self, name: &str, object: String, defect: Defect) {
        if defect != Defect::Missing || self.missing.insert(object.clone()) {
            self.report.find(object, Some(name), defect);
        }
    }

    fn find_in_manifest(&mut self, name: &str, defect: Defect) {
        let link = self.reader.link();
        self.report.find(layout::manifest(link.tenant, link.point, link.run), Some(name), defect);
    }
}

/// Where a chunk lies, whichever recovery point needs it.
fn place(reader: &PointReader, entry: &ChunkEntry) -> Place {
    (reader.link().packs[entry.pack as usize].id, entry.offset, entry.id)
}

/// What an error says about the stored object; errors that say nothing about it are passed on.
pub(crate) fn damage(error: VaultError) -> Result<(Option<String>, Defect), VaultError> {
    match error {
        VaultError::NotAuthentic { object, defect } => Ok((Some(object), defect)),
        VaultError::Store(StoreError::Missing { key }) => Ok((Some(key), Defect::Missing)),
        VaultError::Key(KeyError::NotForThisContext { context }) => {
            let record = match context.run {
                Some(run) => layout::content_record(context.tenant, run),
                None => layout::dedup_record(context.tenant),
            };
            Ok((Some(record), Defect::WrongKeyRecord))
        }
        other => Err(other),
    }
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
