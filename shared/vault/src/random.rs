//! Randomness, behind a trait so that test vectors can fix it.

use crate::error::VaultError;

/// A source of unpredictable bytes.
pub(crate) trait Random: Send + Sync {
    /// Fills `bytes`.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError>;
}

/// The process's generator, seeded by the operating system.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), VaultError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| VaultError::NoRandomness)
    }
}

/// Draws a random UUID: ids of packs say nothing, not even when.
pub(crate) fn uuid(random: &dyn Random) -> Result<uuid::Uuid, VaultError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}
