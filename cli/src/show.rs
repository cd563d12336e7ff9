//! Answers as tables for people.

use domain::text::plain;
use serde_json::Value;

use crate::table::table;

/// A field as a person reads it.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn items<'a>(answer: &'a Value, field: &str) -> &'a [Value] {
    answer[field].as_array().map_or(&[], Vec::as_slice)
}

fn rows(values: &[Value], fields: &[&str]) -> Vec<Vec<String>> {
    values.iter().map(|value| fields.iter().map(|field| cell(&value[*field])).collect()).collect()
}

pub(crate) fn status(answer: &Value) -> String {
    let tenants = &answer["tenants"];
    format!(
        "environment            {}\nvault                  {}\ntenants protected      {}\n  with recovery point  {}\n  proven to come back  {}\n\
         open alerts            {}\nopen restore requests  {}",
        plain(&cell(&answer["environment"])),
        cell(&answer["vault"]),
        tenants["protected"],
        tenants["with_recovery_point"],
        tenants["proven"],
        answer["open_alerts"],
        answer["open_restore_requests"]
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
            row.extend(["kind", "scheduled_time", "state", "proof", "rows", "stored_bytes"].map(|field| cell(&point[field])));
            row
        })
        .collect();
    table(&["recovery point", "subject", "kind", "scheduled", "state", "proof", "rows", "stored bytes"], &rows)
}

pub(crate) fn run(answer: &Value) -> String {
    format!("export of tenant {} started; see `holdfast points --tenant {0}`", plain(&cell(&answer["tenant"])))
}

pub(crate) fn request(answer: &Value) -> String {
    let mut lines = vec![
        format!("restore request  {}", cell(&answer["request"])),
        format!("state            {}", cell(&answer["state"]).replace('_', " ")),
        format!("tenant           {}", plain(&cell(&answer["tenant"]))),
        format!("recovery point   {}", cell(&answer["point"])),
        format!("requested by     {} at {}", plain(&cell(&answer["requested_by"])), cell(&answer["requested_at"])),
        format!("reason           {}", plain(&cell(&answer["reason"]))),
    ];
    if !answer["approved_by"].is_null() {
        lines.push(format!("approved by      {}", plain(&cell(&answer["approved_by"]))));
    }
    if let Some(preview) = answer.get("preview") {
        let fields = ["table", "returned", "overwritten", "destroyed", "unchanged"];
        lines.push(String::new());
        lines.push(table(&fields, &rows(items(preview, "tables"), &fields)));
        lines.extend(items(preview, "notes").iter().map(|note| format!("note: {}", plain(&cell(note)))));
        lines.push(format!("\npreview digest   {}", cell(&preview["digest"])));
    }
    if let Some(outcome) = answer.get("outcome") {
        lines.push(format!(
            "proven at        {}, {} rows match the recovery point",
            cell(&outcome["proven_at"]),
            outcome["rows"]
        ));
        lines.push(format!("took             {} ms", outcome["rto_ms"]));
        lines.push(format!("undo copy        {}", plain(&cell(&outcome["undo_copy"]))));
        lines.extend(items(outcome, "notes").iter().map(|note| format!("note: {}", plain(&cell(note)))));
    }
    if let Some(error) = answer.get("error") {
        lines.push(format!("error            {}: {}", cell(&error["code"]), plain(&cell(&error["message"]))));
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

pub(crate) fn requests(answer: &Value) -> String {
    let fields = ["request", "state", "tenant", "point", "requested_by", "requested_at"];
    table(&fields, &rows(items(answer, "requests"), &fields))
}

pub(crate) fn alerts(answer: &Value) -> String {
    let fields = ["severity", "class", "opened_at", "closed_at", "summary", "remedy"];
    table(&fields, &rows(items(answer, "alerts"), &fields))
}

pub(crate) fn audit(answer: &Value) -> String {
    let fields = ["at", "phase", "act", "subject", "actor", "detail"];
    table(&fields, &rows(items(answer, "entries"), &fields))
}

pub(crate) fn retention(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = items(answer, "decided")
        .iter()
        .map(|decided| {
            let kept = items(decided, "decisions").iter().filter(|decision| decision["keep"] == true).count();
            let let_go = items(decided, "decisions").len() - kept;
            let mut row: Vec<String> =
                ["subject", "kind", "decided_for", "applied"].iter().map(|field| cell(&decided[*field])).collect();
            row.extend([kept.to_string(), let_go.to_string()]);
            row
        })
        .collect();
    table(&["subject", "kind", "decided for", "applied", "kept", "let go"], &rows)
}

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
    table(&["subject", "kind", "scheduled", "recovery point", "verdict", "reasons"], &rows)
}
