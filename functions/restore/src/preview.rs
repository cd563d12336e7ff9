//! What the restore would do, counted without writing anything.

use domain::{
    ErrorReport, RequestId,
    request::{Preview, RequestState, RestoreRequest},
};
use runtime::services::Services;

use crate::{audited::audited, measured::forecast, work::Work};

/// Makes and records the preview of a request.
pub(crate) async fn preview(services: &Services, id: RequestId) -> Result<&'static str, ErrorReport> {
    let request = services.catalog.request(id).await?.value;
    if !matches!(request.state, RequestState::Requested | RequestState::Previewed { .. }) {
        // A late delivery: what people have seen stays as they saw it.
        return Ok(request.state.name());
    }
    let made = Box::pin(make(services, &request));
    let previewed = audited(services, "restore.preview", &request, made, |preview| {
        let all = preview.totals();
        format!("{} would return, {} change, {} go: {}", all.returned, all.overwritten, all.destroyed, preview.digest)
    });
    let preview = previewed.await?;
    let request = services.catalog.advance(id, |request| request.preview(preview)).await?;
    Ok(request.value.state.name())
}

async fn make(services: &Services, request: &RestoreRequest) -> Result<Preview, ErrorReport> {
    let plan = services.plan().await?;
    let work = Work::open(services, &plan, request).await?;
    let found = work.compare().await?;
    let forecast = forecast(services, request, work.tenant.layout.name(), found.rows()).await?;
    Ok(Preview::new(request, work.content_id(), found, Some(forecast), services.clock.now()))
}
