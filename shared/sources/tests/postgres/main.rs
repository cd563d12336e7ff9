//! Exports and restores against a real PostgreSQL server, which the tests start and stop themselves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod cluster;
mod export;
mod fixture;
mod lock;
mod lost;
mod parallel;
mod pool;
mod privileges;
mod recorder;
mod records;
mod refusals;
mod regression;
mod restore;
mod slices;
mod tools;
mod turns;
mod unrestorable;
mod world;
