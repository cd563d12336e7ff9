//! The check of a recovery point: every stored byte it needs is read, authenticated and counted again.

use std::{collections::HashSet, fmt};

use crate::{
    caps,
    defect::Defect,
    error::VaultError,
    keys::KeyError,
    layout,
    manifest::{ManifestRef, StreamEntry},
    reader::{Entry, PointReader},
    rows_digest::RowsHasher,
    store::StoreError,
};

/// One thing that is wrong with a recovery point.
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

/// What a check read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Streams whose count and digest were recomputed and matched.
    pub streams: u64,
    /// Rows counted.
    pub rows: u64,
    /// Chunks read and authenticated.
    pub chunks: u64,
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

    fn find(&mut self, object: String, entry: Option<&str>, defect: Defect) {
        if self.findings.len() < caps::FINDINGS_MAX {
            self.findings.push(Finding { object, entry: entry.map(str::to_owned), defect });
        } else {
            self.findings_left_off += 1;
        }
    }
}

/// Checks what opening gave. A point that does not open is itself a finding.
pub(crate) async fn point(opened: Result<PointReader, VaultError>, reference: &ManifestRef) -> Result<CheckReport, VaultError> {
    let mut report = CheckReport::default();
    let reader = match opened {
        Ok(reader) => reader,
        Err(error) => {
            let (object, defect) = damage(error)?;
            report.find(object.unwrap_or_else(|| reference.key.clone()), None, defect);
            return Ok(report);
        }
    };
    let mut lost = HashSet::new();
    for (index, stream) in reader.manifest().streams.iter().enumerate() {
        let mut hasher = RowsHasher::new(reader.tenant_secret(), &stream.header);
        let name = &stream.header.name;
        if entry(&reader, Entry::Stream(index), name, &mut hasher, &mut lost, &mut report).await? {
            compare(stream, &hasher, reference, &mut report);
        }
    }
    for (index, blob) in reader.manifest().blobs.iter().enumerate() {
        entry(&reader, Entry::Blob(index), &blob.name, &mut Ignore, &mut lost, &mut report).await?;
    }
    Ok(report)
}

/// Takes the plaintext that a check reads.
trait Plaintext {
    fn update(&mut self, bytes: &[u8]);
}

impl Plaintext for RowsHasher {
    fn update(&mut self, bytes: &[u8]) {
        Self::update(self, bytes);
    }
}

struct Ignore;

impl Plaintext for Ignore {
    fn update(&mut self, _: &[u8]) {}
}

/// Reads an entry's chunks; whether all of them were sound. A missing pack is found once, not once per chunk.
async fn entry(
    reader: &PointReader,
    which: Entry,
    name: &str,
    plaintext: &mut (impl Plaintext + Send),
    lost: &mut HashSet<String>,
    report: &mut CheckReport,
) -> Result<bool, VaultError> {
    let mut chunks = reader.chunks(which);
    let mut sound = true;
    while let Some(pack) = chunks.peek().map(|chunk| chunks.pack_key(chunk)) {
        if lost.contains(&pack) {
            sound = false;
            chunks.skip();
            continue;
        }
        match chunks.next().await {
            None => break,
            Some(Ok(bytes)) => {
                report.chunks += 1;
                report.plaintext_bytes += bytes.len() as u64;
                plaintext.update(&bytes);
            }
            Some(Err(error)) => {
                let (object, defect) = damage(error)?;
                if defect == Defect::Missing {
                    lost.insert(pack.clone());
                }
                report.find(object.unwrap_or(pack), Some(name), defect);
                sound = false;
            }
        }
    }
    Ok(sound)
}

/// Compares a stream's recomputed count and digest with the manifest's.
fn compare(stream: &StreamEntry, hasher: &RowsHasher, reference: &ManifestRef, report: &mut CheckReport) {
    report.rows += hasher.rows();
    let (expected, found) = (stream.rows, hasher.rows());
    let defect = if expected != found || hasher.is_mid_row() {
        Defect::WrongRowCount { expected, found }
    } else if stream.digest != hasher.digest() {
        Defect::WrongDigest
    } else {
        report.streams += 1;
        return;
    };
    report.find(reference.key.clone(), Some(&stream.header.name), defect);
}

/// What an error says about the stored object; errors that say nothing about it are passed on.
fn damage(error: VaultError) -> Result<(Option<String>, Defect), VaultError> {
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
