"""The peers: bare COPY, pg_dump with an upload, restic, pgBackRest, pg_restore. Each is a class with one method per job.

A job gets `jobs` to run programs with. What a contender keeps in the store is in a bucket of its own.
"""

import shutil
import sys
from pathlib import Path

from dataset import DATABASE, TABLES, copy_statements, ordered_copy_statements
from jobs import Command
from store import folder_bytes

HERE = Path(__file__).resolve().parent
RESTORED = "tenant_restored"
"""The database that restores go to."""


class Peer:
    """A contender: its name, and whether it can be had here."""

    name = ""
    program: str | None = None

    def __init__(self, world):
        self.world = world
        self.bucket = self.name.replace("_", "-")
        self.reset()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be measured here, or None."""
        return f"{cls.program} is not installed" if cls.program and not shutil.which(cls.program) else None

    def reset(self) -> None:
        """Forgets every backup."""
        self.world.store.empty_bucket(self.bucket)

    def stored_bytes(self) -> int:
        """What it keeps in the store."""
        return folder_bytes(self.world.store.folder / self.bucket)

    def pg(self, program: str, *arguments, output: str = "/dev/null") -> Command:
        """One of PostgreSQL's programs, as a client of the database."""
        return Command([self.world.tools / program, *arguments], self.world.pg_env, output=output)

    def make_database(self, jobs) -> None:
        """The empty database of a restore, which is a part of the job."""
        jobs.run(self.pg("createdb", RESTORED))


class Copy1(Peer):
    """COPY of all rows, thrown away: the limit of every reader."""

    name = "copy1"

    def full(self, jobs) -> None:
        statements = self._statements()
        jobs.together(*(
            Command(self.world.psql(DATABASE, *(part for text in each for part in ("-c", text))), self.world.pg_env)
            for each in statements
        ))

    def _statements(self) -> list[list[str]]:
        return [[f"COPY {table} TO STDOUT" for table in TABLES]]


class Copy2(Copy1):
    """The same over two connections."""

    name = "copy2"

    def _statements(self) -> list[list[str]]:
        return copy_statements(self.world)

    unchanged = clustered = random = digest = Copy1.full


class Copy2InOrder(Copy1):
    """The same over two connections, each row in the order of its table's key."""

    name = "copy2_in_order"

    def _statements(self) -> list[list[str]]:
        return ordered_copy_statements(self.world)

    unchanged = Copy1.full


class PgDump(Peer):
    """`pg_dump -Fd -j2`, then the files are uploaded two at a time; and `pg_restore -j2` of the files as they lie there."""

    name = "pg_dump"
    compression: tuple[str, ...] = ()

    def __init__(self, world, uploader):
        self.folder = world.root / "home" / self.name
        self.uploader = uploader
        super().__init__(world)

    def reset(self) -> None:
        super().reset()
        shutil.rmtree(self.folder, ignore_errors=True)

    def full(self, jobs) -> None:
        jobs.run(self.pg("pg_dump", "-Fd", "-j2", *self.compression, "-f", self.folder, "-d", DATABASE))
        jobs.run(self.uploader(self.folder, self.bucket))

    def restore(self, jobs) -> None:
        self.make_database(jobs)
        jobs.run(self.pg("pg_restore", "-j2", "--exit-on-error", "-d", RESTORED, self.folder))


class PgDumpFast(PgDump):
    """The same with the fastest codec this version has: from 16 on zstd, before it only gzip, so its fastest level."""

    name = "pg_dump_fast"

    def __init__(self, world, uploader):
        super().__init__(world, uploader)
        self.compression = ("-Zzstd:3",) if world.version_number() >= 160000 else ("-Z1",)


class Restic(Peer):
    """`pg_dump -Fc -Z0 | restic backup --stdin`, and `restic dump | pg_restore`."""

    name = program = "restic"

    def reset(self) -> None:
        super().reset()
        shutil.rmtree(self.world.root / "home" / "restic-cache", ignore_errors=True)

    def full(self, jobs) -> None:
        jobs.run(self._restic("init"))
        self._backup(jobs)

    def unchanged(self, jobs) -> None:
        self._backup(jobs)

    clustered = random = unchanged

    def restore(self, jobs) -> None:
        self.make_database(jobs)
        jobs.pipe(self._restic("dump", "latest", "/tenant.dump"), self.pg("pg_restore", "--exit-on-error", "-d", RESTORED))

    def _backup(self, jobs) -> None:
        jobs.pipe(
            self.pg("pg_dump", "-Fc", "-Z0", "-d", DATABASE),
            self._restic("backup", "--quiet", "--stdin", "--stdin-filename", "tenant.dump"),
        )

    def _restic(self, *arguments) -> Command:
        env = {
            **self.world.env, **self.world.store.env(), "RESTIC_PASSWORD": "benchmark",
            "RESTIC_REPOSITORY": f"s3:{self.world.store.endpoint}/{self.bucket}/repository",
            "RESTIC_CACHE_DIR": str(self.world.root / "home" / "restic-cache"),
        }
        return Command([self.program, *arguments], env)


class PgBackRest(Peer):
    """Full and incremental backups of the whole cluster's files.

    Its S3 client speaks HTTPS only, which the store does not, so its repository is a folder: it is spared HTTP and the store.
    No WAL is archived, so it is spared that as well, and its backups would not be consistent under writes.
    """

    name = program = "pgbackrest"
    backup_options = ("--start-fast", "--no-archive-check", "--process-max=2", "--compress-type=zst", "--repo1-retention-full=9")

    def reset(self) -> None:
        for name in ("repository", "lock", "log", "spool"):
            shutil.rmtree(self._folder(name), ignore_errors=True)
            self._folder(name).mkdir(parents=True)
            self.world.programs.own(self._folder(name))

    def stored_bytes(self) -> int:
        return folder_bytes(self._folder("repository"))

    def full(self, jobs) -> None:
        jobs.run(self._pgbackrest("stanza-create"))
        jobs.run(self._pgbackrest("backup", "--type=full", *self.backup_options))

    def unchanged(self, jobs) -> None:
        jobs.run(self._pgbackrest("backup", "--type=incr", *self.backup_options))

    clustered = random = unchanged

    def _folder(self, name: str) -> Path:
        return self.world.root / "home" / "pgbackrest" / name

    def _pgbackrest(self, verb: str, *options: str) -> Command:
        cluster = self.world.cluster
        arguments = [
            self.program, "--config=/dev/null", "--stanza=benchmark", f"--pg1-path={cluster.data}", f"--pg1-port={cluster.port}",
            f"--pg1-socket-path={cluster.sockets}", "--pg1-user=rdsadmin", f"--repo1-path={self._folder('repository')}",
            f"--lock-path={self._folder('lock')}", f"--log-path={self._folder('log')}", *options, verb,
        ]
        return Command(arguments, self.world.env, identity=self.world.programs.identity())


def python_uploader(world):
    """Uploads a folder with boto3, two files at a time."""
    def command(folder: Path, bucket: str) -> Command:
        return Command(
            [sys.executable, "-B", HERE / "upload.py", folder, world.store.endpoint, bucket], {**world.env, **world.store.env()}
        )
    return command
