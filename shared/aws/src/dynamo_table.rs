//! The catalog's table on DynamoDB.
//!
//! Attributes: `pk`, `sk`, `generation` (N), `body` (S, JSON), and `state_key` with `state_at` on items that appear in
//! the index `by_state`. A write always puts the whole item, so leaving the state out also leaves the index.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use catalog::{Expected, Key, Order, StateKey, Stored, Table, TableError};

use crate::error::{Answer, Sort};

type Item = HashMap<String, AttributeValue>;

/// A [`Table`] on DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoTable {
    client: Client,
    name: String,
}

impl DynamoTable {
    pub(crate) fn new(client: Client, name: &str) -> Self {
        Self { client, name: name.to_owned() }
    }
}

#[async_trait]
impl Table for DynamoTable {
    /// Needs `dynamodb:GetItem`.
    async fn get(&self, key: &Key) -> Result<Option<Stored>, TableError> {
        let call = self.client.get_item().table_name(&self.name).consistent_read(true);
        let call = call.key("pk", text(&key.pk)).key("sk", text(&key.sk));
        let found = call.send().await.map_err(|error| failure(format!("item {key}"), error))?;
        found.item.map(from_item).transpose()
    }

    /// Needs `dynamodb:PutItem`.
    async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError> {
        let key = item.key.clone();
        let call = self.client.put_item().table_name(&self.name).set_item(Some(to_item(item)));
        let call = match expected {
            Expected::Absent => call.condition_expression("attribute_not_exists(pk)"),
            Expected::Generation(generation) => {
                call.condition_expression("generation = :expected").expression_attribute_values(":expected", number(generation))
            }
        };
        match call.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == Some("ConditionalCheckFailedException") => Err(TableError::Conflict { key }),
            Err(error) => Err(failure(format!("item {key}"), error)),
        }
    }

    /// Needs `dynamodb:Query` on the table.
    async fn query(&self, pk: &str, sk_prefix: &str, order: Order, limit: usize) -> Result<Vec<Stored>, TableError> {
        let mut call = self
            .client
            .query()
            .table_name(&self.name)
            .consistent_read(true)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(pk))
            .scan_index_forward(order == Order::Ascending);
        // DynamoDB refuses an empty prefix, which stands for the whole partition.
        if !sk_prefix.is_empty() {
            call = call
                .key_condition_expression("pk = :pk AND begins_with(sk, :sk)")
                .expression_attribute_values(":sk", text(sk_prefix));
        }
        let what = format!("listing {pk} / {sk_prefix}*");
        self.pages(call, &what, limit).await
    }

    /// Needs `dynamodb:Query` on the index.
    async fn query_state(&self, state_key: &str, limit: usize) -> Result<Vec<Stored>, TableError> {
        let call = self
            .client
            .query()
            .table_name(&self.name)
            .index_name("by_state")
            .key_condition_expression("state_key = :state")
            .expression_attribute_values(":state", text(state_key));
        self.pages(call, &format!("listing state {state_key}"), limit).await
    }
}

impl DynamoTable {
    async fn pages(
        &self,
        call: aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder,
        what: &str,
        limit: usize,
    ) -> Result<Vec<Stored>, TableError> {
        let mut found = Vec::new();
        let mut from = None;
        while found.len() < limit {
            let page_limit = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
            let page = call.clone().limit(page_limit).set_exclusive_start_key(from.take()).send().await;
            let page = page.map_err(|error| failure(what.to_owned(), error))?;
            for item in page.items.unwrap_or_default() {
                found.push(from_item(item)?);
            }
            from = page.last_evaluated_key;
            if from.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn to_item(stored: Stored) -> Item {
    let mut item = Item::from([
        ("pk".to_owned(), text(stored.key.pk)),
        ("sk".to_owned(), text(stored.key.sk)),
        ("generation".to_owned(), number(stored.generation)),
        ("body".to_owned(), text(stored.body)),
    ]);
    if let Some(StateKey { state_key, state_at }) = stored.state {
        item.insert("state_key".to_owned(), text(state_key));
        item.insert("state_at".to_owned(), text(state_at));
    }
    item
}

fn from_item(mut item: Item) -> Result<Stored, TableError> {
    let mut take = |name: &str| match item.remove(name) {
        Some(AttributeValue::S(value) | AttributeValue::N(value)) => Some(value),
        _ => None,
    };
    let key = Key { pk: take("pk").unwrap_or_default(), sk: take("sk").unwrap_or_default() };
    let state = take("state_key").zip(take("state_at")).map(|(state_key, state_at)| StateKey { state_key, state_at });
    let generation = take("generation").and_then(|generation| generation.parse().ok());
    match generation.zip(take("body")) {
        Some((generation, body)) => Ok(Stored { key, generation, body, state }),
        None => {
            let source = "it has no `generation` or no `body`, so Holdfast did not write it".into();
            Err(TableError::Unavailable { what: format!("item {key}"), source })
        }
    }
}

fn failure<E>(what: String, error: SdkError<E, HttpResponse>) -> TableError
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let answer = Answer::of(error);
    match answer.sort() {
        Sort::Throttled => TableError::Throttled { what, source: answer.into() },
        Sort::Denied | Sort::KeyUnusable => TableError::Denied { what, source: answer.into() },
        Sort::NotFound | Sort::Other => TableError::Unavailable { what, source: answer.into() },
    }
}
