//! Requests as they stand.

use domain::{ErrorReport, RequestId, caps};
use runtime::services::Services;
use serde::Deserialize;
use serde_json::{Value, json};

use super::shown::{shown, shown_with_need};
use crate::look::cut;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    request: RequestId,
}

/// A request as it stands, and how many people are still needed.
pub(crate) async fn show(services: &Services, which: Which) -> Result<Value, ErrorReport> {
    shown_with_need(services, &services.catalog.request(which.request).await?.value).await
}

/// Requests: the open ones, the oldest first, then those that ended, the newest first.
pub(crate) async fn list(services: &Services) -> Result<Value, ErrorReport> {
    const MAX: usize = caps::REQUESTS_LISTED_MAX;
    let mut open = services.catalog.requests(true, MAX + 1).await?;
    let mut ended = services.catalog.requests(false, MAX + 1).await?;
    let truncated = cut(&mut open, MAX) | cut(&mut ended, MAX);
    let requests: Vec<Value> = open.iter().chain(&ended).map(shown).collect();
    Ok(json!({ "requests": requests, "truncated": truncated }))
}
