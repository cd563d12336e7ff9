//! What the vault holds, as tables for people.

use serde_json::Value;

use crate::{
    show::{cell, items, listing, rows},
    table::table,
};

/// The links of chains.
pub(crate) fn links(answer: &Value) -> String {
    let rows: Vec<Vec<String>> = items(answer, "links")
        .iter()
        .map(|link| {
            let mut row: Vec<String> = ["tenant", "sequence", "point", "kind", "scheduled_time", "state", "proof"]
                .map(|field| cell(&link[field]))
                .into();
            row.push(if link["problem"].is_null() { cell(&link["packs"]) } else { "not authentic".to_owned() });
            row.push(cell(&link["stored_bytes"]));
            row.push(parent(link));
            row
        })
        .collect();
    let headings =
        ["tenant", "sequence", "recovery point", "kind", "scheduled", "state", "proof", "packs", "stored bytes", "built on"];
    listing(answer, table(&headings, &rows), "the oldest are left out")
}

fn parent(link: &Value) -> String {
    if link["parent"].is_null() { "nothing (full)".to_owned() } else { cell(&link["parent"]) }
}

/// One link, with what it says if it is authentic.
pub(crate) fn link(answer: &Value) -> String {
    let mut lines = vec![
        format!("recovery point  {} of {}, {}", cell(&answer["point"]), cell(&answer["tenant"]), cell(&answer["kind"])),
        format!("scheduled       {}", cell(&answer["scheduled_time"])),
        format!("proof           {}", cell(&answer["proof"])),
        format!("sequence        {}", cell(&answer["sequence"])),
        format!("built on        {}", parent(answer)),
        format!("link SHA-256    {}", cell(&answer["link_sha256"])),
    ];
    if answer["authentic"] != true {
        lines.push(format!("authentic       NO: {}", cell(&answer["problem"])));
        return lines.join("\n");
    }
    let link = &answer["link"];
    lines.push("authentic       yes: signed by the vault, and the one that was published".to_owned());
    lines.push(format!("previous link   {}", cell(&link["previous"])));
    lines.push(format!("written by      {}", cell(&link["run"])));
    lines.push(format!(
        "manifest        {}, {} bytes",
        cell(&link["manifest"]["sha256"]),
        cell(&link["manifest"]["stored_bytes"])
    ));
    lines.push(String::new());
    lines.push(table(&["list SHA-256", "stored bytes"], &rows(items(link, "lists"), &["sha256", "stored_bytes"])));
    lines.push(String::new());
    lines.push(table(&["pack", "written by", "stored bytes"], &rows(items(link, "packs"), &["pack", "run", "stored_bytes"])));
    if link["packs_truncated"] == true {
        lines.push(format!("note: there are {} packs in all", cell(&link["packs_count"])));
    }
    let shared =
        items(link, "runs").iter().filter(|run| run["own"] != true).map(|run| run["packs"].as_u64().unwrap_or(0)).sum::<u64>();
    lines.push(format!("\n{} packs, {shared} of them written by earlier runs and shared", cell(&link["packs_count"])));
    lines.join("\n")
}

/// What is wrong with a chain and its recovery points.
pub(crate) fn check(answer: &Value) -> String {
    let chain = &answer["chain"];
    let points = items(answer, "points");
    let looked_at = format!(
        "{} links of {}'s chain followed, to place {}; {} recovery points looked at, among {} objects",
        cell(&chain["links"]),
        cell(&answer["tenant"]),
        cell(&chain["published"]),
        points.len(),
        cell(&answer["objects"])
    );
    let mut lines = vec![looked_at];
    lines.extend(not_followed(chain));
    for former in items(answer, "former") {
        lines.push(format!(
            "{} links of the chain under its former name {} followed, to place {}",
            cell(&former["links"]),
            cell(&former["vault_tenant"]),
            cell(&former["published"])
        ));
        lines.extend(not_followed(former));
    }
    if answer["truncated"] == true {
        lines.push("note: older recovery points were not looked at; name one with --point".to_owned());
    }
    if answer["findings_count"] == 0 {
        lines.push("nothing is missing and every link is signed; --read-data reads the data too".to_owned());
        return lines.join("\n");
    }
    let found: Vec<Vec<String>> = items(answer, "findings")
        .iter()
        .map(|found| vec![cell(&found["object"]), cell(&found["problem"]), needed_by(found)])
        .collect();
    lines.push(String::new());
    lines.push(table(&["object", "what is wrong", "needed by"], &found));
    lines.join("\n")
}

fn not_followed(chain: &Value) -> Option<String> {
    (chain["after"] != 0).then(|| format!("note: links up to place {} were not followed this time", cell(&chain["after"])))
}

fn needed_by(found: &Value) -> String {
    let named = items(found, "needed_by");
    match (named.first(), found["needed_by_count"].as_u64().unwrap_or(0)) {
        (None, _) => "the chain".to_owned(),
        (Some(first), 1) => cell(first),
        (Some(first), count) => format!("{} and {} more", cell(first), count - 1),
    }
}

/// How checks of data ended.
pub(crate) fn read(answer: &Value) -> String {
    let checks = items(answer, "checks");
    let table_rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            let mut row: Vec<String> = ["point", "kind", "state"].map(|field| cell(&check[field])).into();
            row.extend(["rows", "chunks_read", "chunks", "plaintext_bytes"].map(|field| cell(&check["read"][field])));
            row
        })
        .collect();
    let headings = ["recovery point", "kind", "outcome", "rows", "chunks read", "of", "bytes read"];
    let mut lines = vec![table(&headings, &table_rows)];
    for check in checks {
        let findings = items(check, "findings");
        lines.extend(findings.iter().map(|finding| format!("{}: {}", cell(&check["point"]), cell(finding))));
        if findings.is_empty() && !check["error"].is_null() {
            let error = &check["error"];
            lines.push(format!("{}: {}: {}", cell(&check["point"]), cell(&error["code"]), cell(&error["message"])));
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cells(text: &str, line: usize) -> Vec<String> {
        text.lines().nth(line).unwrap().split("  ").map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect()
    }

    #[test]
    fn links_say_what_they_are_built_on_and_which_of_them_is_none() {
        let link = |sequence: u64, more: Value| {
            let mut link = json!({ "tenant": "acme", "sequence": sequence, "point": "rp_1", "kind": "database", "scheduled_time": "t",
                "state": "available", "proof": "unproven", "stored_bytes": 9 });
            link.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            link
        };
        let answer = json!({ "truncated": true, "links": [
            link(3, json!({ "parent": "rp_0", "packs": 2 })), link(2, json!({ "problem": "replaced" })), link(1, json!({})),
        ]});
        let text = links(&answer);
        assert_eq!(cells(&text, 1)[1..], ["3", "rp_1", "database", "t", "available", "unproven", "2", "9", "rp_0"], "{text}");
        assert_eq!(cells(&text, 2)[7], "not authentic", "{text}");
        assert_eq!(cells(&text, 3)[9], "nothing (full)", "{text}");
        assert!(text.contains("not all there is"), "{text}");
    }

    #[test]
    fn of_a_link_that_is_not_authentic_nothing_is_shown_but_why() {
        let text = link(
            &json!({ "point": "rp_1", "authentic": false, "problem": "its signature is not the vault's\u{1b}[2J", "link": { "run": "run_x" } }),
        );
        assert!(text.contains("NO: its signature") && !text.contains("run_x") && !text.contains('\u{1b}'), "{text}");
        let packs =
            json!([{ "pack": "pk_1", "run": "run_1", "stored_bytes": 5 }, { "pack": "pk_2", "run": "run_2", "stored_bytes": 6 }]);
        let runs = json!([{ "own": false, "run": "run_1", "packs": 1 }, { "own": true, "run": "run_2", "packs": 1 }]);
        let shown = json!({ "run": "run_2", "packs": packs, "packs_count": 2, "runs": runs, "lists": [], "manifest": {} });
        let text = link(&json!({ "point": "rp_1", "authentic": true, "link": shown }));
        assert!(text.contains("2 packs, 1 of them written by earlier runs"), "{text}");
    }

    #[test]
    fn findings_name_what_needs_the_object() {
        let findings = json!([
            { "object": "chain/3", "problem": "it is missing", "needed_by": [], "needed_by_count": 0 },
            { "object": "packs/a", "problem": "it is missing", "needed_by": ["rp_1"], "needed_by_count": 30 },
            { "object": "packs/b", "problem": "it is missing", "needed_by": ["rp_1"], "needed_by_count": 1 },
        ]);
        let chain = json!({ "after": 7, "links": 3, "published": 10 });
        let text = check(&json!({ "tenant": "acme", "chain": chain, "points": [], "findings": findings, "findings_count": 3 }));
        assert!(text.contains("up to place 7"), "{text}");
        let last: Vec<&str> = text.lines().rev().take(3).collect();
        assert!(last[2].ends_with("the chain") && last[1].ends_with("rp_1 and 29 more") && last[0].ends_with("rp_1"), "{text}");
        let clean = check(&json!({ "tenant": "acme", "chain": { "after": 0, "links": 3 }, "points": [], "findings_count": 0 }));
        assert!(clean.contains("nothing is missing") && !clean.contains("note"), "{clean}");
    }

    #[test]
    fn a_check_says_what_was_followed_under_former_names_too() {
        let chain = json!({ "after": 0, "links": 3, "published": 3 });
        let former = json!([{ "vault_tenant": "vt_1", "after": 7, "links": 2, "published": 9 }]);
        let text = check(&json!({ "tenant": "acme", "chain": chain, "former": former, "points": [], "findings_count": 0 }));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "2 links of the chain under its former name vt_1 followed, to place 9");
        assert!(lines[2].contains("up to place 7"), "{text}");
    }

    #[test]
    fn a_check_of_data_tells_its_findings_or_why_it_was_not_done() {
        let sound = json!({ "point": "rp_1", "kind": "media", "state": "sound", "read": { "rows": 4, "chunks_read": 1, "chunks": 2, "plaintext_bytes": 8 } });
        let error = json!({ "code": "NotAuthentic", "message": "a few" });
        let damaged = json!({ "point": "rp_2", "state": "damaged", "error": error, "findings": ["all of them"] });
        let failed = json!({ "point": "rp_3", "state": "failed", "error": { "code": "KeyUnusable", "message": "enable it" } });
        let text = read(&json!({ "checks": [sound, damaged, failed] }));
        assert_eq!(cells(&text, 1), ["rp_1", "media", "sound", "4", "1", "2", "8"], "{text}");
        assert!(text.contains("rp_2: all of them") && !text.contains("a few"), "{text}");
        assert!(text.contains("rp_3: KeyUnusable: enable it"), "{text}");
    }
}
