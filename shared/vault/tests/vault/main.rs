//! The vault from outside: what a caller may rely on, over a store and a key service in memory.
#![expect(clippy::unwrap_used, reason = "the lint's exception for tests does not reach their helpers")]

mod damage;
mod faults;
mod isolation;
mod round_trip;
mod world;

#[tokio::test]
async fn the_store_in_memory_conforms() {
    vault::conformance::object_store(&vault::MemoryStore::new(), "v1/t/conformance").await;
}
