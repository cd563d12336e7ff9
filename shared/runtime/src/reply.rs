//! The operator's answers, in the shape a Lambda Function URL expects.

use serde_json::{Value, json};

/// An HTTP answer with a JSON body.
#[must_use]
pub fn json_reply(status: u16, body: &Value) -> Value {
    json!({
        "statusCode": status,
        "headers": {"content-type": "application/json", "cache-control": "no-store"},
        "isBase64Encoded": false,
        "body": body.to_string(),
    })
}
