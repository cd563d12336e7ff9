//! Trouble that says nothing about what is stored: told once for each cause, and taken back when it has gone.

use domain::{ErrorCode, ErrorReport, alert::AlertClass, plan::Plan};
use runtime::{
    services::{Said, Services, first_few},
    trouble::Trouble,
};

/// What an alert is about when a key of the vault cannot be used: the same one, whoever finds it.
pub(crate) const KEYS: &str = "keys of the vault";
/// What one is about when stored objects could not be read.
pub(crate) const CHECKS: &str = "checks of what is stored";

/// What a round could not check, each with why.
#[derive(Debug, Default)]
pub(crate) struct Unchecked(Vec<(String, ErrorReport)>);

impl Unchecked {
    pub(crate) fn note(&mut self, what: String, report: ErrorReport) {
        self.0.push((what, report));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells of each cause once, and closes the alerts of those that are not among them. What was not looked at because time ran out is not
    /// known to be well.
    pub(crate) async fn tell(self, services: &Services, plan: &Plan, is_whole: bool, trouble: &mut Trouble) {
        let (keys, others): (Vec<_>, Vec<_>) = self.0.into_iter().partition(|(_, report)| report.code == ErrorCode::KeyUnusable);
        for (subject, failed) in [(KEYS, keys), (CHECKS, others)] {
            let Some((_, first)) = failed.first() else {
                if is_whole && let Err(report) = services.all_clear(AlertClass::EnvironmentBad, subject).await {
                    trouble.note(&format!("closing the alert of the {subject}"), report);
                }
                continue;
            };
            let lines: Vec<String> = failed.iter().map(|(what, report)| format!("{what}: {report}")).collect();
            if let Err(report) = services.raise(plan, AlertClass::EnvironmentBad, subject, said(first, &lines)).await {
                trouble.note(&format!("the alert of the {subject}"), report);
            }
            for (what, report) in failed {
                trouble.note(&what, report);
            }
        }
    }
}

/// Tells that a key of the vault cannot be used, found by something else than a round of checks.
pub(crate) async fn tell_of_keys(services: &Services, plan: &Plan, what: &str, report: &ErrorReport) -> Result<(), ErrorReport> {
    services.raise(plan, AlertClass::EnvironmentBad, KEYS, said(report, &[format!("{what}: {report}")])).await
}

fn said(first: &ErrorReport, lines: &[String]) -> Said {
    let (meaning, remedy) = match first.code {
        ErrorCode::KeyUnusable => (
            "nothing is known to be damaged and no recovery point is refuted; but without the key none of them can be opened or restored",
            "enable the key, cancel its deletion, or allow the role in its policy: today, for a deleted key takes every recovery point with it",
        ),
        _ => (
            "what is stored there is neither found sound nor refuted by it",
            "mend the cause; the round tries again within the hour, and closes this when everything could be read",
        ),
    };
    Said {
        summary: format!("{} checks could not be made: {}", lines.len(), first_few(lines)),
        meaning: meaning.to_owned(),
        remedy: remedy.to_owned(),
    }
}
