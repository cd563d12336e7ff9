//! Restore requests.

use domain::{
    RequestId,
    error::{Coded, ErrorCode},
    request::{RequestError, RestoreRequest},
};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, StateKey, TableError},
};

/// Why a request could not be read or moved on.
#[derive(Debug, thiserror::Error)]
pub enum RequestRecordError {
    /// The table failed, or somebody else moved it first.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The step is not allowed.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// No such request.
    #[error("there is no restore request {request}; see `holdfast restore list`")]
    Unknown {
        /// The id asked for.
        request: RequestId,
    },
}

impl Coded for RequestRecordError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Refused(error) => error.code(),
            Self::Unknown { .. } => ErrorCode::UnknownRequest,
        }
    }
}

fn request_key(id: RequestId) -> Key {
    Key { pk: format!("REQUEST#{id}"), sk: "REQUEST".to_owned() }
}

impl Record for RestoreRequest {
    fn key(&self) -> Key {
        request_key(self.id)
    }

    fn state(&self) -> Option<StateKey> {
        let state_key = if self.state.is_final() { "request#final" } else { "request#open" };
        Some(StateKey { state_key: state_key.to_owned(), state_at: self.requested_at.to_string() })
    }
}

impl Catalog {
    /// The request with this id.
    ///
    /// # Errors
    /// [`RequestRecordError::Unknown`] if there is none.
    pub async fn request(&self, id: RequestId) -> Result<Versioned<RestoreRequest>, RequestRecordError> {
        self.get(&request_key(id)).await?.ok_or(RequestRecordError::Unknown { request: id })
    }

    /// Moves a request on by one step, if it is still as it was read.
    ///
    /// # Errors
    /// If the step is refused, or somebody else moved it first.
    pub async fn advance<F>(&self, id: RequestId, step: F) -> Result<Versioned<RestoreRequest>, RequestRecordError>
    where
        F: FnOnce(RestoreRequest) -> Result<RestoreRequest, RequestError> + Send,
    {
        let read = self.request(id).await?;
        let stepped = step(read.value.clone())?;
        Ok(self.update(&read, stepped).await?)
    }

    /// Requests that have not ended (`open`), the oldest first, or have, the newest first. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn requests(&self, open: bool, limit: usize) -> Result<Vec<RestoreRequest>, TableError> {
        let state_key = if open { "request#open" } else { "request#final" };
        // The index is oldest first only; ended requests are few enough to be turned round here.
        let read = if open { limit } else { domain::caps::LISTED_POINTS_MAX };
        let mut found: Vec<Versioned<RestoreRequest>> = self.list_state(state_key, read).await?;
        if !open {
            found.reverse();
        }
        Ok(found.into_iter().map(|request| request.value).take(limit).collect())
    }
}
