//! Answers as tables for people.

use domain::{point::Kind, text::plain};
use serde::Deserialize;
use serde_json::Value;

use crate::table::table;

/// A field as a person reads it. Whatever it repeats cannot steer the terminal.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text),
        other => plain(&other.to_string()),
    }
}

/// A listing that says if it is not all there is.
pub(crate) fn listing(answer: &Value, table: String, narrower: &str) -> String {
    if answer["truncated"] == true { format!("{table}\n\nnote: this is not all there is; {narrower}") } else { table }
}

pub(crate) fn items<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn rows(values: &[Value], fields: &[&str]) -> Vec<Vec<String>> {
    values.iter().map(|value| fields.iter().map(|field| cell(&value[*field])).collect()).collect()
}

pub(crate) fn status(answer: &Value) -> String {
    let tenants = &answer["tenants"];
    format!(
        "environment            {}\nvault                  {}\ntenants protected      {}\n  with recovery point  {}\n  proven to come back  {}\n\
         open alerts            {}\nopen restore requests  {}",
        cell(&answer["environment"]),
        cell(&answer["vault"]),
        cell(&tenants["protected"]),
        cell(&tenants["with_recovery_point"]),
        cell(&tenants["proven"]),
        cell(&answer["open_alerts"]),
        cell(&answer["open_restore_requests"])
    )
}

pub(crate) fn tenants(answer: &Value) -> String {
    let fields = ["tenant", "layout", "database", "criticality", "status", "newest", "proof"];
    table(
        &fields.map(|field| if field == "newest" { "newest recovery point" } else { field }),
        &rows(items(answer, "tenants"), &fields),
    )
}

pub(crate) fn points(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = items(answer, "points")
        .iter()
        .map(|point| {
            let subject =
                if point["tenant"].is_null() { format!("instance {}", cell(&point["instance"])) } else { cell(&point["tenant"]) };
            let mut row = vec![cell(&point["id"]), subject];
            row.extend(["kind", "scheduled_time", "state", "proof"].map(|field| cell(&point[field])));
            row.push(stored(point).to_owned());
            row.extend(["rows", "stored_bytes"].map(|field| cell(&point[field])));
            row
        })
        .collect();
    table(&["recovery point", "subject", "kind", "scheduled", "state", "proof", "stored", "rows", "stored bytes"], &rows)
}

/// Sets, each with what is in it.
pub(crate) fn sets(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = items(answer, "sets")
        .iter()
        .map(|set| {
            let kinds: Vec<String> = items(set, "members").iter().map(|member| cell(&member["kind"])).collect();
            let missing: Vec<String> = items(set, "missing").iter().map(cell).collect();
            let or_none = |list: Vec<String>| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
            let mut row: Vec<String> = ["tenant", "rule", "scheduled_time", "label"].map(|field| cell(&set[field])).into();
            row.extend([or_none(kinds), or_none(missing), cell(&set["skew_ms"])]);
            row
        })
        .collect();
    table(&["tenant", "rule", "scheduled", "set", "holds", "missing", "skew ms"], &rows)
}

/// Whether an export stored everything anew, or what the one before it had not.
fn stored(point: &Value) -> &'static str {
    match point["full"].as_bool() {
        Some(true) => "full",
        Some(false) => "incremental",
        None => "-",
    }
}

pub(crate) fn run(answer: &Value) -> String {
    let what = if answer["full"] == true { "full export" } else { "export" };
    format!("{what} of tenant {} started; see `holdfast points --tenant {0}`", cell(&answer["tenant"]))
}

pub(crate) fn request(answer: &Value) -> String {
    let mut lines = vec![
        format!("restore request  {}", cell(&answer["request"])),
        format!("state            {}", cell(&answer["state"]).replace('_', " ")),
        format!("tenant           {}", cell(&answer["tenant"])),
        format!("recovery point   {} ({})", cell(&answer["point"]), cell(&answer["kind"])),
        format!("requested by     {} at {}", cell(&answer["requested_by"]), cell(&answer["requested_at"])),
        format!("reason           {}", cell(&answer["reason"])),
    ];
    if !answer["approved_by"].is_null() {
        lines.push(format!("approved by      {}", cell(&answer["approved_by"])));
    }
    if let Some(preview) = answer.get("preview") {
        let fields = ["table", "returned", "overwritten", "destroyed", "unchanged"];
        lines.push(String::new());
        lines.push(table(&fields, &rows(items(preview, "tables"), &fields)));
        lines.extend(items(preview, "notes").iter().map(|note| format!("note: {}", cell(note))));
        lines.push(format!("\npreview digest   {}", cell(&preview["digest"])));
    }
    if let Some(outcome) = answer.get("outcome") {
        lines.push(format!(
            "proven at        {}, {} {} match the recovery point",
            cell(&outcome["proven_at"]),
            outcome["rows"],
            unit(answer)
        ));
        lines.push(format!("took             {} ms", outcome["rto_ms"]));
        lines.push(format!("undo copy        {}", cell(&outcome["undo_copy"])));
        lines.extend(items(outcome, "notes").iter().map(|note| format!("note: {}", cell(note))));
    }
    if let Some(error) = answer.get("error") {
        lines.push(format!("error            {}: {}", cell(&error["code"]), cell(&error["message"])));
    }
    let id = cell(&answer["request"]);
    let next = match answer["state"].as_str() {
        Some("requested" | "previewed") => format!("next: holdfast restore preview {id}"),
        Some("awaiting_approval") => format!("next, by another person: holdfast restore approve {id}"),
        Some("approved" | "executing") => format!("next: holdfast restore watch {id}"),
        _ => String::new(),
    };
    lines.push(next);
    lines.join("\n")
}

/// What the recovery point of a request consists of.
fn unit(answer: &Value) -> &'static str {
    Kind::deserialize(&answer["kind"]).unwrap_or_default().unit()
}

pub(crate) fn requests(answer: &Value) -> String {
    let fields = ["request", "state", "tenant", "kind", "point", "requested_by", "requested_at"];
    listing(answer, table(&fields, &rows(items(answer, "requests"), &fields)), "the oldest that ended are left out")
}

pub(crate) fn alerts(answer: &Value) -> String {
    let fields = ["severity", "class", "opened_at", "closed_at", "summary", "remedy"];
    listing(answer, table(&fields, &rows(items(answer, "alerts"), &fields)), "the oldest that were closed are left out")
}

pub(crate) fn audit(answer: &Value) -> String {
    let fields = ["at", "phase", "act", "subject", "actor", "detail"];
    let table = table(&fields, &rows(items(answer, "entries"), &fields));
    listing(answer, table, "the day's later entries are left out; the catalog's table has them")
}

const ONE_TENANT: &str = "ask for one tenant with --tenant";

/// What would be kept now, beside what the last run did.
pub(crate) fn retention(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = items(answer, "decided")
        .iter()
        .map(|decided| {
            let kept = items(decided, "decisions").iter().filter(|decision| decision["keep"] == true).count();
            let let_go = items(decided, "decisions").len() - kept;
            let mut row = vec![cell(&decided["subject"]), cell(&decided["kind"]), kept.to_string(), let_go.to_string()];
            row.extend(last_run(&decided["last_run"]));
            row
        })
        .collect();
    let headings = ["subject", "kind", "would keep", "would let go", "last run for", "carried out", "kept", "let go", "put off"];
    listing(answer, table(&headings, &rows), ONE_TENANT)
}

fn last_run(last: &Value) -> [String; 5] {
    if last.is_null() {
        return ["never", "-", "-", "-", "-"].map(str::to_owned);
    }
    let carried_out = if last["applied"] == true { "yes" } else { "no" };
    [
        cell(&last["decided_for"]),
        carried_out.to_owned(),
        cell(&last["kept"]),
        items(last, "let_go").len().to_string(),
        cell(&last["capped"]),
    ]
}

/// Every recovery point with every reason, then what the last run did.
pub(crate) fn retention_explained(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = items(answer, "decided")
        .iter()
        .flat_map(|decided| {
            items(decided, "decisions").iter().map(|decision| {
                let reasons: Vec<String> = items(decision, "reasons").iter().map(cell).collect();
                let verdict = if decision["keep"] == true { "keep" } else { "let go" };
                vec![
                    cell(&decided["subject"]),
                    cell(&decided["kind"]),
                    cell(&decision["scheduled_time"]),
                    cell(&decision["point"]),
                    verdict.to_owned(),
                    reasons.join(", "),
                ]
            })
        })
        .collect();
    let explained = table(&["subject", "kind", "scheduled", "recovery point", "would", "reasons"], &rows);
    format!("{explained}\n\n{}", retention(answer))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_retention_plan_shows_what_would_happen_beside_what_happened() {
        let decision =
            |keep: bool, reason: &str| json!({ "point": "rp_1", "scheduled_time": "t", "keep": keep, "reasons": [reason] });
        let last = json!({ "decided_for": "yesterday", "applied": true, "kept": 7, "capped": 0, "let_go": [decision(false, "not_needed")] });
        let decisions = [decision(true, "newest"), decision(false, "not_needed")];
        let answer = json!({ "truncated": true, "decided": [
            { "subject": "acme", "kind": "database", "decisions": decisions, "last_run": last },
            { "subject": "borealis", "kind": "media", "decisions": decisions, "last_run": null },
        ]});
        let text = retention(&answer);
        let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[1], ["acme", "database", "1", "1", "yesterday", "yes", "7", "1", "0"], "{text}");
        assert_eq!(cells[2], ["borealis", "media", "1", "1", "never", "-", "-", "-", "-"], "{text}");
        assert!(text.contains("--tenant"), "{text}");
        let explained = retention_explained(&answer);
        assert_eq!(explained.lines().filter(|line| line.contains("rp_1")).count(), 4, "{explained}");
    }

    #[test]
    fn a_set_says_what_it_holds_what_it_lacks_and_how_far_apart_it_was_read() {
        let database = json!({ "kind": "database", "point": "rp_1" });
        let answer = json!({ "sets": [
            { "tenant": "acme", "rule": "daily", "scheduled_time": "t2", "label": "complete", "skew_ms": 1400, "missing": [],
              "members": [database, { "kind": "media" }] },
            { "tenant": "acme", "rule": "daily", "scheduled_time": "t1", "label": "incomplete", "skew_ms": null, "missing": ["media"],
              "members": [database] },
        ]});
        let text = sets(&answer);
        let cells: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(cells[1], ["acme", "daily", "t2", "complete", "database,", "media", "-", "1400"], "{text}");
        assert_eq!(cells[2], ["acme", "daily", "t1", "incomplete", "database", "media", "-"], "{text}");
    }

    #[test]
    fn what_the_function_repeats_cannot_steer_the_terminal() {
        let answer = json!({ "request": "rq\u{1b}[2J", "reason": "a\u{202e}b", "preview": { "digest": "d\r" } });
        let text = request(&answer);
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
    }
}
