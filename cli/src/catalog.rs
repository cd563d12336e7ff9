//! Having the catalog made again: stretch by stretch, as long as an invocation each, until the vault has been gone round.

use domain::text::plain;
use serde_json::{Value, json};

use crate::{
    args::Args,
    call::{Failure, Operator, print},
    show::cell,
    watch,
};

/// Counts of an answer, with what people call them.
const COUNTS: [(&str, &str); 12] = [
    ("chains", "chains followed"),
    ("links", "authentic links"),
    ("tenants_recorded", "tenants recorded"),
    ("tenants_renamed", "tenants given their old name back"),
    ("names_recorded", "former names of tenants recorded"),
    ("points_recorded", "recovery points recorded"),
    ("points_refuted", "  of these not whole: refuted"),
    ("points_known", "recovery points known before"),
    ("snapshots_recorded", "snapshots recorded"),
    ("snapshots_known", "snapshots known before"),
    ("unpublished", "links of runs that did not publish"),
    ("gone", "links without a manifest: swept"),
];

/// Has the catalog made again.
pub(crate) async fn rebuild(args: &Args, operator: &Operator, dry_run: bool) -> Result<(), Failure> {
    let mut total = json!({});
    let mut after = Value::Null;
    loop {
        let started = operator.call("catalog-rebuild", &json!({ "dry_run": dry_run, "after": after })).await?;
        let stretch = watch::until_rebuilt(operator, &started).await?;
        if stretch["state"] == "failed" {
            let error = &stretch["error"];
            return Err(Failure::NotProven(format!(
                "the vault was not gone round: {}: {}; what was recorded stays, and the same command goes on",
                cell(&error["code"]),
                cell(&error["message"])
            )));
        }
        add(&mut total, &stretch);
        // One chain that a whole invocation is too short for gets further only by what it records.
        let stands = stretch["next"] == after && (dry_run || stretch["points_recorded"] == 0);
        if stretch["goes_on"] != true || stands {
            total["goes_on"] = json!(stretch["goes_on"] == true);
            break;
        }
        after = stretch["next"].clone();
    }
    print(args, &total, shown)?;
    outcome(&total)
}

/// Adds one stretch's counts and problems to those before it.
fn add(total: &mut Value, stretch: &Value) {
    for (name, _) in COUNTS.iter().chain(&[("problems_left_off", "")]) {
        total[name] = json!(total[name].as_u64().unwrap_or(0) + stretch[name].as_u64().unwrap_or(0));
    }
    let before = total["problems"].as_array().cloned().unwrap_or_default();
    let more = stretch["problems"].as_array().cloned().unwrap_or_default();
    total["problems"] = json!([before, more].concat());
    for name in ["dry_run", "not_in_the_vault"] {
        total[name] = stretch[name].clone();
    }
    if !stretch["failed"].is_null() {
        total["failed"] = stretch["failed"].clone();
    }
}

/// The counts, what is wrong, and what does not come back this way.
fn shown(total: &Value) -> String {
    let mut lines: Vec<String> = COUNTS.iter().map(|(name, words)| format!("{words:<38}{}", cell(&total[name]))).collect();
    if total["dry_run"] == true {
        lines.insert(0, "nothing was recorded; it would be:".to_owned());
    }
    let problems = total["problems"].as_array().map_or(&[][..], Vec::as_slice);
    if !problems.is_empty() {
        lines.push(String::new());
        lines.extend(problems.iter().map(|problem| format!("problem: {}", plain(&cell(problem)))));
    }
    if total["problems_left_off"].as_u64().unwrap_or(0) > 0 {
        lines.push(format!("and {} more problems, in the log of verify", cell(&total["problems_left_off"])));
    }
    let lost: Vec<String> = total["not_in_the_vault"].as_array().into_iter().flatten().map(cell).collect();
    lines.push(String::new());
    lines.push(format!("not in the vault, so not made again: {}", lost.join(", ")));
    lines
        .push("place legal holds anew, before retention decides; every recovery point is unproven until it is tested".to_owned());
    lines.join("\n")
}

/// Whether everything that was found is recorded and whole.
fn outcome(total: &Value) -> Result<(), Failure> {
    let count = |name: &str| total[name].as_u64().unwrap_or(0);
    if total["goes_on"] == true {
        let message = "a chain is too long to be gone through at once; run it again, which goes on behind what is recorded";
        return Err(Failure::NotProven(message.to_owned()));
    }
    let problems = total["problems"].as_array().map_or(0, Vec::len) as u64 + count("problems_left_off");
    match (problems, count("points_refuted")) {
        (0, 0) => Ok(()),
        (problems, refuted) => Err(Failure::Damaged(format!(
            "{problems} problems were found, and {refuted} recovery points are not whole; nothing of those was changed"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(recorded: u64, problems: &[&str]) -> Value {
        let mut counts: serde_json::Map<String, Value> = COUNTS.iter().map(|(name, _)| ((*name).to_owned(), json!(0))).collect();
        counts.insert("points_recorded".to_owned(), json!(recorded));
        counts.insert("problems".to_owned(), json!(problems));
        counts.insert("not_in_the_vault".to_owned(), json!(["holds"]));
        Value::Object(counts)
    }

    #[test]
    fn stretches_are_added_and_what_is_wrong_in_one_is_told_in_the_end() {
        let mut total = json!({});
        for one in [stretch(3, &[]), stretch(4, &["a link is \u{1b}forged"])] {
            add(&mut total, &one);
        }
        assert_eq!(total["points_recorded"], 7);
        let text = shown(&total);
        assert!(
            text.contains("recovery points recorded              7") && text.contains("forged") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(text.contains("not made again: holds"), "{text}");
        assert_eq!(outcome(&total).unwrap_err().exit_code(), 6);
    }

    #[test]
    fn a_whole_vault_is_a_success_and_one_that_was_not_gone_round_is_none() {
        let mut total = json!({});
        add(&mut total, &stretch(0, &[]));
        assert!(outcome(&total).is_ok());
        total["points_refuted"] = json!(1);
        assert_eq!(outcome(&total).unwrap_err().exit_code(), 6);
        total["goes_on"] = json!(true);
        assert_eq!(outcome(&total).unwrap_err().exit_code(), 1);
    }
}
