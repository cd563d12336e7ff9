//! The laws of the ports, checked on AWS's services as the local stack speaks them.
//!
//! `python3 tests/local test` starts the stack, makes a table, a bucket and a key, sets AWS's own variables and
//! `HOLDFAST_TEST_TABLE`, `HOLDFAST_TEST_BUCKET`, `HOLDFAST_TEST_KEY` and `HOLDFAST_TEST_OWN_KEY` (ARNs), and runs `cargo test -p aws -- --ignored`.
//! The same command with the variables of a real account's test resources runs them there; nothing is cleaned up,
//! because the ports delete next to nothing. The bucket needs Object Lock, without a default.

use std::sync::Arc;

use async_trait::async_trait;
use aws::Clients;
use catalog::{Expected, Key, Stored, Table, TableError};
use domain::{RunId, VaultId, VaultTenantId};
use uuid::Uuid;
use vault::{BoxError, KeyChoice, KeyContext, KeyError, KeyService};

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

/// One tenant with a key of its own; of another nobody can say.
struct Choice {
    tenant: VaultTenantId,
    key: String,
    unknown: VaultTenantId,
}

#[async_trait]
impl KeyChoice for Choice {
    async fn own_key(&self, tenant: VaultTenantId) -> Result<Option<String>, BoxError> {
        if tenant == self.unknown { Err("nobody can say".into()) } else { Ok((tenant == self.tenant).then(|| self.key.clone())) }
    }
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn a_tenants_own_key_wraps_its_keys_and_no_others() {
    let clients = Clients::load().await;
    let (key, own_key) = (setting("HOLDFAST_TEST_KEY"), setting("HOLDFAST_TEST_OWN_KEY"));
    let [tenant, other, unknown] = [(); 3].map(|()| VaultTenantId::from_uuid(fresh()));
    let context = |tenant| KeyContext::content("main".parse().unwrap(), tenant, RunId::from_uuid(Uuid::from_u128(1)));
    let shared = clients.keys(&key);
    let alone = clients.keys(&own_key);
    let keys = clients.keys(&key).with_own_keys(Arc::new(Choice { tenant, key: own_key, unknown }));

    let made = keys.generate(&context(tenant)).await.unwrap();
    assert_eq!(keys.unwrap_key(&made.wrapped, &context(tenant)).await.unwrap().expose(), made.plaintext.expose());
    alone.unwrap_key(&made.wrapped, &context(tenant)).await.expect("it is under the tenant's own key");
    let refused = shared.unwrap_key(&made.wrapped, &context(tenant)).await;
    assert!(matches!(refused, Err(KeyError::NotForThisContext { .. })), "the vault's key does not open it");

    let older = shared.generate(&context(tenant)).await.unwrap();
    keys.unwrap_key(&older.wrapped, &context(tenant)).await.expect("what it stored before still opens");
    let others = keys.generate(&context(other)).await.unwrap();
    shared.unwrap_key(&others.wrapped, &context(other)).await.expect("another tenant's is under the vault's key");
    let planted = alone.generate(&context(other)).await.unwrap();
    let refused = keys.unwrap_key(&planted.wrapped, &context(other)).await;
    assert!(matches!(refused, Err(KeyError::NotForThisContext { .. })), "one tenant's own key serves no other");
    assert!(
        matches!(keys.generate(&context(unknown)).await, Err(KeyError::Unavailable { .. })),
        "no key rather than the wrong one"
    );
}

#[tokio::test]
#[ignore = "needs the local stack: python3 tests/local test"]
async fn the_bucket_keeps_versions_and_locks() {
    let store = Clients::load().await.store(&setting("HOLDFAST_TEST_BUCKET"));
    #[expect(clippy::disallowed_methods, reason = "the lock is judged by the store's clock")]
    let now = jiff::Timestamp::now();
    vault::conformance::version_store(&store, &format!("v1/test-{}", fresh()), now).await;
}
