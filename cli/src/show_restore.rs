//! Restore requests as people read them before they agree, and after.

use domain::{point::Kind, text::plain};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    show::{cell, items, listing, rows},
    table::table,
};

/// Everything about one request, and what comes next.
pub(crate) fn request(answer: &Value) -> String {
    let mut lines = vec![
        format!("restore request  {}", cell(&answer["request"])),
        format!("state            {}", state(answer)),
        format!("tenant           {}", cell(&answer["tenant"])),
        format!("recovery point   {} ({})", cell(&answer["point"]), cell(&answer["kind"])),
    ];
    lines.extend(chosen(&answer["chosen"]));
    lines.extend(asked(answer));
    lines.push(format!("requested by     {} at {}", cell(&answer["requested_by"]), cell(&answer["requested_at"])));
    lines.push(format!("reason           {}", cell(&answer["reason"])));
    lines.extend(agreed(answer));
    if let Some(preview) = answer.get("preview").filter(|preview| preview.is_object()) {
        lines.extend(previewed(preview));
    }
    if let Some(outcome) = answer.get("outcome") {
        lines.extend(ended(answer, outcome));
    }
    if let Some(error) = answer.get("error") {
        lines.push(format!("error            {}: {}", cell(&error["code"]), cell(&error["message"])));
    }
    lines.push(next(answer));
    lines.join("\n")
}

fn state(answer: &Value) -> String {
    cell(&answer["state"]).replace('_', " ")
}

/// What was found for an instant that was asked for, and whether the very instant could be had.
fn chosen(chosen: &Value) -> Option<String> {
    let before_s = chosen["before_s"].as_u64()?;
    let native = if chosen["native"] == true { "; --native restores to exactly that time" } else { "" };
    Some(format!("read at          {}, {before_s} s before the time asked for{native}", cell(&chosen["until"])))
}

/// Where it goes and how much of the recovery point it takes, if that is not everything in place.
fn asked(answer: &Value) -> Vec<String> {
    let mut lines = vec![];
    if answer["mode"].is_string() {
        let recovery = answer["recovery"].as_str().map_or_else(String::new, |recovery| format!(" of {}", plain(recovery)));
        lines.push(format!("mode             {}{recovery}", cell(&answer["mode"])));
    }
    if answer["undoes"].is_string() {
        lines.push(format!("undoes           {}", cell(&answer["undoes"])));
    }
    if answer["point_in_time"].is_string() {
        lines.push(format!("instant          {}", cell(&answer["point_in_time"])));
    }
    lines.extend(told(answer));
    let selection = &answer["selection"];
    let tables: Vec<String> = items(selection, "tables").iter().map(cell).collect();
    if !tables.is_empty() {
        lines.push(format!("only tables      {}", tables.join(", ")));
    }
    for column in items(selection, "columns") {
        let now = column["now"].as_str().map_or_else(|| "left behind".to_owned(), |now| format!("now {}", plain(now)));
        lines.push(format!("column           {}.{}: {now}", cell(&column["table"]), cell(&column["column"])));
    }
    lines
}

/// How far the data of a recovery point that was chosen by a time is from it, and whether the very time could be had.
fn told(answer: &Value) -> Option<String> {
    let chosen = &answer["chosen"];
    let before_s = chosen["before_s"].as_i64()?;
    let native = if chosen["native"] == true { "; --native restores to exactly that time, and takes longer" } else { "" };
    let (hours, minutes, seconds) = (before_s / 3600, before_s / 60 % 60, before_s % 60);
    Some(format!(
        "its data         is of {}, {hours} h {minutes} min {seconds} s before {}{native}",
        cell(&chosen["until"]),
        cell(&chosen["time"])
    ))
}

/// Who has agreed, who still has to, and what is to be reviewed.
fn agreed(answer: &Value) -> Vec<String> {
    let mut lines = vec![];
    for approval in items(answer, "approvals") {
        let (by, at) = (cell(&approval["by"]), cell(&approval["at"]));
        match approval["break_glass"].as_str() {
            Some(why) => lines.push(format!("went ahead alone {by} at {at}, because: {}", plain(why))),
            None => lines.push(format!("approved by      {by} at {at}")),
        }
    }
    if let Some(missing) = answer["approvals_missing"].as_u64() {
        lines.push(format!("still needed     {missing} of {} other people", cell(&answer["approvals_needed"])));
    }
    if answer["not_to_be_approved"].is_string() {
        lines.push(format!("cannot be agreed to: {}", cell(&answer["not_to_be_approved"])));
    }
    let review = &answer["review"];
    if review.is_object() {
        let done = &review["done"];
        lines.push(match done.is_object() {
            true => format!("reviewed by      {} at {}: {}", cell(&done["by"]), cell(&done["at"]), cell(&done["finding"])),
            false => format!("review due       {}, by another person than {}", cell(&review["due"]), cell(&review["of"])),
        });
    }
    lines
}

fn previewed(preview: &Value) -> Vec<String> {
    let fields = ["table", "returned", "overwritten", "destroyed", "unchanged"];
    let mut counts = rows(items(preview, "tables"), &fields);
    if preview["totals"].is_object() && counts.len() > 1 {
        counts.extend(rows(std::slice::from_ref(&preview["totals"]), &fields));
    }
    let mut lines = vec![String::new(), table(&fields, &counts)];
    lines.extend(items(preview, "notes").iter().map(|note| format!("note: {}", cell(note))));
    if preview["forecast_in_words"].is_string() {
        lines.push(format!("\nwill take        {}", cell(&preview["forecast_in_words"])));
    }
    lines.push(format!("preview made at  {}", cell(&preview["at"])));
    lines.push(format!("preview digest   {}", cell(&preview["digest"])));
    lines
}

fn ended(answer: &Value, outcome: &Value) -> Vec<String> {
    let (at, rows, unit) = (cell(&outcome["proven_at"]), &outcome["rows"], unit(answer));
    let mut lines = vec![
        format!("proven at        {at}, {rows} {unit} match the recovery point"),
        format!("took             {} ms", outcome["rto_ms"]),
        format!("undo copy        {}", cell(&outcome["undo_copy"])),
    ];
    if outcome["before"].is_string() {
        lines.push(format!("state before     {}", cell(&outcome["before"])));
    }
    lines.extend(items(outcome, "notes").iter().map(|note| format!("note: {}", cell(note))));
    lines
}

/// The command that comes next, and whose it is.
fn next(answer: &Value) -> String {
    let id = cell(&answer["request"]);
    let to_review = answer["review"].is_object() && answer["review"]["done"].is_null();
    match answer["state"].as_str() {
        Some("requested" | "previewed") => format!("next: holdfast restore preview {id}"),
        Some("awaiting_approval") => format!("next, by another person: holdfast restore approve {id}"),
        Some("approved" | "executing") if answer["under_way"] == true => {
            format!("the work is under way; next: holdfast restore watch {id}")
        }
        Some("approved" | "executing") => format!("next: holdfast restore watch {id}"),
        Some("proven" | "failed") if to_review => format!("next, by another person: holdfast restore review {id} --finding …"),
        _ => String::new(),
    }
}

/// What the recovery point of a request consists of.
fn unit(answer: &Value) -> &'static str {
    Kind::deserialize(&answer["kind"]).unwrap_or_default().unit()
}

/// Requests, one a line.
pub(crate) fn requests(answer: &Value) -> String {
    let fields = ["request", "state", "tenant", "kind", "mode", "point", "requested_by", "requested_at"];
    let mut lines = rows(items(answer, "requests"), &fields);
    for (line, request) in lines.iter_mut().zip(items(answer, "requests")) {
        line.push(review(request).to_owned());
    }
    let headings: Vec<&str> = fields.into_iter().chain(["review"]).collect();
    listing(answer, table(&headings, &lines), "the oldest that ended are left out")
}

/// Whether another person has to look at what one did alone.
fn review(request: &Value) -> &'static str {
    match (request["review"].is_object(), request["review"]["done"].is_object()) {
        (false, _) => "-",
        (true, false) => "demanded",
        (true, true) => "done",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn waiting() -> Value {
        let table = |name: &str| json!({ "table": name, "returned": 2, "overwritten": 1, "destroyed": 0, "unchanged": 4 });
        json!({
            "request": "rq_1", "state": "awaiting_approval", "tenant": "acme", "point": "rp_1", "kind": "database", "mode": "side-by-side",
            "requested_by": "arn:aws:iam::1:user/ana", "requested_at": "t0", "reason": "gone", "undoes": "rq_0", "point_in_time": "t9",
            "selection": { "tables": ["app.a", "app.b"], "columns": [{ "table": "app.a", "column": "old", "now": null }] },
            "approvals": [{ "by": "ben", "at": "t1", "break_glass": null }], "approvals_needed": 2, "approvals_missing": 1,
            "preview": {
                "at": "t0", "tables": [table("app.a"), table("app.b")], "notes": ["a note"], "digest": "d1gest",
                "totals": { "table": "all", "returned": 4, "overwritten": 2, "destroyed": 0, "unchanged": 8 },
                "forecast_in_words": "unknown: 3 measured, 5 needed",
            },
        })
    }

    #[test]
    fn who_approves_sees_who_asked_why_how_much_and_what_it_destroys() {
        let text = request(&waiting());
        for said in [
            "user/ana",
            "gone",
            "mode             side-by-side",
            "undoes           rq_0",
            "instant          t9",
            "only tables      app.a, app.b",
            "app.a.old: left behind",
            "approved by      ben",
            "still needed     1 of 2 other people",
            "note: a note",
            "3 measured, 5 needed",
            "preview digest   d1gest",
            "next, by another person: holdfast restore approve rq_1",
        ] {
            assert!(text.contains(said), "{said} is not in\n{text}");
        }
        let totals: Vec<&str> = text.lines().find(|line| line.starts_with("all ")).unwrap().split_whitespace().collect();
        assert_eq!(totals, ["all", "4", "2", "0", "8"]);
    }

    #[test]
    fn what_was_woken_is_said_to_be_under_way() {
        let answer = |under_way: Value| json!({ "request": "rq_1", "state": "approved", "under_way": under_way });
        assert!(request(&answer(json!(true))).ends_with("the work is under way; next: holdfast restore watch rq_1"));
        assert!(request(&answer(Value::Null)).ends_with("\nnext: holdfast restore watch rq_1"));
    }

    #[test]
    fn what_was_found_for_an_instant_says_how_old_it_is_and_whether_the_very_instant_could_be_had() {
        let found = |native: bool| json!({ "request": "rq_1", "chosen": { "until": "t0", "before_s": 90, "native": native } });
        assert!(request(&found(true)).contains("read at          t0, 90 s before the time asked for; --native"));
        assert!(!request(&found(false)).contains("--native"));
        assert!(!request(&json!({ "request": "rq_1", "chosen": null })).contains("read at"));
    }

    #[test]
    fn what_one_person_did_alone_shows_until_it_is_reviewed() {
        let mut answer = waiting();
        answer["state"] = json!("proven");
        answer["approvals"] = json!([{ "by": "ana", "at": "t1", "break_glass": "everything is down" }]);
        answer["outcome"] =
            json!({ "proven_at": "t2", "rows": 7, "rto_ms": 9, "undo_copy": null, "before": "rp_9", "notes": [] });
        answer["review"] = json!({ "of": "ana", "demanded_at": "t1", "due": "t8", "done": null });
        let text = request(&answer);
        assert!(text.contains("went ahead alone ana at t1, because: everything is down"), "{text}");
        assert!(text.contains("review due       t8") && text.contains("holdfast restore review rq_1"), "{text}");
        assert!(text.contains("state before     rp_9"), "{text}");
        assert!(requests(&json!({ "requests": [answer.clone()] })).contains("demanded"));
        answer["review"]["done"] = json!({ "by": "ben", "at": "t3", "finding": "fine" });
        let text = request(&answer);
        assert!(text.contains("reviewed by      ben at t3: fine") && !text.contains("next"), "{text}");
    }

    #[test]
    fn what_the_function_repeats_cannot_steer_the_terminal() {
        let approvals = json!([{ "by": "b\u{1b}[2J", "break_glass": "w\r" }]);
        let columns = json!([{ "table": "t\r", "column": "c\u{1b}", "now": "n\u{202e}" }]);
        let answer = json!({
            "request": "rq\u{1b}[2J", "reason": "a\u{202e}b", "preview": { "digest": "d\r", "forecast_in_words": "f\r" }, "mode": "m\r",
            "recovery": "r\r", "approvals": approvals, "selection": { "tables": ["t\u{1b}"], "columns": columns },
            "review": { "due": "d\r", "of": "o\u{202e}" }, "not_to_be_approved": "n\r",
        });
        let text = request(&answer);
        assert!(!text.contains(['\u{1b}', '\u{202e}', '\r']), "{text:?}");
    }
}
