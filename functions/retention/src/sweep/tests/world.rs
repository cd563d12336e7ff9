//! A tenant's vault and catalog in memory, with recovery points of two documents: one that all share, one of their own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use catalog::{
    Catalog, Expected, Held, Key, MemoryTable, Order, Stored, Table, TableError, Taken, audit::Phase, tenants::TenantRecord,
};
use domain::{
    ErrorCode, ErrorReport, RunId, TenantId, VaultTenantId,
    point::{Content, Kind},
    slot::{Slot, Subject},
    sweep::{Epoch, Named},
};
use jiff::{SignedDuration, Timestamp};
use runtime::{Clock, Deadline, FixedClock, Fresh as _, SystemFresh, sharing::Marks};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, Parent, PointRef, PointWriter, Vault, VersionStore};

use crate::sweep::{Of, Sweeper, Tally};

pub(super) const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What recovery points have in common.
const COMMON: &[u8] = b"what every recovery point holds, stored once";

pub(super) fn at(day: u8) -> Timestamp {
    format!("2026-11-{day:02}T02:15:00Z").parse().unwrap()
}

/// A table that a test can exchange for another.
pub(super) struct Switched(Mutex<Arc<MemoryTable>>);

impl Switched {
    fn now(&self) -> Arc<MemoryTable> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

#[async_trait]
impl Table for Switched {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, TableError> {
        self.now().get(key).await
    }

    async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError> {
        self.now().put(item, expected).await
    }

    async fn query(&self, pk: &str, sk_prefix: &str, order: Order, limit: usize) -> Result<Vec<Stored>, TableError> {
        self.now().query(pk, sk_prefix, order, limit).await
    }

    async fn query_state(&self, state_key: &str, limit: usize) -> Result<Vec<Stored>, TableError> {
        self.now().query_state(state_key, limit).await
    }
}

/// A clock that a day has passed by whenever somebody looks at it.
struct EachLook(FixedClock);

impl Clock for EachLook {
    fn now(&self) -> Timestamp {
        self.0.advance(DAY);
        self.0.now()
    }
}

pub(super) struct World {
    pub(super) store: Arc<MemoryStore>,
    pub(super) table: Arc<Switched>,
    pub(super) catalog: Catalog,
    pub(super) vault: Vault,
    pub(super) id: TenantId,
    pub(super) tenant: VaultTenantId,
    pub(super) clock: Arc<FixedClock>,
    keys: Arc<MemoryKeys>,
    signing: Arc<MemorySigning>,
    lock: Mutex<SignedDuration>,
    tick: Mutex<u8>,
    /// Where each day's recovery point is, whatever the catalog says.
    written: Mutex<BTreeMap<u8, PointRef>>,
}

impl World {
    pub(super) async fn new() -> Self {
        let (store, keys, signing) = (Arc::new(MemoryStore::new()), Arc::new(MemoryKeys::new()), Arc::new(MemorySigning::new()));
        let table = Arc::new(Switched(Mutex::default()));
        let catalog = Catalog::new(Arc::clone(&table) as Arc<dyn Table>);
        let vault = Vault::new(store.clone(), keys.clone(), signing.clone(), "main".parse().unwrap());
        // What is shared is found and locked, and the lock is over at once.
        let vault = vault.beside(Arc::new(Marks::of(catalog.clone(), SignedDuration::ZERO)));
        let clock = Arc::new(FixedClock::at("2026-11-20T06:30:00Z".parse().unwrap()));
        let (id, tenant) = ("acme".parse().unwrap(), VaultTenantId::from_uuid(Uuid::from_u128(1)));
        let (lock, tick, written) = (Mutex::new(SignedDuration::ZERO), Mutex::new(20), Mutex::default());
        let world = Self { store, table, catalog, vault, id, tenant, clock, keys, signing, lock, tick, written };
        world.set_lock(SignedDuration::ZERO);
        world
    }

    /// The same vault over another store, beside other sweeps.
    pub(super) fn vault_over(&self, store: Arc<dyn vault::ObjectStore>, sharing: Arc<dyn vault::Sharing>) -> Vault {
        Vault::new(store, self.keys.clone(), self.signing.clone(), "main".parse().unwrap()).beside(sharing)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Everything that is put from now on is locked for so long.
    pub(super) fn set_lock(&self, lock: SignedDuration) {
        *self.lock.lock().unwrap() = lock;
        self.store.set_clock(self.now(), lock);
    }

    pub(super) fn advance(&self, step: SignedDuration) {
        self.clock.advance(step);
        let lock = *self.lock.lock().unwrap();
        self.set_lock(lock);
        *self.tick.lock().unwrap() += 1;
    }

    pub(super) fn next_day(&self) {
        self.advance(DAY);
    }

    pub(super) fn slot(&self, day: u8) -> Slot {
        Slot { rule: "daily".into(), scheduled_time: at(day), subject: Subject::Tenant(self.id.clone()), kind: Kind::Database }
    }

    /// Registers a run for a day's slot, as the export does.
    pub(super) async fn take(&self, day: u8, run: RunId, epoch: Epoch, now: Timestamp) -> Held {
        match self.catalog.take_slot_in(&self.slot(day), run, epoch, now).await.unwrap() {
            Taken::Held(held) => held,
            Taken::Done(point) => panic!("the slot is done: {point:?}"),
        }
    }

    /// What a day's recovery point holds.
    pub(super) fn content(day: u8) -> Vec<u8> {
        [COMMON, format!("what only day {day} holds").as_bytes()].concat()
    }

    pub(super) async fn write(writer: &PointWriter, day: u8) -> Result<(), vault::VaultError> {
        writer.blob("common", COMMON).await?;
        writer.blob("own", &Self::content(day)[COMMON.len()..]).await
    }

    pub(super) fn published(&self, day: u8, written: &vault::Written) -> Content {
        self.written.lock().unwrap().insert(day, written.point.clone());
        Content::Export {
            vault_tenant: self.tenant,
            sequence: written.point.sequence,
            link_sha256: written.point.link_sha256.clone(),
            parent: None,
            rows: 0,
            plaintext_bytes: 0,
            stored_bytes: 0,
            read: None,
        }
    }

    pub(super) fn parent(&self, day: u8) -> Parent {
        Parent { point: self.slot(day).recovery_point_id(), reference: self.written.lock().unwrap()[&day].clone() }
    }

    /// A run stores everything but the link.
    pub(super) async fn begin(&self, day: u8, parent: Option<u8>) -> (Held, PointWriter) {
        let held = self.take(day, SystemFresh.run_id(), self.catalog.epoch(self.tenant).await.unwrap(), self.now()).await;
        let parent = parent.map(|parent| self.parent(parent));
        let writer = self.vault.begin(self.tenant, held.value.id, held.value.run, parent.as_ref()).await.unwrap();
        Self::write(&writer, day).await.unwrap();
        (held, writer)
    }

    /// Makes a day's recovery point and returns what it holds.
    pub(super) async fn back_up(&self, day: u8, parent: Option<u8>) -> Vec<u8> {
        let (held, writer) = self.begin(day, parent).await;
        let written = writer.finish(serde_json::Value::Null, self.now()).await.unwrap();
        self.catalog.publish(&held, self.published(day, &written), self.now()).await.unwrap();
        Self::content(day)
    }

    /// A run stops half way, and may be gone on from.
    pub(super) async fn stop(&self, day: u8) {
        let (held, writer) = self.begin(day, None).await;
        writer.suspend(serde_json::Value::Null).await.unwrap();
        self.catalog.suspend(&held, None, &ErrorReport::new(ErrorCode::DeadlineNear, "m"), self.now()).await.unwrap();
    }

    /// A run fails after it has stored everything but the link.
    pub(super) async fn fail(&self, day: u8) {
        let (held, writer) = self.begin(day, None).await;
        writer.suspend(serde_json::Value::Null).await.unwrap();
        self.catalog.fail(&held, &ErrorReport::new(ErrorCode::Throttled, "m"), self.now()).await.unwrap();
    }

    /// A run is registered, and no more.
    pub(super) async fn begin_run(&self, day: u8) {
        self.take(day, SystemFresh.run_id(), self.catalog.epoch(self.tenant).await.unwrap(), self.now()).await;
    }

    /// It ends.
    pub(super) async fn end_run(&self, day: u8) {
        let held = self.catalog.slot(&self.slot(day)).await.unwrap().unwrap();
        self.catalog.fail(&held, &ErrorReport::new(ErrorCode::Throttled, "m"), self.now()).await.unwrap();
    }

    pub(super) async fn expire(&self, day: u8) {
        let point = self.catalog.slot(&self.slot(day)).await.unwrap().unwrap();
        let expired = point.value.clone().expire(self.now()).unwrap();
        self.catalog.update(&point, expired).await.unwrap();
    }

    pub(super) async fn state(&self, day: u8) -> &'static str {
        self.catalog.slot(&self.slot(day)).await.unwrap().unwrap().value.state.name()
    }

    /// What a restore of a day's recovery point gives.
    pub(super) async fn restored(&self, day: u8) -> Result<Vec<u8>, vault::VaultError> {
        let Parent { point, reference } = self.parent(day);
        let reader = self.vault.open(self.tenant, point, &reference).await?;
        Ok([reader.blob("common").await?, reader.blob("own").await?].concat())
    }

    /// The objects that a day's recovery point is made of.
    pub(super) async fn made_of(&self, day: u8) -> Vec<String> {
        let Parent { point, reference } = self.parent(day);
        self.vault.link(self.tenant, point, &reference).await.unwrap().objects().into_iter().collect()
    }

    pub(super) fn stored(&self, part: &str) -> Vec<String> {
        self.store.objects().into_keys().filter(|key| key.contains(part)).collect()
    }

    pub(super) async fn chain_findings(&self) -> Vec<String> {
        let newest = self.written.lock().unwrap().values().map(|point| point.sequence).max().unwrap_or(0);
        let report = self.vault.check_chain(self.tenant, 0, newest).await.unwrap();
        report.findings.iter().map(ToString::to_string).collect()
    }

    /// Sweeps by this world's own ports.
    pub(super) async fn sweep(&self) -> Result<Tally, ErrorReport> {
        self.sweep_by(&self.catalog, self.store.as_ref(), true).await
    }

    pub(super) async fn sweep_of_the_next_day(&self) -> Tally {
        self.next_day();
        self.sweep().await.unwrap()
    }

    /// Sweeps without the plan's leave.
    pub(super) async fn look(&self) -> Tally {
        self.sweep_by(&self.catalog, self.store.as_ref(), false).await.unwrap()
    }

    pub(super) async fn sweep_by(&self, catalog: &Catalog, store: &dyn VersionStore, apply: bool) -> Result<Tally, ErrorReport> {
        let deadline = Deadline::at(self.now() + SignedDuration::from_mins(15), Arc::<FixedClock>::clone(&self.clock));
        let named = Named { name: self.tenant, all: &[self.tenant], is_erased: false };
        self.sweeper(catalog, store, apply, &deadline).sweep(Of { tenant: &self.id, named }).await
    }

    /// Sweeps these tenants, and has time to begin so many.
    pub(super) async fn round(&self, tenants: &[TenantRecord], time_for: i32, apply: bool) -> Result<Tally, ErrorReport> {
        let reserve = SignedDuration::from_millis(i64::try_from(domain::caps::DEADLINE_RESERVE_MS).unwrap());
        let at = Timestamp::UNIX_EPOCH + reserve + DAY * (time_for + 1);
        let deadline = Deadline::at(at, Arc::new(EachLook(FixedClock::at(Timestamp::UNIX_EPOCH))));
        crate::sweep::round(&self.sweeper(&self.catalog, self.store.as_ref(), apply, &deadline), tenants).await
    }

    fn sweeper<'a>(
        &'a self,
        catalog: &'a Catalog,
        store: &'a dyn VersionStore,
        apply: bool,
        deadline: &'a Deadline,
    ) -> Sweeper<'a> {
        Sweeper {
            catalog,
            vault: &self.vault,
            store,
            clock: self.clock.as_ref(),
            fresh: &SystemFresh,
            deadline,
            lock_for: *self.lock.lock().unwrap(),
            apply,
            scheduled_time: self.now() + SignedDuration::from_secs((*self.tick.lock().unwrap()).into()),
        }
    }

    /// What the audit trail of today says, in order.
    pub(super) async fn acts(&self) -> Vec<String> {
        let entries = self.catalog.audit_of(self.now(), 100).await.unwrap();
        let side = |phase| if phase == Phase::Intent { "intent" } else { "outcome" };
        entries.into_iter().map(|entry| format!("{} {}", entry.act, side(entry.phase))).collect()
    }

    /// A copy of the recovery points' records, and of nothing else.
    pub(super) async fn copy_of_points(&self) -> Arc<MemoryTable> {
        let copy = Arc::new(MemoryTable::default());
        for item in self.table.query(&self.partition(), "", Order::Ascending, 1_000).await.unwrap() {
            copy.put(item, Expected::Absent).await.unwrap();
        }
        copy
    }

    /// The same without a day's.
    pub(super) async fn copy_of_points_but(&self, day: u8) -> Arc<MemoryTable> {
        let (copy, id) = (Arc::new(MemoryTable::default()), self.slot(day).recovery_point_id().to_string());
        for item in self.copy_of_points().await.query(&self.partition(), "", Order::Ascending, 1_000).await.unwrap() {
            if !item.key.sk.ends_with(&id) {
                copy.put(item, Expected::Absent).await.unwrap();
            }
        }
        copy
    }

    fn partition(&self) -> String {
        format!("POINTS#tenant#{}", self.id)
    }

    /// Puts another table in the catalog's place.
    pub(super) fn set_catalog_back(&self, table: Arc<MemoryTable>) {
        *self.table.0.lock().unwrap() = table;
    }
}
