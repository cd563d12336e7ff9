//! What no recovery point has, as tables for people.

use serde_json::Value;

use crate::{
    show::{cell, items},
    table::table,
};

/// Values of a tenant column shown with a finding; JSON has more.
const VALUES_SHOWN: usize = 5;

/// How many entries of a report ask for something to be done.
pub(crate) fn gaps(report: &Value) -> usize {
    uncovered(report).count() + items(report, "unseen").len() + items(report, "missed").len()
}

fn uncovered(report: &Value) -> impl Iterator<Item = &Value> {
    items(report, "findings").iter().filter(|found| found["only_with"].is_null())
}

/// The whole report.
pub(crate) fn report(report: &Value) -> String {
    if report["scanned_at"].is_null() {
        return "the databases were not scanned yet".to_owned();
    }
    let mut lines = vec![format!("databases scanned at {}", cell(&report["scanned_at"]))];
    let mut section = |heading: &str, headings: &[&str], rows: Vec<Vec<String>>| {
        lines.push(String::new());
        if rows.is_empty() {
            lines.push(format!("{heading}: none"));
        } else {
            lines.push(format!("{heading}:"));
            lines.push(table(headings, &rows));
        }
    };
    let found = |found: &Value| vec![place(&found["place"]), what(found)];
    section("in no recovery point", &["place", "what is there"], uncovered(report).map(found).collect());
    let rows = |field: &str, row: &dyn Fn(&Value) -> Vec<String>| items(report, field).iter().map(row).collect::<Vec<_>>();
    section(
        "could not be looked at",
        &["place", "why"],
        rows("unseen", &|unseen| vec![place(&unseen["place"]), cell(&unseen["why"])]),
    );
    section("without a fresh recovery point", &["subject", "kinds", "rule", "due", "newest"], rows("missed", &missed));
    let with_platform = items(report, "findings").iter().filter(|found| !found["only_with"].is_null());
    section(
        "only in the recovery points of the whole database",
        &["place", "what is there", "recovery points of"],
        with_platform.map(|only| [found(only), vec![cell(&only["only_with"])]].concat()).collect(),
    );
    section("left of deleted tenants", &["place", "tenants", "rows"], rows("deleted", &deleted));
    section(
        "left out by design",
        &["place", "tenant", "reason"],
        rows("left_out", &|left| vec![place(&left["place"]), cell(&left["tenant"]), cell(&left["reason"])]),
    );
    if report["left_off"].as_u64().unwrap_or(0) > 0 {
        lines.push(format!("\nnote: {} further entries did not fit into the report", report["left_off"]));
    }
    lines.join("\n")
}

fn place(place: &Value) -> String {
    let name = |field: &str| place[field].as_str().map(|name| format!("\"{}\"", name.replace('"', "\"\"")));
    let within = [name("schema"), name("table")].into_iter().flatten().collect::<Vec<_>>().join(".");
    [Some(cell(&place["instance"])), name("database"), Some(within)]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

fn what(found: &Value) -> String {
    let count = |field: &str| cell(&found[field]);
    match found["gap"].as_str() {
        Some("no_tenant") => format!("{} rows without a tenant", count("rows")),
        Some("unknown_tenants") => {
            format!(
                "{} rows of {} tenants that are not in the register there: {}",
                count("rows"),
                count("tenants"),
                values(found)
            )
        }
        Some("shared_table") => "a table without a tenant column among pooled ones".to_owned(),
        Some("schema") => format!("a schema of nobody's, {} tables", count("tables")),
        Some("database") if found["tables"].is_null() => "a database of nobody's, which could not be looked into".to_owned(),
        Some("database") => format!("a database of nobody's, {} tables", count("tables")),
        Some("large_objects") => format!("{} large objects of nobody's", count("objects")),
        _ => cell(&found["gap"]),
    }
}

fn values(values: &Value) -> String {
    let first = items(values, "first");
    let mut shown: Vec<String> =
        first.iter().take(VALUES_SHOWN).map(|value| format!("{} ({})", quoted(&value["tenant"]), cell(&value["rows"]))).collect();
    if values["tenants"].as_u64().unwrap_or(0) > shown.len() as u64 {
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// An id in quotes, so that an empty one and one that ends in a space show.
fn quoted(value: &Value) -> String {
    format!("`{}`", cell(value))
}

fn missed(slot: &Value) -> Vec<String> {
    let subject = &slot["subject"];
    let subject =
        if subject["tenant"].is_null() { format!("instance {}", cell(&subject["instance"])) } else { cell(&subject["tenant"]) };
    let kinds: Vec<String> = items(slot, "kinds").iter().map(cell).collect();
    vec![subject, kinds.join(", "), cell(&slot["rule"]), cell(&slot["due"]), cell(&slot["newest"])]
}

fn deleted(gone: &Value) -> Vec<String> {
    match &gone["values"] {
        Value::Null => vec![place(&gone["place"]), quoted(&gone["tenant"]), "all".to_owned()],
        found => vec![place(&gone["place"]), values(found), cell(&found["rows"])],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_names_every_place_and_hostile_names_stay_in_their_cells() {
        let place = |table: &str| json!({ "instance": "shared", "database": "a\"pp", "schema": "app", "table": table });
        let first = json!([{ "tenant": "ghost\u{1b}[2J ", "rows": 2 }]);
        let answer = json!({
            "scanned_at": "t", "left_off": 3,
            "findings": [
                { "place": place("orders"), "gap": "no_tenant", "rows": 7 },
                { "place": place("orders"), "gap": "unknown_tenants", "tenants": 2, "rows": 5, "first": first },
                { "place": place("plans"), "gap": "shared_table", "only_with": "@central" },
            ],
            "unseen": [{ "place": { "instance": "silo" }, "why": "denied" }],
            "deleted": [{ "place": place("orders"), "values": { "tenants": 1, "rows": 4, "first": first } }],
            "left_out": [{ "place": place("sessions"), "tenant": "acme", "reason": "transient" }],
            "missed": [{ "subject": { "tenant": "acme" }, "kinds": ["database"], "rule": "daily", "due": "d", "newest": null, "rpo_minutes": 5 }],
        });
        let text = report(&answer);
        assert!(!text.contains('\u{1b}'), "{text:?}");
        for expected in [
            "shared \"a\"\"pp\" \"app\".\"orders\"  7 rows without a tenant",
            "5 rows of 2 tenants that are not in the register there: `ghost",
            "(2), …",
            "@central",
            "silo",
            "denied",
            "acme",
            "transient",
            "3 further entries",
        ] {
            assert!(text.contains(expected), "{text}\n  should say {expected}");
        }
        assert_eq!(gaps(&answer), 4);
        let clean = report(&json!({ "scanned_at": "t" }));
        assert_eq!((clean.matches(": none").count(), gaps(&json!({ "scanned_at": "t" }))), (6, 0), "{clean}");
    }
}
