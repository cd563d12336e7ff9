//! One run's part of an export.

use vault::Progress;

/// How long to read, and what to go on from.
#[derive(Clone, Copy)]
pub struct Turn<'a> {
    /// Whether to stop now. Asked between batches of rows, of which a slow server may take a second or two.
    pub until: &'a (dyn Fn() -> bool + Send + Sync),
    /// What an earlier run of the same recovery point left. It counts only if the source still shows the same view.
    pub earlier: Option<&'a Progress>,
}

impl Turn<'_> {
    /// All of it at once.
    pub(crate) const WHOLE: Turn<'static> = Turn { until: &|| false, earlier: None };
}
