//! Hashes live rows as a backup would, and stores nothing: how a restored table is proven equal.

use async_trait::async_trait;

use crate::{
    error::VaultError,
    rows_digest::RowsHasher,
    stream::{StreamHeader, StreamSink, StreamSummary},
    tenant_secret::TenantSecret,
};

/// A sink that only counts and digests.
pub struct Digester {
    secret: TenantSecret,
    open: Option<(StreamHeader, RowsHasher)>,
}

impl Digester {
    /// A digester for one tenant's rows.
    #[must_use]
    pub fn new(secret: &TenantSecret) -> Self {
        Self { secret: secret.clone(), open: None }
    }
}

#[async_trait]
impl StreamSink for Digester {
    async fn begin_stream(&mut self, header: StreamHeader) -> Result<(), VaultError> {
        if self.open.is_some() {
            return Err(VaultError::OutOfOrder("a stream begins before the last one's end"));
        }
        header.check()?;
        let hasher = RowsHasher::new(&self.secret, &header);
        self.open = Some((header, hasher));
        Ok(())
    }

    async fn rows(&mut self, lines: &[u8]) -> Result<(), VaultError> {
        let (header, hasher) = self.open.as_mut().ok_or(VaultError::OutOfOrder("rows outside a stream"))?;
        header.check_lines(lines)?;
        hasher.update(lines);
        Ok(())
    }

    async fn end_stream(&mut self) -> Result<StreamSummary, VaultError> {
        let (header, hasher) = self.open.take().ok_or(VaultError::OutOfOrder("the end of a stream that never began"))?;
        Ok(StreamSummary { name: header.name, rows: hasher.rows(), digest: hasher.digest() })
    }
}
