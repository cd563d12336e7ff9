//! What a round over the vault found and recorded.

use serde::Serialize;

/// Problems that are told in one answer, which Step Functions limits to 256 KiB; the rest are counted.
const PROBLEMS_TOLD_MAX: usize = 200;
/// Bytes of one of them.
const PROBLEM_BYTES_MAX: usize = 600;

/// Counts, and what is wrong. In a dry run nothing was recorded, and the counts are what would have been.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Found {
    /// Chains that were followed to their end.
    pub(crate) chains: usize,
    /// Authentic links in them.
    pub(crate) links: u64,
    /// Tenants that the catalog did not know.
    pub(crate) tenants_recorded: usize,
    /// Tenants that had been given a new name in the vault since, and have their old one back.
    pub(crate) tenants_renamed: usize,
    /// Names in the vault that tenants went by before, and have recovery points under, beside those they go by.
    pub(crate) names_recorded: usize,
    /// Recovery points that the catalog did not know.
    pub(crate) points_recorded: usize,
    /// Those of them of which something is missing: they are recorded as refuted.
    pub(crate) points_refuted: usize,
    /// Recovery points that it knew, as the vault has them.
    pub(crate) points_known: usize,
    /// Links of runs that did not publish: their slots are tried again as ever.
    pub(crate) unpublished: usize,
    /// Links whose manifest is gone: of recovery points that were swept, as far as can be told.
    pub(crate) gone: usize,
    /// Snapshots that the catalog did not know.
    pub(crate) snapshots_recorded: usize,
    /// Snapshots that it knew.
    pub(crate) snapshots_known: usize,
    problems: Vec<String>,
    problems_left_off: usize,
}

impl Found {
    /// Notes what is wrong; it is told and nothing is done about it.
    pub(crate) fn problem(&mut self, mut problem: String) {
        tracing::warn!("{problem}");
        if self.problems.len() >= PROBLEMS_TOLD_MAX {
            self.problems_left_off += 1;
            return;
        }
        problem.truncate(problem.floor_char_boundary(PROBLEM_BYTES_MAX));
        self.problems.push(problem);
    }

    pub(crate) fn problems_count(&self) -> usize {
        self.problems.len() + self.problems_left_off
    }
}
