//! What the restore would do, counted without writing anything.

use domain::{
    ErrorReport, RequestId,
    request::{Preview, RequestState},
};
use runtime::services::Services;

use crate::work::Work;

/// Makes and records the preview of a request.
pub(crate) async fn preview(services: &Services, id: RequestId) -> Result<&'static str, ErrorReport> {
    let request = services.catalog.request(id).await?.value;
    if !matches!(request.state, RequestState::Requested | RequestState::Previewed { .. }) {
        // A late delivery: what people have seen stays as they saw it.
        return Ok(request.state.name());
    }
    let plan = services.plan().await?;
    let work = Work::open(services, &plan, &request).await?;
    let found = work.compare().await?;
    let preview = Preview::new(id, &work.tenant.id, work.content_id(), found, services.clock.now());
    let request = services.catalog.advance(id, |request| request.preview(preview)).await?;
    Ok(request.value.state.name())
}
