//! Every limit of the sources that more than one file obeys, each with its reason.

/// Sessions that read or load one tenant side by side. Two keep a function's two cores busy; more would only be felt by those who
/// use the server.
pub(crate) const SESSIONS_AT_ONCE: usize = 2;
