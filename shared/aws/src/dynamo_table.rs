//! The catalog's table on DynamoDB.
//!
//! Attributes: `pk`, `sk`, `generation` (N), `body` (S, JSON), and `state_key` with `state_at` on items that appear in
//! the index `by_state`. A write always puts the whole item, so leaving the state out also leaves the index.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
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
    ///
    /// The SDK repeats a put whose reply was lost, and the condition then refuses the repetition because of the first. So a refusal
    /// shows the item it was refused for, and if that is the very item to be put, attribute by attribute, the put has happened. If
    /// yet another write came after it, the writer was overtaken and hears of a conflict, as it must.
    ///
    /// Can somebody else have put the very same item? Not where it matters. A record that keeps others out carries something of its
    /// writer: a slot the random id of its run, a request and an audit entry a random id of their own, a restore test that is
    /// claimed the instant in nanoseconds. Where two writers may agree (two deliveries of one tick on a retention decision, or of a
    /// step that a request has begun already; two readers of the register on a tenant's row), each wants only that this item be
    /// there, and nobody is kept out by it. A new record that is to keep others out must name its writer, too.
    async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError> {
        let key = item.key.clone();
        let wanted = to_item(item);
        let call = self.client.put_item().table_name(&self.name).set_item(Some(wanted.clone()));
        let call = call.return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let call = match expected {
            Expected::Absent => call.condition_expression("attribute_not_exists(pk)"),
            Expected::Generation(generation) => {
                call.condition_expression("generation = :expected").expression_attribute_values(":expected", number(generation))
            }
        };
        let Err(error) = call.send().await else { return Ok(()) };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                if refusal.item.as_ref() == Some(&wanted) {
                    Ok(())
                } else {
                    Err(TableError::Conflict { key })
                }
            }
            _ => Err(failure(format!("item {key}"), error)),
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
        Sort::NotFound | Sort::Quota | Sort::Other => TableError::Unavailable { what, source: answer.into() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
    use aws_smithy_runtime_api::{
        client::{
            http::{HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
            runtime_components::RuntimeComponents,
        },
        http::{Response, StatusCode},
    };
    use aws_smithy_types::body::SdkBody;
    use serde_json::{Value, json};

    use super::*;

    /// A table that stores the first put and loses the reply, and refuses the next one, as DynamoDB does.
    #[derive(Debug, Clone, Default)]
    struct LosesTheReply {
        puts: Arc<Mutex<Vec<Value>>>,
        overtaken_by: Option<Value>,
    }

    impl HttpConnector for LosesTheReply {
        fn call(&self, request: aws_smithy_runtime_api::http::Request) -> HttpConnectorFuture {
            let put: Value = serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
            let mut puts = self.puts.lock().unwrap();
            let stored = puts.first().map(|first| self.overtaken_by.clone().unwrap_or_else(|| first["Item"].clone()));
            let (status, answer) = match stored {
                None => (500, json!({ "__type": "com.amazon.coral.service#InternalServerError", "message": "lost" })),
                Some(item) => {
                    let kind = "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException";
                    let shows_item = put["ReturnValuesOnConditionCheckFailure"] == "ALL_OLD";
                    let mut answer = json!({ "__type": kind, "message": "The conditional request failed" });
                    if shows_item {
                        answer["Item"] = item;
                    }
                    (400, answer)
                }
            };
            puts.push(put);
            HttpConnectorFuture::ready(Ok(Response::new(
                StatusCode::try_from(status).unwrap(),
                SdkBody::from(answer.to_string()),
            )))
        }
    }

    impl HttpClient for LosesTheReply {
        fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
            SharedHttpConnector::new(self.clone())
        }
    }

    async fn put_on(service: &LosesTheReply) -> Result<(), TableError> {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(Credentials::for_tests())
            .retry_config(RetryConfig::standard().with_initial_backoff(std::time::Duration::from_millis(1)))
            .http_client(service.clone())
            .build();
        let key = Key { pk: "POINTS#tenant#acme".to_owned(), sk: "s".to_owned() };
        let state = Some(StateKey { state_key: "point#running".to_owned(), state_at: "2026-11-23T02:15:00Z".to_owned() });
        let item = Stored { key, generation: 2, body: r#"{"run":"run_1"}"#.to_owned(), state };
        DynamoTable::new(Client::from_conf(config), "table").put(item, Expected::Generation(1)).await
    }

    #[tokio::test]
    async fn a_put_whose_reply_was_lost_has_happened() {
        let service = LosesTheReply::default();
        put_on(&service).await.unwrap();
        assert_eq!(service.puts.lock().unwrap().len(), 2, "the SDK repeated it");
    }

    #[tokio::test]
    async fn a_put_that_was_overtaken_by_another_is_a_conflict() {
        for (generation, run) in [("2", "run_2"), ("3", "run_1")] {
            let body = json!({ "run": run }).to_string();
            let item = json!({ "pk": { "S": "POINTS#tenant#acme" }, "sk": { "S": "s" }, "generation": { "N": generation }, "body": { "S": body },
                "state_key": { "S": "point#running" }, "state_at": { "S": "2026-11-23T02:15:00Z" } });
            let service = LosesTheReply { overtaken_by: Some(item), ..LosesTheReply::default() };
            let refused = put_on(&service).await;
            assert!(matches!(refused, Err(TableError::Conflict { .. })), "{refused:?}");
        }
    }
}
