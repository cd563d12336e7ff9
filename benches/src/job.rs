//! The jobs.

use std::{env, fs, path::Path, process::Command, sync::Arc};

use aws::{Clients, S3Store};
use bytes::Bytes;
use domain::{RecoveryPointId, RunId, TenantId, tenant::Layout};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde_json::{Value, json};
use sources::postgres::{
    self, Endpoint, Password, Scope, Tools,
    restore::{self, Job, RestoreId},
};
use uuid::Uuid;
use vault::{Digester, MemoryKeys, MemorySigning, ObjectStore, Parent, PointReader, Vault};

use crate::{
    counted::{Counted, calls},
    state::State,
};

pub(crate) type Failure = Box<dyn std::error::Error>;

/// A file is read whole, as a pack is.
const UPLOADS_AT_ONCE: usize = 2;

struct World {
    state: State,
    store: Arc<Counted<S3Store>>,
    keys: Arc<Counted<MemoryKeys>>,
    signing: Arc<MemorySigning>,
    vault: Vault,
}

impl World {
    async fn load(state: &Path) -> Result<Self, Failure> {
        let state = State::load(state)?;
        let store = Arc::new(Counted::new(store().await?));
        let keys = Arc::new(Counted::new(state.keys()?));
        let signing = Arc::new(state.signing()?);
        let vault = Vault::new(store.clone(), keys.clone(), signing.clone(), "bench".parse()?);
        Ok(Self { state, store, keys, signing, vault })
    }

    fn calls(&self) -> Value {
        calls(&self.store, &self.keys, self.signing.calls())
    }

    async fn open_newest(&self) -> Result<PointReader, Failure> {
        let Parent { point, reference } = self.state.newest().ok_or("there is no recovery point yet: run `export` first")?;
        Ok(self.vault.open(self.state.tenant, point, &reference).await?)
    }
}

pub(crate) async fn export(database: &str, state: &Path, full: bool) -> Result<Value, Failure> {
    let mut world = World::load(state).await?;
    world.state.jobs += 1;
    let number = world.state.jobs;
    let (point, run) = (RecoveryPointId::from_uuid(Uuid::from_u128(number)), RunId::from_uuid(Uuid::from_u128(number)));
    let parent = world.state.newest().filter(|_| !full);
    let writer = world.vault.begin(world.state.tenant, point, run, parent.as_ref()).await?;
    let facts = postgres::export(&endpoint()?, &tools()?, &scope(database)?, &writer).await?;
    let written = writer.finish(facts.encode()?, Timestamp::UNIX_EPOCH).await?;
    world.state.set_newest(point, written.point.clone());
    world.state.save(state)?;
    Ok(json!({
        "rows": written.rows,
        "plaintext_bytes": written.plaintext_bytes,
        "stored_bytes": written.stored_bytes,
        "chunks": written.chunks,
        "chunks_reused": written.chunks_reused,
        "packs": written.packs,
        "requests": world.calls(),
    }))
}

pub(crate) async fn restore(database: &str, into: &str, state: &Path) -> Result<Value, Failure> {
    let world = World::load(state).await?;
    let reader = world.open_newest().await?;
    let (endpoint, tools, scope) = (endpoint()?, tools()?, scope(database)?);
    let job = Job::new(&endpoint, &tools, &scope, &RestoreId::of(Uuid::from_u128(1)), &reader)?;
    let staged = restore::load(&job).await?;
    let rename = format!("ALTER DATABASE \"{staged}\" RENAME TO \"{into}\"");
    psql(&endpoint, &rename)?;
    Ok(json!({ "rows": rows(&reader), "requests": world.calls() }))
}

pub(crate) async fn digest(database: &str, state: &Path) -> Result<Value, Failure> {
    let world = World::load(state).await?;
    let reader = world.open_newest().await?;
    let sink = Digester::against(&reader).await?;
    let live = postgres::digest(&endpoint()?, &scope(database)?, &sink).await?.ok_or("the database is not there")?;
    let differences = live.differences(reader.manifest());
    if !differences.is_empty() {
        return Err(format!("the live database differs from the recovery point: {}", differences.join("; ")).into());
    }
    Ok(json!({ "rows": live.rows(), "requests": world.calls() }))
}

pub(crate) async fn upload(folder: &Path, prefix: &str) -> Result<Value, Failure> {
    let store = store().await?;
    let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, Failure>>()?;
    let put = |file: std::path::PathBuf| {
        let store = &store;
        async move {
            let name = file.file_name().and_then(|name| name.to_str()).ok_or("a file without a name")?;
            let bytes = Bytes::from(tokio::fs::read(&file).await?);
            let size = bytes.len();
            store.put_new(&format!("{prefix}/{name}"), bytes).await?;
            Ok::<_, Failure>(size)
        }
    };
    let sizes: Vec<usize> = stream::iter(files).map(put).buffer_unordered(UPLOADS_AT_ONCE).try_collect().await?;
    Ok(json!({ "stored_bytes": sizes.iter().sum::<usize>(), "requests": { "put": sizes.len() } }))
}

fn rows(reader: &PointReader) -> u64 {
    reader.manifest().streams.iter().map(|stream| stream.rows).sum()
}

async fn store() -> Result<S3Store, Failure> {
    Ok(Clients::load().await.store(&variable("HF_S3_BUCKET")?))
}

fn endpoint() -> Result<Endpoint, Failure> {
    Ok(Endpoint {
        host: variable("HF_PG_HOST")?,
        port: variable("HF_PG_PORT")?.parse()?,
        database: "postgres".to_owned(),
        user: variable("HF_PG_USER")?,
        password: Password::new(variable("HF_PG_PASSWORD")?),
        ca_file: variable("HF_PG_CA")?.into(),
    })
}

fn tools() -> Result<Tools, Failure> {
    Ok(Tools::new(variable("HF_PG_TOOLS")?))
}

fn scope(database: &str) -> Result<Scope, Failure> {
    Ok(Scope::new("bench".parse::<TenantId>()?, Layout::Database { database: database.to_owned() }, Vec::new())?)
}

fn psql(endpoint: &Endpoint, sql: &str) -> Result<(), Failure> {
    let address = format!(
        "host={} port={} dbname=postgres user={} sslmode=verify-full sslrootcert={}",
        endpoint.host,
        endpoint.port,
        endpoint.user,
        endpoint.ca_file.display()
    );
    let mut command = Command::new(Path::new(&variable("HF_PG_TOOLS")?).join("psql"));
    let status = command.args([&address, "--quiet", "--command", sql]).env("PGPASSWORD", variable("HF_PG_PASSWORD")?).status()?;
    if status.success() { Ok(()) } else { Err(format!("psql could not run: {sql}").into()) }
}

#[expect(clippy::disallowed_methods, reason = "this program's configuration is its environment")]
fn variable(name: &str) -> Result<String, Failure> {
    env::var(name).map_err(|_| format!("the environment has no {name}").into())
}
