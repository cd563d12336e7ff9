"""Where things are: the checkout, and the ignored folder everything built here goes to."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "infra" / "layer"))
import holes  # noqa: E402

TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
LOCAL = TARGET / "local"
LOGS = LOCAL / "log"
BINARIES = TARGET / "debug"
POSTGRES_TOOLS = LOCAL / "postgres-tools" / "bin"
"""Client programs, where the installed ones are too old."""
POSTGRES_REGRESS = LOCAL / "postgres-regress"
"""PostgreSQL's own regression scripts."""
TEMPLATE = ROOT / "infra" / "template.yaml"
KEPT = LOCAL / "kept.json"
"""Describes the stack that `up` or `demo --keep` left running."""

FUNCTIONS = ("snapshot", "export", "verify", "retention", "restore", "reconcile", "shred", "operator")


def postgres_bin() -> Path:
    """The program folder of the newest PostgreSQL server installed, or FileNotFoundError."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0,
    )
    if not found:
        raise FileNotFoundError("no PostgreSQL server under /usr/lib/postgresql: install the package `postgresql`")
    return found[-1]


def postgres_tools() -> Path:
    """The folder of a pg_dump and pg_restore that Holdfast takes, or FileNotFoundError."""
    why = ""
    for folder in (postgres_bin(), POSTGRES_TOOLS):
        try:
            holes.check(folder)
            return folder
        except holes.Unusable as unusable:
            why = why or str(unusable)
    raise FileNotFoundError(f"{why}; `python3 tests/local prepare` fetches newer ones")
