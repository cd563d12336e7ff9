//! Restore requests: made by one person, approved by others, carried out by the runbook; and what is done about those that are over.
//!
//! Every verb that changes something writes its intent to the audit trail before, and what came of it after, refusals included.

mod approve;
mod ask;
mod list;
mod review;
mod run;
mod shown;
mod undo;
mod wake;
mod wish;

use domain::{ErrorCode, ErrorReport, caps};

pub(crate) use self::{
    approve::approve,
    ask::request,
    list::{list, show},
    review::review,
    run::run,
    shown::add_need,
    undo::undo,
    wake::was_woken,
    wish::Wish,
};

/// What people say for others to read: there must be something, and not too much.
fn said<'a>(text: &'a str, what: &str) -> Result<&'a str, ErrorReport> {
    let text = text.trim();
    if text.is_empty() || text.len() > caps::FREE_TEXT_BYTES_MAX {
        let message = format!(
            "{what} of 1 to {} bytes is needed, for the people who look at it and for the audit trail",
            caps::FREE_TEXT_BYTES_MAX
        );
        return Err(ErrorReport::new(ErrorCode::MalformedEvent, message));
    }
    Ok(text)
}
