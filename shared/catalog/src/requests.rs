//! Restore requests.

use domain::{
    RequestId,
    error::{Coded, ErrorCode},
    request::{RequestError, RestoreRequest, Review},
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

const OPEN: &str = "request#open";
const ENDED: &str = "request#final";
/// Ended, and somebody has to look at what one person did alone.
const TO_REVIEW: &str = "request#review";

fn request_key(id: RequestId) -> Key {
    Key { pk: format!("REQUEST#{id}"), sk: "REQUEST".to_owned() }
}

impl Record for RestoreRequest {
    fn key(&self) -> Key {
        request_key(self.id)
    }

    fn state(&self) -> Option<StateKey> {
        let to_review = self.review.as_ref().is_some_and(Review::is_pending);
        let state_key = match (self.state.is_final(), to_review) {
            (false, _) => OPEN,
            (true, true) => TO_REVIEW,
            (true, false) => ENDED,
        };
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
        if open {
            return Ok(values(self.list_state(OPEN, limit).await?).collect());
        }
        // The index is oldest first only; ended requests are few enough to be turned round here.
        let ended = self.list_state(ENDED, domain::caps::LISTED_POINTS_MAX).await?;
        let to_review = self.list_state(TO_REVIEW, domain::caps::LISTED_POINTS_MAX).await?;
        let mut found: Vec<RestoreRequest> = values(ended).chain(values(to_review)).collect();
        found.sort_by_key(|request| std::cmp::Reverse(request.requested_at));
        found.truncate(limit);
        Ok(found)
    }

    /// Requests, ended or not, whose review by another person is demanded and not done. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn requests_to_review(&self, limit: usize) -> Result<Vec<RestoreRequest>, TableError> {
        let (open, ended) = (self.list_state(OPEN, limit).await?, self.list_state(TO_REVIEW, limit).await?);
        let is_pending = |request: &RestoreRequest| request.review.as_ref().is_some_and(Review::is_pending);
        Ok(values(open).chain(values(ended)).filter(is_pending).collect())
    }
}

fn values(found: Vec<Versioned<RestoreRequest>>) -> impl Iterator<Item = RestoreRequest> {
    found.into_iter().map(|request| request.value)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{
        ErrorReport,
        identity::Identity,
        point::Kind,
        request::{Findings, Preview},
    };
    use jiff::Timestamp;

    use super::*;
    use crate::MemoryTable;

    fn person(name: &str) -> Identity {
        Identity { arn: format!("arn:aws:iam::1:user/{name}"), principal: name.into(), account: "1".into() }
    }

    fn at(hour: u8) -> Timestamp {
        format!("2026-11-23T{hour:02}:00:00Z").parse().unwrap()
    }

    fn asked(n: u8) -> RestoreRequest {
        let id = format!("rq_00000000-0000-0000-0000-{n:012}").parse().unwrap();
        let point = ("rp_00000000-0000-0000-0000-000000000002".parse().unwrap(), Kind::Database);
        RestoreRequest::new(id, "acme".parse().unwrap(), point, "gone".into(), person("ana"), at(n))
    }

    /// One that a single person went ahead with.
    fn alone(n: u8) -> RestoreRequest {
        let found = Findings { tables: vec![], notes: vec![], live_digest: "live".into() };
        let preview = Preview::new(&asked(n), "sha", found, None, at(n));
        let digest = preview.digest.clone();
        let waiting = asked(n).preview(preview).unwrap().await_approval("token".into()).unwrap();
        waiting.break_glass(person("ana"), &digest, "everything is down".into(), at(n)).unwrap()
    }

    #[tokio::test]
    async fn what_one_person_did_alone_is_found_until_another_has_reviewed_it() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let report = ErrorReport::new(ErrorCode::RestoreRefused, "m");
        for request in [asked(1), asked(2).fail(&report, at(3)).unwrap(), alone(4), alone(5).fail(&report, at(6)).unwrap()] {
            catalog.create(request).await.unwrap();
        }
        let ids = |requests: Vec<RestoreRequest>| requests.into_iter().map(|request| request.id).collect::<Vec<_>>();
        assert_eq!(ids(catalog.requests(true, 10).await.unwrap()), [asked(1).id, asked(4).id]);
        assert_eq!(ids(catalog.requests(false, 10).await.unwrap()), [asked(5).id, asked(2).id]);
        assert_eq!(ids(catalog.requests(false, 1).await.unwrap()), [asked(5).id]);
        assert_eq!(ids(catalog.requests_to_review(10).await.unwrap()), [asked(4).id, asked(5).id]);
        catalog.advance(asked(4).id, |request| request.fail(&report, at(6))).await.unwrap();
        for id in [asked(4).id, asked(5).id] {
            catalog.advance(id, |request| request.reviewed(person("ben"), "fine".into(), at(7))).await.unwrap();
        }
        assert!(catalog.requests_to_review(10).await.unwrap().is_empty());
        assert_eq!(
            ids(catalog.requests(false, 10).await.unwrap()),
            [asked(5).id, asked(4).id, asked(2).id],
            "they are listed as before"
        );
    }
}
