//! Exports and restores against a real PostgreSQL server, which the tests start and stop themselves.

mod cluster;
mod export;
mod fixture;
mod pool;
mod records;
mod refusals;
mod restore;
mod world;
