//! Exports and restores against a real PostgreSQL server, which the tests start and stop themselves.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod adversaries;
mod assertions;
mod bank;
mod beside;
mod cluster;
mod code;
mod coverage;
mod cut;
mod dice;
mod export;
mod fixture;
mod hazards;
mod kinds;
mod layouts;
mod lock;
mod lost;
mod many;
mod parallel;
mod pool;
mod previews;
mod privileges;
mod recorder;
mod records;
mod refusals;
mod regression;
mod replica;
mod restore;
mod selected;
mod slices;
mod sweep;
mod tools;
mod turns;
mod type_table;
mod types;
mod undo;
mod unrestorable;
mod world;
