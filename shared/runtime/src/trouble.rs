//! Failures of single items, collected: one tenant's trouble must not end the day for all.

use domain::ErrorReport;

/// How many items failed, and what the first one said.
#[derive(Debug, Default)]
pub struct Trouble {
    count: usize,
    first: Option<ErrorReport>,
}

impl Trouble {
    /// Logs that an item failed, and remembers it.
    pub fn note(&mut self, item: &str, report: ErrorReport) {
        tracing::error!(error.code = report.code.name(), "{item} failed: {}", report.message);
        self.count += 1;
        self.first.get_or_insert_with(|| ErrorReport::new(report.code, format!("{item}: {}", report.message)));
    }

    /// What the whole work ends with.
    ///
    /// # Errors
    /// The first failure, under its own code, and how many there were.
    pub fn into_result(self) -> Result<(), ErrorReport> {
        let count = self.count;
        self.first
            .map_or(Ok(()), |first| Err(ErrorReport::new(first.code, format!("{count} failed; the first, {}", first.message))))
    }
}

#[cfg(test)]
mod tests {
    use domain::ErrorCode;

    use super::*;

    #[test]
    fn the_first_failure_is_reported_with_the_number_of_all() {
        assert_eq!(Trouble::default().into_result(), Ok(()));
        let mut trouble = Trouble::default();
        trouble.note("the check of acme", ErrorReport::new(ErrorCode::KeyUnusable, "the key is disabled; enable it"));
        trouble.note("the check of birch", ErrorReport::new(ErrorCode::Throttled, "slow down"));
        let report = trouble.into_result().unwrap_err();
        let expected = "KeyUnusable: 2 failed; the first, the check of acme: the key is disabled; enable it";
        assert_eq!(report.to_string(), expected);
    }
}
