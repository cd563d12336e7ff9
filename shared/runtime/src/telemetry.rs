//! The log: JSON lines on standard output, where Lambda collects them.
//!
//! Every line carries the spans around it, so a search for one `run.id` finds everything that run did. Tenant data,
//! connection strings and keys never reach a line: the types that hold them print as redacted.

use tracing_subscriber::EnvFilter;

/// What the libraries below may say, unless the filter names them itself.
///
/// The runtime's panic layer is silenced because it would repeat what the door and the panic hook have logged.
const LIBRARIES: &str =
    "info,aws_config=warn,aws_runtime=warn,aws_smithy_runtime=warn,hyper=warn,rustls=warn,lambda_runtime::layers=off";

/// Starts the log with the given filter, in the syntax of `RUST_LOG`. A filter that does not parse is reported and ignored.
///
/// Calling it again does nothing: the first one stays.
pub fn start(filter: Option<&str>) {
    // The later of two directives for the same target holds, so the caller's come last.
    let wanted = filter.map_or_else(|| LIBRARIES.to_owned(), |filter| format!("{LIBRARIES},{filter}"));
    let (parsed, refused) = match EnvFilter::try_new(wanted) {
        Ok(parsed) => (parsed, None),
        Err(error) => (EnvFilter::new(LIBRARIES), Some(error)),
    };
    let log = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_target(false);
    if log.with_env_filter(parsed).try_init().is_err() {
        return;
    }
    // The standard hook prints several lines of text, which a log of JSON lines cannot hold together.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(panic.place = place, "panicked: {}", panic.payload_as_str().unwrap_or("no message"));
    }));
    if let Some(error) = refused {
        tracing::warn!(filter, %error, "RUST_LOG does not parse and is ignored");
    }
}
