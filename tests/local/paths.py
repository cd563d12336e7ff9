"""Where things are: the checkout, and the ignored folder everything built here goes to."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
LOCAL = TARGET / "local"
LOGS = LOCAL / "log"
BINARIES = TARGET / "debug"
TEMPLATE = ROOT / "infra" / "template.yaml"
KEPT = LOCAL / "kept.json"
"""Describes the stack that `up` or `demo --keep` left running."""

FUNCTIONS = ("snapshot", "export", "verify", "retention", "restore", "reconcile", "operator")


def postgres_bin() -> Path:
    """The program folder of the newest PostgreSQL server installed, or FileNotFoundError."""
    found = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0,
    )
    if not found:
        raise FileNotFoundError("no PostgreSQL server under /usr/lib/postgresql: install the package `postgresql`")
    return found[-1]
