"""The report: what was measured, where and how, as Markdown."""

import os
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

import paths
import store
from contenders import NAMES
from dataset import TABLES, rows
from memory import LARGE_MB, SIZES_MB
from rounds import SITUATIONS
from targets import COMPARISONS

SETTINGS = ("shared_buffers", "work_mem", "maintenance_work_mem", "max_wal_size", "autovacuum", "jit", "fsync", "data_checksums")
DISTURBED_SHARE = 0.1
HEADINGS = {
    "full": "Full backup", "unchanged": "Incremental, nothing changed", "clustered": "Incremental, 1 % of the rows changed in ranges",
    "random": "Incremental, 1 % of the rows changed at random", "restore": "Restore into a new database, indexes included",
    "digest": "Check of the live data against the recovery point, by hash only",
}
WHO = {
    "copy1": "bare `COPY`, one connection", "copy2": "bare `COPY`, two connections",
    "copy2_in_order": "the same in key order", "pg_dump": "`pg_dump -Fd -j2`, then upload",
    "pg_dump_fast": "the same, fastest codec", "restic": "`pg_dump -Fc -Z0` into restic", "pgbackrest": "pgBackRest, whole cluster",
    "ours": "**Holdfast**",
}
IN_RESTORE = {"pg_dump": "`pg_restore -j2`, local files", "pg_dump_fast": "the same, fastest codec", "restic": "restic into `pg_restore`"}


class Report:
    """Gathers what is to be reported; the machine and the server when made, the rest as it is measured."""

    def __init__(self, world, options, command: str, copy_bytes: dict[str, int]):
        self.options, self.command, self.copy_bytes = options, command, copy_bytes
        self.settings = {name: world.cluster.query(f"SHOW {name}")[0][0] for name in SETTINGS}
        self.server = world.cluster.query("SHOW server_version")[0][0]
        self.results: dict = {}
        self.memory: dict[int, dict[str, int]] = {}
        self.missing: dict[str, str] = {}

    def text(self) -> str:
        """The whole report."""
        parts = [
            "# Benchmarks", "Written by `./task bench`; what is not in here was not measured.", self._setting(), "## Comparisons",
            "Medians of the quotients of each round, contenders of a round being measured one after the other.",
            _table(("comparison", "median", "from – to", "target"), [each.row(self.results) for each in COMPARISONS]),
            *(part for situation in SITUATIONS for part in self._situation(situation)),
            "## Where our time goes", self._counts(), self._phases(), "## Our peak memory against the size of the data", self._memory(),
            "## The data", self._data(), "## How it is measured", METHOD,
        ]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _setting(self) -> str:
        lines = [
            ("date", datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")), ("commit", _commit()),
            ("command", f"`{self.command}`"), ("rounds", str(self.options.runs)),
            ("machine", f"{os.cpu_count()} cores, {_cpu_model()}, {_memory_gb()} GB"),
            ("PostgreSQL", f"{self.server}; " + ", ".join(f"{name} = {value}" for name, value in self.settings.items())),
            ("data", f"{sum(self.copy_bytes.values()) / 1e6:,.1f} MB as COPY text"),
            ("store", f"s3s-fs {store.VERSION}, HTTP on loopback"),
            ("peers", ", ".join(filter(None, (_version("restic", "version"), _version("pgbackrest", "version"))))),
            *((name, f"not available: {why}") for name, why in self.missing.items()),
            ("disturbed", self._disturbed()),
        ]
        return _table(("", ""), lines)

    def _disturbed(self) -> str:
        taken = [each for contenders in self.results.values() for many in contenders.values() for each in many]
        spoilt = sum(each.other_cpu_s > DISTURBED_SHARE * each.wall_s * os.cpu_count() for each in taken)
        return f"{spoilt} of {len(taken)} measurements, in which others used more than {DISTURBED_SHARE:.0%} of the processors"

    def _situation(self, situation: str) -> list[str]:
        measured = self.results.get(situation, {})
        if not measured:
            return [f"## {HEADINGS[situation]}", "Not measured."]
        names = {**WHO, **(IN_RESTORE if situation == "restore" else {})}
        lines = [_line(names[name], measured[name]) for name in NAMES if name in measured]
        head = ("", "seconds", "from – to", "CPU s: client", "database", "store", "others", "peak MB", "stored MB", "requests")
        return [f"## {HEADINGS[situation]}", _table(head, lines)]

    def _ours(self) -> dict[str, list[dict]]:
        """What our jobs said of themselves, per situation and round."""
        taken = {situation: self.results.get(situation, {}).get("ours", []) for situation in SITUATIONS}
        return {situation: [each.said for each in many] for situation, many in taken.items() if many}

    def _counts(self) -> str:
        lines = [
            (situation, *(str(said[-1].get(name, "")) for name in ("rows", "plaintext_bytes", "chunks", "chunks_reused")))
            for situation, said in self._ours().items()
        ]
        return _table(("job", "rows", "bytes of plaintext", "chunks", "of them reused"), lines) if lines else ""

    def _phases(self) -> str:
        lines = [
            (situation, phase, f"{median(each.get('phases', {}).get(phase, 0) for each in said):.2f}")
            for situation, said in self._ours().items() for phase in said[0].get("phases", {})
        ]
        return _table(("job", "phase", "seconds"), lines) if lines else "Not measured."

    def _memory(self) -> str:
        if not self.memory:
            return "Not measured."
        sizes = (*SIZES_MB, LARGE_MB)
        return _table(("peak MB at", *(f"{size:,} MB" for size in sizes)), [
            (situation, *(_mb(self.memory[size][situation]) if size in self.memory else "not measured" for size in sizes))
            for situation in next(iter(self.memory.values()))
        ])

    def _data(self) -> str:
        numbers = rows(self.options.size_mb)
        return _table(("table", "rows", "MB as COPY text"), [
            (table, f"{numbers[variable]:,}", _mb(self.copy_bytes[table])) for table, (variable, *_) in TABLES.items()
        ])


def _line(name: str, taken: list) -> tuple[str, ...]:
    def middle(figure: str) -> float:
        return median(getattr(each, figure) for each in taken)

    walls = [each.wall_s for each in taken]
    return (
        name, f"{median(walls):.2f}", f"{min(walls):.2f} – {max(walls):.2f}", f"{middle('client_cpu_s'):.1f}",
        f"{middle('postgres_cpu_s'):.1f}", f"{middle('store_cpu_s'):.1f}", f"{middle('other_cpu_s'):.1f}",
        _mb(middle("peak_rss_bytes")), f"{middle('stored_bytes') / 1e6:.2f}", _requests(taken[-1].requests),
    )


def _requests(counted: dict[str, int]) -> str:
    parts = [f"{number} {operation}" for operation, number in sorted(counted.items(), key=lambda item: -item[1])]
    return f"{sum(counted.values())}" + (f" ({', '.join(parts)})" if parts else "")


def _table(head: tuple[str, ...], lines: list) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *lines))


def _mb(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:,.1f}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=paths.ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain", "-uno") else "")


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def _memory_gb() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)


def _version(*command: str) -> str | None:
    try:
        return " ".join(subprocess.run(command, stdout=subprocess.PIPE, text=True).stdout.split()[:2])
    except FileNotFoundError:
        return None


METHOD = """\
Every round starts from the same files of the database cluster, reads them once to have them cached, and measures all contenders of a
situation in turn. Before each measurement PostgreSQL makes a checkpoint and the file system is synced. Clients come over TCP with TLS and a
password; the store is a separate process; all of it shares the cores of this machine. A restore counts as done when all rows, indexes
and constraints are there, which is counted afterwards.

CPU of clients is what the kernel accounts to the programs and their children; of the database and the store, what their
processes used in the meantime; `others` is the rest of the machine, so a large figure there means a disturbed measurement. Peak memory is
the sum of the highest resident sizes of all processes of a job, at least what they had at one time. Requests are counted by the store.

`fsync` is off for all, so restores are faster than on a server that must not lose them. `pg_restore` reads a local folder, and pgBackRest
writes to one, as its S3 client needs HTTPS; it copies the whole cluster's files and archives no WAL here. pgBackRest before 2.46
stores a changed file whole in an increment. restic encrypts, as we do; `pg_dump` and pgBackRest do not."""
