//! How one recorded setting stands to the live one of its name.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Change, Parameter, Secret};

/// The longest resource policy that is put back, in bytes: the person who approves it must have seen all of it.
const POLICY_BYTES_MAX: usize = 4 << 10;

type Tags = BTreeMap<String, String>;

/// What a restore would do about one setting, and what it would say.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it would do, in order.
    pub(super) changes: Vec<Change>,
    /// What only a person can do.
    pub(super) by_hand: Vec<String>,
    /// What it would put back, with what stands there now.
    pub(super) put_back: Vec<String>,
    /// What is otherwise than recorded and stays so.
    pub(super) stays: Vec<String>,
}

/// Holds a recorded parameter against the live one. Whatever needs the parameter's value is for a person: to write any of it
/// means to write the value, too.
pub(super) fn of_parameter(then: &Parameter, now: Option<&Parameter>) -> Standing {
    let mut standing = Standing::default();
    let name = &then.name;
    let Some(now) = now else {
        standing.by_hand.push(format!(
            "parameter {name} is missing, and is not made with an invented value; put it again: {}",
            described(then)
        ));
        return standing;
    };
    let differing = differences([
        ("type", &then.parameter_type, &now.parameter_type),
        ("tier", text(&then.tier), text(&now.tier)),
        ("data type", text(&then.data_type), text(&now.data_type)),
        ("key", text(&then.key_id), text(&now.key_id)),
        ("description", text(&then.description), text(&now.description)),
        ("allowed pattern", text(&then.allowed_pattern), text(&now.allowed_pattern)),
        ("policies", &then.policies.join(" "), &now.policies.join(" ")),
    ]);
    if !differing.is_empty() {
        standing.by_hand.push(format!("parameter {name} differs, and can only be put together with its value: {differing}"));
    }
    if then.version != now.version {
        let (then, now) = (then.version, now.version);
        standing.stays.push(format!(
            "parameter {name} was written since: version {then} then, {now} now; its value stays, and the parameter store may still have the old one"
        ));
    }
    let tags = standing.tags("parameter", name, &then.tags, &now.tags);
    if !tags.is_empty() {
        standing.changes.push(Change::TagParameter { parameter: name.clone(), tags });
    }
    standing
}

/// Holds a recorded secret against the live one.
pub(super) fn of_secret(then: &Secret, now: Option<&Secret>) -> Standing {
    let mut standing = Standing::default();
    let name = &then.name;
    match now {
        None => standing.create(then),
        Some(now) if now.deleted_at.is_some() => {
            standing
                .put_back
                .push(format!("secret {name} is scheduled for deletion; it is taken back as it was then, with its value"));
            standing.changes.push(Change::TakeBack { secret: name.clone() });
        }
        Some(now) => standing.mend(then, now),
    }
    standing
}

impl Standing {
    /// Whether the live setting is as recorded, as far as metadata goes.
    pub(super) fn matches(&self) -> bool {
        self.changes.is_empty() && self.by_hand.is_empty()
    }

    /// Whether it is of a secret that is missing, and can be made again.
    pub(super) fn is_made_again(&self) -> bool {
        matches!(self.changes.first(), Some(Change::Create(_)))
    }

    fn create(&mut self, then: &Secret) {
        let name = &then.name;
        if let Some(service) = &then.managed_by {
            self.by_hand.push(format!("secret {name} is missing, and only {service}, which manages it, can make it again"));
            return;
        }
        let key = then.key_id.as_ref().map(|key| format!(" under key {key}")).unwrap_or_default();
        self.put_back.push(format!("secret {name} is missing; it is made again{key}, without a value"));
        self.by_hand.push(reissue(then));
        self.changes.push(Change::Create(Box::new(then.clone())));
        self.policy(then, None);
    }

    fn mend(&mut self, then: &Secret, now: &Secret) {
        let name = &then.name;
        let differing =
            differences([("description", text(&then.description), text(&now.description)), ("key", key(then), key(now))]);
        if !differing.is_empty() {
            self.by_hand.push(format!("secret {name} differs, and the call that mends it could replace its value: {differing}"));
        }
        let differing = differences([
            ("rotation", &rotation(then), &rotation(now)),
            ("copies in other regions", &then.replicas.join(" "), &now.replicas.join(" ")),
        ]);
        if !differing.is_empty() {
            self.by_hand.push(format!("secret {name} differs: {differing}"));
        }
        match (current(then), current(now)) {
            (Some(_), None) => self.by_hand.push(format!("secret {name} has no value; give it one")),
            (Some(then), Some(now)) if then != now => {
                self.stays.push(format!("secret {name} has another value than then; no value is recorded, so it stays"));
            }
            _ => {}
        }
        let tags = self.tags("secret", name, &then.tags, &now.tags);
        if !tags.is_empty() {
            self.changes.push(Change::TagSecret { secret: name.clone(), tags });
        }
        self.policy(then, now.policy.as_deref());
    }

    fn policy(&mut self, then: &Secret, now: Option<&str>) {
        let name = &then.name;
        match (then.policy.as_deref(), now) {
            (None, Some(now)) => {
                self.stays
                    .push(format!("secret {name} has a resource policy that is not recorded; it stays: {}", canonical(now)));
            }
            (Some(then), now) if now.map(canonical) != Some(canonical(then)) => {
                if then.len() > POLICY_BYTES_MAX {
                    self.by_hand
                        .push(format!("secret {name} had another resource policy, too long to be shown here; put it back"));
                    return;
                }
                let was = now.map_or_else(|| "none".to_owned(), canonical);
                self.put_back.push(format!("secret {name} gets its resource policy back: {}; now it has {was}", canonical(then)));
                self.changes.push(Change::SetPolicy { secret: name.clone(), policy: then.to_owned() });
            }
            _ => {}
        }
    }

    /// The recorded tags that the live setting lacks or has otherwise.
    fn tags(&mut self, what: &str, name: &str, then: &Tags, now: &Tags) -> Tags {
        let mut missing = Tags::new();
        for (tag, value) in then.iter().filter(|(tag, value)| now.get(*tag) != Some(value)) {
            let was = now.get(tag).map_or_else(|| "it lacks it now".to_owned(), |now| format!("now it is {now:?}"));
            self.put_back.push(format!("{what} {name} gets its tag {tag:?} back: {value:?}; {was}"));
            missing.insert(tag.clone(), value.clone());
        }
        let surplus: Vec<String> = now.keys().filter(|tag| !then.contains_key(*tag)).map(|tag| format!("{tag:?}")).collect();
        if !surplus.is_empty() {
            self.stays.push(format!("{what} {name} has tags that are not recorded; they stay: {}", surplus.join(", ")));
        }
        missing
    }
}

/// What a person has to do about a secret that was made anew.
pub(super) fn reissue(secret: &Secret) -> String {
    let mut todo = vec!["give it a value; until then whoever reads it gets an error".to_owned()];
    if secret.rotation_enabled {
        todo.push(format!("turn its rotation on again ({})", rotation(secret)));
    }
    if !secret.replicas.is_empty() {
        todo.push(format!("copy it to {} again", secret.replicas.join(", ")));
    }
    todo.push(format!("mend what names it by its old ARN, {}", secret.arn));
    format!("secret {} is made again without a value, which was never recorded: {}", secret.name, todo.join("; "))
}

/// What there is to say about a parameter that somebody has to put again.
fn described(parameter: &Parameter) -> String {
    let mut parts = vec![format!("type {}", parameter.parameter_type)];
    let fields = [
        ("tier", &parameter.tier),
        ("data type", &parameter.data_type),
        ("key", &parameter.key_id),
        ("description", &parameter.description),
        ("allowed pattern", &parameter.allowed_pattern),
    ];
    parts.extend(
        fields.iter().filter(|(_, value)| !text(value).is_empty()).map(|(field, value)| format!("{field} {:?}", text(value))),
    );
    parts.extend(parameter.policies.iter().map(|policy| format!("policy {policy}")));
    parts.extend(parameter.tags.iter().map(|(tag, value)| format!("tag {tag:?} {value:?}")));
    parts.join(", ")
}

/// The fields that differ, as `field "now", recorded "then"`.
fn differences<const N: usize>(fields: [(&str, &str, &str); N]) -> String {
    let differing = fields.iter().filter(|(_, then, now)| then != now);
    differing.map(|(field, then, now)| format!("{field} {now:?}, recorded {then:?}")).collect::<Vec<_>>().join("; ")
}

/// A text that may be left out: services say nothing where nothing was said, or an empty text.
pub(super) fn text(value: &Option<String>) -> &str {
    value.as_deref().unwrap_or_default()
}

/// The key of a secret; the service's own key goes without saying.
pub(super) fn key(secret: &Secret) -> &str {
    match text(&secret.key_id) {
        "alias/aws/secretsmanager" => "",
        other => other,
    }
}

fn rotation(secret: &Secret) -> String {
    if !secret.rotation_enabled {
        return "off".to_owned();
    }
    [&secret.rotation_rule, &secret.rotation_function].into_iter().flatten().cloned().collect::<Vec<_>>().join(" by ")
}

/// The version that readers of a secret get.
fn current(secret: &Secret) -> Option<&str> {
    let is_current = |labels: &Vec<String>| labels.iter().any(|label| label == "AWSCURRENT");
    secret.versions.iter().find(|(_, labels)| is_current(labels)).map(|(id, _)| id.as_str())
}

/// A policy as JSON of one spelling: services may set it out anew.
pub(super) fn canonical(policy: &str) -> String {
    fn sorted(value: Value) -> Value {
        match value {
            // By way of a sorted map, whatever order this one keeps.
            Value::Object(fields) => {
                let fields: BTreeMap<String, Value> = fields.into_iter().map(|(name, value)| (name, sorted(value))).collect();
                Value::Object(fields.into_iter().collect())
            }
            Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
            other => other,
        }
    }
    serde_json::from_str(policy).map_or_else(|_| policy.to_owned(), |value| sorted(value).to_string())
}
