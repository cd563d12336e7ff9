//! One test's database, its vault, and the recovery points in it.

use std::sync::Arc;

use domain::{RecoveryPointId, RunId, TenantId, VaultTenantId, plan::Exclusion, tenant::Layout};
use sources::{
    SourceError,
    postgres::{
        DatabaseFacts, Endpoint, Exported, Password, Paused, Scope, Tools, Turn, export, export_for,
        restore::{Job, RestoreId},
    },
};
use uuid::Uuid;
use vault::{MemoryKeys, MemorySigning, MemoryStore, PointReader, PointRef, StreamSink, Vault, Written};

use crate::cluster::{Cluster, cluster};

pub(crate) struct World {
    pub(crate) cluster: &'static Cluster,
    pub(crate) vault: Vault,
    pub(crate) scope: Scope,
    pub(crate) id: RestoreId,
    /// The account it is read and restored by.
    pub(crate) account: Endpoint,
    tenant: VaultTenantId,
    next: std::cell::Cell<u128>,
}

pub(crate) struct Point {
    id: RecoveryPointId,
    reference: PointRef,
}

/// What came of a turn.
pub(crate) enum Turned {
    Whole(Point, Written),
    Paused { run: RunId, began_anew: bool },
}

pub(crate) fn scope(tenant: &str, layout: Layout) -> Scope {
    let exclusion = Exclusion { table: "sessions".into(), reason: "transient".into() };
    Scope::new(tenant.parse::<TenantId>().unwrap(), layout, vec![exclusion]).unwrap()
}

impl World {
    pub(crate) fn new(tenant: &str, layout: Layout) -> Self {
        Self::on(cluster(), tenant, layout)
    }

    pub(crate) fn on(cluster: &'static Cluster, tenant: &str, layout: Layout) -> Self {
        let vault = Vault::new(
            Arc::new(MemoryStore::new()),
            Arc::new(MemoryKeys::new()),
            Arc::new(MemorySigning::new()),
            "test".parse().unwrap(),
        );
        // Distinct in each test, because all share one server: made from what is distinct in it.
        let number = blake3::hash(format!("{layout:?}{tenant}").as_bytes());
        let number = u128::from_be_bytes(number.as_bytes()[..16].try_into().unwrap());
        Self {
            cluster,
            vault,
            scope: scope(tenant, layout),
            account: cluster.master(),
            id: RestoreId::of(Uuid::from_u128(number)),
            tenant: VaultTenantId::from_uuid(Uuid::from_u128(number)),
            next: std::cell::Cell::new(number),
        }
    }

    /// The same world seen through another account.
    pub(crate) fn with_login(self, user: &str, password: &str) -> Self {
        Self { account: self.account.with_login(user, Password::new(password)), ..self }
    }

    pub(crate) fn fresh(&self) -> Uuid {
        self.next.set(self.next.get().wrapping_add(1));
        Uuid::from_u128(self.next.get())
    }

    pub(crate) async fn export(&self) -> Point {
        self.try_export(&self.scope).await.unwrap().0
    }

    pub(crate) async fn try_export(&self, scope: &Scope) -> Result<(Point, DatabaseFacts), SourceError> {
        self.try_export_by(&self.cluster.tools(), scope).await
    }

    /// An export by other programs than the cluster's.
    pub(crate) async fn try_export_by(&self, tools: &Tools, scope: &Scope) -> Result<(Point, DatabaseFacts), SourceError> {
        let id = RecoveryPointId::from_uuid(self.fresh());
        let writer = self.vault.begin(self.tenant, id, RunId::from_uuid(self.fresh()), None).await?;
        let facts = export(&self.account, tools, scope, &writer).await?;
        let written = writer.finish(facts.encode()?, jiff::Timestamp::UNIX_EPOCH).await?;
        Ok((Point { id, reference: written.point }, facts))
    }

    /// One turn of an export, by a run of its own, that goes on from an earlier run and asks `until` when to stop.
    pub(crate) async fn turn(
        &self,
        id: RecoveryPointId,
        earlier: Option<RunId>,
        until: &(dyn Fn() -> bool + Send + Sync),
    ) -> Turned {
        self.try_turn(id, earlier, RunId::from_uuid(self.fresh()), until).await.unwrap()
    }

    /// One turn of an export by this run, which may fail.
    pub(crate) async fn try_turn(
        &self,
        id: RecoveryPointId,
        earlier: Option<RunId>,
        run: RunId,
        until: &(dyn Fn() -> bool + Send + Sync),
    ) -> Result<Turned, SourceError> {
        let writer = self.vault.begin(self.tenant, id, run, None).await.unwrap();
        let earlier = match earlier {
            Some(earlier) => self.vault.progress(self.tenant, id, earlier).await.unwrap(),
            None => None,
        };
        let turn = Turn { until, earlier: earlier.as_ref() };
        Ok(match export_for(&self.account, &self.cluster.tools(), &self.scope, &writer, turn).await? {
            Exported::Whole(facts) => {
                let written = writer.finish(facts.encode().unwrap(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
                Turned::Whole(Point { id, reference: written.point.clone() }, written)
            }
            Exported::Paused(Paused { account, began_anew }) => {
                writer.suspend(account).await.unwrap();
                Turned::Paused { run, began_anew }
            }
        })
    }

    /// A run that stopped with an account that is not ours.
    pub(crate) async fn suspend(&self, id: RecoveryPointId, account: serde_json::Value) -> RunId {
        let run = RunId::from_uuid(self.fresh());
        self.vault.begin(self.tenant, id, run, None).await.unwrap().suspend(account).await.unwrap();
        run
    }

    pub(crate) async fn open(&self, point: &Point) -> PointReader {
        self.vault.open(self.tenant, point.id, &point.reference).await.unwrap()
    }

    /// A copy of a recovery point whose rows are under digests that nothing can match.
    pub(crate) async fn spoilt(&self, point: &PointReader) -> PointReader {
        let id = RecoveryPointId::from_uuid(self.fresh());
        let writer = self.vault.begin(self.tenant, id, RunId::from_uuid(self.fresh()), None).await.unwrap();
        for blob in &point.manifest().blobs {
            writer.blob(&blob.name, &point.blob(&blob.name).await.unwrap()).await.unwrap();
        }
        for stream in &point.manifest().streams {
            let mut header = stream.header.clone();
            header.digest_name.push('!');
            let open = writer.open(header).unwrap();
            let mut slice = open.slice().unwrap();
            let (mut reader, mut rows) = (point.stream(&stream.header.name).unwrap().all(), Vec::new());
            while let Some(piece) = reader.next().await.unwrap() {
                rows.extend_from_slice(&piece);
            }
            slice.rows(rows.into()).await.unwrap();
            slice.end().await.unwrap();
            open.end().await.unwrap();
        }
        let written = writer.finish(point.manifest().facts.clone(), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        self.open(&Point { id, reference: written.point }).await
    }

    /// Runs `work` with a job for this world's restore.
    pub(crate) async fn restore(&self, point: &PointReader) -> Result<sources::postgres::restore::Outcome, SourceError> {
        self.restore_as(point, &self.id).await
    }

    pub(crate) async fn restore_as(
        &self,
        point: &PointReader,
        id: &RestoreId,
    ) -> Result<sources::postgres::restore::Outcome, SourceError> {
        let tools = self.cluster.tools();
        let job = Job::new(&self.account, &tools, &self.scope, id, point)?;
        sources::postgres::restore::run(&job).await
    }
}
