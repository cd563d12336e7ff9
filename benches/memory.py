"""Our peak memory against the size of the data: it should not grow with it."""

import bootstrap
from dataset import load
from meter import measure

SIZES_MB = (100, 1000)
LARGE_MB = 10_000


def run_series(world, ours, options) -> dict[int, dict[str, int]]:
    """Per size in MB the peak memory in bytes of a full backup, an incremental one and a restore."""
    found = {}
    for size_mb in (*SIZES_MB, *((LARGE_MB,) if options.large else ())):
        bootstrap.say(f"our memory at {size_mb} MB")
        world.new_cluster()
        load(world, size_mb)
        ours.reset()
        found[size_mb] = {
            situation: measure(world, getattr(ours, situation), ours.stored_bytes).peak_rss_bytes
            for situation in ("full", "unchanged", "restore", "digest")
        }
    return found
