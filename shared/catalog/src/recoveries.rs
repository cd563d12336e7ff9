//! Recoveries of the environment: one record each, and one for each tenant of it.

use std::collections::BTreeSet;

use domain::{
    RecoveryId, RecoveryPointId, caps,
    error::{Coded, ErrorCode},
    recovery::{RecoveredTenant, Recovery, RecoveryError},
};

use crate::{
    Catalog,
    record::{Record, Versioned},
    table::{Key, Order, StateKey, TableError},
};

/// Why a recovery could not be read or moved on.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryRecordError {
    /// The table failed, or somebody else moved it first.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The step is not allowed.
    #[error(transparent)]
    Refused(#[from] RecoveryError),
    /// No such recovery.
    #[error("there is no recovery {recovery}; see `holdfast recover list`")]
    Unknown {
        /// The id asked for.
        recovery: RecoveryId,
    },
}

impl Coded for RecoveryRecordError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Table(error) => error.code(),
            Self::Refused(error) => error.code(),
            Self::Unknown { .. } => ErrorCode::UnknownRequest,
        }
    }
}

const TENANT: &str = "TENANT#";

fn partition(id: RecoveryId) -> String {
    format!("RECOVERY#{id}")
}

impl Record for Recovery {
    fn key(&self) -> Key {
        Key { pk: partition(self.id), sk: "RECOVERY".to_owned() }
    }

    fn state(&self) -> Option<StateKey> {
        let state_key = if self.state.is_final() { "recovery#final" } else { "recovery#open" };
        Some(StateKey { state_key: state_key.to_owned(), state_at: self.requested_at.to_string() })
    }
}

impl Record for RecoveredTenant {
    fn key(&self) -> Key {
        // Fixed width, so that text order is the order of priority.
        Key { pk: partition(self.recovery), sk: format!("{TENANT}{:08}", self.index) }
    }
}

impl Catalog {
    /// The recovery with this id.
    ///
    /// # Errors
    /// [`RecoveryRecordError::Unknown`] if there is none.
    pub async fn recovery(&self, id: RecoveryId) -> Result<Versioned<Recovery>, RecoveryRecordError> {
        let key = Key { pk: partition(id), sk: "RECOVERY".to_owned() };
        self.get(&key).await?.ok_or(RecoveryRecordError::Unknown { recovery: id })
    }

    /// Moves a recovery on by one step, if it is still as it was read.
    ///
    /// # Errors
    /// If the step is refused, or somebody else moved it first.
    pub async fn advance_recovery<F>(&self, id: RecoveryId, step: F) -> Result<Versioned<Recovery>, RecoveryRecordError>
    where
        F: FnOnce(Recovery) -> Result<Recovery, RecoveryError> + Send,
    {
        let read = self.recovery(id).await?;
        let stepped = step(read.value.clone())?;
        if stepped == read.value {
            return Ok(read);
        }
        Ok(self.update(&read, stepped).await?)
    }

    /// The tenants of a recovery in order of priority, seeing every finished write.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn recovered_tenants(&self, id: RecoveryId) -> Result<Vec<Versioned<RecoveredTenant>>, TableError> {
        self.list(&partition(id), TENANT, Order::Ascending, caps::RECOVERY_TENANTS_MAX).await
    }

    /// Writes a tenant of a recovery, whether or not it is there: the plan is made anew until somebody may have seen it.
    ///
    /// # Errors
    /// If the table fails, or somebody else wrote it at the same moment.
    pub async fn put_recovered_tenant(&self, tenant: RecoveredTenant) -> Result<(), TableError> {
        match self.get::<RecoveredTenant>(&tenant.key()).await? {
            None => self.create(tenant).await.map(|_| ()),
            Some(found) if found.value == tenant => Ok(()),
            Some(found) => self.update(&found, tenant).await.map(|_| ()),
        }
    }

    /// Recoveries that have not ended (`open`), the oldest first, or have, the newest first. May lag behind.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn recoveries(&self, open: bool, limit: usize) -> Result<Vec<Recovery>, TableError> {
        let state_key = if open { "recovery#open" } else { "recovery#final" };
        // The index is oldest first only.
        let read = if open { limit } else { caps::LISTED_POINTS_MAX };
        let mut found: Vec<Versioned<Recovery>> = self.list_state(state_key, read).await?;
        if !open {
            found.reverse();
        }
        Ok(found.into_iter().map(|recovery| recovery.value).take(limit).collect())
    }

    /// The recovery points that open restore requests and recoveries name: those go when the requests and recoveries have ended.
    ///
    /// # Errors
    /// If the table fails.
    pub async fn named_points(&self) -> Result<BTreeSet<RecoveryPointId>, TableError> {
        let open = self.requests(true, caps::LISTED_POINTS_MAX).await?;
        let mut named: BTreeSet<RecoveryPointId> = open.into_iter().map(|request| request.point).collect();
        for recovery in self.recoveries(true, caps::LISTED_POINTS_MAX).await? {
            let tenants = self.recovered_tenants(recovery.id).await?;
            named.extend(recovery.points(tenants.iter().map(|tenant| &tenant.value)));
        }
        Ok(named)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{
        identity::Identity,
        recovery::{PlannedTenant, Progress, Source},
    };
    use jiff::Timestamp;

    use super::*;
    use crate::MemoryTable;

    fn id() -> RecoveryId {
        "rc_00000000-0000-7000-8000-000000000001".parse().unwrap()
    }

    fn tenant(index: u32, progress: Progress) -> RecoveredTenant {
        let plan = PlannedTenant {
            tenant: format!("t{index}").parse().unwrap(),
            class: "critical".into(),
            database: "pool".into(),
            pooled: true,
            from: Source::Nowhere,
        };
        RecoveredTenant { recovery: id(), index, planned: true, plan, progress }
    }

    #[tokio::test]
    async fn tenants_are_listed_by_priority_and_without_the_recovery_itself() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let ana = Identity { arn: "arn:aws:iam::1:user/ana".into(), principal: "A".into(), account: "1".into() };
        catalog.create(Recovery::new(id(), None, "gone".into(), ana, Timestamp::UNIX_EPOCH)).await.unwrap();
        for index in [10, 2, 100_000] {
            catalog.put_recovered_tenant(tenant(index, Progress::Waiting)).await.unwrap();
        }
        let since = Timestamp::UNIX_EPOCH;
        catalog.put_recovered_tenant(tenant(2, Progress::Restoring { since, trouble: None })).await.unwrap();
        let listed = catalog.recovered_tenants(id()).await.unwrap();
        let seen: Vec<_> = listed.iter().map(|tenant| (tenant.value.index, tenant.value.progress.name())).collect();
        assert_eq!(seen, [(2, "restoring"), (10, "waiting"), (100_000, "waiting")]);
        assert_eq!(catalog.recoveries(true, 9).await.unwrap().len(), 1);
        let unknown = "rc_00000000-0000-7000-8000-000000000002".parse().unwrap();
        assert_eq!(catalog.recovery(unknown).await.unwrap_err().code(), ErrorCode::UnknownRequest);
    }
}
