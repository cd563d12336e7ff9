//! What reconciling rows with files came to, as a table for people.

use serde_json::Value;

use crate::{
    show::{cell, items, rows},
    table::table,
};

/// The counts of one tenant.
pub(crate) fn reconciled(answer: &Value) -> String {
    if answer["state"] != "reconciled" {
        return format!("not reconciled: {}: {}", cell(&answer["error"]["code"]), cell(&answer["error"]["message"]));
    }
    if answer["configured"] == 0 {
        return "the plan names no columns in `media.references`, so there is nothing to reconcile".to_owned();
    }
    let found = &answer["reconciled"];
    let fields = ["table", "column", "references", "dangling", "foreign", "early", "undecided"];
    let headings = ["table", "column", "references", "dangling", "of these foreign", "file came later", "undecided"];
    let objects = &found["objects"];
    let lines = [
        format!("rows of {} as of {}, files of {}", cell(&answer["database"]), cell(&answer["read_at"]), cell(&answer["media"])),
        String::new(),
        table(&headings, &rows(items(found, "columns"), &fields)),
        String::new(),
        format!("files there then                  {}", cell(&objects["objects"])),
        format!("  named by no row (orphans)       {}", cell(&objects["orphans"])),
        format!("  named by no row, deleted since  {}", cell(&objects["leaving"])),
        format!("files newer than the rows         {}", cell(&objects["newer"])),
        format!("files of about that instant       {}", cell(&objects["undecided"])),
    ];
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_shown_by_column_and_a_failure_says_why() {
        let column = json!({ "table": "\"app\".\"fi\u{1b}les\"", "column": "path", "references": 9, "dangling": 2, "foreign": 1, "early": 3, "undecided": 4 });
        let objects = json!({ "objects": 7, "orphans": 5, "leaving": 0, "newer": 1, "undecided": 0 });
        let answer = json!({ "state": "reconciled", "configured": 1, "database": "rp_1", "media": "rp_2", "read_at": "t",
            "reconciled": { "columns": [column], "objects": objects } });
        let text = reconciled(&answer);
        let cells: Vec<&str> = text.lines().nth(3).unwrap().split_whitespace().collect();
        assert_eq!(cells[1..], ["path", "9", "2", "1", "3", "4"], "{text}");
        assert!(text.contains("orphans)       5") && !text.contains('\u{1b}'), "{text}");
        let failed = reconciled(&json!({ "state": "failed", "error": { "code": "UnknownRecoveryPoint", "message": "run one" } }));
        assert!(failed.contains("UnknownRecoveryPoint: run one"), "{failed}");
        assert!(reconciled(&json!({ "state": "reconciled", "configured": 0 })).contains("media.references"));
    }
}
