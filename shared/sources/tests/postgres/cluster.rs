//! A throw-away PostgreSQL cluster with TLS under a CA of its own. It goes when the test process does, however that ends.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
};

use sources::postgres::{Endpoint, Password, Tools};

pub(crate) const MASTER_PASSWORD: &str = "canary-master-password";

pub(crate) struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    port: u16,
    /// Its input is held open as long as the process lives: the end of it is what stops the server.
    _server: Child,
}

/// Makes certificates and a cluster in `$1` with the programs in `$2` on port `$3`, says `ready`, and removes all of it when its
/// input ends.
const SCRIPT: &str = r#"
set -eu
mkdir -m 700 "$1"; cd "$1"
trap 'cd /; rm -rf "$1"' EXIT
new="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
openssl req -x509 $new -keyout ca.key -out ca.pem -days 2 -addext basicConstraints=critical,CA:TRUE
openssl req -x509 $new -keyout other.key -out other.pem -days 2 -addext basicConstraints=critical,CA:TRUE
openssl req $new -keyout server.key -out server.csr
echo 'subjectAltName=DNS:localhost,IP:127.0.0.1' > server.ext
openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.crt -days 2 -extfile server.ext
"$2/initdb" -D data -U admin --auth-local=trust --auth-host=scram-sha-256 -E UTF8 --locale=C.UTF-8 -N
cat >> data/postgresql.conf <<END
listen_addresses = 'localhost'
port = $3
unix_socket_directories = '$1'
ssl = on
ssl_cert_file = '$1/server.crt'
ssl_key_file = '$1/server.key'
fsync = off
shared_buffers = 64MB
max_connections = 200
max_locks_per_transaction = 512
log_statement = all
END
echo 'local all all trust' > data/pg_hba.conf
echo 'local replication all trust' >> data/pg_hba.conf
echo 'hostssl all all all scram-sha-256' >> data/pg_hba.conf
chmod 755 "$1"; chmod 644 ca.pem other.pem
"$2/postgres" -D data > log 2>&1 &
server=$!
trap 'kill -INT $server; wait $server; cd /; rm -rf "$1"' EXIT
until "$2/pg_isready" -q -h "$1" -p "$3"; do kill -0 $server || { cat log; exit 1; }; sleep 0.1; done
echo ready
cat > /dev/null
"#;

/// Makes a streaming standby in `$1`, with the programs in `$2` on port `$3`, of the cluster in `$4` on port `$5`. It lets no reader hold
/// its replay up.
const STANDBY: &str = r#"
set -eu
mkdir -m 700 "$1"; cd "$1"
trap 'cd /; rm -rf "$1"' EXIT
"$2/pg_basebackup" -h "$4" -p "$5" -U admin -D data -R -X stream -c fast
cp "$4/ca.pem" .
cat >> data/postgresql.conf <<END
port = $3
unix_socket_directories = '$1'
max_standby_streaming_delay = 0
hot_standby_feedback = off
log_recovery_conflict_waits = on
deadlock_timeout = 10ms
END
chmod 755 "$1"
"$2/postgres" -D data > log 2>&1 &
server=$!
trap 'kill -INT $server; wait $server; cd /; rm -rf "$1"' EXIT
until "$2/pg_isready" -q -h "$1" -p "$3"; do kill -0 $server || { cat log; exit 1; }; sleep 0.1; done
echo ready
cat > /dev/null
"#;

static CLUSTER: OnceLock<Cluster> = OnceLock::new();

/// The cluster all tests share; each uses databases and roles of its own.
pub(crate) fn cluster() -> &'static Cluster {
    CLUSTER.get_or_init(Cluster::start)
}

static ALONE: OnceLock<Cluster> = OnceLock::new();

/// A cluster of which one test knows every database.
pub(crate) fn alone() -> &'static Cluster {
    ALONE.get_or_init(Cluster::start)
}

static QUIET: OnceLock<Cluster> = OnceLock::new();
static AT_REST: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A cluster of which a test has all the writes for itself, as long as it keeps the guard.
pub(crate) async fn quiet() -> (&'static Cluster, tokio::sync::MutexGuard<'static, ()>) {
    let guard = AT_REST.lock().await;
    let cluster = QUIET.get_or_init(|| {
        let cluster = Cluster::start();
        cluster.sql("postgres", "ALTER SYSTEM SET autovacuum = off");
        cluster.sql("postgres", "SELECT pg_reload_conf()");
        cluster
    });
    (cluster, guard)
}

/// Waits, on the server, until a query finds something.
pub(crate) async fn until(what: String) {
    let sql = format!(
        "DO $$BEGIN FOR i IN 1..6000 LOOP IF EXISTS ({what}) THEN RETURN; END IF; PERFORM pg_sleep(0.01), pg_stat_clear_snapshot(); END LOOP;
         RAISE 'it never came about'; END$$"
    );
    tokio::task::spawn_blocking(move || cluster().sql("postgres", &sql)).await.unwrap();
}

fn newest_bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| PathBuf::from(format!("/usr/lib/postgresql/{version}/bin/initdb")).exists())
        .collect();
    found.sort_unstable();
    let newest = found.last().expect("these tests need a PostgreSQL server: install the package `postgresql`");
    PathBuf::from(format!("/usr/lib/postgresql/{newest}/bin"))
}

/// The folder of a `pg_dump` and `pg_restore` that Holdfast takes: what was put beside the other things the tests need because the
/// installed one is too old, or else the installed one.
fn tools_bin(server: &Path) -> PathBuf {
    let beside = beside_the_tests("postgres-tools/bin");
    if beside.join("pg_dump").exists() { beside } else { server.to_owned() }
}

/// Something that `python3 tests/local prepare` put below the build's folder, in which this program is as well.
pub(crate) fn beside_the_tests(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let target = program.ancestors().nth(3).expect("tests lie in target/<profile>/deps");
    target.join("local").join(name)
}

impl Cluster {
    /// A cluster of its own, for what the others must not meet.
    pub(crate) fn start() -> Self {
        let cluster = Self::run(SCRIPT, &[]);
        cluster.sql(
            "postgres",
            &format!(
                "CREATE ROLE app_owner NOLOGIN; CREATE ROLE app_user LOGIN; CREATE ROLE other_owner NOLOGIN;
             CREATE ROLE master LOGIN CREATEDB CREATEROLE PASSWORD '{MASTER_PASSWORD}';
             GRANT app_owner, other_owner, pg_signal_backend, pg_monitor TO master; GRANT ALL ON DATABASE postgres TO master"
            ),
        );
        cluster
    }

    /// A streaming standby of this cluster.
    pub(crate) fn standby(&self) -> Self {
        Self::run(STANDBY, &[&self.folder.display().to_string(), &self.port.to_string()])
    }

    fn run(script: &str, more: &[&str]) -> Self {
        let bin = newest_bin();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = std::env::temp_dir().join(format!("holdfast-test-{}-{port}", std::process::id()));
        let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
        // PostgreSQL refuses to run as root; its package brings a user for it.
        let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
        if is_root {
            command.args(["-u", "postgres", "--", "sh"]);
        }
        command.args(["-c", script, "sh"]).arg(&folder).arg(&bin).arg(port.to_string()).args(more).current_dir("/");
        let said = folder.with_extension("log");
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&said).unwrap()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let is_ready = lines.any(|line| line == "ready");
        assert!(is_ready, "the cluster did not start: {}", std::fs::read_to_string(&said).unwrap());
        let _ = std::fs::remove_file(said);
        Self { folder, bin, port, _server: child }
    }

    /// The account Holdfast is given: it may make databases and roles and is a member of the owner, but no superuser.
    pub(crate) fn master(&self) -> Endpoint {
        Endpoint {
            host: "localhost".into(),
            port: self.port,
            database: "postgres".into(),
            user: "master".into(),
            password: Password::new(MASTER_PASSWORD),
            ca_file: self.folder.join("ca.pem"),
        }
    }

    /// A CA that the server's certificate is not under.
    pub(crate) fn other_ca(&self) -> PathBuf {
        self.folder.join("other.pem")
    }

    pub(crate) fn tools(&self) -> Tools {
        Tools::new(tools_bin(&self.bin))
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.folder.join("log")).unwrap()).into_owned()
    }

    pub(crate) fn client(&self, program: &str, user: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-U", user, "-d", database]);
        command
    }

    /// Runs statements as superuser, past Holdfast, and returns what they print.
    pub(crate) fn sql(&self, database: &str, sql: &str) -> String {
        self.sql_as("admin", database, sql)
    }

    /// Runs statements as any role.
    pub(crate) fn sql_as(&self, user: &str, database: &str, sql: &str) -> String {
        let mut command = self.client("psql", user, database);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{sql}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Everything `pg_dump` says about a database or a schema of it: lines in an order that does not depend on the heap.
    pub(crate) fn dump(&self, database: &str, schema: Option<&str>) -> Vec<String> {
        let mut command = self.client("pg_dump", "admin", database);
        if let Some(schema) = schema {
            command.args(["-n", &format!("\"{schema}\"")]);
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| !line.contains("restrict ")).map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// What a superuser does who knows no better: `pg_dump` of one database into `pg_restore` of another, whose owner is then the superuser.
    pub(crate) fn copy_naively(&self, from: &str, to: &str) {
        let archive = self.client("pg_dump", "admin", from).arg("-Fc").output().unwrap();
        assert!(archive.status.success(), "{}", String::from_utf8_lossy(&archive.stderr));
        let mut child = self.client("pg_restore", "admin", to).arg("--no-owner").stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Runs statements one by one as superuser, as a script that does not stop to ask, and says whether all of them worked.
    pub(crate) fn try_sql(&self, database: &str, sql: &str) -> bool {
        let mut command = self.client("psql", "admin", database);
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        child.wait().unwrap().success()
    }

    /// Roles, databases and schemas of restores that are still there, undo copies apart.
    pub(crate) async fn leftovers(&self, database: &str, id: &sources::postgres::restore::RestoreId) -> Vec<String> {
        let found = sources::postgres::restore::leftovers(&self.master().with_database(database)).await.unwrap();
        found.into_iter().filter(|left| !left.kept && left.name.ends_with(&id.to_string())).map(|left| left.name).collect()
    }
}
