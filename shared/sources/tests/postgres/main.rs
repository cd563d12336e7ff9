//! Exports and restores against a real PostgreSQL server, which the tests start and stop themselves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod bank;
mod cluster;
mod code;
mod coverage;
mod export;
mod fixture;
mod hazards;
mod kinds;
mod layouts;
mod lock;
mod lost;
mod parallel;
mod pool;
mod privileges;
mod recorder;
mod records;
mod refusals;
mod regression;
mod replica;
mod restore;
mod slices;
mod sweep;
mod tools;
mod turns;
mod type_table;
mod types;
mod unrestorable;
mod world;
