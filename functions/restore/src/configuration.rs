//! A tenant's settings.

use domain::{ErrorCode, ErrorReport, RequestId, request::Findings};

use crate::work::{Carried, Work};

/// Counts what a restore would do.
pub(crate) async fn compare(work: &Work<'_>) -> Result<Findings, ErrorReport> {
    Err(ErrorReport::new(ErrorCode::RestoreRefused, format!("recovery point {} is of settings", work.point.id)))
}

/// Brings them back.
pub(crate) async fn carry_out(work: &Work<'_>, _: RequestId, _: &str) -> Result<Carried, ErrorReport> {
    Err(ErrorReport::new(ErrorCode::RestoreRefused, format!("recovery point {} is of settings", work.point.id)))
}
