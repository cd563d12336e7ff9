//! A recovery as a table for people: what it would do, or what it did and how long that took.

use domain::forecast::Forecast;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    show::{cell, items, listing, rows},
    table::table,
};

/// One recovery, whole.
pub(crate) fn recovery(answer: &Value) -> String {
    let id = cell(&answer["recovery"]);
    let to = match (answer["to"].is_null(), answer["native"] == true) {
        (true, _) => "the newest there is".to_owned(),
        (false, true) => format!("{}, exactly, where RDS has the log", cell(&answer["to"])),
        (false, false) => cell(&answer["to"]),
    };
    let mut lines = vec![
        format!("recovery         {id}"),
        format!("state            {}", cell(&answer["state"]).replace('_', " ")),
        format!("to               {to}"),
        format!("requested by     {} at {}", cell(&answer["requested_by"]), cell(&answer["requested_at"])),
        format!("reason           {}", cell(&answer["reason"])),
    ];
    for approval in items(answer, "approvals") {
        lines.push(format!("approved by      {} at {}", cell(&approval["by"]), cell(&approval["at"])));
    }
    if let Some(missing) = answer["approvals_missing"].as_u64() {
        lines.push(format!("still needed     {missing} of {} other people", cell(&answer["approvals_needed"])));
    }
    if answer["not_to_be_approved"].is_string() {
        lines.push(format!("cannot be agreed to: {}", cell(&answer["not_to_be_approved"])));
    }
    if !items(answer, "instances").is_empty() {
        lines.push(format!("\n{}", instances(answer)));
    }
    if !items(answer, "tenants").is_empty() {
        let tenants = listing(answer, tenants(answer), "the last in the order of priority are left out");
        lines.push(format!("\n{tenants}"));
    }
    let noted = items(&answer["preview"], "notes").iter().chain(items(answer, "notes"));
    let notes: Vec<String> =
        noted.map(|note| format!("note: {}", cell(note))).chain(lacks(answer)).chain(tenant_notes(answer)).collect();
    if !notes.is_empty() {
        lines.push(format!("\n{}", notes.join("\n")));
    }
    lines.push(String::new());
    if let Ok(forecast) = Forecast::deserialize(&answer["preview"]["forecast"]) {
        lines.push(format!("forecast         {}: the largest tenant with its instance, by restore tests", forecast.in_words()));
    }
    if let Some(report) = answer.get("report") {
        lines.push(measured(answer, report));
    } else if answer["preview"].is_object() {
        lines.push(format!("preview digest   {}", cell(&answer["preview"]["digest"])));
    }
    if let Some(error) = answer.get("error") {
        lines.push(format!("error            {}: {}", cell(&error["code"]), cell(&error["message"])));
        lines.extend(
            items(answer, "instances_left")
                .iter()
                .map(|name| format!("instance left    {}: it costs until it is deleted", cell(name))),
        );
    }
    lines.push(match answer["state"].as_str() {
        Some("requested" | "planned") => format!("next: holdfast recover preview {id}"),
        Some("awaiting_approval") => format!("next, by another person: holdfast recover approve {id}"),
        Some("approved" | "making" | "restoring") if answer["under_way"] == true => {
            format!("the work is under way; next: holdfast recover watch {id}")
        }
        Some("approved" | "making" | "restoring") => format!("next: holdfast recover watch {id}"),
        Some("done") => "next: point the application at the new instances (docs/runbooks/environment-lost.md)".to_owned(),
        _ => String::new(),
    });
    lines.join("\n")
}

fn instances(answer: &Value) -> String {
    let shown: Vec<Vec<String>> = items(answer, "instances")
        .iter()
        .map(|made| {
            let mut row: Vec<String> = ["database", "replaces", "instance"].map(|field| cell(&made[field])).into();
            // Another instance may have had the name at that instant; the id says which one was chosen.
            row.push(match made["resource_id"].as_str() {
                Some(_) => format!("{} of {}", cell(&made["source"]), cell(&made["resource_id"])),
                None => cell(&made["source"]),
            });
            row.push(cell(&made["as_of"]));
            row.push(cell(&made["stage"]).replace('_', " "));
            row.extend([duration(&made["rto_ms"]), duration(&made["rpo_ms"]), cell(&made["message"])]);
            row
        })
        .collect();
    table(&["database", "replaces", "new instance", "from", "as of", "stage", "RTO", "RPO", "why"], &shown)
}

fn tenants(answer: &Value) -> String {
    let shown: Vec<Vec<String>> = items(answer, "tenants")
        .iter()
        .map(|tenant| {
            let from = match tenant["source"].as_str() {
                Some("export") => cell(&tenant["point"]),
                Some(instance @ ("snapshot" | "instant")) => instance.to_owned(),
                _ => "nothing".to_owned(),
            };
            let mut row = vec![cell(&tenant["tenant"]), cell(&tenant["class"]), from, cell(&tenant["as_of"])];
            row.push(cell(&tenant["progress"]).replace('_', " "));
            row.extend([
                cell(&tenant["rows"]),
                duration(&tenant["rto_ms"]),
                duration(&tenant["rpo_ms"]),
                cell(&tenant["message"]),
            ]);
            row
        })
        .collect();
    table(&["tenant", "class", "from", "as of", "now", "rows", "RTO", "RPO", "why"], &shown)
}

fn lacks(answer: &Value) -> impl Iterator<Item = String> {
    items(answer, "instances")
        .iter()
        .flat_map(|made| items(made, "lacks").iter().map(|lack| format!("instance {}: {}", cell(&made["database"]), cell(lack))))
}

fn tenant_notes(answer: &Value) -> impl Iterator<Item = String> {
    items(answer, "tenants").iter().flat_map(|tenant| {
        items(tenant, "notes").iter().map(|note| format!("tenant {}: {}", cell(&tenant["tenant"]), cell(note)))
    })
}

fn measured(answer: &Value, report: &Value) -> String {
    let tally = &report["tally"];
    let of_instant = match tally["as_of_instant"].as_u64() {
        None | Some(0) => String::new(),
        Some(count) => format!("{count} as of the instant, "),
    };
    [
        format!("outcome          {}", cell(&answer["outcome"])),
        format!(
            "tenants          {}: {} proven, {}{} as of the snapshot, {} no customers any more, {} not back; {} rows",
            tally["tenants"],
            tally["proven"],
            of_instant,
            tally["as_of_snapshot"],
            tally["left_out"],
            tally["failed"],
            tally["rows"]
        ),
        format!(
            "RTO              {} from the approval: instances {}, platform and register {}, tenants {}",
            duration(&report["rto_ms"]),
            duration(&report["instances_ms"]),
            duration(&report["platform_ms"]),
            duration(&report["tenants_ms"])
        ),
        format!("                 {} from the request, people's time included", duration(&report["since_request_ms"])),
        format!("RPO              {} at most, of what is back", duration(&report["rpo_ms"])),
    ]
    .join("\n")
}

/// A time as people say it.
fn duration(ms: &Value) -> String {
    let Some(ms) = ms.as_i64() else { return "-".to_owned() };
    let (seconds, tenths) = (ms / 1_000, ms % 1_000 / 100);
    match seconds {
        0..60 => format!("{seconds}.{tenths} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// All of them.
pub(crate) fn recoveries(answer: &Value) -> String {
    let fields = ["recovery", "state", "outcome", "to", "requested_by", "requested_at", "reason"];
    listing(answer, table(&fields, &rows(items(answer, "recoveries"), &fields)), "the oldest that ended are left out")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_that_waits_says_how_many_people_are_still_needed() {
        let text =
            recovery(&json!({ "recovery": "rc_1", "state": "awaiting_approval", "approvals_needed": 2, "approvals_missing": 1 }));
        assert!(text.contains("still needed     1 of 2 other people"), "{text}");
    }

    #[test]
    fn what_was_woken_is_said_to_be_under_way() {
        let answer = |under_way: Value| json!({ "recovery": "rc_1", "state": "approved", "under_way": under_way });
        assert!(recovery(&answer(json!(true))).ends_with("the work is under way; next: holdfast recover watch rc_1"));
        assert!(recovery(&answer(Value::Null)).ends_with("\nnext: holdfast recover watch rc_1"));
    }

    #[test]
    fn a_report_shows_who_is_back_who_is_not_and_what_it_took() {
        let answer = json!({
            "recovery": "rc_1", "state": "done", "to": "t", "native": true, "outcome": "failed in part", "notes": ["the register says\u{1b}[2J"],
            "instances": [{ "database": "central", "replaces": "old", "instance": "new", "source": "instant", "resource_id": "db-1", "as_of": "t", "stage": "ready", "rto_ms": 61_500,
                            "rpo_ms": 7_200_000, "lacks": ["roles was `r` and is nothing (by hand)"] }],
            "tenants": [
                { "tenant": "@central", "class": "critical", "source": "export", "point": "rp_1", "progress": "proven", "rows": 7, "rto_ms": 900 },
                { "tenant": "acme", "class": "critical", "source": "export", "point": "rp_2", "progress": "failed", "message": "it is damaged" },
            ],
            "preview": { "digest": "d", "notes": ["never proven"] },
            "report": { "rto_ms": 83_000, "instances_ms": 61_500, "platform_ms": 900, "tenants_ms": 20_600, "since_request_ms": 90_000,
                        "rpo_ms": 7_200_000, "tally": { "tenants": 2, "proven": 1, "as_of_snapshot": 0, "as_of_instant": 3, "left_out": 0, "failed": 1, "rows": 7 } },
        });
        let text = recovery(&answer);
        for expected in [
            "1 min 23 s from the approval: instances 1 min 1 s, platform and register 0.9 s, tenants 20.6 s",
            "2 h 0 min at most",
            "failed in part",
            "it is damaged",
            "instance central: roles was `r` and is nothing (by hand)",
            "note: never proven",
            "instant of db-1",
            "to               t, exactly, where RDS has the log",
            "1 proven, 3 as of the instant, 0 as of the snapshot",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
