"""One measurement: the time, processor time, memory, bytes and requests of one job."""

import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from jobs import Jobs, stat_fields

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Measurement:
    """What one job took."""

    wall_s: float
    client_cpu_s: float
    postgres_cpu_s: float
    store_cpu_s: float
    other_cpu_s: float
    """Processor time of the machine that is none of the three: this program, the kernel's own work, and strangers."""
    peak_rss_bytes: int
    stored_bytes: int
    requests: dict[str, int]
    said: dict = field(default_factory=dict)
    """What the job reported of itself."""

    def as_json(self) -> dict:
        return asdict(self)


def measure(world, work, stored) -> Measurement:
    """Runs `work(jobs)` and takes the differences; `stored()` is the number of bytes kept by the contender."""
    # What earlier jobs left to be written must not be written in this one's time.
    world.cluster.query("CHECKPOINT")
    os.sync()
    stored_before, log_before = stored(), world.store.log_size()
    jobs = Jobs(world.root / "log")
    before = _postgres(world.server_pid()), _process(world.store.pid), _machine()
    started = time.perf_counter()
    said = work(jobs)
    wall_s = time.perf_counter() - started
    after = _postgres(world.server_pid()), _process(world.store.pid), _machine()
    postgres, store, machine = (later - earlier for later, earlier in zip(after, before))
    return Measurement(
        wall_s, jobs.cpu_s, postgres, store, max(0.0, machine - postgres - store - jobs.cpu_s), jobs.peak_rss_bytes,
        stored() - stored_before, dict(world.store.requests_since(log_before)), said or {},
    )


def _process(pid: int) -> float:
    return sum(map(int, stat_fields(pid)[11:13])) / TICKS


def _postgres(postmaster: int) -> float:
    """The server with its backends, also those that have ended."""
    while True:
        server = sum(map(int, stat_fields(postmaster)[11:15]))
        backends = sum(sum(map(int, fields[11:13])) for fields in _processes() if int(fields[1]) == postmaster)
        # A backend that ended in between would be missing in both.
        if server == sum(map(int, stat_fields(postmaster)[11:15])):
            return (server + backends) / TICKS


def _processes() -> Iterator[list[str]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                yield stat_fields(int(entry.name))
            except OSError:
                continue


def _machine() -> float:
    """Busy time of all processors."""
    user, nice, system, _idle, _wait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:])
    return (user + nice + system + irq + softirq) / TICKS
