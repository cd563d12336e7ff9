//! Which retention policy decides, and what waits for whom.

use serde_json::Value;

use crate::show::{cell, items};

/// A line about what decides and, if something waits, what it would shorten and what to do.
pub(crate) fn policy(in_force: &Value) -> String {
    let mut lines = vec![format!("policy {} decides since {}", cell(&in_force["version"]), cell(&in_force["since"]))];
    let waiting = &in_force["waiting"];
    if !waiting.is_null() {
        let ways: Vec<String> = items(waiting, "shortens").iter().map(cell).collect();
        let agreed: Vec<String> = items(waiting, "agreed").iter().map(|one| cell(&one["by"]["arn"])).collect();
        let version = cell(&waiting["version"]);
        lines.push(format!("policy {version} waits since {}: it shortens {}", cell(&waiting["since"]), ways.join(", ")));
        let who = if agreed.is_empty() { "nobody".to_owned() } else { agreed.join(", ") };
        lines.push(format!(
            "agreed: {who}, of {} people; next: `holdfast retention approve {version}`, each in their own name",
            waiting["agreements_needed"]
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_waits_says_what_it_shortens_and_the_next_command() {
        let mut in_force = json!({ "version": "v1", "since": "t1", "waiting": null });
        assert_eq!(policy(&in_force), "policy v1 decides since t1");
        in_force["waiting"] = json!({
            "version": "v2", "since": "t2", "shortens": ["retention.daily from 14 to 3"], "agreements_needed": 2,
            "agreed": [{ "by": { "arn": "arn:aws:iam::1:user/ana" } }],
        });
        let text = policy(&in_force);
        for part in ["daily from 14 to 3", "user/ana, of 2 people", "`holdfast retention approve v2`"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
