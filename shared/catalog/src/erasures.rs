//! Erasures of tenants.

use domain::{
    ErasureId, TenantId,
    erasure::{Erasure, ErasureError},
    error::{Coded, ErrorCode},
};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, StateKey, TableError},
};

/// Why an erasure could not be read or moved on.
#[derive(Debug, thiserror::Error)]
pub enum ErasureRecordError {
    /// The table failed, or somebody else moved it first.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The step is not allowed.
    #[error(transparent)]
    Refused(#[from] ErasureError),
    /// No such erasure.
    #[error("there is no erasure {erasure}; see `holdfast erase list`")]
    Unknown {
        /// The id asked for.
        erasure: ErasureId,
    },
}

impl Coded for ErasureRecordError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Refused(error) => error.code(),
            Self::Unknown { .. } => ErrorCode::UnknownRequest,
        }
    }
}

const OPEN: &str = "erasure#open";
const ENDED: &str = "erasure#final";

fn erasure_key(id: ErasureId) -> Key {
    Key { pk: format!("ERASURE#{id}"), sk: "ERASURE".to_owned() }
}

impl Record for Erasure {
    fn key(&self) -> Key {
        erasure_key(self.asked.id)
    }

    fn state(&self) -> Option<StateKey> {
        let state_key = if self.state.is_open() { OPEN } else { ENDED };
        Some(StateKey { state_key: state_key.to_owned(), state_at: self.asked.requested_at.to_string() })
    }
}

impl Catalog {
    /// The erasure with this id.
    ///
    /// # Errors
    /// [`ErasureRecordError::Unknown`] if there is none.
    pub async fn erasure(&self, id: ErasureId) -> Result<Versioned<Erasure>, ErasureRecordError> {
        self.get(&erasure_key(id)).await?.ok_or(ErasureRecordError::Unknown { erasure: id })
    }

    /// Moves an erasure on by one step, if it is still as it was read.
    ///
    /// # Errors
    /// If the step is refused, or somebody else moved it first.
    pub async fn advance_erasure<F>(&self, id: ErasureId, step: F) -> Result<Versioned<Erasure>, ErasureRecordError>
    where
        F: FnOnce(Erasure) -> Result<Erasure, ErasureError> + Send,
    {
        let read = self.erasure(id).await?;
        let stepped = step(read.value.clone())?;
        if stepped == read.value {
            return Ok(read);
        }
        Ok(self.update(&read, stepped).await?)
    }

    /// Erasures that have not ended (`open`), the oldest first, or have, the newest first. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn erasures(&self, open: bool, limit: usize) -> Result<Vec<Erasure>, TableError> {
        // The index is oldest first only; ended ones are few enough to be turned round here.
        let read = if open { limit } else { domain::caps::LISTED_POINTS_MAX };
        let mut found: Vec<Versioned<Erasure>> = self.list_state(if open { OPEN } else { ENDED }, read).await?;
        if !open {
            found.reverse();
        }
        Ok(found.into_iter().map(|erasure| erasure.value).take(limit).collect())
    }

    /// The erasures of a tenant that have not ended.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn open_erasures_of(&self, tenant: &TenantId) -> Result<Vec<Erasure>, TableError> {
        let open = self.erasures(true, domain::caps::LISTED_POINTS_MAX).await?;
        Ok(open.into_iter().filter(|erasure| erasure.asked.tenant == *tenant).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{
        erasure::{Asked, Going},
        identity::Identity,
    };
    use jiff::Timestamp;

    use super::*;
    use crate::MemoryTable;

    #[tokio::test]
    async fn an_erasure_is_listed_as_open_until_it_has_ended() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        let id: ErasureId = "er_00000000-0000-7000-8000-000000000001".parse().unwrap();
        let acme: TenantId = "acme".parse().unwrap();
        let asked = Asked {
            id,
            tenant: acme.clone(),
            reason: "gone".into(),
            requested_by: ana.clone(),
            requested_at: Timestamp::UNIX_EPOCH,
        };
        let going = Going::of(&asked, &[], None);
        catalog.create(Erasure::new(asked, going)).await.unwrap();
        assert_eq!(catalog.open_erasures_of(&acme).await.unwrap().len(), 1);
        assert!(catalog.open_erasures_of(&"borealis".parse().unwrap()).await.unwrap().is_empty());
        catalog.advance_erasure(id, |erasure| erasure.cancel(ana, "no".into(), Timestamp::UNIX_EPOCH)).await.unwrap();
        assert_eq!(catalog.erasures(true, 9).await.unwrap().len() + catalog.open_erasures_of(&acme).await.unwrap().len(), 0);
        assert_eq!(catalog.erasures(false, 9).await.unwrap().len(), 1);
        let unknown = "er_00000000-0000-7000-8000-000000000002".parse().unwrap();
        assert_eq!(catalog.erasure(unknown).await.unwrap_err().code(), ErrorCode::UnknownRequest);
    }
}
