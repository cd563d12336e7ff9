//! The laws of the ports, checked on AWS's services as the local stack speaks them.
//!
//! `python3 tests/local test` starts the stack, makes a table, a bucket and a key, sets AWS's own variables and
//! `HOLDFAST_TEST_TABLE`, `HOLDFAST_TEST_BUCKET` and `HOLDFAST_TEST_KEY` (ARN), and runs `cargo test -p aws -- --ignored`.
//! The same command with the variables of a real account's test resources runs them there; nothing is cleaned up,
//! because neither port can delete.

use aws::Clients;
use catalog::{Expected, Key, Stored, Table, TableError};
use domain::{RunId, VaultId, VaultTenantId};
use uuid::Uuid;
use vault::{KeyContext, KeyError, KeyService};

#[expect(clippy::disallowed_methods, reason = "the stack tells its tests the names of its resources this way")]
fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `python3 tests/local test`"))
}

#[expect(clippy::disallowed_methods, reason = "tests share one table and bucket and must not meet")]
fn fresh() -> Uuid {
    Uuid::new_v4()
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn the_table_keeps_the_laws_of_the_catalog() {
    let table = Clients::load().await.table(&setting("HOLDFAST_TEST_TABLE"));
    catalog::conformance::check(&table, &format!("test-{}", fresh())).await;
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn a_repeated_put_has_happened_and_any_other_conflicts() {
    let table = Clients::load().await.table(&setting("HOLDFAST_TEST_TABLE"));
    let key = Key { pk: format!("test-{}", fresh()), sk: "slot".to_owned() };
    let item =
        |generation, run: &str| Stored { key: key.clone(), generation, body: format!(r#"{{"run":"{run}"}}"#), state: None };
    let conflicts = |answer| matches!(answer, Err(TableError::Conflict { .. }));

    for _ in 0..2 {
        table.put(item(1, "one"), Expected::Absent).await.unwrap();
    }
    assert!(conflicts(table.put(item(1, "two"), Expected::Absent).await), "another run's");
    for _ in 0..2 {
        table.put(item(2, "two"), Expected::Generation(1)).await.unwrap();
    }
    assert!(conflicts(table.put(item(2, "one"), Expected::Generation(1)).await), "another run's");
    assert!(conflicts(table.put(item(1, "one"), Expected::Absent).await), "one that was overtaken since");
    assert_eq!(table.get(&key).await.unwrap(), Some(item(2, "two")));
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn the_bucket_keeps_the_laws_of_the_vault() {
    let store = Clients::load().await.store(&setting("HOLDFAST_TEST_BUCKET"));
    vault::conformance::object_store(&store, &format!("v1/test-{}", fresh())).await;
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn a_data_key_opens_only_in_its_own_context() {
    let keys = Clients::load().await.keys(&setting("HOLDFAST_TEST_KEY"));
    let main: VaultId = "main".parse().unwrap();
    let (tenant, other) = (VaultTenantId::from_uuid(fresh()), VaultTenantId::from_uuid(fresh()));
    let run = RunId::from_uuid(fresh());

    let context = KeyContext::content(main.clone(), tenant, run);
    let made = keys.generate(&context).await.unwrap();
    let opened = keys.unwrap_key(&made.wrapped, &context).await.unwrap();
    assert_eq!(opened.expose(), made.plaintext.expose(), "a wrapped key opens to the key that was wrapped");
    assert_ne!(keys.generate(&context).await.unwrap().plaintext.expose(), opened.expose(), "every key is fresh");

    for elsewhere in [
        KeyContext::content(main.clone(), other, run),
        KeyContext::content(main.clone(), tenant, RunId::from_uuid(fresh())),
        KeyContext::content("other".parse().unwrap(), tenant, run),
        KeyContext::dedup(main.clone(), tenant),
    ] {
        let answer = keys.unwrap_key(&made.wrapped, &elsewhere).await;
        assert!(matches!(answer, Err(KeyError::NotForThisContext { .. })), "opened as the {elsewhere}");
    }

    let mut damaged = made.wrapped.clone();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(keys.unwrap_key(&damaged, &context).await, Err(KeyError::NotForThisContext { .. })), "a damaged key opened");
}
