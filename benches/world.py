"""What all contenders share: one database cluster, one object store, one folder. It ends with this program, whatever ends it."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import certs
import guard
import paths
import psycopg
from jobs import Command, Jobs
from pgcluster import Cluster, Programs
from pghost import MASTER_ROLE
from psycopg import sql
from store import Store

USER = "holdfast"

# Later lines win over those of the local stack. `fsync = off` is the same for all: the disk is not what is compared.
SETTINGS = """
shared_buffers = 512MB
work_mem = 64MB
maintenance_work_mem = 256MB
max_wal_size = 8GB
checkpoint_timeout = 1h
autovacuum = off
jit = off
fsync = off
"""


class BenchCluster(Cluster):
    """A cluster as the local stack makes it, with the settings of a server that has work to do."""

    def prepare(self, source: Path) -> None:
        """Takes over a data folder and starts."""
        self.fill_from(source)
        self.configure(archiving=False, recovery=SETTINGS)
        self.start()


class World:
    """The cluster, the store and the ways to reach them."""

    user = USER

    def __init__(self):
        self.root = _make_root()
        self._guard = subprocess.Popen(
            [sys.executable, paths.HERE / "guard.py", self.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            start_new_session=True,
        )
        self.tools = paths.postgres_bin()
        self.programs = Programs(self.tools, "postgres" if os.geteuid() == 0 else None)
        self.password = secrets.token_hex(16)
        self.tls = certs.create(self.root / "tls")
        for name in ("pg", "sockets"):
            (self.root / name).mkdir(mode=0o700)
            self.programs.own(self.root / name)
        for path in (self.tls.certificate, self.tls.key):
            self.programs.own(path)
        for name in ("home", "tmp", "log"):
            (self.root / name).mkdir()
        self.env = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.root / "home"), "TMPDIR": str(self.root / "tmp"),
            "no_proxy": os.environ["no_proxy"], "NO_PROXY": os.environ["no_proxy"], guard.MARK: str(self.root),
        }
        self.store = Store(self.root / "store", self.root / "log" / "store.log", self.env)
        self.cluster: BenchCluster | None = None

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_) -> None:
        self._guard.stdin.close()
        self._guard.stdout.read(len("ended"))
        self._guard.wait()

    # The database ------------------------------------------------------------

    def new_cluster(self) -> None:
        """Starts an empty cluster, in place of the one there is."""
        template = self.root / "pg" / "template"
        if not template.exists():
            self.programs.run(
                "initdb", "-D", template, "-U", "rdsadmin", "--auth-local=trust", "--auth-host=scram-sha-256",
                "--no-sync", "--data-checksums", "--encoding=UTF8", "--locale=C.UTF-8",
            )
        self._start("cluster", template)
        names = {"user": sql.Identifier(USER), "password": sql.Literal(self.password)}
        self.cluster.query(sql.SQL(MASTER_ROLE).format(**names).as_string(None))
        if self.version_number() >= 150000:
            self.cluster.query("GRANT pg_checkpoint TO rds_superuser WITH ADMIN OPTION")
            self.cluster.query("GRANT SET ON PARAMETER session_replication_role TO rds_superuser WITH GRANT OPTION")

    def keep(self) -> None:
        """Stops the cluster and keeps its files as what `fresh` starts from."""
        self.cluster.stop()
        kept = self.root / "pg" / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        self.cluster.data.rename(kept)
        self.cluster.remove()
        self.cluster = None

    def fresh(self) -> None:
        """Starts a cluster whose files are those of `keep`, page by page."""
        self._start("cluster", self.root / "pg" / "kept")

    def _start(self, name: str, source: Path) -> None:
        if self.cluster:
            self.cluster.remove()
        self.cluster = BenchCluster(self.programs, self.root / "pg" / name, self.root / "sockets", self.tls)
        self.cluster.prepare(source)

    def version_number(self) -> int:
        """The server's version, as PostgreSQL counts."""
        return int(self.cluster.query("SHOW server_version_num")[0][0])

    def server_pid(self) -> int:
        """The process all backends are children of."""
        return int((self.cluster.data / "postmaster.pid").read_text().split()[0])

    @property
    def pg_env(self) -> dict[str, str]:
        """The environment of a client of the database: over TCP, with TLS and a password."""
        return {
            **self.env, "PGHOST": "127.0.0.1", "PGPORT": str(self.cluster.port), "PGUSER": USER, "PGPASSWORD": self.password,
            "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(self.tls.authority), "PGGSSENCMODE": "disable",
        }

    def psql(self, database: str, *arguments: str) -> list[str]:
        """A command of psql."""
        return [str(self.tools / "psql"), "-X", "-w", "-d", database, *arguments]

    def connect(self, database: str) -> psycopg.Connection:
        """A connection as the contenders have it."""
        return psycopg.connect(
            host="127.0.0.1", port=self.cluster.port, user=USER, password=self.password, dbname=database,
            sslmode="verify-full", sslrootcert=str(self.tls.authority), autocommit=True,
        )

    def drop(self, database: str) -> None:
        """Removes a database if it is there."""
        self.cluster.query(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def run(self, command: Command) -> None:
        """Runs a program that is not measured."""
        Jobs(self.root / "log").run(command)


def _make_root() -> Path:
    """A folder the database account can reach (a checkout often is not)."""
    root = Path(tempfile.mkdtemp(prefix="holdfast-bench-")).resolve()
    root.chmod(0o755)
    return root
