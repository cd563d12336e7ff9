"""DB instances as real PostgreSQL clusters, and snapshots as copies of their files.

Each instance or snapshot has one queue: what is asked of it happens in order, in the
background, as RDS does it. Keys are ARNs; nothing here knows the RDS API.
"""

import datetime
import os
import re
import shutil
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from psycopg import sql

from certs import TlsFiles
from pgcluster import Cluster, ClusterError, Programs

ARCHIVE_SECONDS = 30

# What RDS gives its master user: much, but not superuser.
MASTER_ROLE = """
CREATE ROLE rds_superuser NOLOGIN;
GRANT pg_monitor, pg_signal_backend TO rds_superuser WITH ADMIN OPTION;
CREATE ROLE {user} LOGIN CREATEDB CREATEROLE PASSWORD {password};
GRANT rds_superuser TO {user} WITH ADMIN OPTION;
"""


class PostgresHost:
    """All clusters and snapshots of one stack, below one folder."""

    def __init__(self, root: Path, programs: Programs, tls: TlsFiles):
        self.root, self.programs, self.tls = root, programs, tls
        self.clusters: dict[str, Cluster] = {}
        self._base_backups: dict[str, list[tuple[float, Path]]] = {}
        self._kept_logs: dict[str, Path] = {}
        self._queues: dict[str, ThreadPoolExecutor] = {}
        self._lock = Lock()
        self._made = 0
        for folder in ("instances", "snapshots", "sockets"):
            (root / folder).mkdir(parents=True, mode=0o700)
            programs.own(root / folder)
        for path in (root, tls.certificate, tls.key):
            programs.own(path)
        self._template = self.submit("template", self._make_template)

    def submit(self, key: str, work, *arguments) -> Future:
        """Queues work behind everything already asked of this instance or snapshot."""
        with self._lock:
            queue = self._queues.setdefault(key, ThreadPoolExecutor(1, thread_name_prefix=key))
        return queue.submit(work, *arguments)

    def wait_for(self, key: str) -> None:
        """Returns when everything asked of this key so far is done."""
        self.submit(key, lambda: None).result()

    def _make_template(self) -> Path:
        template = self.root / "template"
        self.programs.run(
            "initdb", "-D", template, "-U", "rdsadmin", "--auth-local=trust", "--auth-host=scram-sha-256",
            "--no-sync", "--data-checksums", "--wal-segsize=4", "--encoding=UTF8", "--locale=C.UTF-8",
        )
        return template

    def _new_cluster(self, key: str, source: Path) -> Cluster:
        with self._lock:
            self._made += 1
            folder = self.root / "instances" / f"{self._made:03}-{_file_name(key)}"
        cluster = Cluster(self.programs, folder, self.root / "sockets", self.tls)
        cluster.fill_from(source)
        return cluster

    # Instances ---------------------------------------------------------------

    def create(self, key: str, user: str, password: str, database: str | None, backups: bool) -> int:
        """Creates an instance and returns its port; `backups` makes points in time restorable."""
        cluster = self._new_cluster(key, self._template.result())
        cluster.configure(archiving=backups)
        self._launch(key, cluster)
        names = {"user": sql.Identifier(user), "password": sql.Literal(password)}
        cluster.query(sql.SQL(MASTER_ROLE).format(**names).as_string(None))
        if int(cluster.query("SHOW server_version_num")[0][0]) >= 150000:
            cluster.query("GRANT pg_checkpoint TO rds_superuser WITH ADMIN OPTION")
            cluster.query("GRANT SET ON PARAMETER session_replication_role TO rds_superuser WITH GRANT OPTION")
        if database:
            cluster.query(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), names["user"]))
        if backups:
            self._take_base_backup(key, cluster)
        return cluster.port

    def restore(self, snapshot: str, key: str) -> int:
        """Makes a new running instance from a snapshot. Its roles and passwords are the snapshot's."""
        self.wait_for(snapshot)
        cluster = self._new_cluster(key, self._snapshot_folder(snapshot))
        cluster.configure(archiving=False)
        self._launch(key, cluster)
        return cluster.port

    def restore_to_time(self, source: str, key: str, when: float | None) -> int:
        """Makes a new instance as the source was at a moment (Unix seconds; None is now)."""
        base = self._base_backup_before(source, when)
        if source not in self._kept_logs:
            self._archive_up_to_now(source)
        archive = self._kept_logs.get(source) or self.clusters[source].archive
        cluster = self._new_cluster(key, base)
        cluster.configure(archiving=False, recovery=_recovery_settings(archive, when))
        signal_file = cluster.data / "recovery.signal"
        signal_file.touch()
        self.programs.own(signal_file)
        self._launch(key, cluster)
        cluster.configure(archiving=False)
        return cluster.port

    def restorable_since(self, key: str) -> float | None:
        """The first moment (Unix seconds) that the instance can be restored to, if it can be at all."""
        return min((taken for taken, _ in self._base_backups.get(key, [])), default=None)

    def stop(self, key: str) -> None:
        """Stops an instance, keeping its files."""
        self.clusters[key].stop()

    def start(self, key: str) -> None:
        """Starts a stopped instance."""
        self.clusters[key].start()

    def set_password(self, key: str, user: str, password: str) -> None:
        """Changes the password of one of the instance's roles."""
        self.clusters[key].set_password(user, password)

    def delete(self, key: str, keep_backups_as: str | None = None) -> None:
        """Ends an instance and removes its files and backups, unless these are to be restored from under another key."""
        if keep_backups_as:
            self._archive_up_to_now(key)
        cluster, backups = self.clusters.pop(key, None), self._base_backups.pop(key, None)
        if keep_backups_as:
            cluster.stop(immediate=True)
            self._base_backups[keep_backups_as], self._kept_logs[keep_backups_as] = backups, cluster.archive
        elif cluster:
            cluster.remove()

    def stop_all(self) -> None:
        """Ends every server at once; the files go with the stack's folder."""
        for cluster in list(self.clusters.values()):
            cluster.stop(immediate=True)

    def _launch(self, key: str, cluster: Cluster) -> None:
        try:
            cluster.start()
        except BaseException:
            cluster.stop(immediate=True)
            raise
        self.clusters[key] = cluster

    # Snapshots ---------------------------------------------------------------

    def snapshot(self, key: str, snapshot: str) -> None:
        """Copies a running instance's files."""
        self.clusters[key].copy_to(self._snapshot_folder(snapshot))

    def copy_snapshot(self, source: str, target: str) -> None:
        """Copies a finished snapshot."""
        self.wait_for(source)
        self.programs.run("cp", "-a", "--reflink=auto", self._snapshot_folder(source), self._snapshot_folder(target))

    def delete_snapshot(self, snapshot: str) -> None:
        """Removes a snapshot's files."""
        shutil.rmtree(self._snapshot_folder(snapshot), ignore_errors=True)

    def _snapshot_folder(self, snapshot: str) -> Path:
        return snapshot_folder(self.root, snapshot)

    # Points in time ----------------------------------------------------------

    def _take_base_backup(self, key: str, cluster: Cluster) -> None:
        backups = self._base_backups.setdefault(key, [])
        target = cluster.folder / f"base-{len(backups)}"
        cluster.copy_to(target)
        backups.append((time.time(), target))

    def _base_backup_before(self, key: str, when: float | None) -> Path:
        usable = [path for taken, path in self._base_backups.get(key, []) if when is None or taken <= when]
        if not usable:
            raise ClusterError(f"{key} has no backup from before the requested time")
        return usable[-1]

    def _archive_up_to_now(self, key: str) -> None:
        """Closes the current log segment behind one last commit and waits until it is archived."""
        cluster = self.clusters[key]
        # Replay to a time stops at the first commit after it, so there must be one.
        cluster.query("SELECT pg_current_xact_id()")
        last = cluster.query("SELECT pg_walfile_name(pg_switch_wal())")[0][0]
        deadline = time.monotonic() + ARCHIVE_SECONDS
        while not (cluster.archive / last).exists() or not _archived(cluster, last):
            if time.monotonic() > deadline:
                raise ClusterError(f"log segment {last} of {key} was not archived in {ARCHIVE_SECONDS} s")
            time.sleep(0.05)


def snapshot_folder(root: Path, snapshot: str) -> Path:
    """Where the files of a snapshot are (tests damage them there)."""
    return root / "snapshots" / _file_name(snapshot)


def damage(file: Path, offset_bytes: int = 100, length_bytes: int = 256) -> None:
    """Overwrites part of a stopped cluster's file, as a bad disk would."""
    with open(file, "r+b") as handle:
        handle.seek(offset_bytes)
        handle.write(os.urandom(length_bytes))


def _archived(cluster: Cluster, segment: str) -> bool:
    return cluster.query("SELECT last_archived_wal >= %s FROM pg_stat_archiver".replace("%s", f"'{segment}'"))[0][0]


def _recovery_settings(archive: Path, when: float | None) -> str:
    settings = f"restore_command = 'cp {archive}/%f %p'\nrecovery_target_action = 'promote'\n"
    if when is None:
        return settings
    moment = datetime.datetime.fromtimestamp(when, datetime.timezone.utc).isoformat(" ", "microseconds")
    return f"{settings}recovery_target_time = '{moment}'\n"


def _file_name(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", key.split(":", 5)[-1])
