//! Alerts to SNS: readable text for e-mail, stable JSON for machines, attributes to filter by.

use aws_sdk_sns::{Client, types::MessageAttributeValue};
use domain::alert::Alert;
use serde_json::json;

use crate::{AwsError, Call};

/// The topic that alerts go to.
#[derive(Debug, Clone)]
pub struct Alerts {
    client: Client,
    topic_arn: String,
}

impl Alerts {
    pub(crate) fn new(client: Client, topic_arn: &str) -> Self {
        Self { client, topic_arn: topic_arn.to_owned() }
    }

    /// Sends one alert to every subscriber and returns SNS's id of the message. Needs `sns:Publish`.
    ///
    /// # Errors
    /// If the topic does not take it; then nobody was told.
    pub async fn publish(&self, alert: &Alert, environment: &str) -> Result<String, AwsError> {
        let call = Call::new("sns:Publish", &self.topic_arn);
        let published = self
            .client
            .publish()
            .topic_arn(&self.topic_arn)
            .subject(alert.title(environment))
            .message_structure("json")
            .message(message(alert, environment))
            .message_attributes("severity", attribute(alert.class.severity().name()))
            .message_attributes("class", attribute(alert.class.name()))
            .send()
            .await;
        match published {
            Ok(published) => published.message_id.ok_or_else(|| call.lacks("message id")),
            Err(error) => Err(call.failed(error)),
        }
    }
}

/// One message per protocol. SNS demands `default`, and delivers to people what is not named as a machine's.
fn message(alert: &Alert, environment: &str) -> String {
    let (text, machine) = (alert.to_text(environment), alert.to_json(environment).to_string());
    json!({
        "default": text, "email": text, "email-json": machine, "sqs": machine, "lambda": machine, "http": machine, "https": machine,
    })
    .to_string()
}

fn attribute(value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type("String").string_value(value).build().expect("the data type is set")
}

#[cfg(test)]
mod tests {
    use domain::alert::AlertClass;
    use serde_json::Value;

    use super::*;

    #[test]
    fn people_get_text_and_machines_get_json() {
        let alert = Alert {
            class: AlertClass::MissedSlot,
            subject: "acme".to_owned(),
            opened_at: "2026-11-23T02:15:00Z".parse().unwrap(),
            summary: "no recovery point".to_owned(),
            meaning: "the newest is 26 h old".to_owned(),
            remedy: "run it by hand".to_owned(),
        };
        let message: Value = serde_json::from_str(&message(&alert, "demo")).unwrap();
        for people in ["default", "email"] {
            assert!(message[people].as_str().unwrap().starts_with("CRITICAL in demo\n"), "{people}");
        }
        for machine in ["sqs", "lambda", "https"] {
            let read: Value = serde_json::from_str(message[machine].as_str().unwrap()).unwrap();
            assert_eq!((read["class"].as_str(), read["subject"].as_str()), (Some("missed_slot"), Some("acme")), "{machine}");
        }
    }
}
