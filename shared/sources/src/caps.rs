//! Every limit of the sources that more than one file obeys, each with its reason.

/// Sessions that read or load one tenant side by side. Two keep a function's two cores busy; more would only be felt by those who
/// use the server.
pub(crate) const SESSIONS_AT_ONCE: usize = 2;
/// Tables of a pool that are read at once for all its tenants, by a session each, beside the one that holds the view. All but one of them
/// wait for their tenant's turn at any time, so what costs the server is their connections and what it has sorted for them.
pub(crate) const SWEEP_SESSIONS_MAX: usize = 8;
