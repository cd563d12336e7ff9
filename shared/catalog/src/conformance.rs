//! The laws of a [`Table`], as one check to run on every implementation.

use crate::table::{Expected, Key, Order, StateKey, Stored, Table, TableError};

fn item(pk: &str, sk: &str, generation: u64, body: &str) -> Stored {
    Stored { key: Key { pk: pk.to_owned(), sk: sk.to_owned() }, generation, body: body.to_owned(), state: None }
}

/// Checks every law, in partitions whose names start with `scope`, which no other test may use.
///
/// # Panics
/// When a law is broken.
pub async fn check(table: &dyn Table, scope: &str) {
    let pk = format!("{scope}#items");
    let first = item(&pk, "a#1", 1, r#"{"n":1}"#);

    assert!(table.get(&first.key).await.expect("a read").is_none(), "nothing is there before the first write");
    table.put(first.clone(), Expected::Absent).await.expect("a first write");
    assert_eq!(table.get(&first.key).await.expect("a read"), Some(first.clone()), "a read sees the finished write");

    let again = table.put(item(&pk, "a#1", 1, "{}"), Expected::Absent).await;
    assert!(matches!(again, Err(TableError::Conflict { .. })), "a second create is refused: {again:?}");

    let second = item(&pk, "a#1", 2, r#"{"n":2}"#);
    table.put(second.clone(), Expected::Generation(1)).await.expect("a write against the current generation");
    let late = table.put(item(&pk, "a#1", 2, r#"{"n":9}"#), Expected::Generation(1)).await;
    assert!(matches!(late, Err(TableError::Conflict { .. })), "an overtaken writer is refused: {late:?}");
    assert_eq!(table.get(&first.key).await.expect("a read"), Some(second), "and has changed nothing");

    let missing = table.put(item(&pk, "never", 2, "{}"), Expected::Generation(1)).await;
    assert!(matches!(missing, Err(TableError::Conflict { .. })), "an update of nothing is refused: {missing:?}");

    for sk in ["a#3", "a#2", "b#1"] {
        table.put(item(&pk, sk, 1, "{}"), Expected::Absent).await.expect("a write");
    }
    let listed = |items: Vec<Stored>| items.into_iter().map(|item| item.key.sk).collect::<Vec<_>>();
    let up = table.query(&pk, "a#", Order::Ascending, 10).await.expect("a listing");
    assert_eq!(listed(up), ["a#1", "a#2", "a#3"], "a listing is by sort key and stays within its prefix");
    let down = table.query(&pk, "a#", Order::Descending, 2).await.expect("a listing");
    assert_eq!(listed(down), ["a#3", "a#2"], "a listing from the end honours its limit");
    assert!(table.query(&format!("{scope}#other"), "", Order::Ascending, 10).await.expect("a listing").is_empty());

    let state_key = format!("{scope}#waiting");
    for (sk, at) in [("s#1", "2026-01-02T00:00:00Z"), ("s#2", "2026-01-01T00:00:00Z")] {
        let state = Some(StateKey { state_key: state_key.clone(), state_at: at.to_owned() });
        table.put(Stored { state, ..item(&pk, sk, 1, "{}") }, Expected::Absent).await.expect("a write");
    }
    assert_eq!(listed(table.query_state(&state_key, 10).await.expect("a listing")), ["s#2", "s#1"], "the index is oldest first");
    table.put(item(&pk, "s#2", 2, "{}"), Expected::Generation(1)).await.expect("a write");
    assert_eq!(
        listed(table.query_state(&state_key, 10).await.expect("a listing")),
        ["s#1"],
        "an item without a state leaves the index"
    );
}
