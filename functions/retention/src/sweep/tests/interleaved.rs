//! A run between the calls of a sweep.
//!
//! The run builds on a recovery point that was let go a moment ago, so both want the same pack. Its steps come before chosen calls of the
//! sweep: some at one, the rest at a later one. What the code does is the same as ever; only the ports know of it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use catalog::{Catalog, Expected, Held, Key, Order, Stored, Table, TableError};
use domain::{RunId, VaultTenantId, sweep::Epoch, sweep::Mark};
use jiff::{SignedDuration, Timestamp};
use runtime::{Fresh as _, SystemFresh, sharing::Marks};
use vault::{
    MemoryStore, ObjectInfo, ObjectStore, PointWriter, Sharing, SharingError, StoreError, StoredVersion, Vault, VersionStore,
    Written,
};

use super::world::World;

/// A guard of the protocol, broken where the code meets its ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The run asks what it may share before it is registered.
    RegistersLate,
    /// It is registered in an epoch that is yet to come.
    EpochAhead,
    /// It shares without reading a mark.
    ReadsNoMark,
    /// It shares what is condemned and leaves the mark.
    LeavesTheMark,
    /// It shares what is being deleted.
    SharesTheDoomed,
    /// It does not look whether what it shares is there after it read the marks.
    LooksEarly,
    /// It publishes whatever became of its record.
    PublishesAnyway,
    /// The sweep sees no run that it would have to wait for.
    WaitsForNobody,
    /// The sweep judges by its first listing.
    LooksOnce,
    /// Marks are written without comparing.
    WritesBlindly,
}

impl Bug {
    pub(super) const ALL: [Self; 10] = [
        Self::RegistersLate,
        Self::EpochAhead,
        Self::ReadsNoMark,
        Self::LeavesTheMark,
        Self::SharesTheDoomed,
        Self::LooksEarly,
        Self::PublishesAnyway,
        Self::WaitsForNobody,
        Self::LooksOnce,
        Self::WritesBlindly,
    ];
}

/// What was seen in all the worlds.
#[derive(Debug, Default)]
pub(super) struct Explored {
    pub(super) worlds: usize,
    pub(super) published: usize,
    pub(super) shared: usize,
    pub(super) stored_anew: usize,
    pub(super) losses: Vec<String>,
}

const EXPIRED: u8 = 1;
const OTHER: u8 = 2;
const MADE: u8 = 3;
/// Reading the epoch, registering, beginning, writing to the link, publishing.
const STEPS: usize = 5;

/// Tries every way, until something is lost. With `list_stays`, a lock keeps the list of what the run would build on, so that it can be
/// read when all else is gone.
pub(super) async fn explore(bug: Option<Bug>, list_stays: bool) -> Explored {
    let mut explored = Explored::default();
    let calls = world(bug, list_stays, [usize::MAX; STEPS], &mut explored).await;
    for first in 0..=calls {
        for then in first..=calls {
            for split in 1..STEPS {
                let schedule = std::array::from_fn(|step| if step < split { first } else { then });
                world(bug, list_stays, schedule, &mut explored).await;
                if !explored.losses.is_empty() {
                    return explored;
                }
            }
        }
    }
    explored
}

/// One way: returns how many calls the sweep made.
async fn world(bug: Option<Bug>, list_stays: bool, schedule: [usize; STEPS], explored: &mut Explored) -> usize {
    let world = Arc::new(World::new().await);
    world.back_up(EXPIRED, None).await;
    if list_stays {
        let soon = world.now() + SignedDuration::from_hours(1);
        world.store.lock(&world.stored("/lists/")[0], soon, soon).await.unwrap();
    }
    world.back_up(OTHER, None).await;
    world.expire(EXPIRED).await;
    let run = tokio::sync::Mutex::new(Run::new(Arc::clone(&world), bug));
    let turns =
        Arc::new(Turns { run, schedule, calls: AtomicUsize::new(0), world: Arc::clone(&world), bug, listed: Mutex::default() });

    let catalog = Catalog::new(Arc::clone(&turns) as Arc<dyn Table>);
    world.sweep_by(&catalog, turns.as_ref(), true).await.unwrap();
    let calls = turns.calls.load(SeqCst);
    let mut run = turns.run.lock().await;
    while run.step < STEPS {
        run.advance().await;
    }
    // Two more sweeps, undisturbed, the second to see what is left.
    world.sweep_of_the_next_day().await;
    let left = world.sweep_of_the_next_day().await;
    explored.worlds += 1;
    let mut lost = |what: String| explored.losses.push(format!("{what}, with steps at {schedule:?}"));
    if left.garbage > 0 || !world.catalog.swept(world.tenant).await.unwrap().marks.is_empty() {
        lost(format!("garbage is left: {left:?}"));
    }
    if world.restored(OTHER).await.ok() != Some(World::content(OTHER)) {
        lost("another recovery point was lost".to_owned());
    }
    if run.published {
        explored.published += 1;
        let written = run.written.as_ref().unwrap();
        *(if written.chunks_reused > 0 { &mut explored.shared } else { &mut explored.stored_anew }) += 1;
        if world.restored(MADE).await.ok() != Some(World::content(MADE)) {
            lost("what was published lacks something".to_owned());
        }
    }
    calls
}

/// The export of a day, step by step.
struct Run {
    world: Arc<World>,
    bug: Option<Bug>,
    vault: Vault,
    /// Drawn before it is registered, so that a bug changes nothing but the order.
    id: RunId,
    step: usize,
    epoch: Epoch,
    held: Option<Held>,
    writer: Option<PointWriter>,
    written: Option<Written>,
    published: bool,
}

impl Run {
    fn new(world: Arc<World>, bug: Option<Bug>) -> Self {
        let sharing: Arc<dyn Sharing> = Arc::new(Asks { bug, catalog: world.catalog.clone() });
        let before =
            world.store.objects().into_iter().map(|(key, bytes)| ObjectInfo { key, bytes: bytes.len() as u64 }).collect();
        let store = Arc::new(Reads { store: Arc::clone(&world.store), before: (bug == Some(Bug::LooksEarly)).then_some(before) });
        let vault = world.vault_over(store, sharing);
        let (step, epoch, held, writer, written, published) = (0, Epoch::default(), None, None, None, false);
        let id = SystemFresh.run_id();
        Self { world, bug, vault, id, step, epoch, held, writer, written, published }
    }

    async fn advance(&mut self) {
        let step = self.step;
        self.step += 1;
        match (step, self.bug) {
            (0, Some(Bug::RegistersLate)) => self.begin().await,
            (0, _) => self.read_epoch().await,
            (1, Some(Bug::RegistersLate)) => self.read_epoch().await,
            (1, _) => self.register().await,
            (2, Some(Bug::RegistersLate)) => self.register().await,
            (2, _) => self.begin().await,
            (3, _) => self.finish().await,
            _ => self.publish().await,
        }
    }

    async fn read_epoch(&mut self) {
        self.epoch = self.world.catalog.epoch(self.world.tenant).await.unwrap();
        if self.bug == Some(Bug::EpochAhead) {
            self.epoch = Epoch(self.epoch.0 + 10);
        }
    }

    async fn register(&mut self) {
        // A run that is to be fenced has held its slot for long.
        let long = if self.bug == Some(Bug::PublishesAnyway) { 3 } else { 0 };
        self.held = Some(self.world.take(MADE, self.id, self.epoch, self.world.now() - SignedDuration::from_hours(long)).await);
    }

    async fn begin(&mut self) {
        let (point, tenant) = (self.world.slot(MADE).recovery_point_id(), self.world.tenant);
        let run = self.id;
        let writer = match self.vault.begin(tenant, point, run, Some(&self.world.parent(EXPIRED))).await {
            Ok(writer) => writer,
            // What it would build on is gone, so it builds on nothing.
            Err(_) => self.vault.begin(tenant, point, run, None).await.unwrap(),
        };
        self.writer = Some(writer);
    }

    async fn finish(&mut self) {
        let writer = self.writer.take().unwrap();
        World::write(&writer, MADE).await.unwrap();
        match writer.finish(serde_json::Value::Null, self.world.now()).await {
            Ok(written) => self.written = Some(written),
            Err(error) => {
                let report = domain::ErrorReport::from(error);
                let _ = self.world.catalog.fail(self.held.as_ref().unwrap(), &report, self.world.now()).await;
            }
        }
    }

    async fn publish(&mut self) {
        let Some(written) = &self.written else { return };
        let (content, now) = (self.world.published(MADE, written), self.world.now());
        let held = self.held.as_ref().unwrap();
        self.published = match self.bug {
            Some(Bug::PublishesAnyway) => {
                let mut found = self.world.catalog.slot(&self.world.slot(MADE)).await.unwrap().unwrap();
                found.value = held.value.clone();
                self.world.catalog.publish(&found, content, now).await.is_ok()
            }
            _ => self.world.catalog.publish(held, content, now).await.is_ok(),
        };
    }
}

/// The sweep's ports, between whose calls the run goes on.
struct Turns {
    run: tokio::sync::Mutex<Run>,
    /// Before which call each step comes.
    schedule: [usize; STEPS],
    calls: AtomicUsize,
    world: Arc<World>,
    bug: Option<Bug>,
    listed: Mutex<HashMap<String, Vec<StoredVersion>>>,
}

impl Turns {
    /// Before everything of which the order could matter: neither links nor the audit trail nor locks ever change what is needed.
    async fn turn(&self) {
        let call = self.calls.fetch_add(1, SeqCst);
        let mut run = self.run.lock().await;
        while run.step < STEPS && self.schedule[run.step] <= call {
            run.advance().await;
        }
    }
}

#[async_trait]
impl Table for Turns {
    async fn get(&self, key: &Key) -> Result<Option<Stored>, TableError> {
        self.turn().await;
        self.world.table.get(key).await
    }

    async fn put(&self, item: Stored, expected: Expected) -> Result<(), TableError> {
        if !item.key.pk.starts_with("AUDIT#") {
            self.turn().await;
        }
        if self.bug == Some(Bug::WritesBlindly) && item.key.pk.starts_with("SWEEP#") {
            let expected = match self.world.table.get(&item.key).await? {
                Some(found) => Expected::Generation(found.generation),
                None => Expected::Absent,
            };
            return self.world.table.put(item, expected).await;
        }
        self.world.table.put(item, expected).await
    }

    async fn query(&self, pk: &str, sk_prefix: &str, order: Order, limit: usize) -> Result<Vec<Stored>, TableError> {
        self.turn().await;
        let mut found = self.world.table.query(pk, sk_prefix, order, limit).await?;
        if self.bug == Some(Bug::WaitsForNobody) {
            found.retain(|item| !item.body.contains(r#""state":"running""#));
        }
        Ok(found)
    }

    async fn query_state(&self, state_key: &str, limit: usize) -> Result<Vec<Stored>, TableError> {
        self.turn().await;
        self.world.table.query_state(state_key, limit).await
    }
}

#[async_trait]
impl VersionStore for Turns {
    async fn versions(&self, prefix: &str) -> Result<Vec<StoredVersion>, StoreError> {
        self.turn().await;
        let listed = self.world.store.versions(prefix).await?;
        if self.bug == Some(Bug::LooksOnce) {
            return Ok(self.listed.lock().unwrap().entry(prefix.to_owned()).or_insert(listed).clone());
        }
        Ok(listed)
    }

    async fn get_version(&self, key: &str, version: &str, bytes_max: u64) -> Result<Bytes, StoreError> {
        self.world.store.get_version(key, version, bytes_max).await
    }

    async fn locked_until(&self, key: &str, version: &str) -> Result<Option<Timestamp>, StoreError> {
        self.world.store.locked_until(key, version).await
    }

    async fn delete_version(&self, key: &str, version: &str) -> Result<(), StoreError> {
        self.turn().await;
        self.world.store.delete_version(key, version).await
    }
}

/// Who says what the run may share.
struct Asks {
    bug: Option<Bug>,
    catalog: Catalog,
}

#[async_trait]
impl Sharing for Asks {
    async fn refused(&self, tenant: VaultTenantId, objects: &BTreeSet<String>) -> Result<BTreeSet<String>, SharingError> {
        let marks = self.catalog.swept(tenant).await.unwrap().marks;
        match self.bug {
            Some(Bug::ReadsNoMark) => Ok(BTreeSet::new()),
            Some(Bug::LeavesTheMark) => {
                let doomed = objects.iter().filter(|object| matches!(marks.get(*object), Some(Mark::Sweeping { .. })));
                Ok(doomed.cloned().collect())
            }
            Some(Bug::SharesTheDoomed) => {
                Marks::of(self.catalog.clone(), SignedDuration::ZERO).refused(tenant, objects).await?;
                Ok(BTreeSet::new())
            }
            _ => Marks::of(self.catalog.clone(), SignedDuration::ZERO).refused(tenant, objects).await,
        }
    }

    fn lock_for(&self) -> SignedDuration {
        SignedDuration::ZERO
    }
}

/// The run's store; with what was there `before` it lists that, and finds everything.
struct Reads {
    store: Arc<MemoryStore>,
    before: Option<Vec<ObjectInfo>>,
}

#[async_trait]
impl ObjectStore for Reads {
    async fn put_new(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put_new(key, bytes).await
    }

    async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.store.get(key).await
    }

    async fn get_range(&self, key: &str, offset: u64, length: u64) -> Result<Bytes, StoreError> {
        self.store.get_range(key, offset, length).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> {
        match &self.before {
            Some(before) if prefix.ends_with("/packs/") => {
                Ok(before.iter().filter(|object| object.key.starts_with(prefix)).cloned().collect())
            }
            _ => self.store.list(prefix, after).await,
        }
    }

    async fn lock(&self, key: &str, at_least: Timestamp, until: Timestamp) -> Result<(), StoreError> {
        if self.before.is_some() { Ok(()) } else { self.store.lock(key, at_least, until).await }
    }
}
