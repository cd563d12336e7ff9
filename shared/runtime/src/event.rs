//! The events that reach a function, told apart once.
//!
//! A *tick* comes from a schedule, an *item* from an operator, a runbook or a fan-out, an RDS event from the default
//! event bus, and a signed request from the operator's Function URL. `events/` holds a sample of each, and the tests
//! here parse every one.

use base64::{Engine, engine::general_purpose::STANDARD};
use domain::{Coded, ErrorCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// One event, of any kind that any function takes.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A schedule fired.
    Tick {
        /// The schedule's name without the stack's: a rule of the plan, or a follow-up.
        rule: String,
        /// The instant the schedule named. A redelivery repeats it.
        scheduled_time: Timestamp,
    },
    /// One resource, tenant or request to work on. Its fields are the function's own; see [`Event::item`].
    Item(Value),
    /// Something happened to an RDS instance or snapshot.
    Rds(RdsEvent),
    /// A signed request to the Function URL.
    Url(UrlRequest),
}

/// An RDS event, reduced to what identifies its subject. Where that lives is asked of RDS, never taken from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RdsEvent {
    /// What kind of thing it happened to.
    pub source_type: RdsSource,
    /// Identifier of the instance or snapshot.
    pub source_identifier: String,
    /// Its ARN.
    pub source_arn: String,
    /// What happened, such as `RDS-EVENT-0042`.
    pub event_id: String,
    /// The same in words.
    pub message: String,
}

/// What an RDS event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum RdsSource {
    /// A DB instance.
    #[serde(rename = "DB_INSTANCE")]
    Instance,
    /// A snapshot of an instance or of a cluster.
    #[serde(rename = "SNAPSHOT", alias = "CLUSTER_SNAPSHOT")]
    Snapshot,
}

/// A request to the operator, as API Gateway's payload format 2.0 puts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlRequest {
    /// The HTTP method.
    pub method: String,
    /// The path, such as `/v1/list`.
    pub path: String,
    /// The body as text, empty if there is none.
    pub body: String,
    /// Who signed the request. Taken from the signature that AWS checked, never from the body.
    pub caller: Caller,
}

/// The identity behind a signed request.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Caller {
    /// ARN of the user, or of the session of an assumed role.
    pub user_arn: String,
    /// The account.
    pub account_id: String,
    /// IAM's unique id of the user, or `<role id>:<session name>`.
    pub user_id: String,
}

/// An event that is none of those above.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event is not one Holdfast knows: {problem}; events/ has a sample of each kind")]
pub struct MalformedEvent {
    problem: String,
}

impl MalformedEvent {
    /// Says what was expected and what came instead.
    #[must_use]
    pub fn new(problem: impl Into<String>) -> Self {
        Self { problem: problem.into() }
    }
}

impl Coded for MalformedEvent {
    fn code(&self) -> ErrorCode {
        ErrorCode::MalformedEvent
    }
}

impl Event {
    /// Tells one kind from another by what only that kind has, and reads it.
    ///
    /// # Errors
    /// If it is of no known kind, or lacks something its kind must have.
    pub fn parse(event: Value) -> Result<Self, MalformedEvent> {
        let Value::Object(fields) = &event else {
            return Err(MalformedEvent::new(format!("expected a JSON object, got {}", kind_of(&event))));
        };
        if fields.contains_key("tick") {
            tick(event)
        } else if fields.contains_key("item") {
            item(event)
        } else if fields.get("source").and_then(Value::as_str) == Some("aws.rds") {
            rds(event)
        } else if fields.contains_key("requestContext") {
            url(event)
        } else {
            let names: Vec<_> = fields.keys().take(8).map(String::as_str).collect();
            let expected = "expected `tick`, `item`, an `aws.rds` event or a Function URL request";
            Err(MalformedEvent::new(format!("{expected}, got an object with the fields [{}]", names.join(", "))))
        }
    }

    /// The event's kind, for logs and for errors about an event that a function does not take.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tick { .. } => "tick",
            Self::Item(_) => "item",
            Self::Rds(_) => "RDS event",
            Self::Url(_) => "Function URL request",
        }
    }

    /// Refuses this event on behalf of a function that takes other kinds.
    #[must_use]
    pub fn refused(&self, function: &str, taken: &str) -> MalformedEvent {
        MalformedEvent::new(format!("`{function}` takes {taken}, got a {}", self.kind()))
    }

    /// Reads an item's fields into the function's own type.
    ///
    /// # Errors
    /// Naming the field that is missing, unknown or of the wrong type.
    pub fn item<T: serde::de::DeserializeOwned>(item: Value) -> Result<T, MalformedEvent> {
        read("item", item)
    }
}

fn read<T: serde::de::DeserializeOwned>(what: &str, value: Value) -> Result<T, MalformedEvent> {
    serde_json::from_value(value).map_err(|error| MalformedEvent::new(format!("{what}: {error}")))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn tick(event: Value) -> Result<Event, MalformedEvent> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope {
        tick: Tick,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tick {
        rule: String,
        scheduled_time: Timestamp,
    }
    let Envelope { tick } = read("tick", event)?;
    Ok(Event::Tick { rule: tick.rule, scheduled_time: tick.scheduled_time })
}

fn item(event: Value) -> Result<Event, MalformedEvent> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Envelope {
        item: serde_json::Map<String, Value>,
    }
    let Envelope { item } = read("item", event)?;
    Ok(Event::Item(Value::Object(item)))
}

fn rds(event: Value) -> Result<Event, MalformedEvent> {
    // AWS adds fields to its events as it likes, so unknown ones are let through here.
    #[derive(Deserialize)]
    struct Envelope {
        detail: Detail,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Detail {
        source_type: RdsSource,
        source_identifier: String,
        source_arn: String,
        #[serde(rename = "EventID")]
        event_id: String,
        #[serde(default)]
        message: String,
    }
    let Envelope { detail } = read("RDS event", event)?;
    Ok(Event::Rds(RdsEvent {
        source_type: detail.source_type,
        source_identifier: detail.source_identifier,
        source_arn: detail.source_arn,
        event_id: detail.event_id,
        message: detail.message,
    }))
}

fn url(event: Value) -> Result<Event, MalformedEvent> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Envelope {
        raw_path: String,
        body: Option<String>,
        #[serde(default)]
        is_base64_encoded: bool,
        request_context: Context,
    }
    #[derive(Deserialize)]
    struct Context {
        http: Http,
        authorizer: Authorizer,
    }
    #[derive(Deserialize)]
    struct Http {
        method: String,
    }
    #[derive(Deserialize)]
    struct Authorizer {
        iam: Caller,
    }
    let request: Envelope = read("Function URL request (AuthType AWS_IAM)", event)?;
    let mut body = request.body.unwrap_or_default();
    if request.is_base64_encoded {
        let decoded = STANDARD.decode(&body).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        body = decoded.ok_or_else(|| MalformedEvent::new("Function URL request: the body is not UTF-8 text in base64"))?;
    }
    let Context { http, authorizer } = request.request_context;
    Ok(Event::Url(UrlRequest { method: http.method, path: request.raw_path, body, caller: authorizer.iam }))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use serde_json::json;

    use super::*;

    #[test]
    fn every_sample_event_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
        let mut kinds = BTreeSet::new();
        for entry in std::fs::read_dir(&folder).expect("the repository has events/") {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let event = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                let event = Event::parse(event).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                kinds.insert(event.kind());
            }
        }
        assert_eq!(
            kinds,
            BTreeSet::from(["tick", "item", "RDS event", "Function URL request"]),
            "there is a sample of every kind"
        );
    }

    #[test]
    fn an_rds_event_names_its_subject() {
        let event = json!({
            "version": "0", "source": "aws.rds", "detail-type": "RDS DB Snapshot Event", "account": "123456789012",
            "detail": {
                "EventCategories": ["creation"], "SourceType": "SNAPSHOT", "SourceIdentifier": "hf-central-1",
                "SourceArn": "arn:aws:rds:eu-central-1:123456789012:snapshot:hf-central-1", "EventID": "RDS-EVENT-0042",
                "Message": "Manual snapshot created", "Date": "2026-11-23T01:20:00Z",
            },
        });
        let Event::Rds(event) = Event::parse(event).unwrap() else { panic!("not an RDS event") };
        assert_eq!((event.source_type, event.source_identifier.as_str()), (RdsSource::Snapshot, "hf-central-1"));
    }

    fn request(body: &Value, base64: bool) -> Value {
        json!({
            "version": "2.0", "rawPath": "/v1/list", "isBase64Encoded": base64, "body": body,
            "requestContext": {
                "http": {"method": "POST", "path": "/v1/list"},
                "authorizer": {"iam": {
                    "userArn": "arn:aws:iam::123456789012:user/ada", "accountId": "123456789012", "userId": "AIDA1",
                    "callerId": "AIDA1", "accessKey": "AKIA1", "cognitoIdentity": null, "principalOrgId": null,
                }},
            },
        })
    }

    #[test]
    fn a_request_carries_its_signer_and_its_body() {
        for (sent, base64, expected) in
            [(json!(r#"{"a":1}"#), false, r#"{"a":1}"#), (json!("eyJhIjoxfQ=="), true, r#"{"a":1}"#), (Value::Null, false, "")]
        {
            let Event::Url(request) = Event::parse(request(&sent, base64)).unwrap() else { panic!("not a request") };
            assert_eq!((request.method.as_str(), request.path.as_str(), request.body.as_str()), ("POST", "/v1/list", expected));
            assert_eq!(request.caller.user_arn, "arn:aws:iam::123456789012:user/ada");
        }
    }

    #[test]
    fn malformed_events_are_refused_with_what_was_expected() {
        let mut unsigned = request(&Value::Null, false);
        unsigned["requestContext"]["authorizer"] = json!({});
        for (event, expected) in [
            (json!(null), "expected a JSON object, got null"),
            (json!({"tock": 1}), "got an object with the fields [tock]"),
            (json!({"tick": {"rule": "reconcile"}}), "missing field `scheduled_time`"),
            (json!({"tick": {"rule": "reconcile", "scheduled_time": "yesterday"}}), "tick: "),
            (
                json!({"tick": {"rule": "reconcile", "scheduled_time": "2026-11-23T02:15:00Z", "force": true}}),
                "unknown field `force`",
            ),
            (json!({"item": "acme"}), "item: invalid type: string"),
            (json!({"item": {}, "tick": {}}), "tick: unknown field `item`"),
            (json!({"source": "aws.rds", "detail": {"SourceType": "CLUSTER"}}), "unknown variant `CLUSTER`"),
            (json!({"source": "aws.ec2"}), "expected `tick`, `item`"),
            (unsigned, "missing field `iam`"),
            (request(&json!("%"), true), "not UTF-8 text in base64"),
        ] {
            let message = Event::parse(event).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}\n  should say {expected}");
        }
    }
}
