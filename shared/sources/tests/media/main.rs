//! Tenants' files, recorded through a real vault and restored into a bucket that keeps its versions in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod model;
mod recording;
mod restores;
mod storing;
