//! Streams of rows: what a source pushes and what it is told in return.

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{caps, error::VaultError, progress::Progress, rows_digest::RowsDigest};

/// What a stream is, before its rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamHeader {
    /// The stream's name, unique in its recovery point; for a table, its qualified name.
    pub name: String,
    /// The name that goes into the rows' digest. Without the schema, so that a staged copy in another schema compares equal.
    pub digest_name: String,
    /// The columns, in the order of the fields of each row.
    pub columns: Vec<String>,
    /// Indexes into `columns` of the key by which the rows come ordered; empty for a table without one.
    pub key_columns: Vec<usize>,
}

impl StreamHeader {
    /// Checks the header against the format's limits.
    pub(crate) fn check(&self) -> Result<(), VaultError> {
        let refuse = |reason: String| Err(VaultError::NotRows { stream: self.name.clone(), reason });
        let fits = |name: &str| (1..=caps::NAME_BYTES_MAX).contains(&name.len());
        if !fits(&self.name) || !fits(&self.digest_name) {
            return refuse(format!("its name must have 1 to {} bytes", caps::NAME_BYTES_MAX));
        }
        if self.columns.len() > caps::COLUMNS_MAX || !self.columns.iter().all(|column| fits(column)) {
            return refuse(format!(
                "it must have at most {} columns with names of 1 to {} bytes",
                caps::COLUMNS_MAX,
                caps::NAME_BYTES_MAX
            ));
        }
        match self.key_columns.iter().find(|index| **index >= self.columns.len()) {
            Some(index) => refuse(format!("its key names column {index} of {}", self.columns.len())),
            None => Ok(()),
        }
    }

    /// Checks that `lines` ends with a whole line: half a row must never pass for one.
    pub(crate) fn check_lines(&self, lines: &[u8]) -> Result<(), VaultError> {
        if lines.last().is_none_or(|byte| *byte == b'\n') {
            return Ok(());
        }
        Err(VaultError::NotRows { stream: self.name.clone(), reason: "its rows do not end in a newline".to_owned() })
    }

    pub(crate) fn key_missing(&self) -> VaultError {
        VaultError::NotRows { stream: self.name.clone(), reason: "a row has fewer fields than its key needs".to_owned() }
    }
}

/// What a finished stream amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamSummary {
    /// The stream's name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The order-independent keyed digest of its rows; prints as 128 hexadecimal digits.
    pub digest: RowsDigest,
}

/// Takes streams of rows. Several can be open at once, and each takes several slices side by side.
#[async_trait]
pub trait StreamSink: Send + Sync {
    /// Starts a stream.
    ///
    /// # Errors
    /// If its name is taken, or the header breaks a limit.
    fn open(&self, header: StreamHeader) -> Result<Box<dyn OpenStream>, VaultError>;
}

/// A stream that is being written.
#[async_trait]
pub trait OpenStream: Send + Sync {
    /// Starts the next slice: the rows that follow those of the slice started before it.
    ///
    /// # Errors
    /// If the stream has too many.
    fn slice(&self) -> Result<Box<dyn SliceSink>, VaultError>;

    /// Takes a finished slice of an earlier run over, as the next one.
    ///
    /// # Errors
    /// If the earlier run did not finish that slice, its lists are damaged, or this sink stores nothing.
    async fn adopt(&self, earlier: &Progress, slice: usize) -> Result<(), VaultError>;

    /// Ends the stream and says what it amounts to.
    ///
    /// # Errors
    /// If a slice was not ended.
    async fn end(self: Box<Self>) -> Result<StreamSummary, VaultError>;
}

/// A slice that is being written.
#[async_trait]
pub trait SliceSink: Send {
    /// Takes rows: one or more whole lines of `COPY` text, each ending in a newline.
    ///
    /// # Errors
    /// If they are not that, or cannot be stored. After an error the whole sink takes nothing more.
    async fn rows(&mut self, lines: Bytes) -> Result<(), VaultError>;

    /// Ends the slice: everything given is taken in.
    ///
    /// # Errors
    /// If its last rows cannot be stored.
    async fn end(self: Box<Self>) -> Result<(), VaultError>;
}
