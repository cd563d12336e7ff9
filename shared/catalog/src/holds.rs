//! Holds on recovery points: conditional writes, tried again if a verification or a restore wrote the same record first.

use domain::{
    RecoveryPointId, TenantId,
    error::{Coded, ErrorCode},
    point::{Hold, HoldError, RecoveryPoint},
};
use jiff::Timestamp;

use crate::{Catalog, PointError, TableError, record::Versioned};

/// How often a write is tried that another one was in front of.
const TRIES: usize = 4;

/// Why a recovery point is not held, or not released.
#[derive(Debug, thiserror::Error)]
pub enum HoldRecordError {
    /// The hold is refused.
    #[error(transparent)]
    Refused(#[from] HoldError),
    /// The recovery point could not be read or written.
    #[error(transparent)]
    Point(#[from] PointError),
}

impl Coded for HoldRecordError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(error) => error.code(),
            Self::Point(error) => error.code(),
        }
    }
}

impl Catalog {
    /// Holds a tenant's recovery point. Whether that changed anything: the same hold twice is one.
    ///
    /// # Errors
    /// If the tenant has no such recovery point, or it cannot be held.
    pub async fn place_hold(
        &self,
        tenant: &TenantId,
        point: RecoveryPointId,
        hold: &Hold,
        now: Timestamp,
    ) -> Result<bool, HoldRecordError> {
        self.rewrite(tenant, point, |point| point.hold(hold.clone(), now)).await
    }

    /// Ends the hold with this reason, or the only one.
    ///
    /// # Errors
    /// If the tenant has no such recovery point, or it has no such hold.
    pub async fn release_hold(
        &self,
        tenant: &TenantId,
        point: RecoveryPointId,
        named: Option<&str>,
        now: Timestamp,
    ) -> Result<bool, HoldRecordError> {
        self.rewrite(tenant, point, |point| point.release(named, now)).await
    }

    async fn rewrite<F>(&self, tenant: &TenantId, id: RecoveryPointId, step: F) -> Result<bool, HoldRecordError>
    where
        F: Fn(RecoveryPoint) -> Result<RecoveryPoint, HoldError> + Send + Sync,
    {
        let mut tries = TRIES;
        loop {
            let read: Versioned<RecoveryPoint> = self.point(tenant, id).await?;
            let stepped = step(read.value.clone())?;
            if stepped == read.value {
                return Ok(false);
            }
            tries -= 1;
            match self.update(&read, stepped).await {
                Ok(_) => return Ok(true),
                Err(TableError::Conflict { .. }) if tries > 0 => {}
                Err(error) => return Err(PointError::from(error).into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use async_trait::async_trait;
    use domain::{
        point::{Content, Kind, Proof},
        slot::{Slot, Subject},
    };

    use super::*;
    use crate::{Expected, Key, MemoryTable, Order, Stored, Table, Taken};

    fn now() -> Timestamp {
        "2026-11-23T02:16:00Z".parse().unwrap()
    }

    fn acme() -> TenantId {
        "acme".parse().unwrap()
    }

    fn hold() -> Hold {
        Hold { reason: "case 4711".into(), owner: "ana".into(), placed_at: now(), until: None }
    }

    async fn available(catalog: &Catalog) -> RecoveryPointId {
        let slot = Slot { rule: "daily".into(), scheduled_time: now(), subject: Subject::Tenant(acme()), kind: Kind::Database };
        let run = "run_00000000-0000-0000-0000-000000000001".parse().unwrap();
        let Taken::Held(held) = catalog.take_slot(&slot, run, now()).await.unwrap() else { panic!("it is free") };
        let content = Content::Export {
            vault_tenant: "vt_00000000-0000-0000-0000-000000000001".parse().unwrap(),
            sequence: 1,
            link_sha256: "s".into(),
            parent: None,
            rows: 1,
            plaintext_bytes: 1,
            stored_bytes: 1,
            read: None,
        };
        catalog.publish(&held, content, now()).await.unwrap().id
    }

    /// A table in which somebody else is always first, so many times.
    struct Busy {
        table: MemoryTable,
        conflicts: AtomicUsize,
    }

    #[async_trait]
    impl Table for Busy {
        async fn get(&self, key: &Key) -> Result<Option<Stored>, TableError> {
            self.table.get(key).await
        }

        async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError> {
            let left = self.conflicts.load(Ordering::Relaxed);
            if left > 0 {
                self.conflicts.store(left - 1, Ordering::Relaxed);
                return Err(TableError::Conflict { key: item.key });
            }
            self.table.put(item, expected).await
        }

        async fn query(&self, pk: &str, sk_prefix: &str, order: Order, limit: usize) -> Result<Vec<Stored>, TableError> {
            self.table.query(pk, sk_prefix, order, limit).await
        }

        async fn query_state(&self, state_key: &str, limit: usize) -> Result<Vec<Stored>, TableError> {
            self.table.query_state(state_key, limit).await
        }
    }

    #[tokio::test]
    async fn a_hold_is_placed_once_and_released_once() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let point = available(&catalog).await;
        assert!(catalog.place_hold(&acme(), point, &hold(), now()).await.unwrap());
        assert!(!catalog.place_hold(&acme(), point, &hold(), now()).await.unwrap(), "the same hold twice is one");
        assert_eq!(catalog.point(&acme(), point).await.unwrap().value.holds, [hold()]);
        assert!(catalog.release_hold(&acme(), point, Some("case 4711"), now()).await.unwrap());
        let again = catalog.release_hold(&acme(), point, Some("case 4711"), now()).await.unwrap_err();
        assert_eq!(again.code(), ErrorCode::UnknownHold);
        let anothers = catalog.place_hold(&"borealis".parse().unwrap(), point, &hold(), now()).await.unwrap_err();
        assert_eq!(anothers.code(), ErrorCode::UnknownRecoveryPoint, "it is found only under its own tenant");
    }

    #[tokio::test]
    async fn a_hold_outlives_writes_that_were_in_front_of_it_and_gives_up_after_a_few() {
        let busy = Arc::new(Busy { table: MemoryTable::default(), conflicts: AtomicUsize::new(0) });
        let catalog = Catalog::new(busy.clone());
        let point = available(&catalog).await;
        busy.conflicts.store(TRIES - 1, Ordering::Relaxed);
        assert!(catalog.place_hold(&acme(), point, &hold(), now()).await.unwrap());
        busy.conflicts.store(TRIES, Ordering::Relaxed);
        let refused = catalog.release_hold(&acme(), point, None, now()).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Fenced);
    }

    #[tokio::test]
    async fn an_expiry_that_was_decided_before_the_hold_does_not_happen() {
        let catalog = Catalog::new(Arc::new(MemoryTable::default()));
        let point = available(&catalog).await;
        let read = catalog.point(&acme(), point).await.unwrap();
        let expired = read.value.clone().expire(now()).unwrap();
        catalog.place_hold(&acme(), point, &hold(), now()).await.unwrap();
        assert!(matches!(catalog.update(&read, expired).await, Err(TableError::Conflict { .. })));
        let held = catalog.point(&acme(), point).await.unwrap();
        catalog.judge(&held, Proof::Unproven).await.unwrap();
        assert!(catalog.point(&acme(), point).await.unwrap().value.is_held(now()), "a verdict keeps the hold");
    }
}
