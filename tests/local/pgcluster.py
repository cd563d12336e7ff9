"""One PostgreSQL cluster: its files, its server process, and administration over its socket.

Only the administrator (`rdsadmin`, over a socket in a private folder) connects without TLS;
every client comes over TCP with TLS and a password, as on RDS with `rds.force_ssl`.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from certs import TlsFiles

ADMIN = "rdsadmin"
START_SECONDS = 60
STOP_SECONDS = 30
WAIT_STEP_SECONDS = 0.02

# Small on purpose: several instances and their clones share one machine.
SETTINGS = """
listen_addresses = '127.0.0.1'
max_connections = 60
shared_buffers = 32MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_senders = 4
wal_level = replica
max_wal_size = 512MB
fsync = off
jit = off
password_encryption = scram-sha-256
ssl = on
ssl_min_protocol_version = 'TLSv1.2'
log_line_prefix = '%m [%p] %u@%d '
"""

HOST_RULES = f"""
local   all           {ADMIN}                 trust
local   replication   {ADMIN}                 trust
host    all           {ADMIN}   all           reject
hostssl all           all       127.0.0.1/32  scram-sha-256
"""


class ClusterError(Exception):
    """A server program failed; carries its output."""


@dataclass(frozen=True)
class Programs:
    """The server programs, and the account that runs them (PostgreSQL refuses to run as root)."""

    bin: Path
    account: str | None

    def identity(self) -> dict:
        """Arguments of `subprocess` that switch to the account."""
        return {"user": self.account, "group": self.account, "extra_groups": []} if self.account else {}

    def own(self, path: Path) -> None:
        """Gives a file or folder to the account."""
        if self.account:
            shutil.chown(path, self.account, self.account)

    def run(self, program: str, *arguments) -> str:
        """Runs one server program to its end and returns its output."""
        command = [str(self.bin / program) if (self.bin / program).exists() else program, *map(str, arguments)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            text=True, errors="replace", cwd="/", **self.identity(),
        )
        if done.returncode:
            raise ClusterError(f"{program} ended with {done.returncode}: {done.stdout.strip()[-800:]}")
        return done.stdout


class Cluster:
    """A data folder and, while up, the server that owns it."""

    def __init__(self, programs: Programs, folder: Path, sockets: Path, tls: TlsFiles, port: int | None = None):
        self.programs = programs
        self.folder = folder
        self.data = folder / "data"
        self.archive = folder / "wal"
        self.sockets = sockets
        self.tls = tls
        self.port = port or free_port()
        self._server: subprocess.Popen | None = None

    def fill_from(self, source: Path) -> None:
        """Makes the data folder a copy of another one (a template, a snapshot)."""
        self.programs.run("mkdir", "-p", self.archive)
        self.programs.run("cp", "-a", "--reflink=auto", source, self.data)
        self.programs.run("chmod", "700", self.data)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def configure(self, archiving: bool, recovery: str = "") -> None:
        """Writes the settings and access rules; `recovery` adds the lines of a point-in-time restore."""
        command = f"archive_mode = on\narchive_command = 'cp %p {self.archive}/%f'\n" if archiving else ""
        self._write(
            "postgresql.auto.conf",
            f"port = {self.port}\nunix_socket_directories = '{self.sockets}'\n"
            f"ssl_cert_file = '{self.tls.certificate}'\nssl_key_file = '{self.tls.key}'\n"
            f"{SETTINGS}{command}{recovery}",
        )
        self._write("pg_hba.conf", HOST_RULES)

    def start(self) -> None:
        """Starts the server and returns when it accepts connections (recovery included)."""
        if self._server and self._server.poll() is None:
            return
        with open(self.folder / "server.log", "ab") as log:
            self._server = subprocess.Popen(
                [self.programs.bin / "postgres", "-D", self.data],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True,
                **self.programs.identity(),
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            if self._server.poll() is not None:
                raise ClusterError(f"the server ended with {self._server.returncode}: {self.log_tail()}")
            try:
                if self.query("SELECT NOT pg_is_in_recovery()")[0][0]:
                    return
            except psycopg.OperationalError:
                pass
            if time.monotonic() > deadline:
                raise ClusterError(f"the server was not ready after {START_SECONDS} s: {self.log_tail()}")
            time.sleep(WAIT_STEP_SECONDS)

    def stop(self, immediate: bool = False) -> None:
        """Ends the server; `immediate` skips the shutdown checkpoint."""
        if not self._server:
            return
        self._server.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._server.pid, signal.SIGKILL)
            self._server.wait()
        self._server = None

    def remove(self) -> None:
        """Ends the server and deletes every file."""
        self.stop(immediate=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def query(self, statement, database: str = "postgres") -> list[tuple]:
        """Runs one statement as the administrator."""
        with psycopg.connect(
            host=str(self.sockets), port=self.port, user=ADMIN, dbname=database, autocommit=True, connect_timeout=10
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def set_password(self, user: str, password: str) -> None:
        """Changes a role's password."""
        self.query(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(user), sql.Literal(password)))

    def copy_to(self, target: Path) -> None:
        """Takes a consistent copy of the running cluster."""
        self.programs.run(
            "pg_basebackup", "-h", self.sockets, "-p", self.port, "-U", ADMIN, "-D", target,
            "-X", "stream", "-c", "fast", "--no-sync", "--no-manifest",
        )

    def log_tail(self) -> str:
        """The end of the server's log, for error messages."""
        try:
            return (self.folder / "server.log").read_text(errors="replace")[-800:]
        except FileNotFoundError:
            return "(no log)"

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        path.chmod(0o600)
        self.programs.own(path)


def free_port() -> int:
    """A loopback TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
