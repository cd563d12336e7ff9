"""Which contenders there are, and which of them can be measured here."""

import os

import bootstrap
from ours import Ours, uploader
from peers import Copy1, Copy2, Copy2InOrder, PgBackRest, PgDump, PgDumpFast, Peer, Restic, python_uploader

# In the order of their turns.
NAMES = ("copy1", "copy2", "copy2_in_order", "pg_dump", "pg_dump_fast", "restic", "pgbackrest", "ours")


def choose(world, options) -> tuple[list[Peer], dict[str, str]]:
    """The contenders asked for, and why others of them are missing."""
    wanted = options.only.split(",") if options.only else NAMES
    unknown = set(wanted) - set(NAMES)
    if unknown:
        raise bootstrap.NotReady(f"no such contender: {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    has_ours = os.access(options.holdfast_bench, os.X_OK)
    upload = uploader(world, options.holdfast_bench.resolve()) if has_ours else python_uploader(world)
    made = {
        "copy1": lambda: Copy1(world), "copy2": lambda: Copy2(world), "copy2_in_order": lambda: Copy2InOrder(world),
        "pg_dump": lambda: PgDump(world, upload),
        "pg_dump_fast": lambda: PgDumpFast(world, upload), "restic": lambda: Restic(world), "pgbackrest": lambda: PgBackRest(world),
        "ours": lambda: Ours(world, options.holdfast_bench.resolve()),
    }
    missing = {"restic": Restic.missing(), "pgbackrest": PgBackRest.missing()}
    missing["ours"] = None if has_ours else "holdfast-bench is not built"
    absent = {name: why for name, why in missing.items() if why and name in wanted}
    for name, why in absent.items():
        bootstrap.say(f"{name} is left out: {why}")
    return [made[name]() for name in NAMES if name in wanted and name not in absent], absent
