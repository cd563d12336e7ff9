//! Tenants' files, recorded through a real vault and restored into a bucket that keeps its versions in memory.

mod model;
mod recording;
mod restores;
mod storing;
