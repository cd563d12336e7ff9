//! The vault from outside: what a caller may rely on, over a store, a key service and a signing key in memory.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "the lints' exception for tests does not reach their helpers")]

mod chain;
mod costs;
mod damage;
mod digests;
mod faults;
mod incremental;
mod isolation;
mod resume;
mod round_trip;
mod sharing;
mod slices;
mod survey;
mod tamper;
mod world;

#[tokio::test]
async fn the_store_in_memory_conforms() {
    vault::conformance::object_store(&vault::MemoryStore::new(), "v1/t/conformance").await;
}
