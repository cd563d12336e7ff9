//! Answers as tables for people.

use domain::text::plain;
use serde_json::Value;

use crate::{show_policy::policy, table::table};

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

/// Tenants of whom a person sees what was promised; JSON has more.
const OBJECTIVES_SHOWN: usize = 25;

/// What was promised and what holds, those first of whom it does not.
fn objectives(answer: &Value) -> String {
    let all = items(answer, "objectives");
    let rows: Vec<Vec<String>> = all
        .iter()
        .take(OBJECTIVES_SHOWN)
        .map(|tenant| {
            let mut row = vec![cell(&tenant["tenant"])];
            row.extend(["rpo", "proof", "reading", "rto"].map(|name| {
                let objective = &tenant[name];
                let kept = if objective["met"] == false { "  NOT KEPT" } else { "" };
                format!("{} of {}{kept}", minutes(&objective["minutes"]), minutes(&objective["at_most_minutes"]))
            }));
            row
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let table = table(
        &["tenant", "would be lost, of RPO", "newest proof, of at most", "oldest reading, of at most", "last restore, of RTO"],
        &rows,
    );
    let rest = all.len() - rows.len();
    let more = if rest > 0 { format!("\n\nnote: {rest} more with --output json") } else { String::new() };
    format!("\n\n{table}{more}")
}

/// A length of time in the unit in which people would say it.
fn minutes(value: &Value) -> String {
    match value.as_i64() {
        None => "-".to_owned(),
        Some(minutes) if minutes < 120 => format!("{minutes} min"),
        Some(minutes) if minutes < 72 * 60 => format!("{} h", minutes / 60),
        Some(minutes) => format!("{} d", minutes / (24 * 60)),
    }
}

pub(crate) fn status(answer: &Value) -> String {
    format!("{}{}", counts(answer), objectives(answer))
}

fn counts(answer: &Value) -> String {
    let tenants = &answer["tenants"];
    format!(
        "environment            {}\nvault                  {}\ntenants protected      {}\n  with recovery point  {}\n  proven to come back  {}\n\
         open alerts            {}\nopen restore requests  {}\n  awaiting approval    {}\nreviews demanded       {}, {} of them overdue",
        cell(&answer["environment"]),
        cell(&answer["vault"]),
        cell(&tenants["protected"]),
        cell(&tenants["with_recovery_point"]),
        cell(&tenants["proven"]),
        cell(&answer["open_alerts"]),
        cell(&answer["open_restore_requests"]),
        cell(&answer["awaiting_approval"]),
        cell(&answer["demanded_reviews"]["open"]),
        cell(&answer["demanded_reviews"]["overdue"])
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
            row.push(if point["held"] == true { "yes" } else { "-" }.to_owned());
            row.push(stored(point).to_owned());
            row.extend(["rows", "stored_bytes"].map(|field| cell(&point[field])));
            row
        })
        .collect();
    table(&["recovery point", "subject", "kind", "scheduled", "state", "proof", "held", "stored", "rows", "stored bytes"], &rows)
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

pub(crate) fn alerts(answer: &Value) -> String {
    let fields = ["severity", "class", "opened_at", "closed_at", "summary", "remedy", "runbook"];
    listing(answer, table(&fields, &rows(items(answer, "alerts"), &fields)), "the oldest that were closed are left out")
}

pub(crate) fn audit(answer: &Value) -> String {
    let fields = ["at", "phase", "act", "subject", "actor", "detail"];
    let table = table(&fields, &rows(items(answer, "entries"), &fields));
    listing(answer, table, "later entries are left out; ask for less with --since, --until, --about, --actor or --act")
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
    let decided = listing(answer, table(&headings, &rows), ONE_TENANT);
    format!("{decided}\n\n{}", policy(&answer["in_force"]))
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
    fn the_posture_shows_what_was_promised_and_what_is_not_kept() {
        let objective = |minutes: Option<i64>, at_most: Option<i64>, met: Option<bool>| json!({ "minutes": minutes, "at_most_minutes": at_most, "met": met });
        let tenant = json!({
            "tenant": "acme",
            "rpo": objective(Some(55), Some(90), Some(true)),
            "proof": objective(Some(5000), Some(2880), Some(false)),
            "reading": objective(Some(11_000), Some(11_520), Some(true)),
            "rto": objective(None, Some(240), None),
        });
        let text = status(&json!({ "objectives": vec![tenant; OBJECTIVES_SHOWN + 2] }));
        let line = text.lines().find(|line| line.starts_with("acme")).unwrap();
        for part in ["55 min of 90 min", "3 d of 48 h  NOT KEPT", "7 d of 8 d", "- of 4 h"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_eq!(text.matches("acme").count(), OBJECTIVES_SHOWN);
        assert!(text.contains("2 more"), "{text}");
        assert!(!status(&json!({})).contains("tenant  "), "without tenants there is no table");
    }

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
}
