"""Which PostgreSQL client programs may read and write tenants' data. The functions refuse the others, too."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

WITHOUT_HOLES = {14: 24, 15: 19, 16: 15, 17: 11, 18: 6}
"""The first release of each major version whose pg_dump and pg_restore have no hole that is publicly known."""

PROGRAMS = ("pg_dump", "pg_restore")


class Unusable(Exception):
    """A program that is not there or must not be used; says why."""


def version(program: Path) -> tuple[int, int]:
    """The major and minor number of a program."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Unusable(f"{program} cannot be run: {error}") from error
    found = re.search(r" (\d+)(?:\.(\d+))?", said)
    if not found:
        raise Unusable(f"{program} does not say its version, but `{said.strip()}`")
    return int(found[1]), int(found[2] or 0)


def check(folder: Path) -> tuple[int, int]:
    """The version of the programs in a folder, if both of them are without known holes."""
    versions = {name: version(folder / name) for name in PROGRAMS}
    for name, (major, minor) in versions.items():
        if major <= max(WITHOUT_HOLES) and minor < WITHOUT_HOLES.get(major, minor + 1):
            least = ", ".join(f"{known}.{least}" for known, least in WITHOUT_HOLES.items())
            raise Unusable(
                f"{folder / name} is version {major}.{minor}, which has known security holes; the first releases without them are {least}"
            )
    return versions["pg_dump"]
