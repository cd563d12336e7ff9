//! The state before a restore: for which requests a recovery point of it is made.

use domain::{
    ErrorReport,
    request::{Mode, RestoreRequest},
    slot::Slot,
};

use crate::services::Services;

impl Services {
    /// The slot of the recovery point that is made before a request is carried out; none if nothing live is changed by it. Taking back
    /// what stands beside the live data does not.
    ///
    /// # Errors
    /// If the request that it takes back is not to be had.
    pub async fn slot_before(&self, request: &RestoreRequest) -> Result<Option<Slot>, ErrorReport> {
        if let Some(undone) = request.undoes
            && self.catalog.request(undone).await?.value.mode != Mode::InPlace
        {
            return Ok(None);
        }
        Ok(request.slot_before())
    }
}
